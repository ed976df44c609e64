"""Everything that happened to one person, newest first: events, codes, texts, sessions, referrals.

One statement reads a page: each source gives its newest rows, and the newest of all are taken.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    String,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import aliased

from hammer import clock
from hammer.db.database import db
from hammer.db.pagination import NO_PLACE, Page
from hammer.models import Client, Event, Message, Referral, Session, User, Verification
from hammer.parsing import phones
from hammer.refusals import InvalidFields

A_PAGE: Final = 50


class Kind(StrEnum):
    """The kinds of entries that are no events."""

    CODE_ASKED = "code-asked"
    """A code was asked for. `count` is how many wrong ones were entered until now; `detail` is the purpose."""
    CODE_ENTERED = "code-entered"
    CODE_EXPIRED = "code-expired"
    """The code was not entered in time."""
    TEXT = "text"
    """A text with a code. `detail` is its state, `count` how often it was handed to the gateways."""
    SESSION_OPENED = "session-opened"
    """`detail` is the kind of the session."""
    SESSION_OVER = "session-over"
    ACTIVATED = "activated"
    """The person activated the code of `other`."""
    INVITED = "invited"
    """`other` activated the person's code."""


@dataclass(frozen=True)
class Other:
    """Another person in an entry."""

    id: str
    name: str
    """Their first and last name, or their username; empty for none."""
    telephone_number: str | None
    """Masked; None for a deleted user."""


@dataclass(frozen=True)
class Entry:
    """Something that happened."""

    at: datetime
    kind: str
    """A `Kind`, or an `events.Kind`."""
    detail: str | None
    reason: str | None
    """Why staff did it, in their words."""
    by: Other | None
    """The other person who did it."""
    other: Other | None
    """The person to whom the person of the timeline did it, or the other side of a referral."""
    referrer: Other | None
    """Whose invite code an event is about."""
    client: str | None
    """The name of the client; its id, if it was removed."""
    device: str | None
    gateway: str | None
    count: int
    telephone_number: str | None
    """Masked: another number, to which a code was sent."""


def read(user_id: str, number: str | None, *, before: str | None = None, limit: int = A_PAGE) -> Page[Entry]:
    """The newest entries about the user with this number (None after their deletion), or the newest `before` a place.

    Refuses a malformed `before` with `InvalidFields`.
    """
    place = _read_place(before) if before else None
    arms = [_newest(arm, place, limit + 1) for arm in _arms(user_id, number, clock.now())]
    of_all = union_all(*arms).subquery()
    newest_first = of_all.c.at.desc(), of_all.c.rank, of_all.c.number.desc(), of_all.c.key.desc()
    page = select(of_all).order_by(*newest_first).limit(limit + 1).subquery()
    referrer = aliased(User)
    query = (
        select(page, User.telephone_number, User.first_name, User.last_name, User.username, Client.name.label("client"), referrer)
        .outerjoin(referrer, referrer.id == page.c.referrer)
        .outerjoin(User, User.id == page.c.person)
        .outerjoin(Client, Client.id == page.c.client_id)
        .order_by(page.c.at.desc(), page.c.rank, page.c.number.desc(), page.c.key.desc())
    )
    rows = db.session.execute(query).all()
    more = rows[limit - 1] if len(rows) > limit else None
    return Page([_entry(row, number) for row in rows[:limit]], None if more is None else _place(more))


def is_asked_by(user_id: str, number: str | None) -> ColumnElement[bool]:
    """A condition: codes for the user's number, and codes that the user asked for. They are few: the limits on texts bound how many
    there are in the time for which they are kept: a day at most."""
    theirs = Verification.user_id == user_id
    return theirs if number is None else or_(theirs, Verification.telephone_number == number)


def other(user_id: str, names: Any) -> Other:
    """Another person, by a row with the columns of their names and number."""
    name = " ".join(filter(None, (names.first_name, names.last_name))) or names.username or ""
    return Other(user_id, name, names.telephone_number and phones.last_four(names.telephone_number))


@dataclass(frozen=True)
class _Place:
    """Where a page begins: after this row."""

    at: datetime
    rank: int
    row: str


_NUMBERED: Final = (0, 1, 7)
"""The ranks of sources whose ids are numbers."""


@dataclass(frozen=True)
class _Arm:
    """One source of entries. Rows of the same moment are in the order of the sources."""

    rank: int
    at: Any
    id: Any
    values: dict[str, Any]
    where: tuple[ColumnElement[bool], ...]
    joined: tuple[Any, Any] | None = None


_COLUMNS: Final[dict[str, Any]] = {
    "kind": String,
    "detail": String,
    "reason": String,
    "person": String,
    "referrer": String,
    "client_id": String,
    "device": String,
    "gateway": String,
    "sent_to": String,
    "count": Integer,
    "by_person": Integer,
}


def _arms(user_id: str, number: str | None, now: datetime) -> Iterator[_Arm]:
    """The sources. Of rows of the same moment, what came of the others is first: a sign-in before its code."""
    of_event: dict[str, Any] = {"kind": Event.kind, "detail": Event.detail, "reason": Event.reason, "client_id": Event.client_id}
    of_event["referrer"] = Event.referrer_id
    about_them = of_event | {"person": Event.actor_id, "by_person": literal(1)}
    yield _Arm(0, Event.at, Event.id, about_them, (Event.user_id == user_id,))
    yield _Arm(1, Event.at, Event.id, of_event | {"person": Event.user_id}, (Event.actor_id == user_id,))

    activated = {"kind": literal(Kind.ACTIVATED), "person": Referral.referrer_id}
    yield _Arm(2, Referral.activated_at, Referral.referee_id, activated, (Referral.referee_id == user_id,))
    invited = {"kind": literal(Kind.INVITED), "person": Referral.referee_id}
    yield _Arm(3, Referral.activated_at, Referral.referee_id, invited, (Referral.referrer_id == user_id,))

    of_session: dict[str, Any] = {"client_id": Session.client_id, "device": Session.device, "detail": Session.kind}
    theirs = Session.user_id == user_id
    yield _Arm(4, Session.created_at, Session.id, of_session | {"kind": literal(Kind.SESSION_OPENED)}, (theirs,))
    over = of_session | {"kind": literal(Kind.SESSION_OVER)}
    yield _Arm(5, Session.ended_at, Session.id, over, (theirs, Session.ended_at.is_not(None)))

    asked = is_asked_by(user_id, number)
    sent_to: dict[str, Any] = {"sent_to": Verification.telephone_number}
    of_code = sent_to | {"client_id": Verification.client_id, "device": Verification.device}
    entered = Verification.consumed_at.is_not(None)
    ended_at = func.coalesce(Verification.consumed_at, Verification.expires_at)
    ended = case((entered, literal(Kind.CODE_ENTERED)), else_=literal(Kind.CODE_EXPIRED))
    yield _Arm(6, ended_at, Verification.id, of_code | {"kind": ended}, (asked, ended_at <= now))
    of_text: dict[str, Any] = {
        "kind": literal(Kind.TEXT),
        "detail": Message.state,
        "gateway": Message.gateway,
        "count": Message.tries,
    }
    text_at = func.coalesce(Message.ended_at, Message.created_at)
    with_code = Verification, Verification.id == Message.verification_id
    yield _Arm(7, text_at, Message.id, sent_to | of_text, (asked,), with_code)
    wrong = Verification.guesses - case((entered, 1), else_=0)
    asking = of_code | {"kind": literal(Kind.CODE_ASKED), "detail": Verification.purpose, "count": wrong}
    yield _Arm(8, Verification.created_at, Verification.id, asking, (asked,))


def _newest(arm: _Arm, place: _Place | None, most: int) -> Select[Any]:
    """Selects the newest rows of a source, or those before the place."""
    numbered = arm.rank in _NUMBERED
    columns = [
        arm.at.label("at"),
        literal(arm.rank).label("rank"),
        (arm.id if numbered else literal(0)).label("number"),
        (literal("") if numbered else arm.id).label("key"),
        *(cast(arm.values.get(name, null()), kind).label(name) for name, kind in _COLUMNS.items()),
    ]
    newest = select(*columns).where(*arm.where).order_by(arm.at.desc(), arm.id.desc()).limit(most)
    if arm.joined is not None:
        newest = newest.join(*arm.joined)
    if place is not None:
        newest = newest.where(_is_before(arm, place))
    return select(newest.subquery())


def _is_before(arm: _Arm, place: _Place) -> ColumnElement[bool]:
    moment = literal(place.at, Event.at.type)
    if arm.rank == place.rank:
        row = literal(int(place.row), BigInteger) if arm.rank in _NUMBERED else literal(place.row)
        return tuple_(arm.at, arm.id) < tuple_(moment, row)
    later: ColumnElement[bool] = arm.at <= moment if arm.rank > place.rank else arm.at < moment
    return later


def _place(row: Any) -> str:
    return f"{clock.microseconds(row.at)}.{row.rank}.{row.number if row.rank in _NUMBERED else row.key}"


def _read_place(before: str) -> _Place:
    """The inverse of `_place`. Refuses with `InvalidFields` what it did not make."""
    made = re.fullmatch(r"(\d{1,17})\.(?:([017])\.(\d{1,18})|([2-68])\.([\w-]{22}))", before, re.ASCII)
    if made is None:
        raise InvalidFields({"before": [NO_PLACE]})
    return _Place(clock.at(int(made[1])), int(made[2] or made[4]), made[3] or made[5])


def _entry(row: Any, number: str | None) -> Entry:
    person = other(row.person, row) if row.person else None
    return Entry(
        at=row.at,
        kind=row.kind,
        detail=row.detail,
        reason=row.reason,
        by=person if row.by_person else None,
        other=None if row.by_person else person,
        referrer=None if row[-1] is None else other(row[-1].id, row[-1]),
        client=row.client or row.client_id,
        device=row.device,
        gateway=row.gateway,
        count=row.count or 0,
        telephone_number=None if row.sent_to in (None, number) else phones.last_four(row.sent_to),
    )
