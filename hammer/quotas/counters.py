"""Limits per hour and per day, counted in rows of `counters`.

One unit is taken from several limits at once, from all of them or from none, so that parallel requests cannot take more than
there is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import String, and_, bindparam, func, or_, select, text, update

from hammer import clock
from hammer.db.database import Transaction, UtcDateTime
from hammer.db.prepared import Prepared, prepared
from hammer.models import Counter

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(hours=24)


@dataclass(frozen=True)
class Limit:
    """At most `most` units of `scope` in the present window and the `windows - 1` before it.

    Windows are fixed: hours and days of UTC. Limits that are taken together have different scopes.
    """

    scope: str
    most: int
    window: timedelta
    windows: int = 1


def period(window: timedelta, now: datetime) -> int:
    """The number of the present window: hours or days since 1970 (UTC)."""
    return (now - clock.EPOCH) // window


def ends_at(window: timedelta, now: datetime) -> datetime:
    """When the present window ends."""
    return clock.EPOCH + window * (period(window, now) + 1)


def used(tx: Transaction, limits: Iterable[Limit], now: datetime) -> dict[str, int]:
    """How many units of each scope count now. A scope without counted units is missing.

    Units that were taken while the clock was ahead count only if their window and the present one can belong to the same limit.
    So units from further ahead block no caller, and no caller gets more than the windows of one limit allow together.
    """
    values: dict[str, object] = {"now": now}
    for n, limit in enumerate(limits := list(limits)):
        values |= {f"scope{n}": limit.scope, f"before{n}": period(limit.window, now) + limit.windows}
    return {scope: int(taken) for scope, taken in _sum_used(len(limits)).rows(tx, **values)}


@cache
def _sum_used(count: int) -> Prepared[str]:
    """The statement that sums up the units of `count` limits."""
    scopes = [
        and_(Counter.scope == bindparam(f"scope{n}", type_=String), Counter.period < bindparam(f"before{n}")) for n in range(count)
    ]
    counted = select(Counter.scope, func.sum(Counter.taken)).where(or_(*scopes), Counter.ends_at > bindparam("now"))
    return prepared(counted.group_by(Counter.scope))


def eases_at(tx: Transaction, limit: Limit, now: datetime) -> datetime:
    """When a unit of a spent limit can be taken again, because old units stop counting. Units that are given back are ignored."""
    ours = (Counter.scope == limit.scope, Counter.period < period(limit.window, now) + limit.windows)
    counting = select(Counter.ends_at, Counter.taken).where(*ours, Counter.ends_at > now)
    newer = 0
    for ends, taken in tx.execute(counting.order_by(Counter.ends_at.desc())):
        newer += taken
        if newer >= limit.most:
            return ends
    return now


def take(tx: Transaction, limits: Sequence[Limit], now: datetime) -> dict[str, int]:
    """Takes one unit of each limit, in one statement. Returns how many units of each scope are used now.

    A scope whose limit is spent is missing; then no unit was taken from any limit.
    """
    values: dict[str, object] = {"now": now}
    for n, limit in enumerate(limits):
        stops_counting_at = ends_at(limit.window, now) + limit.window * (limit.windows - 1)
        values |= {f"scope{n}": limit.scope, f"period{n}": period(limit.window, now), f"ends_at{n}": stops_counting_at}
        values |= {f"most{n}": limit.most, f"windows{n}": limit.windows}
    taken = {scope: int(count) for scope, count in _take(len(limits)).rows(tx, **values)}
    granted = {limit.scope: taken[limit.scope] for limit in limits if limit.scope in taken and taken[limit.scope] <= limit.most}
    if len(granted) < len(limits):
        give_back(tx, [limit for limit in limits if limit.scope in taken], 1, now)
    return granted


@cache
def _take(count: int) -> Prepared[str]:
    """The statement that takes one unit of each of `count` limits.

    The row of the present window decides under its lock. Every transaction locks in the order of the scopes, so two never wait for
    each other. Units of other windows do not change; they are added to what is returned. For windows ahead see `used`.
    """
    limits = ", ".join(f"(:scope{n}, :period{n}, :ends_at{n}, :most{n}, :windows{n})" for n in range(count))
    statement = text(
        f"""
        WITH limits (scope, period, ends_at, most, windows) AS (VALUES {limits})
        INSERT INTO counters (scope, period, taken, ends_at)
            SELECT scope, period, 1, ends_at FROM limits WHERE true ORDER BY scope
        ON CONFLICT (scope, period) DO UPDATE SET taken = counters.taken + 1
            WHERE counters.taken < (SELECT most FROM limits WHERE limits.scope = counters.scope)
        RETURNING scope, taken + coalesce((
            SELECT sum(others.taken) FROM limits JOIN counters AS others ON others.scope = limits.scope
            WHERE limits.scope = counters.scope AND others.period <> counters.period
                AND others.period < counters.period + limits.windows AND others.ends_at > :now
        ), 0)
        """  # noqa: S608  # only names of our own are put in
    )
    moments = [bindparam(name, type_=UtcDateTime) for name in ("now", *(f"ends_at{n}" for n in range(count)))]
    return prepared(statement.bindparams(*moments))


def give_back(tx: Transaction, limits: Sequence[Limit], units: int, now: datetime) -> None:
    """Returns units that were taken in the present window."""
    if limits:
        values: dict[str, object] = {"units": units}
        for n, limit in enumerate(limits):
            values |= {f"scope{n}": limit.scope, f"period{n}": period(limit.window, now)}
        _give_back(len(limits)).execute(tx, **values)


@cache
def _give_back(count: int) -> Prepared[Any]:
    """The statement that returns units of `count` limits."""
    # One OR per pair: SQLite does not use the index for an IN of row values.
    rows = (and_(Counter.scope == bindparam(f"scope{n}"), Counter.period == bindparam(f"period{n}")) for n in range(count))
    return prepared(update(Counter).where(or_(*rows)).values(taken=Counter.taken - bindparam("units")))
