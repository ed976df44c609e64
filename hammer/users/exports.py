"""Data exports: what is stored about a user, for that user (GDPR Art. 15, 20). docs/privacy.md says what is left out and why."""

from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select

from config import FULL, MASKED, Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.factors import staff
from hammer.invites import tombstones
from hammer.models import (
    Consent,
    Counter,
    Device,
    Event,
    Message,
    Passkey,
    Referral,
    SecondFactor,
    SendAllowance,
    Session,
    User,
    Verification,
)
from hammer.parsing import phones
from hammer.quotas import guesses, invite_attempts, staff_limits, texts
from hammer.users import people


def export(settings: Settings, user_id: str) -> dict[str, Any]:
    """Everything stored about the user. Numbers of other users are masked, or hidden where the settings show none (Art. 15(4)).

    Refuses with `NotFound`.
    """
    settings = replace(settings, invitee_numbers=MASKED if settings.invitee_numbers == FULL else settings.invitee_numbers)
    me = people.profile(settings, user_id)
    number = me.telephone_number
    with transaction() as tx:
        events.note(tx, events.Kind.DATA_EXPORTED, user_id)
    return {
        "profile": asdict(me),
        "activated_at": _activated_at(user_id),
        "activation_closed": db.session.scalar(select(User.activation_closed).where(User.id == user_id)),
        "invitees": _invitees(settings, user_id),
        "sessions": _rows(Session, Session.user_id == user_id, Session.created_at, without=["user_id"]),
        "consents": _rows(Consent, Consent.user_id == user_id, Consent.given_at, without=["user_id"]),
        "second_factors": _rows(SecondFactor, SecondFactor.user_id == user_id, SecondFactor.user_id, without=["user_id"]),
        "passkeys": _rows(Passkey, Passkey.user_id == user_id, Passkey.created_at, without=["user_id", "public_key"]),
        "devices": _rows(Device, Device.user_id == user_id, Device.known_since, without=["user_id"]),
        "verifications": _verifications(user_id, number),
        "limits": _limits(settings, user_id, number),
        "texts": _allowances(settings, number),
        "left_before": tombstones.expires_at(db.session(), settings, number),
        "events": _events(user_id),
    }


def _rows(table: Any, mine: Any, order: Any, *, without: Iterable[str] = ()) -> list[dict[str, Any]]:
    """The user's rows of a table: every column but those in `without`, so that a new column is exported unless it is excluded."""
    columns = [column for column in table.__table__.columns if column.name not in without]
    return [dict(row) for row in db.session.execute(select(*columns).where(mine).order_by(order)).mappings()]


def _activated_at(user_id: str) -> datetime | None:
    """When the user activated an invite code. The code itself is in the profile."""
    return db.session.scalar(select(Referral.activated_at).where(Referral.referee_id == user_id))


def _invitees(settings: Settings, user_id: str) -> list[dict[str, Any]]:
    """All users who activated the user's code, newest first, deleted users included; their number is None."""
    invited = db.session.execute(
        select(User.telephone_number, Referral.activated_at)
        .join(User, User.id == Referral.referee_id)
        .where(Referral.referrer_id == user_id)
        .order_by(Referral.activated_at.desc())
    )
    return [
        {"telephone_number": phones.shown(number, settings.invitee_numbers), "activated_at": moment} for number, moment in invited
    ]


def _verifications(user_id: str, number: str) -> list[dict[str, Any]]:
    """Verifications of the user's number, and those that the user asked for, each with its messages."""
    mine = or_(Verification.telephone_number == number, Verification.user_id == user_id)
    verifications = _rows(Verification, mine, Verification.created_at, without=["user_id"])
    theirs = Message.verification_id.in_([verification["id"] for verification in verifications])
    messages: dict[str, list[dict[str, Any]]] = {}
    for message in _rows(Message, theirs, Message.id, without=["id", "telephone_number", "language", "traceparent"]):
        messages.setdefault(message.pop("verification_id"), []).append(message)
    return [verification | {"texts": messages.get(verification["id"], [])} for verification in verifications]


def _limits(settings: Settings, user_id: str, number: str) -> list[dict[str, Any]]:
    """What was counted for the user's number and account. The end of a scope, a keyed hash or an id, is left out."""
    scopes = [*map(guesses.scope, settings.number_hashes(number)), staff.scope(user_id), *staff_limits.scopes(user_id)]
    scopes += invite_attempts.scopes(settings, user_id, number)
    mine = _rows(Counter, Counter.scope.in_(scopes), Counter.ends_at, without=["period", "part", "made_for"])
    return [counter | {"scope": counter["scope"].rpartition("/")[0]} for counter in mine]


def _allowances(settings: Settings, number: str) -> list[dict[str, Any]]:
    """How many messages unknown devices and known devices asked for."""
    keys = {key: known for known in (False, True) for key in texts.allowance_keys(settings, number, known=known)}
    mine = _rows(SendAllowance, SendAllowance.number_hash.in_(keys), SendAllowance.day_began_at)
    return [{"known_devices": keys[row.pop("number_hash")]} | row for row in mine]


def _events(user_id: str) -> list[dict[str, Any]]:
    """Events about the user, and events that the user caused for others. Other users are not named."""
    mine = or_(Event.user_id == user_id, Event.actor_id == user_id)
    return [
        {
            "at": event["at"],
            "kind": event["kind"],
            "about_me": event["user_id"] == user_id,
            "by_somebody_else": event["actor_id"] not in (None, user_id),
            "client_id": event["client_id"],
            "request_id": event["request_id"],
            "detail": event["detail"],
            "reason": event["reason"],
        }
        for event in _rows(Event, mine, Event.id)
    ]
