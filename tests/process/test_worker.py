"""A worker process does what it is sent, and whatever becomes of it, its parent is told, and nothing is left behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from harness.process import MODEST, End, Limits, WorkerGroup
from tests.process import work

pytestmark = pytest.mark.usefixtures("cold")
ROOT = Path(__file__).parents[2]
PARENT = "import sys; from pathlib import Path; from tests.process.work import parent; \
parent(Path(sys.argv[1]), sys.argv[2])"


@pytest.fixture
def group() -> Iterator[WorkerGroup]:
    with WorkerGroup() as made:
        yield made


def alive(pid: int) -> bool:
    """Whether a process still runs; one that only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def end_of(group: WorkerGroup, trouble: str, limits: Limits | None = None) -> End:
    """What is told of a worker that met with trouble, after it did something well."""
    worker = group.start(work.meet_trouble)
    worker.send("nothing")
    assert group.receive() == (worker, "survived")
    worker.send(trouble, limits)
    ended, end = group.receive()
    assert ended is worker
    assert isinstance(end, End)
    assert group.workers == []
    assert not alive(worker.pid)
    assert not worker.folder.exists()
    return end


# -- what it does ----------------------------------------------------------------------------------


def test_requests_are_answered_in_order(group: WorkerGroup) -> None:
    worker = group.start(work.echo, "hello")
    requests = [1, "two", {"three": [3.0, None]}, "x" * 300_000]
    for request in requests:
        worker.send(request)
    assert [group.receive() for _ in range(5)] == [(worker, reply) for reply in ["hello", *requests]]


def test_several_workers_are_heard_as_they_reply(group: WorkerGroup) -> None:
    workers = [group.start(work.echo, name) for name in "abc"]
    heard = dict(group.receive() for _ in workers)
    assert heard == dict(zip(workers, "abc", strict=True))
    workers[1].send("again")
    assert group.receive() == (workers[1], "again")


def test_replies_from_many_threads_are_whole(group: WorkerGroup) -> None:
    group.start(work.reply_from_threads)
    replies = []
    while not isinstance(reply := group.receive()[1], End):
        replies.append(reply)
    assert sorted(replies) == sorted([name, i, "x" * 1000] for name in "abcd" for i in range(200))


def test_its_surroundings_are_those_that_were_asked_for(group: WorkerGroup, tmp_path: Path) -> None:
    group.start(work.surroundings, environment={"GREETING": "hello"}, directory=tmp_path)
    _, found = group.receive()
    assert found == {
        "directory": str(tmp_path.resolve()),
        "variable": "hello",
        "path": [str(Path(entry).resolve()) for entry in sys.path],
        "arguments": [],
        "folder": ["held", "log", "trace"],
    }


def test_what_is_printed_goes_to_files(group: WorkerGroup, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    worker = group.start(work.print_a_lot)
    output = tmp_path / "new" / "output.txt"
    worker.send(output)
    assert group.receive() == (worker, ""), "its stdin is empty"
    assert group.receive() == (worker, "done"), "closing stdout does not cut it off"
    lines = sorted(output.read_text().splitlines())
    assert lines == ["printed", "printed by a child", "printed on stderr", "written"]
    assert (worker.folder / "log").read_text() == "printed at the start\nprinted afterwards\n"
    group.close()
    assert capfd.readouterr() == ("", "")


# -- how it ends -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "reason", "trace"),
    [
        ("os-exit", "ended itself with exit code 7 (os._exit", "meet_trouble"),
        ("abort", "killed by signal 6 (SIGABRT)", "meet_trouble"),
        ("segfault", "killed by signal 11 (SIGSEGV; a segmentation fault)", "meet_trouble"),
        ("kill", "killed by signal 9 (SIGKILL; the machine may have run out of memory)", ""),
        ("exit", "ended itself with exit code 3", ""),
        ("raise", "ended itself with exit code 1", ""),
    ],
)
def test_a_worker_that_ends_says_how(trouble: str, reason: str, trace: str, group: WorkerGroup) -> None:
    end = end_of(group, trouble)
    assert reason in end.reason
    assert trace in end.trace
    assert end.broke is None
    if trouble == "raise":
        assert "RuntimeError: on purpose" in end.log


def test_a_reply_in_time_is_no_broken_limit_however_late_it_is_read(group: WorkerGroup) -> None:
    worker = group.start(work.echo)
    assert group.receive() == (worker, "")
    worker.send("done", Limits(seconds=0.8))
    time.sleep(1.2)  # the parent has other things to do
    assert group.receive() == (worker, "done")
    worker.send("and again", Limits(seconds=30))
    assert group.receive() == (worker, "and again"), "it lives"


@pytest.mark.parametrize(("trouble", "frame"), [("hang", "hang"), ("lock", "hang_with_the_lock")])
def test_a_worker_that_takes_too_long_is_ended(trouble: str, frame: str, group: WorkerGroup) -> None:
    end = end_of(group, trouble, Limits(seconds=1))
    assert end.broke == "seconds"
    assert f"in {frame}" in end.trace


@pytest.mark.parametrize("trouble", ["memory", "memory of a child"])
def test_a_worker_that_takes_too_much_memory_is_ended(trouble: str, group: WorkerGroup) -> None:
    end = end_of(group, trouble, Limits(memory=0.3 * 2**30))
    assert end.broke == "memory"
    assert end.held > 0.3 * 2**30
    assert "in grow" in end.trace


def test_a_worker_that_replies_without_end_is_held_to_its_time(group: WorkerGroup) -> None:
    worker = group.start(work.reply_for_ever)
    worker.send("begin", Limits(seconds=1))
    while not isinstance(reply := group.receive()[1], End):
        assert reply == "still at it"
    assert reply.broke == "seconds"


def test_a_worker_that_never_gets_ready_is_ended(group: WorkerGroup) -> None:
    group.start(work.wait_for_ever, limits=Limits(seconds=1))
    end = group.receive()[1]
    assert isinstance(end, End)
    assert end.broke == "seconds"


def test_limits_hold_until_they_are_lifted(group: WorkerGroup) -> None:
    worker = group.start(work.echo)
    worker.send("quick", Limits(seconds=1))
    assert [group.receive()[1] for _ in range(2)] == ["", "quick"]
    worker.lift_limits()
    time.sleep(1.5)
    worker.send("later")
    assert group.receive() == (worker, "later")


def test_a_worker_that_closes_its_connection_is_ended(group: WorkerGroup) -> None:
    assert end_of(group, "close").reason == "its process closed its connection"


def test_a_function_that_is_in_no_module_is_refused(group: WorkerGroup) -> None:
    def inner(connection: object) -> None: ...

    with pytest.raises((AttributeError, pickle.PicklingError), match="inner"):
        group.start(inner)
    assert group.workers == []


def test_a_worker_that_cannot_import_its_function_says_so(
    group: WorkerGroup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "soon_gone.py").write_text("def function(connection): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    from soon_gone import function  # type: ignore[import-not-found]

    (tmp_path / "soon_gone.py").unlink()
    group.start(function)
    end = group.receive()[1]
    assert isinstance(end, End)
    assert "No module named 'soon_gone'" in end.log


@pytest.mark.parametrize("trouble", ["segfault", "hang"])
def test_what_a_worker_started_ends_with_it(trouble: str, group: WorkerGroup) -> None:
    worker = group.start(work.leave_children)
    worker.send(trouble, Limits(seconds=2))
    _, numbers = group.receive()
    assert alive(numbers[1])
    assert isinstance(group.receive()[1], End), "although the child holds the worker's output"
    wait_for(lambda: not any(map(alive, numbers)))


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("trouble", ["hang", "lock"])
def test_a_worker_ends_with_its_parent(trouble: str, end: signal.Signals, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(mark), trouble],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # the background may ignore it
    )
    wait_for(mark.exists)
    numbers = [int(line) for line in mark.read_text().split()]
    assert all(map(alive, numbers))
    process.send_signal(end)
    assert process.wait(timeout=30) != 0
    wait_for(lambda: not any(map(alive, numbers)))


def test_an_idle_worker_that_is_asked_to_end_may_tidy_up(group: WorkerGroup, tmp_path: Path) -> None:
    worker = group.start(work.take_a_moment_to_end, tmp_path / "tidied")
    assert group.receive() == (worker, "ready")
    worker.stop()
    group.close()
    assert (tmp_path / "tidied").exists()
    assert not worker.folder.exists()


def test_leaving_the_group_ends_what_is_at_work() -> None:
    with pytest.raises(RuntimeError, match="for another reason"), WorkerGroup() as group:
        workers = [group.start(work.meet_trouble) for _ in range(2)]
        for worker in workers:
            worker.send("hang")
        raise RuntimeError("for another reason")
    assert not any(alive(worker.pid) for worker in workers)


def test_nothing_is_heard_of_a_worker_that_was_dismissed(group: WorkerGroup) -> None:
    first, second = group.start(work.echo, "first"), group.start(work.echo, "second")
    heard = [group.receive()[0] for _ in range(2)]
    assert set(heard) == {first, second}
    first.send("lost")
    group.dismiss(first)
    second.send("kept")
    assert group.receive() == (second, "kept")
    group.dismiss(second)
    with pytest.raises(ValueError, match="no process"):
        group.receive()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the score is Linux's")
def test_where_memory_runs_out_a_worker_goes_before_its_parent(group: WorkerGroup) -> None:
    worker = group.start(work.echo, "ready")
    group.receive()
    assert Path(f"/proc/{worker.pid}/oom_score_adj").read_text().strip() == "1000"
    assert os.getpgid(worker.pid) == worker.pid


# -- what it takes beside other work ---------------------------------------------------------------


def test_threads_that_wait_leave_their_cores_to_others(group: WorkerGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [*MODEST, "OF_THE_CALLER"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    worker = group.start(work.tell_environment, names, environment={"OF_THE_CALLER": "1"})
    assert group.receive()[1] == {**MODEST, "OF_THE_CALLER": "1"}
    group.dismiss(worker)
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # whoever sets it knows why
    group.start(work.tell_environment, names)
    assert group.receive()[1]["OMP_WAIT_POLICY"] == "ACTIVE"


def test_only_what_something_else_killed_is_called_so(group: WorkerGroup) -> None:
    assert end_of(group, "kill").killed
    assert not end_of(group, "hang", Limits(seconds=0.5)).killed, "it broke its limit"
    assert not end_of(group, "exit").killed
