"""Many users at once: from a file of another system (`outcomes` of its lines), and for a file of ours (`everyone`, `chosen`)."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from sqlalchemy import func, select

from config import Settings
from hammer import clock, events
from hammer.acting import acting
from hammer.db.database import db, transaction
from hammer.login import new_users
from hammer.models import User
from hammer.parsing import phones
from hammer.quotas import staff_limits
from hammer.refusals import N_, InvalidFields, Refusal, RegionNotServed, TelephoneNumberTaken, UsernameTaken
from hammer.users import people, search
from hammer.users.files import Fault, Line, Seen
from hammer.users.metadata import read as read_metadata
from hammer.users.names import read as read_names

MOST_EXPORTED: Final = 100_000
"""Most users that staff export at once."""
NOT_A_MOMENT = N_("This is not a time between 1970 and now, like 2026-11-23T09:30:00+00:00.")
SAME: Final = N_("Line %(line)d has the same.")
NOT_AN_INVITE_CODE = N_("An invite code has six letters from A to Z or digits.")


@dataclass(frozen=True)
class NewUser:
    """A user in a file, checked."""

    telephone_number: str
    names: Mapping[str, str | None]
    app_metadata: str | None
    date_joined: datetime | None
    """None for the moment of the import."""
    blocked_at: datetime | None
    invite_code: str | None
    """None for a random one."""


Judge = Callable[[Sequence[NewUser]], list[Refusal | None]]
"""`check` or `add`."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a line of a file."""

    line: Line
    number: str
    """The number of the user, empty if it cannot be read."""
    faults: Mapping[str, Fault]
    """Column -> why the user is not added; the whole line is the column ``."""
    is_there: bool
    """Whether the number has a user already, who stays as they are."""

    @property
    def is_good(self) -> bool:
        return not self.faults and not self.is_there


def outcomes(settings: Settings, lines: Sequence[Line], seen: Seen, judge: Judge) -> list[Outcome]:
    """What becomes of these lines. `seen` holds what must not be twice in their file."""
    users = [_user(settings, line, seen) for line in lines]
    answers = iter(judge([user for user, faults in users if user and not faults]))
    return [
        _outcome(line, user, faults, next(answers) if user and not faults else None)
        for line, (user, faults) in zip(lines, users, strict=True)
    ]


def _outcome(line: Line, user: NewUser | None, faults: Mapping[str, Fault], answer: Refusal | None) -> Outcome:
    is_there = isinstance(answer, TelephoneNumberTaken)
    if answer is not None and not is_there:
        faults = _faults(answer)
    return Outcome(line, user.telephone_number if user else "", faults, is_there)


def _user(settings: Settings, line: Line, seen: Seen) -> tuple[NewUser | None, Mapping[str, Fault]]:
    """The user of a line if its columns can be read, and what is wrong with them."""
    if "" in line.faults:
        return None, line.faults
    try:
        user = read(settings, line.row)
    except InvalidFields as no:
        return None, {**_faults(no), **line.faults}
    if line.faults:
        return None, line.faults
    once = {"number": user.telephone_number, "username": (user.names["username"] or "").lower(), "invite_code": user.invite_code}
    firsts = {name: seen.first(name, value, line.number) for name, value in once.items() if value}
    return user, {name: Fault(SAME, {"line": first}) for name, first in firsts.items() if first != line.number}


def _faults(refusal: Refusal) -> Mapping[str, Fault]:
    """Column -> what is wrong with it."""
    if isinstance(refusal, InvalidFields):
        return {name: Fault(sentence) for name, sentences in refusal.errors.items() for sentence in sentences}
    return {"username" if isinstance(refusal, UsernameTaken) else "": Fault(refusal.sentence)}


def read(settings: Settings, row: Mapping[str, Any]) -> NewUser:
    """The user in a row of a file. All columns are strings, but `metadata` is an object; a column may be missing.

    Refuses with `InvalidFields`, which names every bad column.
    """
    errors: dict[str, Sequence[str]] = {}
    number, names, metadata = "", {}, None
    with _gathered(errors, "number"):
        number = phones.read(settings, row.get("number", ""))
    with _gathered(errors):
        names = read_names({name: row.get(name, "") for name in ("username", "first_name", "last_name")})
    with _gathered(errors):
        metadata = read_metadata(row.get("metadata", {}))
    joined, blocked = _moment(errors, row, "joined_at"), _moment(errors, row, "blocked_at")
    invite_code = row.get("invite_code", "").strip().upper()
    if invite_code and not re.fullmatch("[A-Z0-9]{6}", invite_code):
        errors["invite_code"] = [NOT_AN_INVITE_CODE]
    if errors:
        raise InvalidFields(errors)
    return NewUser(number, names, metadata, joined, blocked, invite_code or None)


def check(users: Sequence[NewUser], *, actor_id: str | None = None) -> list[Refusal | None]:
    """What `add` would return, as far as the users in the database decide it. Adds nobody.

    Staff leave an event: they learn which numbers have a user. Refuses with `TooManyRequests` those who check too many files, and
    with `NotAllowed` an actor who is staff no more.
    """
    if actor_id:
        with acting(actor_id) as tx:
            staff_limits.take(tx, staff_limits.CHECKS, actor_id, clock.now())
            events.note(tx, events.Kind.IMPORT_CHECKED, actor_id=actor_id, detail=str(len(users)))
    numbers = _taken(User.telephone_number, [user.telephone_number for user in users])
    usernames = _taken(func.lower(User.username), [(user.names["username"] or "").lower() for user in users])
    invite_codes = _taken(User.invite_code, [user.invite_code for user in users])
    return [
        TelephoneNumberTaken()
        if user.telephone_number in numbers
        else UsernameTaken()
        if (user.names["username"] or "").lower() in usernames
        else new_users.invite_code_taken()
        if user.invite_code in invite_codes
        else None
        for user in users
    ]


def add(users: Sequence[NewUser], *, actor_id: str | None = None) -> list[Refusal | None]:
    """Adds users in one transaction. For each returns None, or why this one was not added: `TelephoneNumberTaken`, `UsernameTaken`,
    `InvalidFields` for an invite code that is taken, `Unavailable`.

    Staff leave an event about all of them too, also about nobody. Refuses with `TooManyRequests` those who add too many, and with
    `NotAllowed` an actor who is staff no more.
    """
    with acting(actor_id) as tx:
        if actor_id:
            staff_limits.take(tx, staff_limits.IMPORTS, actor_id, clock.now())
        answers: list[Refusal | None] = []
        for new in users:
            user = new_users.insert(
                tx,
                new.telephone_number,
                new.date_joined or clock.now(),
                invite_code=new.invite_code,
                app_metadata=new.app_metadata,
                blocked_at=new.blocked_at,
                **new.names,
            )
            if isinstance(user, User):
                events.note(tx, events.Kind.USER_CREATED, user.id, actor_id=actor_id)
            answers.append(user if isinstance(user, Refusal) else None)
        if actor_id:
            events.note(tx, events.Kind.USERS_IMPORTED, actor_id=actor_id, detail=str(answers.count(None)))
    return answers


def everyone() -> Iterator[dict[str, Any]]:
    """Every user as a row of a file, in the order in which they joined. Keeps one batch in memory."""
    with transaction() as tx:
        events.note(tx, events.Kind.USERS_EXPORTED)
    yield from map(_row, people.every_row())


def choose(found_by: str, filters: search.Filters, *, actor_id: str, most: int = MOST_EXPORTED) -> tuple[list[str], bool]:
    """The ids of the first users in the list of `search.people`, whom staff may export now (`chosen`), and whether it has more.

    Refuses with `NotAllowed` an actor who is staff no more.
    """
    ids = list(islice(search.ids(found_by, filters), most + 1))
    more = len(ids) > most
    del ids[most:]
    with acting(actor_id) as tx:
        events.note(tx, events.Kind.USERS_EXPORTED, actor_id=actor_id, detail=str(len(ids)))
    return ids, more


def chosen(ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """These users as rows of a file, in this order, without those who are deleted by then. Keeps one batch in memory."""
    return map(_row, people.rows(ids))


def _row(user: Any) -> dict[str, Any]:
    """A user as a row of a file."""
    return {
        "id": user.id,
        "number": user.telephone_number,
        "username": user.username or "",
        "first_name": user.first_name,
        "last_name": user.last_name,
        "metadata": json.loads(user.app_metadata) if user.app_metadata else {},
        "joined_at": user.date_joined.isoformat(),
        "blocked_at": user.blocked_at and user.blocked_at.isoformat(),
        "invite_code": user.invite_code,
        "is_staff": user.is_staff,
        "invite_count": user.invite_count,
        "activated_invite_code": user.activated,
    }


@contextmanager
def _gathered(errors: dict[str, Sequence[str]], column: str = "") -> Iterator[None]:
    """Adds the refusal of the block to `errors`, as that of `column` if it is given."""
    try:
        yield
    except InvalidFields as no:
        errors |= {column or field: sentences for field, sentences in no.errors.items()}
    except RegionNotServed as no:
        errors[column] = [no.sentence]


def _moment(errors: dict[str, Sequence[str]], row: Mapping[str, Any], column: str) -> datetime | None:
    """A moment in ISO 8601, in UTC if it has no zone; None for an empty column."""
    written = row.get(column, "").strip()
    if not written:
        return None
    try:
        moment = datetime.fromisoformat(written)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or not clock.EPOCH <= moment <= clock.now() + clock.APART:
        errors[column] = [NOT_A_MOMENT]
    return moment


def _taken(column: Any, values: Sequence[str | None]) -> set[str]:
    """Those of the values that a user has in this column."""
    return set(db.session.scalars(select(column).where(column.in_([value for value in values if value]))))
