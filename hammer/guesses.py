"""How many wrong guesses the world may make: a budget for the whole system, a ladder for each number, and the bound that follows.

Four digits are weak, and no limit per number or per address makes them strong: an attacker brings more numbers and buys more
addresses. What bounds them is a budget of wrong guesses a day for everybody together. With budgets B4, B6 and B8 the expected
number of accounts taken over by guessing is at most 365 · (B4/10⁴ + B6/10⁶ + B8/10⁸) a year, however many are attacked.

A unit is reserved before each comparison and returned only when the same verification then succeeds: so honest typos cost
nothing, and an attacker gets a unit back only by having won. When a budget is spent, live codes of that length are void and new
ones are longer. Devices that signed in before have guesses of their own (`devices`), outside of all this: strangers cannot shut the owner out.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from hammer import counters
from hammer.counters import DAY, Limit
from hammer.models import Counter, Verification
from hammer.refusals import TooManyRequests, Unavailable

if TYPE_CHECKING:
    from config import Settings

LENGTHS: Final = (4, 6, 8)
LADDER: Final = {4: 5, 6: 20, 8: 100}
"""So many wrong guesses at one number within `LADDER_DAYS` end its codes of this length (100: NIST SP 800-63B-4 §3.2.2)."""
LADDER_DAYS: Final = 30


def expected_takeovers_per_year(settings: "Settings") -> float:
    """The most accounts that guessing is expected to take over in a year, if somebody spends every budget on every day of it."""
    return 365.0 * sum(most / 10.0**length for length, most in settings.guess_budgets.items() if length >= settings.code_length)


def next_length(session: Session, settings: "Settings", number_hash: str, now: datetime) -> int:
    """How many digits the next code of this number has: as few as its ladder and the budgets still allow.

    Refuses with `TooManyRequests` when the number is closed until its failures age out, and with `Unavailable` when all budgets are
    spent: until the next day unknown devices cannot sign in at all, or the bound would not hold.
    """
    budgets = {length: _budget(settings, length) for length in LENGTHS if length >= settings.code_length}
    ladder = _ladder(number_hash, 0)
    today = counters.period(DAY, now)
    of_today = and_(Counter.scope.in_([budget.scope for budget in budgets.values()]), Counter.period == today)
    of_the_month = and_(Counter.scope == ladder.scope, Counter.period > today - LADDER_DAYS)
    count = select(Counter.scope, func.sum(Counter.taken)).where(or_(of_today, of_the_month)).group_by(Counter.scope)
    used = {scope: int(taken) for scope, taken in session.execute(count)}
    failures = used.get(ladder.scope, 0)
    for length, budget in budgets.items():
        if failures < LADDER[length] and used.get(budget.scope, 0) < budget.most:
            return length
    tomorrow = int((counters.ends_at(DAY, now) - now).total_seconds()) + 1
    if failures >= LADDER[LENGTHS[-1]]:
        raise TooManyRequests(retry_after=tomorrow)
    raise Unavailable(retry_after=tomorrow)


def take(session: Session, settings: "Settings", verification: Verification, number_hash: str, now: datetime) -> bool:
    """Reserves one guess at this verification from the budget of its length and from its number's ladder; False when either is
    spent."""
    ladder = _ladder(number_hash, 0)
    today = counters.period(DAY, now)
    earlier = session.scalar(
        select(func.sum(Counter.taken)).where(
            Counter.scope == ladder.scope, Counter.period > today - LADDER_DAYS, Counter.period < today
        )
    )
    left = LADDER[verification.code_length] - int(earlier or 0)
    return not counters.take(session, [_budget(settings, verification.code_length), _ladder(number_hash, left)], now)


def give_back(session: Session, settings: "Settings", verification: Verification, number_hash: str, now: datetime) -> None:
    """Returns what this verification reserved, now that it succeeded: all its guesses of the present day.

    Guesses of the day before stay spent. Returned to a later day, they would let somebody with numbers of their own save up budget.
    """
    began_today = counters.period(DAY, verification.created_at) == counters.period(DAY, now)
    units = verification.guesses if began_today else 1
    counters.give_back(session, [_budget(settings, verification.code_length), _ladder(number_hash, 0)], units, now)


def _budget(settings: "Settings", length: int) -> Limit:
    return Limit(f"guesses/{length}", settings.guess_budgets.get(length, 0), DAY)


def _ladder(number_hash: str, left: int) -> Limit:
    return Limit(f"guesses/{number_hash}", left, DAY, kept=timedelta(days=LADDER_DAYS))
