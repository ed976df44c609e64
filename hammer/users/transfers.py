"""All users at once: from a file of another system (`read`, `check`, `add`), and for a file of ours (`everyone`)."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select

from config import Settings
from hammer import clock, events
from hammer.db.database import db, transaction
from hammer.login import new_users
from hammer.models import User
from hammer.parsing import phones
from hammer.refusals import N_, InvalidFields, Refusal, RegionNotServed, TelephoneNumberTaken, UsernameTaken
from hammer.users import people
from hammer.users.metadata import read as read_metadata
from hammer.users.names import read as read_names

IMPORTED: Final = ("number", "username", "first_name", "last_name", "metadata", "joined_at", "blocked_at", "invite_code")
"""The columns that an import reads. Only `number` is required."""
EXPORTED: Final = ("id", *IMPORTED, "is_staff", "invite_count", "activated_invite_code")
"""The columns that an export writes. An import ignores those that it does not read."""
NOT_A_MOMENT = N_("This is not a time between 1970 and now, like 2026-11-23T09:30:00+00:00.")
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


def check(users: Sequence[NewUser]) -> list[Refusal | None]:
    """What `add` would return, as far as the users in the database decide it. Changes nothing."""
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


def add(users: Sequence[NewUser]) -> list[Refusal | None]:
    """Adds users in one transaction. For each returns None, or why this one was not added: `TelephoneNumberTaken`, `UsernameTaken`,
    `InvalidFields` for an invite code that is taken, `Unavailable`."""
    with transaction() as tx:
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
                events.note(tx, events.Kind.USER_CREATED, user.id)
            answers.append(user if isinstance(user, Refusal) else None)
    return answers


def everyone() -> Iterator[dict[str, Any]]:
    """Every user as a row of a file, in the order in which they joined. Keeps one batch in memory."""
    with transaction() as tx:
        events.note(tx, events.Kind.USERS_EXPORTED)
    for user in people.every_row():
        yield {
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
