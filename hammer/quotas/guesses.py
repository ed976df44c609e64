"""Limits on wrong guesses at one-time codes: a budget for the whole system, and a ladder for each number.

Four digits are weak. A limit per number or per address does not make them strong: an attacker brings more numbers and buys more
addresses. So wrong guesses of all callers together have a budget a day. With budgets B4, B6 and B8 and A guesses per code, the
expected number of accounts taken over by guessing is at most 365 * (B4/(10^4-A) + B6/(10^6-A) + B8/(10^8-A)) a year, however many
accounts are attacked (proof: `docs/guessing.md`).

A unit is taken before each comparison and given back only if the same verification then succeeds. So typing errors of people who
succeed cost nothing, and an attacker gets a unit back only by winning. When a budget is spent, live codes of that length are void
and new codes are longer. A known device has guesses of its own, outside of these limits (`devices`): strangers cannot lock the
owner out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from config import CODE_LENGTHS, Settings
from hammer import clock
from hammer.db.database import Transaction
from hammer.models import Verification
from hammer.quotas import counters
from hammer.quotas.counters import DAY, Limit
from hammer.refusals import N_, TooManyRequests, Unavailable

LADDER: Final = {4: 5, 6: 20, 8: 100}
"""Digits -> wrong guesses at one number within `LADDER_DAYS` after which its codes of this length are void. After 5 wrong guesses
a number gets codes of six digits, after 20 of eight; after 100 it gets none.

100 is the maximum of NIST SP 800-63B-4 §3.2.2.
"""
LADDER_DAYS: Final = 30
NUMBER_CLOSED = N_(
    "Too many wrong codes were tried for this number. Sign in on a device where you have signed in before, or try again later."
)
ALL_CLOSED = N_("Too many wrong codes were tried today. Until tomorrow, sign in on a device where you have signed in before.")


def next_length(
    tx: Transaction, settings: Settings, number_hashes: tuple[str, ...], now: datetime, lengths: Sequence[int] = CODE_LENGTHS
) -> int:
    """How many digits the next code of this number has: as few of `lengths` as its ladder and the budgets allow.

    Refuses with `TooManyRequests` when the number's ladder is spent, until old guesses stop counting. Refuses with `Unavailable`
    when all budgets are spent. Unknown devices then cannot sign in until the next day; otherwise the bound would not hold.
    """
    budgets = {length: _budget(settings, length) for length in lengths}
    ladders = _ladders(number_hashes, lengths[-1])
    used = counters.used(tx, [*ladders, *budgets.values()], now)
    wrong_guesses = max(used.get(ladder.scope, 0) for ladder in ladders)
    for length, budget in budgets.items():
        if wrong_guesses < LADDER[length] and used.get(budget.scope, 0) < budget.most:
            return length
    if wrong_guesses >= LADDER[lengths[-1]]:
        opens_at = _open_at(tx, ladders, now)
        raise TooManyRequests(retry_after=clock.seconds_until(opens_at, now), sentence=NUMBER_CLOSED)
    tomorrow = counters.ends_at(DAY, now)
    raise Unavailable(retry_after=clock.seconds_until(tomorrow, now), sentence=ALL_CLOSED)


@dataclass(frozen=True)
class OfNumber:
    """What the ladder of one number says now."""

    wrong: int
    """Wrong guesses within `LADDER_DAYS`."""
    length: int | None
    """Digits of its next code; None if it gets none."""
    opens_at: datetime | None
    """When it gets codes again, if it gets none."""


def of_number(tx: Transaction, settings: Settings, number_hashes: tuple[str, ...], now: datetime) -> OfNumber:
    """What the ladder of this number says, whatever is left of the budgets of the whole system."""
    ladders = _ladders(number_hashes, CODE_LENGTHS[-1])
    wrong = max(counters.used(tx, ladders, now).values(), default=0)
    lengths = [length for length in CODE_LENGTHS if length >= settings.code_length and wrong < LADDER[length]]
    return OfNumber(wrong, lengths[0] if lengths else None, None if lengths else _open_at(tx, ladders, now))


def budgets_used(tx: Transaction, settings: Settings, now: datetime) -> dict[int, tuple[int, int]]:
    """Digits -> (wrong guesses of today that were not given back, budget), for the lengths in use."""
    budgets = {length: _budget(settings, length) for length in CODE_LENGTHS if length >= settings.code_length}
    used = counters.used(tx, budgets.values(), now)
    return {length: (used.get(budget.scope, 0), budget.most) for length, budget in budgets.items()}


Taken: TypeAlias = Sequence[Limit]
"""The rows that a guess was taken from."""


def take(
    tx: Transaction, settings: Settings, verification: Verification, number_hashes: tuple[str, ...], now: datetime
) -> Taken | None:
    """Takes one guess from the budget of the verification's length and from the ladder of its number. None if either is spent."""
    ladders, budget = _ladders(number_hashes, verification.code_length), _budget(settings, verification.code_length)
    return counters.take_all(tx, ladders, [budget], now)


def give_back(tx: Transaction, verification: Verification, taken: Taken, now: datetime) -> None:
    """Gives back the guesses of a verification that succeeded, as far as they were taken today. All of them go to the rows of the
    last guess, which this transaction holds; their sum is what counts.

    Guesses of the day before stay spent: given back to a later day, they would let an attacker with numbers of their own save up
    budget.
    """
    began_today = counters.period(DAY, verification.created_at) == counters.period(DAY, now)
    units = verification.guesses if began_today else 1
    counters.give_back(tx, taken, units, now)


def _budget(settings: Settings, length: int) -> Limit:
    """The budget of a length. It is 0 for a length below the setting: old codes of that length are void, so the bound does not
    count them."""
    return Limit(f"guesses/{length}", settings.guess_budgets[length] if length >= settings.code_length else 0, DAY)


def _ladders(number_hashes: tuple[str, ...], length: int) -> list[Limit]:
    """The ladder of a number. It is counted under the hashes by all secret keys; the one with most guesses is right."""
    return [Limit(scope(number_hash), LADDER[length], DAY, windows=LADDER_DAYS) for number_hash in number_hashes]


def _open_at(tx: Transaction, ladders: Sequence[Limit], now: datetime) -> datetime:
    return max(counters.eases_at(tx, ladder, now) for ladder in ladders)


def scope(number_hash: str) -> str:
    """The scope under which wrong guesses at a number are counted."""
    return f"guesses/{number_hash}"
