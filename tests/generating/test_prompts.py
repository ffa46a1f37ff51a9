"""Prompts from files and data sets, and the seeds of their rows."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InputError
from harness.generating.options import GenerateOptions, parse_options
from harness.generating.prompts import Prompt, derived_seed, read_prompts, requests_hash, requests_of
from harness.plugin import PluginManager
from tests.conftest import save_image
from tests.generating.conftest import write_rows


def read(spec: object) -> list[Prompt]:
    return read_prompts(str(spec), PluginManager().readers)


def options(**given: object) -> GenerateOptions:
    return parse_options({"model": "m", **given})


def test_one_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes('a "red", fox\r\n\r\n  zwei Füchse \n狐'.encode())
    assert [prompt.text for prompt in read(path)] == ['a "red", fox', "zwei Füchse", "狐"]
    assert [request.id for request in requests_of(read(path), options())] == ["000000000", "000000001", "000000002"]
    assert read(path)[1].where.endswith("prompts.txt line 3")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_with_all_columns_and_with_some_cells_empty(tmp_path: Path, kind: str) -> None:
    import pandas as pd

    table = pd.DataFrame(
        {
            "id": ["a.b/c", "d"], "prompt": ["one, two", "three"], "seed": pd.array([2**40, None], dtype="Int64"),
            "source": ["mine", None], "group": ["g", "h"], "negative_prompt": ["blurry", None],
            "steps": pd.array([7, None], dtype="Int64"), "guidance": [1.5, None], "else": [1, 2],
        }
    )  # fmt: skip
    path = tmp_path / f"prompts.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    made = requests_of(read(path), options(steps=30, guidance=4, negative="ugly"))
    first, second = made
    assert (first.id, first.prompt, first.seed, first.source, first.group) == ("a.b/c", "one, two", 2**40, "mine", "g")
    assert (first.negative, first.steps, first.guidance) == ("blurry", 7, 1.5)
    assert (second.id, second.seed, second.source, second.group) == ("d", derived_seed(0, "d", 0), None, "h")
    assert (second.negative, second.steps, second.guidance) == ("ugly", 30, 4.0)


def test_columns_as_diffusiondb_calls_them(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", [{"image_name": "x.png", "prompt": "p", "step": 50, "cfg": 7, "seed": 3}])
    (request,) = requests_of(read(path), options())
    assert (request.prompt, request.steps, request.guidance, request.seed) == ("p", 50, 7.0, 3)


def test_prompts_of_a_data_set(tmp_path: Path) -> None:
    prompts = read("scenes:5:7")
    assert len(prompts) == 5
    assert all(prompt.id and prompt.text for prompt in prompts)
    for i in range(2):
        save_image(tmp_path / "photos" / "Images" / f"{i}.jpg", i)
    lines = ["image,caption", *(f"{i}.jpg,caption {j} of {i}" for i in range(2) for j in range(2))]
    (tmp_path / "photos" / "captions.txt").write_text("\n".join(lines))
    found = read(tmp_path / "photos")
    assert [(prompt.id, prompt.text) for prompt in found][:2] == [("0#0", "caption 0 of 0"), ("0#1", "caption 1 of 0")]
    assert len({prompt.group for prompt in found}) == 2  # captions of one picture stay together


def test_what_a_derived_seed_is() -> None:
    text = json.dumps([3, "füchse", 1], ensure_ascii=False, separators=(",", ":")).encode()
    assert text == '[3,"füchse",1]'.encode()
    assert derived_seed(3, "füchse", 1) == int(hashlib.blake2b(text, digest_size=4).hexdigest(), 16)
    assert derived_seed(0, "a red fox", 0) == 2862818789  # for ever: images are made again by it


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=1, max_size=12)


@given(texts=TEXTS, seed=st.integers(0, 2**40), several=st.integers(1, 3), data=st.data())
def test_a_seed_does_not_depend_on_other_rows_or_their_order(
    texts: list[str], seed: int, several: int, data: st.DataObject
) -> None:
    def seeds(order: list[str]) -> list[tuple[str, int]]:
        prompts = [Prompt(text, "") for text in order]
        made = requests_of(prompts, options(seed=seed, images_per_prompt=several))
        return sorted((request.prompt, request.seed) for request in made)

    assert seeds(data.draw(st.permutations(texts))) == seeds(texts)
    assert len(set(seeds(texts))) == len(texts) * several  # repeats are told apart
    alone = {pair for text in set(texts) for pair in seeds([text])}
    assert alone <= set(seeds(texts))


def test_several_images_of_a_prompt(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "t.jsonl", [{"id": "x", "prompt": "p", "seed": 9}, {"id": "y", "prompt": "p"}])
    made = requests_of(read(path), options(images_per_prompt=2))
    assert [(request.id, request.seed) for request in made] == [
        ("x-0", 9), ("x-1", 10), ("y-0", derived_seed(0, "y", 0)), ("y-1", derived_seed(0, "y", 1)),
    ]  # fmt: skip
    assert len(requests_of(read(path), options(images_per_prompt=2, limit=1))) == 2


def test_the_hash_of_what_is_asked_for_sees_all_of_it(tmp_path: Path) -> None:
    row = {"id": "x", "prompt": "p", "seed": 1, "source": "s", "group": "g", "negative": "n", "steps": 2, "guidance": 3}
    changed = {"id": "X", "prompt": "P", "seed": 2, "source": "S", "group": "G", "negative": "N", "steps": 3}
    variants = [row, *({**row, key: value} for key, value in changed.items()), {**row, "guidance": 4}]
    paths = [write_rows(tmp_path / f"{i}.jsonl", [each]) for i, each in enumerate(variants)]
    assert len({requests_hash(requests_of(read(path), options())) for path in paths}) == len(variants)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", "image,words\na,b\n", "the header lacks the column prompt (it has: image, words)"),
        ("t.csv", "prompt\nx\n  \n", "t.csv row 2 (line 3): the prompt is empty"),
        ("t.csv", "id,prompt\na,x\na,y\n", "row 2 (line 3): the id 'a' is already taken by"),
        ("t.csv", "prompt,seed\nx,1.5\n", "row 1 (line 2): 'seed' is '1.5'; write a whole number from 0 to"),
        ("t.csv", "prompt,seed\nx,-1\n", "'seed' is '-1'"),
        ("t.csv", "prompt,steps\nx,0\n", "'steps' is '0'; write a whole number from 1 to 1000"),
        ("t.csv", "prompt,guidance\nx,nan\n", "'guidance' is 'nan'; write a number from 0 to 1000"),
        ("t.txt", "\n\n", "it holds no prompts"),
        ("t.jsonl", '{"prompt": "half \\ud800"}\n', "half a surrogate pair"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        requests_of(read(tmp_path / name), options())
    assert told in str(caught.value)


def test_data_that_have_no_prompts_or_are_not_there(tmp_path: Path) -> None:
    save_image(tmp_path / "photos" / "0.png", 0)
    with pytest.raises(InputError, match="it is a test set, without prompts"):
        read(tmp_path / "photos")
    with pytest.raises(InputError, match=r"none\.csv: there is no such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(InputError, match="there is no such folder, file or data set"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        ({"size": "512"}, "--size 512: write WIDTHxHEIGHT in pixels"),
        ({"size": "500x512"}, "--size 500x512: width and height must be multiples of 8; the nearest is 496x512"),
        ({"size": "0x512"}, "multiples of 8; the nearest is 8x512"),
        ({"batch_size": "none"}, "--batch-size none: write auto, or a whole number of at least 1"),
        ({"batch_size": "0"}, "--batch-size 0"),
        ({"jpeg": 101}, "--jpeg 101: input should be less than or equal to 100"),
        ({"precision": "int8"}, "--precision int8: input should be 'auto', 'float32', 'bfloat16' or 'float16'"),
        ({"format": "zip"}, "--format zip: input should be 'webdataset' or 'parquet'"),
        ({"steps": 0}, "--steps 0"),
        ({"guidance": float("nan")}, "--guidance nan"),
    ],
)
def test_options_that_are_wrong(given_: dict[str, object], told: str) -> None:
    with pytest.raises(InputError) as caught:
        options(**given_)
    assert told in str(caught.value)
