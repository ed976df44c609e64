"""In demo mode a code without an id identifies its verification: which verifications can be meant."""

from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.login import verifications
from hammer.models import Verification
from hammer.refusals import InvalidFields
from hammer.users import accounts
from tests.actions import ANNA, BORIS, HOME, ask, confirm, right, sign_in, wrong

pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def demo(settings: Settings) -> Settings:
    return replace(settings, demo=True, resend_wait=timedelta(0), sends_per_number_day=1000, code_length=8)


def is_meant(settings: Settings, verification: Verification) -> bool:
    return verifications.meant_in_demo(settings, right(settings, verification)) == verification.id


def test_a_code_is_meant_until_it_expires(demo: Settings, clock: Traveller) -> None:
    asked = ask(demo)
    clock.move_to(asked.expires_at - timedelta(microseconds=1))
    assert is_meant(demo, asked)
    clock.move_to(asked.expires_at)
    assert not is_meant(demo, asked)


def test_a_code_that_was_used_is_not_meant(demo: Settings) -> None:
    asked = ask(demo)
    confirm(demo, asked, right(demo, asked))
    assert not is_meant(demo, asked)


def test_a_code_for_another_purpose_is_not_meant(demo: Settings) -> None:
    them = sign_in(demo, BORIS)
    asked = accounts.ask_number(demo, them.user.id, them.session.id, ANNA, HOME).verification
    assert not is_meant(demo, asked)


def test_a_code_from_the_future_is_not_meant(demo: Settings, clock: Traveller) -> None:
    asked = ask(demo)
    clock.shift(-time_of_day.APART)
    assert is_meant(demo, asked)
    clock.shift(timedelta(microseconds=-1))
    assert not is_meant(demo, asked)


def test_a_wrong_code_counts_for_the_newest_verification_of_its_number(demo: Settings, clock: Traveller) -> None:
    asked = []
    for telephone_number in (ANNA, ANNA, ANNA, BORIS):
        asked.append(ask(demo, telephone_number))
        clock.shift(1)
    assert verifications.meant_in_demo(demo, wrong(demo, asked[2]), ANNA) == asked[2].id
    assert verifications.meant_in_demo(demo, right(demo, asked[1]), ANNA) == asked[1].id
    assert verifications.meant_in_demo(demo, right(demo, asked[3]), ANNA) == asked[2].id


@pytest.mark.parametrize("typed", ["not a code", "123", "123456789"])
def test_what_cannot_be_a_code_is_refused_at_its_field(demo: Settings, typed: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        verifications.meant_in_demo(demo, typed)
    assert refused.value.errors == {"code": [verifications.NOT_DIGITS]}
