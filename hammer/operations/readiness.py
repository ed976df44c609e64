"""Whether the database takes what is written, found out by writing one row: reading goes on also when nothing can be written."""

import threading
import time
from typing import Final

from sqlalchemy import delete
from sqlalchemy.exc import DBAPIError

from hammer import clock, codes
from hammer.db.database import AWAY, Transaction, cause, transaction
from hammer.models import Counter
from hammer.quotas import counters
from hammer.quotas.counters import HOUR, Limit
from hammer.refusals import Unavailable

READY: Final = "ready"
GONE: Final = "away"
FULL: Final = "full"
READ_ONLY: Final = "read-only"
LOCKED: Final = "locked"
"""By others, for longer than a request waits."""
UNMIGRATED: Final = "unmigrated"
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
    "SQLITE_ERROR": UNMIGRATED,  # there is no such table
    "UndefinedTable": UNMIGRATED,
}
KNOWN_SECONDS: Final = 3.0
"""For so long an answer holds: anybody may ask, as often as they like."""


class Writing:
    """Whether this process can write, asked of the database at most once in `KNOWN_SECONDS`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found = READY
        self._holds_until = 0.0

    def state(self) -> str:
        """`READY`, or in one word why not. Waits for as long as any write does."""
        with self._lock:
            if time.monotonic() >= self._holds_until:
                self._found = _found_by_writing()
                self._holds_until = time.monotonic() + KNOWN_SECONDS
            return self._found


def write(tx: Transaction) -> None:
    """Writes a row and takes it away again. No other transaction has the same one, so none waits for another that hangs."""
    trial = Limit(f"readiness/{codes.random_id()}", 1, HOUR)
    counters.take(tx, [trial], clock.now())
    tx.execute(delete(Counter).where(Counter.scope == trial.scope))


def word(error: BaseException) -> str:
    """In one word, what is wrong with a database that raised this."""
    why = cause(error)
    return next((state for name, state in _CAUSES.items() if why.startswith(name)), GONE)


def _found_by_writing() -> str:
    try:
        with transaction() as tx:
            write(tx)
    except Unavailable as no:
        return word(no.__cause__) if no.__cause__ else LOCKED
    except (DBAPIError, *AWAY) as error:
        return word(error)
    return READY
