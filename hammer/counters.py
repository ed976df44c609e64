"""Limits over time: taking one unit of each of several, all or none, so that parallel requests cannot take more than there is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, case, func, literal, select, tuple_, update
from sqlalchemy.orm import Session, aliased

from hammer.database import insert
from hammer.models import Counter

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(hours=24)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNREAD = {"synchronize_session": False}
"""Nobody holds a counter as an object, so there is none to keep up to date."""


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
    return (now - _EPOCH) // span


def ends_at(span: timedelta, now: datetime) -> datetime:
    """When the present hour or day is over."""
    return _EPOCH + span * (period(span, now) + 1)


def used(session: Session, scopes: Iterable[str], now: datetime) -> dict[str, int]:
    """How much of each scope still counts; those of which nothing does are missing."""
    count = select(Counter.scope, func.sum(Counter.taken)).where(Counter.scope.in_(list(scopes)), Counter.ends_at > now)
    return {scope: int(taken) for scope, taken in session.execute(count.group_by(Counter.scope))}


def take(session: Session, limits: Sequence[Limit], now: datetime) -> dict[str, int]:
    """Takes one unit of each limit, in one statement, and says how much of each scope is used now.

    A scope that was spent is missing from the answer; if any is, nothing was taken.
    """
    rows = [
        {
            "scope": limit.scope,
            "period": period(limit.span, now),
            "taken": 1,
            "ends_at": ends_at(limit.span, now) + limit.span * (limit.spans - 1),
        }
        for limit in sorted(limits, key=lambda limit: limit.scope)  # everybody locks them in the same order
    ]
    most = {limit.scope: limit.most for limit in limits}
    taking = (
        insert(session, Counter)
        .values(rows)
        .on_conflict_do_update(
            index_elements=[Counter.scope, Counter.period],
            set_={"taken": Counter.taken + 1},
            where=Counter.taken < case(most, value=Counter.scope),
        )
        .returning(Counter.scope, Counter.taken + _earlier(limits, now))
    )
    taken = {scope: int(count) for scope, count in session.execute(taking)}
    granted = {scope: count for scope, count in taken.items() if count <= most[scope]}
    if len(granted) < len(limits):
        give_back(session, [limit for limit in limits if limit.scope in taken], 1, now)
    return granted


def _earlier(limits: Sequence[Limit], now: datetime) -> ColumnElement[int]:
    """What was taken of the row's limit in the spans before the present one, and still counts."""
    row = aliased(Counter)
    sums = {
        limit.scope: select(func.coalesce(func.sum(row.taken), 0))
        .where(row.scope == limit.scope, row.period < period(limit.span, now), row.ends_at > now)
        .scalar_subquery()
        for limit in limits
        if limit.spans > 1
    }
    return case(sums, value=Counter.scope, else_=0) if sums else literal(0)


def give_back(session: Session, limits: Sequence[Limit], units: int, now: datetime) -> None:
    """Returns units that were taken in the present hour or day."""
    if limits:
        keys = [(limit.scope, period(limit.span, now)) for limit in limits]
        returned = update(Counter).where(tuple_(Counter.scope, Counter.period).in_(keys))
        session.execute(returned.values(taken=Counter.taken - units), execution_options=_UNREAD)
