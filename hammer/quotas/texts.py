"""How many texts may be asked for. They cost money: each is taken from all limits that it falls under, or refused.

A number waits longer after each text and has so many a day; numbers that differ in the last four digits share a limit an hour, an
address has one an hour and one a day, the networks around an IPv6 address have wider ones (`addresses`), and so has the whole
system. A device that signed in before shares none of these with strangers, but the system's: of that a part is kept for known
devices alone, and no address and no network gets all of it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Final

from sqlalchemy import and_, bindparam, case, or_, update
from sqlalchemy.sql.dml import ReturningInsert

from config import Settings
from hammer import clock
from hammer.db.database import Transaction, UtcDateTime
from hammer.db.prepared import InsertInto, Prepared, prepared
from hammer.models import SendAllowance
from hammer.quotas import addresses, counters
from hammer.quotas.counters import DAY, HOUR, Limit
from hammer.refusals import N_, TooManyRequests

LONGEST_WAIT: Final = timedelta(minutes=10)
"""The wait between texts to one number doubles up to this."""
FOR_STRANGERS: Final = 0.7
"""The part of the system's texts that unknown devices may use; the rest is kept for known ones."""
HOURS_A_DAY: Final = 10
"""The whole system's texts of a day are as many as those of this many hours."""
ADDRESS_HOURS_A_DAY: Final = 3
NAMES: Final = ("address", *(f"network-{bits}" for bits in addresses.BITS[1:]))
"""Of the limits of an address, and of the networks around it."""
KNOWN_TIMES: Final = (3, 4, 5)
"""Known devices have so many times an address's texts an hour, in each of `addresses.BITS`: less than is kept for all of them."""
JUST_TEXTED: Final = N_("We have texted this number just now.")
NO_MORE_TODAY: Final = N_("This number cannot have more texts today.")

END_WAIT: Final = prepared(
    update(SendAllowance).where(SendAllowance.number_hash == bindparam("number")).values(streak=0, next_send_at=bindparam("now"))
)


@dataclass(frozen=True)
class Quota:
    """What is left of a limit that callers may know."""

    name: str
    left: int
    resets_in: int
    """Seconds."""


@dataclass(frozen=True)
class Taken:
    next_send_at: datetime
    """When another text to the number may be asked for."""
    quotas: list[Quota]


def policies(settings: Settings) -> dict[str, tuple[int, timedelta]]:
    """The limits that callers may know, by name: so many texts in so long. Those of the whole system are not among them."""
    allowed = {"number": (settings.sends_per_number_day, DAY)}
    for name, times in zip(NAMES, addresses.TIMES, strict=True):
        an_hour = settings.sends_per_address_hour * times
        allowed |= {name: (an_hour, HOUR), f"{name}-day": (an_hour * ADDRESS_HOURS_A_DAY, DAY)}
    return allowed


def system_used(tx: Transaction, settings: Settings, now: datetime) -> dict[str, tuple[int, int]]:
    """Of the whole system's texts in the present hour and day: how many were asked for, and how many may be."""
    limits = _of_system(settings, known=True)
    used = counters.used(tx, limits.values(), now)
    return {name: (used.get(limit.scope, 0), limit.most) for name, limit in limits.items()}


def take(tx: Transaction, settings: Settings, number: str, *, address: str, known: bool, now: datetime) -> Taken:
    """Takes a text to this number. Refuses with `TooManyRequests`, which names the limit if callers may know it."""
    limits, public = _limits(settings, number, address, known), policies(settings)
    used = counters.take(tx, list(limits.values()), now)
    waits = {name: clock.seconds_until(counters.ends_at(limit.span, now), now) for name, limit in limits.items()}
    spent = [name for name, limit in limits.items() if limit.scope not in used]
    if spent:
        last = max(spent, key=waits.__getitem__)
        raise TooManyRequests(retry_after=waits[last], limit=last if last in public else "")
    allowance = _take_of_number(tx, settings, allowance_key(settings, number, known=known), now)
    resets_in = clock.seconds_until(allowance.day_began_at + DAY, now)
    of_number = Quota("number", settings.sends_per_number_day - allowance.sends, resets_in)
    quotas = [Quota(name, limit.most - used[limit.scope], waits[name]) for name, limit in limits.items() if name in public]
    return Taken(allowance.next_send_at, [of_number, *quotas])


def allowance_key(settings: Settings, number: str, *, known: bool) -> str:
    """Under which the texts to this number are counted: known devices and strangers each have their own count."""
    return settings.keyed_hash("numbers of known devices", number) if known else settings.number_hash(number)


def next_send_at(allowance: SendAllowance | None, now: datetime) -> datetime:
    """When another text may be asked for. A wait that is longer than any is one of a clock that was ahead; it is over."""
    if allowance is None or allowance.next_send_at > now + LONGEST_WAIT + clock.APART:
        return now
    return allowance.next_send_at


def end_wait(tx: Transaction, settings: Settings, number: str, *, known: bool, now: datetime) -> None:
    """Lets the next text be asked for at once, after a success. The day's count stays."""
    END_WAIT.execute(tx, number=allowance_key(settings, number, known=known), now=now)


def _of_system(settings: Settings, *, known: bool) -> dict[str, Limit]:
    an_hour = settings.sends_per_hour if known else int(settings.sends_per_hour * FOR_STRANGERS)
    return {"hour": Limit("texts/hour", an_hour, HOUR), "day": Limit("texts/day", an_hour * HOURS_A_DAY, DAY)}


def _limits(settings: Settings, number: str, address: str, known: bool) -> dict[str, Limit]:
    if known:  # whoever has a number can have an account, and so a known device
        shares = addresses.shares(address, settings.sends_per_address_hour, KNOWN_TIMES)
        places = {settings.keyed_hash("addresses", network): most for network, most in shares}
        theirs = {f"known-{place}": Limit(f"texts/known/{place}", most, HOUR) for place, most in places.items()}
        return _of_system(settings, known=True) | theirs
    prefix = settings.keyed_hash("prefixes", number[:-4])
    limits = _of_system(settings, known=False)
    limits["prefix"] = Limit(f"texts/prefix/{prefix}", settings.sends_per_prefix_hour, HOUR)
    allowed = policies(settings)
    for name, network in zip(NAMES, addresses.networks(address), strict=False):
        place = settings.keyed_hash("addresses", network)
        limits[name] = Limit(f"texts/address/h/{place}", *allowed[name])
        limits[f"{name}-day"] = Limit(f"texts/address/d/{place}", *allowed[f"{name}-day"])
    return limits


def _waits(settings: Settings) -> list[timedelta]:
    """After the first text in a row, after the second and so on; after all further ones, the last of these."""
    waits = [min(settings.resend_wait, LONGEST_WAIT)]
    while timedelta(0) < waits[-1] < LONGEST_WAIT:
        waits.append(min(waits[-1] * 2, LONGEST_WAIT))
    return waits


def _take_of_number(tx: Transaction, settings: Settings, key: str, now: datetime) -> SendAllowance:
    """Takes one of the number's texts of the day, in one statement, and returns how things stand then."""
    waits = {f"wait{n}": now + wait for n, wait in enumerate(_waits(settings))}
    most, yesterday = settings.sends_per_number_day, now - DAY
    ahead = {"soon": now + clock.APART, "latest": now + LONGEST_WAIT + clock.APART}
    taking = _taking(len(waits))
    taken = taking.row(tx, SendAllowance, number=key, now=now, yesterday=yesterday, most=most, **ahead, **waits)
    if taken is not None:
        return taken
    allowance = tx.get_one(SendAllowance, key)
    spent = allowance.sends >= most and allowance.day_began_at > yesterday
    day_began_at = min(allowance.day_began_at, now)
    ready_at = max(next_send_at(allowance, now), day_began_at + DAY if spent else now)
    wait = clock.seconds_until(ready_at, now)
    raise TooManyRequests(retry_after=wait, limit="number", sentence=NO_MORE_TODAY if spent else JUST_TEXTED)


@cache
def _taking(waits: int) -> Prepared[SendAllowance]:
    """The statement that takes a text, with so many different waits after one. A wait and a day that a clock left behind which was
    ahead are cut: the wait is over, and the day began now, with all the texts that it had."""
    new_day = SendAllowance.day_began_at <= bindparam("yesterday")
    from_ahead = SendAllowance.day_began_at > bindparam("soon")
    now = bindparam("now", type_=UtcDateTime)
    at = [bindparam(f"wait{n}", type_=UtcDateTime) for n in range(waits)]

    def statement(insert: InsertInto) -> ReturningInsert[SendAllowance]:
        first = insert(SendAllowance).values(
            number_hash=bindparam("number"), day_began_at=now, sends=1, streak=1, next_send_at=at[0]
        )
        return first.on_conflict_do_update(
            index_elements=[SendAllowance.number_hash],
            set_={
                "day_began_at": case((or_(new_day, from_ahead), now), else_=SendAllowance.day_began_at),
                "sends": case((new_day, 1), else_=SendAllowance.sends + 1),
                "streak": case((new_day, 1), else_=SendAllowance.streak + 1),
                "next_send_at": case(
                    (new_day, at[0]), *((SendAllowance.streak == n, moment) for n, moment in enumerate(at)), else_=at[-1]
                ),
            },
            where=and_(
                or_(SendAllowance.next_send_at <= now, SendAllowance.next_send_at > bindparam("latest")),
                or_(new_day, SendAllowance.sends < bindparam("most")),
            ),
        ).returning(SendAllowance)

    return prepared(statement)
