"""Statements that stand ready, for what every login and every look at a profile needs.

Given a statement, SQLAlchemy finds out each time that it is the same as last time, how each value is written and how each column is
read; that takes several times as long as to send it. Here it is put into the database's words once, at first use.
"""

from collections import namedtuple
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, TypeVar, cast

from sqlalchemy import Dialect, Executable, Insert, insert
from sqlalchemy.orm import class_mapper
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from hammer.db.database import Base, OneDatabase, Transaction, send

Model = TypeVar("Model", bound=Base)


def run(tx: Transaction, statement: Executable, /, **values: object) -> list[Any]:
    """What a statement gives back that was built once, with `bindparam` where its values go: rows with named columns, even of whole
    models (`row_of` makes one of them)."""
    connection = cast(OneDatabase, tx).here()
    return _ready(statement, connection.dialect, tuple(values)).run(connection, values)


def value_of(rows: list[Any]) -> Any:
    """The first value of the one row that came back; None where none did."""
    return rows[0][0] if rows else None


def row_of(model: type[Model], rows: list[Any]) -> Model | None:
    """The one row that came back; None where none did. It lies apart from the session: what is changed in it is not written."""
    return _made(model, rows[0]._asdict()) if rows else None


def add(tx: Transaction, model: type[Model], **values: object) -> Model:
    """Inserts a row at once and gives it back, with these columns alone. `session.add` would first look for what else waits to be
    written, and in which order."""
    run(tx, _inserting(model), **values)
    return _made(model, values)


def _made(model: type[Model], values: dict[str, Any]) -> Model:
    """As the ORM makes what it has read: nothing in it waits to be written, so nobody need be told of each column."""
    made = class_mapper(model).class_manager.new_instance()
    vars(made).update(values)
    return made


@cache
def _inserting(model: type[Base]) -> Insert:
    return insert(model).inline()


@lru_cache(maxsize=512)
def _ready(statement: Executable, dialect: Dialect, given: tuple[str, ...]) -> "_Ready":
    return _Ready(statement, dialect, given)


class _Ready:
    """One statement in the words of one dialect."""

    def __init__(self, statement: Executable, dialect: Dialect, given: tuple[str, ...]) -> None:
        said = cast(SQLCompiler, statement.compile(dialect=dialect, column_keys=list(given)))  # type: ignore[attr-defined]
        if said.post_compile_params or said.literal_execute_params or said.insert_prefetch or said.update_prefetch:
            raise ValueError(f"Not the same words each time, or a default of ours in it: {said}")
        if missing := {bind.key for bind in said.bind_names if bind.required}.difference(given):
            raise ValueError(f"Without {missing}: {said}")
        self.words = str(said)
        self.order = said.positiontup
        self.writes = [(name, bind.key, _writer(bind.type, dialect), bind.value) for bind, name in said.bind_names.items()]
        columns = getattr(statement, "exported_columns", {})
        self.row: Any = namedtuple("Row", columns.keys(), rename=True) if columns else None
        readers = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns.values()]
        self.reads = [(place, reader) for place, reader in enumerate(readers) if reader]

    def run(self, connection: Any, values: dict[str, object]) -> list[Any]:
        written = {}
        for name, key, write, value in self.writes:
            given = values.get(key, value)
            written[name] = given if write is None else write(given)
        sent = written if self.order is None else tuple(map(written.__getitem__, self.order))
        return self._read(send(connection, self.words, sent))

    def _read(self, rows: list[tuple[Any, ...]]) -> list[Any]:
        if self.row is None:
            return rows
        if not self.reads:
            return list(map(self.row._make, rows))
        made = []
        for row in map(list, rows):
            for place, read in self.reads:
                row[place] = read(row[place])
            made.append(self.row._make(row))
        return made


def _writer(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)
