"""The database: the connection, the names of constraints, aware times, and `transaction()`, the only commit in the house.

Reads go through `db.session` and open no transaction: each statement sees what is committed. Writes go through `transaction()`,
which on SQLite takes the write lock at once (`BEGIN IMMEDIATE`): without it, two that read and then write lose updates in silence.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, Dialect, MetaData, String, TypeDecorator, event, func, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

from hammer.refusals import N_, InvalidFields, Unavailable

if TYPE_CHECKING:
    from flask import Flask

Item = TypeVar("Item")

BUSY_SECONDS = 2
"""How long a statement waits for somebody else's lock before the caller is told to come back."""


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC. SQLite forgets the zone of what it stores; this gives it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

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

db = SQLAlchemy(metadata=Base.metadata, session_options={"autoflush": False, "expire_on_commit": False})
migrate = Migrate()


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
        options["connect_args"] = {"timeout": BUSY_SECONDS}
    else:
        settings = f"-c lock_timeout={BUSY_SECONDS}s -c timezone=UTC -c client_encoding=UTF8"
        options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": BUSY_SECONDS, "options": settings}}
    app.config.setdefault("SQLALCHEMY_ENGINE_OPTIONS", options)
    db.init_app(app)
    migrate.init_app(app, db, render_as_batch=on_sqlite)
    with app.app_context():
        if on_sqlite:
            event.listen(db.engine, "connect", _prepare_sqlite)


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # SQLite lowers ASCII alone; people search for Cyrillic names.
    connection.create_function("lower", 1, lambda value: value and value.lower(), deterministic=True)
    for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
        connection.execute(f"pragma {pragma}")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list, and where to go on: `after` for the next page, or None at the end."""

    items: list[Item]
    after: str | None


MOST_PER_PAGE = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def place(moment: datetime, row_id: str) -> str:
    """A place in a list that is ordered by time and id, to go on from."""
    return f"{(moment - _EPOCH) // timedelta(microseconds=1)}.{row_id}"


def read_place(after: str) -> tuple[datetime, str]:
    """The moment and the id that `place` was made of. Refuses with `InvalidFields` what it never made."""
    made = re.fullmatch(r"(\d{1,17})\.([\w-]{22})", after, re.ASCII)
    if made is None:
        raise InvalidFields({"after": [N_("This is no place in the list. Take it from the Link header.")]})
    return _EPOCH + timedelta(microseconds=int(made[1])), made[2]


_writing = threading.Lock()
"""SQLite lets one write at a time and makes the others ask again and again, so that some never come to it: the threads of a process
queue here instead."""


@contextmanager
def transaction() -> Iterator[Session]:
    """All of a verb or nothing of it: commits at the end of the block, forgets everything if the block raises.

    A refusal that must leave a trace is therefore raised after the block. Refuses with `Unavailable` when the database stays
    locked by others for longer than `BUSY_SECONDS` or cannot be reached.
    """
    session = db.session()
    session.rollback()
    on_sqlite = _on_sqlite(session)
    if on_sqlite and not _writing.acquire(timeout=BUSY_SECONDS):
        raise Unavailable(retry_after=BUSY_SECONDS)
    try:
        if on_sqlite:
            session.execute(text("begin immediate"))
        else:
            session.connection(execution_options={"isolation_level": "READ COMMITTED"})
        yield session
        session.commit()
    except (OperationalError, PoolTimeout) as error:
        session.rollback()
        raise Unavailable(retry_after=BUSY_SECONDS) from error
    except BaseException:
        session.rollback()
        raise
    finally:
        if on_sqlite:
            _writing.release()


def insert(session: Session, table: type[Base]) -> "postgresql.Insert | sqlite.Insert":
    """`INSERT` as this database speaks it, with `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return sqlite.insert(table) if _on_sqlite(session) else postgresql.insert(table)


def one_at_a_time(session: Session, deed: str) -> None:
    """Waits until no other transaction is at the same deed, and keeps others waiting until this one ends.

    SQLite needs nothing for it: there only one transaction writes at a time.
    """
    if not _on_sqlite(session):
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"hammer/{deed}"))))


def _on_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
