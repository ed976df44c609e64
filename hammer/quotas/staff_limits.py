"""Limits on what each staff member learns by whole numbers: without them, trying finds the hidden digits of a masked number."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import delete

from hammer import clock
from hammer.db.database import Transaction
from hammer.models import Counter
from hammer.quotas import counters
from hammer.quotas.counters import HOUR, Limit
from hammer.refusals import N_, TooManyRequests


class _Asking(NamedTuple):
    name: str
    per_hour: int
    spent: str


SEARCHES: Final = _Asking("whole-numbers", 300, N_("You have searched for too many whole numbers in this hour."))
CHECKS: Final = _Asking("import-checks", 20, N_("You have checked too many files in this hour."))
IMPORTS: Final = _Asking("imports", 200, N_("You have added too many people in this hour."))
"""Batches of an import: it also says of people whom it does not add whether their number has a user."""


def take(tx: Transaction, asking: _Asking, user_id: str, now: datetime) -> None:
    """Takes one from what this staff member may ask in an hour (UTC). Refuses with `TooManyRequests`."""
    limit = Limit(_scope(asking, user_id), asking.per_hour, HOUR)
    if not counters.take(tx, [limit], now):
        raise TooManyRequests(retry_after=clock.seconds_until(counters.ends_at(HOUR, now), now), sentence=asking.spent)


def scopes(user_id: str) -> list[str]:
    """The scopes under which this is counted."""
    return [_scope(asking, user_id) for asking in (SEARCHES, CHECKS, IMPORTS)]


def forget(tx: Transaction, user_id: str) -> None:
    """Deletes what was counted for this user."""
    tx.execute(delete(Counter).where(Counter.scope.in_(scopes(user_id))))


def _scope(asking: _Asking, user_id: str) -> str:
    return f"{asking.name}/{user_id}"
