"""Tombstones: numbers whose user activated an invite code and then left, so that a new account cannot activate a second one.

The same for users whose referral staff detached, without the permission to activate another code (`User.activation_closed`).
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, exists, func, or_, select

from config import Settings
from hammer.db.database import Transaction, insert
from hammer.db.prepared import prepared
from hammer.models import Referral, Tombstone, User

LIFETIME: Final = timedelta(days=90)
"""How long a tombstone is kept. Not longer: a keyed hash of a number is still personal data (GDPR Art. 4(5))."""

HAS_TOMBSTONE: Final = prepared(
    select(
        or_(
            exists().where(Tombstone.number_hash == bindparam("hash"), Tombstone.expires_at > bindparam("now")),
            exists().where(User.telephone_number == bindparam("number"), User.activation_closed),
        )
    )
)


def mark(tx: Transaction, settings: Settings, user_id: str, number: str, now: datetime) -> None:
    """Marks `number`, which this user is leaving, if they activated an invite code. An existing tombstone is extended."""
    activated = exists().where(Referral.referee_id == user_id), exists().where(User.id == user_id, User.activation_closed)
    if not tx.scalar(select(or_(*activated))):
        return
    ends = {"expires_at": now + LIFETIME}
    tombstone = insert(tx, Tombstone).values(number_hash=settings.number_hash(number), **ends)
    tx.execute(tombstone.on_conflict_do_update(index_elements=[Tombstone.number_hash], set_=ends))


def is_marked(tx: Transaction, settings: Settings, number: str, now: datetime) -> bool:
    """Whether a user who activated an invite code left this number during the last `LIFETIME`, or its user may activate no more."""
    return any(HAS_TOMBSTONE.value(tx, hash=each, number=number, now=now) for each in settings.number_hashes(number))


def expires_at(tx: Transaction, settings: Settings, number: str) -> datetime | None:
    """The end of the number's tombstone; None when there is no tombstone."""
    return tx.scalar(select(func.max(Tombstone.expires_at)).where(Tombstone.number_hash.in_(settings.number_hashes(number))))
