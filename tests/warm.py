"""Python processes that start warm: forked from one that has imported what they would import.

The tests start the command, and it its workers, hundreds of times, and importing torch and its companions is most of
what that costs. A forked process is as much a process of its own as a started one: its memory, working directory,
variables, streams, signals and end are its own. What a warm start cannot show is that imports suffice, are light, or
read a variable; tests about that start Python themselves, as do those of the README and of installed wheels. With
``HARNESS_TEST_COLD=1`` all do.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

ADDRESS_VARIABLE = "HARNESS_TEST_WARM"
"""Names the socket where warm processes are asked for; commands hand it down to the workers that they start."""
COLD_VARIABLE = "HARNESS_TEST_COLD"
IMPORTED = (
    *("numpy", "PIL.Image", "pydantic.type_adapter", "yaml", "rich.console", "rich._emoji_codes", "typer", "psutil"),
    *("filelock", "imagehash", "pyarrow.csv", "pyarrow.parquet", "scipy.optimize", "scipy.sparse.csgraph"),
    *("scipy.fftpack", "sklearn.linear_model", "torch", "safetensors.numpy", "safetensors.torch"),
    *("transformers.models.bert.modeling_bert", "transformers.models.bert.tokenization_bert"),
    *("transformers.models.clip.modeling_clip", "transformers.models.vit.modeling_vit"),
    *("transformers.models.vit.image_processing_vit", "transformers.models.gpt2.modeling_gpt2"),
    "transformers.models.vision_encoder_decoder.modeling_vision_encoder_decoder",
    *("sentence_transformers", "open_clip", "timm", "peft"),
    *("harness.cli.app", "harness.cli.render", "harness.cli.dry_run", "harness.cli.contributions"),
    *("harness.workbench", "harness.workbench.progress", "harness.workbench.running", "harness.workbench.blending"),
    *("harness.workbench.leaderboard", "harness.workbench.predicting", "harness.workbench.publishing"),
    *("harness.workbench.exchange", "harness.running.session", "harness.running.worker", "harness.running.checkup"),
    *("harness.running.predicting", "harness.data.describe", "harness.testing.checking", "harness.ensemble.blenders"),
    *("harness.ensemble.contributions", "harness.submission", "harness.comparing", "harness.report.published"),
    *("harness.process.child", "harness.models.towers", "harness.models.retrieval", "harness.models.captioning"),
    *("harness.data.layouts", "harness_baselines.mean", "harness_baselines.knn", "harness_baselines.ridge"),
    *("harness_baselines.estimate", "harness_clipnet.training", "harness_clipnet.estimate", "harness_vitgpt2.estimate"),
    *("harness_vitgpt2.training", "harness_cnnrnn", "harness_interrogator.bank", "harness_interrogator.neighbours"),
    *("harness_mlflow", "harness_trackio", "harness_scenes.drawing"),
)
"""What any of them imports, without what starts threads. Plugins are registered anew in each."""
READ_LATE = (
    *("HARNESS_", "PYTEST_", "COLUMNS", "NO_COLOR", "MLFLOW_", "TRACKIO_", "PWD", "TMPDIR", "TEMP", "TMP"),
    *("TRANSFORMERS_OFFLINE", "TORCHINDUCTOR_CACHE_DIR"),  # of the conformance kit; the hub is offline anyway
    "PYTHONPATH",  # where it brings more, and no other of what is imported
)
"""Beginnings of variables that are read when they are needed. One that differs and is no such may have been read as
something was imported, and then the process is started cold."""
SET_BY_IMPORTS = {
    "KMP_DUPLICATE_LIB_OK": "True",  # by scikit-learn
    "KMP_INIT_AT_FORK": "FALSE",
    "TOKENIZERS_PARALLELISM": "false",  # by open_clip
}
"""Variables that imports set where they are not set. They tell nothing apart: else, once a test has imported
scikit-learn, all that its process starts would start cold."""
SHELL = frozenset({"_", "SHLVL", "OLDPWD", "H", "PY", "SHARED"})
"""Variables of a shell, and of the shell commands in ``tests/cases``, which change no import."""
_NUMBER = struct.Struct("<q")
_HIGH = 500
"""File descriptors from here on are nobody's."""
_SERVE = "import sys; from tests.warm import serve; serve(*map(int, sys.argv[1:]))"


# -- where one is wanted -----------------------------------------------------------------------


def start(
    command: Sequence[str],
    *,
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    stderr: int | IO[Any] | None = None,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    process_group: int | None = None,
) -> Warm | subprocess.Popen[bytes]:
    """Start Python as ``subprocess.Popen`` does with the same arguments: warm if that makes no difference."""
    environment = dict(os.environ if env is None else env)
    if command[0] == sys.executable and command[1] in ("-m", "-c") and _same_to_imports(environment):
        with suppress(ConnectionRefusedError, FileNotFoundError):
            return Warm(command[1:], stdin, stdout, stderr, cwd, environment, pass_fds, process_group)
    return subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=cwd, env=env, pass_fds=pass_fds,
        process_group=process_group,
    )  # fmt: skip


def prepare() -> None:
    """Have what processes are forked from started, for commands of a shell: ``python tests/warm.py ARGUMENTS``."""
    if COLD_VARIABLE not in os.environ:
        _same_to_imports(os.environ)


def _be_the_command() -> int:
    """Be ``harness``, or after ``--python`` Python, warm, with this process's streams and arguments."""
    arguments = ["-m", "harness.cli", *sys.argv[1:]]
    if sys.argv[1:2] == ["--python"]:
        what, *rest = sys.argv[2:]
        if what == "-":
            arguments = ["-c", sys.stdin.read(), *rest]
        elif what.startswith("-"):
            arguments = [what, *rest]
        else:
            script = f"import runpy, sys; sys.argv[0] = {what!r}; runpy.run_path({what!r}, run_name='__main__')"
            arguments = ["-c", script, *rest]
    code = start([sys.executable, *arguments]).wait()
    return code if code >= 0 else 128 - code


def _same_to_imports(environment: Mapping[str, str]) -> bool:
    if COLD_VARIABLE in os.environ or not sys.platform.startswith("linux"):
        return False
    if ADDRESS_VARIABLE not in os.environ:
        if __name__ == "__main__":  # a command starts no server of its own
            return False
        _servers.append(Server())
    here = json.loads(os.environ.get(f"{ADDRESS_VARIABLE}_ENVIRONMENT", "null"))
    return here is not None and here == _read_early(environment) and not any(map(_shadows, _search_path(environment)))


def _search_path(environment: Mapping[str, str]) -> list[str]:
    """Return the folders that ``PYTHONPATH`` names and that are not searched anyway."""
    searched = os.environ.get(f"{ADDRESS_VARIABLE}_PATH", "").split(os.pathsep)
    return [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path and path not in searched]


def _shadows(folder: str) -> bool:
    """Whether what lies in a folder of ``PYTHONPATH`` would be imported in place of what has been imported."""
    imported = {name.partition(".")[0] for name in IMPORTED} | {"sitecustomize", "usercustomize"}
    with suppress(OSError):
        return any(path.name.partition(".")[0] in imported for path in Path(folder).iterdir())
    return False


def _read_early(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(READ_LATE) and name not in SHELL and SET_BY_IMPORTS.get(name) != value
    }


class Warm:
    """A warm process, with what the harness uses of ``subprocess.Popen``."""

    def __init__(
        self,
        arguments: Sequence[str],
        stdin: int | IO[Any] | None,
        stdout: int | IO[Any] | None,
        stderr: int | IO[Any] | None,
        cwd: Path | str | None,
        environment: Mapping[str, str],
        pass_fds: Sequence[int],
        process_group: int | None,
    ) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._lock = threading.Lock()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(os.environ[ADDRESS_VARIABLE])
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        ours: list[int] = []  # to be closed here when they have been handed over
        streams = []
        for number, stream in enumerate((stdin, stdout, stderr)):
            if stream == subprocess.PIPE:
                read, write = os.pipe()
                if number == 0:
                    self.stdin, given = os.fdopen(write, "wb"), read
                else:
                    self.stdout, given = os.fdopen(read, "rb"), write
                ours.append(given)
            elif stream == subprocess.DEVNULL:
                given = os.open(os.devnull, os.O_RDWR)
                ours.append(given)
            elif stream is None:
                given = number
            else:
                given = stream if isinstance(stream, int) else stream.fileno()
            streams.append(given)
        request = json.dumps(
            {
                "arguments": self.args,
                "directory": os.fspath(Path(cwd or ".").absolute()),
                "environment": dict(environment),
                "path": [os.fspath(Path(entry).absolute()) for entry in _search_path(environment)],
                "descriptors": [0, 1, 2, *pass_fds],
                "group": process_group,
            }
        ).encode()
        socket.send_fds(self._socket, [_NUMBER.pack(len(request))], [*streams, *pass_fds])
        self._socket.sendall(request)
        for descriptor in ours:
            os.close(descriptor)
        pid = self._number(None)
        if pid is None or pid <= 0:  # else its kill would be sent to a whole process group
            raise RuntimeError("the process that others are forked from has ended; HARNESS_TEST_COLD=1 does without")
        self.pid = pid

    def _number(self, timeout: float | None) -> int | None:
        """Return the next number from over there: first the process's own, at its end its exit code."""
        self._socket.settimeout(timeout)
        try:
            data = self._socket.recv(_NUMBER.size, socket.MSG_WAITALL)
        except (BlockingIOError, TimeoutError):
            return None
        return int(_NUMBER.unpack(data)[0]) if data else -int(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code when the process has ended."""
        with self._lock:
            if self.returncode is None:
                self.returncode = self._number(timeout)
                if self.returncode is None:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
                self._socket.close()
            return self.returncode

    def poll(self) -> int | None:
        """Return the exit code, None if the process still runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send the process a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the process, if it still runs."""
        self.send_signal(signal.SIGKILL)


_servers: list[Server] = []
"""That of this process, once it has started something."""


def close() -> None:
    """End what this process keeps to start others from."""
    while _servers:
        _servers.pop().close()


def warm_workers() -> None:
    """Let the harness start its worker processes warm, in this process."""
    from harness.process import parent

    parent.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": start})  # type: ignore[assignment]


class Server:
    """The process that others are forked from, for as long as this one lives."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="warm-")
        address = f"{self._folder}/socket"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(64)  # who asks before all is imported waits
            read, self._alive = os.pipe()
            early = json.dumps(_read_early(os.environ))
            os.environ[f"{ADDRESS_VARIABLE}_ENVIRONMENT"] = early
            os.environ[f"{ADDRESS_VARIABLE}_PATH"] = os.pathsep.join(sys.path)
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE, str(listener.fileno()), str(read)],
                cwd=Path(__file__).parents[1], stdin=subprocess.DEVNULL, pass_fds=(listener.fileno(), read),
            )  # fmt: skip
            os.close(read)
        os.environ[ADDRESS_VARIABLE] = address
        warm_workers()

    def close(self) -> None:
        """End the process, and start no more."""
        os.environ.pop(ADDRESS_VARIABLE, None)
        os.environ.pop(f"{ADDRESS_VARIABLE}_ENVIRONMENT", None)
        os.environ.pop(f"{ADDRESS_VARIABLE}_PATH", None)
        os.close(self._alive)
        self._process.wait()
        Path(self._folder, "socket").unlink(missing_ok=True)
        Path(self._folder).rmdir()


# -- where they are forked ---------------------------------------------------------------------


def serve(address: int, alive: int) -> None:
    """Fork a process for each that is asked for, until the one that started this ends.

    Parameters
    ----------
    address, alive
        File descriptors: the socket where they are asked for, and a pipe that closes with that one's end.
    """
    listener = socket.socket(fileno=address)
    path = sys.path[1:]  # without the folder that this was started in
    early = _read_early(os.environ)
    for name in IMPORTED:
        with suppress(ImportError):
            import_module(name)
    _fill_caches()
    if set_now := {name for name, value in _read_early(os.environ).items() if early.get(name) != value}:
        sys.exit(
            f"imports set {sorted(set_now)}, after which nothing would start warm: SET_BY_IMPORTS has no such name"
        )
    _forget_ends()
    gc.collect()
    gc.freeze()  # or a collection would copy all memory into each process
    children: dict[int, socket.socket] = {}
    wake, waker = socket.socketpair()
    for end in (wake, waker):
        end.setblocking(False)
    handlers = {signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda *_: None)}
    handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(waker.fileno())
    with selectors.DefaultSelector() as selector:
        for source in (listener, alive, wake):
            selector.register(source, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if wake in ready:
                wake.recv(4096)
                _tell_of_ends(children)
            if alive in ready:
                os._exit(0)  # taking all that apart is of no use to anyone
            if listener in ready:
                connection, _ = listener.accept()
                request, descriptors = _receive(connection)
                child = os.fork()
                if child == 0:
                    signal.set_wakeup_fd(-1)
                    for number, handler in handlers.items():
                        signal.signal(number, handler)
                    selector.close()
                    for other in (listener, wake, waker, connection, *children.values()):
                        other.close()
                    os.close(alive)
                    _be(request, descriptors, path)
                for descriptor in descriptors:
                    os.close(descriptor)
                children[child] = connection
                with suppress(OSError):
                    connection.sendall(_NUMBER.pack(child))


def _fill_caches() -> None:
    """Make what libraries make once a process, whoever asks: Pillow's list of formats, transformers' 1 000 patterns."""
    sys.modules["PIL.Image"].init()
    with suppress(ImportError, AttributeError):  # of another version, each process makes it
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping

        get_checkpoint_conversion_mapping("bert")


def _forget_ends() -> None:
    """Drop what imported modules do at the end of a process: torch takes its libraries apart, of use to no one.

    That would take each process longer than all else about its start and end. What a process itself has registered
    when it ends is done, and so is what keeps its own promises: of ``logging``, ``multiprocessing``, ``weakref``.
    """
    import logging
    import multiprocessing.util
    import weakref

    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    atexit._clear()
    for end in (weakref.finalize._exitfunc, logging.shutdown, multiprocessing.util._exit_function):  # type: ignore[attr-defined]
        atexit.register(end)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, descriptors, _, _ = socket.recv_fds(connection, _NUMBER.size, 32)
    (length,) = _NUMBER.unpack(head)
    return json.loads(connection.recv(length, socket.MSG_WAITALL)), descriptors


def _tell_of_ends(children: dict[int, socket.socket]) -> None:
    while children:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        with children.pop(child) as connection, suppress(OSError):  # who asked may be gone
            connection.sendall(_NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _be(request: dict[str, Any], descriptors: list[int], path: list[str]) -> None:
    """Be the process that was asked for, to its end."""
    import fcntl

    if request["group"] is not None:
        os.setpgid(0, request["group"])
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, _HIGH) for descriptor in descriptors]
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, number in zip(high, request["descriptors"], strict=True):
        os.dup2(descriptor, number)  # and so it is handed down, as `pass_fds` does
        os.close(descriptor)
    # Made anew: those that were made for other files believe that what they write to can be sought in.
    told = sys.stdout.encoding
    sys.stdin = os.fdopen(0, encoding=told, closefd=False)
    sys.stdout = os.fdopen(1, "w", encoding=told, errors=sys.stdout.errors, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding=told, errors="backslashreplace", closefd=False)
    os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.modules["numpy"].random.seed()  # else all would draw the same
    tempfile.tempdir = None  # TMPDIR may be another
    warm_workers()
    kind, what, *arguments = request["arguments"]
    sys.path[:] = [request["directory"] if kind == "-m" else "", *request["path"], *path]
    code = _run(kind, what, arguments)
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of Python does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _run(kind: str, what: str, arguments: list[str]) -> int:
    """Run a module or code as Python's switches ``-m`` and ``-c`` do; return the exit code."""
    try:
        if kind == "-m":
            sys.argv = [what, *arguments]
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *arguments]
            main = type(sys)("__main__")
            sys.modules["__main__"] = main
            exec(what, vars(main))
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_be_the_command())
