"""Devices that signed in before. Each keeps a lane of its own for texts and guesses, which strangers cannot use up (OWASP device
cookies).

What a device shows is turned at each sign-in, and what was guessed on it counts for as long as it is known, no matter who guessed.
So a copied token buys `MOST_GUESSES` guesses at most, and nothing once its owner has signed in with the token again.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, delete, false, not_, or_, select, update

from config import Settings
from hammer import clock, codes
from hammer.db.database import Transaction, one_at_a_time
from hammer.db.prepared import insert_row, prepared
from hammer.models import Device, Session, User

MOST_GUESSES: Final = 10
"""Wrong guesses after which a device is a stranger, and its owner gets another at the next sign-in: they never come back."""
GRACE: Final = timedelta(seconds=30)
"""How long the token of before is still known after a sign-in: answers get lost, and another tab may have shown it just now."""

FIND_KNOWN: Final = prepared(
    select(Device.id)
    .join(User, User.id == Device.user_id)
    .where(
        Device.id == bindparam("device"),
        Device.guesses < MOST_GUESSES,
        User.telephone_number == bindparam("number"),
        or_(
            Device.turns == bindparam("turn"),
            and_(
                Device.turns == bindparam("next_turn"),
                Device.turned_at > bindparam("turned_since"),
                Device.turned_at <= bindparam("turned_until"),
            ),
        ),
    )
)
TAKE_GUESS: Final = prepared(
    update(Device)
    .where(Device.id == bindparam("device"), Device.guesses < MOST_GUESSES)
    .values(guesses=Device.guesses + 1)
    .returning(Device.id)
)
TURN_TOKEN: Final = prepared(
    update(Device)
    .where(Device.id == bindparam("device"), Device.user_id == bindparam("user"))
    .values(guesses=Device.guesses - 1, turns=Device.turns + 1, turned_at=bindparam("now"), used_at=bindparam("now"))
    .returning(Device)
)


def token(settings: Settings, device: Device) -> str:
    """What the device shows at its next sign-in."""
    return codes.proof(settings.key("devices"), "device", device.id, device.turns)


def known(tx: Transaction, settings: Settings, shown: str, number: str, now: datetime) -> str | None:
    """The id of the device that shows this token, if it is known for the user of this number; None for a stranger."""
    claim = codes.read_proof(settings.key("devices"), "device", shown)
    if claim is None:
        return None
    device_id, turn = claim
    turns = {"turn": turn, "next_turn": turn + 1, "turned_since": now - GRACE, "turned_until": now + clock.APART}
    return FIND_KNOWN.value(tx, device=device_id, number=number, **turns)


def may_guess(tx: Transaction, device_id: str) -> bool:
    """Whether the device is still known and has guesses left, so that a code which it asked for can be accepted."""
    return tx.scalar(select(Device.id).where(Device.id == device_id, Device.guesses < MOST_GUESSES)) is not None


def take(tx: Transaction, device_id: str) -> bool:
    """Takes one of the device's guesses; False when it has none left, or is not known any more."""
    return TAKE_GUESS.value(tx, device=device_id) is not None


def welcome(tx: Transaction, device_id: str | None, user: User, now: datetime) -> Device:
    """The device that just signed `user` in, with the guess that was right given back and another token; a new one if it was a
    stranger."""
    if device_id is not None:
        device = TURN_TOKEN.row(tx, Device, device=device_id, user=user.id, now=now)
        if device is not None:
            return device
    return insert_row(tx, Device, id=codes.random_id(), user_id=user.id, guesses=0, turns=0, known_since=now, used_at=now)


# All that forgets devices comes before what locks their user or their sessions: so does a login, and the other way round the two
# would wait for each other.


def forget(tx: Transaction, user_id: str, *which: ColumnElement[bool]) -> None:
    """The user's devices, or those of them that are meant by `which`, are strangers from now on, and codes that they asked for are
    void."""
    one_at_a_time(tx, f"devices/{user_id}")  # of two that end sessions, one may have new devices to forget when it holds sessions
    tx.execute(delete(Device).where(Device.user_id == user_id, *which))


def signed_in_by(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Means the devices on which these sessions were opened."""
    return Device.id.in_(select(Session.device_id).where(*which))


def all_but_that_of(tx: Transaction, session_id: str) -> ColumnElement[bool]:
    """Means all devices except the one on which this session was opened. That one too, if there was another sign-in on it since:
    then the token is in other hands, or in this user's other session."""
    opened = tx.execute(select(Session.device_id, Session.created_at).where(Session.id == session_id)).one_or_none()
    device_id, created_at = opened or (None, None)
    return not_(and_(Device.id == device_id, Device.used_at == created_at) if device_id else false())
