"""Limits on attempts with invite codes that cannot be activated: by number, by account, by address, and for the whole system.

An attempt is taken before the code is looked up, and given back if the code is activated: in an activation, and in a first login
with an invite code.
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

PER_NUMBER_PER_DAY: Final = 5
"""Attempts of one number: a new account of the same number gets no new ones."""
PER_ACCOUNT: Final = 10
"""Attempts of one account; after these, one a week. A person who was given a code needs no more."""
PER_ADDRESS_PER_DAY: Final = 20
"""Attempts of one address. The networks around it have multiples of it: `addresses.TIMES`."""
TOTAL_PER_DAY: Final = 10_000
"""Attempts of the whole system. With a million of the 28^6 codes in use they find about 21. Why not fewer: `docs/security.md`,
deviations."""
WEEK: Final = timedelta(days=7)
LIFE: Final = timedelta(days=36_525)
SPENT = N_("Too many invite codes were tried that cannot be activated. Ask for the right one, and try it later.")


def limits(tx: Transaction, settings: Settings, user_id: str, number: str, address: str, now: datetime) -> tuple[Limit, ...]:
    """The limits from which one attempt is taken."""
    life, week = _of_account(user_id)
    over = counters.used(tx, [life], now).get(life.scope, 0) >= life.most
    return (
        week if over else life,
        *_of_number(settings, number),
        *_of_address(settings, address),
        Limit("invites/day", TOTAL_PER_DAY, DAY),
    )


def take(tx: Transaction, limits: tuple[Limit, ...], now: datetime) -> TooManyRequests | None:
    """Takes an attempt; returns the refusal if a limit is reached."""
    taken = counters.take(tx, limits, now)
    ends = [counters.ends_at(limit.window, now) for limit in limits if limit.scope not in taken]
    return TooManyRequests(retry_after=clock.seconds_until(max(ends), now), sentence=SPENT) if ends else None


def give_back(tx: Transaction, limits: tuple[Limit, ...], now: datetime) -> None:
    """Gives back the attempt of a caller whose code was activated."""
    counters.give_back(tx, limits, 1, now)


def left(tx: Transaction, settings: Settings, user_id: str, number: str, now: datetime) -> tuple[int, datetime | None]:
    """How many attempts the limits of the account and of the number leave; when there are some again, if there is none."""
    life, week = _of_account(user_id)
    of_number = _of_number(settings, number)
    used = counters.used(tx, [life, week, *of_number], now)
    of_account = week if used.get(life.scope, 0) >= life.most else life
    free = {limit: limit.most - used.get(limit.scope, 0) for limit in (of_account, *of_number)}
    ends = [counters.ends_at(limit.window, now) for limit, most in free.items() if most <= 0]
    return max(0, min(free.values())), max(ends, default=None)


def take_note(tx: Transaction, user_id: str, now: datetime) -> bool:
    """Whether a refusal that took no attempt is noted: the first one of an account a day. The attempts limit all others."""
    return bool(counters.take(tx, [_of_notes(user_id)], now))


def scopes(settings: Settings, user_id: str, number: str) -> list[str]:
    """The scopes under which the attempts of one person are counted."""
    return [*(limit.scope for limit in _of_number(settings, number)), *_scopes_of_account(user_id)]


def forget(tx: Transaction, user_id: str) -> None:
    """Deletes the counts of an account. Those of its number are deleted when their day is over."""
    tx.execute(delete(Counter).where(Counter.scope.in_(_scopes_of_account(user_id))))


def _of_number(settings: Settings, number: str) -> list[Limit]:
    """The limit of a number; so below for an address. Each is counted under the hashes by all secret keys."""
    return [Limit(f"invites/number/{number_hash}", PER_NUMBER_PER_DAY, DAY) for number_hash in settings.number_hashes(number)]


def _of_address(settings: Settings, address: str) -> list[Limit]:
    shares = addresses.shares(address, PER_ADDRESS_PER_DAY)
    return [
        Limit(f"invites/address/{place}", most, DAY)
        for network, most in shares
        for place in settings.keyed_hashes("addresses", network)
    ]


def _of_account(user_id: str) -> tuple[Limit, Limit]:
    return Limit(f"invites/life/{user_id}", PER_ACCOUNT, LIFE), Limit(f"invites/week/{user_id}", 1, WEEK)


def _of_notes(user_id: str) -> Limit:
    return Limit(f"invites/noted/{user_id}", 1, DAY)


def _scopes_of_account(user_id: str) -> list[str]:
    return [limit.scope for limit in (*_of_account(user_id), _of_notes(user_id))]
