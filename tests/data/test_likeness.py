"""How far apart MiniLM sees texts: the measure against all pairs, the reasons, and where they are told."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.data import likeness as likeness_module
from harness.data.likeness import ALIKE, TextLikeness, mean_cosine, text_likeness
from harness.data.opening import open_dataset
from harness.data.targets import LONGEST, PromptEncoder, row_targets
from harness.plugin import PluginManager
from harness.report.markdown import markdown
from harness.store.run import RunFolder
from harness.workbench.run import Run
from tests.conftest import PROMPTS, Harness, save_image
from tests.data.synthetic import clustered, dataset_of
from tests.report.runs import publish_run

ENGLISH = [
    *("a black cat on a window sill looks at the rain", "an astronaut rides a horse through the desert"),
    *("neon lights and umbrellas in the city at night", "a steaming bowl of beef noodles"),
    *("a lake under the snow mountain mirrors the sky", "a knight in armour fights a dragon"),
    *("old men play chess in the park", "a train of the future runs through an underwater tunnel"),
    "children fly kites on the beach",
]
CHINESE = [
    *(
        "一只黑猫坐在窗台上看雨",
        "宇航员骑着马穿过沙漠",
        "城市夜景中的霓虹灯和雨伞",
        "一碗热气腾腾的牛肉面",
        "雪山下的湖泊倒映着蓝天",
    ),
    *("穿着盔甲的骑士与巨龙战斗", "老人在公园里下象棋", "未来的火车驶过水下隧道", "孩子们在海滩上放风筝"),
]
JAPANESE = [
    *(
        "窓辺で雨を見る黒猫",
        "砂漠を馬で走る宇宙飛行士",
        "夜の街のネオンと傘",
        "湯気の立つラーメン",
        "雪山と湖に映る青空",
    ),
    *("竜と戦う鎧の騎士", "公園で将棋をさす老人", "海の中のトンネルを走る未来の列車", "浜辺で凧をあげる子供たち"),
]
EMOJI = ["🐈🌧", "🐎🏜", "🌃☂", "🍜", "🏔🏞", "🐉", "♟", "🚄🌊", "🪁🏖"]
GERMAN = [
    *("Eine schwarze Katze sitzt am Fenster", "Ein Astronaut reitet durch die Wüste", "Alte Männer spielen Schach"),
    *("Neonlichter in der nächtlichen Stadt", "Eine dampfende Schüssel Nudelsuppe", "Kinder lassen Drachen steigen"),
]
FACES = [
    f"a photo of a face, {who}, {how}, studio light, 85mm, highly detailed"
    for who, how in itertools.product(
        ("young woman", "old man", "boy", "girl", "nurse"), ("smiling", "crying", "asleep", "angry", "in profile")
    )
]
REPEATED = [f"a cat sits on a mat in the sun, number {i}" for i in range(30)]
LONG = ["word " * 300 + text for text in ENGLISH]
SCRIPT, CUT, SIGNS, FORMULA = ("are in a script that", "put first what differs", "such as emoji", "say much the same")


def measured(texts: Sequence[str]) -> TextLikeness:
    dataset, encoder = dataset_of(texts), PromptEncoder()
    return text_likeness(dataset, row_targets(dataset.texts, encoder), encoder)


@pytest.mark.parametrize(("n", "spread"), [(2, 1.0), (50, 0.2), (700, 3.0)])
def test_the_mean_cosine_is_that_of_all_pairs(n: int, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(n + 5, 7, spread, seed=n)
    rows = np.random.default_rng(n).permutation(n + 5)[:n]
    cosines = vectors[rows].astype(np.float64) @ vectors[rows].T.astype(np.float64)
    assert mean_cosine(vectors, rows) == pytest.approx(cosines[np.triu_indices(n, 1)].mean(), abs=1e-6)
    assert mean_cosine(vectors, rows[:1]) is None


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        *((CHINESE, SCRIPT), (JAPANESE, SCRIPT), (EMOJI, SCRIPT), (FACES, FORMULA), (REPEATED, FORMULA)),
        *((["a cat"] * 9, FORMULA), (LONG, CUT), (ENGLISH + CHINESE, SCRIPT)),
        ([f"{text} {sign}" for text in ENGLISH for sign in "🐈🐎"], SIGNS),
    ],
    ids=["chinese", "japanese", "emoji", "faces", "repeated", "one text", "long", "half chinese", "signs"],
)
def test_what_cannot_be_told_apart_is_named_with_its_reason(texts: Sequence[str], reason: str) -> None:
    found = measured(texts)
    assert found.alike
    (note,) = found.notes()
    assert [words for words in (SCRIPT, CUT, SIGNS, FORMULA) if words in note] == [reason]


@pytest.mark.parametrize("texts", [ENGLISH, PROMPTS, GERMAN, ["a cat"], [t.upper() for t in ENGLISH] + ENGLISH])
def test_what_can_be_told_apart_is_not(texts: Sequence[str]) -> None:
    found = measured(texts)
    assert (found.alike, found.notes(), found.foreign, found.cut, found.merged) == (False, [], 0.0, 0.0, 0.0)


@pytest.mark.parametrize("name", ["drawbench", "flickr8k_1000", "kaggle_sample", "scenes:200"])
@pytest.mark.parametrize("captions", ["mean", "first"])
def test_real_prompts_in_english_are_not(name: str, captions: str, real_data: Path) -> None:
    data = open_dataset(name if name.startswith("scenes") else str(real_data / name), PluginManager().readers, captions)
    found = text_likeness(data, row_targets(data.texts, PromptEncoder()), PromptEncoder())
    assert found.notes() == []
    assert found.cosine is not None
    assert 0.05 < found.cosine < 0.3 < ALIKE


def test_the_guess_is_what_the_mean_of_all_scores() -> None:
    vectors = PromptEncoder().encode(CHINESE).astype(np.float64)
    mean = vectors.mean(axis=0)
    score = (vectors @ mean / np.linalg.norm(mean)).mean()
    (note,) = measured(CHINESE).notes()
    assert f"one guess for all rows scores about {score:.2f}" in note


def test_shares_are_counted_by_word_pieces() -> None:
    found = measured([*ENGLISH, *CHINESE[:3], LONG[0], LONG[1], "une chaîne café ☂"])
    assert found.foreign == pytest.approx(3 / 15)
    assert found.cut == found.merged == pytest.approx(2 / 15)
    assert found.foreign_cosine == pytest.approx(mean_cosine(PromptEncoder().encode(CHINESE[:3]), np.arange(3)))


def test_of_many_texts_a_sample_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{text} {i}" for i in range(20) for text in CHINESE] + [f"a cat on mat {i}, ça va" for i in range(60)]
    whole = measured(texts)
    monkeypatch.setattr(likeness_module, "_SAMPLE", 60)
    part = measured(texts)
    assert whole.foreign == pytest.approx(180 / 240)
    assert part.foreign == pytest.approx(180 / 240, abs=0.15)
    assert part.cosine == whole.cosine


def test_what_the_encoder_reads_is_what_is_said_here() -> None:
    encoder = PromptEncoder()
    assert encoder._model.max_seq_length == LONGEST + 2
    base = "word " * LONGEST
    same, other = encoder.embed([base + "cat", base + "dog"]), encoder.embed([base[5:] + "cat", base[5:] + "dog"])
    assert same[0] @ same[1] == pytest.approx(1.0, abs=1e-6)
    assert other[0] @ other[1] < 1.0 - 1e-5
    (ids,) = encoder.word_pieces.split(["word " * 400])
    assert len(ids) == 400
    assert encoder.word_pieces.vocabulary[ids[0]] == "word"


# -- where it is told ----------------------------------------------------------------------------


def pictures(folder: Path, prompts: Sequence[str]) -> Path:
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(
            [("file_name", "prompt"), *((f"{i:02d}.png", prompt) for i, prompt in enumerate(prompts))]
        )
    for i in range(len(prompts)):
        save_image(folder / f"{i:02d}.png", i)
    return folder


def test_it_is_told_in_every_place(tmp_path: Path, harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pictures(tmp_path / "pictures", CHINESE)
    described = harness("data", "describe", data)
    assert SCRIPT in described.out
    document = harness("data", "describe", data, "--json").json["likeness"]
    assert (document["alike"], document["texts"]) == (True, 9)
    told = document["notes"][0]

    command = ("run", "--data", data, "--plugins", "mean,knn", "--folds", 3, "--group-threshold", 0.95)
    ran = harness(*command, "--run-dir", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert ran.out.count(f"‡ {told}") == 1
    assert told in harness(*command, "--run-dir", tmp_path / "run", "--json").err
    facts = RunFolder(tmp_path / "run").document.folds.texts
    assert facts is not None
    assert (facts.alike, facts.notes) == (True, [told])

    shown = harness("leaderboard", "--run-dir", tmp_path / "run")
    lines = [line for line in shown.out.split("score by")[0].splitlines() if line.strip().startswith(("mean", "knn"))]
    assert [("‡" in line) for line in lines] == [True, True]
    assert f"‡ {told}" in shown.out
    board = harness("leaderboard", "--run-dir", tmp_path / "run", "--json").json
    assert [row["prompts_alike"] for row in board["rows"]] == [True, True]
    assert board["texts"]["notes"] == [told]
    run = Run(RunFolder(tmp_path / "run"))
    for text in (str(run.leaderboard()), run.leaderboard()._repr_html_()):
        assert f"‡ {told[:20]}" in text
        assert "mean ‡" in text

    monkeypatch.chdir(tmp_path)
    published = publish_run(RunFolder(tmp_path / "run"), tmp_path / "leaderboards").document
    assert published.dataset.texts == facts
    assert all(row.prompts_alike for row in published.rows)
    assert f"‡ {told}." in markdown(published)
    assert "`mean` ‡" in markdown(published)


def test_nothing_is_told_of_prompts_in_english(kaggle: Path, tmp_path: Path, harness: Harness) -> None:
    ran = harness("run", "--data", kaggle, "--plugins", "mean", "--folds", 2, "--run-dir", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert "‡" not in ran.out + ran.err
    run = RunFolder(tmp_path / "run")
    assert run.document.folds.texts is not None
    assert (run.document.folds.texts.alike, run.document.folds.texts.notes) == (False, [])
    older = run.document.model_copy(update={"folds": run.document.folds.model_copy(update={"texts": None})})
    run.update(older)
    document = harness("leaderboard", "--run-dir", run.path, "--json").json
    assert (document["texts"], document["rows"][0]["prompts_alike"]) == (None, False)
