"""One person as staff see them: who it is, what limits apply now, sessions, texts, and whom they invited."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal, select, union_all
from sqlalchemy.orm import aliased

from config import Settings
from hammer import clock, codes
from hammer.db.database import db
from hammer.models import Client, Device, Message, Referral, Session, SessionKind, User, Verification
from hammer.parsing import phones
from hammer.quotas import guesses, invite_attempts, texts
from hammer.refusals import NotFound
from hammer.sessions import devices
from hammer.sessions.sessions import is_live
from hammer.sms import outbox
from hammer.users import timeline
from hammer.users.timeline import Other

MOST_CHILDREN: Final = 50
"""How many of the newest referees of one person the tree shows."""
MOST_BELOW: Final = 30
"""How many people the second level of the tree has, all branches together. The rows are limited, not only the levels: three levels
under one famous person can be thousands of people."""
MOST_SESSIONS: Final = 10
MOST_TEXTS: Final = 10


@dataclass(frozen=True)
class Person:
    """A user, also a deleted one."""

    id: str
    telephone_number: str | None
    """None for a deleted user."""
    username: str
    first_name: str
    last_name: str
    invite_code: str
    invite_count: int
    activated_invite_code: str | None
    invited_by: Other | None
    activated_at: datetime | None
    date_joined: datetime
    is_staff: bool
    blocked_at: datetime | None
    deleted_at: datetime | None
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """What the person can still do now."""

    invites_left: int
    invites_again_at: datetime | None
    """When they can try an invite code again, if they cannot now."""
    texts: dict[bool, texts.OfNumber]
    """For unknown devices (False) and known ones (True)."""
    guesses: guesses.OfNumber


@dataclass(frozen=True)
class OpenSession:
    """A session that is not over."""

    id: str
    kind: str
    device: str
    client: str | None
    """The name of the client; its id, if it was removed."""
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class Referee:
    """Someone who activated an invite code, and those below them in the tree."""

    person: Other
    activated_at: datetime
    invite_count: int
    below: list["Referee"] = field(default_factory=list)

    @property
    def more(self) -> int:
        """How many of their referees are not shown."""
        return max(0, self.invite_count - len(self.below))


def person(user_id: str) -> Person:
    """The user with this id, also a deleted one. Refuses with `NotFound`."""
    if not codes.is_id(user_id):
        raise NotFound
    referrer = aliased(User)
    query = (
        select(User, referrer, Referral.activated_at)
        .outerjoin(Referral, Referral.referee_id == User.id)
        .outerjoin(referrer, referrer.id == Referral.referrer_id)
        .where(User.id == user_id)
    )
    found = db.session.execute(query).one_or_none()
    if found is None:
        raise NotFound
    user, activated_at = found[0], found.activated_at
    inviter: User | None = found[1]
    return Person(
        id=user.id,
        telephone_number=user.telephone_number,
        username=user.username or "",
        first_name=user.first_name,
        last_name=user.last_name,
        invite_code=user.invite_code,
        invite_count=user.invite_count,
        activated_invite_code=None if inviter is None else inviter.invite_code,
        invited_by=None if inviter is None else timeline.other(inviter.id, inviter),
        activated_at=activated_at,
        date_joined=user.date_joined,
        is_staff=user.is_staff,
        blocked_at=user.blocked_at,
        deleted_at=user.deleted_at,
        metadata=json.loads(user.app_metadata) if user.app_metadata else {},
    )


def limits(settings: Settings, user_id: str, number: str) -> Limits:
    """The limits of the account and of its number. Those of addresses and of the whole system are not looked at."""
    tx, now = db.session(), clock.now()
    left, again_at = invite_attempts.left(tx, settings, user_id, number, now)
    wrong = guesses.of_number(tx, settings, settings.number_hashes(number), now)
    return Limits(left, again_at, texts.of_number(tx, settings, number, now), wrong)


def sessions(user_id: str) -> tuple[list[OpenSession], bool]:
    """The user's newest sessions of all kinds that are not over, and whether there are more of them."""
    shown = (Session.id, Session.kind, Session.device, func.coalesce(Client.name, Session.client_id))
    query = (
        select(*shown, Session.created_at, Session.seen_at)
        .outerjoin(Client, Client.id == Session.client_id)
        .where(Session.user_id == user_id, is_live(clock.now(), *SessionKind))
        .order_by(Session.created_at.desc(), Session.id)
        .limit(MOST_SESSIONS + 1)
    )
    found = [OpenSession(*row) for row in db.session.execute(query)]
    return found[:MOST_SESSIONS], len(found) > MOST_SESSIONS


def known_devices(user_id: str) -> int:
    """How many devices have guesses of their own."""
    known = select(func.count()).where(Device.user_id == user_id, Device.guesses < devices.MOST_GUESSES)
    return db.session.scalar(known) or 0


def latest_texts(settings: Settings, user_id: str, number: str | None) -> list[outbox.MessageStatus]:
    """The newest texts with codes to the user's number, and to numbers that they want to change to, of those that are kept."""
    return _texts(settings, timeline.is_asked_by(user_id, number), number)


def texts_without_person(settings: Settings, typed: str) -> list[outbox.MessageStatus]:
    """The newest texts with codes to a number that was typed and has no user: of somebody who never entered one."""
    numbers = phones.meant(settings, typed)
    return _texts(settings, Verification.telephone_number.in_(numbers), numbers[0]) if numbers else []


def _texts(settings: Settings, which: ColumnElement[bool], number: str | None) -> list[outbox.MessageStatus]:
    """The newest texts of these verifications. Their number is left out if it is this one, and masked if it is another."""
    query = (
        select(Message, Verification)
        .join(Verification, Verification.id == Message.verification_id)
        .where(which)
        .order_by(Message.id.desc())
        .limit(MOST_TEXTS)
    )
    found = []
    for message, verification in db.session.execute(query):
        other = None if verification.telephone_number == number else phones.last_four(verification.telephone_number)
        found.append(replace(outbox.status_of(settings, message, verification), telephone_number=other))
    return found


def referees(user_id: str, share: float = 1) -> list[Referee]:
    """The newest people who activated the user's code, each with the newest who activated theirs. `share` is the part of
    `MOST_CHILDREN` and `MOST_BELOW` that is wanted."""
    most_children, free = int(MOST_CHILDREN * share), int(MOST_BELOW * share)
    children = [_referee(row) for row in db.session.execute(_newest_referees(user_id, most_children))]
    branches = {}
    for child in children:
        if most := min(child.invite_count, MOST_CHILDREN, free):
            branches[child.person.id] = child, most
            free -= most
    if branches:
        arms = [select(_newest_referees(branch_id, most).subquery()) for branch_id, (_, most) in branches.items()]
        for row in db.session.execute(union_all(*arms)):
            branches[row.above][0].below.append(_referee(row))
    for child, _ in branches.values():
        child.below.sort(key=lambda one: one.activated_at, reverse=True)
    return children


def _newest_referees(referrer_id: str, most: int) -> Select[*tuple[Any, ...]]:
    names = (User.first_name, User.last_name, User.username, User.telephone_number)
    return (
        select(literal(referrer_id).label("above"), User.id, *names, User.invite_count, Referral.activated_at)
        .join(Referral, Referral.referee_id == User.id)
        .where(Referral.referrer_id == referrer_id)
        .order_by(Referral.activated_at.desc(), Referral.referee_id.desc())
        .limit(most)
    )


def _referee(row: Any) -> Referee:
    return Referee(timeline.other(row.id, row), row.activated_at, row.invite_count)
