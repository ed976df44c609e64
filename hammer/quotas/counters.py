"""Limits per hour and per day, counted in rows of `counters`.

One unit is taken from several limits at once, from all of them or from none, so that parallel requests cannot take more than
there is.

A limit that all callers share would be one row, and each transaction would wait for the one before it. On PostgreSQL such a limit
lies in `PARTS` rows, each with its own part of the units: `take_all` takes a unit of a row that no other transaction holds, and
waits only while all rows with units are held, or while another transaction makes the rows of a new window. The parts together have
exactly the units of the limit.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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
_TRIED_FIRST: Final = 8
"""Of so many parts of a shared limit, drawn by chance, one is taken if it is free: to try all costs PostgreSQL more."""
PARTS: Final = 64
"""Rows of a limit that all callers share, on PostgreSQL. On SQLite, where one transaction writes at a time, it has one row."""


@dataclass(frozen=True)
class Limit:
    """At most `most` units of `scope` in the present window and the `windows - 1` before it.

    Windows are fixed: hours and days of UTC. Limits that are taken together have different scopes.
    """

    scope: str
    most: int
    window: timedelta
    windows: int = 1
    """1 if it is a shared limit."""
    part: int = 0
    """Which row of a shared limit this is, if it is a part of one."""
    made_for: int = 0
    """The units of a shared limit for those callers who may have the most, if it is not `most`."""


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
        values |= {f"part{n}": limit.part, f"most{n}": limit.most, f"windows{n}": limit.windows}
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
    limits = ", ".join(f"(:scope{n}, :period{n}, :part{n}, :ends_at{n}, :most{n}, :windows{n})" for n in range(count))
    statement = text(
        f"""
        WITH limits (scope, period, part, ends_at, most, windows) AS (VALUES {limits})
        INSERT INTO counters (scope, period, part, taken, ends_at)
            SELECT scope, period, part, 1, ends_at FROM limits WHERE true ORDER BY scope
        ON CONFLICT (scope, period, part) DO UPDATE SET taken = counters.taken + 1
            WHERE counters.taken < (SELECT most FROM limits WHERE limits.scope = counters.scope)
        RETURNING scope, taken + coalesce((
            SELECT sum(others.taken) FROM limits JOIN counters AS others ON others.scope = limits.scope
            WHERE limits.scope = counters.scope AND others.part = counters.part AND others.period <> counters.period
                AND others.period < counters.period + limits.windows AND others.ends_at > :now
        ), 0)
        """  # noqa: S608  # only names of our own are put in
    )
    moments = [bindparam(name, type_=UtcDateTime) for name in ("now", *(f"ends_at{n}" for n in range(count)))]
    return prepared(statement.bindparams(*moments))


def take_all(tx: Transaction, limits: Sequence[Limit], shared: Sequence[Limit], now: datetime) -> list[Limit] | None:
    """Takes one unit of each limit; those that all callers share are taken last. Returns the rows that they were taken from, for
    `give_back`; None if a limit is spent, and then nothing was taken.

    Every caller names the shared limits in the same order.
    """
    if tx.get_bind().dialect.name == "sqlite":
        rows = [*limits, *shared]
        return rows if len(take(tx, rows, now)) == len(rows) else None
    if limits and len(take(tx, limits, now)) < len(limits):
        return None
    with_units = range(min(PARTS, *(max(0, limit.most) for limit in shared)))
    parts = _take_free(tx, shared, now, random.sample(with_units, min(_TRIED_FIRST, len(with_units))))
    if not parts:
        for limit in shared:
            part = _take_part(tx, limit, now)
            if part is None:
                give_back(tx, [*limits, *parts], 1, now)
                return None
            parts.append(part)
    return [*limits, *parts]


def _take_free(
    tx: Transaction, limits: Sequence[Limit], now: datetime, among: Sequence[int], *, checked: bool = False
) -> list[Limit]:
    """Takes one unit of each limit, all from parts with one number, which is `among` these, and whose rows no other transaction
    holds. Returns the parts; an empty list if there are none, or no rows yet.

    Rows that were made for another limit are used only if the caller has `checked` the sum: their units are divided in another way.
    """
    values: dict[str, object] = {"among": list(among), "checked": checked}
    for n, limit in enumerate(limits):
        values |= {f"scope{n}": limit.scope, f"period{n}": period(limit.window, now), f"made_for{n}": limit.made_for or limit.most}
        values |= {f"units{n}": limit.most // PARTS, f"more{n}": limit.most % PARTS}
    taken = _take_free_of(len(limits)).rows(tx, **values)
    return [_part(limit, part) for limit in limits for part, *_ in taken[:1]]


@cache
def _take_free_of(count: int) -> Prepared[int]:
    """The statement of `_take_free`, for PostgreSQL. It waits for no lock."""
    tables = ", ".join(f"counters AS of{n}" for n in range(count))
    wanted = " AND ".join(
        f"of{n}.scope = :scope{n} AND of{n}.period = :period{n} AND of{n}.part = tried.part"
        f" AND (of{n}.made_for = :made_for{n} OR :checked) AND of{n}.taken < :units{n} + (of{n}.part < :more{n})::int"
        for n in range(count)
    )
    locked = ", ".join(f"of{n}" for n in range(count))
    chosen = " OR ".join(f"scope = :scope{n} AND period = :period{n}" for n in range(count))
    statement = f"""
        WITH free AS (
            SELECT tried.part FROM unnest(CAST(:among AS smallint[])) AS tried (part), {tables} WHERE {wanted}
            LIMIT 1 FOR UPDATE OF {locked} SKIP LOCKED
        )
        UPDATE counters SET taken = taken + 1 WHERE ({chosen}) AND part = (SELECT part FROM free)
        RETURNING part
        """  # noqa: S608  # only names of our own are put in
    return prepared(text(statement))


def _take_part(tx: Transaction, limit: Limit, now: datetime) -> Limit | None:
    """Takes one unit of any part of this limit, and waits if other transactions hold all parts that have units. None if no part
    has one."""
    row = {"scope": limit.scope, "period": period(limit.window, now)}
    numbers = random.sample(range(PARTS), PARTS)
    while True:
        taken = dict(_TAKEN.rows(tx, **row))
        if sum(taken.values()) >= limit.most:
            return None
        if len(taken) < PARTS:  # of those who find no rows, the first makes them, and the others wait until it has committed
            _MAKE.execute(tx, **row, made_for=limit.made_for or limit.most, ends_at=ends_at(limit.window, now), parts=PARTS)
            continue
        if free := _take_free(tx, [limit], now, numbers, checked=True):
            return free[0]
        # Read again, after this transaction has locked spent parts and before it waits. So two transactions never wait for each
        # other: each would have read a part as not spent that the other one had found spent before.
        taken = dict(_TAKEN.rows(tx, **row))
        part = next((part for part in (_part(limit, n) for n in numbers) if taken[part.part] < part.most), None)
        if part is not None and take(tx, [part], now):
            return part


def _part(limit: Limit, n: int) -> Limit:
    """One part of a shared limit. The parts are as equal as whole units allow, the first ones larger."""
    return replace(limit, part=n, most=limit.most // PARTS + (n < limit.most % PARTS))


_TAKEN: Final = prepared(
    select(Counter.part, Counter.taken).where(Counter.scope == bindparam("scope"), Counter.period == bindparam("period"))
)
_MAKE: Final = prepared(
    text(
        """
        INSERT INTO counters (scope, period, part, taken, made_for, ends_at)
            SELECT :scope, :period, part, 0, :made_for, :ends_at FROM generate_series(0, :parts - 1) AS part
        ON CONFLICT (scope, period, part) DO NOTHING
        """
    ).bindparams(bindparam("ends_at", type_=UtcDateTime))
)


def give_back(tx: Transaction, limits: Sequence[Limit], units: int, now: datetime) -> None:
    """Returns units that were taken in the present window."""
    if limits:
        values: dict[str, object] = {"units": units}
        for n, limit in enumerate(limits):
            values |= {f"scope{n}": limit.scope, f"period{n}": period(limit.window, now), f"part{n}": limit.part}
        _give_back(len(limits)).execute(tx, **values)


@cache
def _give_back(count: int) -> Prepared[Any]:
    """The statement that returns units of `count` limits."""
    # One OR per row: SQLite does not use the index for an IN of row values.
    rows = (
        and_(
            Counter.scope == bindparam(f"scope{n}"),
            Counter.period == bindparam(f"period{n}"),
            Counter.part == bindparam(f"part{n}"),
        )
        for n in range(count)
    )
    return prepared(update(Counter).where(or_(*rows)).values(taken=Counter.taken - bindparam("units")))
