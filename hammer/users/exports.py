"""What is stored about somebody, for themselves: `export` (GDPR Art. 15, 20). `docs/privacy.md` says what is left out, and why."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import or_, select

from config import FULL, MASKED, Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.invites import tombstones
from hammer.models import Counter, Device, Event, Message, Referral, SendAllowance, Session, User, Verification
from hammer.parsing import phones
from hammer.quotas import guesses, invite_attempts, texts
from hammer.users import people


def export(settings: Settings, user_id: str) -> dict[str, Any]:
    """All that is stored about the user, others' numbers masked (GDPR Art. 15(4)). `docs/privacy.md` says what is left out, and
    why. Refuses with `NotFound`."""
    settings = replace(settings, invitee_numbers=MASKED if settings.invitee_numbers == FULL else settings.invitee_numbers)
    me = people.profile(settings, user_id)
    with transaction() as tx:
        events.note(tx, events.Kind.DATA_EXPORTED, user_id)
    activated_at = db.session.scalar(select(Referral.activated_at).where(Referral.referee_id == user_id))
    invited = db.session.execute(
        select(User.telephone_number, Referral.activated_at)
        .join(User, User.id == Referral.referee_id)
        .where(Referral.referrer_id == user_id)
        .order_by(Referral.activated_at.desc())
    )
    return {
        "profile": asdict(me) | {"id": user_id},
        "activated_at": activated_at,
        "invitees": [
            {"telephone_number": phones.shown(number, settings.invitee_numbers), "activated_at": moment}
            for number, moment in invited
        ],
        "sessions": _exported(Session, Session.user_id == user_id, Session.created_at, but=("user_id",)),
        "devices": _exported(Device, Device.user_id == user_id, Device.known_since, but=("user_id",)),
        "verifications": _exported_verifications(user_id, me.telephone_number),
        "limits": _exported_limits(settings, user_id, me.telephone_number),
        "texts": _exported_allowances(settings, me.telephone_number),
        "left_before": tombstones.expires_at(db.session(), settings, me.telephone_number),
        "events": _exported_events(user_id),
    }


def _exported(table: Any, mine: Any, order: Any, *, but: Iterable[str] = ()) -> list[dict[str, Any]]:
    """My rows of a table, column by column."""
    columns = [column for column in table.__table__.columns if column.name not in but]
    return [dict(row) for row in db.session.execute(select(*columns).where(mine).order_by(order)).mappings()]


def _exported_verifications(user_id: str, number: str) -> list[dict[str, Any]]:
    mine = or_(Verification.telephone_number == number, Verification.user_id == user_id)
    asked = _exported(Verification, mine, Verification.created_at, but=("user_id",))
    about = Message.verification_id.in_([verification["id"] for verification in asked])
    sent: dict[str, list[dict[str, Any]]] = {}
    for text in _exported(Message, about, Message.id, but=("id", "telephone_number", "language")):
        sent.setdefault(text.pop("verification_id"), []).append(text)
    return [verification | {"texts": sent.get(verification["id"], [])} for verification in asked]


def _exported_limits(settings: Settings, user_id: str, number: str) -> list[dict[str, Any]]:
    """What was counted by their number and their account. The scopes end in a keyed hash or an id, which are told to nobody."""
    scopes = [guesses.scope(settings.number_hash(number)), *invite_attempts.scopes(settings, user_id, number)]
    mine = _exported(Counter, Counter.scope.in_(scopes), Counter.ends_at, but=("period",))
    return [counter | {"scope": counter["scope"].rpartition("/")[0]} for counter in mine]


def _exported_allowances(settings: Settings, number: str) -> list[dict[str, Any]]:
    """How many texts were asked for lately, by strangers' devices and by known ones."""
    keys = {texts.allowance_key(settings, number, known=known): known for known in (False, True)}
    mine = _exported(SendAllowance, SendAllowance.number_hash.in_(keys), SendAllowance.day_began_at)
    return [{"known_devices": keys[row.pop("number_hash")]} | row for row in mine]


def _exported_events(user_id: str) -> list[dict[str, Any]]:
    """Whom else they are about, or who else did it, is not told."""
    mine = or_(Event.user_id == user_id, Event.actor_id == user_id)
    return [
        {
            "at": event["at"],
            "kind": event["kind"],
            "about_me": event["user_id"] == user_id,
            "by_somebody_else": event["actor_id"] not in (None, user_id),
            "request_id": event["request_id"],
        }
        for event in _exported(Event, mine, Event.id)
    ]
