"""The same code once more: what is answered, what the trail says, and when it is refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.login import by_code, verifications
from hammer.login.verifications import Asker
from hammer.quotas import guesses
from hammer.refusals import NotFound, TooManyRequests, WrongCode
from hammer.sessions import devices
from hammer.users import accounts
from tests.actions import ANNA, BORIS, HOME, ask, confirm, right, sign_in, wrong
from tests.test_events import Noted, Trail, trail

__all__ = ["trail"]

pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def patient(settings: Settings) -> Settings:
    return replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000, guess_budgets={4: 1000, 6: 1000, 8: 1000})


def test_a_resend_answers_with_what_is_left_of_the_limits(settings: Settings, clock: Traveller) -> None:
    clock.move_to(datetime(2026, 11, 29, 12, 30, tzinfo=UTC))  # no hour and no day ends within the wait
    asked = by_code.send_code(settings, ANNA, HOME)
    clock.shift(settings.resend_wait)
    again = by_code.resend_code(settings, asked.verification.id, HOME)
    assert again.verification.id == asked.verification.id
    assert again.expires_in == asked.expires_in - settings.resend_wait.total_seconds()
    assert again.resend_in == 2 * settings.resend_wait.total_seconds()
    left = {quota.name: quota.left for quota in asked.quotas}
    assert {quota.name: quota.left for quota in again.quotas} == {name: count - 1 for name, count in left.items()}
    assert set(left) == {"number", "address", "address-day"}


def test_the_trail_says_for_whom_a_code_was_sent_again(patient: Settings, trail: Trail) -> None:
    for_login = ask(patient, ANNA)
    trail.new()
    by_code.resend_code(patient, for_login.id, HOME)
    assert trail.new() == [Noted(events.Kind.CODE_SENT)]
    them = sign_in(patient, ANNA)
    for_change = accounts.ask_number(patient, them.user.id, them.session.id, BORIS, HOME).verification
    trail.new()
    by_code.resend_code(patient, for_change.id, HOME)
    assert trail.new() == [Noted(events.Kind.CODE_SENT, them.user.id)]


def guess_wrong(settings: Settings, telephone_number: str, times: int) -> None:
    for _ in range(times):
        asked = ask(settings, telephone_number)
        with pytest.raises(WrongCode):
            confirm(settings, asked, wrong(settings, asked))


def test_a_code_is_not_sent_again_once_its_number_needs_a_longer_one(patient: Settings) -> None:
    """And is when only another number does."""
    mine, others = ask(patient, ANNA), ask(patient, BORIS)
    guess_wrong(patient, ANNA, guesses.LADDER[4] - 1)
    by_code.resend_code(patient, mine.id, HOME)
    guess_wrong(patient, ANNA, 1)
    assert ask(patient, ANNA).code_length == 6
    with pytest.raises(NotFound):
        by_code.resend_code(patient, mine.id, HOME)
    by_code.resend_code(patient, others.id, HOME)
    assert confirm(patient, others, right(patient, others)).created


def test_a_resend_that_comes_too_early_is_refused_for_as_long_as_the_wait(settings: Settings, clock: Traveller) -> None:
    asked = ask(settings, ANNA)
    clock.shift(settings.resend_wait - timedelta(seconds=1))
    with pytest.raises(TooManyRequests) as refused:
        by_code.resend_code(settings, asked.id, HOME)
    assert (refused.value.retry_after, refused.value.limit) == (1, "number")
    clock.shift(1)
    by_code.resend_code(settings, asked.id, HOME)


def test_what_is_pending_says_when_its_number_may_have_the_next_text(patient: Settings, clock: Traveller) -> None:
    """A known device and strangers wait apart."""
    slow = replace(patient, resend_wait=timedelta(seconds=60))
    them = sign_in(patient, ANNA)
    at_home = Asker(HOME.address, "en", devices.token(patient, them.device))
    known = ask(slow, ANNA, asker=at_home)
    clock.shift(20)
    strange = ask(slow, ANNA)
    clock.shift(15)
    waits = {}
    for name, asked in (("known", known), ("strange", strange)):
        pending = verifications.pending(slow, asked.id)
        assert pending is not None
        assert pending.verification.id == asked.id
        assert pending.expires_in == slow.code_ttl.total_seconds() - (35 if name == "known" else 15)
        waits[name] = pending.resend_in
    assert waits == {"known": 25, "strange": 45}
