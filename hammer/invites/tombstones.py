"""Numbers that activated an invite code and then left: so that leaving and coming back does not buy a second activation."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, exists, select
from sqlalchemy.orm import Session

from hammer.db.database import insert
from hammer.db.prepared import run, value_of
from hammer.models import Referral, Tombstone

if TYPE_CHECKING:
    from config import Settings

LIFETIME: Final = timedelta(days=90)
"""No longer: a keyed hash of a number is still somebody's (GDPR Art. 4(5))."""

_LIES: Final = select(exists().where(Tombstone.number_hash == bindparam("number"), Tombstone.expires_at > bindparam("now")))


def lay(session: Session, settings: "Settings", user_id: str, number: str, now: datetime) -> None:
    """Marks `number`, which this user leaves, if they activated an invite code; a mark that is there is kept for longer."""
    if not session.scalar(select(exists().where(Referral.referee_id == user_id))):
        return
    ends = {"expires_at": now + LIFETIME}
    mark = insert(session, Tombstone).values(number_hash=_hash(settings, number), **ends)
    session.execute(mark.on_conflict_do_update(index_elements=[Tombstone.number_hash], set_=ends))


def lies(session: Session, settings: "Settings", number: str, now: datetime) -> bool:
    """Whether somebody who activated an invite code left this number lately."""
    return bool(value_of(run(session, _LIES, number=_hash(settings, number), now=now)))


def ends_at(session: Session, settings: "Settings", number: str) -> datetime | None:
    """Until when the mark of this number counts; None where there is none."""
    return session.scalar(select(Tombstone.expires_at).where(Tombstone.number_hash == _hash(settings, number)))


def _hash(settings: "Settings", number: str) -> str:
    return settings.keyed_hash("numbers", number)
