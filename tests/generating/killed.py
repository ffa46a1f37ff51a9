"""Generate into a folder, killed at random moments again and again, until it is done: a command for the tests.

``python -m tests.generating.killed MODEL PROMPTS FOLDER SEED KILLS`` makes ``FOLDER/whole`` undisturbed and
``FOLDER/killed`` with that many kills, and prints by which states of the folder they fell. Each attempt is forked, so
that the libraries are imported once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path


def main(model: str, prompts: str, folder: Path, seed: int, kills: int) -> None:
    from diffusers import AutoPipelineForText2Image

    from harness.workbench.generating import generate_images

    assert AutoPipelineForText2Image  # imported here, once

    def attempt(out: Path) -> int:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                generate_images(prompts, out, {"model": model, "steps": 3, "batch_size": 2, "shard_rows": 5})
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        return child

    began = time.monotonic()
    assert _ended(attempt(folder / "whole"))
    whole = time.monotonic() - began
    chance, met, done = random.Random(seed), [], False
    for _ in range(kills):
        child = attempt(folder / "killed")
        time.sleep(chance.uniform(0, whole))
        os.kill(child, signal.SIGKILL)
        done = _ended(child)
        shards, parts = folder.glob("killed/*.tar"), folder.glob("killed/.generate/parts/*.tar")
        met.append((len(list(shards)), len(list(parts))))
    while not done:
        done = _ended(attempt(folder / "killed"))
    print(json.dumps(met))  # noqa: T201


def _ended(child: int) -> bool:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), code
    return code == 0


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
