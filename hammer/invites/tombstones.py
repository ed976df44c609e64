"""Numbers that activated an invite code and then left: so that leaving and coming back does not buy a second activation."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, exists, select

from config import Settings
from hammer.db.database import Transaction, insert
from hammer.db.prepared import prepared
from hammer.models import Referral, Tombstone

LIFETIME: Final = timedelta(days=90)
"""No longer: a keyed hash of a number is still somebody's (GDPR Art. 4(5))."""

HAS_TOMBSTONE: Final = prepared(
    select(exists().where(Tombstone.number_hash == bindparam("number"), Tombstone.expires_at > bindparam("now")))
)


def lay(tx: Transaction, settings: Settings, user_id: str, number: str, now: datetime) -> None:
    """Marks `number`, which this user leaves, if they activated an invite code; a mark that is there is kept for longer."""
    if not tx.scalar(select(exists().where(Referral.referee_id == user_id))):
        return
    ends = {"expires_at": now + LIFETIME}
    mark = insert(tx, Tombstone).values(number_hash=settings.number_hash(number), **ends)
    tx.execute(mark.on_conflict_do_update(index_elements=[Tombstone.number_hash], set_=ends))


def lies(tx: Transaction, settings: Settings, number: str, now: datetime) -> bool:
    """Whether somebody who activated an invite code left this number lately."""
    return bool(HAS_TOMBSTONE.value(tx, number=settings.number_hash(number), now=now))


def ends_at(tx: Transaction, settings: Settings, number: str) -> datetime | None:
    """Until when the mark of this number counts; None where there is none."""
    return tx.scalar(select(Tombstone.expires_at).where(Tombstone.number_hash == settings.number_hash(number)))
