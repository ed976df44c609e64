"""Signing in by a code: what `send_code` and `confirm_code` promise."""

import hashlib
import hmac
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer.db.database import db
from hammer.login import by_code, verifications
from hammer.models import SessionKind, User, Verification
from hammer.refusals import InvalidFields, NotAllowed, Unavailable, WrongCode
from hammer.sms import gateways
from hammer.users import accounts, people
from tests.actions import (
    ANNA,
    BORIS,
    HOME,
    STRANGER_ID,
    ask,
    confirm,
    count_of,
    drawing,
    everything_stored,
    guesses_of,
    referrals,
    right,
    sign_in,
    user,
    wrong,
)

pytestmark = pytest.mark.usefixtures("context")

Statements = Callable[[], AbstractContextManager[list[str]]]


def answer_to(settings: Settings, verification: Verification, code: str) -> str:
    with pytest.raises(WrongCode) as refused:
        confirm(settings, verification, code)
    return repr((refused.value.args, refused.value.details))


# The code


def test_the_right_code_signs_in_and_creates_the_user_at_the_first_login(settings: Settings) -> None:
    signed_in = sign_in(settings)
    assert signed_in.created
    assert signed_in.user.telephone_number == ANNA
    assert len(signed_in.user.invite_code) == 6
    assert signed_in.session.user_id == signed_in.user.id
    assert (signed_in.session.kind, signed_in.session.device) == (SessionKind.PROGRAM, "Firefox")


def test_a_later_login_signs_the_same_user_in(settings: Settings, clock: Traveller) -> None:
    first = sign_in(settings)
    for _ in range(3):
        clock.shift(61)
        again = sign_in(settings)
        assert not again.created
        assert (again.user.id, again.user.invite_code) == (first.user.id, first.user.invite_code)
        assert again.session.id != first.session.id


def test_the_code_may_be_typed_with_spaces_and_hyphens(settings: Settings) -> None:
    verification = ask(settings)
    code = right(settings, verification)
    assert confirm(settings, verification, f" {code[:2]}-{code[2:]}\n").created


@pytest.mark.requirement("THR-02")
def test_after_three_wrong_guesses_even_the_right_code_fails(settings: Settings) -> None:
    verification = ask(settings)
    left = []
    for _ in range(3):
        with pytest.raises(WrongCode) as refused:
            confirm(settings, verification, wrong(settings, verification))
        left.append(refused.value.attempts_left)
    assert left == [2, 1, 0]
    with pytest.raises(WrongCode) as refused:
        confirm(settings, verification, right(settings, verification))
    assert refused.value.attempts_left == 0


def test_the_third_guess_may_still_be_right(settings: Settings) -> None:
    verification = ask(settings)
    for _ in range(2):
        with pytest.raises(WrongCode):
            confirm(settings, verification, wrong(settings, verification))
    assert confirm(settings, verification, right(settings, verification)).created


@pytest.mark.requirement("THR-02")
def test_a_wrong_guess_stays_taken_after_its_refusal(settings: Settings) -> None:
    verification = ask(settings)
    with pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    assert guesses_of(verification) == 1


@pytest.mark.requirement("THR-03")
def test_the_guess_is_taken_before_anything_is_read(settings: Settings, statements: Statements) -> None:
    verification = ask(settings)
    with statements() as seen, pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    about_codes = [statement for statement in seen if "verifications" in statement]
    assert about_codes[0].startswith("UPDATE verifications SET guesses=(verifications.guesses + ")


@pytest.mark.requirement("OTP-02")
def test_a_code_works_once(settings: Settings) -> None:
    verification = ask(settings)
    confirm(settings, verification, right(settings, verification))
    with pytest.raises(WrongCode) as refused:
        confirm(settings, verification, right(settings, verification))
    assert refused.value.attempts_left == 0


@pytest.mark.parametrize(("seconds", "works"), [(299, True), (300, False), (301, False)])
@pytest.mark.requirement("OTP-02")
def test_a_code_works_for_five_minutes(settings: Settings, clock: Traveller, seconds: int, works: bool) -> None:
    verification = ask(settings)
    clock.shift(seconds)
    if works:
        assert confirm(settings, verification, right(settings, verification)).created
    else:
        with pytest.raises(WrongCode):
            confirm(settings, verification, right(settings, verification))


@pytest.mark.requirement("OTP-05")
def test_wrong_expired_used_exhausted_and_unknown_codes_get_one_answer(settings: Settings, clock: Traveller) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    unknown = Verification(id=STRANGER_ID)
    spent, exhausted, expired = ask(patient), ask(patient), ask(patient)
    confirm(settings, spent, right(settings, spent))
    for _ in range(2):
        with pytest.raises(WrongCode):
            confirm(settings, exhausted, wrong(settings, exhausted))
    answers = [answer_to(settings, unknown, "1234"), answer_to(settings, spent, right(settings, spent))]
    answers += [answer_to(settings, exhausted, wrong(settings, exhausted))]
    clock.shift(301)
    answers += [answer_to(settings, expired, right(settings, expired)), answer_to(settings, expired, wrong(settings, expired))]
    assert len(set(answers)) == 1


@pytest.mark.parametrize("typed", ["12345", "123456", "12345678"])
@pytest.mark.requirement("OTP-07")
def test_a_code_of_another_length_takes_no_guess(settings: Settings, typed: str) -> None:
    verification = ask(settings)
    with pytest.raises(InvalidFields) as refused:
        confirm(settings, verification, typed)
    assert refused.value.errors == {"code": [verifications.OF_LENGTH[4]]}
    assert guesses_of(verification) == 0


@pytest.mark.parametrize(
    "typed", ["", "123", "123456789", "12a4", "\u2460\u2461\u2462\u2463", "29.11.2026", "12\x0034", "🔨🔨🔨🔨"]
)
@pytest.mark.requirement("OTP-07")
def test_what_cannot_be_a_code_takes_no_guess(settings: Settings, typed: str) -> None:
    verification = ask(settings)
    with pytest.raises(InvalidFields) as refused:
        confirm(settings, verification, typed)
    assert refused.value.errors == {"code": [verifications.OF_LENGTH[4]]}
    assert guesses_of(verification) == 0


def test_a_code_of_another_length_shows_nothing_about_a_verification_that_is_over(settings: Settings) -> None:
    verification = ask(settings)
    confirm(settings, verification, right(settings, verification))
    with pytest.raises(WrongCode):
        confirm(settings, verification, "123456")


@pytest.mark.parametrize("length", [4, 6, 8])
@pytest.mark.requirement("OTP-06")
def test_codes_have_the_length_that_is_set(settings: Settings, length: int) -> None:
    longer = replace(settings, code_length=length)
    verification = ask(longer)
    assert len(right(longer, verification)) == length
    assert confirm(longer, verification, right(longer, verification)).created


def test_guesses_at_one_verification_do_not_count_for_another_of_the_same_number(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    attacked, mine = ask(patient), ask(patient)
    for _ in range(4):
        with pytest.raises(WrongCode):
            confirm(settings, attacked, wrong(settings, attacked))
    assert guesses_of(mine) == 0
    assert confirm(settings, mine, right(settings, mine)).created


@pytest.mark.requirement("OTP-03")
def test_the_code_of_one_verification_does_not_prove_another(settings: Settings) -> None:
    mine, theirs = ask(settings), ask(settings, BORIS)
    if right(settings, mine) == right(settings, theirs):  # two of ten thousand can be equal by chance
        theirs = ask(settings, "+79290000009")
    with pytest.raises(WrongCode):
        confirm(settings, theirs, right(settings, mine))


@pytest.mark.requirement("OTP-04")
def test_the_code_is_nowhere_in_the_database(settings: Settings) -> None:
    """Neither in plain form nor as a hash that a person with only the database could search for it."""
    verification = ask(settings)
    with pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    stored = set(everything_stored())
    companions = ("", verification.id, ANNA, verification.id + ANNA, ANNA + verification.id)
    for n in range(10_000):
        code = f"{n:04d}"
        assert code not in stored
        for companion in companions:
            for text in {code + companion, companion + code, f"{companion}|{code}", f"{companion}:{code}"}:
                assert hashlib.sha256(text.encode()).hexdigest() not in stored
        assert hashlib.md5(code.encode(), usedforsecurity=False).hexdigest() not in stored
        assert hashlib.sha1(code.encode(), usedforsecurity=False).hexdigest() not in stored
        assert hmac.new(verification.id.encode(), code.encode(), "sha256").hexdigest() not in stored


@pytest.mark.requirement("OTP-04")
def test_without_the_key_the_code_cannot_be_computed_from_the_database(settings: Settings) -> None:
    verification = ask(settings)
    others = {verification.code(replace(settings, secret_key=f"another secret {n}").key("codes")) for n in range(50)}
    assert len(others) > 40


# The user


def test_a_blocked_user_is_refused_after_a_right_code(settings: Settings, clock: Traveller) -> None:
    user_id = user(settings).id
    accounts.set_blocked(user_id, True)
    clock.shift(61)
    verification = ask(settings)
    with pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    with pytest.raises(NotAllowed):
        confirm(settings, verification, right(settings, verification))
    with pytest.raises(WrongCode):
        confirm(settings, verification, right(settings, verification))


def test_an_unblocked_user_signs_in_again(settings: Settings, clock: Traveller) -> None:
    user_id = user(settings).id
    accounts.set_blocked(user_id, True)
    accounts.set_blocked(user_id, False)
    clock.shift(61)
    assert sign_in(settings).user.id == user_id


@pytest.mark.requirement("OTP-05")
def test_known_and_unknown_numbers_cost_the_same_statements(settings: Settings, statements: Statements) -> None:
    user(settings)
    user(settings, BORIS)
    accounts.delete(settings, people.find(settings, BORIS))
    with statements() as known:
        ask(settings)
    with statements() as unknown:
        ask(settings, BORIS)
    assert known == unknown


@pytest.mark.requirement("INV-01")
def test_an_invite_code_that_is_taken_is_replaced_by_another(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = user(settings).invite_code
    monkeypatch.setattr("secrets.choice", drawing(taken + taken + "ZZZZZZ"))
    assert sign_in(settings, BORIS).user.invite_code == "ZZZZZZ"


@pytest.mark.requirement("INV-01")
def test_a_first_login_without_a_free_invite_code_is_refused_for_now(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = user(settings).invite_code
    verification = ask(settings, BORIS)
    with monkeypatch.context() as unlucky:
        unlucky.setattr("secrets.choice", drawing(taken * 10))
        with pytest.raises(Unavailable):
            confirm(settings, verification, right(settings, verification))
    assert confirm(settings, verification, right(settings, verification)).created


def test_an_invite_code_is_activated_at_the_first_login(settings: Settings) -> None:
    anna = user(settings)
    boris = sign_in(settings, BORIS, invite_code=anna.invite_code.lower()).user
    assert referrals() == {(boris.id, anna.id)}
    assert count_of(anna.id) == 1


def test_an_invite_code_changes_nothing_at_a_later_login(settings: Settings) -> None:
    anna, boris = user(settings), user(settings, BORIS)
    sign_in(settings, BORIS, invite_code=anna.invite_code)
    assert referrals() == set()
    assert boris.id


def test_an_unknown_invite_code_does_not_prevent_a_first_login(settings: Settings) -> None:
    assert sign_in(settings, invite_code="ZZZZZZ").created
    assert referrals() == set()


def test_what_cannot_be_an_invite_code_is_refused_before_a_message_is_sent(settings: Settings, memory: list[gateways.Sent]) -> None:
    with pytest.raises(InvalidFields) as refused:
        ask(settings, invite_code="hello there")
    assert set(refused.value.errors) == {"invite_code"}
    assert everything_stored() == []


@pytest.mark.parametrize("kind", [SessionKind.BROWSER, SessionKind.PROGRAM])
def test_the_session_is_of_the_kind_that_was_asked_for(settings: Settings, kind: SessionKind) -> None:
    assert sign_in(settings, kind=kind).session.kind == kind


# Demo mode


@pytest.fixture
def demo(settings: Settings) -> Settings:
    return replace(settings, demo=True)


def test_demo_mode_finds_the_one_verification_by_its_code_alone(settings: Settings, demo: Settings) -> None:
    verification = ask(settings)
    assert verifications.meant_in_demo(demo, right(settings, verification)) == verification.id


def test_demo_mode_finds_nothing_by_a_code_that_two_verifications_have(settings: Settings, demo: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)
    same: dict[str, list[str]] = {}
    for _ in range(600):  # among 600 of 10,000 codes two are equal, except once in 10^8 runs
        verification = ask(patient)
        same.setdefault(right(settings, verification), []).append(verification.id)
        if len(same[right(settings, verification)]) == 2:
            break
    code = next(code for code, ids in same.items() if len(ids) == 2)
    assert verifications.meant_in_demo(demo, code) == ""


def test_demo_mode_counts_a_wrong_guess_for_the_number(settings: Settings, demo: Settings) -> None:
    verification = ask(settings)
    assert verifications.meant_in_demo(demo, wrong(settings, verification), "8 929 000 00 01") == verification.id


def test_demo_mode_finds_nothing_by_a_code_that_no_verification_has(demo: Settings) -> None:
    assert verifications.meant_in_demo(demo, "0000") == ""
    assert verifications.meant_in_demo(demo, "0000", ANNA) == ""
    with pytest.raises(WrongCode):
        by_code.confirm_code(demo, "", "0000", kind=SessionKind.PROGRAM, device="", address=HOME.address)


def test_demo_mode_refuses_what_cannot_be_a_code(demo: Settings) -> None:
    with pytest.raises(InvalidFields):
        verifications.meant_in_demo(demo, "not a code")


@pytest.mark.parametrize("number", [None, ANNA])
def test_outside_demo_mode_no_verification_is_found_by_a_code(settings: Settings, number: str | None) -> None:
    verification = ask(settings)
    with pytest.raises(InvalidFields) as refused:
        verifications.meant_in_demo(settings, right(settings, verification), number)
    assert set(refused.value.errors) == {"verification_id"}


def test_reading_a_pending_verification_changes_nothing(settings: Settings, statements: Statements) -> None:
    verification = ask(settings)
    before = everything_stored()
    with statements() as seen:
        verifications.pending(settings, verification.id)
    assert all(statement.startswith("SELECT") for statement in seen)
    assert everything_stored() == before


def test_no_user_is_created_before_the_code_is_confirmed(settings: Settings) -> None:
    ask(settings)
    assert db.session.query(User).count() == 0
