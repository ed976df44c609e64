"""Whether the database accepts writes. This is checked by writing a row, since reads also work when writes do not."""

import threading
import time
from typing import Final, cast

from sqlalchemy import delete, text
from sqlalchemy.exc import DBAPIError

from hammer import clock, codes
from hammer.db import database
from hammer.db.database import Transaction, cause, db, transaction
from hammer.models import Counter
from hammer.quotas import counters
from hammer.quotas.counters import HOUR, Limit
from hammer.refusals import Unavailable

READY: Final = "ready"
AWAY: Final = "away"
FULL: Final = "full"
READ_ONLY: Final = "read-only"
LOCKED: Final = "locked"
"""Locked by others for longer than a request waits."""
UNMIGRATED: Final = "unmigrated"
NEWEST_MIGRATION: Final = "0017"
"""The newest step in migrations/versions. A test compares the two: the folder is not there in every installation."""
_CAUSES: Final = {
    "SQLITE_FULL": FULL,
    "DiskFull": FULL,
    "SQLITE_READONLY": READ_ONLY,
    "ReadOnlySqlTransaction": READ_ONLY,
    "InsufficientPrivilege": READ_ONLY,
    "SQLITE_BUSY": LOCKED,
    "SQLITE_LOCKED": LOCKED,
    "LockNotAvailable": LOCKED,
    "QueryCanceled": LOCKED,
    "TimeoutError": LOCKED,
    "SQLITE_ERROR": UNMIGRATED,  # a table is missing
    "UndefinedTable": UNMIGRATED,
}
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


def write(tx: Transaction) -> None:
    """Writes a row and deletes it. Its key is random, so no transaction waits for another one that hangs here."""
    limit = Limit(f"readiness/{codes.random_id()}", 1, HOUR)
    counters.take(tx, [limit], clock.now())
    tx.execute(delete(Counter).where(Counter.scope == limit.scope))


def word(error: BaseException) -> str:
    """One word for what is wrong with a database that raised this."""
    name = cause(error)
    return next((state for prefix, state in _CAUSES.items() if name.startswith(prefix)), AWAY)


def _state_by_writing() -> str:
    try:
        with transaction() as tx:
            write(tx)
    except Unavailable as no:
        return word(no.__cause__) if no.__cause__ else LOCKED
    except (DBAPIError, *database.AWAY) as error:
        return word(error)
    return READY
