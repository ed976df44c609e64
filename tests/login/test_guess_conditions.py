"""Which guesses are compared at all: each condition of the statement that takes a guess, at its edge."""

from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.login import verifications
from hammer.refusals import InvalidFields, WrongCode
from tests.actions import ANNA, BORIS, ask, confirm, guesses_of, right, wrong

pytestmark = pytest.mark.usefixtures("context")

STEP = timedelta(microseconds=1)


def test_a_code_that_a_clock_ahead_made_is_not_accepted(settings: Settings, clock: Traveller) -> None:
    """It would live for too long."""
    asked = ask(settings)
    clock.shift(-time_of_day.APART - STEP)
    with pytest.raises(WrongCode):
        confirm(settings, asked, right(settings, asked))
    assert guesses_of(asked) == 0
    clock.shift(STEP)
    assert confirm(settings, asked, right(settings, asked)).created


def test_a_code_is_accepted_until_the_moment_at_which_it_expires(settings: Settings, clock: Traveller) -> None:
    asked, other = ask(settings, ANNA), ask(settings, BORIS)
    clock.move_to(asked.expires_at - STEP)
    assert confirm(settings, asked, right(settings, asked)).created
    clock.move_to(other.expires_at)
    with pytest.raises(WrongCode):
        confirm(settings, other, right(settings, other))
    assert guesses_of(other) == 0


def test_each_guess_counts_once_and_only_where_it_was_made(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    asked, other = ask(patient, ANNA), ask(patient, ANNA)
    left = []
    for n in range(1, patient.guesses_per_code + 1):
        with pytest.raises(WrongCode) as refused:
            confirm(patient, asked, wrong(patient, asked))
        left.append(refused.value.details["attempts_left"])
        assert guesses_of(asked) == n
    assert left == [2, 1, 0]
    assert guesses_of(other) == 0
    with pytest.raises(WrongCode):
        confirm(patient, asked, right(patient, asked))
    assert guesses_of(asked) == patient.guesses_per_code


def test_a_code_that_was_accepted_leaves_others_of_the_number_alone(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    asked, other = ask(patient, ANNA), ask(patient, ANNA)
    confirm(patient, asked, right(patient, asked))
    with pytest.raises(WrongCode):
        confirm(patient, asked, right(patient, asked))
    assert not confirm(patient, other, right(patient, other)).created


def test_what_is_no_code_is_said_at_its_field_also_where_no_code_is_live(settings: Settings) -> None:
    asked = ask(settings)
    confirm(settings, asked, right(settings, asked))
    with pytest.raises(InvalidFields) as refused:
        confirm(settings, asked, "abcd")
    assert refused.value.errors == {"code": [verifications.NOT_DIGITS]}
