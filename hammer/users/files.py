"""Files of users: CSV with a header, or JSON lines. Both are UTF-8, are read at constant memory and have the same columns.

What is wrong with a file is a `Fault`, which the front ends translate.
"""

import csv
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from io import TextIOWrapper
from itertools import chain, islice
from typing import Any, BinaryIO, Final

from hammer.parsing import strict_json
from hammer.refusals import N_

IMPORTED: Final = ("number", "username", "first_name", "last_name", "metadata", "joined_at", "blocked_at", "invite_code")
"""The columns that an import reads. Only `number` is required."""
EXPORTED: Final = ("id", *IMPORTED, "is_staff", "invite_count", "activated_invite_code")
"""The columns that an export writes. An import ignores those that it does not read."""
LONGEST_LINE: Final = 100_000
"""Characters of a line without its end. A longer one is refused, and only so many of it are kept in memory."""
MOST_UNKNOWN: Final = 5
_FORMULA: Final = re.compile(r"""(?:\A|(?<=[;\t\r\n]))(?='*(?:[^\S\t\r\n]|")*[=+\-@\t\r＝＋－＠])""")
"""Where a spreadsheet could begin a cell and would run it as a formula, or would but for our apostrophes. Programs that separate
cells by `;` or tabs, like a Russian Excel, begin one in the middle of ours, and take no notice of our quotes there."""
_ESCAPED: Final = re.compile(rf"(?:{_FORMULA.pattern})'")
_NAME: Final = re.compile(r"(?!.*\d{5})[^\W\d][\w .-]{0,39}")
"""What is the name of a column, and hardly a number or an address of a person."""
_BROKEN: Final = re.compile("[\ud800-\udfff]")
"""What `surrogateescape` makes of bytes that are not UTF-8."""


@dataclass(frozen=True)
class Fault:
    """What is wrong: an English sentence marked with `N_`, and the values of its placeholders."""

    sentence: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.sentence % self.values if self.values else self.sentence


class Unreadable(Exception):
    """The file as a whole is none of users."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(" ".join(map(str, faults)))
        self.faults = faults


EMPTY: Final = Fault(N_("The file is empty."))
NOT_UTF_8_FILE: Final = Fault(N_("The file is not UTF-8. In a spreadsheet, save it as CSV in UTF-8."))
ONE_ARRAY: Final = Fault(N_("This is one JSON array. Write one object a line: jq -c '.[]' users.json > users.jsonl"))
LONG_HEADER: Final = Fault(N_("The header is too long."))
NO_HEADER: Final = Fault(N_("The first line does not name the columns."))
TWICE: Final = Fault(N_("A column is there twice."))
NO_NUMBER: Final = Fault(N_("There is no column number."))
TOO_LONG: Final = Fault(N_("This is longer than 100,000 characters."))
NOT_CSV: Final = Fault(N_("This is not CSV: a quotation mark has no partner, or stands in the middle of a cell."))
OTHER_WIDTH: Final = N_("The number of cells, %(cells)d, is not that of the columns, %(columns)d.")
NOT_UTF_8: Final = Fault(N_("This is not UTF-8."))
NOT_JSON: Final = Fault(N_("This is not JSON."))
NOT_A_STRING: Final = Fault(N_("This is not a string."))
NOT_AN_OBJECT: Final = Fault(N_("This is not a JSON object."))
NOT_A_LINE: Final = Fault(N_("This is not a JSON object. Write one object a line."))


@dataclass(frozen=True)
class Line:
    """A row of a file."""

    number: int
    """The line that it begins on."""
    row: Mapping[str, Any] = field(default_factory=dict)
    faults: Mapping[str, Fault] = field(default_factory=dict)
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
    """The rows of a file. JSON lines begin with `{`, everything else is CSV. Raises `Unreadable` for other files, and for a header
    that it does not understand."""
    text = TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        lines = _Lines(text)
        head = next(lines, "")
        while head and not lines.cut and not head.strip():
            head = next(lines, "")
        if not head:
            raise Unreadable(EMPTY)
        if "\0" in head or (_BROKEN.search(head) and not head.lstrip().startswith("{")):
            raise Unreadable(NOT_UTF_8_FILE)
        if head.lstrip().startswith("["):
            raise Unreadable(ONE_ARRAY)
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
        raise Unreadable(LONG_HEADER, TOO_LONG)
    while True:
        number, cells, fault = lines.number + 1, [], None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            fault = NOT_CSV
        if lines.was_cut():
            fault = TOO_LONG
        if fault:
            yield Line(number, faults={"": fault}, last=lines.number)
        elif any(cells):
            yield replace(_csv_line(number, columns, cells), last=lines.number)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        columns = [name.strip().lower() for name in next(reader)]
    except csv.Error as error:
        raise Unreadable(NO_HEADER, NOT_CSV) from error
    wrong = list(_unknown(columns).values())
    if not set(EXPORTED).intersection(columns):  # it may be a row, with a person's data
        wrong = [NO_HEADER]
    wrong += [TWICE] if len(set(columns)) < len(columns) else []
    wrong += [NO_NUMBER] if "number" not in columns else []
    if wrong:
        raise Unreadable(*wrong, Fault(N_("Known are: %(columns)s."), {"columns": ", ".join(EXPORTED)}))
    return columns


def _unknown(columns: Iterable[str]) -> dict[str, Fault]:
    """Those that there are not -> a sentence about each; about the first `MOST_UNKNOWN`, since nobody needs to read more."""
    unknown = ((name, place) for place, name in enumerate(columns, 1) if name not in EXPORTED)
    return {name: _about_unknown(name, place) for name, place in islice(unknown, MOST_UNKNOWN)}


def _about_unknown(name: str, place: int) -> Fault:
    """Says that there is no column `name`, with the nearest that there is, or that the column at this place (from 1) is none."""
    if not _NAME.fullmatch(name):
        return Fault(N_("Column %(place)d has no name that is known."), {"place": place})
    for nearest in get_close_matches(name.lower(), EXPORTED, n=1):
        return Fault(N_("There is no column “%(name)s”; the nearest is %(nearest)s."), {"name": name, "nearest": nearest})
    return Fault(N_("There is no column “%(name)s”."), {"name": name})


def _csv_line(number: int, columns: list[str], cells: list[str]) -> Line:
    if len(cells) != len(columns):
        counts = {"cells": len(cells), "columns": len(columns)}
        return Line(
            number, faults={"": Fault(N_("The number of cells, %(cells)d, is not that of the columns, %(columns)d."), counts)}
        )
    row: dict[str, Any] = {name: _ESCAPED.sub("", cell) for name, cell in zip(columns, cells, strict=True)}
    faults = {name: NOT_UTF_8 for name, cell in row.items() if _BROKEN.search(cell)}
    if "metadata" not in faults and row.get("metadata"):
        try:
            row["metadata"] = strict_json.loads(row["metadata"])
        except ValueError:
            faults["metadata"] = NOT_JSON
    return _typed(number, row, faults)


def _json_lines(head: str, lines: _Lines) -> Iterator[Line]:
    for line in chain([head], lines):
        row, fault = None, NOT_A_LINE
        if lines.was_cut():
            fault = TOO_LONG
        elif _BROKEN.search(line):
            fault = NOT_UTF_8
        elif not line.strip():
            continue
        else:
            with suppress(ValueError):
                row = strict_json.loads(line)
        if isinstance(row, dict):
            yield _typed(lines.number, row, _unknown(row))
        else:
            yield Line(lines.number, faults={"": fault}, last=lines.number)


def _typed(number: int, row: dict[str, Any], faults: dict[str, Fault]) -> Line:
    """The line without empty and bad columns, and with the faults of values of another type."""
    row = {name: value for name, value in row.items() if value not in (None, "")}
    for name in IMPORTED:
        kind, fault = (dict, NOT_AN_OBJECT) if name == "metadata" else (str, NOT_A_STRING)
        if not isinstance(row.get(name, kind()), kind):
            faults.setdefault(name, fault)
    return Line(number, {name: value for name, value in row.items() if name not in faults}, faults, last=number)


def write(file: BinaryIO, users: Iterable[Mapping[str, Any]], *, as_csv: bool) -> int:
    """Writes a file that `read` reads. Returns the number of users."""
    text = TextIOWrapper(file, "utf-8", newline="")
    lines = csv_lines(users) if as_csv else (json.dumps(user, ensure_ascii=False) + "\n" for user in users)
    count = sum(1 for line in lines if text.write(line))
    text.flush()
    text.detach()
    return count - as_csv  # its header is no user


def csv_lines(users: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The header and the rows of a file of CSV that `read` reads, each with its end.

    An apostrophe is before what a spreadsheet would run as a formula, also one that separates cells by semicolons or tabs; `read`
    removes it. Numbers and ids are written as they are: they may begin with `+` or `-`, but contain no function.
    """
    table = csv.writer(_Passed())
    yield table.writerow(EXPORTED)
    for user in users:
        yield table.writerow(_cells(user))


class _Passed:
    """A file for `csv.writer` whose `writerow` returns the row."""

    def write(self, row: str) -> str:
        return row


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
