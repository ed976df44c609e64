"""Reading and writing files of users: CSV of spreadsheets and databases, and JSON lines."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hammer.users import files
from hammer.users.files import EXPORTED, Line

HEAD = "number,first_name,metadata\n"


def lines(text: str | bytes) -> list[Line]:
    return list(files.read(io.BytesIO(text.encode() if isinstance(text, str) else text)))


def row(text: str | bytes) -> dict[str, Any]:
    """The only row, which is read without faults."""
    [line] = lines(text)
    assert line.faults == {}
    return dict(line.row)


def faults(text: str | bytes) -> dict[int, list[str]]:
    """Line -> its bad columns."""
    return {line.number: list(line.faults) for line in lines(text) if line.faults}


@pytest.mark.parametrize("text", [
    "number,first_name\n1,Анна\n",
    "\ufeffnumber,first_name\n1,Анна\n",
    "number,first_name\r\n1,Анна\r\n",
    "number,first_name\r1,Анна\r",
    "number;first_name\r\n1;Анна",
    "number\tfirst_name\n1\tАнна\n",
    'Number, FIRST_NAME\n"1","Анна"\n',
    "\n\n number,first_name\n\n1,Анна\n,\n",
    '{"number": "1", "first_name": "Анна"}\n',
    '\ufeff\n{"first_name": "Анна", "number": "1", "username": null}\r\n\r\n',
], ids=ascii)  # fmt: skip
def test_files_of_every_program_are_read(text: str) -> None:
    assert row(text) == {"number": "1", "first_name": "Анна"}


def test_a_cell_may_have_several_lines_and_lines_are_counted_as_an_editor_counts_them() -> None:
    found = lines('\n\nnumber,first_name\n1,"A\n\nB"\n2,C\n')
    assert [(line.number, line.row["first_name"]) for line in found] == [(4, "A\n\nB"), (7, "C")]


def test_metadata_in_csv_are_json_and_an_empty_cell_is_none() -> None:
    assert [line.row.get("metadata") for line in lines(HEAD + '1,,"{""a"": [1]}"\n2,,\n')] == [{"a": [1]}, None]


@pytest.mark.parametrize(
    "cell", ["{", "1", "[]", '"""{}"""', "NaN", '"{""a"":1,""a"":2}"', '"{""a"":NaN}"', r'"{""a"":""\ud800""}"']
)
def test_metadata_that_are_no_json_object_are_refused(cell: str) -> None:
    assert faults(HEAD + f"1,,{cell}\n2,,\n") == {2: ["metadata"]}


@pytest.mark.parametrize("line", ["1,2", "1,2,3,4", '1,"2"x,', '1,"2'])
def test_a_line_that_does_not_fit_the_header_is_refused_and_the_next_one_is_read(line: str) -> None:
    found = lines(HEAD + f"{line}\n")
    assert [list(each.faults) for each in found] == [[""]]
    assert found[0].number == 2


def test_after_a_bad_line_the_next_one_is_read() -> None:
    assert faults(HEAD + '1,"2"x,\n1,Anna,\n1\n2,Boris,\n') == {2: [""], 4: [""]}


def test_a_quotation_mark_that_is_never_closed_does_not_take_the_whole_file_along() -> None:
    found = lines(HEAD + '1,"Anna,\n' + "2,Boris,\n" * 40_000)
    assert found[0].number == 2
    assert found[0].faults
    assert len(found) > 20_000


@pytest.mark.parametrize(
    "header",
    ["number,firstname\n", "username\n", "number,number\n", "number,\n", "", '"number\n', "п;н\n", "a" * 300_000, "PK\x03\x04\0\0"],
    ids=lambda header: ascii(header[:20]),
)
def test_a_header_that_is_not_understood_is_refused(header: str) -> None:
    with pytest.raises(files.Unreadable):
        lines(header)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("number,foo\n", "There is no column “foo”. Known are: id, number, "),
        ("number,firstname,Поле\n", "There is no column “firstname”; the nearest is first_name. There is no column “поле”. Known"),
        ("number,\n", "Column 2 has no name that is known. Known"),
        ("number,+79290000001,a@example.com\n", "Column 2 has no name that is known. Column 3 has no name that is known. Known"),
        ("number,x79290000001\n", "Column 2 has no name that is known. Known"),
        ("number,number\n", "A column is there twice. Known"),
        ("username\n", "There is no column number. Known"),
        ("Anna,+79290000001\n", "The first line does not name the columns. There is no column number. Known"),
        ("", "The file is empty."),
        ("\ufeff", "The file is empty."),
        ("\n \n", "The file is empty."),
        ("number\n1\n".encode("utf-16"), "The file is not UTF-8."),
        ("number\n1\n".encode("utf-16-be"), "The file is not UTF-8."),
        ('{"number": "1"}\n'.encode("utf-16"), "The file is not UTF-8."),
        ('{"number": "1"}\n'.encode("utf-16-le"), "The file is not UTF-8."),
        (b"\x89PNG\r\n\x1a\n", "The file is not UTF-8."),
        (b"PK\x03\x04\x14\0", "The file is not UTF-8."),
        ('[{"number": "1"}]', "This is one JSON array. Write one object a line: "),
        ('[\n  {"number": "1"}\n]\n', "This is one JSON array. Write one object a line: "),
    ],
    ids=ascii,
)
def test_what_is_wrong_with_a_whole_file_is_said(text: str | bytes, sentence: str) -> None:
    with pytest.raises(files.Unreadable) as refused:
        lines(text)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("number,username\n1\n", {"": "The number of cells, 1, is not that of the columns, 2."}),
        ("number\n1,2\n", {"": "The number of cells, 2, is not that of the columns, 1."}),
        (b"number,first_name,metadata\n1,\xc0,{\n", {"first_name": "This is not UTF-8.", "metadata": "This is not JSON."}),
        ('{"firstname": "A"}\n', {"firstname": "There is no column “firstname”; the nearest is first_name."}),
        ('{"number": "1", "+79290000001": ""}\n', {"+79290000001": "Column 2 has no name that is known."}),
        ('{\n', {"": "This is not a JSON object. Write one object a line."}),
        (b'{"first_name": "\xc0"}\n', {"": "This is not UTF-8."}),
    ],
    ids=ascii,
)  # fmt: skip
def test_what_is_wrong_with_a_line_is_said(text: str | bytes, said: dict[str, str]) -> None:
    assert [{name: str(fault) for name, fault in line.faults.items()} for line in lines(text)] == [said]


def test_a_file_of_an_older_excel_is_no_utf_8_and_its_cells_are_named() -> None:
    assert faults(b"number;first_name;metadata\r\n1;\xc0\xed\xed\xe0;\r\n2;Boris;\r\n") == {2: ["first_name"]}
    with pytest.raises(files.Unreadable):
        lines("number,first_name\n1,Анна\n".encode("utf-16"))


def test_of_very_many_unknown_columns_the_first_are_named() -> None:
    names = [f"c{chr(ord('a') + n // 26)}{chr(ord('a') + n % 26)}" for n in range(600)]
    with pytest.raises(files.Unreadable) as refused:
        lines(f"number,{','.join(names)}\n")
    assert len(refused.value.faults) == files.MOST_UNKNOWN + 1
    [line] = lines(json.dumps({"number": "1"} | dict.fromkeys(names, "")))
    assert set(line.faults) == set(names[: files.MOST_UNKNOWN])


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ('{"number": "1"', ""),
        ("1,Anna", ""),
        ("[]", ""),
        ('{"number": "1", "number": "2"}', ""),
        (r'{"number": "1", "first_name": "\ud800"}', ""),
        ("[" * 5000, ""),
        ('{"number": 79290000001}', "number"),
        ('{"number": "1", "metadata": "{}"}', "metadata"),
        ('{"number": "1", "joined_at": 1486324545000}', "joined_at"),
        ('{"number": "1", "firstname": "A"}', "firstname"),
    ],
    ids=lambda value: value[:40],
)
def test_a_bad_json_line_is_refused_and_the_next_one_is_read(line: str, bad: str) -> None:
    assert faults(f'{{"number": "1"}}\n{line}\n{{"number": "2"}}\n') == {2: [bad]}


def test_a_line_without_end_costs_no_memory() -> None:
    class Endless(io.RawIOBase):
        """A hundred million characters without a line end, after a good line."""

        def __init__(self, first: bytes) -> None:
            self.parts: Iterator[bytes] = iter([first, *[b"a" * 8192] * 12_500])

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            part = next(self.parts, b"")[: len(buffer)]
            buffer[: len(part)] = part
            return len(part)

    for first in (b'{"number": "1"}\n{', b"number\n1\n"):
        tracemalloc.start()
        found = list(files.read(io.BufferedReader(Endless(first))))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(found) == 2
        assert most < 5_000_000


@pytest.mark.parametrize(("head", "good", "longest"), [
    (HEAD, "2,Boris,\n", "1,{},"),
    (HEAD, "2,Boris,\n", '1,"{}",'),
    (HEAD, "2,Boris,\n", '1,,"{{""a"": ""{}""}}"'),
    ("", '{"number": "2"}\n', '{{"number": "1"}}{}'),
])  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("over", [1, 2, 100_001, 250_000])
@pytest.mark.parametrize("filling", ['""', "a"])
def test_a_line_that_is_too_long_is_one_fault_and_the_next_one_is_read(
    head: str, good: str, longest: str, end: str, over: int, filling: str
) -> None:
    wanted = files.LONGEST_LINE + over - len(longest.format(""))
    line = longest.format((filling * wanted)[: wanted // 2 * 2])
    found = lines((head + good + line.ljust(files.LONGEST_LINE + over) + "\n" + good).replace("\n", end))
    start = 2 if head else 1
    assert [(each.number, each.last, list(map(str, each.faults.values()))) for each in found] == [
        (start, start, []),
        (start + 1, start + 1, ["This is longer than 100,000 characters."]),
        (start + 2, start + 2, []),
    ]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
def test_a_line_of_exactly_the_most_characters_is_read(end: str) -> None:
    assert row('{"number": "1"}'.ljust(files.LONGEST_LINE) + end) == {"number": "1"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_inside_a_cell_that_is_too_long_stay_inside_it(end: str) -> None:
    cell = '"' + "a" * 100_000 + '\n3,Clara,\ny"'
    found = lines((HEAD + f"1,{cell},\n2,Boris,\n").replace("\n", end))
    assert [(each.number, each.last, bool(each.faults)) for each in found] == [(2, 4, True), (5, 5, False)]


def test_a_blank_beginning_does_not_hide_that_the_first_line_is_too_long() -> None:
    with pytest.raises(files.Unreadable):
        lines(" " * 100_001 + "junk\n" + HEAD)
    with pytest.raises(files.Unreadable):
        lines("number" + " " * 100_000 + "junk\n1\n")


@given(st.lists(st.text('1,;"=\n\ra', max_size=9), max_size=9), st.sampled_from(["\n", "\r\n", "\r"]))
def test_every_line_of_a_file_is_in_one_row_or_empty(texts: list[str], end: str) -> None:
    text = HEAD + end.join(texts)
    found = lines(text)
    covered = [number for line in found for number in range(line.number, line.last + 1)]
    assert covered == sorted(set(covered))
    every = enumerate(io.StringIO(text, newline=""), 1)
    assert not [line for number, line in every if number > 1 and number not in covered and line.strip('",\r\n')]


def test_a_value_is_seen_once_of_each_kind() -> None:
    seen = files.Seen()
    assert [seen.first(*value) for value in [("a", "x", 1), ("a", "x", 2), ("b", "x", 3), ("a", "y", 4)]] == [1, 1, 3, 4]
    seen.close()


cells = st.one_of(st.sampled_from(["=1+1", "+1", "-", "@a", "'=a", "''=a", "'a", "＝a", "", "a;b", 'a"b', "a\nb", "a;=1"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.text("=-;\t\r\n'\" a,＠", max_size=8))  # fmt: skip


@given(st.lists(st.tuples(cells, cells, st.dictionaries(cells, cells, max_size=2)), max_size=3), st.booleans())
def test_what_is_written_is_read_again_and_in_csv_no_cell_is_a_formula(
    rows: list[tuple[str, str, dict[str, str]]], as_csv: bool
) -> None:
    blank = dict.fromkeys(EXPORTED)
    users = [
        blank | {"number": f"+7929000000{n}", "username": username, "first_name": name, "metadata": values}
        for n, (username, name, values) in enumerate(rows)
    ]
    file = io.BytesIO()
    assert files.write(file, users, as_csv=as_csv) == len(users)
    read = lines(file.getvalue() if users else file.getvalue() or HEAD)
    kept, blanks = ("number", "username", "first_name", "metadata"), {"username": "", "first_name": "", "metadata": {}}
    assert [{name: line.row.get(name, blanks.get(name)) for name in kept} for line in read] == [
        {name: user[name] for name in kept} for user in users
    ]
    if as_csv:
        written = [files._cells(user) for user in users]
        assert not [cell for cells in written for cell in cells[2:] if cell.startswith(FORMULA)]


FORMULA = tuple("=+-@\t\r＝＋－＠")


@pytest.mark.parametrize("separator", [";", "\t"])
@given(cells, cells, st.dictionaries(cells, cells, max_size=2))
@example("", "a;=1+1", {})
@example("", 'a;"=1+1;b', {})
@example("", "a\t@b", {"a;=1": "-"})
@example("", "a\n=1", {})
@example("", "a;\u00a0=1", {})
def test_a_spreadsheet_with_another_separator_finds_no_formula_either(
    separator: str, one: str, other: str, values: dict[str, str]
) -> None:
    users = [dict.fromkeys(EXPORTED) | {"number": "+79290000001", "first_name": one, "last_name": other, "metadata": values}]
    file = io.BytesIO()
    files.write(file, users * 2, as_csv=True)
    split = csv.reader(io.StringIO(file.getvalue().decode(), newline=""), delimiter=separator)
    assert not [cell for cells in split for cell in cells if cell.lstrip().startswith(FORMULA)]
