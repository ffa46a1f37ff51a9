"""The phrase modes, what explain says in each, options, presets, and what is wrong with wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from harness_interrogator import InterrogatorPredictor
from harness_interrogator.towers import Clip
from harness_interrogator.writing import Writer
from harness_vitgpt2 import VitGpt2Predictor
from pydantic import ValidationError

from harness.data.cache import DiskCache
from harness.data.targets import PromptEncoder
from harness.errors import InputError
from harness.plugin import Context, ParameterCount, PluginManager
from tests.interrogator.towers import build, scenes, some
from tests.vitgpt2.captioners import build as build_vitgpt2
from tests.vitgpt2.captioners import save_captioner

Lists = dict[str, tuple[str, ...]]
QUICK: dict[str, Any] = {"candidates": 30, "phrase_count": 4, "least_phrases": 2}


@dataclass(frozen=True)
class Said:
    text: str
    score: float


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A captioner that says an image's digest; remembers how it was asked."""
    from harness.models import captioner

    asked: list[dict[str, Any]] = []

    def caption_images(context: Context, images: Any, **options: Any) -> list[list[Said]]:
        asked.append(options)
        return [[Said(f"a picture of {digest[:4]}", -1.5), Said("worse", -9.0)] for digest in images.digests]

    monkeypatch.setattr(captioner, "caption_images", caption_images)
    monkeypatch.setattr(captioner, "load_captioner", lambda name, option: SimpleNamespace(digest=name))
    return asked


@pytest.mark.parametrize("mode", ["fast", "classic", "best", "negative"])
def test_a_prediction_is_the_embedding_of_the_text(
    mode: str, clip_folder: Path, short_lists: Lists, captions: list[dict[str, Any]], tmp_path: Path
) -> None:
    images = scenes(12, 5).images.take(range(5))
    predictor = build(tmp_path, clip=str(clip_folder), mode=mode, captioner="some/captioner", caption_beams=3, **QUICK)
    predicted = predictor.predict(images)
    said = predictor.explain(images)
    texts = [each[0].text for each in said]
    assert np.array_equal(predicted, PromptEncoder().encode(texts))
    assert predictor.predict(images.take([])).shape == (0, 384)
    every = {phrase for phrases in short_lists.values() for phrase in phrases}
    for i, each in enumerate(said):
        phrases = [e for e in each if e.kind == "phrase"]
        assert phrases
        assert {e.text for e in phrases} <= every
        scores = [e.score for e in phrases]
        assert scores == sorted(scores, reverse=mode != "negative")
        if mode == "negative":
            assert [e.kind for e in each[:2]] == ["text", "phrase"]
        else:
            caption = f"a picture of {images.digests[i][:4]}"
            assert each[0].text.startswith(caption)
            assert (each[1].kind, each[1].text, each[1].score) == ("caption", caption, -1.5)
    options = {"model": "some/captioner", "option": "interrogator.captioner", "beams": 3, "tokens": None, "batch": 32}
    assert all(asked == options for asked in captions)
    assert bool(captions) == (mode != "negative")


@pytest.mark.parametrize("mode", ["fast", "classic", "best", "negative"])
def test_training_rows_order_and_batches_do_not_matter(
    mode: str, clip_folder: Path, short_lists: Lists, tmp_path: Path
) -> None:
    rows = scenes(12, 5)
    images = rows.images.take(range(5))
    plain = build(tmp_path, clip=str(clip_folder), mode=mode, **QUICK)
    expected = plain.predict(images)
    fitted = build(
        tmp_path,
        {"workers": 3, "cache": DiskCache(tmp_path / "cache")},
        clip=str(clip_folder),
        mode=mode,
        image_batch=4,
        text_batch=9,
        **QUICK,
    )
    fitted.fit(some(rows, range(6, 12)))
    assert np.allclose(fitted.predict(images.take([3, 2, 1]))[::-1], expected[1:4], atol=1e-5)
    folder = tmp_path / "model"
    folder.mkdir()
    fitted.save(folder)
    again = build(tmp_path, clip=str(clip_folder), mode=mode, **QUICK)
    again.load(folder)
    assert np.array_equal(again.predict(images), expected)


def grown(scored: Callable[[list[str]], Any], clip: Clip, pool: list[str]) -> tuple[str, float]:
    """The chain of at most 4 phrases of which 2 are tried anyway, one candidate text after the other."""
    text = best = pool[int(scored(pool).argmax())]
    score = best_score = scored([text])[0]
    pool.remove(text)
    for step in range(4):
        scores = scored([f"{text}, {phrase}" for phrase in pool])
        if scores.max() <= score and step >= 2:
            break
        score, text = scores.max(), f"{text}, {pool.pop(int(scores.argmax()))}"
        if score > best_score:
            best, best_score = text, score
        if clip.full([text])[0]:
            break
    return best, best_score


@pytest.mark.parametrize(("mode", "sign"), [("best", 1.0), ("negative", -1.0)])
def test_a_chain_adds_what_brute_force_would(
    mode: str, sign: float, clip_folder: Path, short_lists: Lists, tmp_path: Path
) -> None:
    predictor = build(tmp_path, clip=str(clip_folder), mode=mode, **QUICK)
    clip = predictor._clip()
    features = clip.embed_images(predictor.context, scenes(12, 5).images.take(range(3)), 8)
    lists = [short_lists[name] for name in ("artists", "flavors", "mediums", "movements", "trendings")]
    table = [phrase for phrases in lists for phrase in phrases] if sign > 0 else list(short_lists["flavors"])
    written = Writer(predictor.config, predictor.context, clip).compose(features, [("", None)] * 3)
    for feature, ours in zip(features, written, strict=True):

        def scored(texts: list[str], feature: Any = feature) -> Any:
            return sign * clip.embed_texts(texts, 64) @ feature

        pool = [table[i] for i in np.argsort(-scored(table))[:30]]
        best, best_score = grown(scored, clip, pool if sign > 0 else [*pool, *short_lists["negative"]])
        if sign < 0:
            assert ours.text == best
        else:  # the best of chain, classic and fast
            assert scored([ours.text])[0] >= best_score - 1e-5


def test_classic_names_a_medium_once(clip_folder: Path, short_lists: Lists, tmp_path: Path) -> None:
    predictor = build(tmp_path, clip=str(clip_folder), mode="classic")
    features = predictor._clip().embed_images(predictor.context, scenes(12, 5).images.take([0]), 8)
    writer = Writer(predictor.config, predictor.context, predictor._clip())
    bare = writer.compose(features, [("", None)])[0]
    medium = bare.phrases[0][0]
    assert medium in short_lists["mediums"]
    assert bare.text.startswith(f"{medium} {bare.phrases[1][0]}, ")
    assert writer.compose(features, [("a cat", None)])[0].text.startswith(f"a cat, {medium} ")
    named = writer.compose(features, [(f"{medium} of a cat", None)])[0]
    assert named.text.startswith(f"{medium} of a cat {bare.phrases[1][0]}, ")


def test_a_clip_by_the_name_of_a_model_and_a_file_is_that_of_the_folder(tmp_path: Path) -> None:
    import open_clip
    from harness_interrogator.towers import load_clip

    from harness.models import TINY_FOLDER

    described = json.loads((TINY_FOLDER / "clip" / "open_clip_config.json").read_text())["model_cfg"]
    (tmp_path / "harness_tiny_named.json").write_text(json.dumps(described))
    open_clip.add_model_config(tmp_path / "harness_tiny_named.json")
    named = load_clip(f"harness_tiny_named/{TINY_FOLDER / 'clip' / 'open_clip_model.safetensors'}", "cpu")
    folder = load_clip("tiny", "cpu")
    assert np.array_equal(named.embed_texts(["a cat"], 4), folder.embed_texts(["a cat"], 4))
    assert named.digest == folder.digest


def test_a_hub_name_without_network_says_how_to_get_the_weights(tmp_path: Path) -> None:
    predictor = build(tmp_path, clip="ViT-H-14/laion2b_s32b_b79k", mode="fast")
    with pytest.raises(
        InputError, match=r"interrogator\.clip=ViT-H-14/laion2b_s32b_b79k: .*`hf download laion/.*--local-dir DIR`"
    ) as caught:
        predictor.predict(scenes(12, 5).images.take([0]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("nothing", r"neither tiny, nor a folder, nor MODEL/PRETRAINED .* write for example ViT-L-14-quickgelu/openai"),
        ("ViT-L-14", r"neither tiny, nor a folder"),
        ("ViT-L-14/opanai", r"'opanai' is no checkpoint file.* write one of openai, .* or the path of a file"),
    ],
)
def test_wrong_names_are_refused(name: str, mend: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"interrogator\.clip={name}: .*{mend}"):
        build(tmp_path, clip=name).fit(scenes(12, 5))


def test_folders_that_are_no_clip_are_refused(clip_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    images = scenes(12, 5)
    with pytest.raises(InputError, match=r"interrogator\.clip=.*the folder has no open_clip_config\.json; name"):
        build(tmp_path, clip=str(tmp_path)).fit(images)
    (tmp_path / "open_clip_config.json").write_text((clip_folder / "open_clip_config.json").read_text())
    with pytest.raises(InputError, match=r"interrogator\.clip=.*could not load it .*restore the folder"):
        build(tmp_path, clip=str(tmp_path)).fit(images)
    weights = load_file(clip_folder / "open_clip_model.safetensors")
    del weights["visual.conv1.weight"]
    save_file(weights, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"interrogator\.clip=.*could not load it .*restore the folder") as caught:
        build(tmp_path, clip=str(tmp_path)).fit(images)
    assert "\n" not in str(caught.value)


def test_what_a_task_needs_is_known_without_weights(tmp_path: Path, clip_folder: Path) -> None:
    tiny = build(tmp_path).requirements(100)
    assert tiny.models == ("tiny",)
    assert tiny.parameters == build(tmp_path).parameter_count() == ParameterCount(0, 9_996_801)
    published = build(tmp_path, clip="ViT-H-14/laion2b_s32b_b79k", mode="negative").requirements(0)
    assert published.parameters == ParameterCount(0, 986_109_441)
    assert published.memory is not None
    assert 4e9 < published.memory < 6e9
    with_captions = build(tmp_path, clip="ViT-L-14/openai", mode="fast", captioner="a/b").requirements(0)
    assert with_captions.models == ("ViT-L-14-quickgelu/openai", "a/b")
    folder = build(tmp_path, clip=str(clip_folder))
    assert folder.requirements(5).parameters == folder.parameter_count()


def test_options_survive_json_and_unknown_ones_are_refused() -> None:
    cls = InterrogatorPredictor.Config
    for preset, options in InterrogatorPredictor.presets.items():
        config = cls(**options)
        assert cls.model_validate_json(config.model_dump_json()) == config, preset
    assert cls() == cls(caption_tokens=32) == cls(**InterrogatorPredictor.presets["tiny"])
    for options in InterrogatorPredictor.presets.values():  # vitgpt2's own, so that the two share captions
        for captioner in ("tiny", "nlpconnect/vit-gpt2-image-captioning"):
            shared = VitGpt2Predictor.Config(captioner=captioner)
            config = cls(**{**options, "captioner": captioner})
            assert (config.caption_beams, config.caption_tokens) == (shared.beams, shared.tokens)
    for wrong in ({"flavor": 3}, {"mode": "slow"}, {"mix": 1.5}, {"neighbours": 0}):
        with pytest.raises(ValidationError):
            cls(**wrong)
    assert all(field.description for field in cls.model_fields.values())
    tiny = InterrogatorPredictor.uses_tiny_weights
    assert tiny(cls())
    assert tiny(cls(clip="ViT-L-14/openai", mode="fast"))  # its captions
    assert not tiny(cls(clip="ViT-L-14/openai", mode="prompts"))  # which this mode does not ask for
    assert not tiny(cls(**InterrogatorPredictor.presets["reference"]))


def test_registering_imports_nothing_heavy() -> None:
    script = (
        "import sys, harness_interrogator\nfrom pathlib import Path\nfrom harness.plugin import Context\n"
        "cls = harness_interrogator.InterrogatorPredictor\ncls(cls.Config(), Context(Path('.')))\n"
        "assert not {'torch', 'transformers', 'open_clip', 'safetensors'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2] / "plugins")


def test_the_manager_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "interrogator_plugin.py"
    file.write_text("from harness_interrogator import harness_register_predictors\n")
    manager = PluginManager(plugin_files=[file], disabled=["interrogator"])
    assert manager.predictor("interrogator") is InterrogatorPredictor


def test_captions_come_from_the_cache_of_vitgpt2_and_texts_are_written_once(
    clip_folder: Path, short_lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    model = save_captioner(tmp_path / "captioner")
    train = scenes(6, 5)
    captioner = build_vitgpt2(model, tmp_path, {"cache": DiskCache()}, beams=2, tokens=6)
    captioner.fit(train)
    captioner.predict(train.images)
    monkeypatch.setattr("harness.models.captioner.generate", None)
    options = {"clip": str(clip_folder), "mode": "fast", "captioner": str(model), "caption_beams": 2}
    predictor = build(tmp_path, **options, caption_tokens=6)
    predicted = predictor.predict(train.images)
    monkeypatch.setattr("harness_interrogator.writing.Writer.write", None)
    again = build(tmp_path, **options, caption_tokens=6)
    assert np.array_equal(again.predict(train.images), predicted)
    with pytest.raises(TypeError):  # another number of tokens is another caption, and another text
        build(tmp_path, **options, caption_tokens=5).predict(train.images)
