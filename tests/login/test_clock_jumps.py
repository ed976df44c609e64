"""A clock that was five hours ahead and is right again: rows from that time block no user, open nothing and grant nothing twice."""

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, update
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db, transaction
from hammer.invites import tombstones
from hammer.login import verifications
from hammer.models import (
    SEEN_EVERY,
    SESSION_IDLE,
    SESSION_LIFETIME,
    Device,
    Message,
    MessageState,
    SendAllowance,
    Session,
    SessionKind,
    Tombstone,
)
from hammer.operations import retention
from hammer.quotas import counters, guesses, invite_attempts, texts
from hammer.refusals import NotAllowed, TooManyRequests, UnknownInvite, WrongCode
from hammer.sessions import sessions
from hammer.sms import outbox
from hammer.users import accounts
from tests.actions import ANNA, BORIS, HOME, activate, ask, confirm, number, right, sign_in, user, wrong
from tests.delivery import deliver
from tests.people import Program

in_context = pytest.mark.usefixtures("context")
JUMP = timedelta(hours=5)
DAY = timedelta(hours=24)
Ahead = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=[12, 22], ids=["by day", "over midnight"])
def clock(request: pytest.FixtureRequest) -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, request.param, 10, tzinfo=UTC), tick=False) as standing:
        yield standing


@pytest.fixture
def ahead(clock: Traveller) -> Ahead:
    """A context in which the clock is five hours ahead."""

    @contextmanager
    def jump() -> Iterator[None]:
        clock.shift(JUMP)
        yield
        clock.shift(-JUMP)

    return jump


def refused(settings: Settings, telephone_number: str = ANNA) -> int:
    """The wait with which a request for a message is refused now."""
    with pytest.raises(TooManyRequests) as no:
        ask(settings, telephone_number)
    return no.value.retry_after


def granted(settings: Settings, clock: Traveller, during: timedelta) -> int:
    """Number of messages that a number gets if it asks every five minutes for so long."""
    got, until = 0, time_of_day.now() + during
    while time_of_day.now() < until:
        try:
            ask(settings)
            got += 1
        except TooManyRequests:
            pass
        clock.shift(300)
    return got


def fail(settings: Settings, telephone_number: str, times: int) -> None:
    verification = ask(settings, telephone_number)
    for _ in range(times):
        with pytest.raises(WrongCode):
            confirm(settings, verification, wrong(settings, verification))


# Texts


@in_context
@pytest.mark.requirement("SMS-03")
def test_a_message_from_the_future_blocks_the_number_no_longer_than_any_other(
    settings: Settings, clock: Traveller, ahead: Ahead
) -> None:
    with ahead():
        early = ask(settings)
    standing = db.session.query(SendAllowance).one()
    assert texts.next_send_at(standing, time_of_day.now()) == time_of_day.now()
    assert verifications.pending(settings, early.id) is None
    again = ask(settings)
    assert again.id != early.id
    assert refused(settings) == 120  # the wait after a second message
    assert confirm(settings, again, right(settings, again)).created


@in_context
@pytest.mark.requirement("SMS-03")
def test_messages_from_the_future_count_for_the_day(settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    with ahead():
        ask(settings)
    assert granted(settings, clock, DAY - timedelta(minutes=5)) == settings.sends_per_number_day - 1
    refused(settings)
    clock.shift(300)
    ask(settings)


@in_context
@pytest.mark.requirement("SMS-03")
def test_a_limit_of_a_day_that_was_spent_in_the_future_ends_after_a_day(settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    quick = replace(settings, resend_wait=timedelta(0))
    with ahead():
        for _ in range(settings.sends_per_number_day):
            ask(quick)
    assert refused(quick) <= DAY.total_seconds()
    retention.prune(settings)
    clock.shift(DAY - timedelta(seconds=1))
    refused(quick)
    clock.shift(1)
    ask(quick)


@in_context
@pytest.mark.requirement("SMS-03")
def test_a_limit_of_an_hour_that_was_spent_in_the_future_counts_in_that_hour_only(
    settings: Settings, clock: Traveller, ahead: Ahead
) -> None:
    tight = replace(settings, sends_per_address_hour=2, sends_per_hour=10_000)
    with ahead():
        for n in range(2):
            ask(tight, number(n))
    used = texts.system_used(db.session(), tight, time_of_day.now())
    assert used["hour"][0] == 0
    ask(tight, number(2))
    clock.shift(JUMP)
    assert texts.system_used(db.session(), tight, time_of_day.now())["hour"][0] == 2
    refused(tight, number(3))


@in_context
def test_messages_in_the_outbox_are_sent_at_once(settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    waiting = ask(settings, BORIS)
    with ahead():
        ask(settings, ANNA)
        with transaction() as tx:
            outbox.add_notice(tx, number(7), "en")
            tx.execute(
                update(Message).where(Message.verification_id == waiting.id).values(due_at=time_of_day.now() + outbox.POLICY.lease)
            )
    deliver(settings)
    states = Tally(db.session.scalars(select(Message.state)).all())
    assert states == {MessageState.SENT: 2, MessageState.GIVEN_UP: 1}  # the code from the future is void, so it is not sent


# Guesses and attempts


@in_context
@pytest.mark.requirement("THR-03")
def test_a_budget_that_was_spent_in_the_future_counts_on_that_day_only(settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    tight = replace(settings, guess_budgets={4: 2, 6: 250, 8: 10_000})
    with ahead():
        then = counters.period(DAY, time_of_day.now())
        fail(tight, ANNA, 2)
    same_day = counters.period(DAY, time_of_day.now()) == then
    used, most = guesses.budgets_used(db.session(), tight, time_of_day.now())[4]
    assert (used, most) == (2 if same_day else 0, 2)
    assert ask(tight, BORIS).code_length == (6 if same_day else 4)
    clock.shift(JUMP)
    assert ask(tight, number(5)).code_length == 6


@in_context
@pytest.mark.requirement("THR-03")
def test_a_prune_in_the_future_gives_no_budget_back(settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    tight = replace(settings, guess_budgets={4: 2, 6: 250, 8: 10_000})
    fail(tight, ANNA, 2)
    with ahead():
        retention.prune(settings)
    assert guesses.budgets_used(db.session(), tight, time_of_day.now())[4] == (2, 2)
    assert ask(tight, BORIS).code_length == 6


@in_context
@pytest.mark.requirement("THR-01")
def test_wrong_guesses_from_the_future_count_on_the_ladder_of_their_number(
    settings: Settings, clock: Traveller, ahead: Ahead
) -> None:
    wide = replace(settings, guess_budgets={4: 1000, 6: 1000, 8: 1000}, resend_wait=timedelta(0), guesses_per_code=10)
    with ahead():
        fail(wide, ANNA, 3)
    waiting = ask(wide)
    assert waiting.code_length == 4
    fail(wide, ANNA, guesses.LADDER[4] - 3)
    assert ask(wide).code_length == 6
    with pytest.raises(WrongCode):  # one guess more than the ladder has, and a right one
        confirm(wide, waiting, right(wide, waiting))
    verification = ask(wide, BORIS)
    with ahead():
        clock.shift(timedelta(days=365))
        fail(wide, BORIS, guesses.LADDER[4])
        clock.shift(-timedelta(days=365))
    assert confirm(wide, verification, right(wide, verification)).created  # further ahead than the ladder is long


@in_context
@pytest.mark.requirement("INV-04")
def test_attempts_at_invite_codes_from_the_future_count_on_that_day_only(
    settings: Settings, clock: Traveller, ahead: Ahead
) -> None:
    anna, boris = user(settings), user(settings, BORIS)
    with ahead():
        same_day = time_of_day.now().date() == (time_of_day.now() - JUMP).date()
        for _ in range(invite_attempts.PER_NUMBER_PER_DAY):
            with pytest.raises(UnknownInvite):
                activate(settings, anna.id, "AAAAAA")
    if same_day:
        with pytest.raises(TooManyRequests) as no:
            activate(settings, anna.id, boris.invite_code)
        assert no.value.retry_after <= DAY.total_seconds()
    else:
        activate(settings, anna.id, boris.invite_code)


# Sessions, devices, tombstones


@in_context
@pytest.mark.requirement("OTP-08")
def test_a_login_from_the_future_is_no_fresh_proof(settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    with ahead():
        signed_in = sign_in(settings)
    assert not accounts.proved_lately(signed_in.session.id)
    with pytest.raises(NotAllowed):
        accounts.ask_number(settings, signed_in.user.id, signed_in.session.id, BORIS, HOME)
    assert sessions.caller(signed_in.session.id, SessionKind(signed_in.session.kind)) is not None
    clock.shift(JUMP)  # its time has come, and the proof is five hours old
    with pytest.raises(NotAllowed):
        accounts.ask_number(settings, signed_in.user.id, signed_in.session.id, BORIS, HOME)


@in_context
@pytest.mark.requirement("SES-03")
def test_a_session_that_was_used_in_the_future_is_idle_from_now_on(settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    signed_in = sign_in(settings, kind=SessionKind.BROWSER)
    with ahead():
        assert sessions.caller(signed_in.session.id, SessionKind.BROWSER)
    assert sessions.caller(signed_in.session.id, SessionKind.BROWSER)
    seen_at = db.session.scalar(select(Session.seen_at))
    assert seen_at == time_of_day.now()
    clock.shift(SESSION_IDLE[SessionKind.BROWSER])
    assert sessions.caller(signed_in.session.id, SessionKind.BROWSER) is None


@in_context
@pytest.mark.requirement("SES-03")
@pytest.mark.parametrize("far", [JUMP, timedelta(days=3650)], ids=["five hours", "ten years"])
@pytest.mark.parametrize("kind", sessions.OF_PEOPLE)
def test_a_session_from_the_future_lasts_as_long_as_one_from_now(
    settings: Settings, clock: Traveller, far: timedelta, kind: SessionKind
) -> None:
    clock.shift(far)
    opened = sign_in(settings, kind=kind).session
    token = sessions.refresh_token(settings, opened)
    clock.shift(-far)
    now = time_of_day.now()
    assert sessions.caller(opened.id, kind) if kind == SessionKind.BROWSER else sessions.refresh(settings, token)
    db.session.expire_all()
    kept = db.session.get_one(Session, opened.id)
    assert kept.expires_at == now + SESSION_LIFETIME[kind]
    assert kept.created_at < now - accounts.PROOF_STAYS_FRESH
    assert kept.seen_at == now
    assert kept.refreshed_at == now if kind == SessionKind.PROGRAM else kept.refreshed_at < now - sessions.GRACE


@in_context
@pytest.mark.requirement("PRV-04")
def test_nothing_is_kept_for_longer_than_its_retention_time(settings: Settings, clock: Traveller) -> None:
    far = timedelta(days=3650)
    clock.shift(far)
    anna, boris = sign_in(settings, kind=SessionKind.BROWSER), user(settings, BORIS)
    activate(settings, anna.user.id, boris.invite_code)
    with transaction() as tx:
        tombstones.mark(tx, settings, anna.user.id, ANNA, time_of_day.now())
    clock.shift(-far)
    retention.prune(settings)
    assert tombstones.is_marked(db.session(), settings, ANNA, time_of_day.now())
    clock.shift(retention.DEVICES_KEPT)
    retention.prune(settings)
    for table in (Session, Device, Tombstone, SendAllowance):
        assert db.session.scalar(select(func.count()).select_from(table)) == 0


@in_context
def test_clocks_of_servers_may_differ_by_seconds(settings: Settings, clock: Traveller) -> None:
    clock.shift(time_of_day.APART)
    signed_in = sign_in(settings)
    moments = signed_in.session.created_at, signed_in.session.seen_at
    clock.shift(-time_of_day.APART)
    retention.prune(settings)
    db.session.expire_all()
    kept = db.session.get_one(Session, signed_in.session.id)
    assert (kept.created_at, kept.seen_at) == moments
    assert accounts.proved_lately(signed_in.session.id)


# A user, before and after


def test_a_user_goes_on_as_before(app: Flask, settings: Settings, clock: Traveller, ahead: Ahead) -> None:
    before, then = Program(app), Program(app)
    before.sign_in(ANNA)
    with ahead():
        then.sign_in(BORIS)
        before.tokens = before.result("POST", "/auth/refresh/", {"refresh_token": before.tokens["refresh_token"]})
        assert before.is_signed_in()
    for person in (before, then):
        person.tokens |= person.result("POST", "/auth/refresh/", {"refresh_token": person.tokens["refresh_token"]})
        assert person.is_signed_in()
    clock.shift(600)
    later = Program(app)
    later.sign_in(ANNA)
    assert later.profile().invite_code == before.profile().invite_code
    clock.shift(SEEN_EVERY[SessionKind.PROGRAM] + JUMP)
    with app.app_context():
        retention.prune(settings)
    for person in (before, then, later):
        person.tokens |= person.result("POST", "/auth/refresh/", {"refresh_token": person.tokens["refresh_token"]})
        assert person.is_signed_in()
