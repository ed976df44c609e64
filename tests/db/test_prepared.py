"""Statements that stand ready give what SQLAlchemy itself would, and none stands ready that could say something else next time."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Executable, bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from config import Settings
from hammer import clock
from hammer.db.database import db, transaction
from hammer.db.prepared import insert_row, prepared
from hammer.models import Device, User
from tests.actions import ANNA, sign_in

pytestmark = pytest.mark.usefixtures("context")

BY_NUMBER = select(User).where(User.telephone_number == bindparam("number"))


class Crash(Exception):
    """The machine stops."""


def add_and_break_off(**device: Any) -> None:
    with transaction() as session:
        insert_row(session, Device, **device)
        raise Crash


def columns(user: User | None) -> dict[str, Any]:
    return {column.key: getattr(user, column.key) for column in User.__table__.columns}


def test_a_row_is_what_the_orm_reads(settings: Settings) -> None:
    sign_in(settings)

    ready = prepared(BY_NUMBER).row(db.session(), User, number=ANNA)

    assert columns(ready) == columns(db.session.scalars(BY_NUMBER, {"number": ANNA}).one())


def test_nobody_is_none_and_no_value(settings: Settings) -> None:
    statement, tx = prepared(BY_NUMBER), db.session()
    assert (statement.rows(tx, number=ANNA), statement.row(tx, User, number=ANNA), statement.value(tx, number=ANNA)) == (
        [],
        None,
        None,
    )


def test_what_is_added_is_there_and_gone_with_its_transaction(settings: Settings) -> None:
    user, now = sign_in(settings).user, clock.now()
    new = {"user_id": user.id, "guesses": 0, "known_since": now - timedelta(days=1), "used_at": now}
    with pytest.raises(Crash):
        add_and_break_off(id="forgotten", **new)
    with transaction() as session:
        made = insert_row(session, Device, id="kept", **new)
        assert made.known_since == new["known_since"]

    assert db.session.get(Device, "forgotten") is None
    kept = db.session.get(Device, "kept")
    assert kept is not None
    assert (kept.known_since, kept.used_at) == (new["known_since"], now)


def test_the_database_still_judges_what_is_unique(settings: Settings) -> None:
    user, now = sign_in(settings).user, clock.now()
    taken = {"id": "another", "telephone_number": user.telephone_number, "invite_code": "AAAAAA", "date_joined": now}
    with pytest.raises(IntegrityError, match="hidden"), transaction() as session:
        insert_row(session, User, **taken)


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (BY_NUMBER, {}),
        (select(User.id).where(User.id.in_(bindparam("ids", expanding=True))), {"ids": ["a", "b"]}),
        (select(User.id).where(User.id.in_(["a", "b"])), {}),
        (insert(Device).inline(), {"id": "a"}),
    ],
    ids=["a value is missing", "a list of any length", "a list of its own", "a default of ours"],
)
def test_no_statement_stands_ready_that_could_say_something_else(
    settings: Settings, statement: Executable, values: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"Without|Not the same SQL"):
        prepared(statement).execute(db.session(), **values)
