"""The end of everybody's sessions that began before a moment."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import event, func, select
from time_machine import Traveller

from config import Settings
from hammer import clock as our_clock
from hammer import events
from hammer.db import database
from hammer.db.database import db, transaction
from hammer.models import Event, Session, SessionKind
from hammer.refusals import NotSignedIn
from hammer.sessions import cutoff, devices, sessions
from tests import apps
from tests.actions import ANNA, BORIS, CLARA, sign_in

pytestmark = pytest.mark.usefixtures("context")


def noted() -> list[str]:
    return sorted(
        str(user_id) for user_id in db.session.scalars(select(Event.user_id).where(Event.kind == events.Kind.SESSIONS_ENDED))
    )


def live() -> int:
    return db.session.scalars(select(func.count()).where(Session.ended_at.is_(None))).one()


def moment() -> datetime:
    return our_clock.now()


@pytest.mark.requirement("SES-01")
def test_sessions_that_began_before_the_moment_end_however_lately_they_were_refreshed(settings: Settings, clock: Traveller) -> None:
    old, older = sign_in(settings), sign_in(settings, BORIS, kind=SessionKind.BROWSER)
    clock.shift(timedelta(hours=1))
    before = moment()
    clock.shift(timedelta(hours=1))
    refreshed = sessions.refresh(settings, sessions.refresh_token(settings, old.session))
    new = sign_in(settings, CLARA)

    assert cutoff.count(before) == (2, 2)
    assert list(cutoff.end(before)) == [2]

    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, sessions.refresh_token(settings, refreshed))
    assert sessions.by_cookie(settings, sessions.cookie(settings, older.session)) is None
    assert sessions.caller(new.session.id, SessionKind.PROGRAM) is not None
    assert noted() == sorted([old.user.id, older.user.id])
    assert cutoff.count(before) == (0, 0)
    assert list(cutoff.end(before)) == []


def test_everything_ends_that_ends_with_a_session(settings: Settings) -> None:
    home = sign_in(settings, kind=SessionKind.BROWSER)
    apps.sign_in(settings, apps.add_app(), home.session)
    with transaction() as tx:
        opened = Session(**Session.opening(home.user, kind=SessionKind.ADMIN, device="", now=moment()), parent_id=home.session.id)
        tx.add(opened)
    assert list(cutoff.end(None)) == [3]
    assert apps.is_over(home.session)
    assert len(apps.notified()) == 1
    assert sessions.caller(opened.id, SessionKind.ADMIN) is None
    assert noted() == [home.user.id]


def test_a_session_whose_beginning_lies_ahead_ends_with_all(settings: Settings, clock: Traveller) -> None:
    clock.shift(timedelta(hours=3))
    sign_in(settings)
    clock.shift(timedelta(hours=-3))
    assert cutoff.count(moment())[0] == 0
    assert list(cutoff.end(None)) == [1]


def test_a_device_stays_known(settings: Settings) -> None:
    them = sign_in(settings)
    list(cutoff.end(None))
    assert devices.known(db.session(), settings, devices.token(settings, them.device), ANNA, moment()) == them.device.id


def test_sessions_end_in_bounded_transactions_and_a_killed_call_is_continued(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutoff, "MOST_AT_ONCE", 2)
    for number in (ANNA, BORIS, CLARA):
        sign_in(settings, number)
        sign_in(settings, number, kind=SessionKind.BROWSER)
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    begun = cutoff.end(None)
    assert [next(begun), live()] == [2, 4]
    begun.close()
    assert list(cutoff.end(None)) == [2, 2]
    begins = (database._BEGIN_ON_SQLITE, database._BEGIN_ON_POSTGRESQL)
    assert sum(statement in begins for statement in statements) == 3
    assert live() == 0
