"""What counts as a file that is safe to load: judged by content, whatever the name says."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from harness.testing.checks.files import wrong_content

SAFE = {
    "a.json": b'{"neighbours": 12.5}',
    "number.json": b"12.5",
    "merges.txt": b"#version: 0.2\nt h\nth e",
    "chat.jinja": b"{% for message in messages %}{{ message }}{% endfor %}",
    "vocabulary": "größe\nklein".encode(),
}
UNSAFE = {
    "model.pkl": (pickle.dumps({"a": [1, 2]}), "pickle"),
    "oldest.txt": (pickle.dumps({"a": [1, 2]}, protocol=0), "pickle"),
    "renamed.json": (pickle.dumps({"a": [1, 2]}, protocol=4), "pickle"),
    "renamed.npy": (pickle.dumps(np.ones(3), protocol=2), "pickle"),
    "legacy.pt": (pickle.dumps(1) + pickle.dumps([2]) + b"\0\1\2", "pickle"),
    "broken.json": (b'{"a": ', "not json"),
    "broken.safetensors": (b"nothing", "not safetensors"),
    "weights.bin": (b"\xff\x00\xfe" * 20, "neither"),
}


@pytest.mark.parametrize("name", SAFE)
def test_safe_files_are_let_pass(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(SAFE[name])
    assert wrong_content(tmp_path / name) == ""


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_files_are_named_for_what_they_are(name: str, tmp_path: Path) -> None:
    data, reason = UNSAFE[name]
    (tmp_path / name).write_bytes(data)
    assert reason in wrong_content(tmp_path / name)


@given(length=st.integers(1, 400))
def test_safetensors_with_a_header_of_any_length_are_safe(
    length: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The file begins with the header's length, and some lengths begin like a pickle."""
    path = tmp_path_factory.getbasetemp() / "model.safetensors"
    save_file({"x" * length: np.ones(2, dtype=np.float32)}, str(path))
    assert wrong_content(path) == ""


def test_arrays_are_safe_but_for_arrays_of_objects(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.ones(3))
    assert wrong_content(tmp_path / "good.npy") == ""
    np.save(tmp_path / "bad.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    assert "pickle" in wrong_content(tmp_path / "bad.npy")


def test_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    with zipfile.ZipFile(tmp_path / "model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    assert "archive with a.npy" in wrong_content(tmp_path / "arrays.npz")
    assert "archive/data.pkl" in wrong_content(tmp_path / "model.bin")
