"""Limits over time: taking one unit of each of several, all or none, so that parallel requests cannot take more than there is."""

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
    """At most `most` units of `scope` in the present span and the `spans - 1` before it. Scopes that are taken together have
    different names."""

    scope: str
    most: int
    span: timedelta
    spans: int = 1


def period(span: timedelta, now: datetime) -> int:
    """Which hour, or which day, since 1970 (UTC)."""
    return (now - clock.EPOCH) // span


def ends_at(span: timedelta, now: datetime) -> datetime:
    """When the present hour or day is over."""
    return clock.EPOCH + span * (period(span, now) + 1)


def used(tx: Transaction, limits: Iterable[Limit], now: datetime) -> dict[str, int]:
    """How much of each scope still counts; those of which nothing does are missing.

    What was counted while the clock was ahead counts only where the present span and that one can be of the same limit: further
    ahead it blocks no caller, and no caller gets more by it than the spans of a limit together have.
    """
    values: dict[str, object] = {"now": now}
    for n, limit in enumerate(named := list(limits)):
        values |= {f"scope{n}": limit.scope, f"before{n}": period(limit.span, now) + limit.spans}
    return {scope: int(taken) for scope, taken in _using(len(named)).rows(tx, **values)}


@cache
def _using(many: int) -> Prepared[str]:
    """The statement that looks at so many scopes."""
    here = [
        and_(Counter.scope == bindparam(f"scope{n}", type_=String), Counter.period < bindparam(f"before{n}")) for n in range(many)
    ]
    used = select(Counter.scope, func.sum(Counter.taken)).where(or_(*here), Counter.ends_at > bindparam("now"))
    return prepared(used.group_by(Counter.scope))


def eases_at(tx: Transaction, limit: Limit, now: datetime) -> datetime:
    """When so much of a spent limit has aged out that a unit can be had again, if none is given back before."""
    ours = (Counter.scope == limit.scope, Counter.period < period(limit.span, now) + limit.spans)
    counting = select(Counter.ends_at, Counter.taken).where(*ours, Counter.ends_at > now)
    newer = 0
    for ends, taken in tx.execute(counting.order_by(Counter.ends_at.desc())):
        newer += taken
        if newer >= limit.most:
            return ends
    return now


def take(tx: Transaction, limits: Sequence[Limit], now: datetime) -> dict[str, int]:
    """Takes one unit of each limit, in one statement, and says how much of each scope is used now.

    A scope that was spent is missing from the answer; if any is, nothing was taken.
    """
    ordered = sorted(limits, key=lambda limit: limit.scope)  # everybody locks them in the same order
    values: dict[str, object] = {"now": now}
    for n, limit in enumerate(ordered):
        over = ends_at(limit.span, now) + limit.span * (limit.spans - 1)
        values |= {f"scope{n}": limit.scope, f"period{n}": period(limit.span, now), f"ends{n}": over}
        values |= {f"most{n}": limit.most, f"spans{n}": limit.spans}
    taken = {scope: int(count) for scope, count in _taking(len(ordered)).rows(tx, **values)}
    most = {limit.scope: limit.most for limit in limits}
    granted = {scope: count for scope, count in taken.items() if count <= most[scope]}
    if len(granted) < len(limits):
        give_back(tx, [limit for limit in limits if limit.scope in taken], 1, now)
    return granted


@cache
def _taking(many: int) -> Prepared[str]:
    """The statement that takes so many limits. In words: SQLAlchemy compiles `VALUES` of several rows anew each time, which took
    longer than everything else of a login.

    What was taken in other spans stands still, so it is summed up beside; the rows of the present span are decided under a lock.
    Later spans are those of a clock that was ahead: see `used`.
    """
    rows = ", ".join(f"(:scope{n}, :period{n}, 1, :ends{n})" for n in range(many))
    most = " ".join(f"WHEN :scope{n} THEN :most{n}" for n in range(many))
    spans = " ".join(f"WHEN :scope{n} THEN :spans{n}" for n in range(many))
    statement = text(
        f"""
        INSERT INTO counters (scope, period, taken, ends_at) VALUES {rows}
        ON CONFLICT (scope, period) DO UPDATE SET taken = counters.taken + 1 WHERE counters.taken < CASE counters.scope {most} END
        RETURNING scope, taken + (SELECT coalesce(sum(others.taken), 0) FROM counters AS others
            WHERE others.scope = counters.scope AND others.period < counters.period + CASE counters.scope {spans} END
                AND others.period <> counters.period AND others.ends_at > :now)
        """  # noqa: S608  # put together from our own names
    )
    moments = ("now", *(f"ends{n}" for n in range(many)))
    return prepared(statement.bindparams(*(bindparam(name, type_=UtcDateTime) for name in moments)))


def give_back(tx: Transaction, limits: Sequence[Limit], units: int, now: datetime) -> None:
    """Returns units that were taken in the present hour or day."""
    if limits:
        values: dict[str, object] = {"units": units}
        for n, limit in enumerate(limits):
            values |= {f"scope{n}": limit.scope, f"period{n}": period(limit.span, now)}
        _returning(len(limits)).execute(tx, **values)


@cache
def _returning(many: int) -> Prepared[Any]:
    """The statement that gives so many back. Each by itself: SQLite finds no pair of a list by its index."""
    here = (and_(Counter.scope == bindparam(f"scope{n}"), Counter.period == bindparam(f"period{n}")) for n in range(many))
    return prepared(update(Counter).where(or_(*here)).values(taken=Counter.taken - bindparam("units")))
