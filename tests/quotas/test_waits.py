"""How long a number waits for its next text, and what resets the wait: a success, a new day, a clock that was ahead."""

from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.quotas import texts
from hammer.quotas.counters import DAY
from hammer.quotas.texts import LONGEST_WAIT
from hammer.refusals import TooManyRequests
from tests.actions import ANNA, BORIS, ask, confirm, right

pytestmark = pytest.mark.usefixtures("context")

STEP = timedelta(microseconds=1)


def wait(settings: Settings, telephone_number: str = ANNA) -> int:
    with pytest.raises(TooManyRequests) as refused:
        ask(settings, telephone_number)
    return refused.value.retry_after


def test_a_success_ends_only_the_wait_of_its_own_number(settings: Settings, clock: Traveller) -> None:
    ask(settings, BORIS)
    asked = ask(settings, ANNA)
    confirm(settings, asked, right(settings, asked))
    assert wait(settings, BORIS) == 60
    ask(settings, ANNA)
    assert wait(settings, ANNA) == 60


def test_a_number_of_which_nothing_is_stored_has_no_wait() -> None:
    now = time_of_day.now()
    assert texts.next_send_at(None, now) == now


def test_on_a_new_day_the_waits_begin_at_the_shortest_again(settings: Settings, clock: Traveller) -> None:
    seen = []
    for _ in range(3):
        ask(settings)
        seen.append(wait(settings))
        clock.shift(seen[-1])
    assert seen == [60, 120, 240]
    clock.shift(DAY - timedelta(seconds=sum(seen)))
    for _ in range(3):
        ask(settings)
        seen.append(wait(settings))
        clock.shift(seen[-1])
    assert seen[3:] == [60, 120, 240]


def test_a_wait_of_the_maximum_length_holds_and_a_longer_one_is_over(settings: Settings, clock: Traveller) -> None:
    """A server whose clock was ahead stored the longer wait."""
    slow = replace(settings, resend_wait=LONGEST_WAIT)
    clock.shift(time_of_day.APART)
    ask(slow)
    clock.shift(-time_of_day.APART)
    assert wait(slow) == (LONGEST_WAIT + time_of_day.APART).total_seconds()
    clock.shift(-STEP)
    ask(slow)


def test_on_a_new_day_a_number_has_all_its_texts_again(settings: Settings, clock: Traveller) -> None:
    quick = replace(settings, resend_wait=timedelta(0))
    for _ in range(2):
        for _ in range(quick.sends_per_number_day):
            ask(quick)
        assert wait(quick) == DAY.total_seconds()
        clock.shift(DAY)


def test_a_day_begins_with_its_first_text_though_others_follow_at_once(settings: Settings, clock: Traveller) -> None:
    quick, soon = replace(settings, resend_wait=timedelta(0)), time_of_day.APART / 2
    ask(quick)
    clock.shift(soon)
    for _ in range(1, quick.sends_per_number_day):
        ask(quick)
    assert wait(quick) == (DAY - soon).total_seconds()
    clock.shift(DAY - soon)
    ask(quick)


def test_waits_double_up_to_the_longest_and_stay_there(settings: Settings, clock: Traveller) -> None:
    many = replace(settings, resend_wait=timedelta(seconds=1), sends_per_number_day=1000)
    seen = []
    for _ in range(14):
        ask(many)
        seen.append(wait(many))
        clock.shift(seen[-1])
    assert seen == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600, 600]
