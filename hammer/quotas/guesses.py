"""How many wrong guesses the world may make: a budget for the whole system, a ladder for each number, and the bound that follows.

Four digits are weak, and no limit per number or per address makes them strong: an attacker brings more numbers and buys more
addresses. What bounds them is a budget of wrong guesses a day for everybody together. With budgets B4, B6 and B8 and A guesses a
code, the expected number of accounts taken over by guessing is at most 365 · (B4/(10⁴-A) + B6/(10⁶-A) + B8/(10⁸-A)) a year, however
many are attacked (`docs/guessing.md` has the proof).

A unit is reserved before each comparison and returned only when the same verification then succeeds: so honest typos cost
nothing, and an attacker gets a unit back only by having won. When a budget is spent, live codes of that length are void and new
ones are longer. Devices that signed in before have guesses of their own (`devices`), outside of all this: strangers cannot shut
the owner out.
"""

from datetime import datetime
from typing import Final

from config import CODE_LENGTHS, Settings
from hammer import clock
from hammer.db.database import Transaction
from hammer.models import Verification
from hammer.quotas import counters
from hammer.quotas.counters import DAY, Limit
from hammer.refusals import N_, TooManyRequests, Unavailable

LADDER: Final = {4: 5, 6: 20, 8: 100}
"""So many wrong guesses at one number within `LADDER_DAYS` end its codes of this length (100: NIST SP 800-63B-4 §3.2.2)."""
LADDER_DAYS: Final = 30
NUMBER_CLOSED = N_(
    "Too many wrong codes were tried for this number. Sign in on a device where you have signed in before, or try again later."
)
ALL_CLOSED = N_("Too many wrong codes were tried today. Until tomorrow, sign in on a device where you have signed in before.")


def next_length(tx: Transaction, settings: Settings, number_hash: str, now: datetime) -> int:
    """How many digits the next code of this number has: as few as its ladder and the budgets still allow.

    Refuses with `TooManyRequests` when the number is closed until its failures age out, and with `Unavailable` when all budgets are
    spent: until the next day unknown devices cannot sign in at all, or the bound would not hold.
    """
    budgets = {length: _budget(settings, length) for length in CODE_LENGTHS}
    ladder = _ladder(number_hash, CODE_LENGTHS[-1])
    used = counters.used(tx, [ladder, *budgets.values()], now)
    failures = used.get(ladder.scope, 0)
    for length, budget in budgets.items():
        if failures < LADDER[length] and used.get(budget.scope, 0) < budget.most:
            return length
    if failures >= ladder.most:
        opens_at = counters.eases_at(tx, ladder, now)
        raise TooManyRequests(retry_after=clock.seconds_until(opens_at, now), sentence=NUMBER_CLOSED)
    tomorrow = counters.ends_at(DAY, now)
    raise Unavailable(retry_after=clock.seconds_until(tomorrow, now), sentence=ALL_CLOSED)


def budgets_used(tx: Transaction, settings: Settings, now: datetime) -> dict[int, tuple[int, int]]:
    """Digits -> wrong guesses of today that were not returned, and how many there may be; of lengths in use."""
    budgets = {length: _budget(settings, length) for length in CODE_LENGTHS if length >= settings.code_length}
    used = counters.used(tx, budgets.values(), now)
    return {length: (used.get(budget.scope, 0), budget.most) for length, budget in budgets.items()}


def take(tx: Transaction, settings: Settings, verification: Verification, number_hash: str, now: datetime) -> bool:
    """Reserves one guess at this verification from the budget of its length and from its number's ladder; False when either is
    spent."""
    limits = _limits(settings, verification, number_hash)
    return len(counters.take(tx, limits, now)) == len(limits)


def give_back(tx: Transaction, settings: Settings, verification: Verification, number_hash: str, now: datetime) -> None:
    """Returns what this verification reserved, now that it succeeded: all its guesses of the present day.

    Guesses of the day before stay spent. Returned to a later day, they would let somebody with numbers of their own save up budget.
    """
    began_today = counters.period(DAY, verification.created_at) == counters.period(DAY, now)
    units = verification.guesses if began_today else 1
    counters.give_back(tx, _limits(settings, verification, number_hash), units, now)


def _limits(settings: Settings, verification: Verification, number_hash: str) -> list[Limit]:
    return [_budget(settings, verification.code_length), _ladder(number_hash, verification.code_length)]


def _budget(settings: Settings, length: int) -> Limit:
    """Of a length that is not in use any more, nothing: its last codes are void at once, and the bound need not count them."""
    return Limit(f"guesses/{length}", settings.guess_budgets[length] if length >= settings.code_length else 0, DAY)


def _ladder(number_hash: str, length: int) -> Limit:
    return Limit(scope(number_hash), LADDER[length], DAY, spans=LADDER_DAYS)


def scope(number_hash: str) -> str:
    """Under which the wrong guesses at a number are counted."""
    return f"guesses/{number_hash}"
