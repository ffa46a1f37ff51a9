"""What any table says is read back, whatever its separator, quoting, encoding, header and line ends."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.data.layouts.files import NamedImages
from harness.data.layouts.tables import FILE_COLUMNS, TEXT_COLUMNS, read_table, texts_of
from harness.errors import InputError
from tests.data.test_layouts import images

quick = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])

# A table cannot hold half a character or a zero byte, and begins with a mark only where that says its encoding.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), min_size=1, max_size=30)
file_columns, text_columns = st.sampled_from(FILE_COLUMNS), st.sampled_from(TEXT_COLUMNS)


@st.composite
def spelt(draw: st.DrawFn, name: str) -> str:
    """A column's name in another case, with spaces or dashes for underscores, and perhaps with a space behind."""
    cased = "".join(letter.upper() if draw(st.booleans()) else letter for letter in name)
    return cased.replace("_", draw(st.sampled_from("_ -"))) + draw(st.sampled_from(["", " "]))


def separated(fields: list[str], separator: str, quoted: bool) -> str:
    """A row without its end.

    Of ends of lines Python's writer quotes those alone that its own lines have. A file of lines that end in ``\\r``
    with a bare ``\\n`` in a field says two things at once, and no reader can tell which; so it is told of both ends.
    """
    stream = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    csv.writer(stream, delimiter=separator, quoting=quoting, lineterminator="\r\n").writerow(fields)
    return stream.getvalue().removesuffix("\r\n")


@quick
@given(st.data())
def test_a_separated_table_reads_back(tmp_path: Path, data: st.DataObject) -> None:
    separator = data.draw(st.sampled_from(",;\t|"), "separator")
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]), "line end")
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), "encoding")
    quoted = data.draw(st.booleans(), "all fields are quoted")
    names = [data.draw(file_columns), data.draw(text_columns), "note"]
    order = data.draw(st.permutations(range(3)), "order of the columns")
    rows = data.draw(st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=5), "rows")
    header = [data.draw(spelt(names[i])) for i in order]
    lines = [separator.join(header), *(separated([row[i] for i in order], separator, quoted) for row in rows)]
    path = tmp_path / data.draw(st.sampled_from(["t.csv", "t.tsv", "t.txt"]), "name")
    path.write_bytes("".join(line + end for line in lines).encode(encoding))
    table = read_table(path)
    file, text = table.column(FILE_COLUMNS), table.column(TEXT_COLUMNS)
    assert (file, text) == (names[0], names[1])
    assert [(row[names[0]], row[names[1]], row["note"]) for _, row in table.rows] == rows


@quick
@given(
    st.lists(st.dictionaries(st.sampled_from(["File Name", "Prompt", "x"]), texts, min_size=1), min_size=1, max_size=5)
)
def test_json_lines_and_json_read_back(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    expected = [{key.lower().replace(" ", "_"): value for key, value in row.items()} for row in rows]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    (tmp_path / "t.json").write_text(json.dumps(rows), encoding="utf-8")
    for name in ("t.jsonl", "t.json"):
        assert [row for _, row in read_table(tmp_path / name).rows] == expected


@quick
@given(st.binary(max_size=200), st.sampled_from(["t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet"]))
def test_no_bytes_do_anything_but_read_or_name_the_file(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    try:
        list(read_table(path).rows)
    except InputError as error:
        message = str(error)
    else:
        message = str(path)
    assert str(path) in message


@quick
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30), st.booleans())
def test_no_path_leads_out_of_the_folder(tmp_path: Path, value: str, climbing: bool) -> None:
    root = images(tmp_path / "set", "x.png")
    try:
        path = NamedImages(root).path("../" * climbing + value, "row 1")
    except InputError:
        path = root  # it is refused
    assert path.resolve().is_relative_to(root.resolve())


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 100_000], ids=["a long number", "nested deeply"])
def test_json_that_python_cannot_hold_is_named(tmp_path: Path, value: str) -> None:
    for name, content in (("t.jsonl", f'{{"prompt": "a"}}\n{value}\n'), ("t.json", value)):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=rf"{name}( line 2)?: it is not JSON"):
            list(read_table(tmp_path / name).rows)
    assert texts_of(f'["a",{value},"b"]', "captions", "row 1") == (f'["a",{value},"b"]',)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("file_name,prompt,Prompt\na.png,x,y\n", ["prompt twice"]),
        ("file_name;prompt\na.png;an ant;red\n", ["row 1 (line 2)", "more fields"]),
        ('sep=;\nfile_name;prompt\na.png;"an\nant"\nb.png\n', ["row 2 (line 5)", "fewer fields"]),
        ('file_name,prompt\na.png,"an ant\n', ["row 1", "check its quoting"]),
    ],
)
def test_what_is_wrong_is_named_by_row_and_line(tmp_path: Path, content: str, parts: list[str]) -> None:
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        list(read_table(tmp_path / "t.csv").rows)
    assert [part for part in [str(tmp_path / "t.csv"), *parts] if part not in str(caught.value)] == []
