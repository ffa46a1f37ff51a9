"""The phrase modes against clip-interrogator 0.6.0 on the same tower, phrases, captions and images."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from harness_interrogator import InterrogatorPredictor
from harness_interrogator.writing import Writer

from tests.interrogator.towers import build, few_phrases, reference, scenes

# It calls torch.cuda.amp.autocast, which torch has renamed, and without a GPU warns of it.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.cuda.amp.autocast.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*CUDA is not available.*:UserWarning"),
]


def test_texts_are_those_of_clip_interrogator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = few_phrases(flavors=1000)
    monkeypatch.setattr("harness_interrogator.writing.phrase_lists", lambda files: lists)
    predictor = build(tmp_path)
    clip = predictor._clip()
    other = reference(tmp_path / "other", clip, lists, chunk_size=4096)  # a chunk takes every table whole: exact
    assert tuple(other.artists.labels) == lists["artists"]
    assert tuple(other.trendings.labels) == lists["trendings"]
    rows = scenes(12, 5)
    captions = [
        " ".join(prompt.split()[: 2 + i]) + (", " + lists["flavors"][i]) * (i % 3)
        for i, prompt in enumerate(rows.prompts)
    ]
    captions[0] = f"{lists['mediums'][0]}, of something"
    features = clip.embed_images(predictor.context, rows.images, 8)
    for mode, theirs in (("fast", other.interrogate_fast), ("classic", other.interrogate_classic)):
        config = predictor.config.model_copy(update={"mode": mode})
        ours = Writer(config, predictor.context, clip).compose(features, [(caption, None) for caption in captions])
        expected = [theirs(rows.images[i], caption=caption) for i, caption in enumerate(captions)]
        assert [written.text for written in ours] == expected, mode
        assert len({written.text.removeprefix(captions[i]) for i, written in enumerate(ours)}) > 6  # they do differ


@pytest.mark.parametrize("mode", ["classic", "fast", "best", "negative"])
def test_the_reference_preset_is_each_mode_as_clip_interrogator_has_it(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No number is given to either side: each takes its own default of the mode."""
    lists = few_phrases(flavors=120)
    monkeypatch.setattr("harness_interrogator.writing.phrase_lists", lambda files: lists)
    options = {**InterrogatorPredictor.presets["reference"], "mode": mode, "clip": "tiny", "captioner": "none"}
    predictor = build(tmp_path, **options)
    clip = predictor._clip()
    rows = scenes(12, 5)
    captions = [" ".join(prompt.split()[:3]) for prompt in rows.prompts[:2]]
    features = clip.embed_images(predictor.context, rows.images, 8)[:2]
    ours = Writer(predictor.config, predictor.context, clip).compose(features, [(c, None) for c in captions])
    other = reference(tmp_path / "other", clip, lists, chunk_size=4096)
    if mode == "negative":  # whose first step goes the wrong way there: only the number is compared
        most = inspect.signature(other.interrogate_negative).parameters["max_flavors"].default
        assert predictor.config.phrase_count is None
        fewer = predictor.config.model_copy(update={"phrase_count": most})
        same = Writer(fewer, predictor.context, clip).compose(features, [(c, None) for c in captions])
        assert [written.text for written in ours] == [written.text for written in same]
        assert max(len(written.phrases) for written in ours) > 4
        return
    theirs = {"classic": other.interrogate_classic, "fast": other.interrogate_fast, "best": other.interrogate}[mode]
    assert [w.text for w in ours] == [theirs(rows.images[i], caption=caption) for i, caption in enumerate(captions)]


def test_best_is_that_of_clip_interrogator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = few_phrases(flavors=60)
    monkeypatch.setattr("harness_interrogator.writing.phrase_lists", lambda files: lists)
    predictor = build(tmp_path, mode="best", candidates=40, phrase_count=6, least_phrases=3)
    clip = predictor._clip()
    other = reference(tmp_path / "other", clip, lists, chunk_size=4096)
    other.config.flavor_intermediate_count = 40
    rows = scenes(12, 5)
    captions = [" ".join(prompt.split()[:4]) for prompt in rows.prompts[:4]]
    features = clip.embed_images(predictor.context, rows.images, 8)[:4]
    ours = Writer(predictor.config, predictor.context, clip).compose(features, [(c, None) for c in captions])
    expected = [
        other.interrogate(rows.images[i], min_flavors=3, max_flavors=6, caption=caption)
        for i, caption in enumerate(captions)
    ]
    assert [written.text for written in ours] == expected
