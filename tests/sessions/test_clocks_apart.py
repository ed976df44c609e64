"""Sessions written by a server whose clock differs: by the most that is allowed, and by a microsecond more."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db
from hammer.models import SESSION_LIFETIME, Session, SessionKind
from hammer.refusals import NotSignedIn
from hammer.sessions import sessions
from tests.actions import sign_in

pytestmark = pytest.mark.usefixtures("context")

ALLOWED = time_of_day.APART
MORE = time_of_day.APART + timedelta(microseconds=1)


@pytest.fixture
def clock() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


def stored(session: Session) -> Session:
    db.session.expire_all()
    return db.session.get_one(Session, session.id)


def test_a_session_that_began_as_far_ahead_as_is_allowed_keeps_its_times(settings: Settings, clock: Traveller) -> None:
    clock.shift(ALLOWED)
    opened = sign_in(settings, kind=SessionKind.BROWSER).session
    times = opened.created_at, opened.refreshed_at, opened.expires_at
    clock.shift(timedelta(hours=5))
    sessions.caller(opened.id, SessionKind.BROWSER)  # stores when it was used
    clock.shift(-timedelta(hours=5) - ALLOWED)
    assert sessions.caller(opened.id, SessionKind.BROWSER)
    kept = stored(opened)
    assert (kept.created_at, kept.refreshed_at, kept.expires_at) == times
    assert kept.seen_at == time_of_day.now()


def test_a_session_that_began_further_ahead_begins_an_hour_ago_and_ends_as_if_it_began_now(
    settings: Settings, clock: Traveller
) -> None:
    clock.shift(MORE)
    opened = sign_in(settings, kind=SessionKind.BROWSER).session
    clock.shift(-MORE)
    assert sessions.caller(opened.id, SessionKind.BROWSER)
    kept, now = stored(opened), time_of_day.now()
    assert (kept.created_at, kept.refreshed_at) == (now - timedelta(hours=1), now - timedelta(hours=1))
    assert kept.expires_at == now + SESSION_LIFETIME[SessionKind.BROWSER]


def test_a_refresh_corrects_the_times_of_a_session_that_began_further_ahead(settings: Settings, clock: Traveller) -> None:
    clock.shift(MORE)
    opened = sign_in(settings).session
    shown = sessions.refresh_token(settings, opened)
    clock.shift(-MORE)
    sessions.refresh(settings, shown)
    kept, now = stored(opened), time_of_day.now()
    assert (kept.created_at, kept.refreshed_at, kept.seen_at) == (now - timedelta(hours=1), now, now)
    assert kept.expires_at == now + SESSION_LIFETIME[SessionKind.PROGRAM]


def test_a_lost_answer_is_given_again_by_a_server_whose_clock_is_as_far_behind_as_is_allowed(
    settings: Settings, clock: Traveller
) -> None:
    opened = sign_in(settings).session
    shown = sessions.refresh_token(settings, opened)
    clock.shift(ALLOWED)
    sessions.refresh(settings, shown)
    clock.shift(-ALLOWED)
    assert sessions.refresh(settings, shown).id == opened.id
    clock.shift(-timedelta(microseconds=1))
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, shown)


def test_a_lost_answer_is_given_again_for_as_long_as_its_time_says(settings: Settings, clock: Traveller) -> None:
    opened = sign_in(settings).session
    shown = sessions.refresh_token(settings, opened)
    sessions.refresh(settings, shown)
    clock.shift(sessions.GRACE - timedelta(microseconds=1))
    assert sessions.refresh(settings, shown).id == opened.id
    clock.shift(timedelta(microseconds=1))
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, shown)
