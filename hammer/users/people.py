"""Users as they and staff see them: `find` one by id, number or name, the `profile` of one, and `everyone`."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, bindparam, desc, func, literal, literal_column, not_, or_, select, tuple_, union_all
from sqlalchemy.orm import aliased

from config import Settings
from hammer import codes, events
from hammer.db.database import db
from hammer.db.pagination import MOST_PER_PAGE, Page, place, read_place
from hammer.db.prepared import Prepared, prepared
from hammer.invites import invite_codes
from hammer.models import Event, Referral, User
from hammer.parsing import phones
from hammer.parsing.characters import plain
from hammer.refusals import NotFound
from hammer.users import search

_BATCH: Final = 5000
"""Number of rows that are read at once where all users are read."""
_BY_ID: Final = 1000
"""The same where users are read by their ids."""


@dataclass(frozen=True)
class Profile:
    """A user as they and staff see them."""

    id: str
    """The `sub` of their tokens. It never changes."""
    username: str
    first_name: str
    last_name: str
    telephone_number: str
    invite_code: str
    invite_code_list: list[str]
    """Numbers of the newest 100 users who activated the code, shown as `HAMMER_INVITEE_NUMBERS` says."""
    activated_invite_code: str | None
    invite_count: int
    """Number of all users who activated the code, deleted users included."""
    date_joined: datetime
    metadata: dict[str, Any]
    """What the operator’s apps wrote."""
    is_staff: bool
    blocked_at: datetime | None


CHANGES: Final = (events.Kind.USER_RENAMED, events.Kind.NUMBER_CHANGED)
"""The kinds of events after which a profile is another one."""


def find(settings: Settings, name: str, *, actor_id: str | None = None) -> str:
    """The id of the user with this id, username or number. The number may be in any spelling, and may be one that is not in any
    numbering plan any more.

    The id of a user, also of a deleted one, never finds another user who took it as a username. Refuses with `NotFound`, and with
    `TooManyRequests` staff who search by too many numbers.
    """
    living = select(User.id, User.telephone_number).where(User.deleted_at.is_(None))
    if codes.is_id(name):
        with_id = db.session.execute(select(User.id, User.deleted_at).where(User.id == name)).first()
        if with_id is not None:
            if with_id.deleted_at is not None:
                raise NotFound
            return str(with_id.id)
    if re.fullmatch(r"[A-Za-z][\w.-]*", name, re.ASCII):
        found = db.session.execute(living.where(func.lower(User.username) == name.lower())).all()
    else:
        search.count_number(settings, name, actor_id)
        numbers = phones.meant(settings, name)  # the likeliest first
        found = list(db.session.execute(living.where(User.telephone_number.in_(numbers))).all()) if numbers else []
        found.sort(key=lambda user: numbers.index(user.telephone_number))
    if not found:
        raise NotFound
    return str(found[0].id)


def profile(settings: Settings, user_id: str) -> Profile:
    """One user's profile. Refuses with `NotFound`."""
    found = _profiles(settings, FIND_PROFILE.rows(db.session(), user=user_id))
    if not found:
        raise NotFound
    return found[0][1]


def everyone(
    settings: Settings, *, q: str = "", limit: int = MOST_PER_PAGE, after: str | None = None, by_part_of_number: bool = True
) -> Page[Profile]:
    """Users in the order in which they joined: all, or those whose number, name or username contains `q`, or whose invite code is
    `q`. Users whose whole number, username or invite code is `q` come first.

    Without `by_part_of_number` only a whole number is found: from parts, a caller who is shown masked numbers could put them
    together. `limit` is 1 to 100. Refuses a malformed `after` with `InvalidFields`.
    """
    begin = read_place(after) if after else None
    exact: list[tuple[datetime, str]] = []
    if q:
        meant = select(User.date_joined, User.id).where(User.deleted_at.is_(None), or_(*_is(settings, q)))
        exact = [(row.date_joined, row.id) for row in db.session.execute(meant.order_by(User.date_joined, User.id))]
    rest = exact
    if begin in exact:
        rest, begin = exact[exact.index(begin) + 1 :], None
    elif begin:
        rest = []
    rows = list(db.session.execute(_profiles_of(select(User.id).where(_with_id(rest)))) if rest else ())
    ids = _ids(limit + 1, begin)
    if q:
        ids = ids.where(or_(*_contains(q, by_part_of_number)), not_(_with_id(exact)))
    found = _profiles(settings, [*rows, *db.session.execute(_profiles_of(ids))][: limit + 1])
    last = found[limit - 1] if len(found) > limit else None
    return Page([p for _, p in found[:limit]], last and place(last[1].date_joined, last[0]))


def every_row() -> Iterator[Any]:
    """The columns of every user's profile, in the order in which they joined. Keeps one batch in memory."""
    after: tuple[datetime, str] | None = None
    while True:
        batch = db.session.execute(_profiles_of(_ids(_BATCH, after))).all()
        yield from batch
        if len(batch) < _BATCH:
            return
        after = batch[-1].date_joined, batch[-1].id


def rows(ids: Sequence[str]) -> Iterator[Any]:
    """The columns of these users' profiles, in the order of the ids, without deleted users. Keeps one batch in memory."""
    for start in range(0, len(ids), _BY_ID):
        batch = ids[start : start + _BY_ID]
        found = {row.id: row for row in db.session.execute(_profiles_of(select(User.id).where(User.id.in_(batch))))}
        yield from (found[user_id] for user_id in batch if user_id in found)


def _ids(limit: int, after: tuple[datetime, str] | None) -> Select[str]:
    """Selects the ids of the first users in the order in which they joined, or of the first after a place in that order."""
    ids = select(User.id).where(User.deleted_at.is_(None)).order_by(User.date_joined, User.id).limit(limit)
    if after is None:
        return ids
    moment, user_id = after
    return ids.where(tuple_(User.date_joined, User.id) > tuple_(literal(moment, User.date_joined.type), literal(user_id)))


def _is(settings: Settings, q: str) -> Iterator[ColumnElement[bool]]:
    """Conditions of which a user whose whole username, invite code or number is `q` fulfils one. Few users do: each is unique, and
    `q` is a number of few countries."""
    yield func.lower(User.username) == q.lower()
    code = invite_codes.read(q, settings.public_url)
    if code:
        yield User.invite_code == code
    yield User.telephone_number.in_(phones.meant(settings, q))


def _contains(q: str, by_part_of_number: bool) -> Iterator[ColumnElement[bool]]:
    """Conditions of which a user whose username, name or number contains `q` fulfils one."""
    yield User.username.icontains(q, autoescape=True)
    name = User.first_name + literal_column("' '") + User.last_name  # the same expression as in the index `ix_users_search`
    yield name.icontains(q, autoescape=True)
    digits = re.sub("[^0-9]", "", plain(q))
    if by_part_of_number and len(digits) >= 3:
        yield User.telephone_number.contains(digits)


def _with_id(places: Sequence[tuple[datetime, str]]) -> ColumnElement[bool]:
    return User.id.in_([user_id for _, user_id in places])


@dataclass(frozen=True)
class Unreadable:
    """A user whose number is in no numbering plan any more. They cannot log in: the old number is refused, and the number that
    replaced it has no user."""

    telephone_number: str
    date_joined: datetime


def unreadable(settings: Settings) -> Iterator[Unreadable | None]:
    """For each stored number in order: the user if the number cannot be read any more, else None. Keeps one batch in memory."""
    last = ""
    while True:
        numbers = select(User.telephone_number, User.date_joined).where(User.telephone_number > last)
        batch = db.session.execute(numbers.order_by(User.telephone_number).limit(_BATCH)).all()
        for number, joined in batch:
            yield None if phones.is_readable(settings, number or "") else Unreadable(number or "", joined)
        if len(batch) < _BATCH:
            return
        last = batch[-1].telephone_number


def sample_unreadable(settings: Settings, most: int) -> tuple[int, int]:
    """Checks up to `most` random numbers. Returns how many cannot be read any more, and how many were checked."""
    start = codes.random_id()
    numbers = select(User.telephone_number).where(User.telephone_number.is_not(None)).order_by(User.id).limit(most)
    found = db.session.scalars(numbers.where(User.id >= start)).all()
    if len(found) < most:
        found = [*found, *db.session.scalars(numbers.where(User.id < start).limit(most - len(found)))]
    return sum(not phones.is_readable(settings, number) for number in found if number), len(found)


def _profiles_of(ids: Any) -> Any:
    """Selects the columns of profiles, for the users that `ids` selects."""
    chosen = ids.subquery()
    referrer = aliased(User)
    return (
        select(*_SHOWN, referrer.invite_code.label("activated"))
        .join(chosen, chosen.c.id == User.id)
        .outerjoin(Referral, Referral.referee_id == User.id)
        .outerjoin(referrer, referrer.id == Referral.referrer_id)
        .where(User.deleted_at.is_(None))
        .order_by(User.date_joined, User.id)
    )


_SHOWN: Final = (
    User.id,
    User.username,
    User.first_name,
    User.last_name,
    User.telephone_number,
    User.invite_code,
    User.invite_count,
    User.date_joined,
    User.app_metadata,
    User.is_staff,
    User.blocked_at,
)
FIND_PROFILE: Final = prepared(_profiles_of(select(User.id).where(User.id == bindparam("user"))))


def _profiles(settings: Settings, rows: Sequence[Any]) -> list[tuple[str, Profile]]:
    """The ids and profiles of these rows. Executes one more statement, for the numbers of all invitees."""
    numbers = _newest_numbers(settings, [row.id for row in rows if row.invite_count])
    return [
        (
            row.id,
            Profile(
                id=row.id,
                username=row.username or "",
                first_name=row.first_name,
                last_name=row.last_name,
                telephone_number=row.telephone_number or "",
                invite_code=row.invite_code,
                invite_code_list=numbers.get(row.id, []),
                activated_invite_code=row.activated,
                invite_count=row.invite_count,
                date_joined=row.date_joined,
                metadata=json.loads(row.app_metadata) if row.app_metadata else {},
                is_staff=row.is_staff,
                blocked_at=row.blocked_at,
            ),
        )
        for row in rows
    ]


def _newest_numbers(settings: Settings, referrer_ids: Sequence[str]) -> dict[str, list[str]]:
    """The numbers of the newest 100 referees of each referrer."""
    numbers: dict[str, list[str]] = {}
    if referrer_ids:
        values = {f"referrer{n}": referrer_id for n, referrer_id in enumerate(referrer_ids)}
        for referrer_id, _, _, number in _select_newest(len(referrer_ids)).rows(db.session(), **values):
            shown = phones.shown(number, settings.invitee_numbers)
            numbers.setdefault(referrer_id, []).extend([shown] if shown else [])
    return numbers


@cache
def _select_newest(referrers: int) -> Prepared[str]:
    """A UNION of one SELECT per referrer: each reads the newest 100 referees from the index, not all of them."""
    of_each = [
        select(
            select(Referral.referrer_id, Referral.activated_at, Referral.referee_id, User.telephone_number)
            .join(User, User.id == Referral.referee_id)
            .where(Referral.referrer_id == bindparam(f"referrer{n}"))
            .order_by(Referral.activated_at.desc(), Referral.referee_id.desc())
            .limit(MOST_PER_PAGE)
            .subquery()
        )
        for n in range(referrers)
    ]
    return prepared(union_all(*of_each).order_by(desc("activated_at"), desc("referee_id")))


def changed_at(user_id: str) -> datetime:
    """When the user's names or number were last changed; since when they are here, if never. Refuses with `NotFound`."""
    last = select(func.max(Event.at)).where(Event.user_id == user_id, Event.kind.in_(CHANGES)).scalar_subquery()
    changed = db.session.scalar(select(func.coalesce(last, User.date_joined)).where(User.id == user_id))
    if changed is None:
        raise NotFound
    return changed
