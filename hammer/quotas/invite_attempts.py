"""How many invite codes may be tried that come to nothing: by number, account and address, and by everybody together.

A try is taken before the code is looked up, and given back when it was the right one: at an activation, and at a first login that
brings a code along.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete

from config import Settings
from hammer import clock
from hammer.db.database import Transaction
from hammer.models import Counter
from hammer.quotas import addresses, counters
from hammer.quotas.counters import DAY, Limit
from hammer.refusals import N_, TooManyRequests

A_DAY: Final = 5
"""Of one number; so a new account of the same number has no more."""
A_LIFE: Final = 10
"""Of one account; from then on one a week. Who was given a code needs no more."""
PER_ADDRESS_A_DAY: Final = 20
"""And of the networks around it as many times more as `addresses.TIMES` says."""
OF_ALL_A_DAY: Final = 10_000
"""Of 28^6 codes, with a million of them in use, so many tries find about 21. Why not fewer: `docs/security.md`, deviations."""
WEEK: Final = timedelta(days=7)
LIFE: Final = timedelta(days=36_525)
SPENT = N_("Too many invite codes were tried that cannot be activated. Ask for the right one, and try it later.")


def limits(tx: Transaction, settings: Settings, user_id: str, number: str, address: str, now: datetime) -> tuple[Limit, ...]:
    """What one try is taken from."""
    life, week = _of_account(user_id)
    over = counters.used(tx, [life], now).get(life.scope, 0) >= life.most
    return (
        week if over else life,
        Limit(_of_number(settings, number), A_DAY, DAY),
        *_of_address(settings, address),
        Limit("invites/day", OF_ALL_A_DAY, DAY),
    )


def take(tx: Transaction, limits: tuple[Limit, ...], now: datetime) -> TooManyRequests | None:
    """Takes a try; why not, when a limit is reached."""
    taken = counters.take(tx, limits, now)
    ends = [counters.ends_at(limit.span, now) for limit in limits if limit.scope not in taken]
    return TooManyRequests(retry_after=clock.seconds_until(max(ends), now), sentence=SPENT) if ends else None


def give_back(tx: Transaction, limits: tuple[Limit, ...], now: datetime) -> None:
    """Returns the try of somebody whose code was right."""
    counters.give_back(tx, limits, 1, now)


def scopes(settings: Settings, user_id: str, number: str) -> list[str]:
    """Under which the tries of one person are counted."""
    return [_of_number(settings, number), *(limit.scope for limit in _of_account(user_id))]


def forget(tx: Transaction, user_id: str) -> None:
    """Forgets what was counted by account; what was counted by number goes with its day."""
    tx.execute(delete(Counter).where(Counter.scope.in_([limit.scope for limit in _of_account(user_id)])))


def _of_number(settings: Settings, number: str) -> str:
    return f"invites/number/{settings.keyed_hash('numbers', number)}"


def _of_address(settings: Settings, address: str) -> list[Limit]:
    shares = addresses.shares(address, PER_ADDRESS_A_DAY)
    return [Limit(f"invites/address/{settings.keyed_hash('addresses', network)}", most, DAY) for network, most in shares]


def _of_account(user_id: str) -> tuple[Limit, Limit]:
    return Limit(f"invites/life/{user_id}", A_LIFE, LIFE), Limit(f"invites/week/{user_id}", 1, WEEK)
