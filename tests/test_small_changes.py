"""Rules whose small changes no other test would notice: what `make mutants` has found."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select, update
from time_machine import Traveller

from config import Settings
from hammer import clock, events
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import SESSION_IDLE, Event, SessionKind, User
from hammer.quotas import idempotency, texts
from hammer.refusals import NotFound, NotSignedIn, TooManyRequests, WrongCode
from hammer.sessions import devices, sessions
from tests.actions import ANNA, BORIS, HOME, ask, confirm, number, sign_in, wrong

pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def patient(settings: Settings) -> Settings:
    return replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)


@pytest.fixture
def standing() -> Iterator[Traveller]:
    """A clock that stands at noon."""
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as one:
        yield one


def at(settings: Settings, them: SignedIn) -> Asker:
    return Asker(HOME.address, "en", devices.token(settings, them.device))


def test_a_code_of_a_device_without_guesses_is_not_sent_again_though_others_have_some(patient: Settings) -> None:
    spent, other = sign_in(patient, ANNA), sign_in(patient, BORIS)
    last, others = ask(patient, ANNA, asker=at(patient, spent)), ask(patient, BORIS, asker=at(patient, other))
    for n in range(devices.MOST_GUESSES):
        if n % patient.guesses_per_code == 0:
            asked = ask(patient, ANNA, asker=at(patient, spent))
        by_code.resend_code(patient, last.id, HOME)  # while it has guesses
        with pytest.raises(WrongCode):
            confirm(patient, asked, wrong(patient, asked))
    with pytest.raises(NotFound):
        by_code.resend_code(patient, last.id, HOME)
    by_code.resend_code(patient, others.id, HOME)


def test_the_texts_of_the_system_are_told_against_all_that_there_are(settings: Settings) -> None:
    """And not against the part that strangers may use."""
    few = replace(settings, sends_per_hour=10)
    now = clock.now()
    assert texts.system_used(db.session(), few, now) == {"hour": (0, 10), "day": (0, 100)}
    for n in range(3):
        ask(few, number(n))
    assert texts.system_used(db.session(), few, now) == {"hour": (3, 10), "day": (3, 100)}


def test_strangers_may_use_seven_tenths_of_the_systems_texts(settings: Settings) -> None:
    few = replace(settings, sends_per_hour=10)
    them = sign_in(few, ANNA)
    for n in range(6):
        ask(few, number(n + 10))
    with pytest.raises(TooManyRequests):
        ask(few, number(30))
    at_home, patient = at(few, them), replace(few, resend_wait=timedelta(0))
    for _ in range(3):
        ask(patient, ANNA, asker=at_home)
    with pytest.raises(TooManyRequests):
        ask(patient, ANNA, asker=at_home)


@pytest.mark.parametrize("kind", [SessionKind.BROWSER, SessionKind.PROGRAM])
def test_a_session_that_was_used_while_the_clock_was_ahead_lives_no_longer(
    settings: Settings, standing: Traveller, kind: SessionKind
) -> None:
    them = sign_in(settings, ANNA, kind=kind).session
    kept = them.created_at, them.refreshed_at, them.expires_at
    standing.shift(timedelta(hours=7))
    sessions.caller(them.id, kind)
    standing.shift(timedelta(hours=-5))
    assert sessions.caller(them.id, kind)
    [seen] = sessions.devices(them.user_id)
    assert (seen.created_at, seen.refreshed_at, seen.expires_at) == kept
    assert seen.seen_at == clock.now()


def kinds() -> list[str]:
    return list(db.session.scalars(select(Event.kind).order_by(Event.id)))


def is_known(settings: Settings, them: SignedIn) -> bool:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)
    return ask(patient, ANNA, asker=at(settings, them)).device_id is not None


def test_signing_out_ends_this_session_alone_and_is_noted(settings: Settings) -> None:
    first, second = sign_in(settings), sign_in(settings)
    sessions.sign_out(first.user.id, first.session.id)
    assert [device.id for device in sessions.devices(first.user.id)] == [second.session.id]
    assert kinds()[-1] == events.Kind.SESSION_ENDED
    assert is_known(settings, first)


def test_a_session_that_is_over_by_itself_is_not_signed_out(settings: Settings, standing: Traveller) -> None:
    them = sign_in(settings)
    standing.shift(SESSION_IDLE[SessionKind.PROGRAM])
    with pytest.raises(NotFound):
        sessions.sign_out(them.user.id, them.session.id)
    assert kinds()[-1] == events.Kind.SIGNED_UP


def test_a_stolen_session_takes_its_own_device_along_and_no_other(settings: Settings, standing: Traveller) -> None:
    stolen, other = sign_in(settings), sign_in(settings)
    spent = sessions.refresh_token(settings, stolen.session)
    sessions.refresh(settings, spent)
    standing.shift(sessions.GRACE)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, spent)
    assert [device.id for device in sessions.devices(stolen.user.id)] == [other.session.id]
    assert (is_known(settings, stolen), is_known(settings, other)) == (False, True)


@pytest.mark.parametrize("column", [User.blocked_at, User.deleted_at], ids=["blocked", "deleted"])
def test_a_session_whose_user_is_gone_opens_nothing_though_it_was_not_ended(settings: Settings, column: Any) -> None:
    """Nor does it while others are there. What ends sessions comes a moment later than what shuts their user out."""
    sign_in(settings, BORIS)
    program, browser = sign_in(settings, ANNA), sign_in(settings, ANNA, kind=SessionKind.BROWSER)
    with transaction() as tx:
        tx.execute(update(User).where(User.id == program.user.id).values({column: clock.now()}))
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, sessions.refresh_token(settings, program.session))
    assert sessions.by_cookie(settings, sessions.cookie(settings, browser.session)) is None
    assert sessions.caller(program.session.id, SessionKind.PROGRAM) is None


def test_a_refresh_that_is_repeated_gets_its_own_session_and_no_other(settings: Settings) -> None:
    others, mine = sign_in(settings, BORIS), sign_in(settings, ANNA)
    sessions.refresh(settings, sessions.refresh_token(settings, others.session))
    shown = sessions.refresh_token(settings, mine.session)
    key = idempotency.make_key(settings, "key", call="refresh", body=shown)
    assert {sessions.refresh(settings, shown, key=key).id for _ in range(3)} == {mine.session.id}
    sessions.sign_out(mine.user.id, mine.session.id)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, shown, key=key)


def test_a_lost_answer_is_given_again_for_its_own_session_and_no_other(settings: Settings) -> None:
    others, mine = sign_in(settings, BORIS), sign_in(settings, ANNA)
    shown = sessions.refresh_token(settings, mine.session)
    for token in (sessions.refresh_token(settings, others.session), shown):
        sessions.refresh(settings, token)
    assert sessions.refresh(settings, shown).id == mine.session.id
    sessions.sign_out(mine.user.id, mine.session.id)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, shown)


def test_ending_other_sessions_forgets_a_device_that_signed_in_at_the_same_moment(settings: Settings, standing: Traveller) -> None:
    mine, other = sign_in(settings, ANNA), sign_in(settings, ANNA)
    assert mine.session.created_at == other.session.created_at
    sessions.end_others(mine.user.id, mine.session.id)
    assert (is_known(settings, mine), is_known(settings, other)) == (True, False)
