"""Devices that signed in before. Each keeps a lane of its own for texts and guesses, which strangers cannot use up (OWASP device
cookies)."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from hammer import codes
from hammer.models import Device, User

if TYPE_CHECKING:
    from config import Settings

MOST_GUESSES: Final = 10
"""Wrong guesses in a row after which a device is a stranger again: a stolen token buys no more than these."""


def token(settings: "Settings", device: Device) -> str:
    """What the device shows at its next sign-in."""
    return codes.proof(settings.key("devices"), "device", device.id)


def known(session: Session, settings: "Settings", shown: str, number: str) -> str | None:
    """The id of the device that shows this token, if it is known for the user of this number; None for a stranger."""
    claim = codes.read_proof(settings.key("devices"), "device", shown)
    if claim is None:
        return None
    return session.scalar(
        select(Device.id)
        .join(User, User.id == Device.user_id)
        .where(Device.id == claim[0], Device.guesses < MOST_GUESSES, User.telephone_number == number)
    )


def take(session: Session, device_id: str) -> bool:
    """Takes one of the device's guesses; False when it has none left, or is not known any more."""
    device = update(Device).where(Device.id == device_id, Device.guesses < MOST_GUESSES)
    return session.scalar(device.values(guesses=Device.guesses + 1).returning(Device.id)) is not None


def welcome(session: Session, device_id: str | None, user: User, now: datetime) -> Device:
    """The device that just signed `user` in, with all its guesses again; a new one if it was a stranger."""
    if device_id is not None:
        back = update(Device).where(Device.id == device_id, Device.user_id == user.id).values(guesses=0, used_at=now)
        device: Device | None = session.scalar(back.returning(Device))
        if device is not None:
            return device
    new = Device(id=codes.random_id(), user_id=user.id, guesses=0, known_since=now, used_at=now)
    session.add(new)
    return new
