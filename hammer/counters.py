"""Limits over time: taking one unit of each of several, all or none, so that parallel requests cannot take more than there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import case, tuple_, update
from sqlalchemy.orm import Session

from hammer.database import insert
from hammer.models import Counter

HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(hours=24)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Limit:
    """At most `most` units of `scope` in one `span`. Scopes that are taken together have different names."""

    scope: str
    most: int
    span: timedelta
    kept: timedelta | None = None
    """How long from the beginning of the span somebody may still want to know the count; the span itself if nothing is said."""


def period(span: timedelta, now: datetime) -> int:
    """Which hour, or which day, since 1970 (UTC)."""
    return (now - _EPOCH) // span


def ends_at(span: timedelta, now: datetime) -> datetime:
    """When the present hour or day is over."""
    return _EPOCH + span * (period(span, now) + 1)


def take(session: Session, limits: Sequence[Limit], now: datetime) -> list[Limit]:
    """Takes one unit of each limit, in one statement, and returns those that were spent: if there are any, nothing was taken."""
    spent = [limit for limit in limits if limit.most < 1]
    if spent:
        return spent
    rows = [
        {
            "scope": limit.scope,
            "period": period(limit.span, now),
            "taken": 1,
            "ends_at": ends_at(limit.span, now) - limit.span + (limit.kept or limit.span),
        }
        for limit in sorted(limits, key=lambda limit: limit.scope)  # everybody locks them in the same order
    ]
    most = case({limit.scope: limit.most for limit in limits}, value=Counter.scope)
    taken = session.scalars(
        insert(session, Counter)
        .values(rows)
        .on_conflict_do_update(
            index_elements=[Counter.scope, Counter.period], set_={"taken": Counter.taken + 1}, where=Counter.taken < most
        )
        .returning(Counter.scope)
    ).all()
    spent = [limit for limit in limits if limit.scope not in taken]
    if spent:
        give_back(session, [limit for limit in limits if limit.scope in taken], 1, now)
    return spent


def give_back(session: Session, limits: Sequence[Limit], units: int, now: datetime) -> None:
    """Returns units that were taken in the present hour or day."""
    if limits:
        keys = [(limit.scope, period(limit.span, now)) for limit in limits]
        returned = update(Counter).where(tuple_(Counter.scope, Counter.period).in_(keys))
        session.execute(returned.values(taken=Counter.taken - units), execution_options={"synchronize_session": False})
