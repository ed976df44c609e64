"""How many texts may be asked for. Each text costs money, so it is taken from every limit that applies, or refused.

A number has a wait after each text and a count a day. Numbers that differ only in the last four digits share a limit an hour. An
address has a limit an hour and one a day; the networks around an IPv6 address have wider ones (`addresses`). The whole system has a
limit an hour and one a day. A known device shares only the system's limits with strangers: a part of those is reserved for known
devices, and no address or network gets all of that part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, bindparam, case, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert

from config import Settings
from hammer import clock
from hammer.db.database import Transaction, UtcDateTime
from hammer.db.prepared import InsertInto, prepared
from hammer.models import Client, SendAllowance
from hammer.quotas import addresses, counters
from hammer.quotas.counters import DAY, HOUR, Limit
from hammer.refusals import N_, TooManyRequests

LONGEST_WAIT: Final = timedelta(minutes=10)
"""The wait after a text doubles with each text to the same number, up to this."""
STRANGERS_SHARE: Final = 0.7
"""The part of the system's texts that unknown devices may use. The rest is reserved for known devices."""
SYSTEM_HOURS_PER_DAY: Final = 10
"""The system's limit a day is this many times its limit an hour."""
ADDRESS_HOURS_PER_DAY: Final = 3
"""An address's limit a day is this many times its limit an hour."""
NAMES: Final = ("address", *(f"network-{bits}" for bits in addresses.BITS[1:]))
"""Names of the limits of an address and of the networks around it."""
KNOWN_DEVICES_TIMES: Final = (3, 4, 5)
"""Limits an hour of known devices at one address and in the networks around it, as multiples of an address's limit: less than what
is reserved for all known devices."""
JUST_TEXTED: Final = N_("We have texted this number just now.")
NO_MORE_TODAY: Final = N_("This number cannot have more texts today.")
CLIENT_SPENT: Final = N_("This app cannot ask for more texts in this hour.")

_WAITS: Final = 11
"""How many different waits there may be: one second, the shortest that can be set, reaches `LONGEST_WAIT` after ten doublings."""

END_WAIT: Final = prepared(
    update(SendAllowance).where(SendAllowance.number_hash == bindparam("number")).values(streak=0, next_send_at=bindparam("now"))
)


@prepared
def take_text(insert: InsertInto) -> ReturningInsert[SendAllowance]:
    """Takes one of a number's texts of the day; returns no row if the number has to wait.

    A clock that was ahead may have left a `next_send_at` or a `day_began_at` in the future. Such a wait is over. Such a day begins
    now, and keeps its count.
    """
    now = bindparam("now", type_=UtcDateTime)
    next_send_at = [bindparam(f"after_wait{n}", type_=UtcDateTime) for n in range(_WAITS)]
    new_day = SendAllowance.day_began_at <= bindparam("day_ago")
    day_is_ahead = SendAllowance.day_began_at > bindparam("soon")
    wait_is_over = or_(SendAllowance.next_send_at <= now, SendAllowance.next_send_at > bindparam("after_any_wait"))
    first = insert(SendAllowance).values(
        number_hash=bindparam("number"), day_began_at=now, sends=1, streak=1, next_send_at=next_send_at[0]
    )
    return first.on_conflict_do_update(
        index_elements=[SendAllowance.number_hash],
        set_={
            "day_began_at": case((or_(new_day, day_is_ahead), now), else_=SendAllowance.day_began_at),
            "sends": case((new_day, 1), else_=SendAllowance.sends + 1),
            "streak": case((new_day, 1), else_=SendAllowance.streak + 1),
            "next_send_at": case(
                (new_day, next_send_at[0]),
                *((SendAllowance.streak == n, moment) for n, moment in enumerate(next_send_at)),
                else_=next_send_at[-1],
            ),
        },
        where=and_(wait_is_over, or_(new_day, SendAllowance.sends < bindparam("most"))),
    ).returning(SendAllowance)


@dataclass(frozen=True)
class Quota:
    """What is left of a limit that callers may know."""

    name: str
    left: int
    resets_in: int
    """Seconds."""


@dataclass(frozen=True)
class Taken:
    """The answer of `take`."""

    next_send_at: datetime
    """When another text to the number may be asked for."""
    quotas: list[Quota]


def policies(settings: Settings, client: Client | None = None) -> dict[str, tuple[int, timedelta]]:
    """The limits that callers, or this client, may know: name -> (texts, in how long). Those of the whole system are not among
    them."""
    allowed = {"number": (settings.sends_per_number_day, DAY)}
    if client is not None:
        allowed["client"] = (client.sends_per_hour, HOUR)
    for name, times in zip(NAMES, addresses.TIMES, strict=True):
        per_hour = settings.sends_per_address_hour * times
        allowed |= {name: (per_hour, HOUR), f"{name}-day": (per_hour * ADDRESS_HOURS_PER_DAY, DAY)}
    return allowed


def system_used(tx: Transaction, settings: Settings, now: datetime) -> dict[str, tuple[int, int]]:
    """The whole system's texts of the present hour and day: name -> (asked for, allowed)."""
    limits = _of_system(settings, known=True)
    used = counters.used(tx, limits.values(), now)
    return {name: (used.get(limit.scope, 0), limit.most) for name, limit in limits.items()}


def take(
    tx: Transaction, settings: Settings, number: str, *, address: str, known: bool, now: datetime, client: Client | None = None
) -> Taken:
    """Takes one text to this number from every limit but those of the whole system: `take_of_system` follows, at the end of the
    transaction. `client` is the client that asks for its user, if one does.

    Refuses with `TooManyRequests`, which names the limit if callers may know it.
    """
    limits, public = _limits(settings, number, address, known), policies(settings, client)
    if client is not None:
        limits.append(("client", Limit(f"texts/client/{client.id}", *public["client"])))
    used = counters.take(tx, [limit for _, limit in limits], now)
    waits = {name: clock.seconds_until(counters.ends_at(limit.window, now), now) for name, limit in limits}
    spent = [name for name, limit in limits if limit.scope not in used]
    if spent:
        last = max(spent, key=waits.__getitem__)
        sentence = CLIENT_SPENT if last == "client" else ""
        raise TooManyRequests(retry_after=waits[last], limit=last if last in public else "", sentence=sentence)
    keys = sorted(allowance_keys(settings, number, known=known))  # in one order, or two processes would wait for each other
    allowances = [_take_of_number(tx, settings, key, now) for key in keys]
    strictest = max(allowances, key=lambda allowance: allowance.sends)
    resets_in = clock.seconds_until(strictest.day_began_at + DAY, now)
    of_number = Quota("number", settings.sends_per_number_day - strictest.sends, resets_in)
    left: dict[str, int] = {}
    for name, limit in limits:
        left[name] = min(left.get(name, limit.most), limit.most - used[limit.scope])
    quotas = [Quota(name, units, waits[name]) for name, units in left.items() if name in public]
    return Taken(max(allowance.next_send_at for allowance in allowances), [of_number, *quotas])


def take_of_system(tx: Transaction, settings: Settings, *, known: bool, now: datetime) -> None:
    """Takes one text from the limits of the whole system. As every text needs them, this comes last before the commit. Refuses with
    `TooManyRequests`, which does not name the limit."""
    limits = list(_of_system(settings, known=known).values())
    if counters.take_all(tx, [], limits, now) is None:
        used = counters.used(tx, limits, now)
        ends = [counters.ends_at(limit.window, now) for limit in limits if used.get(limit.scope, 0) >= limit.most]
        until = max(ends, default=counters.ends_at(HOUR, now))  # none if one of the last texts was just rolled back
        raise TooManyRequests(retry_after=clock.seconds_until(until, now))


def allowance_keys(settings: Settings, number: str, *, known: bool) -> tuple[str, ...]:
    """The keys of the number's rows in `send_allowances`, one for each secret key. Known devices and strangers have
    separate rows."""
    return settings.keyed_hashes("numbers of known devices", number) if known else settings.number_hashes(number)


def next_send_at(allowance: SendAllowance | None, now: datetime) -> datetime:
    """When another text may be asked for. A longer wait than there can be was written while the clock was ahead; it is over."""
    if allowance is None or allowance.next_send_at > now + LONGEST_WAIT + clock.APART:
        return now
    return allowance.next_send_at


@dataclass(frozen=True)
class OfNumber:
    """What is left of the texts to one number."""

    left: int
    """In this day."""
    next_send_at: datetime | None
    """When the next one may be asked for; None if at once."""


def of_number(tx: Transaction, settings: Settings, number: str, now: datetime) -> dict[bool, OfNumber]:
    """What is left for unknown devices (False) and for known ones (True)."""
    keys = {known: allowance_keys(settings, number, known=known) for known in (False, True)}
    any_of_them = SendAllowance.number_hash.in_([key for each in keys.values() for key in each])
    found = {row.number_hash: row for row in tx.scalars(select(SendAllowance).where(any_of_them))}
    return {known: _least([_left(settings, found.get(key), now) for key in each]) for known, each in keys.items()}


def _least(rows: Sequence[OfNumber]) -> OfNumber:
    """What is left where several rows count the same texts."""
    return OfNumber(min(row.left for row in rows), max((row.next_send_at for row in rows if row.next_send_at), default=None))


def _left(settings: Settings, allowance: SendAllowance | None, now: datetime) -> OfNumber:
    most = settings.sends_per_number_day
    if allowance is None:
        return OfNumber(most, None)
    day_ends_at = min(allowance.day_began_at, now) + DAY
    left = max(0, most - allowance.sends) if day_ends_at > now else most
    ready_at = max(next_send_at(allowance, now), day_ends_at if left == 0 else now)
    return OfNumber(left, ready_at if ready_at > now else None)


def end_wait(tx: Transaction, settings: Settings, number: str, *, known: bool, now: datetime) -> None:
    """Ends the wait after a success, so that the next text may be asked for at once. The count of the day stays."""
    for key in sorted(allowance_keys(settings, number, known=known)):
        END_WAIT.execute(tx, number=key, now=now)


def _of_system(settings: Settings, *, known: bool) -> dict[str, Limit]:
    whole = settings.sends_per_hour
    per_hour = whole if known else int(whole * STRANGERS_SHARE)
    return {
        "hour": Limit("texts/hour", per_hour, HOUR, made_for=whole),
        "day": Limit("texts/day", per_hour * SYSTEM_HOURS_PER_DAY, DAY, made_for=whole * SYSTEM_HOURS_PER_DAY),
    }


def _limits(settings: Settings, number: str, address: str, known: bool) -> list[tuple[str, Limit]]:
    """The limits of one text, each with its name, without those of the number itself and of the whole system. Each is counted under
    the hashes by all secret keys."""
    if known:  # anyone with a number can have an account, and so a known device: these need a limit by address too
        return [
            (f"known-{network}", Limit(f"texts/known/{place}", most, HOUR))
            for network, most in addresses.shares(address, settings.sends_per_address_hour, KNOWN_DEVICES_TIMES)
            for place in settings.keyed_hashes("addresses", network)
        ]
    prefixes, most = settings.keyed_hashes("prefixes", number[:-4]), settings.sends_per_prefix_hour
    limits = [("prefix", Limit(f"texts/prefix/{prefix}", most, HOUR)) for prefix in prefixes]
    allowed = policies(settings)
    for name, network in zip(NAMES, addresses.networks(address), strict=False):
        for place in settings.keyed_hashes("addresses", network):
            limits.append((name, Limit(f"texts/address/h/{place}", *allowed[name])))
            limits.append((f"{name}-day", Limit(f"texts/address/d/{place}", *allowed[f"{name}-day"])))
    return limits


def _take_of_number(tx: Transaction, settings: Settings, key: str, now: datetime) -> SendAllowance:
    """Takes one of the number's texts of the day and returns its row. Refuses with `TooManyRequests`."""
    most, day_ago = settings.sends_per_number_day, now - DAY
    allowance = take_text.row(
        tx,
        SendAllowance,
        number=key,
        now=now,
        day_ago=day_ago,
        soon=now + clock.APART,
        after_any_wait=now + LONGEST_WAIT + clock.APART,
        most=most,
        **{f"after_wait{n}": now + min(settings.resend_wait * 2**n, LONGEST_WAIT) for n in range(_WAITS)},
    )
    if allowance is not None:
        return allowance
    allowance = tx.get_one(SendAllowance, key)
    spent = allowance.sends >= most and allowance.day_began_at > day_ago
    day_began_at = min(allowance.day_began_at, now)
    ready_at = max(next_send_at(allowance, now), day_began_at + DAY if spent else now)
    wait = clock.seconds_until(ready_at, now)
    raise TooManyRequests(retry_after=wait, limit="number", sentence=NO_MORE_TODAY if spent else JUST_TEXTED)
