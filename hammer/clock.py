"""The current time. The only place that reads the clock, so that tests can set it."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
APART: Final = timedelta(seconds=10)
"""How far the clocks of two servers may differ. A time that is further ahead was written while a clock was wrong."""
_MICROSECOND: Final = timedelta(microseconds=1)


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)


def seconds_until(moment: datetime, now: datetime) -> int:
    """Whole seconds, rounded up so that a caller who waits that long is not too early; never negative."""
    return max(0, -((now - moment) // timedelta(seconds=1)))


def microseconds(moment: datetime) -> int:
    """A moment as whole microseconds since `EPOCH`: exact, unlike a float."""
    return (moment - EPOCH) // _MICROSECOND


def at(microseconds: int) -> datetime:
    """The inverse of `microseconds`."""
    return EPOCH + microseconds * _MICROSECOND


class Seldom:
    """For log lines that must not come too often."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._again: dict[str, float] = {}

    def now(self, about: str) -> bool:
        """Whether nothing was logged about this in the last seconds. Then this counts as logged."""
        present = time.monotonic()
        due = present >= self._again.get(about, present)
        if due:
            self._again[about] = present + self.seconds
        return due
