"""Known devices: those that signed in before. Each has its own limits on texts and guesses, which strangers cannot use up
(OWASP device cookies).

The token of a device changes at each sign-in. Wrong guesses with any of its tokens count for as long as the device is known. So a
copied token is good for `MOST_GUESSES` guesses at most, and for none after its owner's next sign-in.
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
"""Wrong guesses after which a device is not known any more. They are never given back; the next sign-in makes a new device."""
GRACE: Final = timedelta(seconds=30)
"""How long the previous token is still valid after a sign-in: answers get lost, and another tab may have just sent it."""

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
    .values(
        guesses=Device.guesses - 1,
        turns=Device.turns + 1,
        turned_at=bindparam("now"),
        client_id=bindparam("client"),
        used_at=bindparam("now"),
    )
    .returning(Device)
)


def token(settings: Settings, device: Device) -> str:
    """The token of the device for its next sign-in."""
    return codes.proof(settings.key("devices"), "device", device.id, device.turns)


def known(tx: Transaction, settings: Settings, shown: str, number: str, now: datetime) -> str | None:
    """The id of the device with this token, if it is known for the user of this number; None for a stranger."""
    claim = codes.read_proof(settings.keys("devices"), "device", shown)
    if claim is None:
        return None
    device_id, turn = claim
    turns = {"turn": turn, "next_turn": turn + 1, "turned_since": now - GRACE, "turned_until": now + clock.APART}
    return FIND_KNOWN.value(tx, device=device_id, number=number, **turns)


def may_guess(tx: Transaction, device_id: str) -> bool:
    """Whether the device is still known and has guesses left, so that the codes that it asked for are valid."""
    return tx.scalar(select(Device.id).where(Device.id == device_id, Device.guesses < MOST_GUESSES)) is not None


def take(tx: Transaction, device_id: str) -> bool:
    """Takes one of the device's guesses; False if it has none left or is not known any more."""
    return TAKE_GUESS.value(tx, device=device_id) is not None


def signed_in(
    tx: Transaction, device_id: str | None, user: User, now: datetime, *, client_id: str | None = None, trusted: bool = True
) -> Device:
    """The device on which `user` just signed in, through this client if any, with its next token, and with the right guess given
    back.

    A stranger becomes a new known device; unless it is `trusted`, one without guesses, which stays a stranger.
    """
    if device_id is not None:
        device = TURN_TOKEN.row(tx, Device, device=device_id, user=user.id, client=client_id, now=now)
        if device is not None:
            return device
    spent = 0 if trusted else MOST_GUESSES
    opened = {"guesses": spent, "turns": 0, "client_id": client_id, "known_since": now, "used_at": now}
    return insert_row(tx, Device, id=codes.random_id(), user_id=user.id, **opened)


# Devices are forgotten after their client is locked (`clients.registry`), and before their user or their sessions are. A login
# locks in the same order, or the two would wait for each other.


def forget(tx: Transaction, user_id: str, *which: ColumnElement[bool]) -> None:
    """Makes the user's devices, or those that match `which`, strangers. The codes that they asked for are void."""
    # Of two transactions that end sessions, one may find new devices to forget after it has locked sessions.
    one_at_a_time(tx, f"devices/{user_id}")
    _delete(tx, Device.user_id == user_id, *which)


def forget_of_client(tx: Transaction, client_id: str) -> None:
    """Makes the devices of a client whose row is locked strangers: it may have kept their tokens."""
    _delete(tx, Device.client_id == client_id)


def _delete(tx: Transaction, *which: ColumnElement[bool]) -> None:
    # In the order of their ids, so that no two transactions wait for each other.
    these = select(Device.id).where(*which).order_by(Device.id).with_for_update()
    tx.execute(delete(Device).where(Device.id.in_(these)))


def signed_in_by(*which: ColumnElement[bool]) -> ColumnElement[bool]:
    """A condition: the devices on which these sessions were opened."""
    return Device.id.in_(select(Session.device_id).where(*which))


def all_but_that_of(tx: Transaction, session_id: str) -> ColumnElement[bool]:
    """A condition: all devices except the one on which this session was opened.

    If there was a later sign-in on that device, it is not excepted: the later session, which may be a thief's, has its token now.
    """
    opened = tx.execute(select(Session.device_id, Session.created_at).where(Session.id == session_id)).one_or_none()
    device_id, created_at = opened or (None, None)
    return not_(and_(Device.id == device_id, Device.used_at == created_at) if device_id else false())
