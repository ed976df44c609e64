"""A refused activation of a signed-in user leaves an event that says why, and never with which code."""

from datetime import timedelta

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db
from hammer.invites import activation
from hammer.models import Counter, Event, IdempotencyKey, User
from hammer.quotas import idempotency, invite_attempts
from hammer.refusals import AlreadyActivated, InvalidFields, InviteLoop, OwnInvite, Refusal, TooManyRequests, UnknownInvite
from hammer.users import accounts
from tests.actions import ANNA, BORIS, CLARA, activate, chain, everything_stored, no_wait, number, sign_in, user
from tests.people import Person

in_context = pytest.mark.usefixtures("context")


def reasons(user_id: str) -> list[str | None]:
    """The details of the events about refused activations of this user, oldest first."""
    refused = db.session.query(Event.detail).filter_by(kind=events.Kind.INVITE_REFUSED, user_id=user_id)
    return [detail for (detail,) in refused.order_by(Event.id)]


@in_context
@pytest.mark.requirement("INV-04", "LOG-01")
def test_each_refusal_leaves_its_slug_and_not_the_code(settings: Settings) -> None:
    anna, boris = chain(settings, 2)
    clara, dora = user(settings, CLARA), user(settings, number(9))
    refused: list[tuple[User, str, type[Refusal]]] = [
        (anna, "ZZZZZZ", UnknownInvite),
        (anna, anna.invite_code, OwnInvite),
        (anna, boris.invite_code, InviteLoop),
        (boris, clara.invite_code, AlreadyActivated),
        (dora, "not a code", InvalidFields),
    ]
    for them, typed, refusal in refused:
        with pytest.raises(refusal):
            activate(settings, them.id, typed)

    assert reasons(anna.id) == ["unknown-invite", "own-invite", "invite-loop"]
    assert reasons(boris.id) == ["already-activated"]
    assert reasons(dora.id) == []
    assert "ZZZZZZ" not in everything_stored()


@in_context
@pytest.mark.requirement("INV-04")
def test_however_often_a_person_tries_few_events_are_left(settings: Settings, clock: Traveller) -> None:
    clock.move_to("2026-11-23T12:00:00+00:00", tick=False)
    _boris, anna = chain(settings, 2)
    clara = user(settings, CLARA)
    for _ in range(3):
        with pytest.raises(AlreadyActivated):
            activate(settings, anna.id, clara.invite_code)
    for n in range(invite_attempts.PER_NUMBER_PER_DAY + 3):
        with pytest.raises(UnknownInvite if n < invite_attempts.PER_NUMBER_PER_DAY else TooManyRequests):
            activate(settings, clara.id, "ZZZZZZ", address="192.0.2.7")

    assert reasons(anna.id) == ["already-activated"]
    assert reasons(clara.id) == ["unknown-invite"] * invite_attempts.PER_NUMBER_PER_DAY + ["too-many-requests"]
    clock.shift(timedelta(days=1))
    with pytest.raises(AlreadyActivated):
        activate(settings, anna.id, clara.invite_code)
    assert reasons(anna.id) == ["already-activated"] * 2
    accounts.delete(settings, anna.id)
    assert db.session.query(Counter).filter(Counter.scope.contains(anna.id)).count() == 0


@in_context
def test_a_repeated_request_leaves_no_second_event(settings: Settings) -> None:
    _boris, anna = chain(settings, 2)
    key = idempotency.make_key(settings, "key", call="invite", caller=anna.id)
    for _ in range(2):
        with pytest.raises(AlreadyActivated):
            activation.activate(settings, anna.id, "ZZZZZZ", address="192.0.2.1", key=key)
    assert reasons(anna.id) == ["already-activated"]
    assert db.session.query(IdempotencyKey).count() == 1


@in_context
def test_a_first_login_with_a_useless_code_writes_no_more_than_before(settings: Settings) -> None:
    boris = user(settings, BORIS)
    no_wait()
    anna = sign_in(settings, ANNA, invite_code="ZZZZZZ").user
    assert reasons(anna.id) == reasons(boris.id) == []


@pytest.mark.requirement("INV-04")
def test_pages_and_api_leave_the_same_event(app: Flask, person: Person) -> None:
    person.sign_in(ANNA)
    assert person.activate("ZZZZZZ")
    assert person.activate(person.profile().invite_code)
    with app.app_context():
        anna = db.session.query(User.id).filter_by(telephone_number=ANNA).scalar()
        assert reasons(anna) == ["unknown-invite", "own-invite"]
