"""Sending a code, and sending it again: waits, limits and idempotency of `send_code` and `resend_code`."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db
from hammer.login import by_code, verifications
from hammer.models import Message, SendAllowance, Verification
from hammer.operations import retention
from hammer.quotas import counters, idempotency
from hammer.refusals import NotFound, RegionNotServed, TooManyRequests, WrongCode
from hammer.sms import gateways
from hammer.users import accounts
from tests.actions import (
    ANNA,
    BORIS,
    HOME,
    STRANGER_ID,
    ask,
    confirm,
    everything_stored,
    guesses_of,
    right,
    sign_in,
    wrong,
)

pytestmark = pytest.mark.usefixtures("context")


def wait_refused(settings: Settings, telephone_number: str = ANNA) -> int:
    with pytest.raises(TooManyRequests) as refused:
        ask(settings, telephone_number)
    return refused.value.retry_after


def test_the_answer_contains_the_wait_and_the_lifetime_of_the_code(settings: Settings, clock: Traveller) -> None:
    sent = by_code.send_code(settings, "8 (929) 000-00-01", HOME)
    assert (sent.expires_in, sent.resend_in) == (300, 60)
    assert sent.verification.telephone_number == ANNA
    clock.shift(10)
    pending = verifications.pending(settings, sent.verification.id)
    assert pending is not None
    assert (pending.expires_in, pending.resend_in) == (290, 50)


@pytest.mark.requirement("SMS-03")
def test_the_wait_doubles_up_to_ten_minutes(settings: Settings, clock: Traveller) -> None:
    generous = replace(settings, sends_per_number_day=100)
    waits = []
    for _ in range(7):
        waits.append(by_code.send_code(generous, ANNA, HOME).resend_in)
        assert wait_refused(generous) == waits[-1]
        clock.shift(waits[-1] - 1)
        assert wait_refused(generous) == 1
        clock.shift(1)
    assert waits == [60, 120, 240, 480, 600, 600, 600]


def test_a_number_gets_five_messages_a_day(settings: Settings, clock: Traveller) -> None:
    began = time_of_day.now()
    for _ in range(5):
        ask(settings)
        clock.shift(600)
    left_of_the_day = counters.DAY - (time_of_day.now() - began)
    assert wait_refused(settings) == left_of_the_day.total_seconds()
    clock.shift(left_of_the_day - timedelta(seconds=1))
    assert wait_refused(settings) == 1
    clock.shift(1)
    assert by_code.send_code(settings, ANNA, HOME).resend_in == 60


def test_a_right_code_ends_the_wait(settings: Settings) -> None:
    sign_in(settings)
    assert by_code.send_code(settings, ANNA, HOME).resend_in == 60


def test_a_right_code_gives_no_more_messages_that_day(settings: Settings) -> None:
    for _ in range(5):
        sign_in(settings)
    assert wait_refused(settings) > 23 * 3600


def test_a_wrong_code_does_not_end_the_wait(settings: Settings) -> None:
    verification = ask(settings)
    with pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    assert wait_refused(settings) > 50


@pytest.mark.requirement("PHN-01", "SMS-03")
def test_another_spelling_of_a_number_has_no_allowance_of_its_own(settings: Settings) -> None:
    ask(settings, "+79290000001")
    for spelling in ("89290000001", "8 (929) 000-00-01", " +7 929 000 00 01 ", "9290000001", "+7-929-000-00-01"):
        assert wait_refused(settings, spelling) > 50
    assert db.session.query(SendAllowance).count() == 1


def test_another_number_has_its_own_allowance(settings: Settings) -> None:
    ask(settings, ANNA)
    ask(settings, BORIS)
    assert db.session.query(Message).count() == 2


def test_a_refused_request_leaves_no_verification_and_no_message(settings: Settings) -> None:
    ask(settings)
    wait_refused(settings)
    assert (db.session.query(Verification).count(), db.session.query(Message).count()) == (1, 1)


def test_a_refused_request_does_not_make_the_wait_longer(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    clock.shift(59)
    for _ in range(10):
        assert wait_refused(settings) == 1


def test_the_allowance_contains_no_number(settings: Settings) -> None:
    ask(settings)
    kept = db.session.query(SendAllowance).one().number_hash
    assert ANNA[1:] not in kept
    assert kept not in {hashlib.sha256(text.encode()).hexdigest() for text in (ANNA, ANNA[1:], ANNA[2:])}


@pytest.mark.requirement("SMS-04")
def test_a_number_that_cannot_get_messages_leaves_no_row_behind(settings: Settings) -> None:
    with pytest.raises(RegionNotServed):
        ask(settings, "+7 495 123-45-67")
    assert everything_stored() == []


def test_a_request_repeated_with_its_key_gets_the_same_verification_and_another_waits(settings: Settings, clock: Traveller) -> None:
    form, other_form = (idempotency.make_key(settings, shown, call="signup") for shown in ("a form", "another form"))
    first = by_code.send_code(settings, ANNA, HOME, key=form)
    assert by_code.send_code(settings, ANNA, HOME, key=form).verification.id == first.verification.id
    with pytest.raises(TooManyRequests):
        by_code.send_code(settings, ANNA, HOME, key=other_form)
    clock.shift(idempotency.LIFETIME)
    assert by_code.send_code(settings, ANNA, HOME, key=form).verification.id != first.verification.id


@pytest.mark.requirement("OTP-02", "OTP-03")
@pytest.mark.parametrize("gone", ["pruned", "deleted", "moved"])
def test_a_request_whose_verification_is_gone_gets_another_code(settings: Settings, clock: Traveller, gone: str) -> None:
    key = idempotency.make_key(settings, "a form", call="signup", lifetime=timedelta(days=9))
    first = by_code.send_code(settings, ANNA, HOME, key=key).verification
    them = confirm(settings, first, right(settings, first))
    if gone == "pruned":
        clock.shift(timedelta(days=2))
        retention.prune(settings)
    elif gone == "deleted":
        accounts.delete(settings, them.user.id)
    else:
        asked = accounts.ask_number(settings, them.user.id, them.session.id, BORIS, HOME).verification
        accounts.change_number(settings, them.user.id, them.session.id, asked.id, right(settings, asked))
    clock.shift(61)
    second = by_code.send_code(settings, ANNA, HOME, key=key).verification
    assert db.session.get(Verification, first.id) is None
    assert second.id != first.id
    with pytest.raises(WrongCode):
        confirm(settings, first, right(settings, first))


@pytest.mark.requirement("OTP-02")
def test_a_clock_that_is_set_back_makes_no_code_valid_for_longer(settings: Settings, clock: Traveller) -> None:
    clock.shift(timedelta(hours=5))
    verification = ask(settings)
    clock.shift(timedelta(hours=-5))
    with pytest.raises(WrongCode):
        confirm(settings, verification, right(settings, verification))
    with pytest.raises(NotFound):
        by_code.resend_code(settings, verification.id, HOME)
    assert verifications.pending(settings, verification.id) is None
    retention.prune(settings)
    clock.shift(timedelta(hours=5))
    with pytest.raises(WrongCode):
        confirm(settings, verification, right(settings, verification))


def test_servers_whose_clocks_differ_by_seconds_accept_each_others_codes(settings: Settings, clock: Traveller) -> None:
    verification = ask(settings)
    clock.shift(-time_of_day.APART)
    retention.prune(settings)
    assert confirm(settings, verification, right(settings, verification)).created


@pytest.mark.requirement("OTP-03", "THR-02")
def test_a_resend_has_the_same_code_expiry_and_guesses(
    settings: Settings, clock: Traveller, memory: list[gateways.Sent], code_for: Callable[[str], str]
) -> None:
    verification = ask(settings)
    first = code_for(ANNA)
    with pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    clock.shift(60)
    again = by_code.resend_code(settings, verification.id, HOME)
    assert (again.verification.id, again.expires_in, again.resend_in) == (verification.id, 240, 120)
    assert code_for(ANNA) == first
    assert len(memory) == 2
    assert guesses_of(verification) == 1


def test_a_resend_waits_like_a_first_message(settings: Settings) -> None:
    verification = ask(settings)
    with pytest.raises(TooManyRequests):
        by_code.resend_code(settings, verification.id, HOME)


def test_a_resend_takes_one_of_the_messages_of_the_day(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=2)
    verification = ask(patient)
    by_code.resend_code(patient, verification.id, HOME)
    with pytest.raises(TooManyRequests):
        ask(patient)


@pytest.mark.parametrize("over", ["unknown", "consumed", "expired", "exhausted"])
def test_a_code_that_is_over_is_not_sent_again(settings: Settings, clock: Traveller, over: str) -> None:
    verification = ask(settings)
    if over == "consumed":
        confirm(settings, verification, right(settings, verification))
    elif over == "expired":
        clock.shift(300)
    elif over == "exhausted":
        for _ in range(3):
            with pytest.raises(WrongCode):
                confirm(settings, verification, wrong(settings, verification))
    asked_for = STRANGER_ID if over == "unknown" else verification.id
    clock.shift(100)
    with pytest.raises(NotFound):
        by_code.resend_code(settings, asked_for, HOME)
    assert verifications.pending(settings, asked_for) is None
