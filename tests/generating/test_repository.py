"""Which files of a repository a pipeline needs, and fetching no more than these."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import InputError
from harness.generating.repository import needed_of_pipeline
from tests.generating.pipelines import save_pipeline
from tests.generating.shards import contents, records
from tests.hub.server import COMMIT

SD = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.6.0",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "image_encoder": [None, None],
}
# Modelled on the repositories of Stable Diffusion 1.5: every form of the weights, beside files for other programs.
_LISTED = """
.gitattributes README.md model_index.json v1-5-pruned.ckpt v1-5-pruned.safetensors v1-5-pruned-emaonly.ckpt
v1-5-pruned-emaonly.safetensors v1-inference.yaml feature_extractor/preprocessor_config.json safety_checker/config.json
safety_checker/model.fp16.safetensors safety_checker/model.safetensors safety_checker/pytorch_model.bin
safety_checker/pytorch_model.fp16.bin scheduler/scheduler_config.json text_encoder/config.json
text_encoder/model.fp16.safetensors text_encoder/model.safetensors text_encoder/pytorch_model.bin
text_encoder/pytorch_model.fp16.bin tokenizer/merges.txt tokenizer/special_tokens_map.json
tokenizer/tokenizer_config.json tokenizer/vocab.json unet/config.json unet/diffusion_pytorch_model.bin
unet/diffusion_pytorch_model.fp16.bin unet/diffusion_pytorch_model.fp16.safetensors
unet/diffusion_pytorch_model.non_ema.bin unet/diffusion_pytorch_model.non_ema.safetensors
unet/diffusion_pytorch_model.safetensors vae/config.json vae/diffusion_pytorch_model.bin
vae/diffusion_pytorch_model.fp16.bin vae/diffusion_pytorch_model.fp16.safetensors
vae/diffusion_pytorch_model.safetensors
"""
SD_FILES = _LISTED.split()
SETTINGS = [path for path in SD_FILES if path.endswith((".json", "merges.txt"))]


def weights_of(variant: str | None, files: list[str] = SD_FILES) -> set[str]:
    return set(needed_of_pipeline(files, SD, variant, "the model")) - set(SETTINGS)


def test_of_each_component_one_form_of_the_weights() -> None:
    plain = {"safety_checker/model", "text_encoder/model", *(f"{p}/diffusion_pytorch_model" for p in ("unet", "vae"))}
    assert weights_of(None) == {f"{stem}.safetensors" for stem in plain}
    assert weights_of("fp16") == {f"{stem}.fp16.safetensors" for stem in plain}
    assert set(needed_of_pipeline(SD_FILES, SD, None, "")) >= set(SETTINGS)
    # as in diffusers: of components without the variant the plain form
    ema = {f"{stem}.safetensors" for stem in plain} - {"unet/diffusion_pytorch_model.safetensors"}
    assert weights_of("non_ema") == {*ema, "unet/diffusion_pytorch_model.non_ema.safetensors"}


def test_weights_in_several_files() -> None:
    index = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "T"], "text_encoder_2": ["transformers", "T5"]}
    parts = [f"transformer/diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    halves = [f"transformer/diffusion_pytorch_model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    old = [f"text_encoder_2/model-0000{i}-of-00002.fp16.safetensors" for i in (1, 2)]
    indices = [
        "transformer/diffusion_pytorch_model.safetensors.index.json",
        "transformer/diffusion_pytorch_model.safetensors.index.fp16.json",
        "text_encoder_2/model.safetensors.index.fp16.json",
    ]
    files = [
        "model_index.json",
        *parts,
        *halves,
        *old,
        *indices,
        "text_encoder_2/model.safetensors",
        "flux1-dev.safetensors",
    ]
    plain = needed_of_pipeline(files, index, None, "")
    assert sorted(plain) == sorted(["model_index.json", indices[0], *parts, "text_encoder_2/model.safetensors"])
    assert sorted(needed_of_pipeline(files, index, "fp16", "")) == sorted(
        ["model_index.json", indices[1], *halves, indices[2], *old]
    )


NO_UNET = [path for path in SD_FILES if not path.startswith("unet/") or path.endswith((".bin", ".json"))]
NO_PLAIN = [path for path in SD_FILES if not path.endswith("_model.safetensors")]


@pytest.mark.parametrize(
    ("files", "variant", "told"),
    [
        (NO_UNET, None, "the weights of its unet are there as pickles alone"),
        (SD_FILES, "bf16", "--variant bf16: m has no weights of this variant; those it has: fp16, non_ema"),
        (NO_PLAIN, None, "are there in these variants only: fp16, non_ema; add --variant fp16"),
    ],
)
def test_weights_that_are_not_taken(files: list[str], variant: str | None, told: str) -> None:
    with pytest.raises(InputError) as caught:
        needed_of_pipeline(files, SD, variant, "m")
    assert told in str(caught.value)


AS_A_USER = """
import json, os, sys
from pathlib import Path
from tests.hub.server import serve

folder = Path(sys.argv[1])
options = {"model": "some/model", "steps": 1}
prompts = str(folder / "words.txt")
with serve(folder / "hub") as hub:
    os.environ.update(hub.environment(folder / "cache"))  # before the hub's library is imported
    from harness.errors import InputError
    from harness.workbench.generating import generate_images, what_would_generate

    told = {"planned": what_would_generate(prompts, folder / "out", options).document()}
    told["fetched for the plan"] = [path for _, path, _ in hub.fetched]
    steps = []
    made = generate_images(prompts, folder / "out", options, fetching=lambda *step: steps.append(step))
    told |= {"made": made.document(), "fetched": [path for _, path, _ in hub.fetched], "steps": len(steps)}
    (folder / "hub").rename(folder / "gone")  # connections to it stay open, and so it has nothing to give any more
told["again"] = generate_images(prompts, folder / "again", options).document()
try:
    generate_images(prompts, folder / "other", {**options, "revision": "v2"})
except InputError as error:
    told["other"] = str(error)
(folder / "told.json").write_text(json.dumps(told))
"""


def test_a_hub_gives_what_is_needed_and_the_commit_is_recorded(tmp_path: Path) -> None:
    folder = save_pipeline(tmp_path / "hub" / "some" / "model")
    for extra in ("whole.ckpt", "whole.safetensors", "unet/diffusion_pytorch_model.bin", "vae/more.py"):
        (folder / extra).write_bytes(b"x" * 100)
    (tmp_path / "words.txt").write_text("a red fox\n")
    subprocess.run([sys.executable, "-c", AS_A_USER, str(tmp_path)], cwd=Path(__file__).parents[2], check=True)
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["planned"]["revision"] == COMMIT
    missing = {file["path"] for file in told["planned"]["fetch"]["files"] if file["to_fetch"]}
    weights = {f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")}
    assert missing >= {*weights, "text_encoder/model.safetensors", "tokenizer/tokenizer.json"}
    assert told["planned"]["bytes"] == pytest.approx(64 * 64 * 1.8, rel=0.01)
    assert not [path for path in told["fetched for the plan"] if path.endswith(".safetensors")]
    made = told["made"]
    assert (made["model"], made["revision"], made["images"]) == ("some/model", COMMIT, 1)
    assert missing <= set(told["fetched"])
    extras = {"whole.ckpt", "whole.safetensors", "unet/diffusion_pytorch_model.bin", "vae/more.py"}
    assert not extras & set(told["fetched"])
    assert told["steps"] > 0
    (row,) = records(tmp_path / "out")
    assert (row["model"], row["revision"], row["source"]) == ("some/model", COMMIT, f"some/model@{COMMIT[:7]}")
    assert told["again"]["revision"] == COMMIT
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
    assert "`hf download some/model --revision v2 --local-dir DIR`" in told["other"]
