"""Modern models by name: size, memory and what would be fetched, told from configurations alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import warm
from tests.conftest import Answer, run_harness
from tests.hub.server import COMMIT, serve

SHARED = {"do_resize": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}


def square(kind: str, side: int) -> dict[str, Any]:
    return {"image_processor_type": f"{kind}ImageProcessor", "size": {"height": side, "width": side}, **SHARED}


TOWERS: dict[str, tuple[dict[str, Any], dict[str, Any], int, float]] = {
    "google/siglip2-so400m-patch14-384": (
        {
            "model_type": "siglip",
            "vision_config": {
                "model_type": "siglip_vision_model",
                **{"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16},
                **{"image_size": 384, "patch_size": 14},
            },
        },
        square("Siglip", 384),
        4_544_000_000,
        428e6,
    ),
    "facebook/dinov3-vitl16-pretrain-lvd1689m": (
        {
            "model_type": "dinov3_vit",
            **{"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
            **{"image_size": 224, "patch_size": 16, "num_register_tokens": 4, "key_bias": False},
        },
        square("DINOv3ViT", 224),
        1_212_000_000,
        303e6,
    ),
    "facebook/dinov2-giant": (
        {
            "model_type": "dinov2",
            **{"hidden_size": 1536, "num_hidden_layers": 40, "num_attention_heads": 24, "mlp_ratio": 4},
            **{"image_size": 518, "patch_size": 14, "use_swiglu_ffn": True},
        },
        {
            "image_processor_type": "BitImageProcessor",
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            **SHARED,
        },
        4_546_000_000,
        1136e6,
    ),
    "apple/aimv2-large-patch14-336": (
        {
            "model_type": "aimv2_vision_model",
            **{"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24, "num_attention_heads": 8},
            **{"image_size": 336, "patch_size": 14, "is_native": False, "use_head": False},
        },
        {**square("CLIP", 336), "crop_size": {"height": 336, "width": 336}, "do_center_crop": True},
        1_236_000_000,
        309e6,
    ),
    "facebook/metaclip-2-worldwide-huge-quickgelu": (
        {
            "model_type": "metaclip_2",
            "vision_config": {
                "model_type": "metaclip_2_vision_model",
                **{"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16},
                **{"image_size": 224, "patch_size": 14, "hidden_act": "quick_gelu"},
            },
        },
        {**square("CLIP", 224), "crop_size": {"height": 224, "width": 224}, "do_center_crop": True},
        7_440_000_000,
        632e6,
    ),
}
"""Shapes as their repositories have them, the bytes of their weights, and parameters of the vision tower."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answer, str, set[str]]:
    """One plan with two members a tower: its JSON, its text, and the files that were asked for."""
    root = tmp_path_factory.mktemp("hub")
    plugins, options = [], list[str]()
    for number, (name, (config, processor, _, _)) in enumerate(TOWERS.items()):
        folder = root / "hub" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        plugins += [f"c{number}=clipnet", f"k{number}=knn"]
        options += ["--set", f"c{number}.tower={name}", "--set", f"k{number}.backbone={name}"]
    command = [
        "run",
        "--data",
        "scenes:40",
        "--plugins",
        ",".join(plugins),
        "--preset",
        "reference",
        "--dry-run",
        *options,
    ]
    command += ["--task-memory", "400"]  # more than this machine has; without it the plan is refused, with the reason
    with serve(root / "hub") as hub:
        for name, (_, _, size, _) in TOWERS.items():
            hub.declared[name] = {"model.safetensors": size, "pytorch_model.bin": size, "onnx/model.onnx": size}
        environment = hub.environment(root / "cache") | {warm.COLD_VARIABLE: "1"}  # read when it is imported
        answer = run_harness(*command, "--json", cwd=root, env=environment)
        said = run_harness(*command, cwd=root, env=environment).out
    return answer, said, {path for _, path, _ in hub.fetched}


def test_no_weights_are_asked_for(answers: tuple[Answer, str, set[str]]) -> None:
    answer, _, fetched = answers
    assert answer.code == 0, answer.err
    assert fetched <= {"config.json", "preprocessor_config.json"}


@pytest.mark.parametrize("number", range(len(TOWERS)), ids=list(TOWERS))
def test_a_reference_run_with_a_modern_tower(number: int, answers: tuple[Answer, str, set[str]]) -> None:
    name = list(TOWERS)[number]
    _, _, size, parameters = TOWERS[name]
    answer, said, _ = answers
    clipnet, knn = (member for member in answer.json["members"] if member["plugin"] in (f"c{number}", f"k{number}"))
    head = 16 * 1024 * (2048 + 384)  # about: what is on top of the tower is small beside it
    assert abs(clipnet["parameters"]["total"] - parameters) < 0.03 * parameters + head
    assert 0.2 < clipnet["parameters"]["trainable"] / clipnet["parameters"]["total"] < 0.8
    assert abs(knn["parameters"]["total"] - parameters) < 0.03 * parameters
    for member in (clipnet, knn):
        assert member["memory_bytes"] > 4 * parameters * 0.97
        (fetch,) = member["fetch"]
        assert (fetch["repository"], fetch["revision"]) == (name, COMMIT)
        files = {file["path"]: (file["bytes"], file["to_fetch"]) for file in fetch["files"]}
        assert set(files) == {"config.json", "preprocessor_config.json", "model.safetensors"}
        assert files["model.safetensors"] == (size, True)
        assert files["config.json"][1] is False
        assert fetch["bytes"] == size
    assert name in said
    assert f"{size / 2**30:.1f} GiB" in said
