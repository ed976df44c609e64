"""Prepared statements: compiled to SQL once, then sent straight to the driver.

For each execution of a statement SQLAlchemy looks up its compiled form, converts every value and describes every column, which
takes several times as long as sending it. What every login and every profile needs is prepared instead:

    FIND_USER: Final = prepared(select(User).where(User.telephone_number == bindparam("number")))
    user = FIND_USER.row(tx, User, number=number)
"""

from collections import namedtuple
from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, cast, overload

from sqlalchemy import Dialect, Executable
from sqlalchemy import insert as plain_insert
from sqlalchemy.orm import class_mapper
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.selectable import TypedReturnsRows
from sqlalchemy.types import TypeEngine

from hammer.db.database import Base, OneConnectionSession, Transaction, send

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

Model = TypeVar("Model", bound=Base)
Value = TypeVar("Value")

InsertInto: TypeAlias = Callable[[type[Base]], "postgresql.Insert | sqlite.Insert"]
"""`INSERT` of the database in use, with `on_conflict_do_nothing` and `on_conflict_do_update`."""


class Prepared(Generic[Value]):
    """A statement that `prepared` made. Each method executes it with a value for every `bindparam`; `Value` is the type of the
    first column."""

    def __init__(self, statement: Executable | Callable[[InsertInto], Executable]) -> None:
        self._statement = statement

    def rows(self, tx: Transaction, /, **values: object) -> list[Any]:
        """All rows, as tuples with named columns; the columns of a model are named one by one."""
        connection = cast(OneConnectionSession, tx).current_connection()
        return _compiled(self._statement, connection.dialect, tuple(values)).execute(connection, values)

    def row(self, tx: Transaction, model: type[Model], /, **values: object) -> Model | None:
        """The only row, as a model; None if there is none. The model is detached: changes to it are not saved."""
        rows = self.rows(tx, **values)
        return _detached(model, rows[0]._asdict()) if rows else None

    def value(self, tx: Transaction, /, **values: object) -> Value | None:
        """The first column of the only row; None if there is none."""
        rows = self.rows(tx, **values)
        return rows[0][0] if rows else None

    def execute(self, tx: Transaction, /, **values: object) -> None:
        """Executes a statement that returns no rows."""
        self.rows(tx, **values)


@overload
def prepared(statement: TypedReturnsRows[Value, *tuple[Any, ...]]) -> Prepared[Value]: ...
@overload
def prepared(statement: Callable[[InsertInto], TypedReturnsRows[Value, *tuple[Any, ...]]]) -> Prepared[Value]: ...
@overload
def prepared(statement: Executable) -> Prepared[Any]: ...
def prepared(statement: Executable | Callable[[InsertInto], Executable]) -> Prepared[Any]:
    """Prepares a statement, which is compiled at its first execution. Values are `bindparam`s: their number does not change.

    An `INSERT ... ON CONFLICT` is different for each database, so it is a function of that database's `insert`:
    `prepared(lambda insert: insert(User).on_conflict_do_nothing().returning(User))`.
    """
    return Prepared(statement)


def insert_row(tx: Transaction, model: type[Model], **values: object) -> Model:
    """Inserts a row at once and returns it, detached, with these columns only. `tx.add` would first sort everything that waits to
    be written."""
    _insert(model).execute(tx, **values)
    return _detached(model, values)


@cache
def _insert(model: type[Base]) -> Prepared[Any]:
    return prepared(plain_insert(model).inline())


def _detached(model: type[Model], values: dict[str, Any]) -> Model:
    """Makes a model as the ORM makes one from a row: no change is recorded, as it would be by `model(**values)`."""
    made = class_mapper(model).class_manager.new_instance()
    vars(made).update(values)
    return made


@lru_cache(maxsize=512)
def _compiled(
    statement: Executable | Callable[[InsertInto], Executable], dialect: Dialect, names: tuple[str, ...]
) -> "_CompiledStatement":
    if not isinstance(statement, Executable):
        statement = statement(import_module(f"sqlalchemy.dialects.{dialect.name}").insert)
    return _CompiledStatement(statement, dialect, names)


class _CompiledStatement:
    """The SQL of one statement in one dialect, with the functions that convert its values and its columns."""

    def __init__(self, statement: Executable, dialect: Dialect, names: tuple[str, ...]) -> None:
        compiled = cast(SQLCompiler, statement.compile(dialect=dialect, column_keys=list(names)))  # type: ignore[attr-defined]
        if compiled.post_compile_params or compiled.literal_execute_params or compiled.insert_prefetch or compiled.update_prefetch:
            raise ValueError(f"Not the same SQL each time, or a default that Python computes: {compiled}")
        if missing := {bind.key for bind in compiled.bind_names if bind.required}.difference(names):
            raise ValueError(f"Without {missing}: {compiled}")
        self.sql: Final = str(compiled)
        self.order: Final = compiled.positiontup
        """Names of the values in the order of the placeholders; None where placeholders have names."""
        self.parameters: Final = [
            (name, bind.key, _to_driver(bind.type, dialect), bind.value) for bind, name in compiled.bind_names.items()
        ]
        columns = getattr(statement, "exported_columns", {})
        self.row_type: Any = namedtuple("Row", columns.keys(), rename=True) if columns else None
        converters = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns.values()]
        self.converters: Final = [(place, convert) for place, convert in enumerate(converters) if convert]

    def execute(self, connection: Any, values: dict[str, object]) -> list[Any]:
        converted = {}
        for name, key, convert, default in self.parameters:
            value = values.get(key, default)
            converted[name] = value if convert is None else convert(value)
        sent = converted if self.order is None else tuple(map(converted.__getitem__, self.order))
        return self._rows(send(connection, self.sql, sent))

    def _rows(self, rows: list[tuple[Any, ...]]) -> list[Any]:
        if self.row_type is None:
            return rows
        if not self.converters:
            return list(map(self.row_type._make, rows))
        made = []
        for row in map(list, rows):
            for place, convert in self.converters:
                row[place] = convert(row[place])
            made.append(self.row_type._make(row))
        return made


def _to_driver(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    return kind.dialect_impl(dialect).bind_processor(dialect)
