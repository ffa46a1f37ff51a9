"""What the option ``backbone`` may say, and what is answered when it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_baselines.knn import KnnConfig, KnnPredictor
from harness_baselines.naming import named_backbones
from harness_baselines.ridge import RidgeConfig, RidgePredictor
from pydantic import ValidationError

from harness.errors import InputError
from harness.plugin import Context


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tiny", {"tiny": "last"}),
        ("tiny@last", {"tiny": "last"}),
        ("efficientnet-lite2@1/2+last+6/8", {"efficientnet-lite2": "last 3/4 1/2"}),
        ("efficientnet-lite2@last+mid+tiny", {"efficientnet-lite2": "last 1/1 3/4 1/2", "tiny": "last"}),
        ("tiny+pixels@last+timm:a-b_c.d@1/3", {"tiny": "last", "pixels": "last", "timm:a-b_c.d": "1/3"}),
        (
            "open_clip:ViT-B-32/openai@mid+open_clip:hf-hub:me/it/x",
            {"open_clip:ViT-B-32-quickgelu/openai": "1/1 3/4 1/2", "open_clip:hf-hub:me/it/x": "last"},
        ),
        ("timm:hf_hub:me/it@main@last+1/2+tiny", {"timm:hf_hub:me/it@main": "last 1/2", "tiny": "last"}),
        ("timm:hf-hub:me/it@last", {"timm:hf-hub:me/it": "last"}),
    ],
)
def test_backbones_and_depths_are_read_in_one_order(text: str, expected: dict[str, str]) -> None:
    assert {found.name: " ".join(found.depths) for found in named_backbones(text)} == expected


def test_a_folder_or_file_may_have_any_name(tmp_path: Path) -> None:
    folder, file = tmp_path / "a+tiny@last", tmp_path / "w@1+b.pt"
    folder.mkdir()
    file.touch()
    found = named_backbones(f"timm:{folder}@3/4+open_clip:ViT-B-32/{file}+pixels")
    assert [(named.name, named.depths) for named in found] == [
        (f"timm:{folder}", ("3/4",)),
        (f"open_clip:ViT-B-32/{file}", ("last",)),
        ("pixels", ("last",)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiny@lats", "backbone 'tiny@lats': there is no depth 'lats'; write last"),
        ("tiny@last+5/4", "there is no depth '5/4'.*from above 0 to 1/1"),
        ("tiny@0/4", "there is no depth '0/4'"),
        ("tiny@1/0", "there is no depth '1/0'"),
        ("tiny@", "there is no depth ''"),
        ("tiny@last@1/2", "there is no depth 'last@1/2'.*joined by"),
        ("tiny+resnet50", "there is no backbone 'resnet50' .in 'tiny.resnet50'.; write tiny, pixels"),
        ("tiny+last", "there is no backbone 'last'"),
        ("tiny+", "there is no backbone ''"),
        ("tiny@last+pixels+tiny@3/4", "names tiny twice; give its depths in one place"),
        ("pixels@3/4", "pixels has no blocks"),
        ("timm:+tiny", "there is no backbone 'timm:'"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        named_backbones(text)
    for config in (KnnConfig, RidgeConfig):
        with pytest.raises(ValidationError, match=message):
            config(backbone=text)


@pytest.mark.parametrize("cls", [KnnPredictor, RidgePredictor])
def test_joined_backbones_are_counted_together(cls: type[KnnPredictor] | type[RidgePredictor], tmp_path: Path) -> None:
    def of(backbone: str) -> KnnPredictor | RidgePredictor:
        return cls(cls.Config(backbone=backbone), Context(tmp_path, requested_device="cpu"))

    joined = of("tiny@last+mid+pixels")
    assert cls.uses_tiny_weights(joined.config)
    assert not cls.uses_tiny_weights(of("efficientnet-lite2@last+3/4+pixels").config)
    needs, plain = joined.requirements(100), of("tiny").requirements(100)
    assert needs.models == ("tiny",)
    assert needs.parameters is not None
    assert plain.parameters is not None
    width, own = 128 + 3 * 192 + 704, 384 if cls is RidgePredictor else 0
    assert needs.parameters.total - needs.parameters.trainable == plain.parameters.total - plain.parameters.trainable
    assert needs.parameters.trainable == own * (width + 1)
    assert needs.parameters.total - needs.parameters.trainable == joined.parameter_count().total
    assert of("tiny+timm:hf_hub:nobody/knows").requirements(100).parameters is None
