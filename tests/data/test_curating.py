"""Which rows stay: properties of deduplication, evaluation data left out, caps and shares."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.data.curating import forms, nearest
from harness.data.curating.equal import equal_images
from harness.data.curating.mixing import Parts, apply_caps, apply_shares, share_counts
from harness.data.curating.nearest import nearest_rows, stand_ins
from harness.data.curating.prompts import Prompts
from harness.data.curating.rows import JoinedRows, NamedSet
from harness.data.curating.selecting import HeldOut, Reason, Selection, select_rows
from harness.data.dataset import Dataset
from harness.data.images import EncodedImage, ImageFile
from harness.data.neighbours import MARGIN
from harness.errors import InputError
from tests.conftest import save_image
from tests.data.synthetic import Nowhere, chain, clustered, dataset_of

SHAPES = st.tuples(st.integers(1, 120), st.integers(1, 12), st.floats(0.05, 1.2), st.integers(0, 999))


def vectors_of(shape: tuple[int, int, float, int]) -> NDArray[np.float32]:
    n, clusters, spread, seed = shape
    return clustered(n, clusters, spread, seed, dim=8)


def cosines(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors @ vectors.T


# -- one of near-duplicates ------------------------------------------------------------------------


@settings(max_examples=150)
@given(shape=SHAPES, threshold=st.floats(0.3, 0.99))
def test_no_two_that_stay_are_near_and_whatever_goes_is_near_what_stays(
    shape: tuple[int, int, float, int], threshold: float
) -> None:
    vectors = vectors_of(shape)
    stands, recall = stand_ins(vectors, threshold)
    assert recall == 1.0
    kept = np.flatnonzero(stands < 0)
    among = cosines(vectors[kept])
    np.fill_diagonal(among, -1)
    assert (among < threshold - MARGIN).all()
    gone = np.flatnonzero(stands >= 0)
    assert (stands[stands[gone]] < 0).all()
    assert (np.einsum("ij,ij->i", vectors[gone], vectors[stands[gone]]) >= threshold - 2 * MARGIN).all()
    # The one that stands for it is the most preferred of those that stay and are near.
    for row in gone.tolist():
        near = kept[vectors[kept] @ vectors[row] >= threshold - MARGIN]
        assert stands[row] == near[0] < row


@settings(max_examples=80)
@given(shape=SHAPES, threshold=st.floats(0.3, 0.99), block=st.integers(1, 50), refuse=st.integers(1, 5))
def test_too_many_pairs_for_memory_make_no_difference(
    shape: tuple[int, int, float, int], threshold: float, block: int, refuse: int
) -> None:
    vectors = vectors_of(shape)
    whole = stand_ins(vectors, threshold)[0]
    picky = stand_ins(vectors, threshold, lambda row: row % refuse == 0)[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_BLOCK", block)
        # Blocks of another size are other products: pairs on the very edge may fall to either side.
        edge = np.abs(cosines(vectors) - (threshold - MARGIN)) < 1e-6
        if not edge.any():
            assert np.array_equal(stand_ins(vectors, threshold, most_pairs=-1)[0], whole)
            assert np.array_equal(stand_ins(vectors, threshold, lambda row: row % refuse == 0, most_pairs=-1)[0], picky)


def test_a_chain_is_thinned_and_not_reduced_to_one() -> None:
    vectors = chain(60, 0.95)
    kept = np.flatnonzero(stand_ins(vectors, 0.9)[0] < 0)
    assert 20 <= len(kept) <= 30  # of a connected component one row would stay, 60 steps from the last


@settings(max_examples=60)
@given(shape=SHAPES, asked=st.integers(1, 40), block=st.integers(1, 60))
def test_the_nearest_is_found_in_blocks_of_any_size(shape: tuple[int, int, float, int], asked: int, block: int) -> None:
    vectors = vectors_of(shape)
    some = np.random.default_rng(0).integers(0, len(vectors), asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_BLOCK", block)
        cosine, where = nearest_rows(vectors[some], vectors, some)
    table = cosines(vectors)
    np.fill_diagonal(table, -2)
    if len(vectors) == 1:
        assert (where == -1).all()
    else:
        assert np.allclose(cosine, np.minimum(table[some].max(axis=1), 1.0), atol=1e-6)
        assert np.allclose(table[some, where], table[some].max(axis=1), atol=1e-6)
        assert (where != some).all()


# -- rows ------------------------------------------------------------------------------------------


def prompts_of(node: NDArray[np.int64], vectors: NDArray[np.float32]) -> Prompts:
    rows = np.argsort(node, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(node, minlength=len(vectors)))])
    return Prompts(node, rows, start, vectors)


@settings(max_examples=120)
@given(
    shape=SHAPES,
    n=st.integers(1, 150),
    pictures=st.integers(1, 60),
    most=st.sampled_from([None, 1, 2]),
    number=st.integers(1, 3),
)
def test_every_row_that_goes_has_one_that_stays_in_its_place(
    shape: tuple[int, int, float, int], n: int, pictures: int, most: int | None, number: int
) -> None:
    rng = np.random.default_rng(shape[3])
    vectors = vectors_of(shape)
    node = np.unique(rng.integers(0, len(vectors), n), return_inverse=True)[1]
    prompts = prompts_of(node, vectors[: node.max() + 1])
    images = rng.integers(-1, pictures, n)
    sets = np.sort(rng.integers(0, number, n)).astype(np.int16)
    found = select_rows(prompts, 0.8, images=images, per_prompt=most, sets=sets)
    kept = found.kept
    assert (found.reason[found.by[found.by >= 0]] == Reason.KEPT).all()
    shown = images[kept][images[kept] >= 0]
    assert len(set(shown.tolist())) == len(shown)
    if most is not None:
        assert np.bincount(node[kept]).max(initial=0) <= most
    texts = np.unique(node[kept])
    assert len(texts) == len(np.unique(np.stack([node[kept], sets[kept]]), axis=1).T)
    among = cosines(vectors[texts])
    np.fill_diagonal(among, -1)
    assert (among < 0.8 - MARGIN).all()
    for row in np.flatnonzero(found.reason).tolist():
        by = int(found.by[row])
        assert by >= 0
        same = {
            Reason.NEAR_PROMPT: found.cosine[row] >= 0.8 - 2 * MARGIN,
            Reason.EARLIER_SET: node[row] == node[by] and sets[by] < sets[row],
            Reason.SAME_IMAGE: images[row] == images[by] >= 0,
            Reason.SAME_PROMPT: node[row] == node[by],
        }
        assert same[Reason(int(found.reason[row]))]


def test_a_prompt_whose_images_all_go_stands_in_for_nothing() -> None:
    vectors = chain(3, 0.95)
    prompts = prompts_of(np.array([0, 1, 2]), vectors)
    found = select_rows(prompts, 0.94, images=np.array([7, 7, 8]))
    assert found.reason.tolist() == [Reason.KEPT, Reason.NEAR_PROMPT, Reason.KEPT]
    found = select_rows(prompts_of(np.array([0, 2, 1]), vectors[[0, 2, 1]]), 0.94, images=np.array([7, 8, 7]))
    assert found.reason.tolist() == [Reason.KEPT, Reason.NEAR_PROMPT, Reason.SAME_IMAGE]


@settings(max_examples=80)
@given(shape=SHAPES, held=st.integers(1, 20), threshold=st.floats(0.3, 0.95))
def test_nothing_that_stays_is_near_evaluation_data_or_shows_its_images(
    shape: tuple[int, int, float, int], held: int, threshold: float
) -> None:
    vectors = vectors_of(shape)
    n = len(vectors)
    rng = np.random.default_rng(shape[3])
    other = clustered(held, 3, 0.5, shape[3] + 1, dim=8)
    image, own = rng.integers(-1, 40, n), rng.integers(-1, 40, held)
    cosine, which = nearest_rows(vectors, other)
    data = HeldOut(other, cosine, which, threshold, image, own)
    found = select_rows(prompts_of(np.arange(n), vectors), 0.9, held=data)
    assert ((vectors[found.kept] @ other.T) < threshold - MARGIN).all()
    assert not set(image[found.kept].tolist()) - {-1} & set(own.tolist())
    for row in np.flatnonzero(found.reason == Reason.HELD_IMAGE).tolist():
        assert image[row] == own[found.by[row]]
    for row in np.flatnonzero(found.reason == Reason.NEAR_PROMPT).tolist():
        assert found.reason[found.by[row]] == Reason.KEPT  # never for one that went itself


# -- images ----------------------------------------------------------------------------------------


class Counted(ImageFile):
    """A file that says when it is read."""

    read: list[str] = []

    def _read(self) -> bytes:
        Counted.read.append(self.path.name)
        return super()._read()

    def open(self):  # type: ignore[no-untyped-def]
        raise AssertionError("nothing is decoded")


def files(folder: Path, contents: list[bytes], name: str) -> JoinedRows:
    folder.mkdir(exist_ok=True)
    images = []
    for i, content in enumerate(contents):
        path = folder / f"{name}{i}"
        path.write_bytes(content)
        images.append(Counted(path))
    n = len(images)
    data = Dataset(name, "test", str(folder), [f"{i}" for i in range(n)], images, [("x",)] * n, [""] * n)
    return JoinedRows([NamedSet(name, data)])


def test_only_images_that_may_be_equal_are_read(tmp_path: Path) -> None:
    rows = files(tmp_path, [b"aa", b"bbb", b"aa", b"cc", b"dddd"], "own")
    Counted.read.clear()
    number, _ = equal_images(rows)
    assert number[0] == number[2] != number[3]
    assert number[[1, 4]].tolist() == [-1, -1]
    assert sorted(Counted.read) == ["own0", "own2", "own3"]
    Counted.read.clear()
    held = files(tmp_path, [b"bbb", b"12345"], "held")
    number, own = equal_images(rows, held, within=False)
    assert number[1] == own[0] >= 0
    assert sorted(Counted.read) == ["held0", "own1"]


class Unsized(EncodedImage):
    """Bytes of which nothing tells how many they are."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def _read(self) -> bytes:
        return self.data


@pytest.mark.parametrize("within", [True, False])
def test_images_of_unknown_size_are_equal_to_files_and_none_that_is_made(tmp_path: Path, within: bool) -> None:
    rows = files(tmp_path, [b"aa", b"bbb"], "own")
    data = rows.sets[0].data
    object.__setattr__(data, "images", [*data.images, Nowhere("made")])
    held = files(tmp_path, [b"x", b"y", b"z"], "held")
    object.__setattr__(held.sets[0].data, "images", [Unsized(b"bbb"), Nowhere("made"), Nowhere("else")])
    object.__setattr__(data, "ids", ["0", "1", "2"])
    rows = JoinedRows([NamedSet("own", data)])
    number, own = equal_images(rows, held, within=within)
    assert number[1] == own[0] >= 0
    assert number[2] == own[1] >= 0
    assert own[2] not in number.tolist()


# -- caps and shares -------------------------------------------------------------------------------


def three_sets() -> JoinedRows:
    sets = []
    for name, count in (("a", 60), ("b", 30), ("c", 10)):
        data = dataset_of([f"{name} {i}" for i in range(count)])
        sources = ["x" if i % 3 else "y" for i in range(count)] if name == "a" else None
        sets.append(NamedSet(name, Dataset(**{**data.__dict__, "sources": sources})))
    return JoinedRows(sets, mixed=True)


def all_kept(rows: JoinedRows) -> Selection:
    n = len(rows)
    return Selection(np.zeros(n, np.int8), np.full(n, -1, np.int64), np.full(n, np.nan, np.float32))


@settings(max_examples=200)
@given(
    weights=st.lists(st.integers(1, 50), min_size=1, max_size=6),
    at_hand=st.lists(st.integers(0, 400), min_size=6, max_size=6),
    total=st.one_of(st.none(), st.integers(1, 500)),
)
def test_shares_are_exact_but_for_rounding(weights: list[int], at_hand: list[int], total: int | None) -> None:
    shares = {str(k): Fraction(weight, sum(weights)) for k, weight in enumerate(weights)}
    there = {name: at_hand[k] for k, name in enumerate(shares)}
    counts = share_counts(shares, there, total)
    n = sum(counts.values())
    assert all(0 <= counts[name] <= there[name] for name in shares)
    assert all(abs(counts[name] - shares[name] * n) < 1 for name in shares)
    assert total is None or n <= total
    # One row more would need more of a name than there is, or is more than asked for.
    assert n == total or any(shares[name] * (n + 1) > there[name] for name in shares)


def test_caps_and_shares_of_sets_and_sources() -> None:
    rows = three_sets()
    parts, chances = Parts(rows), rows.chances(0)
    capped = apply_caps(all_kept(rows), parts, {"a": 30, "a/y": 5, "c": 100}, chances)
    set_of = rows.set_of[capped.kept]
    assert np.bincount(set_of).tolist() == [30, 30, 10]
    assert parts.rows("a/y")[capped.kept].sum() == 5
    shared = apply_shares(all_kept(rows), parts, {"b": Fraction(1, 2), "c": Fraction(1, 8)}, None, chances)
    assert np.bincount(rows.set_of[shared.kept]).tolist() == [22, 30, 8]  # the largest N is 60: half of it is all of b
    again = apply_shares(all_kept(rows), parts, {"b": Fraction(1, 2), "c": Fraction(1, 8)}, None, rows.chances(1))
    assert len(again.kept) == len(shared.kept)
    assert again.kept.tolist() != shared.kept.tolist()


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ({"a": "3/4", "b": "1/2"}, "1.25 in sum"),
        ({"a": "1/2", "b": "1/2"}, "nothing is left for the other sets"),
        ({"a": "1/2", "b": "1/4", "c": "1/8"}, "there are no other rows"),
        ({"a": "1/2", "a/x": "1/4"}, "name a set, or its sources"),
        ({"d": "1/2"}, "no set or source is called that; there are: a, b, c, a/x, a/y"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares: dict[str, str], said: str) -> None:
    rows = three_sets()
    with pytest.raises(InputError, match=r"--share ") as caught:
        apply_shares(
            all_kept(rows), Parts(rows), {name: Fraction(s) for name, s in shares.items()}, None, rows.chances(0)
        )
    assert said in str(caught.value)


def test_what_is_mixed_is_named_after_its_set() -> None:
    rows = three_sets()
    first, last = rows.row(1), rows.row(95)
    assert (first.id, first.source, first.group) == ("a/row00001", "a/x", None)
    assert (last.id, last.source) == ("c/row00005", "c")
    with pytest.raises(InputError, match="two sets are called 'a'"):
        JoinedRows([rows.sets[0], rows.sets[0]])


def test_rows_of_a_set_without_groups_are_groups_by_themselves() -> None:
    grouped = dataset_of(["x", "y"], groups=["g", "g"])
    rows = JoinedRows([NamedSet("a", grouped), NamedSet("b", dataset_of(["x", "y"]))], mixed=True)
    assert [rows.row(i).group for i in range(4)] == ["a/g", "a/g", "b/row00000", "b/row00001"]


def test_the_key_knows_columns_order_and_the_state_of_files(tmp_path: Path) -> None:
    def rows(texts: list[str]) -> JoinedRows:
        data = dataset_of(texts)
        images = [ImageFile(tmp_path / f"{i}.png") for i in range(len(texts))]
        return JoinedRows([NamedSet("a", Dataset(**{**data.__dict__, "images": images}))])

    for i in range(2):
        save_image(tmp_path / f"{i}.png", i)
    before = rows(["x", "y"]).key()
    assert rows(["x", "y"]).key() == before
    assert rows(["y", "x"]).key() != before
    save_image(tmp_path / "1.png", 5)
    assert rows(["x", "y"]).key() != before


# -- forms -----------------------------------------------------------------------------------------


def test_an_image_is_named_by_its_content(tmp_path: Path) -> None:
    for name, kind in (("a.bin", "PNG"), ("b.png", "JPEG"), ("c", "WEBP"), ("d.jpg", "GIF"), ("e.x", "PPM")):
        save_image(tmp_path / "x.png", 1)
        import PIL.Image

        PIL.Image.open(tmp_path / "x.png").convert("RGB").save(tmp_path / name, kind)
    suffixes = [forms.encoded(ImageFile(tmp_path / name))[1] for name in ("a.bin", "b.png", "c", "d.jpg", "e.x")]
    assert suffixes == [".png", ".jpg", ".webp", ".gif", ".ppm"]
    (tmp_path / "t.tga").write_bytes(b"\0\0\2 no magic")
    assert forms.encoded(ImageFile(tmp_path / "t.tga")) == (b"\0\0\2 no magic", ".tga")
