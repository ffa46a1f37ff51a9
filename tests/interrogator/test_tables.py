"""Phrase lists and tables: what is read, exact nearest phrases, embedding once, and cutting to the context."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from harness_interrogator.phrases import cleaned, phrase_lists
from harness_interrogator.tables import PhraseTable, top
from harness_interrogator.towers import Clip, load_clip
from harness_interrogator.writing import shortened
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.cache import DiskCache
from harness.errors import InputError
from harness.plugin import Context
from tests.interrogator.towers import build, scenes


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 30), st.integers(1, 700), st.integers(0, 2**31), st.booleans())
def test_top_is_exact_and_orders_equals_by_column(rows: int, blocks: int, count: int, seed: int, equals: bool) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, blocks * 64)).astype(np.float32)
    values = values.round(1) if equals else values
    count = min(count, values.shape[1])
    columns, found = top(torch.from_numpy(values), count)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :count]
    assert np.array_equal(columns, expected)
    assert np.array_equal(found, np.take_along_axis(values, expected, axis=1))


@pytest.mark.parametrize("furthest", [False, True])
@pytest.mark.parametrize("count", [1, 5, 400, 999])
def test_nearest_phrases_are_those_of_brute_force(count: int, furthest: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness_interrogator.tables._SIMILARITIES", 2048)  # several steps of images
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(401, 16)).astype(np.float16)  # no multiple of 64
    features = rng.normal(size=(9, 16)).astype(np.float32)
    table = PhraseTable([f"p{i}" for i in range(401)], embeddings)
    indices, similarities = table.nearest(features, count, furthest)
    exact = features @ embeddings.astype(np.float32).T
    expected = np.argsort(exact if furthest else -exact, axis=1, kind="stable")[:, : min(count, 401)]
    assert np.array_equal(indices, expected)
    assert np.allclose(similarities, np.take_along_axis(exact, expected, axis=1), atol=1e-5)


def test_the_packaged_lists_are_read_whole() -> None:
    lists = phrase_lists()
    # The files have 100 970, 5 265, 95, 200 and 41 lines; of the flavors 1 is empty, 2 are undecodable, 15 repeat.
    assert {name: len(phrases) for name, phrases in lists.items()} == {
        "artists": 2 * 5265,
        "flavors": 100_952,
        "mediums": 95,
        "movements": 200,
        "negative": 41,
        "trendings": 4 * 18,
    }
    assert lists["artists"][0].startswith("by ")
    assert lists["artists"][5265] == lists["artists"][0].replace("by ", "inspired by ", 1)
    everything = [phrase for phrases in lists.values() for phrase in phrases]
    assert all(phrase == phrase.strip() != "" and phrase.isprintable() for phrase in lists["mediums"])
    assert not any("�" in phrase or "\b" in phrase for phrase in everything)


def test_cleaning_keeps_each_readable_phrase_once() -> None:
    assert cleaned([" a", "a ", "", "  ", "b\x08", "�c", "d", "b"]) == ("a", "b", "d")


def test_own_phrase_files_replace_the_flavors(tmp_path: Path) -> None:
    file = tmp_path / "mine.txt"
    file.write_text("a red fox\n\nin the snow\n", encoding="utf-8")
    lists = phrase_lists((str(file),))
    assert lists["flavors"] == ("a red fox", "in the snow")
    assert len(lists["mediums"]) == 95
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    with pytest.raises(InputError, match=r"interrogator\.phrases: .*empty\.txt holds no phrase; write one a line"):
        phrase_lists((str(empty),))
    with pytest.raises(InputError, match=r"interrogator\.phrases: .*absent\.txt cannot be read"):
        phrase_lists((str(tmp_path / "absent.txt"),))
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"interrogator\.phrases: .*binary\.txt cannot be read as UTF-8"):
        phrase_lists((str(binary),))


def test_a_missing_package_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    images = scenes(12, 5).images.take([0])
    phrase_lists.cache_clear()
    monkeypatch.setattr(metadata, "distribution", absent)
    with pytest.raises(InputError, match=r"interrogator\.mode: .*`pip install --no-deps clip-interrogator`") as caught:
        build(tmp_path, mode="fast").predict(images)
    assert "\n" not in str(caught.value)


def test_tables_are_embedded_once(
    clip_folder: Path, short_lists: dict[str, tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = scenes(12, 5).images.take([0, 1])
    own = {"cache": DiskCache(tmp_path / "cache")}
    first = build(tmp_path, own, clip=str(clip_folder), mode="fast").predict(images)

    def refuse(*arguments: object) -> None:
        raise AssertionError("a text was embedded again")

    monkeypatch.setattr(Clip, "embed_tokens", refuse)
    again = build(tmp_path, own, clip=str(clip_folder), mode="fast").predict(images)
    assert np.array_equal(first, again)
    with pytest.raises(AssertionError, match="embedded again"):
        build(tmp_path, {"cache": DiskCache(tmp_path / "elsewhere")}, clip=str(clip_folder), mode="fast").predict(
            images
        )


def test_a_table_is_known_by_phrases_and_weights(clip_folder: Path, tmp_path: Path) -> None:
    context = Context(tmp_path, requested_device="cpu", cache=DiskCache(tmp_path / "cache"))
    random, tiny = load_clip(str(clip_folder), "cpu"), load_clip("tiny", "cpu")
    one = PhraseTable.embed(context, random, ["a cat", "a dog"], 64, "x")
    assert not np.array_equal(
        PhraseTable.embed(context, random, ["a dog", "a cat"], 64, "x").embeddings, one.embeddings
    )
    assert np.array_equal(PhraseTable.embed(context, random, ["a cat", "a dog"], 8, "y").embeddings, one.embeddings)
    assert PhraseTable.embed(context, tiny, ["a cat", "a dog"], 64, "x").embeddings.shape == (2, 128)


def test_texts_are_embedded_as_open_clip_does_alone_and_in_batches(clip_folder: Path) -> None:
    for name in (str(clip_folder), "tiny"):
        clip = load_clip(name, "cpu")
        texts = ["", "a cat", "the same " * 40, "4k!", "a cat on a mat, oil on canvas", "!"]
        with torch.inference_mode():
            expected = clip.model.encode_text(clip.tokenizer(texts), normalize=True).numpy()
        assert np.allclose(clip.embed_texts(texts, 4), expected, atol=1e-5)
        assert np.allclose(clip.embed_texts(texts[::-1], 64)[::-1], expected, atol=1e-5)
        for i, text in enumerate(texts):
            assert np.allclose(clip.embed_texts([text], 64), expected[i : i + 1], atol=1e-5)
        assert clip.embed_texts([], 4).shape == (0, clip.width)


def test_texts_are_cut_at_the_comma_before_the_context_is_full(clip_folder: Path) -> None:
    clip = load_clip(str(clip_folder), "cpu")  # 32 tokens, start and end among them

    def one_by_one(text: str) -> str:
        kept, *rest = text.split(", ")
        for part in rest:
            if clip.full([kept + part])[0]:
                break
            kept += f", {part}"
        return kept

    words = ["a red fox", "oil", "on a very long and winding road to nowhere", "deep blue sea", "by night", "ink"]
    rng = np.random.default_rng(0)
    texts = ["", "short", "word " * 100 + ", more"]
    texts += [", ".join(rng.choice(words, size=size).tolist()) for size in range(1, 25)]
    cut = shortened(clip, texts)
    assert cut == [one_by_one(text) for text in texts]
    assert cut[1] == "short"
    assert cut[2] == "word " * 100
    assert len(cut[-1]) < len(texts[-1])
