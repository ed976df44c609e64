"""How many events of each kind happened on each of the last days (UTC).

An hour that is over is counted once, and its counts are stored (`event_counts`). Only the hours after it are counted in the events
themselves. So a page costs the same with a thousand events a day and with a million, and to write an event costs nothing more.
"""

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, delete, func, insert, not_, or_, select
from sqlalchemy.exc import IntegrityError

from config import Settings
from hammer import clock, events
from hammer.db.database import db, transaction
from hammer.login import test_numbers
from hammer.models import Event, EventCount

DAYS: Final = 14
"""How many days are shown, with the present one."""
DAY, HOUR, MOMENT = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)
SETTLED: Final = timedelta(minutes=10)
"""How long after its end an hour is counted: an event gets its moment before its transaction commits, and clocks differ."""
_ALL: Final = ""
"""The kind of the row with the sum of an hour."""


@dataclass(frozen=True)
class Day:
    """The events of one day."""

    began: datetime
    counts: Counter[str]
    """Kind -> how many events."""
    complete: bool
    """Whether each of its hours so far is counted. Only after the first opening of a large installation some are not yet."""


def by_kind(settings: Settings, *where: ColumnElement[bool]) -> Counter[str]:
    """How many of these events there are of each kind. Of users of test numbers only the uses of their fixed codes count."""
    count = select(Event.kind, func.count()).where(*where).group_by(Event.kind)
    if settings.test_numbers:
        count = count.where(or_(Event.kind == events.Kind.TEST_NUMBER_USED, not_(test_numbers.is_of_testers())))
    return Counter(dict(db.session.execute(count).all()))


def count_hours(settings: Settings, *, seconds: float | None = None) -> None:
    """Counts and stores the hours of the last `DAYS` days that are over and not counted yet, the newest first.

    :param seconds: after this long it stops; the next call goes on.
    """
    now, until = clock.now(), None if seconds is None else time.monotonic() + seconds
    first, settled = _span(now)
    stored = set(db.session.scalars(select(EventCount.hour).where(EventCount.kind == _ALL, EventCount.hour >= first)))
    missing = [hour for hour in _hours(first, settled)[::-1] if hour not in stored]
    oldest = db.session.scalar(select(func.min(Event.at))) if missing else None
    rows: list[dict[str, object]] = []
    for hour in missing:
        counts = _of_hour(settings, hour) if oldest and hour + HOUR > oldest else Counter[str]()
        rows += [{"hour": hour, "kind": kind, "count": count} for kind, count in ({_ALL: counts.total()} | counts).items()]
        if until and time.monotonic() >= until:
            break
    if not rows and not any(hour >= settled for hour in stored):
        return
    with suppress(IntegrityError), transaction() as tx:  # another process counted the same hours, with the same result
        tx.execute(delete(EventCount).where(EventCount.hour >= settled))  # counted too early, while a clock was ahead
        if rows:
            tx.execute(insert(EventCount), rows)


def days(settings: Settings) -> list[Day]:
    """The last `DAYS` days, the oldest first and the present one last. Reads stored counts, and the events of two hours at most."""
    now = clock.now()
    first, settled = _span(now)
    stored = select(EventCount.hour, EventCount.kind, EventCount.count).where(EventCount.hour >= first, EventCount.hour < settled)
    by_hour: dict[datetime, Counter[str]] = {}
    for hour, kind, count in db.session.execute(stored):
        by_hour.setdefault(hour, Counter())[kind] = count
    by_hour |= {hour: _of_hour(settings, hour) for hour in _hours(settled, now + MOMENT)}
    return [_day(first + DAY * n, by_hour, now) for n in range(DAYS)]


def _day(began: datetime, by_hour: dict[datetime, Counter[str]], now: datetime) -> Day:
    hours = _hours(began, min(began + DAY, now + MOMENT))
    counts = sum((by_hour.get(hour, Counter()) for hour in hours), Counter[str]())
    del counts[_ALL]
    return Day(began, counts, complete=all(hour in by_hour for hour in hours))


def _span(now: datetime) -> tuple[datetime, datetime]:
    """When the first day began, and until when hours are counted once."""
    today = datetime(now.year, now.month, now.day, tzinfo=UTC)
    return today - DAY * (DAYS - 1), (now - SETTLED).replace(minute=0, second=0, microsecond=0)


def _hours(since: datetime, until: datetime) -> list[datetime]:
    """When each hour between them began; `until` may lie within the last one."""
    return [since + HOUR * n for n in range(-((since - until) // HOUR))]


def _of_hour(settings: Settings, hour: datetime) -> Counter[str]:
    return by_kind(settings, Event.at >= hour, Event.at < hour + HOUR)
