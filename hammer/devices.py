"""Devices that signed in before. Each keeps a lane of its own for texts and guesses, which strangers cannot use up (OWASP device
cookies)."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from hammer import codes
from hammer.models import Device, User
from hammer.statements import add, row_of, run, value_of

if TYPE_CHECKING:
    from config import Settings

MOST_GUESSES: Final = 10
"""Wrong guesses in a row after which a device is a stranger again: a stolen token buys no more than these."""

_KNOWN: Final = (
    select(Device.id)
    .join(User, User.id == Device.user_id)
    .where(Device.id == bindparam("device"), Device.guesses < MOST_GUESSES, User.telephone_number == bindparam("number"))
)
_TAKEN: Final = (
    update(Device)
    .where(Device.id == bindparam("device"), Device.guesses < MOST_GUESSES)
    .values(guesses=Device.guesses + 1)
    .returning(Device.id)
)
_BACK: Final = (
    update(Device)
    .where(Device.id == bindparam("device"), Device.user_id == bindparam("user"))
    .values(guesses=0, used_at=bindparam("now"))
    .returning(Device)
)


def token(settings: "Settings", device: Device) -> str:
    """What the device shows at its next sign-in."""
    return codes.proof(settings.key("devices"), "device", device.id)


def known(session: Session, settings: "Settings", shown: str, number: str) -> str | None:
    """The id of the device that shows this token, if it is known for the user of this number; None for a stranger."""
    claim = codes.read_proof(settings.key("devices"), "device", shown)
    if claim is None:
        return None
    known_as: str | None = value_of(run(session, _KNOWN, device=claim[0], number=number))
    return known_as


def take(session: Session, device_id: str) -> bool:
    """Takes one of the device's guesses; False when it has none left, or is not known any more."""
    return bool(run(session, _TAKEN, device=device_id))


def welcome(session: Session, device_id: str | None, user: User, now: datetime) -> Device:
    """The device that just signed `user` in, with all its guesses again; a new one if it was a stranger."""
    if device_id is not None:
        device = row_of(Device, run(session, _BACK, device=device_id, user=user.id, now=now))
        if device is not None:
            return device
    return add(session, Device, id=codes.random_id(), user_id=user.id, guesses=0, known_since=now, used_at=now)
