"""What time it is. The one place that asks, so that tests can move it."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
APART: Final = timedelta(seconds=10)
"""How far the clocks of two servers may differ. What seems to come from further ahead was made while a clock was wrong."""
_MICROSECOND: Final = timedelta(microseconds=1)


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def seconds_until(moment: datetime, now: datetime) -> int:
    """Whole seconds, rounded up, never below nought: whoever waits as long is not too early."""
    return max(0, -((now - moment) // timedelta(seconds=1)))


def microseconds(moment: datetime) -> int:
    """A moment as a whole number: how long after `EPOCH` it is. Exact, as a float would not be."""
    return (moment - EPOCH) // _MICROSECOND


def at(microseconds: int) -> datetime:
    """The moment that `microseconds` made this number of."""
    return EPOCH + microseconds * _MICROSECOND
