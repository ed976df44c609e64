"""How many texts may be asked for. They cost money: each is taken from all limits that it falls under, or refused.

A number waits longer after each text and has so many a day; numbers that differ in the last four digits share a limit an hour, an
address has one an hour and one a day, and so has the whole system. A device that signed in before shares none of these with strangers,
but the system's: of that a part is kept for known devices alone.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, case, or_, update
from sqlalchemy.orm import Session

from hammer import counters
from hammer.counters import DAY, HOUR, Limit
from hammer.database import insert
from hammer.models import SendAllowance
from hammer.refusals import TooManyRequests

if TYPE_CHECKING:
    from config import Settings

LONGEST_WAIT: Final = timedelta(minutes=10)
"""The wait between texts to one number doubles up to this."""
FOR_STRANGERS: Final = 0.7
"""The part of the system's texts that unknown devices may use; the rest is kept for known ones."""
HOURS_A_DAY: Final = 10
"""The whole system's texts of a day are as many as those of this many hours."""
ADDRESS_HOURS_A_DAY: Final = 3


def take(session: Session, settings: "Settings", number: str, *, address: str, known: bool, now: datetime) -> datetime:
    """Takes a text to this number, and returns when the next may be asked for. Refuses with `TooManyRequests`."""
    limits = _limits(settings, number, address, known)
    used = counters.take(session, limits, now)
    spent = [limit for limit in limits if limit.scope not in used]
    if spent:
        raise TooManyRequests(retry_after=max(seconds(counters.ends_at(limit.span, now) - now) for limit in spent))
    return _take_of_number(session, settings, allowance_key(settings, number, known=known), now)


def allowance_key(settings: "Settings", number: str, *, known: bool) -> str:
    """Under which the texts to this number are counted: known devices and strangers each have their own count."""
    return settings.keyed_hash("numbers" if not known else "numbers of known devices", number)


def end_wait(session: Session, settings: "Settings", number: str, *, known: bool, now: datetime) -> None:
    """Lets the next text be asked for at once, after a success. The day's count stays."""
    mine = update(SendAllowance).where(SendAllowance.number_hash == allowance_key(settings, number, known=known))
    session.execute(mine.values(streak=0, next_send_at=now))


def seconds(span: timedelta) -> int:
    """Whole seconds, rounded up, never below nought."""
    return max(0, -(-span // timedelta(seconds=1)))


def _limits(settings: "Settings", number: str, address: str, known: bool) -> list[Limit]:
    an_hour = settings.sends_per_hour if known else int(settings.sends_per_hour * FOR_STRANGERS)
    limits = [Limit("texts/hour", an_hour, HOUR), Limit("texts/day", an_hour * HOURS_A_DAY, DAY)]
    if not known:
        prefix = settings.keyed_hash("prefixes", number[:-4])
        place = settings.keyed_hash("addresses", address)
        limits += [
            Limit(f"texts/prefix/{prefix}", settings.sends_per_prefix_hour, HOUR),
            Limit(f"texts/address/h/{place}", settings.sends_per_address_hour, HOUR),
            Limit(f"texts/address/d/{place}", settings.sends_per_address_hour * ADDRESS_HOURS_A_DAY, DAY),
        ]
    return limits


def _take_of_number(session: Session, settings: "Settings", key: str, now: datetime) -> datetime:
    """Takes one of the number's texts of the day, in one statement."""
    waits = [now + min(settings.resend_wait * 2**n, LONGEST_WAIT) for n in range(12)]
    new_day = SendAllowance.day_began_at <= now - DAY
    taken: datetime | None = session.scalar(
        insert(session, SendAllowance)
        .values(number_hash=key, day_began_at=now, sends=1, streak=1, next_send_at=waits[0])
        .on_conflict_do_update(
            index_elements=[SendAllowance.number_hash],
            set_={
                "day_began_at": case((new_day, now), else_=SendAllowance.day_began_at),
                "sends": case((new_day, 1), else_=SendAllowance.sends + 1),
                "streak": case((new_day, 1), else_=SendAllowance.streak + 1),
                "next_send_at": case(
                    (new_day, waits[0]), *((SendAllowance.streak == n, at) for n, at in enumerate(waits)), else_=waits[-1]
                ),
            },
            where=and_(SendAllowance.next_send_at <= now, or_(new_day, SendAllowance.sends < settings.sends_per_number_day)),
        )
        .returning(SendAllowance.next_send_at)
    )
    if taken is not None:
        return taken
    allowance = session.get_one(SendAllowance, key)
    spent = allowance.sends >= settings.sends_per_number_day and allowance.day_began_at > now - DAY
    raise TooManyRequests(retry_after=seconds(max(allowance.next_send_at, allowance.day_began_at + DAY if spent else now) - now))
