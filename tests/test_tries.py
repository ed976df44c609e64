"""Invite codes cannot be tried out: a try is counted before its code is looked up. And an activation is whole, or never was."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, text
from time_machine import Traveller

from config import Settings
from hammer import accounts, codes, counters, invites, tries
from hammer.database import db, transaction
from hammer.models import Counter, Event, Referral, User
from hammer.refusals import InviteLoop, OwnInvite, TooManyRequests, UnknownInvite
from tests.deeds import ANNA, BORIS, activate, number, sign_in, user
from tests.people import Person

in_context = pytest.mark.usefixtures("context")
DAY = timedelta(days=1)


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


def in_vain(settings: Settings, user_id: str, times: int, *, address: str = "192.0.2.1") -> None:
    for _ in range(times):
        with pytest.raises(UnknownInvite):
            activate(settings, user_id, "AAAAAA", address=address)


def wait(settings: Settings, user_id: str, typed: str = "AAAAAA", *, address: str = "192.0.2.1") -> int:
    """How long somebody is told to wait who may not try any more."""
    with pytest.raises(TooManyRequests) as refused:
        activate(settings, user_id, typed, address=address)
    assert refused.value.sentence == tries.SPENT
    return refused.value.retry_after


@in_context
@pytest.mark.requirement("INV-04")
def test_after_five_tries_in_a_day_even_the_right_code_has_to_wait(settings: Settings, noon: Traveller) -> None:
    anna, boris = user(settings), user(settings, BORIS)
    in_vain(settings, anna.id, 5)
    assert wait(settings, anna.id, boris.invite_code) == 12 * 3600
    assert db.session.query(Referral).count() == 0
    noon.shift(timedelta(hours=12))
    activate(settings, anna.id, boris.invite_code)


@in_context
@pytest.mark.requirement("INV-04")
def test_after_ten_tries_in_a_life_there_is_one_a_week(settings: Settings, noon: Traveller) -> None:
    anna = user(settings)
    for _ in range(2):
        in_vain(settings, anna.id, 5)
        noon.shift(DAY)
    in_vain(settings, anna.id, 1)
    assert wait(settings, anna.id) == 12 * 3600  # weeks begin on Thursdays, as 1970 did
    noon.shift(DAY / 2)
    in_vain(settings, anna.id, 1)
    assert wait(settings, anna.id) == 7 * 24 * 3600


@in_context
@pytest.mark.requirement("INV-04")
def test_everybody_at_an_address_has_twenty_a_day_together(settings: Settings, noon: Traveller) -> None:
    people = [user(settings, number(n)) for n in range(6)]
    for them in people[:4]:
        in_vain(settings, them.id, 5)
    wait(settings, people[4].id)
    in_vain(settings, people[4].id, 5, address="192.0.2.2")


@in_context
@pytest.mark.requirement("INV-04")
def test_everybody_together_has_a_limit(settings: Settings, noon: Traveller) -> None:
    """Of so many tries a day chance finds few codes even of a million; yet it takes thousands of people to use them up."""
    assert tries.OF_ALL_A_DAY == 10_000
    assert round(tries.OF_ALL_A_DAY * 1_000_000 / len(codes.INVITE_ALPHABET) ** codes.INVITE_LENGTH) == 21
    anna, boris = user(settings), user(settings, BORIS)
    with transaction() as session:
        today = counters.period(DAY, datetime.now(UTC))
        ends_at = counters.ends_at(DAY, datetime.now(UTC))
        session.add(Counter(scope="invites/day", period=today, taken=tries.OF_ALL_A_DAY - 1, ends_at=ends_at))
    in_vain(settings, anna.id, 1)
    wait(settings, boris.id, address="192.0.2.2")


@in_context
@pytest.mark.requirement("INV-04")
def test_a_right_code_costs_nothing(settings: Settings, noon: Traveller) -> None:
    people = [user(settings, number(n)) for n in range(30)]
    for them in people[1:]:
        activate(settings, them.id, people[0].invite_code)
    assert {counter.taken for counter in db.session.query(Counter).filter(Counter.scope.startswith("invites/"))} == {0}


@in_context
@pytest.mark.requirement("INV-04")
def test_a_code_that_cannot_be_activated_costs_as_much_as_none(settings: Settings, noon: Traveller) -> None:
    """One's own and a loop are tries too: otherwise they would tell for nothing that a code exists."""
    anna, boris = user(settings), user(settings, BORIS)
    activate(settings, boris.id, anna.invite_code)
    with pytest.raises(OwnInvite):
        activate(settings, anna.id, anna.invite_code)
    with pytest.raises(InviteLoop):
        activate(settings, anna.id, boris.invite_code)
    in_vain(settings, anna.id, 3)
    wait(settings, anna.id)


@in_context
@pytest.mark.requirement("INV-04")
def test_a_new_account_of_the_same_number_has_no_more_tries(settings: Settings, noon: Traveller) -> None:
    anna = user(settings)
    in_vain(settings, anna.id, 5)
    accounts.delete(settings, anna.id)
    db.session.execute(text("update send_allowances set next_send_at = day_began_at"))
    wait(settings, user(settings).id)


@in_context
@pytest.mark.requirement("INV-04")
def test_a_try_is_taken_before_the_code_is_looked_up(
    settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    anna = user(settings)
    with statements() as seen:
        in_vain(settings, anna.id, 1)
    taken = next(n for n, statement in enumerate(seen) if "INSERT INTO counters" in statement)
    looked_up = next(n for n, statement in enumerate(seen) if "users.invite_code = " in statement)
    assert taken < looked_up


@pytest.mark.requirement("INV-04")
def test_both_doors_say_how_long_to_wait(app: Flask, person: Person) -> None:
    person.sign_in(ANNA)
    told = [person.activate(f"AAAAA{sign}") for sign in "ABCDEF"]
    assert all(word and "Too many invite codes" not in word for word in told[:5])
    assert told[5] is not None
    assert "Too many invite codes" in told[5]


# An activation is whole


class Crash(Exception):
    """The machine stops."""


@contextmanager
def crash_at(nth: int) -> Iterator[list[str]]:
    """Stops at the n-th statement that changes something; gathers those before it."""
    done: list[str] = []

    def stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE")):
            if len(done) == nth:
                raise Crash
            done.append(statement)

    event.listen(db.engine, "after_cursor_execute", stop)
    try:
        yield done
    finally:
        event.remove(db.engine, "after_cursor_execute", stop)


def stored() -> dict[str, list[tuple[object, ...]]]:
    db.session.rollback()
    db.session.expire_all()
    return {name: sorted(map(tuple, db.session.execute(table.select())), key=str) for name, table in db.metadata.tables.items()}


@in_context
@pytest.mark.requirement("INV-05")
def test_an_activation_that_breaks_off_anywhere_did_not_happen(settings: Settings, noon: Traveller) -> None:
    anna, boris = user(settings), user(settings, BORIS)
    before = stored()
    crashes = 0
    for nth in range(20):
        with crash_at(nth) as done:
            try:
                invites.activate(settings, anna.id, boris.invite_code, address="192.0.2.1")
                break
            except Crash:
                crashes += 1
        assert stored() == before, done
    assert crashes == 5  # the try, the referral, the count, the event, the try given back
    assert db.session.query(Referral).count() == db.session.get_one(User, boris.id).invite_count == 1
    assert db.session.query(Event).filter_by(kind="invite-activated").count() == 1


@in_context
@pytest.mark.requirement("INV-05", "PHN-02")
def test_a_first_login_with_an_invite_that_breaks_off_anywhere_did_not_happen(settings: Settings, noon: Traveller) -> None:
    boris = user(settings, BORIS)
    people = [number(n) for n in range(30)]
    for nth, telephone_number in enumerate(people):
        with crash_at(nth):
            try:
                sign_in(settings, telephone_number, invite_code=boris.invite_code)
                break
            except Crash:
                pass
        db.session.rollback()
        made = db.session.query(User).count() - 1
        assert made == db.session.query(Referral).count() == 0
    db.session.expire_all()
    assert db.session.query(Referral).count() == db.session.get_one(User, boris.id).invite_count == 1
