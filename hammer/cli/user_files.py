"""Files of users: CSV with a header, or JSON lines. Both are UTF-8, are read at constant memory and have the same columns."""

import csv
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import chain
from typing import Any, BinaryIO, Final

import click

from hammer.parsing import strict_json
from hammer.users.transfers import EXPORTED, IMPORTED

LONGEST_LINE: Final = 100_000
"""Characters of a line that are read; the rest is left out, and the line is refused then."""
_FORMULA: Final = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
"""How a cell begins that a spreadsheet would run as a formula, or that has our apostrophes before it."""
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
    """The rows of a file. JSON lines begin with `{`, everything else is CSV. Refuses a header that it does not understand."""
    text = TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        lines = _lines(text)
        before = [next(lines, "")]
        while before[-1] and not before[-1].strip():
            before.append(next(lines, ""))
        reading = _json_lines if before[-1].lstrip().startswith("{") else _csv_rows
        yield from reading(chain([before[-1]], lines), len(before))
    finally:
        text.detach()


def _lines(text: TextIOWrapper) -> Iterator[str]:
    while line := text.readline(LONGEST_LINE):
        rest = line
        while len(rest) == LONGEST_LINE and rest[-1] not in "\r\n":
            rest = text.readline(LONGEST_LINE)
        yield line


def _csv_rows(lines: Iterable[str], first: int) -> Iterator[Line]:
    lines = iter(lines)
    head = next(lines)
    reader = csv.reader(chain([head], lines), delimiter=max(",;\t", key=head.count), strict=True)
    columns = _header(reader)
    while True:
        number = first + reader.line_num
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield Line(number, faults={"": f"This is not CSV: {error}."})
            continue
        if cells is None:
            return
        if any(cells):
            yield _csv_line(number, columns, cells)


def _header(reader: Iterator[list[str]]) -> list[str]:
    try:
        columns = [name.strip().lower() for name in next(reader)]
    except csv.Error as error:
        raise click.ClickException(f"The header is not CSV: {error}.") from error
    unknown = [name for name in columns if name not in EXPORTED]
    if unknown or "number" not in columns or len(set(columns)) < len(columns):
        raise click.ClickException(
            f"The first line names the columns, each once, `number` among them. Known are: {', '.join(EXPORTED)}."
        )
    return columns


def _csv_line(number: int, columns: list[str], cells: list[str]) -> Line:
    if len(cells) != len(columns):
        return Line(number, faults={"": f"There are {len(cells)} cells, but {len(columns)} columns."})
    row: dict[str, Any] = {
        name: cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell for name, cell in zip(columns, cells, strict=True)
    }
    faults = {name: "This is not UTF-8." for name, cell in row.items() if _NOT_UTF_8.search(cell)}
    if not faults and row.get("metadata"):
        try:
            row["metadata"] = strict_json.loads(row["metadata"])
        except ValueError:
            faults = {"metadata": "This is not JSON."}
    return Line(number, faults=faults) if faults else _typed(number, row, {})


def _json_lines(lines: Iterable[str], first: int) -> Iterator[Line]:
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            row = strict_json.loads(line)
        except ValueError:
            row = None
        if isinstance(row, dict):
            yield _typed(number, row, {name: "There is no such column." for name in row if name not in EXPORTED})
        else:
            yield Line(number, faults={"": "This is not a JSON object in UTF-8."})


def _typed(number: int, row: dict[str, Any], faults: dict[str, str]) -> Line:
    """The line without empty columns, and with the faults of values of another type."""
    row = {name: value for name, value in row.items() if value not in (None, "")}
    for name in IMPORTED:
        kind, fault = (dict, "This is not a JSON object.") if name == "metadata" else (str, "This is not a string.")
        if not isinstance(row.get(name, kind()), kind):
            faults.setdefault(name, fault)
    return Line(number, row, faults)


def write(file: BinaryIO, users: Iterable[Mapping[str, Any]], *, as_csv: bool) -> int:
    """Writes a file that `read` reads. Returns the number of users.

    In CSV an apostrophe is before what a spreadsheet would run as a formula; `read` removes it. Numbers and ids are written as they
    are: they may begin with `+` or `-`, but contain no function.
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
        cells.append(f"'{cell}" if name not in ("id", "number") and _FORMULA.match(cell) else cell)
    return cells
