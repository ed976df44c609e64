"""Limits over time: taking one unit of each of several, all or none, so that parallel requests cannot take more than there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import case, tuple_, update
from sqlalchemy.orm import Session

from hammer.database import insert
from hammer.models import Counter

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Limit:
    """At most `most` units of `scope` in one period of `length`, counted for `kept` from the period's beginning on."""

    scope: str
    most: int
    length: timedelta
    kept: timedelta | None = None

    def period(self, now: datetime) -> int:
        return (now - _EPOCH) // self.length

    def ends_at(self, now: datetime) -> datetime:
        """When the period that `now` lies in is over, and with it the count."""
        return _EPOCH + self.length * self.period(now) + (self.kept or self.length)

    def key(self, now: datetime) -> tuple[str, int]:
        return self.scope, self.period(now)


def take(session: Session, limits: Sequence[Limit], now: datetime) -> list[Limit]:
    """Takes one unit of each limit, in one statement, and returns those that were spent: if there are any, nothing was taken."""
    spent = [limit for limit in limits if limit.most < 1]
    if spent:
        return spent
    most = case({limit.scope: limit.most for limit in limits}, value=Counter.scope)
    rows = [
        {"scope": limit.scope, "period": limit.period(now), "taken": 1, "ends_at": limit.ends_at(now)}
        for limit in sorted(limits, key=lambda limit: limit.scope)  # everybody locks them in the same order
    ]
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
        give_back(session, [limit for limit in limits if limit not in spent], 1, now)
    return spent


def give_back(session: Session, limits: Sequence[Limit], units: int, now: datetime) -> None:
    """Returns units that were taken in the present period."""
    if limits:
        keys = [limit.key(now) for limit in limits]
        session.execute(
            update(Counter).where(tuple_(Counter.scope, Counter.period).in_(keys)).values(taken=Counter.taken - units)
        )
