"""Any captioner by name: it says what its library's own call says, through the predictor and in drawn captions."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from harness_vitgpt2 import VitGpt2Predictor

from harness.data.lazy_images import LazyImages
from harness.errors import InputError
from harness.models.captioner import captions_of, empty_captioner, load_captioner
from harness.models.generating import Decoding
from harness.models.image_text import INSTRUCTION, TOKENS
from harness.plugin import Context
from tests.captioners.small import FAMILIES, save
from tests.conftest import save_images
from tests.vitgpt2.captioners import build, rows

ASKED = [family for family in FAMILIES if family not in ("vision-encoder-decoder", "blip", "blip-2", "git")]
FREE = ["blip", "blip-2", "git"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: save(family, tmp_path_factory.mktemp("captioner") / family) for family in FAMILIES}


@pytest.fixture
def images(tmp_path: Path) -> LazyImages:
    return save_images(tmp_path / "images", 5, (40, 32))


def own_words(family: str, folder: Path, images: LazyImages, **settings: Any) -> list[str]:
    """What the library's own calls say, one image at a time, as its documentation does it."""
    import transformers

    model = transformers.AutoModelForImageTextToText.from_pretrained(folder).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder)
    found = []
    for i in range(len(images)):
        if family in ("qwen3_vl", "smolvlm"):
            content = [{"type": "image", "image": images[i]}, {"type": "text", "text": INSTRUCTION}]
            inputs = processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        elif family == "florence2":
            inputs = processor(text="<CAPTION>", images=images[i], return_tensors="pt")
        else:
            inputs = processor(images=images[i], return_tensors="pt")
        with torch.inference_mode():
            said = model.generate(**inputs, do_sample=False, **settings)
        if family in ("qwen3_vl", "smolvlm"):
            said = said[:, inputs["input_ids"].shape[1] :]
        found += processor.batch_decode(said, skip_special_tokens=True)
    return [" ".join(text.split()) for text in found]


@pytest.mark.parametrize("family", [*ASKED, *FREE])
@pytest.mark.parametrize("beams", [1, 3])
def test_it_says_what_its_librarys_own_call_says(
    family: str, beams: int, folders: dict[str, Path], images: LazyImages, tmp_path: Path
) -> None:
    captioner = load_captioner(str(folders[family]), "x")
    found = captions_of(captioner, Context(tmp_path, requested_device="cpu"), images, Decoding(beams, 7), batch=4)
    expected = own_words(family, folders[family], images, max_new_tokens=7, num_beams=beams)
    assert [captions[0].text for captions in found] == expected
    assert all(len(captions) == beams and math.isfinite(captions[0].score) for captions in found)
    assert any(expected), "they say something"


@pytest.mark.parametrize("family", list(FAMILIES))
def test_draws_are_of_its_distribution_and_of_the_image_alone(
    family: str, folders: dict[str, Path], images: LazyImages, tmp_path: Path
) -> None:
    captioner = load_captioner(str(folders[family]), "x")
    context, drawn = Context(tmp_path, requested_device="cpu"), Decoding(400, 1, sampled=True)
    one = images.take([2])
    rows_ = captioner.search(context, one, drawn, 4)[0]
    alone = captioner.search(context, images.take([2, 0]), Decoding(3, 4, sampled=True), 4)[0]
    beside = captioner.search(context, images, Decoding(3, 4, sampled=True), 2)[2]
    assert np.array_equal(alone[:, 1:], beside[:, 1:])
    assert np.allclose(alone[:, 0], beside[:, 0], atol=1e-4)
    # With one token a caption, its score is the token's log-probability: as many of it are drawn as it promises.
    counts = Counter(rows_[:, 1].tolist())
    shares = {token: math.exp(score) for score, token in rows_.tolist()}
    assert len(counts) > 1
    assert sum(shares.values()) <= 1 + 1e-5
    for token, count in counts.items():
        share = shares[token]
        assert abs(count - 400 * share) < 1 + 5 * math.sqrt(400 * share * (1 - share))


@pytest.mark.parametrize("family", [*ASKED, *FREE])
def test_through_the_predictor(family: str, folders: dict[str, Path], tmp_path: Path) -> None:
    train, held = rows(8, 0), rows(4, 1).images
    predictor = build(folders[family], tmp_path, beams=2, tokens=6)
    needs = predictor.requirements(8)
    predictor.fit(train)
    found = predictor.predict(held)
    assert found.shape == (4, 384)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert needs.parameters == predictor.parameter_count()
    assert needs.memory
    assert needs.memory > 4 * needs.parameters.total
    folder = tmp_path / "model"
    folder.mkdir()
    predictor.save(folder)
    again = build(folders[family], tmp_path, beams=2, tokens=6)
    again.load(folder)
    assert np.allclose(again.predict(held), found, atol=1e-6)
    assert {each.kind for each in again.explain(held)[0]} == {"caption"}
    with pytest.raises(InputError, match=r"only encoder-decoders \(VisionEncoderDecoderModel\) are fine-tuned"):
        build(folders[family], tmp_path, epochs=1).fit(train)


def test_draws_count_alike_and_beams_by_their_probability(folders: dict[str, Path], tmp_path: Path) -> None:
    train, held = rows(6, 0), rows(3, 1).images
    drawn = build(folders["blip"], tmp_path, beams=3, tokens=5, decoding="draws")
    drawn.fit(train)
    beams = build(folders["blip"], tmp_path, beams=3, tokens=5)
    beams.fit(train)
    assert not np.allclose(drawn.predict(held), beams.predict(held))
    shares = [[each.score for each in image] for image in drawn.explain(held)]
    assert all(abs(share * 3 - round(share * 3)) < 1e-6 for image in shares for share in image)
    weighed = [each.score for image in beams.explain(held) for each in image]
    assert max(abs(share * 3 - round(share * 3)) for share in weighed) > 0.05


@pytest.mark.parametrize("family", ASKED)
def test_what_it_is_asked_changes_what_it_says(
    family: str, folders: dict[str, Path], images: LazyImages, tmp_path: Path
) -> None:
    context = Context(tmp_path, requested_device="cpu")
    plain, asked = (
        load_captioner(str(folders[family]), "x", question) for question in (None, "a harbour, or a fox asleep?")
    )
    assert plain.digest != asked.digest
    said = [[c[0].score for c in captions_of(each, context, images, Decoding(2, 6))] for each in (plain, asked)]
    assert not np.allclose(*said)


def test_what_takes_no_words_cannot_be_asked(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"captions without words, and cannot be asked 'what\?'"):
        load_captioner(str(folders["vision-encoder-decoder"]), "x", "what?")


def test_how_long_a_caption_may_be(folders: dict[str, Path]) -> None:
    assert load_captioner(str(folders["blip"]), "x").default_tokens == TOKENS
    assert load_captioner(str(folders["vision-encoder-decoder"]), "x").default_tokens == 16 - 1  # max_length=16
    assert VitGpt2Predictor.Config(captioner="tiny").tokens == 32


@pytest.mark.parametrize("family", list(FAMILIES))
def test_its_size_is_told_without_its_weights(family: str, folders: dict[str, Path]) -> None:
    empty = empty_captioner(str(folders[family]), "x")
    assert empty is not None
    model = load_captioner(str(folders[family]), "x").model
    assert sum(p.numel() for p in empty.parameters()) == sum(p.numel() for p in model.parameters())


def test_folders_that_are_no_captioner_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    import json
    import shutil

    lacking = tmp_path / "lacking"
    shutil.copytree(folders["blip"], lacking)
    (lacking / "preprocessor_config.json").unlink(missing_ok=True)
    (lacking / "processor_config.json").unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"x=.*lacking: .* holds no captioner that transformers can load"):
        load_captioner(str(lacking), "x")
    remote = tmp_path / "remote"
    remote.mkdir()
    config = {"model_type": "their_own", "auto_map": {"AutoModel": "theirs.Model"}}
    (remote / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="holds no captioner that transformers can load"):
        load_captioner(str(remote), "x")
    from safetensors.torch import load_file, save_file

    cut = tmp_path / "cut"
    shutil.copytree(folders["git"], cut)
    state = load_file(str(cut / "model.safetensors"))
    name = next(key for key in state if "layer.1" in key)
    save_file({k: v for k, v in state.items() if k != name}, cut / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 1 weights of the captioner"):
        load_captioner(str(cut), "x")
