"""What a run needs of the machine is checked before any work."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.plugin import Context, PluginManager, Predictor, Requirements
from harness.process import usable_memory
from harness.running import device as device_module
from harness.running import readiness
from harness.running.config import resolve_config
from harness.running.device import require_device
from harness.running.plan import plan_run
from harness.running.readiness import bytes_to_write, require_disk
from harness.running.session import carry_out
from harness.store.places import require_cache, require_file, require_run_folder, why_unwritable
from harness.wording import size_of
from harness.workbench.running import run_predictors, what_would_run

LARGE = """
from harness.plugin import Predictor, Requirements, hookimpl
class Large(Predictor):
    name, version, trainable = "large", "1", False
    def requirements(self, rows): return Requirements(memory=2**60)
    def predict(self, images): raise AssertionError("it must not come to this")
@hookimpl
def harness_register_predictors(register): register(Large)
"""


# -- devices -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["auto", "cpu", "cpu:0"])
def test_what_every_machine_has_is_taken(name: str) -> None:
    require_device(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("CPU", "did you mean cpu?"),
        ("gpu", "did you mean cuda?"),
        ("GPU:1", "did you mean cuda:1?"),
        ("Cuda:0", "did you mean cuda:0?"),
        ("cuda0", "did you mean cuda?"),
        ("cuda:x", "did you mean cuda?"),
        (" cpu", "did you mean cpu?"),
        ("meta", "choose auto, cpu, cuda"),
        ("", "choose auto, cpu, cuda"),
        ("cpu:1", "choose cpu"),
    ],
)
def test_a_device_that_does_not_exist_is_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(InputError) as refused:
        require_device(name, "device=")
    assert str(refused.value).startswith(f"device= {name}: ")
    assert words in str(refused.value)


def test_a_device_that_is_not_in_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_module, "_has_gpu_driver", lambda: False)
    monkeypatch.setattr(device_module.sys, "platform", "linux")
    with pytest.raises(InputError, match="no driver for a GPU"):
        require_device("cuda")
    with pytest.raises(InputError, match="Apple"):
        require_device("mps")
    require_device("cuda", here=False)  # it is a machine of a cluster that has it
    with pytest.raises(InputError, match="did you mean cuda"):
        require_device("gpu", here=False)
    monkeypatch.setattr(device_module, "_devices", lambda kind: (2, ""))
    require_device("cuda:1")
    with pytest.raises(InputError, match="has 2 of the kind; choose cuda:0 to cuda:1"):
        require_device("cuda:2")


def test_torch_is_asked_where_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(device_module, "_has_gpu_driver", lambda: True)
    here = device_module._devices("cuda")
    assert here[0] == torch.cuda.device_count()
    assert bool(here[1]) == (here[0] == 0), "a reason stands where there is none"
    monkeypatch.delitem(device_module.sys.modules, "torch")  # a process that has not imported it asks another
    assert device_module._devices("cuda") == here


# -- places --------------------------------------------------------------------------------------


def test_a_place_is_tried_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert why_unwritable(tmp_path / "new" / "folder") == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    assert "is a file" in why_unwritable(tmp_path / "file" / "x")
    assert why_unwritable(Path("/proc/nothing"))
    require_file(tmp_path / "new.csv", "--out")
    for wrong in (tmp_path, tmp_path / "file" / "x.csv", Path("/proc/none/x.csv")):
        with pytest.raises(InputError, match="--out"):
            require_file(wrong, "--out")


def test_a_read_only_working_folder_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")
    with pytest.raises(InputError, match=r"runs/ cannot be written in /proc .*--run-dir, such as "):
        require_run_folder(None)
    require_run_folder(str(tmp_path / "run"))
    with pytest.raises(InputError, match="--run-dir /proc/run: nothing can be written"):
        require_run_folder("/proc/run")


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("/proc/none", "/dev/null/x"):
        monkeypatch.setenv("HARNESS_CACHE", place)
        with pytest.raises(InputError, match=f"{place} cannot be written .*HARNESS_CACHE"):
            require_cache()
        with pytest.raises(InputError, match="HARNESS_CACHE"):
            run_predictors({"data": "nowhere"})  # before the data are looked for


# -- disk and memory -----------------------------------------------------------------------------


def planned(kaggle: Path, run: Path, **more: object):
    config = resolve_config({"data": str(kaggle), "folds": 2, "run_dir": str(run), "executor": "inline", **more})
    return plan_run(config, PluginManager())


def test_the_disk_is_compared_with_what_is_written(
    kaggle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(kaggle, tmp_path / "run", plugins="mean", test=str(kaggle / "images"))
    told = bytes_to_write([plan])
    monkeypatch.setattr(readiness, "free_bytes", lambda folder: told - 1)
    with pytest.raises(
        InputError,
        match=r"writes at least \d+ KiB, and \d+ KiB are free there; free some space, or name a folder on another",
    ):
        require_disk([plan])
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(readiness, "free_bytes", lambda folder: told)
    require_disk([plan])
    assert carry_out(plan).computed == 2
    arrays = [path.stat().st_size for path in (tmp_path / "run").rglob("*.npy") if path.parent.name != "model"]
    headers = 128 * len(arrays)
    assert sum(arrays) - headers == told
    again = planned(kaggle, tmp_path / "run", plugins="mean", test=str(kaggle / "images"))
    assert bytes_to_write([again]) == 0


def test_a_member_that_asks_for_more_memory_than_there_is_is_refused(kaggle: Path, tmp_path: Path) -> None:
    (tmp_path / "large.py").write_text(LARGE)
    options = {
        **{"data": str(kaggle), "folds": 2, "run_dir": str(tmp_path / "run"), "plugins": "large,mean"},
        **{"plugin_files": [str(tmp_path / "large.py")], "device": "cpu", "executor": "inline"},
    }
    (reason,) = what_would_run(options).too_large
    assert reason.startswith(f"'large' needs about {size_of(2**60)}")
    assert f"{size_of(usable_memory())} on cpu" in reason
    assert what_would_run({**options, "task_memory": 1e10, "executor": "serial"}).too_large == []
    result = run_predictors(options)
    assert (result.counts["computed"], result.counts["failed"]) == (2, 1), "mean does its tasks"
    assert result.input_fault
    assert "by its own estimate" in result.failure


def test_an_estimate_that_fails_takes_no_task(tmp_path: Path) -> None:
    from harness.running.memory import refuse_too_large

    class Odd(Predictor):
        name, version = "odd", "1"

        def predict(self, images: object) -> object:
            raise AssertionError

        def requirements(self, rows: int) -> Requirements:
            raise RuntimeError("who knows")

    refuse_too_large(None, Odd(None, Context(tmp_path)), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("groups", "files"),
    [
        ("0::/pod/box\n", {"sys/fs/cgroup/pod/memory.max": "1000000\n", "sys/fs/cgroup/pod/box/memory.max": "max\n"}),
        ("4:memory:/box\n0::/\n", {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": "1000000\n"}),
    ],
)
def test_the_memory_of_a_container_counts(groups: str, files: dict[str, str], tmp_path: Path) -> None:
    import psutil

    assert usable_memory(tmp_path) == psutil.virtual_memory().total
    for name, text in itertools.chain([("proc/self/cgroup", groups)], files.items()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_memory(tmp_path) == 1000000


def test_the_checkup_tells_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.running.checkup import check_installation

    monkeypatch.setattr("harness.running.checkup._encoder", lambda: "tried elsewhere")
    monkeypatch.chdir("/proc")
    monkeypatch.setenv("HARNESS_CACHE", "/proc/none")
    found = {check.name: check for check in check_installation(PluginManager())}
    assert (found["working folder"].ok, "--run-dir" in found["working folder"].detail) == (True, True)
    assert (found["cache"].ok, "HARNESS_CACHE" in found["cache"].detail) == (False, True)
    assert f"{size_of(usable_memory())} of memory" in found["machine"].detail
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    found = {check.name: check for check in check_installation(PluginManager())}
    assert "GiB free for runs" in found["working folder"].detail
    assert found["cache"].ok
