"""Whatever a command meets, what it prints can be read: encodings, widths, ends, numbers."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.cli.app as app_module
from harness.cli import render
from harness.cli.streams import make_printable, printable
from harness.cli.system import explain
from harness.errors import InputError
from harness.process.ends import Interrupted
from harness.store.finding import newest_run
from harness.store.run import RunFolder
from harness.wording import number_of
from harness.workbench.progress import RunProgress, duration
from tests.conftest import Command, Harness
from tests.ensemble.problems import members, write_run

# -- encodings and widths ------------------------------------------------------------------------


class Terminal(io.TextIOWrapper):
    """A stream of an encoding and, where a width is given, a terminal of it."""

    def __init__(self, encoding: str, width: int | None = None) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="")
        self.terminal = width is not None

    def isatty(self) -> bool:
        return self.terminal

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


def streams(monkeypatch: pytest.MonkeyPatch, encoding: str, width: int | None = None) -> Terminal:
    out = Terminal(encoding, width)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", Terminal(encoding))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
    make_printable()
    return out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "gbk", "utf-8"])
def test_every_encoding_can_show_a_table(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = streams(monkeypatch, encoding)
    rows = [["a ≈ †", "-0.1 … 0.3"], ["b\udcff 猫 🦊", "± 2 ‡"]]
    render.print_table("A − B", ["name", "95 % interval"], rows, left=["name"], legend=["≈ not told apart"])
    render.print_json({"text": "… 🦊 ≈"})
    text = out.text
    assert json.loads(text[text.index("{") :]) == {"text": "… 🦊 ≈"}
    lines = [line for line in text.splitlines() if line.strip() and "{" not in line]
    assert any(line.startswith(("≈ not told", "=~ not told")) for line in lines), "the mark is that of the table"
    mark = "≈" if "≈" in text else "=~"
    assert f"a {mark}" in text
    if encoding == "ascii":
        assert text.isascii()
        assert "-0.1 ... 0.3" in text
        assert "+/- 2 ^^" in text
        ends = {len(line.rstrip()) for line in lines if "interval" in line or "..." in line or "+/-" in line}
        assert len(ends) == 1, "what stands for a character was known when the table was laid out"


@given(st.text(st.characters(codec=None)), st.sampled_from(["ascii", "cp1252", "latin-1", "shift_jis"]))
def test_no_text_is_too_much_for_a_stream(text: str, encoding: str) -> None:
    make_printable()
    assert printable(text, SimpleNamespace(encoding=encoding)).encode(encoding)[:0] == b""


def test_the_command_speaks_ascii_where_the_terminal_does(kaggle: Path, harness: Harness) -> None:
    # The prompts of this data, unlike others, lie in the cache that tests share.
    answer = harness(
        *("run", "--data", kaggle, "--plugins", "mean", "--folds", 2),
        env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"},
    )
    assert answer.code == 0, answer.err
    assert (answer.out + answer.err).isascii()
    assert "..." in answer.out


def wide(width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    out = streams(monkeypatch, "utf-8", width)
    columns = ["plugin", "score", "95 % interval", "version", "trainable"]
    rows = [["a-long-name-of-a-plugin", "0.1234", "0.1000 … 0.2000", "1.0", "12.3M"]]
    render.print_table("", columns, rows, left=["plugin"], spare=["version", "trainable"])
    return out.text


def test_columns_that_a_narrow_terminal_goes_without_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "left out" not in wide(120, monkeypatch)
    narrow = wide(70, monkeypatch)
    assert "1.0" not in narrow
    assert "12.3M" in narrow
    assert "left out, since the terminal is narrow: version (--json has all)" in narrow
    narrowest = wide(30, monkeypatch)
    assert "left out, since the terminal is narrow: version, trainable" in narrowest
    assert "0.1000 … 0.2000" in narrowest, "what cannot be spared is never cut"
    assert "0.1234" in narrowest


def test_a_pipe_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    out = streams(monkeypatch, "utf-8")
    cells = [f"{k:030d}" for k in range(20)]
    render.print_table("", [f"column {k}" for k in range(20)], [cells])
    assert all(cell in out.text for cell in cells)


def test_a_legend_stays_with_its_table_where_all_goes_to_one_file(tmp_path: Path) -> None:
    import subprocess

    code = "from harness.cli.render import *; print_table('', ['a'], [['1']], legend=['legend']); note('noted')"
    with (tmp_path / "log").open("w") as log:
        subprocess.run([sys.executable, "-c", code], stdout=log, stderr=subprocess.STDOUT, check=True)
    assert (tmp_path / "log").read_text().splitlines()[-2:] == ["legend", "noted"]


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 1, "/x/y: No space left on device; free some"),
        (OSError(errno.EFBIG, "File too large", "/x/y"), 1, "free some"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), 2, "--run-dir"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 2, "permissions"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), 2, "see that it is there"),
        (OSError(errno.EMFILE, "Too many open files"), 1, "ulimit -n"),
        (OSError(errno.EIO, "Input/output error", "/x"), 1, "again"),
    ],
)
def test_what_the_system_refuses_is_no_defect(
    error: OSError, code: int, words: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(app_module, "app", fail)
    ended, out, err = command()
    assert (ended, out, err.count("\n")) == (code, "", 1)
    assert words in err
    assert "defect" not in err
    assert explain(error) == (err.removeprefix("Error: ").rstrip("\n"), code)


def test_a_full_disk_ends_a_run_in_words(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    import resource
    import subprocess

    told = [sys.executable, "-m", "harness.cli", "data", "make", "scenes", "--n", "3", "--out", str(tmp_path / "made")]
    ended = subprocess.run(
        told,
        capture_output=True,
        text=True,
        check=False,
        # No file may grow beyond this: writing fails as it does on a disk that is full.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ended.returncode == 1, ended.stderr
    assert "File too large; free some space" in ended.stderr
    assert "defect" not in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device")
def test_an_output_that_takes_no_more_is_told(harness: Harness) -> None:
    import subprocess

    with Path("/dev/full").open("w") as full:
        told = [sys.executable, "-m", "harness.cli", "--version"]
        ended = subprocess.run(told, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: No space left on device; free some space")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), (">&- 2>&-", 0), ("<&-", 2)])
def test_a_stream_that_was_closed_ends_no_command(closed: str, code: int, tmp_path: Path) -> None:
    import subprocess

    harness = f"exec {shlex.quote(sys.executable)} -m harness.cli"
    command = "runs remove there" if code else "data make scenes --n 3 --out made"
    views, targets = members(40, 4, 1, dim=384)
    write_run(tmp_path / "there", {"a": views[0]}, targets)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    shell = ["sh", "-c", f"{harness} {command} {closed}"]
    ended = subprocess.run(shell, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert (ended.returncode, "defect" in ended.stderr) == (code, False), ended.stderr
    if not code:
        assert len(list((tmp_path / "made" / "images").iterdir())) == 3


@pytest.mark.parametrize(
    ("name", "words"), [("run", "Interrupted; the same command goes on"), ("score", "Interrupted")]
)
def test_ctrl_c_leaves_one_line(name: str, words: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.workbench.running.run_predictors", interrupt)
    monkeypatch.setattr("harness.submission.truth.read_truth", interrupt)
    arguments = {"run": ["run"], "score": ["score", "a", "--truth", "b"]}[name]
    code, out, err = command(*arguments)
    assert (code, out, err.count("\n")) == (130, "", 1)
    assert err.startswith(words)


def test_ctrl_c_while_the_command_is_imported_leaves_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.cli.streams.make_printable", interrupt)
    assert command("runs", "list") == (130, "", "Interrupted\n")


def test_other_signals_have_the_exit_code_that_shells_give_them(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(*arguments: object, **more: object) -> None:
        raise Interrupted(signal.SIGTERM)  # the signal itself would end the process of the tests, too

    monkeypatch.setattr("harness.submission.truth.read_truth", terminate)
    code, out, err = command("score", "a", "--truth", "b")
    assert (code, out, err) == (128 + signal.SIGTERM, "", "Interrupted\n")


# -- options of all commands ---------------------------------------------------------------------


def test_version_help_and_completion(command: Command) -> None:
    from harness import __version__

    assert command("--version") == (0, f"harness {__version__}\n", "")
    waiting: list[list[str]] = [[]]
    seen = 0
    while waiting:
        group = waiting.pop()
        short, long = command(*group, "-h"), command(*group, "--help")
        assert short == long
        assert short[0] == 0
        assert short[1].isascii(), "what prints help writes UTF-8 whatever the console shows"
        listed = re.findall(r"^  ([a-z]+)  ", short[1].partition("Commands:")[2], flags=re.MULTILINE)
        assert listed or "-q, --quiet" in short[1]
        waiting += [[*group, name] for name in listed]
        seen += 1
    assert seen > 20
    assert "--install-completion" in command("-h")[1]


@pytest.mark.parametrize("place", ["before", "behind"])
def test_how_much_is_told(place: str, command: Command, tmp_path: Path) -> None:
    told = ["runs", "list", str(tmp_path)]
    for option, said in (("-q", False), ("--quiet", False), ("-v", True), ("--verbose", True)):
        code, _, err = command(*([option, *told] if place == "before" else [*told, option]))
        assert (code, "there is no run" in err, "this process holds" in err) == (0, said, said)
    code, _, err = command("-q", "score", "nowhere.csv", "--truth", "nothing.csv")
    assert (code, err.startswith("Error: ")) == (2, True), "errors are told all the same"


# -- words and numbers ---------------------------------------------------------------------------


def test_one_is_one() -> None:
    assert [number_of(n, "task") for n in (0, 1, 2)] == ["0 tasks", "1 task", "2 tasks"]
    assert number_of(1, "picture is", "pictures are") == "1 picture is"


@given(st.floats(-1e-4, 1e-4))
def test_nothing_has_no_sign(value: float) -> None:
    from harness.scoring.tables import shown

    for text in (render.figure(value), render.span(value, value), render.signed_span(value, value), shown(value)):
        assert "-0.0000" not in text


def test_the_time_that_is_left_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("harness.workbench.progress.time.monotonic", lambda: now[0])
    details = {"fit_seconds": 1.0, "predict_seconds": 1.0, "score": 0.5}
    for level in (0, -1):
        progress = RunProgress(level)
        started = {"todo": 3, "only_test": 0, "reused": 1, "shared": 0}
        progress(SimpleNamespace(kind="run_started", run_dir="run", details=started))  # type: ignore[arg-type]
        for _ in range(3):
            now[0] += 60.0
            event = SimpleNamespace(kind="task_finished", member="mean", fold=0, details=details)
            progress(event)  # type: ignore[arg-type]
        err = capsys.readouterr().err
        if level == 0:
            assert [line.partition(" s)")[2] for line in err.splitlines()[1:]] == [
                ", about 2 min left", ", about 60 s left", "",
            ]  # fmt: skip
            assert err.startswith("run: 3 tasks to do, 1 already done")
        else:
            assert err == ""
    assert [duration(s) for s in (5.4, 100, 7260, 86400)] == ["5 s", "2 min", "2 h 01 min", "24 h 00 min"]


# -- the run used last ---------------------------------------------------------------------------


def begun(path: Path, seconds: int, task: str | None) -> Path:
    path.mkdir(parents=True)
    (path / "run.json").write_text("{}")
    os.utime(path / "run.json", (seconds, seconds))
    if task is not None:
        (path / "members" / "mean" / task).mkdir(parents=True)
    return path


def test_a_run_that_was_interrupted_at_once_is_passed_over(tmp_path: Path) -> None:
    begun(tmp_path / "empty", 1, None)
    assert newest_run(tmp_path).path.name == "empty", "where there is no other"
    begun(tmp_path / "old", 2, "fold-0-abc")
    begun(tmp_path / "all", 3, "all-abc")
    begun(tmp_path / "new", 4, ".fold-0-abc.1234.tmp")
    assert newest_run(tmp_path).path.name == "all"
    assert not RunFolder(tmp_path / "new").has_results


def test_the_run_that_is_gone_is_named(tmp_path: Path) -> None:
    import shutil

    from harness.store.sharing import remember_task

    with pytest.raises(InputError) as refused:
        newest_run(tmp_path / "runs")
    assert "is gone" not in str(refused.value)
    remember_task("abc", tmp_path / "elsewhere" / "other" / "members" / "mean" / "fold-0-abc")
    folder = begun(tmp_path / "runs" / "first", 1, "fold-0-abc")
    remember_task("abc", folder / "members" / "mean" / "fold-0-abc")
    shutil.rmtree(folder)
    with pytest.raises(InputError, match=r"runs/first, which was there, is gone\); start one with `harness run`"):
        newest_run(tmp_path / "runs")
