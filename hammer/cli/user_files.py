"""Files of users: CSV with a header, or JSON lines. Both are UTF-8, are read at constant memory and have the same columns."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from io import TextIOWrapper
from itertools import chain
from typing import Any, BinaryIO, Final

import click

from hammer.parsing import strict_json
from hammer.users.transfers import EXPORTED, IMPORTED

LONGEST_LINE: Final = 100_000
"""Characters of a line without its end. A longer one is refused, and only so many of it are kept in memory."""
_TOO_LONG: Final = f"This is longer than {LONGEST_LINE:,} characters."
_FORMULA: Final = re.compile(r"""(?:\A|(?<=[;\t\r\n]))(?='*[ "]*[=+\-@\t\r＝＋－＠])""")
"""Where a spreadsheet could begin a cell and would run it as a formula, or would but for our apostrophes. Programs that separate
cells by `;` or tabs, like a Russian Excel, begin one in the middle of ours, and take no notice of our quotes there."""
_ESCAPED: Final = re.compile(rf"(?:{_FORMULA.pattern})'")
_NAME: Final = re.compile(r"(?!.*\d{5})[^\W\d][\w .-]{0,39}")
"""What is the name of a column, and hardly a number or an address of a person."""
_NOT_UTF_8: Final = re.compile("[\ud800-\udfff]")
"""What `surrogateescape` makes of bytes that are not UTF-8."""


@dataclass(frozen=True)
class Line:
    """A row of a file."""

    number: int
    """The line that it begins on."""
    row: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    """Column -> why it cannot be read; the whole line is the column ``."""
    last: int = 0
    """The line that it ends on."""


class Seen:
    """The values of a file that may be there once. They are in a temporary file, not in memory."""

    def __init__(self) -> None:
        self._values = sqlite3.connect("", isolation_level=None)
        self._values.execute("create table seen (kind, value, line, primary key (kind, value)) without rowid")
        self._values.execute("begin")

    def first(self, kind: str, value: str, line: int) -> int:
        """The line that had this value first, which may be `line`."""
        self._values.execute("insert or ignore into seen values (?, ?, ?)", (kind, value, line))
        found = self._values.execute("select line from seen where kind = ? and value = ?", (kind, value)).fetchone()
        return int(found[0])

    def close(self) -> None:
        self._values.close()


def read(file: BinaryIO) -> Iterator[Line]:
    """The rows of a file. JSON lines begin with `{`, everything else is CSV. Refuses other files, and a header that it does not
    understand."""
    text = TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        lines = _Lines(text)
        head = next(lines, "")
        while head and not lines.cut and not head.strip():
            head = next(lines, "")
        if not head:
            raise click.ClickException("The file is empty.")
        if "\0" in head or (_NOT_UTF_8.search(head) and not head.lstrip().startswith("{")):
            raise click.ClickException("The file is not UTF-8. In a spreadsheet, save it as CSV in UTF-8.")
        if head.lstrip().startswith("["):
            raise click.ClickException("This is one JSON array. Write one object a line: jq -c '.[]' users.json > users.jsonl")
        reading = _json_lines if head.lstrip().startswith("{") else _csv_rows
        yield from reading(head, lines)
    finally:
        text.detach()


class _Lines(Iterator[str]):
    """The lines of a text. Of one that is too long there is the beginning, and `cut` is true until `was_cut` is asked."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._text = text
        self.number = 0
        """The number of the last line."""
        self.cut = False
        self._rest = ""
        """The last part of a line that was cut."""

    def was_cut(self) -> bool:
        """Whether a line was too long since this was asked before."""
        cut, self.cut = self.cut, False
        return cut

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_LINE + len("\r\n"))
        if line == "\n" and self._rest.endswith("\r"):  # the second half of the line end
            line = self._text.readline(LONGEST_LINE + len("\r\n"))
        self._rest = ""
        if not line:
            raise StopIteration
        self.number += 1
        if len(line.rstrip("\r\n")) <= LONGEST_LINE:
            return line
        self.cut, self._rest = True, line
        quotes = line.count('"', LONGEST_LINE)
        while self._rest and self._rest[-1] not in "\r\n":
            self._rest = self._text.readline(LONGEST_LINE)
            quotes += self._rest.count('"')
        # A cell of CSV that ends on this line has to end here, too, or it would contain the next rows.
        return line[:LONGEST_LINE] + '"' * (quotes % 2) + "\n"


def _csv_rows(head: str, lines: _Lines) -> Iterator[Line]:
    reader = csv.reader(chain([head], lines), delimiter=max(",;\t", key=head.count), strict=True)
    columns = _header(reader)
    if lines.was_cut():
        raise click.ClickException(f"The header is too long. {_TOO_LONG}")
    while True:
        number, cells, fault = lines.number + 1, [], ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = f"This is not CSV: {error}."
        if lines.was_cut():
            fault = _TOO_LONG
        if fault:
            yield Line(number, faults={"": fault}, last=lines.number)
        elif any(cells):
            yield replace(_csv_line(number, columns, cells), last=lines.number)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        columns = [name.strip().lower() for name in next(reader)]
    except csv.Error as error:
        raise click.ClickException(f"The header is not CSV: {error}.") from error
    wrong = [_unknown(name, place) for place, name in enumerate(columns, 1) if name not in EXPORTED]
    if not set(EXPORTED).intersection(columns):  # it may be a row, with a person's data
        wrong = ["The first line does not name the columns."]
    wrong += ["A column is there twice."] if len(set(columns)) < len(columns) else []
    wrong += ["There is no column number."] if "number" not in columns else []
    if wrong:
        raise click.ClickException(f"{' '.join(dict.fromkeys(wrong))} Known are: {', '.join(EXPORTED)}.")
    return columns


def _unknown(name: str, place: int) -> str:
    """Says that there is no column `name`, with the nearest that there is, or that the column at this place (from 1) is none."""
    if not _NAME.fullmatch(name):
        return f"Column {place} has no name that is known."
    nearest = get_close_matches(name.lower(), EXPORTED, n=1)
    return f"There is no column {name!r}{f'; the nearest is {nearest[0]}' if nearest else ''}."


def _csv_line(number: int, columns: list[str], cells: list[str]) -> Line:
    if len(cells) != len(columns):
        there = "is 1 cell" if len(cells) == 1 else f"are {len(cells)} cells"
        return Line(number, faults={"": f"There {there}, but {len(columns)} column{'s' if len(columns) > 1 else ''}."})
    row: dict[str, Any] = {name: _ESCAPED.sub("", cell) for name, cell in zip(columns, cells, strict=True)}
    faults = {name: "This is not UTF-8." for name, cell in row.items() if _NOT_UTF_8.search(cell)}
    if "metadata" not in faults and row.get("metadata"):
        try:
            row["metadata"] = strict_json.loads(row["metadata"])
        except ValueError:
            faults["metadata"] = "This is not JSON."
    return _typed(number, row, faults)


def _json_lines(head: str, lines: _Lines) -> Iterator[Line]:
    for line in chain([head], lines):
        row, fault = None, "This is not a JSON object. Write one object a line."
        if lines.was_cut():
            fault = _TOO_LONG
        elif _NOT_UTF_8.search(line):
            fault = "This is not UTF-8."
        elif not line.strip():
            continue
        else:
            with suppress(ValueError):
                row = strict_json.loads(line)
        if isinstance(row, dict):
            yield _typed(
                lines.number, row, {name: _unknown(name, place) for place, name in enumerate(row, 1) if name not in EXPORTED}
            )
        else:
            yield Line(lines.number, faults={"": fault}, last=lines.number)


def _typed(number: int, row: dict[str, Any], faults: dict[str, str]) -> Line:
    """The line without empty and bad columns, and with the faults of values of another type."""
    row = {name: value for name, value in row.items() if value not in (None, "")}
    for name in IMPORTED:
        kind, fault = (dict, "This is not a JSON object.") if name == "metadata" else (str, "This is not a string.")
        if not isinstance(row.get(name, kind()), kind):
            faults.setdefault(name, fault)
    return Line(number, {name: value for name, value in row.items() if name not in faults}, faults, last=number)


def write(file: BinaryIO, users: Iterable[Mapping[str, Any]], *, as_csv: bool) -> int:
    """Writes a file that `read` reads. Returns the number of users.

    In CSV an apostrophe is before what a spreadsheet would run as a formula, also one that separates cells by semicolons or tabs;
    `read` removes it. Numbers and ids are written as they are: they may begin with `+` or `-`, but contain no function.
    """
    text, count = TextIOWrapper(file, "utf-8", newline=""), 0
    table = csv.writer(text)
    if as_csv:
        table.writerow(EXPORTED)
    for count, user in enumerate(users, 1):  # noqa: B007  # returned below
        if as_csv:
            table.writerow(_cells(user))
        else:
            text.write(json.dumps(user, ensure_ascii=False) + "\n")
    text.flush()
    text.detach()
    return count


def _cells(user: Mapping[str, Any]) -> Sequence[str]:
    cells = []
    for name in EXPORTED:
        value = user[name]
        if isinstance(value, dict):
            value = json.dumps(value, ensure_ascii=False, separators=(",", ":")) if value else ""
        elif isinstance(value, bool):
            value = str(value).lower()
        cell = "" if value is None else str(value)
        cells.append(cell if name in ("id", "number") else _FORMULA.sub("'", cell))
    return cells
