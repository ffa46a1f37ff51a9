"""Arrays in files are numpy's own, and a disk that is full says so."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data.arrays import save_array

FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from harness.data.arrays import save_array
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    save_array(Path(sys.argv[1]), np.zeros(1000))
except OSError as error:
    raise SystemExit(error.errno)
"""


@pytest.mark.parametrize("array", [np.eye(3), np.zeros((0, 384), np.float32), np.arange(12).reshape(3, 4).T])
def test_the_file_is_that_of_numpy(array: np.ndarray, tmp_path: Path) -> None:
    save_array(tmp_path / "a.npy", array)
    expected = io.BytesIO()
    np.save(expected, array)
    assert (tmp_path / "a.npy").read_bytes() == expected.getvalue()


def test_a_file_that_cannot_grow_is_an_error_of_the_system(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "a.npy")], check=False)
    assert ended.returncode == errno.EFBIG
