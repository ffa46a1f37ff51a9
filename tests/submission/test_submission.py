"""Submission files: exact, in order, whole or absent, and every way they can be wrong named by line or id."""

from __future__ import annotations

import gzip
import math
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from harness.data.targets import PromptEncoder
from harness.errors import InputError
from harness.plugin import PluginManager
from harness.scoring.cosine import row_cosines
from harness.submission import write as writing
from harness.submission.read import read_submission
from harness.submission.score import align
from harness.submission.truth import read_truth
from harness.submission.write import write_submission
from tests.conftest import make_kaggle

DIM = 384
READERS = PluginManager().readers
IDS = ["b", "a_1", "c-2"]
Floats = NDArray[np.float32]

relaxed = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def vectors(n: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)


def written(path: Path, ids: list[str] | None = None, seed: int = 0) -> Path:
    ids = IDS if ids is None else ids
    write_submission(path, ids, vectors(len(ids), seed))
    return path


def refusal(path: Path, expected: list[str] | None = None, strict: bool = False) -> str:
    with pytest.raises(InputError) as caught:
        read_submission(path, expected, strict=strict)
    assert str(path) in str(caught.value)
    return str(caught.value)


# -- what is written -----------------------------------------------------------------------------


@relaxed
@given(st.data())
def test_every_finite_float32_reads_back_bit_for_bit(tmp_path: Path, data: st.DataObject) -> None:
    finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
    values = data.draw(hnp.arrays(np.float32, (data.draw(st.integers(1, 3)), DIM), elements=finite))
    values[~values.any(axis=1), 0] = 1.0  # a vector of zeros is no prediction
    ids = [f"img_{i}" for i in range(len(values))]
    write_submission(tmp_path / "s.csv", ids, values)
    found = read_submission(tmp_path / "s.csv", ids)
    assert found.ids == ids
    assert found.vectors.dtype == np.float32
    assert found.vectors.tobytes() == values.tobytes()


def test_the_ends_of_float32_read_back_bit_for_bit(tmp_path: Path) -> None:
    ends = np.finfo(np.float32)
    special = [0.0, -0.0, ends.max, ends.min, ends.tiny, -ends.tiny, ends.smallest_subnormal, 1 / 3, 1e-30, 16777217]
    values = np.resize(np.array(special, dtype=np.float32), (2, DIM))
    write_submission(tmp_path / "s.csv", ["a", "b"], values)
    assert read_submission(tmp_path / "s.csv").vectors.tobytes() == values.tobytes()


def test_random_bit_patterns_read_back_bit_for_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, size=(300, DIM), dtype=np.uint32)
    values = np.where(np.isfinite(bits.view(np.float32)), bits.view(np.float32), np.float32(0.1))
    write_submission(tmp_path / "s.csv", [f"i{i}" for i in range(300)], values)
    assert read_submission(tmp_path / "s.csv").vectors.tobytes() == values.tobytes()


def test_the_file_has_the_competitions_header_and_order(tmp_path: Path) -> None:
    values = np.tile(np.arange(DIM, dtype=np.float32) / 4, (2, 1))
    write_submission(tmp_path / "s.csv", ["z", "a_0"], values)
    lines = (tmp_path / "s.csv").read_bytes().decode("ascii").split("\n")
    assert lines[:4] == ["imgId_eId,val", "z_0,0", "z_1,0.25", "z_2,0.5"]
    assert [line.split(",")[0] for line in lines[1:-1]] == [f"{i}_{e}" for i in ("z", "a_0") for e in range(DIM)]
    assert (lines[-1], len(lines)) == ("", 2 * DIM + 2)


def test_pandas_reads_what_was_written(tmp_path: Path) -> None:
    table = pd.read_csv(written(tmp_path / "s.csv"))
    assert list(table.columns) == ["imgId_eId", "val"]
    assert list(table["imgId_eId"]) == [f"{i}_{e}" for i in IDS for e in range(DIM)]
    assert (table["val"].to_numpy(dtype=np.float32).reshape(-1, DIM) == vectors(3)).all()


def test_what_pandas_writes_is_read(tmp_path: Path) -> None:
    names = [f"{i}_{e}" for i in IDS for e in range(DIM)]
    table = pd.DataFrame({"imgId_eId": names, "val": vectors(3).ravel()})
    for end in ("\n", "\r\n"):
        table.to_csv(tmp_path / "s.csv", index=False, lineterminator=end)
        found = read_submission(tmp_path / "s.csv", IDS)
        assert (found.vectors == vectors(3)).all()


def test_more_images_than_a_block_keep_their_order(tmp_path: Path) -> None:
    ids = [f"img{i}" for i in range(600)]
    found = read_submission(written(tmp_path / "s.csv", ids), ids)
    assert found.ids == ids
    assert (found.vectors == vectors(600)).all()


def test_a_memory_mapped_array_is_written(tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", vectors(300))
    ids = [f"img{i}" for i in range(300)]
    write_submission(tmp_path / "s.csv", ids, np.load(tmp_path / "p.npy", mmap_mode="r"))
    assert (read_submission(tmp_path / "s.csv").vectors == vectors(300)).all()


def test_the_competitions_sample_is_read_in_its_order(real_data: Path) -> None:
    sample = real_data / "kaggle_sample" / "sample_submission.csv"
    table = pd.read_csv(sample)
    found = read_submission(sample)
    assert [f"{i}_{e}" for i in found.ids for e in range(DIM)] == list(table["imgId_eId"])
    assert np.allclose(found.vectors.ravel(), table["val"], rtol=1e-6)


# -- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["a,b", 'a"b', "a\nb", "a\rb", ""])
def test_ids_that_cannot_stand_in_the_file_are_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(InputError, match="id"):
        written(tmp_path / "s.csv", ["ok", bad])
    assert list(tmp_path.iterdir()) == []


def test_an_id_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'b' .*twice"):
        written(tmp_path / "s.csv", ["b", "a", "b"])


@relaxed
@example(["a_b_7", "a_b", "a_b_7_7", "_", "__0"])
@example([" a", "a ", "é", "日本", "nan", "NULL", "#1", "'a'"])
@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters=',"\r\n'), min_size=1),
        unique=True,
        min_size=1,
        max_size=5,
    )
)
def test_any_other_id_reads_back(tmp_path: Path, ids: list[str]) -> None:
    assert read_submission(written(tmp_path / "s.csv", ids), ids).ids == ids


# -- files that are wrong ------------------------------------------------------------------------

Lines = list[str]


def edited(path: Path, edit: Callable[[Lines], Lines | None]) -> Path:
    """A good submission after an edit of its lines (0 is the header, 1 the first row)."""
    lines = written(path).read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(edit(lines) or lines) + "\n", encoding="utf-8")
    return path


def line(number: int, text: str) -> Callable[[Lines], None]:
    """Put a text on a line, numbered from 1 as editors do."""

    def edit(lines: Lines) -> None:
        lines[number - 1] = text

    return edit


@pytest.mark.parametrize(
    ("edit", "parts"),
    [
        (lambda lines: lines[:9] + lines[10:], ["'b_8' is missing", "1 row of image 'b'"]),
        (lambda lines: lines[:1] + lines[2:], ["'b_0' is missing"]),
        (lambda lines: lines[:-1], ["'c-2_383' is missing"]),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], ["line 6", "'b_3' is already on line 5", "remove one"]),
        (lambda lines: [*lines, *lines[1:385]], ["line 1154", "'b_0' is already on line 2"]),
        (line(10, "b_8,nan"), ["line 10", "'b_8'", "finite"]),
        (line(10, "b_8,NaN"), ["line 10", "'b_8'", "finite"]),
        (line(10, "b_8,inf"), ["line 10", "'b_8'", "finite"]),
        (line(1153, "c-2_383,-inf"), ["line 1153", "'c-2_383'", "finite"]),
        (line(10, "b_8,"), ["line 10", "'b_8'", "missing"]),
        (line(10, "b_8,1e39"), ["line 10", "'b_8'"]),
        (line(10, "b_8,cat"), ["line 10", "'b_8' is not a number", "'cat'"]),
        (line(10, "b_8,0.5;"), ["line 10", "'b_8' is not a number"]),
        (line(10, "b_8,0,5"), ["line 10", "3 fields"]),
        (line(10, "b_8"), ["line 10", "1 field"]),
        (line(10, "b_384,0.5"), ["line 10", "'b_384'", "0 to 383"]),
        (line(10, "b_-1,0.5"), ["line 10", "'b_-1'", "0 to 383"]),
        (line(10, "b8,0.5"), ["line 10", "'b8' is not imgId_eId"]),
        (line(10, "_8,0.5"), ["line 10", "'_8' is not imgId_eId"]),
        (line(10, ",0.5"), ["line 10", "has no imgId_eId"]),
        (line(10, "b_08,0.5"), ["line 10", "'b_08'"]),
        (line(2, "b_00,0.5"), ["line 2", "'b_00' is not imgId_eId"]),
        (lambda lines: [*lines[:4], "", "b_3,nan", *lines[5:]], ["line 5", "blank"]),
        (lambda lines: ["imgId_eId,value", *lines[1:]], ["the first line must be imgId_eId,val"]),
        (lambda lines: lines[1:], ["the first line must be imgId_eId,val"]),
        (lambda lines: ["imgId,prompt", "b,a bee"], ["the first line must be imgId_eId,val"]),
    ],
)
def test_a_wrong_line_is_named_with_its_mend(
    tmp_path: Path, edit: Callable[[Lines], Lines | None], parts: list[str]
) -> None:
    message = refusal(edited(tmp_path / "s.csv", edit))
    assert [part for part in parts if part not in message] == [], message


# -- forms that differ, and strictness on request --------------------------------------------------


def zipped(path: Path, *members: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.write(member, member.name)
    return path


def in_other_forms(folder: Path) -> dict[str, Path]:
    """The same submission in forms that say the same: by the reason why a strict reader refuses each."""
    good = written(folder / "s.csv")
    header, *rows = good.read_text(encoding="utf-8").splitlines()
    shuffled = list(rows)
    random.Random(0).shuffle(shuffled)
    texts = {
        "out of order": "\n".join([header, rows[1], rows[0], *rows[2:]]),
        "must follow one another": "\n".join([header, *sorted(rows)]),
        "is out of order": "\n".join([header, *shuffled]),
        "index=False": "\n".join([f",{header}", *(f"{i},{row}" for i, row in enumerate(rows))]),
        "the first line must be": "\n".join(",".join(reversed(row.split(","))) for row in [header, *rows]),
        "blank": "\n".join([header, *rows, "", "  ", ""]),
    }
    files = {"is compressed": zipped(folder / "s.zip", good), "it is compressed": folder / "s.csv.gz"}
    files["it is compressed"].write_bytes(gzip.compress(good.read_bytes()))
    for number, (reason, text) in enumerate(texts.items()):
        files[reason] = folder / f"{number}.csv"
        files[reason].write_text(text + "\n", encoding="utf-8")
    return files


def test_rows_say_themselves_which_they_are_and_files_may_be_compressed(tmp_path: Path) -> None:
    for reason, path in in_other_forms(tmp_path).items():
        found = read_submission(path, IDS)
        assert (align(found, IDS) == vectors(3)).all(), reason


def test_strictness_refuses_every_other_form_with_its_reason(tmp_path: Path) -> None:
    assert read_submission(written(tmp_path / "good.csv"), IDS, strict=True).ids == IDS
    for reason, path in in_other_forms(tmp_path).items():
        assert reason in refusal(path, IDS, strict=True), path


@settings(relaxed, max_examples=8)
@given(st.integers(0, 2**32))
def test_any_order_of_rows_gives_the_same_vectors(tmp_path: Path, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(2 * DIM)
    header, *rows = written(tmp_path / "s.csv", ["a_1", "a"]).read_text(encoding="utf-8").splitlines()
    (tmp_path / "t.csv").write_text("\n".join([header, *(rows[i] for i in order)]), encoding="utf-8")
    assert (align(read_submission(tmp_path / "t.csv", ["a", "a_1"]), ["a_1", "a"]) == vectors(2)).all()


def test_rows_in_any_order_are_checked_as_strictly_as_others(tmp_path: Path) -> None:
    header, *rows = written(tmp_path / "s.csv").read_text(encoding="utf-8").splitlines()
    turned = rows[::-1]
    for reason, changed in {
        "already on line": [*turned[:-1], turned[0]],
        "is missing (1 row": turned[:-1],
        "too large for float32": ["c-2_383,1e39", *turned[1:]],
        "all zeros": [f"{row.split(',')[0]},0" if row.startswith("b_") else row for row in turned],
    }.items():
        path = tmp_path / "t.csv"
        path.write_text("\n".join([header, *changed]), encoding="utf-8")
        assert reason in refusal(path, IDS)
    assert "'d' is missing" in refusal(in_other_forms(tmp_path)["index=False"], [*IDS, "d"])


def test_archives_that_are_no_submission_are_named(tmp_path: Path) -> None:
    one, two = written(tmp_path / "1.csv"), written(tmp_path / "2.csv")
    assert "must hold one file" in refusal(zipped(tmp_path / "two.zip", one, two))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(one.read_bytes())[:2000])
    assert "cannot be unpacked" in refusal(cut)
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "one.zip", one).read_bytes()[:4000])
    assert "cannot be unpacked" in refusal(tmp_path / "cut.zip")


@pytest.mark.parametrize("value", ["0.5", "cat"])
def test_a_header_with_a_space_is_either_read_or_refused_plainly(tmp_path: Path, value: str) -> None:
    def spaced(lines: Lines) -> Lines:
        return ["imgId_eId, val", *lines[1:9], f"b_8,{value}", *lines[10:]]

    path = edited(tmp_path / "s.csv", spaced)
    if value == "cat":
        refusal(path)
    else:
        assert read_submission(path).ids == IDS


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    path = written(tmp_path / "s.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_submission(path, IDS).ids == IDS


def test_an_unknown_image_is_named_by_line(tmp_path: Path) -> None:
    message = refusal(written(tmp_path / "s.csv", ["a", "x", "b"]), ["a", "b"])
    assert "line 386" in message
    assert "'x' is unknown" in message


@pytest.mark.parametrize("seed", range(3))
def test_an_unknown_image_is_named_by_its_line_in_any_order_of_rows(tmp_path: Path, seed: int) -> None:
    header, *rows = written(tmp_path / "s.csv").read_text().splitlines(keepends=True)
    random.Random(seed).shuffle(rows)
    (tmp_path / "s.csv").write_text(header + "".join(rows))
    line = next(i for i, row in enumerate(rows, start=2) if row.startswith("a_1_"))
    assert f"line {line}: the image 'a_1' is unknown" in refusal(tmp_path / "s.csv", ["b", "c-2"])


def test_a_missing_image_is_named_with_the_rows_it_needs(tmp_path: Path) -> None:
    message = refusal(written(tmp_path / "s.csv", ["a", "b"]), ["a", "m_1", "b", "n"])
    assert "'m_1' is missing (2 of 4)" in message
    assert "m_1_0 to m_1_383" in message


def test_a_file_with_nothing_but_the_header_is_refused(tmp_path: Path) -> None:
    path = edited(tmp_path / "s.csv", lambda lines: lines[:1])
    assert "no rows" in refusal(path, ["a", "b"])
    with pytest.raises(InputError, match="no rows"):
        read_truth(str(path), PromptEncoder(), READERS)


def test_a_file_that_is_empty_absent_or_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_bytes(b"")
    assert "the first line must be imgId_eId,val" in refusal(tmp_path / "empty.csv")
    assert "no such file" in refusal(tmp_path / "gone.csv")
    assert "it is a folder" in refusal(tmp_path)
    (tmp_path / "latin.csv").write_bytes("imgId_eId,val\ncafé_0,1\n".encode("latin-1"))
    assert "UTF-8" in refusal(tmp_path / "latin.csv")
    (tmp_path / "image.csv").write_bytes(bytes(range(256)) * 8)
    assert "the first line must be" in refusal(tmp_path / "image.csv")


# -- order, scale and zeros ----------------------------------------------------------------------


def test_images_may_come_in_another_order_than_the_truths(tmp_path: Path) -> None:
    values = vectors(3)
    write_submission(tmp_path / "s.csv", ["b", "c", "a"], values)
    found = read_submission(tmp_path / "s.csv", ["a", "b", "c"])
    assert (align(found, ["a", "b", "c"]) == values[[2, 0, 1]]).all()


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_vector_of_zeros_is_named(tmp_path: Path, zero: float) -> None:
    values = vectors(3)
    values[1] = zero
    write_submission(tmp_path / "s.csv", IDS, values)
    with pytest.raises(InputError, match="'a_1' is all zeros"):
        align(read_submission(tmp_path / "s.csv", IDS), IDS)


@pytest.mark.parametrize("length", [1e-38, 1e-30, 1.0, 1e30, 1e38])
def test_the_length_of_a_vector_does_not_change_its_score(tmp_path: Path, length: float) -> None:
    truth = vectors(3)
    write_submission(tmp_path / "s.csv", IDS, truth / np.abs(truth).max() * np.float32(length))
    cosines = row_cosines(align(read_submission(tmp_path / "s.csv", IDS), IDS), truth)
    assert cosines == pytest.approx([1.0, 1.0, 1.0], abs=1e-3 if length < 1e-37 else 1e-6)


# -- whole or absent -----------------------------------------------------------------------------


def test_a_write_that_is_cut_short_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = written(tmp_path / "s.csv").read_bytes()
    whole = writing._write_rows

    def cut(stream: object, ids: list[str], values: Floats) -> None:
        whole(stream, ids[:1], values[:1])  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_write_rows", cut)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path / "s.csv", seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]
    assert (tmp_path / "s.csv").read_bytes() == old


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_prediction_that_is_not_finite_leaves_the_old_file(tmp_path: Path, bad: float) -> None:
    ids = [f"img{i}" for i in range(300)]
    old = written(tmp_path / "s.csv", ids).read_bytes()
    values = vectors(300, seed=1)
    values[290, 5] = bad  # beyond the first block: half the file is written by then
    with pytest.raises(ValueError, match="'img290' is not finite"):
        write_submission(tmp_path / "s.csv", ids, values)
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]
    assert (tmp_path / "s.csv").read_bytes() == old


def test_a_full_disk_is_answered_with_the_option_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stream: object, ids: list[str], values: Floats) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_write_rows", full)
    with pytest.raises(InputError, match=r"s\.csv: cannot be written \(No space left on device\); .*--out"):
        written(tmp_path / "s.csv")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "file" / "s.csv", tmp_path / "folder"):
        with pytest.raises(InputError, match="cannot be written") as caught:
            written(place)
        assert str(place) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    assert read_submission(written(tmp_path / "new" / "deeper" / "s.csv")).ids == IDS


# -- truth ---------------------------------------------------------------------------------------


def test_truth_is_the_same_from_a_table_a_data_set_and_a_submission(tmp_path: Path) -> None:
    prompts = ["a red fox asleep on a mossy log", "blueprint of a steam locomotive"]
    folder = make_kaggle(tmp_path / "data", prompts)
    encoder = PromptEncoder()
    ids, targets = read_truth(str(folder / "prompts.csv"), encoder, READERS)
    assert (ids, targets.shape, targets.dtype) == (["img000", "img001"], (2, DIM), np.float32)
    assert np.linalg.norm(targets, axis=1) == pytest.approx(1.0, abs=1e-6)
    write_submission(tmp_path / "truth.csv", ids, targets)
    for spec in (folder, tmp_path / "truth.csv"):
        other_ids, others = read_truth(str(spec), encoder, READERS)
        assert other_ids == ids
        assert (others == targets).all()


def test_a_table_of_prompts_needs_no_images(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text("imgId,prompt\nb,a bee\na,an ant\n")
    ids, targets = read_truth(str(tmp_path / "truth.csv"), PromptEncoder(), READERS)
    assert (ids, targets.shape) == (["b", "a"], (2, DIM))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("imgId,prompt\na,ant\na,axe\n", ["row 2", "'a' is already taken", "row 1"]),
        ("imgId,prompt\na,ant\nb, \n", ["row 2", "'b' is empty"]),
        ("imgId,prompt\n", ["no rows", "add prompts"]),
        ("imgId,text\na,ant\n", ["lacks the column prompt"]),
        ("imgId,prompt\na,ant,bee\n", ["row 1", "more fields"]),
        ("", ["imgId", "prompt"]),
    ],
)
def test_a_table_of_prompts_that_is_wrong_is_named_by_row(tmp_path: Path, content: str, parts: list[str]) -> None:
    (tmp_path / "truth.csv").write_text(content)
    with pytest.raises(InputError) as caught:
        read_truth(str(tmp_path / "truth.csv"), PromptEncoder(), READERS)
    assert [p for p in [str(tmp_path / "truth.csv"), *parts] if p not in str(caught.value)] == [], str(caught.value)


@pytest.mark.parametrize("name", ["truth.csv.gz", "truth.zip", "truth.csv"])
def test_a_compressed_truth_is_a_submission_or_is_to_be_unpacked(tmp_path: Path, name: str) -> None:
    def pack(content: bytes) -> str:
        if name.endswith("zip"):
            with zipfile.ZipFile(tmp_path / name, "w") as archive:
                archive.writestr("truth.csv", content)
        else:
            (tmp_path / name).write_bytes(gzip.compress(content))
        return str(tmp_path / name)

    assert read_truth(pack(written(tmp_path / "s.csv").read_bytes()), PromptEncoder(), READERS)[0] == IDS
    spec = pack(b"imgId,prompt\na,an ant\n")
    with pytest.raises(InputError, match="unpack it") as caught:
        read_truth(spec, PromptEncoder(), READERS)
    assert spec in str(caught.value)


def test_truth_without_prompts_is_refused(tmp_path: Path) -> None:
    folder = make_kaggle(tmp_path / "data", ["an ant"]) / "images"
    with pytest.raises(InputError, match="has no prompts"):
        read_truth(str(folder), PromptEncoder(), READERS)
    with pytest.raises(InputError, match="no such"):
        read_truth(str(tmp_path / "gone.csv"), PromptEncoder(), READERS)


def test_truth_with_a_vector_of_zeros_is_refused(tmp_path: Path) -> None:
    values = vectors(3)
    values[1] = 0.0
    write_submission(tmp_path / "truth.csv", IDS, values)
    with pytest.raises(InputError, match="'a_1'"):
        read_truth(str(tmp_path / "truth.csv"), PromptEncoder(), READERS)
