"""Whether the database accepts writes. This is checked by writing a row, since reads also work when writes do not."""

import threading
import time
from datetime import datetime, timedelta
from typing import Final, cast

from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import DBAPIError

from hammer import clock, codes
from hammer.db import database
from hammer.db.causes import Cause, cause_of
from hammer.db.database import Transaction, db, transaction
from hammer.models import Counter
from hammer.quotas import counters
from hammer.quotas.counters import HOUR, Limit
from hammer.refusals import Unavailable

READY: Final = "ready"
NEWEST_MIGRATION: Final = "0021"
"""The newest step in migrations/versions. A test compares the two: the folder is not there in every installation."""
KNOWN_SECONDS: Final = 3.0
"""How long a result is kept: anyone may ask, as often as they like."""


class WriteCheck:
    """Checks whether this process can write, at most once in `KNOWN_SECONDS`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state = READY
        self._known_until = 0.0

    def state(self) -> str:
        """`READY`, or the reason in one word. Waits as long as any write does."""
        with self._lock:
            if time.monotonic() >= self._known_until:
                self._state = _state_by_writing()
                self._known_until = time.monotonic() + KNOWN_SECONDS
            return self._state


def server() -> tuple[str, str]:
    """The name and the version of the database."""
    if db.engine.dialect.name == "sqlite":
        return "SQLite", str(db.session.scalar(text("select sqlite_version()")))
    return "PostgreSQL", str(db.session.scalar(text("show server_version")))


def migration() -> str | None:
    """The step of migrations/versions at which the tables are."""
    return cast(str | None, db.session.scalar(text("select version_num from alembic_version")))


def clock_ahead() -> timedelta:
    """How far the clock of this machine is ahead of the database's; zero on SQLite, which has no clock of its own."""
    if db.engine.dialect.name == "sqlite":
        return timedelta(0)
    before = clock.now()
    theirs: datetime = db.session.scalars(select(func.clock_timestamp())).one()
    return before + (clock.now() - before) / 2 - theirs


def write(tx: Transaction) -> None:
    """Writes a row and deletes it. Its key is random, so no transaction waits for another one that hangs here."""
    limit = Limit(f"readiness/{codes.random_id()}", 1, HOUR)
    counters.take(tx, [limit], clock.now())
    tx.execute(delete(Counter).where(Counter.scope == limit.scope))


def _state_by_writing() -> str:
    try:
        with transaction() as tx:
            write(tx)
    except Unavailable as no:
        return cause_of(no.__cause__) if no.__cause__ else Cause.LOCKED
    except (DBAPIError, *database.AWAY) as error:
        return cause_of(error)
    return READY
