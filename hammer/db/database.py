"""The database: connections, names of constraints, times with a zone, and `transaction()`, the only place that commits.

Reads use `db.session` and open no transaction: each statement sees what is committed. Writes use `transaction()`, which on SQLite
takes the write lock at once (`BEGIN IMMEDIATE`). Otherwise two transactions that read before they write would silently lose
updates.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session as BoundSession
from sqlalchemy import (
    URL,
    Connection,
    DateTime,
    Dialect,
    MetaData,
    String,
    TypeDecorator,
    delete,
    event,
    func,
    make_url,
    select,
    table,
    update,
)
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from hammer import clock, measures
from hammer.db.causes import Cause, cause_of, name_of
from hammer.refusals import Unavailable

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
    from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

BUSY_SECONDS = 2
"""How long a statement waits for a lock, or for the database itself, before the caller is refused with `Unavailable`."""
_SQLITE_WAIT_SECONDS: Final = BUSY_SECONDS / 2
"""A write on SQLite waits twice: for the other threads of its process, then for other processes."""
AWAY: Final = (OperationalError, InterfaceError, PoolTimeout)
"""Errors that mean: the database cannot be reached, has closed the connection, or stays locked."""

COUNTED: Final = measures.counter(
    "database_refusals", "Times that the database did not do what was asked.", "cause", known=((cause,) for cause in Cause)
)
_logged = clock.Seldom(60.0)
log = logging.getLogger(__name__)


def unavailable(error: BaseException) -> Unavailable:
    """The refusal for callers while the database is unavailable. Each cause is counted, and logged at most once a minute."""
    COUNTED.labels(cause_of(error)).inc()
    why = name_of(error)
    if _logged.now(why):
        log.warning("The database refuses: %s.", why)
    return Unavailable(retry_after=BUSY_SECONDS)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC with its zone. SQLite does not store the zone; it is added when a row is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        # The same text as SQLAlchemy's own (`2026-11-23 09:30:00.000000`), five times as fast: a login writes thirty moments.
        if dialect.name == "sqlite":
            return lambda value: value and value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        return super().bind_processor(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime}


RandomId = Annotated[str, mapped_column(String(22))]

Transaction: TypeAlias = Session
"""The transaction of a verb. For SQLAlchemy it is a session."""


class OneConnectionSession(BoundSession):
    """A session that keeps one connection from its first statement until its transaction ends or it is closed.

    SQLAlchemy's own session looks up the database and the connection for each statement.
    """

    def __init__(self, db: SQLAlchemy, **options: Any) -> None:
        super().__init__(db, **options)
        self.engine = db.engine
        self._connection: Connection | None = None
        self.after_commit: list[Callable[[], object]] = []

    def current_connection(self) -> Connection:
        if self._connection is None:
            self._connection = self.engine.connect()
        return self._connection

    def get_bind(self, *_: Any, **__: Any) -> Connection:
        return self.current_connection()

    def rollback(self) -> None:
        super().rollback()
        self.release()

    def close(self) -> None:
        super().close()
        self.release()

    def release(self) -> None:
        """Returns the connection to the pool. What was not committed is rolled back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


_OPTIONS: Final = {
    "class_": OneConnectionSession,
    "autoflush": False,
    "expire_on_commit": False,
    "join_transaction_mode": "control_fully",
}
db = SQLAlchemy(metadata=Base.metadata, session_options=_OPTIONS)

# SQLAlchemy makes a class for each kind of statement at its first execution. If two threads do that at the same moment, one of them
# warns that the class is not ready, and compiles the statement at every execution. So they are made here.
for statement in (update(table("any")), delete(table("any"))):
    statement._annotate({})


def init_app(app: "Flask") -> None:
    """Binds the database to the application. Expects `SQLALCHEMY_DATABASE_URI` in its configuration."""
    on_sqlite = app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite")
    options: dict[str, Any] = {
        "isolation_level": "AUTOCOMMIT",
        "hide_parameters": True,  # errors that are logged must not contain values
        "pool_size": 10,
        "max_overflow": 20,
        "pool_timeout": BUSY_SECONDS,
    }
    if on_sqlite:
        options["connect_args"] = {"timeout": _SQLITE_WAIT_SECONDS}
    else:
        from hammer.db import postgresql  # noqa: PLC0415  # imports the driver, which SQLite does not need

        options["connect_args"] = postgresql.connect_args(BUSY_SECONDS, pooler=app.config["SETTINGS"].database_pooler)
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", options)
    if on_sqlite:
        _make_file(make_url(app.config["SQLALCHEMY_DATABASE_URI"]), Path(app.instance_path))
    db.init_app(app)
    with app.app_context():
        if on_sqlite:
            event.listen(db.engine, "connect", _prepare_sqlite)
        else:
            postgresql.limit_waits(app, db.engine, BUSY_SECONDS, pooler=app.config["SETTINGS"].database_pooler)


def _make_file(url: URL, instance: Path) -> None:
    """Creates the file of the database with mode 600. SQLite would create it readable for every user of the machine; the files that
    it adds get the same mode.

    A file that exists is not opened: closing it would release the locks that SQLite holds on it.
    """
    name = url.database or ""
    if name.startswith("file:"):
        if "mode" in url.query:  # `mode` says whether the file may be created
            return
        name = unquote(urlsplit(name).path)
    elif not Path(name).is_absolute():  # relative to the instance folder, as in Flask-SQLAlchemy
        name = str(instance / name)
        with suppress(OSError):
            instance.mkdir(mode=0o700, exist_ok=True)
    with suppress(OSError):  # it exists, or cannot be created; `doctor` then says what to do
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # SQLite's own `lower` knows only ASCII, but people search for Cyrillic names.
    connection.create_function("lower", 1, lambda value: value and value.lower(), deterministic=True)
    for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
        connection.execute(f"pragma {pragma}")


_sqlite_writer = threading.Lock()
"""Held while this process writes to SQLite, which allows one write at a time and makes the others poll: some of them would never
get their turn. With this lock the threads of a process wait in a queue."""

_BEGIN_ON_SQLITE: Final = "begin immediate"
_BEGIN_ON_POSTGRESQL: Final = "begin isolation level read committed"
"""Sent as SQL, which is faster than switching the driver out of autocommit and back."""


@contextmanager
def transaction() -> Iterator[Transaction]:
    """One transaction: commits at the end of the block, or rolls back if the block raises.

    A refusal that must leave a trace is therefore raised after the block. Refuses with `Unavailable` if the database stays locked
    for longer than `BUSY_SECONDS` or cannot be reached.
    """
    session = cast(OneConnectionSession, db.session())
    if session.in_transaction():  # the ORM began a transaction of its own in order to read
        session.rollback()
    on_sqlite = _on_sqlite(session)
    if on_sqlite and not _sqlite_writer.acquire(timeout=_SQLITE_WAIT_SECONDS):
        raise unavailable(TimeoutError())
    then: list[Callable[[], object]] = []
    session.after_commit = then
    try:
        connection = session.current_connection()
        begun = connection.begin()
        send(connection, _BEGIN_ON_SQLITE if on_sqlite else _BEGIN_ON_POSTGRESQL)
        yield session
        joined_by_orm = session.in_transaction()  # then the ORM has to write its changes first
        (session if joined_by_orm else begun).commit()
    except AWAY as error:
        session.rollback()
        raise unavailable(error) from error
    except BaseException:
        session.rollback()
        raise
    finally:
        session.release()
        if on_sqlite:
            _sqlite_writer.release()
    for call in then:
        call()


def on_commit(tx: Transaction, call: Callable[[], object]) -> None:
    """Calls `call` after the commit of this transaction, and never if it is rolled back. It is for counting: it must not raise."""
    cast(OneConnectionSession, tx).after_commit.append(call)


def send(connection: Connection, sql: str, values: Any = ()) -> list[tuple[Any, ...]]:
    """Executes SQL with the driver's own cursor and returns the driver's rows.

    Errors are those of SQLAlchemy, and listeners of its cursor events are called.
    """
    cursor = connection.connection.cursor()
    try:
        for listen in connection.dispatch.before_cursor_execute:
            listen(connection, cursor, sql, values, None, False)
        cursor.execute(sql, values)
        rows = list(cursor.fetchall()) if cursor.description else []
        for listen in connection.dispatch.after_cursor_execute:
            listen(connection, cursor, sql, values, None, False)
    except connection.dialect.loaded_dbapi.Error as error:
        # Converts the error, and removes a broken connection from the pool.
        connection._handle_dbapi_exception(error, sql, values, cursor, None)
    cursor.close()
    return rows


def insert(tx: Transaction, table: type[Base]) -> "PostgresInsert | SqliteInsert":
    """`INSERT` of the database in use, with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    statement: PostgresInsert | SqliteInsert = dialect(tx).insert(table)
    return statement


def dialect(tx: Transaction) -> ModuleType:
    """SQLAlchemy's module for the database in use."""
    return import_module(f"sqlalchemy.dialects.{tx.connection().dialect.name}")


def one_at_a_time(tx: Transaction, name: str) -> None:
    """Takes the lock of this name until the transaction ends; waits while another transaction has it.

    On SQLite nothing is needed: only one transaction writes at a time.
    """
    if not _on_sqlite(tx):
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"hammer/{name}"))))


def _on_sqlite(tx: Transaction) -> bool:
    return cast(OneConnectionSession, tx).engine.dialect.name == "sqlite"
