"""Signing in by a code: what `send_code`, `resend_code` and `confirm_code` promise."""

import hashlib
import hmac
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db
from hammer.login import by_code, verifications
from hammer.models import Message, SendAllowance, SessionKind, User, Verification
from hammer.operations import retention
from hammer.quotas import counters, idempotency
from hammer.refusals import InvalidFields, NotAllowed, NotFound, RegionNotServed, TooManyRequests, Unavailable, WrongCode
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
    referrals,
    right,
    sign_in,
    user,
    wrong,
)

pytestmark = pytest.mark.usefixtures("context")

Statements = Callable[[], AbstractContextManager[list[str]]]


def guesses_of(verification: Verification) -> int:
    db.session.expire_all()
    return db.session.get_one(Verification, verification.id).guesses


def wait_told(settings: Settings, telephone_number: str = ANNA) -> int:
    with pytest.raises(TooManyRequests) as refused:
        ask(settings, telephone_number)
    return refused.value.retry_after


def answer_to(settings: Settings, verification: Verification, code: str) -> str:
    with pytest.raises(WrongCode) as refused:
        confirm(settings, verification, code)
    return repr((refused.value.args, refused.value.details))


# The code


def test_the_right_code_signs_in_and_makes_the_user_at_the_first_login(settings: Settings) -> None:
    signed_in = sign_in(settings)
    assert signed_in.created
    assert signed_in.user.telephone_number == ANNA
    assert len(signed_in.user.invite_code) == 6
    assert signed_in.session.user_id == signed_in.user.id
    assert (signed_in.session.kind, signed_in.session.device) == (SessionKind.PROGRAM, "Firefox")


def test_who_was_here_before_is_the_same_user_again_and_again(settings: Settings, clock: Traveller) -> None:
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
def test_a_wrong_guess_outlives_its_refusal(settings: Settings) -> None:
    verification = ask(settings)
    with pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    assert guesses_of(verification) == 1


@pytest.mark.requirement("THR-03")
def test_the_guess_is_spent_before_anything_is_looked_at(settings: Settings, statements: Statements) -> None:
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
def test_wrong_expired_spent_exhausted_and_unknown_are_one_answer(settings: Settings, clock: Traveller) -> None:
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


def test_a_code_of_another_length_tells_nothing_about_a_dead_verification(settings: Settings) -> None:
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


def test_guesses_at_one_verification_leave_another_of_the_same_number_alone(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    attacked, mine = ask(patient), ask(patient)
    for _ in range(4):
        with pytest.raises(WrongCode):
            confirm(settings, attacked, wrong(settings, attacked))
    assert guesses_of(mine) == 0
    assert confirm(settings, mine, right(settings, mine)).created


@pytest.mark.requirement("OTP-03")
def test_the_code_of_one_verification_does_not_open_another(settings: Settings) -> None:
    mine, theirs = ask(settings), ask(settings, BORIS)
    if right(settings, mine) == right(settings, theirs):  # two of ten thousand, by chance
        theirs = ask(settings, "+79290000009")
    with pytest.raises(WrongCode):
        confirm(settings, theirs, right(settings, mine))


@pytest.mark.requirement("OTP-04")
def test_the_code_is_nowhere_in_the_database(settings: Settings) -> None:
    """Neither as it is nor in a hash that somebody with the database alone could try out."""
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
def test_without_the_key_the_database_does_not_lead_to_the_code(settings: Settings) -> None:
    verification = ask(settings)
    others = {verification.code(replace(settings, secret_key=f"another secret {n}").key("codes")) for n in range(50)}
    assert len(others) > 40


# The person


def test_a_blocked_user_is_refused_after_the_code_proved_right(settings: Settings, clock: Traveller) -> None:
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
def test_an_invite_code_that_is_taken_is_drawn_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = user(settings).invite_code
    monkeypatch.setattr("secrets.choice", drawing(taken + taken + "ZZZZZZ"))
    assert sign_in(settings, BORIS).user.invite_code == "ZZZZZZ"


@pytest.mark.requirement("INV-01")
def test_who_finds_no_free_invite_code_is_asked_to_come_back(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = user(settings).invite_code
    verification = ask(settings, BORIS)
    with monkeypatch.context() as unlucky:
        unlucky.setattr("secrets.choice", drawing(taken * 10))
        with pytest.raises(Unavailable):
            confirm(settings, verification, right(settings, verification))
    assert confirm(settings, verification, right(settings, verification)).created


def test_an_invite_that_came_along_is_activated_at_the_first_login(settings: Settings) -> None:
    anna = user(settings)
    boris = sign_in(settings, BORIS, invite_code=anna.invite_code.lower()).user
    assert referrals() == {(boris.id, anna.id)}
    assert count_of(anna.id) == 1


def test_an_invite_that_came_along_to_a_later_login_changes_nothing(settings: Settings) -> None:
    anna, boris = user(settings), user(settings, BORIS)
    sign_in(settings, BORIS, invite_code=anna.invite_code)
    assert referrals() == set()
    assert boris.id


def test_an_unknown_invite_that_came_along_does_not_keep_anybody_out(settings: Settings) -> None:
    assert sign_in(settings, invite_code="ZZZZZZ").created
    assert referrals() == set()


def test_what_cannot_be_an_invite_is_said_before_a_text_is_sent(settings: Settings, memory: list[gateways.Sent]) -> None:
    with pytest.raises(InvalidFields) as refused:
        ask(settings, invite_code="hello there")
    assert set(refused.value.errors) == {"invite_code"}
    assert everything_stored() == []


@pytest.mark.parametrize("kind", [SessionKind.BROWSER, SessionKind.PROGRAM])
def test_the_session_belongs_to_the_door_that_was_used(settings: Settings, kind: SessionKind) -> None:
    assert sign_in(settings, kind=kind).session.kind == kind


# Sends


def test_the_answer_says_how_long_to_wait_and_how_long_the_code_lives(settings: Settings, clock: Traveller) -> None:
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
        assert wait_told(generous) == waits[-1]
        clock.shift(waits[-1] - 1)
        assert wait_told(generous) == 1
        clock.shift(1)
    assert waits == [60, 120, 240, 480, 600, 600, 600]


def test_a_number_gets_five_texts_a_day(settings: Settings, clock: Traveller) -> None:
    began = time_of_day.now()
    for _ in range(5):
        ask(settings)
        clock.shift(600)
    left_of_the_day = counters.DAY - (time_of_day.now() - began)
    assert wait_told(settings) == left_of_the_day.total_seconds()
    clock.shift(left_of_the_day - timedelta(seconds=1))
    assert wait_told(settings) == 1
    clock.shift(1)
    assert by_code.send_code(settings, ANNA, HOME).resend_in == 60


def test_success_ends_the_wait(settings: Settings) -> None:
    sign_in(settings)
    assert by_code.send_code(settings, ANNA, HOME).resend_in == 60


def test_success_gives_no_more_texts_that_day(settings: Settings) -> None:
    for _ in range(5):
        sign_in(settings)
    assert wait_told(settings) > 23 * 3600


def test_a_wrong_code_does_not_end_the_wait(settings: Settings) -> None:
    verification = ask(settings)
    with pytest.raises(WrongCode):
        confirm(settings, verification, wrong(settings, verification))
    assert wait_told(settings) > 50


@pytest.mark.requirement("PHN-01", "SMS-03")
def test_another_spelling_has_no_allowance_of_its_own(settings: Settings) -> None:
    ask(settings, "+79290000001")
    for spelling in ("89290000001", "8 (929) 000-00-01", " +7 929 000 00 01 ", "9290000001", "+7-929-000-00-01"):
        assert wait_told(settings, spelling) > 50
    assert db.session.query(SendAllowance).count() == 1


def test_another_number_has_its_own_allowance(settings: Settings) -> None:
    ask(settings, ANNA)
    ask(settings, BORIS)
    assert db.session.query(Message).count() == 2


def test_a_refused_send_leaves_no_verification_and_no_text(settings: Settings) -> None:
    ask(settings)
    wait_told(settings)
    assert (db.session.query(Verification).count(), db.session.query(Message).count()) == (1, 1)


def test_a_refused_send_does_not_make_the_wait_longer(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    clock.shift(59)
    for _ in range(10):
        assert wait_told(settings) == 1


def test_the_allowance_names_nobody(settings: Settings) -> None:
    ask(settings)
    kept = db.session.query(SendAllowance).one().number_hash
    assert ANNA[1:] not in kept
    assert kept not in {hashlib.sha256(text.encode()).hexdigest() for text in (ANNA, ANNA[1:], ANNA[2:])}


@pytest.mark.requirement("SMS-04")
def test_a_number_that_gets_no_texts_leaves_nothing_behind(settings: Settings) -> None:
    with pytest.raises(RegionNotServed):
        ask(settings, "+7 495 123-45-67")
    assert everything_stored() == []


# Once more, please


def test_the_same_attempt_twice_is_one_verification_and_another_one_waits(settings: Settings, clock: Traveller) -> None:
    form, other_form = (idempotency.made(settings, shown, call="signup") for shown in ("a form", "another form"))
    first = by_code.send_code(settings, ANNA, HOME, key=form)
    assert by_code.send_code(settings, ANNA, HOME, key=form).verification.id == first.verification.id
    with pytest.raises(TooManyRequests):
        by_code.send_code(settings, ANNA, HOME, key=other_form)
    clock.shift(idempotency.LIFETIME)
    assert by_code.send_code(settings, ANNA, HOME, key=form).verification.id != first.verification.id


@pytest.mark.requirement("OTP-02", "OTP-03")
@pytest.mark.parametrize("gone", ["pruned", "deleted", "moved"])
def test_a_request_whose_verification_is_gone_gets_another_code(settings: Settings, clock: Traveller, gone: str) -> None:
    key = idempotency.made(settings, "a form", call="signup", lifetime=timedelta(days=9))
    first = by_code.send_code(settings, ANNA, HOME, key=key).verification
    them = confirm(settings, first, right(settings, first))
    if gone == "pruned":
        clock.shift(timedelta(days=2))
        retention.prune()
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
def test_a_clock_that_is_set_back_lets_no_code_live_for_longer(settings: Settings, clock: Traveller) -> None:
    clock.shift(timedelta(hours=5))
    verification = ask(settings)
    clock.shift(timedelta(hours=-5))
    with pytest.raises(WrongCode):
        confirm(settings, verification, right(settings, verification))
    with pytest.raises(NotFound):
        by_code.resend_code(settings, verification.id, HOME)
    assert verifications.pending(settings, verification.id) is None
    retention.prune()
    clock.shift(timedelta(hours=5))
    with pytest.raises(WrongCode):
        confirm(settings, verification, right(settings, verification))


def test_servers_whose_clocks_differ_by_seconds_know_each_others_codes(settings: Settings, clock: Traveller) -> None:
    verification = ask(settings)
    clock.shift(-time_of_day.APART)
    retention.prune()
    assert confirm(settings, verification, right(settings, verification)).created


@pytest.mark.requirement("OTP-03", "THR-02")
def test_a_resend_carries_the_same_code_with_the_same_expiry_and_guesses(
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


def test_a_resend_waits_as_a_send_does(settings: Settings) -> None:
    verification = ask(settings)
    with pytest.raises(TooManyRequests):
        by_code.resend_code(settings, verification.id, HOME)


def test_a_resend_takes_one_of_the_texts_of_the_day(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=2)
    verification = ask(patient)
    by_code.resend_code(patient, verification.id, HOME)
    with pytest.raises(TooManyRequests):
        ask(patient)


@pytest.mark.parametrize("over", ["unknown", "consumed", "expired", "exhausted"])
def test_what_is_over_is_not_sent_again(settings: Settings, clock: Traveller, over: str) -> None:
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


# Demo mode


@pytest.fixture
def demo(settings: Settings) -> Settings:
    return replace(settings, demo=True)


def test_demo_finds_the_one_verification_by_its_code_alone(settings: Settings, demo: Settings) -> None:
    verification = ask(settings)
    assert verifications.meant_in_demo(demo, right(settings, verification)) == verification.id


def test_demo_finds_nothing_by_a_code_that_two_have(settings: Settings, demo: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)
    same: dict[str, list[str]] = {}
    for _ in range(600):  # of 600 codes among 10,000 some two are the same, but for one time in 10^8
        verification = ask(patient)
        same.setdefault(right(settings, verification), []).append(verification.id)
        if len(same[right(settings, verification)]) == 2:
            break
    code = next(code for code, ids in same.items() if len(ids) == 2)
    assert verifications.meant_in_demo(demo, code) == ""


def test_demo_counts_a_wrong_guess_against_the_number(settings: Settings, demo: Settings) -> None:
    verification = ask(settings)
    assert verifications.meant_in_demo(demo, wrong(settings, verification), "8 929 000 00 01") == verification.id


def test_demo_finds_nothing_by_a_code_that_nobody_has(demo: Settings) -> None:
    assert verifications.meant_in_demo(demo, "0000") == ""
    assert verifications.meant_in_demo(demo, "0000", ANNA) == ""
    with pytest.raises(WrongCode):
        by_code.confirm_code(demo, "", "0000", kind=SessionKind.PROGRAM, device="", address=HOME.address)


def test_demo_says_what_is_no_code(demo: Settings) -> None:
    with pytest.raises(InvalidFields):
        verifications.meant_in_demo(demo, "not a code")


@pytest.mark.parametrize("number", [None, ANNA])
def test_outside_demo_mode_nobody_is_found_by_a_code(settings: Settings, number: str | None) -> None:
    verification = ask(settings)
    with pytest.raises(InvalidFields) as refused:
        verifications.meant_in_demo(settings, right(settings, verification), number)
    assert set(refused.value.errors) == {"verification_id"}


def test_nothing_is_made_by_looking_at_what_is_pending(settings: Settings, statements: Statements) -> None:
    verification = ask(settings)
    before = everything_stored()
    with statements() as seen:
        verifications.pending(settings, verification.id)
    assert all(statement.startswith("SELECT") for statement in seen)
    assert everything_stored() == before


def test_no_user_is_made_before_the_code_is_confirmed(settings: Settings) -> None:
    ask(settings)
    assert db.session.query(User).count() == 0
