"""Why a database refuses, in one word: for callers of `/readyz`, for counters, and for `doctor`."""

from enum import StrEnum
from typing import Final

from sqlalchemy.exc import TimeoutError as PoolTimeout


class Cause(StrEnum):
    AWAY = "away"
    FULL = "full"
    READ_ONLY = "read-only"
    LOCKED = "locked"
    """Locked by others for longer than a request waits."""
    BUSY = "busy"
    """All connections that this process may have are in use."""
    UNMIGRATED = "unmigrated"


_CAUSES: Final = {
    "SQLITE_FULL": Cause.FULL,
    "DiskFull": Cause.FULL,
    "SQLITE_READONLY": Cause.READ_ONLY,
    "ReadOnlySqlTransaction": Cause.READ_ONLY,
    "InsufficientPrivilege": Cause.READ_ONLY,
    "SQLITE_BUSY": Cause.LOCKED,
    "SQLITE_LOCKED": Cause.LOCKED,
    "LockNotAvailable": Cause.LOCKED,
    "QueryCanceled": Cause.LOCKED,
    "TimeoutError": Cause.LOCKED,
    "SQLITE_ERROR": Cause.UNMIGRATED,  # a table is missing
    "UndefinedTable": Cause.UNMIGRATED,
}


def name_of(error: BaseException) -> str:
    """The name that the database or its driver gives to an error, like `SQLITE_FULL` or `DiskFull`. It contains no values."""
    origin = getattr(error, "orig", None) or error
    return getattr(origin, "sqlite_errorname", None) or type(origin).__name__


def cause_of(error: BaseException) -> Cause:
    """One word for what is wrong with a database that raised this."""
    if isinstance(error, PoolTimeout):
        return Cause.BUSY
    name = name_of(error)
    return next((cause for prefix, cause in _CAUSES.items() if name.startswith(prefix)), Cause.AWAY)
