"""How many wrong guesses are allowed: the budgets of all together, the ladder of each number, and the expected takeovers."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask
from time_machine import Traveller

import config
from config import Settings
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.models import Counter, Event, Verification
from hammer.operations import doctor
from hammer.quotas import counters, guesses
from hammer.refusals import NotAllowed, NotFound, TooManyRequests, Unavailable, WrongCode
from hammer.sessions import devices
from hammer.users import accounts
from tests.actions import ANNA, BORIS, HOME, ask, confirm, number, right, user, wrong

DAY = timedelta(days=1)
NEVER_USED_UP = {4: 1000, 6: 1000, 8: 1000}

pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings without limits on texts, so that only the limits on guesses apply."""
    return replace(settings, resend_wait=timedelta(0), sends_per_number_day=10_000)


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


def fail(settings: Settings, verification: Verification) -> int:
    """Makes a wrong guess. Returns how many are left."""
    with pytest.raises(WrongCode) as refused:
        confirm(settings, verification, wrong(settings, verification))
    return refused.value.attempts_left


def is_dead(settings: Settings, verification: Verification) -> bool:
    """Whether the right code is refused. Signs in if it is not."""
    try:
        confirm(settings, verification, right(settings, verification))
    except WrongCode:
        return True
    return False


def closed_for(settings: Settings) -> int:
    """How long the owner of a closed number has to wait."""
    with pytest.raises(TooManyRequests) as refused:
        ask(settings)
    assert refused.value.sentence == guesses.NUMBER_CLOSED
    return refused.value.retry_after


def taken(scope: str) -> int:
    """The count of a scope, summed over all days."""
    db.session.expire_all()
    return sum(counter.taken for counter in db.session.query(Counter).filter_by(scope=scope))


def spent_on(settings: Settings, telephone_number: str) -> int:
    return taken(f"guesses/{settings.number_hash(telephone_number)}")


# The ladder of a number


@pytest.mark.requirement("THR-01")
def test_a_number_climbs_its_ladder_from_nothing_to_a_hundred(patient: Settings, noon: Traveller) -> None:
    """At each step, checks the length of the next code, and that an unused code of the step before is void."""
    generous = replace(patient, guess_budgets=NEVER_USED_UP)
    for failures in range(100):
        length = 4 if failures < 5 else 6 if failures < 20 else 8
        attacked = ask(generous)
        assert attacked.code_length == length, failures
        untouched = ask(generous) if failures + 1 in (5, 20, 100) else None
        assert fail(generous, attacked) == 2, failures
        assert untouched is None or is_dead(generous, untouched), failures
    assert closed_for(generous) == 29.5 * DAY.total_seconds()
    assert spent_on(generous, ANNA) == 100
    assert ask(generous, BORIS).code_length == 4


@pytest.mark.parametrize(
    ("failures", "days"),
    [
        ({0: 100}, 30),
        ({28: 100}, 2),
        ({28: 1, 0: 99}, 2),
        ({12: 30, 11: 30, 10: 40}, 18),
        ({29: 3, 5: 97, 0: 5}, 25),
        ({9: 0, 8: 100}, 22),
    ],
    ids=["today", "long ago", "the first goes", "on three days", "the first is not enough", "a day that was given back"],
)
def test_a_closed_number_says_when_it_opens_again(patient: Settings, noon: Traveller, failures: dict[int, int], days: int) -> None:
    """It opens when enough old guesses have expired that fewer than a hundred count. Days end at midnight."""
    with transaction() as session:
        for ago, taken in failures.items():
            then = datetime.now(UTC) - ago * DAY
            counted = {"scope": guesses.scope(patient.number_hash(ANNA)), "period": counters.period(DAY, then)}
            session.add(Counter(**counted, taken=taken, ends_at=counters.ends_at(DAY, then) + DAY * (guesses.LADDER_DAYS - 1)))
    wait = closed_for(patient)
    assert wait == (days - 0.5) * DAY.total_seconds()
    noon.shift(wait - 1)
    assert closed_for(patient) == 1
    noon.shift(1)
    ask(patient)


def test_a_number_that_was_closed_by_guessing_says_the_same(patient: Settings, noon: Traveller) -> None:
    generous = replace(patient, guess_budgets=NEVER_USED_UP)
    for failures in (30, 30, 40):
        noon.shift(DAY)
        for _ in range(failures):
            fail(generous, ask(generous))
    assert closed_for(generous) == 27.5 * DAY.total_seconds()
    noon.shift(timedelta(days=27.5))
    assert ask(generous).code_length == 8


@pytest.mark.requirement("THR-01")
def test_codes_that_were_opened_before_do_not_bypass_the_ladder(patient: Settings) -> None:
    opened = [ask(patient) for _ in range(12)]
    looked_at = [fail(patient, verification) > 0 for verification in opened]
    assert looked_at == [True] * 5 + [False] * 7
    assert all(is_dead(patient, verification) for verification in opened)


@pytest.mark.requirement("THR-01")
def test_the_ladder_forgets_a_day_after_thirty(patient: Settings, noon: Traveller) -> None:
    for _ in range(5):
        fail(patient, ask(patient))
        noon.shift(DAY)
    assert ask(patient).code_length == 6
    noon.shift(24 * DAY)
    assert ask(patient).code_length == 6  # the first day is the thirtieth now
    noon.shift(DAY)
    assert ask(patient).code_length == 4


@pytest.mark.requirement("THR-01")
def test_what_was_guessed_on_earlier_days_counts_when_a_guess_is_reserved(patient: Settings, noon: Traveller) -> None:
    for _ in range(4):
        fail(patient, ask(patient))
    noon.shift(DAY)
    first, second = ask(patient), ask(patient)
    assert (first.code_length, second.code_length) == (4, 4)
    assert fail(patient, first) == 2
    assert is_dead(patient, second)
    assert spent_on(patient, ANNA) == 5


@pytest.mark.requirement("THR-01")
def test_a_login_does_not_give_back_guesses_of_others(patient: Settings) -> None:
    for _ in range(4):
        fail(patient, ask(patient))
    assert not is_dead(patient, ask(patient))
    assert spent_on(patient, ANNA) == 4
    fail(patient, ask(patient))
    assert ask(patient).code_length == 6


@pytest.mark.requirement("THR-02")
def test_neither_a_resend_nor_a_new_code_gives_a_guess_back(patient: Settings) -> None:
    verification = ask(patient)
    assert [fail(patient, verification), fail(patient, verification)] == [2, 1]
    by_code.resend_code(patient, verification.id, HOME)
    assert fail(patient, verification) == 0
    assert is_dead(patient, verification)
    assert (spent_on(patient, ANNA), taken("guesses/4")) == (3, 3)
    ask(patient)
    assert (spent_on(patient, ANNA), taken("guesses/4")) == (3, 3)


# The budgets of all together


@pytest.mark.requirement("THR-03")
def test_no_more_guesses_are_compared_than_the_budget_has(patient: Settings) -> None:
    opened = [ask(patient, number(n)) for n in range(50)]
    assert [fail(patient, verification) for verification in opened] == [2] * 20 + [0] * 30
    assert taken("guesses/4") == 20


@pytest.mark.requirement("THR-04")
def test_a_used_up_budget_voids_codes_and_makes_new_ones_longer(patient: Settings, noon: Traveller) -> None:
    opened = [ask(patient, number(n)) for n in range(50)]
    for verification in opened[:20]:
        fail(patient, verification)
    assert all(is_dead(patient, verification) for verification in opened[20:])
    longer = ask(patient, number(49))
    assert longer.code_length == 6
    assert not is_dead(patient, longer)


@pytest.mark.requirement("THR-04")
def test_when_all_budgets_are_used_up_unknown_devices_wait_for_the_next_day(patient: Settings, noon: Traveller) -> None:
    poor = replace(patient, guess_budgets={4: 1, 6: 1, 8: 1})
    assert [(v := ask(poor, number(n))).code_length * 10 + fail(poor, v) for n in range(3)] == [42, 62, 82]
    with pytest.raises(Unavailable) as closed:
        ask(poor, number(3))
    assert closed.value.retry_after == 12 * 3600
    assert closed.value.sentence == guesses.ALL_CLOSED
    noon.shift(timedelta(hours=12))
    assert ask(poor, number(3)).code_length == 4


def test_a_budget_of_none_is_never_used(patient: Settings) -> None:
    """It is the strictest way to forbid four digits without changing the setting of the code length."""
    assert ask(replace(patient, guess_budgets={4: 0, 6: 250, 8: 10_000})).code_length == 6


def test_a_budget_that_was_lowered_ends_codes_at_once(patient: Settings) -> None:
    opened = [ask(patient, number(n)) for n in range(4)]
    for verification in opened[:3]:
        fail(patient, verification)
    assert is_dead(replace(patient, guess_budgets={4: 2, 6: 250, 8: 10_000}), opened[3])


def test_a_budget_may_be_larger_than_what_a_row_can_count(patient: Settings) -> None:
    rich = replace(patient, guess_budgets={4: 10**12, 6: 250, 8: 10_000})
    verification = ask(rich)
    fail(rich, verification)
    assert confirm(rich, verification, right(rich, verification)).created
    assert taken("guesses/4") == 0


def test_a_length_that_is_not_in_use_any_more_is_void_at_once(patient: Settings) -> None:
    verification = ask(patient)
    assert is_dead(replace(patient, code_length=6), verification)
    assert taken("guesses/4") == 0


def test_a_code_that_is_void_is_not_sent_again(patient: Settings) -> None:
    poor = replace(patient, guess_budgets={4: 1, 6: 250, 8: 10_000})
    mine = ask(poor, BORIS)
    fail(poor, ask(poor))
    with pytest.raises(NotFound):
        by_code.resend_code(poor, mine.id, HOME)


def test_a_used_up_budget_is_recorded_once_for_each_code(patient: Settings) -> None:
    poor = replace(patient, guess_budgets={4: 1, 6: 250, 8: 10_000})
    mine = ask(poor, BORIS)
    fail(poor, ask(poor))
    for _ in range(3):
        assert is_dead(poor, mine)
    assert db.session.query(Event).filter_by(kind="guesses-spent").count() == 1


# What is given back


@pytest.mark.requirement("THR-03")
@pytest.mark.parametrize("typos", [0, 1, 2])
def test_typos_before_the_right_code_cost_nothing(patient: Settings, noon: Traveller, typos: int) -> None:
    verification = ask(patient)
    for _ in range(typos):
        fail(patient, verification)
    assert (taken("guesses/4"), spent_on(patient, ANNA)) == (typos, typos)
    confirm(patient, verification, right(patient, verification))
    assert (taken("guesses/4"), spent_on(patient, ANNA)) == (0, 0)


@pytest.mark.requirement("THR-03")
def test_success_gives_back_no_guess_of_another_verification(patient: Settings) -> None:
    fail(patient, ask(patient))
    fail(patient, ask(patient, BORIS))
    confirm(patient, (mine := ask(patient)), right(patient, mine))
    assert (taken("guesses/4"), spent_on(patient, ANNA), spent_on(patient, BORIS)) == (2, 1, 1)


@pytest.mark.requirement("THR-03")
def test_success_after_midnight_gives_nothing_back_to_either_day(patient: Settings, noon: Traveller) -> None:
    """The guesses of the day before stay counted there, and the count of this day does not fall below zero."""
    noon.shift(timedelta(hours=11, minutes=58))
    verification = ask(patient)
    fail(patient, verification)
    noon.shift(timedelta(minutes=3))
    fail(patient, verification)
    confirm(patient, verification, right(patient, verification))
    yesterday = counters.period(DAY, datetime(2026, 11, 23, tzinfo=UTC))
    of_days: dict[int, int] = dict.fromkeys((yesterday, yesterday + 1), 0)
    for counter in db.session.query(Counter).filter_by(scope="guesses/4"):
        of_days[counter.period] += counter.taken
    assert of_days == {yesterday: 1, yesterday + 1: 1}


def test_a_blocked_user_who_types_the_right_code_costs_nothing(patient: Settings) -> None:
    accounts.set_blocked(user(patient).id, True)
    verification = ask(patient)
    fail(patient, verification)
    with pytest.raises(NotAllowed):
        confirm(patient, verification, right(patient, verification))
    assert taken("guesses/4") == 0


def test_nothing_that_is_counted_names_a_number(patient: Settings) -> None:
    fail(patient, ask(patient))
    assert not [c.scope for c in db.session.query(Counter) if "9290000001" in c.scope]


# The figure


@pytest.mark.requirement("THR-08")
@pytest.mark.parametrize(
    ("length", "budgets", "expected"),
    [(4, (20, 250, 10_000), 0.85775), (4, (2, 50, 2000), 0.09855), (6, (0, 250, 10_000), 0.12775), (6, (20, 250, 10_000), 0.12775)],
    ids=["standard", "strict", "nist", "six digits to begin with"],
)
def test_the_expected_takeovers_follow_from_the_settings(
    settings: Settings, length: int, budgets: tuple[int, int, int], expected: float
) -> None:
    chosen = replace(settings, code_length=length, guess_budgets=dict(zip((4, 6, 8), budgets, strict=True)))
    assert chosen.expected_takeovers_per_year == pytest.approx(expected, abs=0.001)
    assert chosen.expected_takeovers_per_year >= expected  # it also counts what a right guess gives back


@pytest.mark.requirement("THR-08")
@pytest.mark.parametrize("document", ["README.md", "docs/guessing.md"])
def test_the_documents_state_the_figure_of_the_default_settings(monkeypatch: pytest.MonkeyPatch, document: str) -> None:
    for name in ("HAMMER_GUESS_BUDGETS", "HAMMER_CODE_LENGTH", "HAMMER_GUESSES_PER_CODE"):
        monkeypatch.delenv(name, raising=False)
    text = (Path(config.__file__).parent / document).read_text()
    assert re.findall(r"([0-9.]+)\s+accounts a year", text) == [f"{config.read().expected_takeovers_per_year:.2f}"]


@pytest.mark.requirement("THR-08")
@pytest.mark.parametrize(("budgets", "starts"), [("20,250,10000", True), ("100,250,10000", False), ("20,250,1000000", False)])
def test_production_starts_only_below_the_bound_that_is_set(monkeypatch: pytest.MonkeyPatch, budgets: str, starts: bool) -> None:
    monkeypatch.setenv("HAMMER_ENV", "production")
    monkeypatch.setenv("HAMMER_GUESS_BUDGETS", budgets)
    monkeypatch.setattr(config, "_unsafe_in_production", lambda _: {})  # the other checks of production have their own tests
    if starts:
        assert config.read().expected_takeovers_per_year <= 1
    else:
        with pytest.raises(config.Misconfigured) as refused:
            config.read()
        assert "HAMMER_MAX_EXPECTED_TAKEOVERS" in "".join(refused.value.problems)


@pytest.mark.requirement("THR-08")
@pytest.mark.parametrize(("budget", "warned"), [(20, False), (100, True)])
def test_development_warns_of_too_much_guessing_and_the_doctor_says_what_to_do(
    settings: Settings, app_with: Callable[[Settings], Flask], caplog: pytest.LogCaptureFixture, budget: int, warned: bool
) -> None:
    chosen = replace(settings, guess_budgets={4: budget, 6: 250, 8: 10_000})
    with caplog.at_level(logging.WARNING):
        app_with(chosen)
    assert caplog.text.count("accounts a year") == warned
    found = [finding for finding in doctor.examine(chosen) if finding.part == "guessing"]
    assert [finding.state for finding in found] == [doctor.ADVICE if warned else doctor.FINE, doctor.FINE, doctor.FINE]
    assert f"{chosen.expected_takeovers_per_year:.2f}" in found[0].how
    assert bool(found[0].remedy) is warned


@pytest.mark.requirement("THR-08")
@pytest.mark.parametrize(("length", "chance"), [(4, "0.1 %"), (6, "0.001 %"), (8, "0.00001 %")])
@pytest.mark.usefixtures("context")
def test_the_doctor_and_the_documents_say_what_is_outside_of_the_bound(settings: Settings, length: int, chance: str) -> None:
    chosen = replace(settings, code_length=length)
    _, outside, of_staff = [finding.how for finding in doctor.examine(chosen) if finding.part == "guessing"]
    assert f"{devices.MOST_GUESSES} guesses at one account ({chance})" in outside
    assert "intercepted texts, swapped SIM cards" in outside
    assert "0.55 % a year" in of_staff
    for document in ("README.md", "docs/guessing.md", "docs/security.md"):
        text = (Path(config.__file__).parent / document).read_text()
        assert "0.1 %" in text
        assert re.search(r"copied\s+token", text)
