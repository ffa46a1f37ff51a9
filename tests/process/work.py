"""What the worker processes of these tests do."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from harness.process import Connection, Limits, WorkerGroup


def echo(connection: Connection, greeting: str = "") -> None:
    connection.reply(greeting)
    for request in connection:
        connection.reply(request)


def meet_trouble(connection: Connection) -> None:
    """Do to the process what each request names."""
    for request in connection:
        TROUBLE[request]()
        connection.reply("survived")


def hang() -> None:
    time.sleep(600)


def hang_with_the_lock() -> None:
    re.match("(a+)+$", "a" * 60 + "b")


def raise_error() -> None:
    raise RuntimeError("on purpose")


def grow() -> None:
    held = bytearray(b"x") * 2**29
    time.sleep(600)
    assert held


def grow_in_a_child() -> None:
    subprocess.run([sys.executable, "-c", "import time; x = bytearray(b'x') * 2**29; time.sleep(600)"], check=True)


def close_everything() -> None:
    os.closerange(3, 256)
    time.sleep(600)


TROUBLE: dict[str, Any] = {
    "nothing": lambda: None,
    "raise": raise_error,
    "exit": lambda: sys.exit(3),
    "os-exit": lambda: os._exit(7),
    "abort": os.abort,
    "segfault": lambda: ctypes.string_at(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "hang": hang,
    "lock": hang_with_the_lock,
    "memory": grow,
    "memory of a child": grow_in_a_child,
    "close": close_everything,
}


def leave_children(connection: Connection) -> None:
    """Reply with the process's own number and that of a child, which holds its output, then crash or wait."""
    for request in connection:
        child = subprocess.Popen(["sleep", "600"])
        connection.reply([os.getpid(), child.pid])
        TROUBLE[request]()


def print_a_lot(connection: Connection) -> None:
    """Print in every way there is."""
    sys.stdout.write("printed at the start\n")
    for path in connection:
        with connection.printing_to(path):
            sys.stdout.write("printed\n")
            sys.stderr.write("printed on stderr\n")
            os.write(1, b"written\n")
            subprocess.run([sys.executable, "-c", "print('printed by a child')"], check=True)
            connection.reply(sys.stdin.read())
        sys.stdout.write("printed afterwards\n")
        sys.stdout.close()
        connection.reply("done")


def surroundings(connection: Connection) -> None:
    document = {"directory": str(Path.cwd()), "variable": os.environ.get("GREETING"), "path": sys.path}
    files = sorted(path.name for path in connection.folder.iterdir())
    connection.reply(document | {"arguments": sys.argv[1:], "folder": files})


def reply_from_threads(connection: Connection) -> None:
    def many(name: str) -> None:
        for i in range(200):
            connection.reply([name, i, "x" * 1000])

    threads = [threading.Thread(target=many, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def reply_for_ever(connection: Connection) -> None:
    for _ in connection:
        while True:
            connection.reply("still at it")


def wait_for_ever(connection: Connection) -> None:
    time.sleep(600)


def take_a_moment_to_end(connection: Connection, mark: Path) -> None:
    connection.reply("ready")
    for _ in connection:
        pass
    time.sleep(0.3)
    mark.touch()


def parent(mark: Path, trouble: str) -> None:
    """Be a parent that starts a worker, writes down the process numbers, and waits for ever."""
    with WorkerGroup() as group:
        worker = group.start(leave_children)
        worker.send(trouble, Limits(seconds=600))
        _, numbers = group.receive()
        mark.with_suffix(".new").write_text("\n".join(map(str, numbers)), encoding="ascii")
        mark.with_suffix(".new").rename(mark)
        group.receive()


def tell_environment(connection: Connection, names: list[str]) -> None:
    connection.reply({name: os.environ.get(name) for name in names})
