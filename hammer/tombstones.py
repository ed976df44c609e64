"""Numbers that activated an invite code and then left: so that leaving and coming back does not buy a second activation."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from hammer.database import insert
from hammer.models import Referral, Tombstone

if TYPE_CHECKING:
    from config import Settings

LIFETIME: Final = timedelta(days=90)
"""No longer: a keyed hash of a number is still somebody's (GDPR Art. 4(5))."""


def lay(session: Session, settings: "Settings", user_id: str, number: str, now: datetime) -> None:
    """Marks `number`, which this user leaves, if they activated an invite code; a mark that is there is kept for longer."""
    if not session.scalar(select(exists().where(Referral.referee_id == user_id))):
        return
    ends = {"expires_at": now + LIFETIME}
    mark = insert(session, Tombstone).values(number_hash=_hash(settings, number), **ends)
    session.execute(mark.on_conflict_do_update(index_elements=[Tombstone.number_hash], set_=ends))


def lies(session: Session, settings: "Settings", number: str, now: datetime) -> bool:
    """Whether somebody who activated an invite code left this number lately."""
    mark = exists().where(Tombstone.number_hash == _hash(settings, number), Tombstone.expires_at > now)
    return bool(session.scalar(select(mark)))


def _hash(settings: "Settings", number: str) -> str:
    return settings.keyed_hash("numbers", number)
