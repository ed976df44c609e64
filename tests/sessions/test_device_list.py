"""Which sessions are shown to a user, and in which order."""

from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db, transaction
from hammer.db.pagination import MOST_PER_PAGE
from hammer.db.prepared import insert_row
from hammer.models import SESSION_IDLE, Session, SessionKind
from hammer.sessions import sessions
from tests.actions import ANNA, BORIS, sign_in, user

pytestmark = pytest.mark.usefixtures("context")


def ids(user_id: str) -> list[str]:
    return [device.id for device in sessions.devices(user_id)]


def test_users_see_their_own_sessions_the_newest_first(settings: Settings, clock: Traveller) -> None:
    mine = []
    for _ in range(4):
        mine.append(sign_in(settings, ANNA))
        clock.shift(61)
        sign_in(settings, BORIS)
    assert ids(mine[0].user.id) == [one.session.id for one in reversed(mine)]


def test_the_newest_hundred_sessions_are_shown_and_those_of_one_moment_by_their_ids(settings: Settings, clock: Traveller) -> None:
    anna = user(settings, ANNA)
    now = time_of_day.now() + timedelta(seconds=1)  # after that of the sign-in, whose id is random
    for moment in range(3):
        for n in (5, 3, 4):
            opened = Session.opening(anna, kind=SessionKind.PROGRAM, device="", now=now + timedelta(seconds=moment), device_id=None)
            with transaction() as tx:
                insert_row(tx, Session, **opened | {"id": f"{moment}-{n}"})
    clock.shift(10)
    assert ids(anna.id)[:9] == [f"{moment}-{n}" for moment in (2, 1, 0) for n in (3, 4, 5)]
    for n in range(MOST_PER_PAGE):
        opened = Session.opening(anna, kind=SessionKind.PROGRAM, device="", now=now + timedelta(seconds=9), device_id=None)
        with transaction() as tx:
            insert_row(tx, Session, **opened | {"id": f"new-{n:03}"})
    assert ids(anna.id) == [f"new-{n:03}" for n in range(MOST_PER_PAGE)]


@pytest.mark.parametrize("kind", sessions.OF_PEOPLE)
def test_a_session_is_shown_until_it_is_idle_for_too_long(settings: Settings, clock: Traveller, kind: SessionKind) -> None:
    anna = sign_in(settings, ANNA, kind=kind)
    clock.shift(SESSION_IDLE[kind] - timedelta(microseconds=1))
    assert ids(anna.user.id) == [anna.session.id]
    clock.shift(timedelta(microseconds=1))
    assert ids(anna.user.id) == []


def test_a_session_is_shown_until_it_ends(settings: Settings, clock: Traveller) -> None:
    anna = sign_in(settings, ANNA)
    with transaction() as tx:
        tx.query(Session).update({Session.expires_at: time_of_day.now() + timedelta(microseconds=1)})
    assert ids(anna.user.id) == [anna.session.id]
    clock.shift(timedelta(microseconds=1))
    assert ids(anna.user.id) == []
    db.session.expire_all()
