"""Change of number: a fresh proof of the old one, a code to the new one, and a notice to the old one."""

import re
import string
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.login import verifications
from hammer.login.by_code import SignedIn
from hammer.models import Event, Message, MessageState, SessionKind, User, Verification
from hammer.operations import retention
from hammer.refusals import InvalidFields, NotAllowed, RegionNotServed, TelephoneNumberTaken, TooManyRequests, WrongCode
from hammer.sessions import sessions
from hammer.sms import gateways, outbox
from hammer.sms import messages as words_of
from hammer.users import accounts
from tests import delivery
from tests.actions import ANNA, BORIS, CLARA, HOME, ask, confirm, no_wait, right, sign_in, user, wrong
from tests.serving import at_once

pytestmark = pytest.mark.requirement("OTP-08")

NEW = CLARA
GSM_7 = set("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà" + string.ascii_letters + string.digits)
in_context = pytest.mark.usefixtures("context")


def ask_for(settings: Settings, them: SignedIn, number: str = NEW) -> Verification:
    return accounts.ask_number(settings, them.user.id, them.session.id, number, HOME).verification


def change(settings: Settings, them: SignedIn, asked: Verification, code: str, *, end_other_sessions: bool = False) -> None:
    accounts.change_number(settings, them.user.id, them.session.id, asked.id, code, end_other_sessions=end_other_sessions)


def number_of(them: SignedIn) -> str | None:
    db.session.expire_all()
    return db.session.get_one(User, them.user.id).telephone_number


# The rule


@in_context
def test_the_code_that_was_sent_to_a_number_changes_to_it(settings: Settings, memory: list[gateways.Sent]) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    assert number_of(anna) == ANNA
    assert delivery.code_for(settings, NEW) == right(settings, asked)
    change(settings, anna, asked, right(settings, asked))
    assert number_of(anna) == NEW
    again = sign_in(settings, NEW)
    assert (again.user.id, again.created) == (anna.user.id, False)


@in_context
@pytest.mark.requirement("PHN-01")
@pytest.mark.parametrize("spelling", ["8 (929) 000-00-03", "79290000003", "+7 929 000 00 03"])
def test_any_spelling_of_the_new_number_is_the_same_number(settings: Settings, spelling: str) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna, spelling)
    change(settings, anna, asked, right(settings, asked))
    assert number_of(anna) == NEW


@in_context
def test_the_old_number_must_have_been_proved_within_five_minutes(settings: Settings, clock: Traveller) -> None:
    anna = sign_in(settings)
    clock.shift(299)
    ask_for(settings, anna)
    clock.shift(1)
    with pytest.raises(NotAllowed) as refused:
        ask_for(settings, anna, BORIS)
    assert refused.value.sentence == accounts.SIGN_IN_AGAIN
    assert db.session.query(Verification).filter_by(telephone_number=BORIS).count() == 0


@in_context
def test_a_refresh_of_tokens_is_no_fresh_proof(settings: Settings, clock: Traveller) -> None:
    anna = sign_in(settings)
    clock.shift(300)
    sessions.refresh(settings, sessions.refresh_token(settings, anna.session))
    with pytest.raises(NotAllowed):
        ask_for(settings, anna)


@in_context
def test_a_session_that_ended_is_no_fresh_proof(settings: Settings) -> None:
    anna = sign_in(settings)
    sessions.end(anna.user.id, anna.session.id)
    with pytest.raises(NotAllowed):
        ask_for(settings, anna)


@in_context
def test_a_wrong_code_costs_a_guess_and_changes_nothing(settings: Settings) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    for left in (2, 1, 0):
        with pytest.raises(WrongCode) as refused:
            change(settings, anna, asked, wrong(settings, asked))
        assert refused.value.attempts_left == left
    with pytest.raises(WrongCode):
        change(settings, anna, asked, right(settings, asked))
    assert number_of(anna) == ANNA


@in_context
def test_the_code_works_once_and_for_five_minutes(settings: Settings, clock: Traveller) -> None:
    anna = sign_in(settings)
    late, early = ask_for(settings, anna), ask_for(settings, anna, BORIS)
    change(settings, anna, early, right(settings, early))
    with pytest.raises(WrongCode):
        change(settings, anna, early, right(settings, early))
    clock.shift(300)
    with pytest.raises(WrongCode):
        change(settings, anna, late, right(settings, late))
    assert number_of(anna) == BORIS


@in_context
def test_no_other_user_can_use_the_code(settings: Settings) -> None:
    """It is found by its id and the user of the session. Found by its number, it could give the number to another user."""
    anna, boris = sign_in(settings, ANNA), sign_in(settings, BORIS)
    asked = ask_for(settings, anna)
    with pytest.raises(WrongCode):
        change(settings, boris, asked, right(settings, asked))
    assert (number_of(anna), number_of(boris)) == (ANNA, BORIS)
    change(settings, anna, asked, right(settings, asked))
    assert number_of(anna) == NEW


@in_context
def test_a_code_for_a_change_signs_no_user_in_and_a_login_code_changes_nothing(settings: Settings) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    with pytest.raises(WrongCode):
        confirm(settings, asked, right(settings, asked))
    login = ask(settings, BORIS)
    with pytest.raises(WrongCode):
        change(settings, anna, login, right(settings, login))
    assert number_of(anna) == ANNA


@in_context
@pytest.mark.requirement("OTP-03")
def test_a_code_for_a_change_is_wrong_for_every_other_purpose_of_the_same_user(settings: Settings) -> None:
    """Logins belong to no user so far, which alone would keep them apart from changes. So this login belongs to one."""
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    with transaction() as tx:
        proved = verifications.guess(
            tx, settings, asked.id, right(settings, asked), purpose=verifications.LOGIN, user_id=anna.user.id
        )
    assert isinstance(proved, WrongCode)
    change(settings, anna, asked, right(settings, asked))
    assert number_of(anna) == NEW


@in_context
def test_two_users_may_ask_for_one_number(settings: Settings) -> None:
    """The number is free until one of them proves it: the first one gets it."""
    anna, boris = sign_in(settings, ANNA), sign_in(settings, BORIS)
    annas = ask_for(settings, anna)
    boris_ = ask_again_for(settings, boris)
    change(settings, boris, boris_, right(settings, boris_))
    with pytest.raises(TelephoneNumberTaken):
        change(settings, anna, annas, right(settings, annas))
    assert (number_of(anna), number_of(boris)) == (ANNA, NEW)


def ask_again_for(settings: Settings, them: SignedIn) -> Verification:
    """A second verification of the same number, after the wait between two messages."""
    no_wait()
    return ask_for(settings, them)


@in_context
def test_only_the_holder_of_a_number_learns_that_it_has_a_user(settings: Settings) -> None:
    anna, _ = sign_in(settings, ANNA), user(settings, BORIS)
    known, unknown = (accounts.ask_number(settings, anna.user.id, anna.session.id, n, HOME) for n in ("+79290000009", NEW))
    assert (known.expires_in, known.resend_in, known.verification.code_length) == (
        unknown.expires_in,
        unknown.resend_in,
        unknown.verification.code_length,
    )
    no_wait()
    asked = ask_for(settings, anna, BORIS)
    with pytest.raises(WrongCode):
        change(settings, anna, asked, wrong(settings, asked))
    with pytest.raises(TelephoneNumberTaken):
        change(settings, anna, asked, right(settings, asked))
    assert number_of(anna) == ANNA


@in_context
def test_a_code_for_a_taken_number_is_used_up(settings: Settings) -> None:
    """Raised inside the transaction, the refusal would roll the guess back, and the code could be guessed without end."""
    anna, boris = sign_in(settings, ANNA), user(settings, NEW)
    no_wait()
    asked = ask_for(settings, anna)
    with pytest.raises(TelephoneNumberTaken):
        change(settings, anna, asked, right(settings, asked))
    freed = update(User).where(User.id == boris.id).values(telephone_number=BORIS)
    with transaction() as tx:
        tx.execute(freed)
    with pytest.raises(WrongCode):
        change(settings, anna, asked, right(settings, asked))


@in_context
def test_what_cannot_be_a_new_number_is_refused(settings: Settings) -> None:
    anna = sign_in(settings)
    with pytest.raises(InvalidFields) as refused:
        ask_for(settings, anna, ANNA)
    assert refused.value.errors == {"telephone_number": [accounts.YOUR_NUMBER]}
    with pytest.raises(InvalidFields):
        ask_for(settings, anna, "abc")
    with pytest.raises(RegionNotServed):
        ask_for(settings, anna, "+7 495 123-45-67")


@in_context
def test_messages_to_the_new_number_are_limited_like_all_others(settings: Settings) -> None:
    anna = sign_in(settings)
    ask_for(settings, anna)
    with pytest.raises(TooManyRequests):
        ask_for(settings, anna)


@in_context
@pytest.mark.requirement("LOG-01")
def test_other_sessions_end_if_the_user_wants_it(settings: Settings, clock: Traveller) -> None:
    other, anna = sign_in(settings), sign_in(settings)
    asked = ask_for(settings, anna)
    change(settings, anna, asked, right(settings, asked))
    assert sessions.caller(other.session.id, SessionKind.PROGRAM) is not None
    ended = db.session.query(Event).filter_by(kind=events.Kind.SESSIONS_ENDED, user_id=anna.user.id)
    assert ended.count() == 0
    clock.shift(60)
    asked = ask_for(settings, anna, BORIS)
    change(settings, anna, asked, right(settings, asked), end_other_sessions=True)
    assert sessions.caller(other.session.id, SessionKind.PROGRAM) is None
    assert sessions.caller(anna.session.id, SessionKind.PROGRAM) is not None
    assert ended.count() == 1


@in_context
@pytest.mark.requirement("PHN-03")
def test_the_old_number_is_free_again(settings: Settings, clock: Traveller) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    change(settings, anna, asked, right(settings, asked))
    clock.shift(600)
    next_owner = sign_in(settings, ANNA)
    assert next_owner.created
    assert next_owner.user.id != anna.user.id


# The notice to the old number


@in_context
@pytest.mark.parametrize(("language", "letters"), [("en", "[A-Za-z]"), ("ru", "[а-я]")])
def test_a_notice_is_in_the_users_language_in_one_segment_without_code_or_link(
    settings: Settings, language: str, letters: str
) -> None:
    words = words_of.notice(settings, language)
    assert re.search(letters, words.replace("Hammer", ""))
    assert len(words) <= (160 if set(words) <= GSM_7 else 70)
    assert not re.search(r"\d|http|@|\.[a-z]", words)


@in_context
def test_the_old_number_gets_a_notice_and_is_forgotten(settings: Settings, memory: list[gateways.Sent]) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    delivery.deliver(settings)
    memory.clear()
    change(settings, anna, asked, right(settings, asked))
    assert memory == []
    delivery.deliver(settings)
    assert memory == [gateways.Sent(ANNA, words_of.notice(settings, "en"))]
    db.session.expire_all()
    assert [text_.telephone_number for text_ in db.session.query(Message).filter(Message.verification_id.is_(None))] == [None]


@in_context
def test_a_notice_that_cannot_be_sent_is_given_up_and_its_number_forgotten(
    settings: Settings, clock: Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    delivery.deliver(settings)
    change(settings, anna, asked, right(settings, asked))
    monkeypatch.setattr(gateways, "send", lambda *_, **__: None)
    for _ in range(outbox.POLICY.most_tries):
        delivery.deliver(settings)
        clock.shift(outbox.POLICY.furthest_ahead * 2)
    db.session.expire_all()
    [notice] = db.session.query(Message).filter(Message.verification_id.is_(None))
    assert (notice.state, notice.ended_at is not None, notice.telephone_number) == (MessageState.GIVEN_UP, True, None)


@in_context
def test_a_notice_that_was_not_sent_is_pruned_after_a_day(settings: Settings, clock: Traveller) -> None:
    anna = sign_in(settings)
    asked = ask_for(settings, anna)
    change(settings, anna, asked, right(settings, asked))
    clock.shift(timedelta(hours=24) - timedelta(seconds=1))
    retention.prune(settings)
    assert db.session.query(Message).filter_by(telephone_number=ANNA).count() == 1
    clock.shift(1)
    retention.prune(settings)
    assert db.session.query(Message).filter_by(telephone_number=ANNA).count() == 0


@in_context
def test_no_notice_is_sent_about_a_change_that_did_not_happen(settings: Settings, memory: list[gateways.Sent]) -> None:
    anna, _ = sign_in(settings), user(settings, NEW)
    no_wait()
    asked = ask_for(settings, anna)
    with pytest.raises(TelephoneNumberTaken):
        change(settings, anna, asked, right(settings, asked))
    delivery.deliver(settings)
    assert ANNA not in {sent.telephone_number for sent in memory}


# In parallel


def test_one_number_goes_to_one_of_many_who_prove_it_in_parallel(app: Flask, settings: Settings) -> None:
    with app.app_context():
        people = [sign_in(settings, f"+7929111000{n}") for n in range(5)]
        asked = [ask_again_for(settings, them) for them in people]
        proofs = [(them.user.id, them.session.id, v.id, right(settings, v)) for them, v in zip(people, asked, strict=True)]

    def prove(n: int) -> str:
        with app.app_context():
            try:
                accounts.change_number(settings, *proofs[n])
            except TelephoneNumberTaken:
                return "taken"
            return "changed"

    outcomes = at_once([lambda n=n: prove(n) for n in range(5)])  # type: ignore[misc]
    assert sorted(outcomes) == ["changed", *["taken"] * 4]
