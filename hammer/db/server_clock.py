"""The clock of the database server, by which the queues set due times and leases. The clock of a host may be wrong: a worker whose
clock is ahead would see the leases of all others as over, and do their work a second time.

The time is read from the server when a thread looks for work, at most once in `AGAIN_SECONDS`, and goes on by the monotonic clock
of this process. A process that has not read it uses the clock of its host: commands, web servers without workers, and all processes
on SQLite, whose database is on the same machine.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, func, select

from hammer import clock
from hammer.db.database import db

if TYPE_CHECKING:
    from flask import Flask

AGAIN_SECONDS: Final = 10.0


@dataclass(frozen=True)
class _Reading:
    zero: datetime
    """The server's time when the monotonic clock of this process was at zero."""
    valid_until: float
    """By the monotonic clock."""


_readings: WeakKeyDictionary[Engine, _Reading] = WeakKeyDictionary()
"""Database -> the newest reading of its clock."""


def now() -> datetime:
    """The present moment by the database's clock, as far as this process knows it."""
    reading = _readings.get(db.engine)
    return reading.zero + timedelta(seconds=time.monotonic()) if reading else clock.now()


@contextmanager
def for_workers(app: "Flask") -> Iterator[None]:
    """A context in which workers can use the database and know its time. Tests set the clock of their process: that one is used."""
    with app.app_context():
        reading = _readings.get(db.engine)
        is_old = reading is None or time.monotonic() > reading.valid_until
        if is_old and not app.testing and db.engine.dialect.name != "sqlite":
            _readings[db.engine] = _read()
        yield


def _read() -> _Reading:
    began = time.monotonic()
    theirs: datetime = db.session.scalars(select(func.clock_timestamp())).one()
    ended = time.monotonic()
    return _Reading(theirs - timedelta(seconds=(began + ended) / 2), ended + AGAIN_SECONDS)
