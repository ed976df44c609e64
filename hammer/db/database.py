"""The database: the connection, the names of constraints, aware times, and `transaction()`, the only commit in the house.

Reads go through `db.session` and open no transaction: each statement sees what is committed. Writes go through `transaction()`,
which on SQLite takes the write lock at once (`BEGIN IMMEDIATE`): without it, two that read and then write lose updates in silence.
"""

import logging
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import click
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
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from hammer.refusals import Unavailable

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy.dialects import postgresql, sqlite

BUSY_SECONDS = 2
"""How long a statement waits for somebody else's lock, or for the database itself, before the caller is told to come back."""
_IN_EACH_QUEUE: Final = BUSY_SECONDS / 2
"""On SQLite a write waits for the other threads of its process, and then for other processes."""
AWAY: Final = (OperationalError, InterfaceError, PoolTimeout)
"""What is raised when the database cannot be reached, hangs up, or stays locked by others."""


_LOG_AGAIN_SECONDS: Final = 60.0
_silent_until: dict[str, float] = {}
"""Cause of a refusal -> when it may stand in the log again."""

log = logging.getLogger(__name__)


def cause(error: BaseException) -> str:
    """What the database or its driver calls this, like `SQLITE_FULL` or `DiskFull`; no value of anybody's is in it."""
    origin = getattr(error, "orig", None) or error
    return getattr(origin, "sqlite_errorname", None) or type(origin).__name__


def unavailable(error: BaseException) -> Unavailable:
    """The refusal for those who wait while the database refuses. Each cause stands in the log once a minute at most."""
    why, now = cause(error), time.monotonic()
    if now >= _silent_until.get(why, 0.0):
        _silent_until[why] = now + _LOG_AGAIN_SECONDS
        log.warning("The database refuses: %s.", why)
    return Unavailable(retry_after=BUSY_SECONDS)


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC. SQLite forgets the zone of what it stores; this gives it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        # As SQLAlchemy itself would write it there (`2026-11-23 09:30:00.000000`), five times as fast; a login writes thirty.
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
"""The transaction that a verb opened, by SQLAlchemy's name a session."""


class OneDatabase(BoundSession):
    """A session that keeps one connection to the one database there is, from the first statement to the end of a transaction or its
    own. SQLAlchemy's would look anew for each statement which database and which connection it goes to."""

    def __init__(self, db: SQLAlchemy, **options: Any) -> None:
        super().__init__(db, **options)
        self.engine = db.engine
        self._here: Connection | None = None

    def here(self) -> Connection:
        if self._here is None:
            self._here = self.engine.connect()
        return self._here

    def get_bind(self, *_: Any, **__: Any) -> Connection:
        return self.here()

    def rollback(self) -> None:
        super().rollback()
        self.leave()

    def close(self) -> None:
        super().close()
        self.leave()

    def leave(self) -> None:
        """Lets others have the connection."""
        if self._here is not None:
            self._here.close()  # which rolls back what was not committed
            self._here = None


_OPTIONS: Final = {
    "class_": OneDatabase,
    "autoflush": False,
    "expire_on_commit": False,
    "join_transaction_mode": "control_fully",
}
db = SQLAlchemy(metadata=Base.metadata, session_options=_OPTIONS)


def init_app(app: "Flask") -> None:
    """Binds the database to the application. Expects `SQLALCHEMY_DATABASE_URI` in its configuration."""
    on_sqlite = app.config["SQLALCHEMY_DATABASE_URI"].startswith("sqlite")
    options: dict[str, Any] = {
        "isolation_level": "AUTOCOMMIT",
        "hide_parameters": True,  # of faults that reach the log
        "pool_size": 10,
        "max_overflow": 20,
        "pool_timeout": BUSY_SECONDS,
    }
    if on_sqlite:
        options["connect_args"] = {"timeout": _IN_EACH_QUEUE}
    else:
        from hammer.db import postgresql as server  # noqa: PLC0415  # loads the driver, which SQLite has no use for

        options["connect_args"] = server.reach(BUSY_SECONDS)
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", options)
    if on_sqlite:
        _make_file(make_url(app.config["SQLALCHEMY_DATABASE_URI"]), Path(app.instance_path))
    db.init_app(app)
    # For the command line alone: Alembic behind it is a sixth of what a server would load in vain.
    if click.get_current_context(silent=True) or "flask_migrate" in sys.modules:
        import_module("flask_migrate").Migrate(app, db, render_as_batch=on_sqlite)
    with app.app_context():
        if on_sqlite:
            event.listen(db.engine, "connect", _prepare_sqlite)
        else:
            server.watch(app, db.engine, BUSY_SECONDS)


def _make_file(url: URL, instance: Path) -> None:
    """A file for its owner alone. SQLite would let everyone on this machine read it; what it makes beside has the same mode.

    Only before the first connection, and never one that is there: to close it would release the locks that SQLite holds on it.
    """
    name = url.database or ""
    if name.startswith("file:"):
        if "mode" in url.query:  # which says whether there has to be one
            return
        name = unquote(urlsplit(name).path)
    elif not Path(name).is_absolute():  # as Flask-SQLAlchemy reads it
        name = str(instance / name)
        with suppress(OSError):
            instance.mkdir(mode=0o700, exist_ok=True)
    with suppress(OSError):  # it is there, or cannot be: then `doctor` says what to do
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # SQLite lowers ASCII alone; people search for Cyrillic names.
    connection.create_function("lower", 1, lambda value: value and value.lower(), deterministic=True)
    for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
        connection.execute(f"pragma {pragma}")


_writing = threading.Lock()
"""SQLite lets one write at a time and makes the others ask again and again, so that some never come to it: the threads of a process
queue here instead."""

_BEGIN: Final = {True: "begin immediate", False: "begin isolation level read committed"}
"""On SQLite or not. In words: to tell PostgreSQL's driver to open a transaction, and afterwards not to, takes longer than that."""


@contextmanager
def transaction() -> Iterator[Transaction]:
    """All of a verb or nothing of it: commits at the end of the block, forgets everything if the block raises.

    A refusal that must leave a trace is therefore raised after the block. Refuses with `Unavailable` when the database stays
    locked by others for longer than `BUSY_SECONDS` or cannot be reached.
    """
    session = cast(OneDatabase, db.session())
    if session.in_transaction():  # something was read by the ORM
        session.rollback()
    on_sqlite = _on_sqlite(session)
    if on_sqlite and not _writing.acquire(timeout=_IN_EACH_QUEUE):
        raise unavailable(TimeoutError())
    try:
        begun = session.here().begin()
        send(session.here(), _BEGIN[on_sqlite])
        yield session
        (session if session.in_transaction() else begun).commit()  # what went by the ORM joined, and is first written by it
    except AWAY as error:
        session.rollback()
        raise unavailable(error) from error
    except BaseException:
        session.rollback()
        raise
    finally:
        session.leave()
        if on_sqlite:
            _writing.release()


def send(connection: Connection, words: str, values: Any = ()) -> list[tuple[Any, ...]]:
    """What the driver gives back for these words. Faults come as SQLAlchemy tells them, and who listens to it is told."""
    cursor = connection.connection.cursor()
    try:
        for listen in connection.dispatch.before_cursor_execute:
            listen(connection, cursor, words, values, None, False)
        cursor.execute(words, values)
        rows = list(cursor.fetchall()) if cursor.description else []
        for listen in connection.dispatch.after_cursor_execute:
            listen(connection, cursor, words, values, None, False)
    except connection.dialect.loaded_dbapi.Error as fault:  # SQLAlchemy also knows a connection that broke
        connection._handle_dbapi_exception(fault, words, values, cursor, None)
    cursor.close()
    return rows


def insert(tx: Transaction, table: type[Base]) -> "postgresql.Insert | sqlite.Insert":
    """`INSERT` as this database speaks it, with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    begun: postgresql.Insert | sqlite.Insert = dialect(tx).insert(table)
    return begun


def dialect(tx: Transaction) -> ModuleType:
    """What is special about the database of this session: the module has its `insert`."""
    return import_module(f"sqlalchemy.dialects.{tx.connection().dialect.name}")


def one_at_a_time(tx: Transaction, deed: str) -> None:
    """Waits until no other transaction is at the same deed, and keeps others waiting until this one ends.

    SQLite needs nothing for it: there only one transaction writes at a time.
    """
    if not _on_sqlite(tx):
        tx.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"hammer/{deed}"))))


def _on_sqlite(tx: Transaction) -> bool:
    return cast(OneDatabase, tx).engine.dialect.name == "sqlite"
