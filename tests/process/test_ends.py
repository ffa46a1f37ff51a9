"""A command that is told to end does so within seconds, and leaves neither processes nor folders."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from harness.process.folders import own_folder

COMMAND = """
import hashlib, signal, sys
from harness.process import WorkerGroup
from harness.process.ends import Interrupted, ended_by_signals
from tests.process.work import wait_for_ever

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell is begun with it ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as what nohup runs is with this one
try:
    with ended_by_signals(), WorkerGroup() as group:
        worker = group.start(wait_for_ever)
        print(worker.pid, worker.folder, flush=True)
        if sys.argv[1] == "waits":
            group.receive()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes, and no signal interrupts it
except KeyboardInterrupt as error:
    sys.exit(f"unwound: {type(error).__name__}")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("what", ["waits", "calculates"])
def test_it_ends_soon_with_all_it_started(what: str, number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = subprocess.Popen(
        [sys.executable, "-c", COMMAND, what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    assert command.stdout is not None
    pid, folder = command.stdout.readline().split()
    time.sleep(0.3)
    began = time.monotonic()
    command.send_signal(number)
    _, said = command.communicate(timeout=60)
    assert time.monotonic() - began < 20, "a moment, and what a loaded machine adds"
    if what == "waits":
        assert said.strip() == f"unwound: {'KeyboardInterrupt' if number == signal.SIGINT else 'Interrupted'}"
    else:
        assert command.returncode == 128 + number
    assert not psutil.pid_exists(int(pid)) or psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    assert not Path(folder).exists()


def test_a_debugger_that_meets_ctrl_c_goes_on(tmp_path: Path) -> None:
    program = (
        "import os, signal, time\n"
        "from harness.process import ends\n"
        "ends.GRACE = 0.2\n"
        "with ends.ended_by_signals():\n"
        "    signal.signal(signal.SIGINT, lambda *_: None)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(1)\n"
        "print('goes on')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "goes on\n"), done.stderr


def test_anothers_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, that is: even to look into it is forbidden."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    theirs = tmp_path / "harness-worker-theirs"
    theirs.mkdir()
    is_file = Path.is_file

    def guarded(path: Path) -> bool:
        if path.parent == theirs:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", guarded)
    own_folder().release()
    assert theirs.is_dir()


def test_folders_that_nobody_holds_are_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held = own_folder()
    left = own_folder()
    (Path(left.lock_file).parent / "log").write_text("what it printed")
    left.release()  # as the end of its process does
    other = own_folder()
    assert set(tmp_path.iterdir()) == {Path(lock.lock_file).parent for lock in (held, other)}
    held.release()
    other.release()
