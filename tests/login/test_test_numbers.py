"""Test numbers: the fixed code, what it is not good for, and its end."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from time_machine import Traveller, travel

from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.login import by_code, verifications
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import Counter, Message, SessionKind, User, Verification
from hammer.quotas import guesses
from hammer.refusals import InvalidFields, NotAllowed, NotFound, NotSignedIn, TooManyRequests, Unavailable, WrongCode
from hammer.sessions import devices, sessions
from hammer.users import accounts
from tests.actions import ANNA, BORIS, CLARA, HOME, ask, confirm, no_wait, right, sign_in, user, wrong_code
from tests.test_events import Noted, Trail, trail

__all__ = ["trail"]

pytestmark = pytest.mark.usefixtures("context")

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CODE, LONG_CODE = "482915", "90715526"


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with travel(NOON, tick=False) as standing:
        yield standing


@pytest.fixture
def listed(settings: Settings, noon: Traveller) -> Settings:
    """Settings with two test numbers that end with the last day of the year, and without waits between texts."""
    return replace(
        settings,
        test_numbers={ANNA: CODE, BORIS: LONG_CODE},
        test_numbers_until=date(2026, 12, 31),
        resend_wait=timedelta(0),
        sends_per_number_day=10_000,
    )


def enter(settings: Settings, telephone_number: str = ANNA, code: str = CODE, *, asker: Asker = HOME) -> SignedIn:
    return confirm(settings, ask(settings, telephone_number, asker=asker), code)


def miss(settings: Settings, asked: Verification, code: str = wrong_code(CODE)) -> int:
    """Enters a wrong code. Returns how many guesses are left."""
    with pytest.raises(WrongCode) as refused:
        confirm(settings, asked, code)
    return refused.value.attempts_left


# The fixed code


def test_a_test_number_signs_in_with_its_fixed_code_and_gets_no_text(listed: Settings) -> None:
    first = enter(listed)
    again = enter(listed)
    assert (first.created, again.created, first.user.id) == (True, False, again.user.id)
    assert db.session.query(Message).count() == 0


def test_a_code_is_as_long_as_the_fixed_one(listed: Settings) -> None:
    assert [ask(listed, number).code_length for number in (ANNA, BORIS, CLARA)] == [6, 8, 4]
    assert enter(listed, BORIS, LONG_CODE).created
    with pytest.raises(InvalidFields):
        confirm(listed, ask(listed), LONG_CODE)


def test_only_the_fixed_code_is_right(listed: Settings) -> None:
    asked = ask(listed)
    assert miss(listed, asked, right(listed, asked)) == 2


def test_the_fixed_code_is_that_of_its_number_alone(listed: Settings) -> None:
    others = replace(listed, code_length=6)
    assert miss(others, ask(others, CLARA), CODE) == 2
    assert miss(listed, ask(replace(listed, code_length=6), BORIS), CODE[::-1] + "00") == 2


def test_a_code_that_is_sent_again_sends_no_text_either(listed: Settings) -> None:
    asked = ask(listed)
    again = by_code.resend_code(listed, asked.id, HOME)
    assert again.verification.id == asked.id
    assert confirm(listed, asked, CODE).created
    assert db.session.query(Message).count() == 0


def test_a_fixed_code_works_once_for_each_verification(listed: Settings) -> None:
    asked = ask(listed)
    confirm(listed, asked, CODE)
    assert miss(listed, asked, CODE) == 0


def test_each_use_is_an_event_and_no_code_is_said_to_be_sent(listed: Settings, trail: Trail) -> None:
    anna = enter(listed).user
    used = Noted(events.Kind.TEST_NUMBER_USED, anna.id)
    assert trail.new() == [used, Noted(events.Kind.SIGNED_UP, anna.id)]
    enter(listed)
    assert trail.new() == [used, Noted(events.Kind.SIGNED_IN, anna.id)]
    asked = ask(listed)
    miss(listed, asked)
    assert trail.new() == []


# Limits


def test_texts_that_are_not_sent_count_as_those_that_are(listed: Settings) -> None:
    few = replace(listed, sends_per_number_day=2)
    by_code.resend_code(few, ask(few).id, HOME)
    with pytest.raises(TooManyRequests):
        ask(few)
    waiting = replace(listed, resend_wait=timedelta(seconds=60))
    ask(waiting, BORIS)
    with pytest.raises(TooManyRequests):
        ask(waiting, BORIS)


@pytest.mark.requirement("THR-01", "THR-02", "THR-03")
@pytest.mark.parametrize(
    ("number", "place", "is_found"),
    [(ANNA, f"{80:06}", True), (ANNA, f"{81:06}", False), (BORIS, f"{400:08}", True), (BORIS, f"{401:08}", False)],
)
def test_in_ninety_days_eighty_codes_of_six_digits_are_tried_and_four_hundred_of_eight(
    listed: Settings, noon: Traveller, number: str, place: str, is_found: bool
) -> None:
    """An attacker tries 1, 2, 3 and so on, as many each day as are compared. The last day is ninety days after the first."""
    settings = replace(listed, test_numbers={number: place}, test_numbers_until=(NOON + timedelta(days=90)).date())
    tried = select(func.coalesce(func.sum(Counter.taken), 0)).where(Counter.scope == guesses.scope(settings.number_hash(number)))

    def is_found_today() -> bool:
        with suppress(TooManyRequests):
            while True:
                asked = ask(settings, number)
                for _ in range(3):
                    with suppress(WrongCode):
                        confirm(settings, asked, str(int(db.session.scalar(tried) or 0) + 1).zfill(len(place)))
                        return True
        return False

    for _ in range(91):
        if is_found_today():
            assert is_found
            return
        noon.shift(timedelta(days=1))
    assert not is_found


@pytest.mark.requirement("THR-04")
def test_a_spent_ladder_voids_the_fixed_code_until_guesses_are_forgotten(listed: Settings, noon: Traveller) -> None:
    waiting = ask(listed)
    for _ in range(7):
        asked = ask(listed)
        for _ in range(3):
            miss(listed, asked)
    assert miss(listed, waiting, CODE) == 0
    with pytest.raises(TooManyRequests) as closed:
        ask(listed)
    assert closed.value.sentence == guesses.NUMBER_CLOSED
    with pytest.raises(NotFound):
        by_code.resend_code(listed, waiting.id, HOME)
    noon.shift(timedelta(seconds=closed.value.retry_after))
    assert enter(listed).created


@pytest.mark.requirement("THR-04")
def test_a_spent_budget_voids_the_fixed_codes_of_its_length(listed: Settings) -> None:
    with pytest.raises(Unavailable):
        enter(replace(listed, guess_budgets={4: 20, 6: 0, 8: 10}))
    assert enter(replace(listed, guess_budgets={4: 20, 6: 0, 8: 10}), BORIS, LONG_CODE).created


def test_wrong_guesses_count_in_the_budget_and_only_those_of_a_success_are_returned(listed: Settings) -> None:
    lost, won = ask(listed), ask(listed)
    for asked in (lost, lost, won):
        miss(listed, asked)
    confirm(listed, won, CODE)
    assert sum(counter.taken for counter in db.session.query(Counter).filter_by(scope="guesses/6")) == 2


@pytest.mark.requirement("THR-06")
def test_who_knows_a_fixed_code_gets_no_known_device(listed: Settings, noon: Traveller) -> None:
    """Neither for guesses at the next fixed code, nor at codes of the number after its end."""
    at_home = Asker(HOME.address, "en", devices.token(listed, enter(listed).device))
    assert ask(listed, asker=at_home).device_id is None
    noon.move_to(datetime(2027, 1, 1, tzinfo=UTC))
    assert ask(listed, asker=at_home).device_id is None


def test_guesses_of_a_device_that_was_known_before_are_counted_for_the_number(settings: Settings, listed: Settings) -> None:
    known = sign_in(settings)
    at_home = Asker(HOME.address, "en", devices.token(settings, known.device))
    no_wait()
    before = ask(replace(settings, code_length=6), asker=at_home)
    assert before.device_id == known.device.id
    assert miss(listed, before, CODE) == 2
    assert ask(listed, asker=at_home).device_id is None
    assert enter(listed, asker=at_home).user.id == known.user.id


# The end


def test_a_test_number_is_one_until_the_last_second_of_its_day_and_then_a_number_like_any_other(
    listed: Settings, noon: Traveller
) -> None:
    noon.move_to(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    enter(listed)
    pending = ask(listed)
    noon.shift(timedelta(seconds=1))
    assert miss(listed, pending, CODE) == 2
    asked = ask(listed)
    assert asked.code_length == 4
    assert db.session.query(Message).one().verification_id == asked.id
    assert confirm(listed, asked, right(listed, asked)).user.id


def test_sessions_of_a_fixed_code_end_with_it(listed: Settings, noon: Traveller) -> None:
    noon.move_to(datetime(2026, 12, 31, 12, tzinfo=UTC))
    program, browser = enter(listed), confirm(listed, ask(listed, BORIS), LONG_CODE, kind=SessionKind.BROWSER)
    others = sign_in(listed, CLARA)
    refresh, cookie = sessions.refresh_token(listed, program.session), sessions.cookie(listed, browser.session)
    noon.move_to(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert sessions.by_cookie(listed, cookie) is not None
    noon.shift(timedelta(seconds=1))
    assert sessions.by_cookie(listed, cookie) is None
    with pytest.raises(NotSignedIn):
        sessions.refresh(listed, refresh)
    assert sessions.caller(others.session.id, SessionKind.PROGRAM) is not None


def test_a_session_lives_no_longer_than_others_where_the_end_is_far(listed: Settings) -> None:
    assert enter(replace(listed, test_numbers_until=date(2027, 2, 20))).session.expires_at == NOON + timedelta(days=30)


# Never staff


def test_the_user_of_a_test_number_does_not_become_staff(listed: Settings) -> None:
    anna = enter(listed).user
    with pytest.raises(NotAllowed) as refused:
        accounts.set_staff(listed, anna.id, True)
    assert "cannot be staff" in refused.value.sentence
    with pytest.raises(NotAllowed):
        accounts.create(listed, BORIS, {}, is_staff=True)
    assert db.session.query(User).filter_by(is_staff=True).count() == 0
    assert accounts.create(listed, BORIS, {})


def test_staff_whose_number_becomes_a_test_number_get_texts_and_their_fixed_code_is_wrong(
    settings: Settings, listed: Settings
) -> None:
    accounts.create(settings, ANNA, {}, is_staff=True)
    asked = ask(listed)
    assert asked.code_length == 4
    assert db.session.query(Message).one().verification_id == asked.id
    with pytest.raises(InvalidFields):
        confirm(listed, asked, CODE)
    assert confirm(listed, asked, right(listed, asked)).user.is_staff
    long = ask(replace(listed, code_length=6))
    assert miss(listed, long, CODE) == 2
    by_code.resend_code(listed, long.id, HOME)
    assert db.session.query(Message).filter_by(verification_id=long.id).count() == 2
    accounts.set_staff(listed, db.session.query(User.id).scalar(), False)


def test_a_code_that_was_asked_for_before_its_user_was_staff_is_void(listed: Settings) -> None:
    anna = enter(listed).user
    asked = ask(listed)
    with transaction() as tx:
        tx.execute(update(User).where(User.id == anna.id).values(is_staff=True))
    assert miss(listed, asked, CODE) == 2


# Its account


def test_no_account_moves_to_a_test_number_and_none_from_it(settings: Settings, listed: Settings) -> None:
    anna, clara = enter(listed), sign_in(listed, CLARA)
    before = accounts.ask_number(settings, clara.user.id, clara.session.id, BORIS, HOME).verification
    for them, number in ((clara, BORIS), (anna, "+79290000009")):
        with pytest.raises(InvalidFields):
            accounts.ask_number(listed, them.user.id, them.session.id, number, HOME)
        with pytest.raises(InvalidFields):
            accounts.move(listed, them.user.id, number, language="en")
    with pytest.raises(InvalidFields):
        accounts.change_number(listed, clara.user.id, clara.session.id, before.id, right(listed, before))
    assert {found for (found,) in db.session.query(User.telephone_number)} == {ANNA, CLARA}


def test_the_fixed_code_proves_the_number_for_the_deletion_of_the_account(listed: Settings, noon: Traveller) -> None:
    anna = enter(listed)
    noon.shift(timedelta(minutes=6))
    with pytest.raises(NotAllowed):
        accounts.delete(listed, anna.user.id, actor_id=anna.user.id, session_id=anna.session.id)
    again = enter(listed)
    accounts.delete(listed, anna.user.id, actor_id=anna.user.id, session_id=again.session.id)
    assert enter(listed).created


def test_a_change_of_number_does_not_take_a_fixed_code(settings: Settings, listed: Settings) -> None:
    clara = sign_in(listed, CLARA)
    six = replace(settings, code_length=6)
    asked = accounts.ask_number(six, clara.user.id, clara.session.id, ANNA, HOME).verification
    with pytest.raises(WrongCode):
        accounts.change_number(listed, clara.user.id, clara.session.id, asked.id, CODE)


# Demo mode


def test_demo_mode_neither_shows_nor_finds_a_fixed_code(listed: Settings) -> None:
    demo = replace(listed, demo=True)
    asked, others = ask(demo), ask(demo, CLARA)
    assert verifications.shown_in_demo(demo, asked) is None
    assert verifications.shown_in_demo(demo, others) == right(demo, others)
    assert verifications.shown_in_demo(listed, others) is None
    assert verifications.meant_in_demo(demo, CODE) == ""


def test_blocked_users_of_test_numbers_stay_out(listed: Settings) -> None:
    accounts.set_blocked(enter(listed).user.id, True)
    with pytest.raises(NotAllowed):
        enter(listed)


def test_nothing_changes_for_others(listed: Settings) -> None:
    assert user(listed, CLARA).telephone_number == CLARA
    assert db.session.query(Message).count() == 1
