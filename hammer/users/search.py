"""How staff find people: `person` finds the one who is meant, `people` lists those who have a beginning or last digits in common.

A page of the list costs the same however many people there are: it reads people in the order of one index, and the other conditions
choose among the first `SCANNED` of them. So a page may end before it is full, and says where the next one begins.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, collate, false, func, literal, literal_column, not_, or_, select, tuple_

from config import Settings
from hammer import clock, codes
from hammer.db.database import db, transaction
from hammer.db.pagination import Page
from hammer.invites import invite_codes
from hammer.models import Referral, User
from hammer.parsing import phones
from hammer.parsing.characters import plain
from hammer.quotas import staff_limits
from hammer.refusals import N_, InvalidFields

PER_PAGE: Final = 50
SCANNED: Final = 1000
"""Most people that a page reads in one order."""
SHORTEST: Final = 2
LONGEST: Final = 100
TOO_SHORT: Final = N_("Enter at least two letters.")
TOO_LONG: Final = N_("Enter the beginning of a name, 100 characters at most.")
PART_OF_NUMBER: Final = N_("Enter the whole number, or its last four digits alone.")
CHANGED: Final = N_("This list has changed meanwhile. Please begin at its first page.")
UNKNOWN_NUMBER: Final = N_("There is no person with this number.")

_LAST_CHARACTER: Final = chr(0x10FFFF)
"""It is in no name, and every other character comes before it."""
_SPACE: Final[ColumnElement[str]] = literal_column("' '")
_EMPTY: Final[ColumnElement[str]] = literal_column("''")
_THREE: Final[ColumnElement[int]] = literal_column("3")


class Only(StrEnum):
    """Whom the list shows."""

    EVERYONE = ""
    """Deleted people are left out."""
    STAFF = "staff"
    BLOCKED = "blocked"
    DELETED = "deleted"


@dataclass(frozen=True)
class Filters:
    only: Only = Only.EVERYONE
    joined_from: date | None = None
    """This day and later, in UTC."""
    joined_to: date | None = None
    """This day and earlier, in UTC."""
    invited_by: str | None = None
    """The id of the user whose code they activated."""


@dataclass(frozen=True)
class Person:
    """A user in a list for staff."""

    id: str
    number: str
    """Masked but for the country code and the last four digits; empty for a deleted user."""
    name: str
    username: str
    invite_code: str
    invite_count: int
    date_joined: datetime
    is_staff: bool
    is_blocked: bool
    is_deleted: bool


def person(settings: Settings, typed: str, *, actor_id: str | None = None) -> str | None:
    """The id of the user whose id, invite code or number this is; None if it is of no user. A deleted user is found by id and by
    invite code. The code may be in a link, and the number in any spelling.

    Refuses with `TooManyRequests` staff who search by too many numbers.
    """
    typed = typed.replace("\0", "").strip()
    if codes.is_id(typed) and db.session.scalar(select(User.id).where(User.id == typed)):
        return typed
    code = invite_codes.read(typed, settings.public_url)
    with_code = code and db.session.scalar(select(User.id).where(User.invite_code == code))
    if with_code:
        return str(with_code)
    count_number(settings, typed, actor_id)
    numbers = phones.meant(settings, typed)  # the likeliest first
    found = dict(db.session.execute(select(User.telephone_number, User.id).where(User.telephone_number.in_(numbers))).all())
    return next((found[number] for number in numbers if number in found), None)


def count_number(settings: Settings, typed: str, actor_id: str | None) -> None:
    """Counts a search of staff by a whole number. Other searches, and those without an actor, are not counted.

    Refuses with `TooManyRequests`.
    """
    digits = re.sub("[^0-9]", "", plain(typed))
    if actor_id and len(digits) > 4 and phones.meant(settings, typed):
        with transaction() as tx:
            staff_limits.take(tx, staff_limits.SEARCHES, actor_id, clock.now())


def with_ids(ids: Sequence[str]) -> list[Person]:
    """The users with these ids, in the order of the ids. Those of no user are left out."""
    rows = db.session.execute(select(*_SHOWN).where(User.id.in_([each for each in ids if codes.is_id(each)])))
    found = {row.id: _person(row) for row in rows}
    return [found[each] for each in ids if each in found]


def text(settings: Settings, typed: str) -> str:
    """What the list is searched by: the last four digits of a number, or the beginning of a name or username.

    Refuses with `InvalidFields` other digits: from parts of numbers, staff could put a masked number together.
    """
    written = plain(typed).rpartition("·")[2]  # the end of a masked number
    digits = re.sub("[^0-9]", "", written)
    if digits and not any(character.isalpha() for character in written):
        if len(digits) == 4 and "+" not in written:
            return digits
        whole = any(phones.is_readable(settings, number) for number in phones.meant(settings, typed))
        raise InvalidFields({"q": [UNKNOWN_NUMBER if whole else PART_OF_NUMBER]})
    name = " ".join(unicodedata.normalize("NFC", typed[: LONGEST + 1]).replace("\0", "").removeprefix("@").split())
    if not SHORTEST <= len(name) <= LONGEST:
        raise InvalidFields({"q": [TOO_SHORT if len(name) < SHORTEST else TOO_LONG]})
    return name


def people(
    found_by: str = "",
    filters: Filters = Filters(),  # frozen
    after: str | None = None,
    limit: int = PER_PAGE,
) -> Page[Person]:
    """A page of the people who fulfil the filters: the newest first, or found by a `text`, those with a name in its order.

    Refuses with `InvalidFields` a malformed `after`, and one whose user is in this list no more.
    """
    ways = list(_ways(found_by, filters))
    first, user_id = _read_place(after, len(ways))
    start = _keys_of(ways[first], user_id) if user_id else _BEGINNING
    found: list[Person] = []
    for number, way in enumerate(ways[first:], first):
        rows, end = _page(way, filters, start, limit - len(found))
        found += map(_person, rows)
        if end is not None:
            return Page(found, f"{number}.{end[-1] if end else ''}")
        start = _BEGINNING
    return Page(found, None)


def ids(found_by: str = "", filters: Filters = Filters()) -> Iterator[str]:  # frozen
    """The ids of all people in that list, in its order. Reads `SCANNED` people at a time."""
    for way in _ways(found_by, filters):
        start: _Keys | None = _BEGINNING
        while start is not None:
            rows, start = _page(way, filters, start, SCANNED)
            yield from (row.id for row in rows)


_Keys = tuple[Any, ...]
"""A place in a way: what its person has in the columns of its order."""
_BEGINNING: Final[_Keys] = ()


class _Way(NamedTuple):
    """An order of people in which an index has them, and from where to where."""

    people: Select[Any]
    """Selects them with the columns of `_SHOWN` and those by which they are in order, of which the last is the id."""
    order: tuple[Any, ...]
    places: Select[Any]
    """Selects those after whom a page can begin."""
    newest_first: bool = True
    but_not: Callable[[Any], ColumnElement[bool]] = lambda _: false()
    """The condition, on the columns of a user, for those whom an earlier way has."""


_SHOWN: Final[tuple[Any, ...]] = (
    User.id,
    User.telephone_number,
    User.first_name,
    User.last_name,
    User.username,
    User.invite_code,
    User.invite_count,
    User.date_joined,
    User.is_staff,
    User.blocked_at,
    User.deleted_at,
)


def _ways(found_by: str, filters: Filters) -> Iterator[_Way]:
    everyone: Select[Any] = select(*_SHOWN)
    joined = (User.date_joined, User.id)
    if re.fullmatch("[0-9]{4}", found_by):
        last = func.substr(User.telephone_number, func.length(User.telephone_number) - _THREE)
        yield _Way(everyone.where(last == found_by, *_when(User, filters)), joined, everyone)
    elif found_by:
        for n, (name, begins) in enumerate(_names(User, found_by)):
            those = everyone.where(begins)
            yield _Way(those, (name, *joined), those, newest_first=False, but_not=partial(_earlier, n, found_by))
    elif filters.invited_by:
        invited = everyone.join(Referral, Referral.referee_id == User.id).where(Referral.referrer_id == filters.invited_by)
        yield _Way(invited, (Referral.activated_at, Referral.referee_id), invited)
    else:
        yield _Way(everyone.where(_only(User, filters.only), *_when(User, filters)), joined, everyone)


def _names(user: Any, found_by: str) -> list[tuple[ColumnElement[str], ColumnElement[bool]]]:
    """Each name of the user that has an index of the migration 0017, and the condition that it begins so."""
    names = [(_folded(first + _SPACE + last), first != _EMPTY) for first, last in _both_orders(user)]
    found = [(name, and_(is_there, _begins(name, spelling))) for spelling in _spellings(found_by) for name, is_there in names]
    if found_by.isascii():
        username = _by_bytes(func.lower(user.username))
        found.insert(0, (username, and_(user.username.is_not(None), _begins(username, found_by.lower()))))
    return found


def _both_orders(user: Any) -> list[tuple[ColumnElement[str], ColumnElement[str]]]:
    return [(user.first_name, user.last_name), (user.last_name, user.first_name)]


def _spellings(found_by: str) -> list[str]:
    """How names are written that begin so: on SQLite, whose own `lower` knows ASCII alone, in small letters, with capitals, in
    capitals, or as typed."""
    if not _on_sqlite():
        return [found_by.lower()]
    return list(dict.fromkeys((found_by.title(), found_by, found_by.lower(), found_by.upper())))


def _folded(name: ColumnElement[str]) -> ColumnElement[str]:
    return name if _on_sqlite() else _by_bytes(func.lower(name))


def _begins(name: ColumnElement[str], spelling: str) -> ColumnElement[bool]:
    return and_(name >= spelling, name < spelling + _LAST_CHARACTER)


def _earlier(n: int, found_by: str, user: Any) -> ColumnElement[bool]:
    """The condition that one of the user's first `n` names begins so."""
    return or_(false(), *(func.coalesce(begins, false()) for _, begins in _names(user, found_by)[:n]))


def _by_bytes(text: ColumnElement[str]) -> ColumnElement[str]:
    """The text, compared byte by byte as on SQLite. In the order of a language, those with one beginning may be far apart."""
    return text if _on_sqlite() else collate(text, "C")


def _on_sqlite() -> bool:
    return db.engine.dialect.name == "sqlite"


def _only(user: Any, only: Only) -> ColumnElement[bool]:
    if only == Only.DELETED:
        return user.deleted_at.is_not(None)  # type: ignore[no-any-return]
    which = {Only.STAFF: [user.is_staff], Only.BLOCKED: [user.blocked_at.is_not(None)]}
    return and_(user.deleted_at.is_(None), *which.get(only, []))


def _when(user: Any, filters: Filters) -> Iterator[ColumnElement[bool]]:
    if filters.joined_from:
        yield user.date_joined >= datetime.combine(filters.joined_from, time.min, UTC)
    if filters.joined_to and filters.joined_to < date.max:
        yield user.date_joined < datetime.combine(filters.joined_to + timedelta(days=1), time.min, UTC)


def _page(way: _Way, filters: Filters, start: _Keys, most: int) -> tuple[Sequence[Any], _Keys | None]:
    """Up to this many people after the start, and the place after which the next page begins; None at the end of the way."""
    keys = [key.label(f"key{n}") for n, key in enumerate(way.order)]
    ordered = way.people.add_columns(*keys).order_by(*(key.desc() if way.newest_first else key for key in way.order))
    if start:
        ordered = ordered.where(_beyond(way, start))
    read = ordered.limit(SCANNED).subquery()
    chosen = select(read).where(not_(way.but_not(read.c)), _only(read.c, filters.only), *_when(read.c, filters))
    if filters.invited_by:
        # A value, not EXISTS, for which PostgreSQL would read all that a famous person invited.
        inviter = select(Referral.referrer_id).where(Referral.referee_id == read.c.id).scalar_subquery()
        chosen = chosen.where(inviter == filters.invited_by)
    order = [read.c[key.name].desc() if way.newest_first else read.c[key.name] for key in keys]
    rows = db.session.execute(chosen.order_by(*order).limit(most + 1)).all()
    if len(rows) > most:
        return rows[:most], tuple(rows[most - 1][-len(keys) :]) if most else start
    end = db.session.execute(ordered.with_only_columns(*way.order).offset(SCANNED - 1).limit(1)).first()
    return rows, end and tuple(end)


def _beyond(way: _Way, place: _Keys) -> ColumnElement[bool]:
    """The condition for the people after this place."""
    values = tuple_(*(literal(value, key.type) for value, key in zip(place, way.order, strict=True)))
    return tuple_(*way.order) < values if way.newest_first else tuple_(*way.order) > values


def _keys_of(way: _Way, user_id: str) -> _Keys:
    """The place of this person. Names are not part of an address, so they are looked up here."""
    place = db.session.execute(way.places.with_only_columns(*way.order).where(User.id == user_id)).first()
    if place is None:
        raise InvalidFields({"after": [CHANGED]})
    return tuple(place)


def _read_place(after: str | None, ways: int) -> tuple[int, str]:
    """The number of a way and the id of a user, or empty for the beginning of the way."""
    if not after:
        return 0, ""
    place = re.fullmatch(r"([0-9])\.([\w-]{22})?", after, re.ASCII)
    if place is None or int(place[1]) >= ways:
        raise InvalidFields({"after": [CHANGED]})
    return int(place[1]), place[2] or ""


def _person(row: Any) -> Person:
    return Person(
        id=row.id,
        number=phones.last_four(row.telephone_number or ""),
        name=f"{row.first_name} {row.last_name}".strip(),
        username=row.username or "",
        invite_code=row.invite_code,
        invite_count=row.invite_count,
        date_joined=row.date_joined,
        is_staff=row.is_staff,
        is_blocked=row.blocked_at is not None,
        is_deleted=row.deleted_at is not None,
    )
