"""The bound on guessing, under attack: whatever is played, no more comparisons are made than the budgets have, and no more
takeovers are to be expected than the settings say. `docs/guessing.md` explains the method; `attacker.py` plays."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import zip_longest

import pytest
import time_machine
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer.db.database import transaction
from hammer.models import Verification
from hammer.quotas import counters, guesses
from hammer.sessions import devices
from hammer.users import accounts
from tests.attacker import DAY, Attacker

SMALL = {4: 20, 6: 30, 8: 40}
"""Budgets that an attacker spends whole in a few hundred guesses."""
THREADS = 12
HOARD = 100
"""Codes that are opened beforehand, five times as many as there are guesses at four digits. Two thousand make no difference."""

Strategy = Callable[[Attacker], None]


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


@pytest.fixture
def attacker(app: Flask, settings: Settings, noon: Traveller) -> Iterator[Attacker]:
    """Somebody whom no limit on texts keeps: the bound must hold without."""
    unlimited = replace(
        settings,
        resend_wait=timedelta(0),
        sends_per_number_day=10_000,
        sends_per_prefix_hour=100_000,
        sends_per_address_hour=100_000,
        sends_per_hour=1_000_000,
        guess_budgets=SMALL,
    )
    somebody = Attacker(app, unlimited, noon)
    with app.app_context(), somebody.ledger.watching():
        yield somebody


def check(attacker: Attacker, days: int) -> float:
    """That no limit was passed. Returns the takeovers to be expected in a year of such days."""
    ledger, settings = attacker.ledger, attacker.settings
    for (length, day), compared in ledger.never_given_back().items():
        assert compared <= settings.guess_budgets[length], f"{compared} comparisons at {length} digits on day {day}"
    for number, of_length in ledger.at_each_number().items():
        for length, most in guesses.LADDER.items():
            compared = sum(of for digits, of in of_length.items() if digits <= length)
            assert compared <= most or not of_length[length], f"{compared} comparisons at {number} up to {length} digits"
    strangers_lane = {v.telephone_number for v in ledger.verifications.values() if v.device_id is not None}
    assert not strangers_lane & ledger.victims, "A victim's code was guessed on a device of somebody else."
    yearly = ledger.takeovers() / days * 365
    assert yearly <= settings.expected_takeovers_per_year
    return yearly


# The strategies. Each plays a day, from noon to noon.


def hoard_first(attacker: Attacker) -> None:
    """Opens far more codes than there are guesses, of every length there is, and then guesses at all in turns."""
    for length in (4, 6, 8):
        attacker.exhaust(attacker.hoard(30, length))
    assert attacker.open(attacker.victim()) is None  # closed
    attacker.time.shift(DAY)


def spread_thin(attacker: Attacker) -> None:
    """One guess at each number, so that no ladder and no limit of a code is ever reached."""
    while verification := attacker.open(attacker.victim()):
        attacker.guess(verification)
    attacker.time.shift(DAY)


def stay_with_one(attacker: Attacker) -> None:
    """All guesses at one number, in codes that were opened beforehand."""
    victim = f"+7920{9_999_999:07d}"
    attacker.ledger.victims.add(victim)
    while opened := [v for v in (attacker.open(victim) for _ in range(10)) if v is not None]:
        attacker.exhaust(opened)
    attacker.time.shift(DAY)


def wait_for_midnight(attacker: Attacker) -> None:
    """Hoards codes at the end of a day, guesses, and goes on after midnight at all that were opened, tried or refused."""
    attacker.wait_until(23, 57)
    opened = attacker.hoard(HOARD)
    attacker.exhaust(opened[:20])
    tried = [v for v in opened if attacker.guess(v)]
    attacker.wait_until(0, 0, 30)
    attacker.exhaust(opened)
    attacker.exhaust(tried)
    attacker.exhaust(attacker.hoard(30))
    attacker.wait_until(12)


def earn_refunds(attacker: Attacker) -> None:
    """Makes wrong guesses at numbers of one's own, between those at victims, and takes them back by success."""
    for _ in range(3):
        mine = [v for v in (attacker.open(attacker.own()) for _ in range(8)) if v is not None]
        theirs = attacker.hoard(30)
        for own, other in zip_longest(mine, theirs):
            for verification in (own, other, own, other):
                if verification is not None:
                    attacker.guess(verification)
        for own in mine:
            attacker.prove(own)
        attacker.exhaust(theirs)
    attacker.time.shift(DAY)


def carry_refunds_over_midnight(attacker: Attacker) -> None:
    """Has wrong guesses of one day, and codes of that day, given back on the next, which would save budget up."""
    attacker.wait_until(23, 58)
    mine = [v for v in (attacker.open(attacker.own()) for _ in range(9)) if v is not None]
    for own in mine:
        attacker.guess(own)
        attacker.guess(own)
    attacker.wait_until(0, 0, 30)
    for own in mine:
        attacker.prove(own)
    attacker.exhaust(attacker.hoard(40))
    attacker.exhaust(attacker.hoard(40))
    attacker.wait_until(12)


def have_them_sent_again(attacker: Attacker) -> None:
    """Has each code sent again after each guess, for guesses that the new text might bring."""
    for verification in attacker.hoard(20):
        for _ in range(6):
            attacker.guess(verification)
            attacker.resend(verification)
    attacker.exhaust(attacker.hoard(20))
    attacker.time.shift(DAY)


def change_lanes(attacker: Attacker) -> None:
    """Shows the tokens of known devices of one's own for victims' numbers, and makes devices strangers and welcome again."""
    known = [attacker.device_token() for _ in range(4)]
    for number, token in known:
        for victim in (attacker.victim() for _ in range(6)):
            verification = attacker.open(victim, token)
            if verification is not None:
                attacker.exhaust([verification])
        mine = attacker.open(number, token)
        if mine is not None:
            attacker.guess(mine)
            attacker.guess(mine)
            attacker.prove(mine)
        for _ in range(5):
            mine = attacker.open(number, token)
            if mine is not None:
                attacker.exhaust([mine])
    attacker.time.shift(DAY)


def hoard_longer_codes_over_midnight(attacker: Attacker) -> None:
    """Has codes of every length at midnight, to spend the new day's three budgets at once without having to spend them in turn."""
    attacker.wait_until(23, 56)
    kept = []
    for length in (4, 6, 8):
        opened = attacker.hoard(40, length)
        kept += opened[:25]
        attacker.exhaust(opened[25:])
        attacker.exhaust(opened[:20] if length < 8 else [])
    attacker.wait_until(0, 0, 30)
    attacker.exhaust(kept)
    attacker.exhaust(attacker.hoard(30))
    attacker.wait_until(12)


def ask_for_their_numbers(attacker: Attacker) -> None:
    """Goes by the other door, as somebody signed in who wants to change to a victim's number; and by both in turns."""
    for _ in range(3):
        mover = attacker.join()
        if mover is None:
            break
        moves = [attacker.move(mover, attacker.victim()) for _ in range(12)]
        same = [attacker.move(mover, str(verification.telephone_number)) for verification in moves[:4] if verification]
        logins = [attacker.open(verification.telephone_number) for verification in moves if verification]
        attacker.exhaust([verification for verification in (*moves, *same, *logins) if verification])
    attacker.time.shift(DAY)


def earn_refunds_by_moving(attacker: Attacker) -> None:
    """Moves one account among numbers of one's own, with wrong guesses at each that the success gives back; then leaves, too."""
    mover = attacker.join()
    while mover is not None:
        moves = [attacker.move(mover, attacker.own()) for _ in range(3)]
        for verification in filter(None, moves):
            attacker.guess(verification)
            attacker.guess(verification)
        proven = [attacker.prove(verification) for verification in filter(None, moves)]
        left = [attacker.open(attacker.own()) for _ in range(2)]
        for verification in filter(None, left):
            attacker.guess(verification)
        accounts.delete(attacker.settings, mover.user.id)
        attacker.exhaust(attacker.hoard(6))
        mover = attacker.join() if any(proven) else None
    attacker.exhaust(attacker.hoard(60))
    attacker.time.shift(DAY)


def leave_and_come_back(attacker: Attacker) -> None:
    """Deletes accounts with guesses pending and makes them anew with the same number, for devices and counts that are forgotten."""
    for _ in range(6):
        came = attacker.join()
        if came is None:
            break
        number, token = str(came.user.telephone_number), devices.token(attacker.settings, came.device)
        pending = [attacker.open(number, shown) for shown in (None, token, token)]
        attacker.exhaust([verification for verification in pending[:2] if verification])
        accounts.delete(attacker.settings, came.user.id)
        attacker.exhaust([verification for verification in pending if verification])
        again = attacker.open(number, token)
        if again is not None:
            attacker.guess(again)
            attacker.prove(again)
        attacker.exhaust(attacker.hoard(4))
    attacker.time.shift(DAY)


def wait_for_other_settings(attacker: Attacker) -> None:
    """Guesses on while the operator makes codes longer, takes it back, lowers a budget, and allows more guesses at a code."""
    first = attacker.settings
    kept = attacker.hoard(20)
    attacker.exhaust(kept[:3])
    for changed in (
        replace(first, code_length=6),
        replace(first, guess_budgets={4: 2, 6: 10, 8: 20}),
        replace(first, code_length=8),
        replace(first, guesses_per_code=2),
        replace(first, guesses_per_code=10),
    ):
        attacker.settings = changed
        attacker.exhaust(kept)
        opened = attacker.hoard(8)
        attacker.exhaust(opened[:4])
        kept += opened[4:]
    attacker.exhaust(kept)
    attacker.exhaust(attacker.hoard(60))
    attacker.time.shift(DAY)


def all_at_once(attacker: Attacker) -> None:
    """Guesses in parallel, several times at each code, and proves numbers of one's own meanwhile."""
    mine = [v for v in (attacker.open(attacker.own()) for _ in range(4)) if v is not None]
    opened = attacker.hoard(16)
    several: list[Verification] = [*opened, *opened, *opened, *mine]
    for first in range(0, len(several), THREADS):
        attacker.at_once([partial(attacker.guess, v) for v in several[first : first + THREADS]])
    attacker.at_once(
        [partial(attacker.prove, v) for v in mine for _ in range(2)] + [partial(attacker.guess, v) for v in attacker.hoard(8)]
    )
    attacker.time.shift(DAY)


STRATEGIES: list[Strategy] = [
    hoard_first,
    spread_thin,
    stay_with_one,
    wait_for_midnight,
    earn_refunds,
    carry_refunds_over_midnight,
    have_them_sent_again,
    change_lanes,
    hoard_longer_codes_over_midnight,
    ask_for_their_numbers,
    earn_refunds_by_moving,
    leave_and_come_back,
    all_at_once,
    wait_for_other_settings,
]
OVER_MIDNIGHT = {wait_for_midnight, carry_refunds_over_midnight, hoard_longer_codes_over_midnight}


@pytest.mark.requirement("THR-03", "THR-08")
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.__name__)
def test_no_strategy_gets_past_the_budgets(attacker: Attacker, strategy: Strategy) -> None:
    strategy(attacker)
    check(attacker, days=2 if strategy in OVER_MIDNIGHT else 1)


@pytest.mark.requirement("THR-03", "THR-08")
def test_all_strategies_together_get_no_further(attacker: Attacker) -> None:
    began = datetime(2026, 11, 23, tzinfo=UTC)
    for strategy in STRATEGIES:
        strategy(attacker)
    check(attacker, -(-(datetime.now(UTC) - began) // DAY))


@pytest.mark.requirement("THR-08")
def test_the_best_attack_on_the_default_settings_stays_at_the_figure_that_is_promised(
    attacker: Attacker, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """A whole day of it, but for the first 9,940 guesses at eight digits: those are taken as made, three at each code."""
    attacker.settings = replace(attacker.settings, guess_budgets=settings.guess_budgets)
    taken_as_made = 9940
    with transaction() as session:
        eight = counters.Limit("guesses/8", taken_as_made, DAY)
        counters.take(session, [eight], datetime.now(UTC))
        counters.give_back(session, [eight], 1 - taken_as_made, datetime.now(UTC))
    while opened := attacker.hoard(40):
        attacker.exhaust(opened)
    made = attacker.ledger.never_given_back()
    assert sorted((length, compared) for (length, _), compared in made.items()) == [(4, 20), (6, 250), (8, 60)]
    played = check(attacker, days=1) + 365 * taken_as_made / (10**8 - 3)
    promised = settings.expected_takeovers_per_year
    assert 0.999 * promised <= played <= promised
    with capsys.disabled():
        sys.stdout.write(f"\nGuessing: {played:.4f} accounts a year by the best attack played, {promised:.4f} promised at most.\n")
