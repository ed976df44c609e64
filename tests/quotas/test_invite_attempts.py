"""Invite codes cannot be guessed: an attempt is counted before its code is looked up. An activation is atomic."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, text
from time_machine import Traveller

from config import Settings
from hammer import codes
from hammer.db.database import db, transaction
from hammer.invites import activation
from hammer.models import Counter, Event, Referral, User, Verification
from hammer.quotas import counters, invite_attempts
from hammer.refusals import InviteLoop, OwnInvite, TooManyRequests, UnknownInvite
from hammer.users import accounts, people
from tests.actions import ANNA, BORIS, HOME, activate, ask, number, right, sign_in, user
from tests.people import Person
from tests.serving import TRIES, at_once

in_context = pytest.mark.usefixtures("context")
DAY = timedelta(days=1)
LOOKS_UP = "WHERE users.invite_code"
"""A part of the statement that looks up the owner of a code."""


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


def fail(settings: Settings, user_id: str, times: int, *, address: str = "192.0.2.1") -> None:
    for _ in range(times):
        with pytest.raises(UnknownInvite):
            activate(settings, user_id, "AAAAAA", address=address)


def wait(settings: Settings, user_id: str, typed: str = "AAAAAA", *, address: str = "192.0.2.1") -> int:
    """How long a user without attempts has to wait."""
    with pytest.raises(TooManyRequests) as refused:
        activate(settings, user_id, typed, address=address)
    assert refused.value.sentence == invite_attempts.SPENT
    return refused.value.retry_after


@in_context
@pytest.mark.requirement("INV-04")
def test_after_five_attempts_in_a_day_even_the_right_code_has_to_wait(settings: Settings, noon: Traveller) -> None:
    anna, boris = user(settings), user(settings, BORIS)
    fail(settings, anna.id, 5)
    assert wait(settings, anna.id, boris.invite_code) == 12 * 3600
    assert db.session.query(Referral).count() == 0
    noon.shift(timedelta(hours=12))
    activate(settings, anna.id, boris.invite_code)


@in_context
@pytest.mark.requirement("INV-04")
def test_after_ten_attempts_of_an_account_there_is_one_a_week(settings: Settings, noon: Traveller) -> None:
    anna = user(settings)
    for _ in range(2):
        fail(settings, anna.id, 5)
        noon.shift(DAY)
    fail(settings, anna.id, 1)
    assert wait(settings, anna.id) == 12 * 3600  # weeks begin on Thursdays, as 1970 did
    noon.shift(DAY / 2)
    fail(settings, anna.id, 1)
    assert wait(settings, anna.id) == 7 * 24 * 3600
    fail(settings, user(settings, BORIS).id, 2)


@in_context
@pytest.mark.requirement("INV-04")
def test_all_users_at_an_address_have_twenty_attempts_a_day_together(settings: Settings, noon: Traveller) -> None:
    people = [user(settings, number(n)) for n in range(6)]
    for them in people[:4]:
        fail(settings, them.id, 5)
    wait(settings, people[4].id)
    fail(settings, people[4].id, 5, address="192.0.2.2")


@in_context
@pytest.mark.requirement("INV-04")
def test_all_users_together_have_a_limit(settings: Settings, noon: Traveller) -> None:
    """With so many attempts a day, chance finds few of even a million codes; and only thousands of people can use them up."""
    assert invite_attempts.TOTAL_PER_DAY == 10_000
    assert round(invite_attempts.TOTAL_PER_DAY * 1_000_000 / len(codes.INVITE_ALPHABET) ** codes.INVITE_LENGTH) == 21
    anna, boris = user(settings), user(settings, BORIS)
    with transaction() as session:
        today = counters.period(DAY, datetime.now(UTC))
        ends_at = counters.ends_at(DAY, datetime.now(UTC))
        session.add(Counter(scope="invites/day", period=today, taken=invite_attempts.TOTAL_PER_DAY - 1, ends_at=ends_at))
    fail(settings, anna.id, 1)
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
def test_a_code_that_cannot_be_activated_costs_as_much_as_an_unknown_one(settings: Settings, noon: Traveller) -> None:
    """The user's own code and a loop are attempts too: otherwise their answers would reveal for free that a code exists."""
    anna, boris = user(settings), user(settings, BORIS)
    activate(settings, boris.id, anna.invite_code)
    with pytest.raises(OwnInvite):
        activate(settings, anna.id, anna.invite_code)
    with pytest.raises(InviteLoop):
        activate(settings, anna.id, boris.invite_code)
    fail(settings, anna.id, 3)
    wait(settings, anna.id)


@in_context
@pytest.mark.requirement("INV-04")
def test_a_new_account_of_the_same_number_has_no_more_attempts(settings: Settings, noon: Traveller) -> None:
    anna = user(settings)
    fail(settings, anna.id, 5)
    accounts.delete(settings, anna.id)
    db.session.execute(text("update send_allowances set next_send_at = day_began_at"))
    wait(settings, user(settings).id)


@in_context
@pytest.mark.requirement("INV-04")
def test_an_attempt_is_taken_before_the_code_is_looked_up(
    settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    anna = user(settings)
    with statements() as seen:
        fail(settings, anna.id, 1)
    taken = next(n for n, statement in enumerate(seen) if "INSERT INTO counters" in statement)
    looked_up = next(n for n, statement in enumerate(seen) if "users.invite_code = " in statement)
    assert taken < looked_up


@pytest.mark.requirement("INV-04")
def test_pages_and_api_say_how_long_to_wait(app: Flask, person: Person) -> None:
    person.sign_in(ANNA)
    answers = [person.activate(f"AAAAA{sign}") for sign in "ABCDEF"]
    assert all(word and "Too many invite codes" not in word for word in answers[:5])
    assert answers[5] is not None
    assert "Too many invite codes" in answers[5]


# An activation is atomic


class Crash(Exception):
    """The process stops."""


@contextmanager
def crash_at(nth: int) -> Iterator[list[str]]:
    """Raises `Crash` at the n-th statement that changes something. Collects the statements before it."""
    done: list[str] = []

    def stop(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE", "WITH limits")):
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
                activation.activate(settings, anna.id, boris.invite_code, address="192.0.2.1")
                break
            except Crash:
                crashes += 1
        assert stored() == before, done
    assert crashes == 5  # the attempt, the referral, the count, the event, the attempt given back
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


# A first login with an invite code


def attempts_taken(user_id: str) -> set[int]:
    """How many attempts were taken from each limit: of this account, its number, its address and all together."""
    db.session.expire_all()
    counted = db.session.query(Counter).filter(Counter.scope.startswith("invites/"), ~Counter.scope.like("invites/life/%"))
    life = db.session.query(Counter).filter_by(scope=f"invites/life/{user_id}")
    return {counter.taken for counter in [*counted, *life]}


def sign_up_and_delete(settings: Settings, times: int, *, invite_code: str, address: str = HOME.address) -> list[str]:
    """Signs up with the code and deletes the account, `times` times. Returns the codes that were activated."""
    found = []
    for _ in range(times):
        came = sign_in(settings, invite_code=invite_code, address=address)
        assert came.created
        found += [activated[0]] if (activated := activation.activated(came.user.id)) else []
        accounts.delete(settings, came.user.id)
        db.session.execute(text("delete from send_allowances"))
    return found


@in_context
@pytest.mark.requirement("INV-04")
def test_a_first_login_with_a_code_that_is_not_activated_takes_an_attempt(settings: Settings, noon: Traveller) -> None:
    anna = sign_in(settings, invite_code="AAAAAA").user
    assert db.session.query(Counter).filter(Counter.scope.startswith("invites/")).count() == 4
    assert attempts_taken(anna.id) == {1}
    fail(settings, anna.id, 4)
    wait(settings, anna.id)


@in_context
@pytest.mark.requirement("INV-04")
def test_a_first_login_with_a_right_code_costs_nothing(settings: Settings, noon: Traveller) -> None:
    boris = user(settings, BORIS)
    anna = sign_in(settings, invite_code=boris.invite_code).user
    assert attempts_taken(anna.id) == {0}
    assert db.session.query(Referral).count() == 1


@in_context
@pytest.mark.requirement("INV-04")
def test_signing_up_again_gives_no_new_attempts(settings: Settings, noon: Traveller) -> None:
    """A number has five attempts a day, whichever account it has. After them even the right code is not found."""
    boris = user(settings, BORIS)
    assert sign_up_and_delete(settings, invite_attempts.PER_NUMBER_PER_DAY, invite_code="AAAAAA") == []
    assert sign_up_and_delete(settings, 35, invite_code=boris.invite_code) == []
    noon.shift(DAY)
    assert sign_up_and_delete(settings, 1, invite_code=boris.invite_code) == [boris.invite_code]


@in_context
@pytest.mark.requirement("INV-04")
def test_first_logins_at_one_address_have_twenty_attempts_a_day_together(settings: Settings, noon: Traveller) -> None:
    boris = user(settings, BORIS)
    for n in range(invite_attempts.PER_ADDRESS_PER_DAY):
        sign_in(settings, number(100 + n), invite_code="AAAAAA", address="192.0.2.7")
    late = sign_in(settings, number(30), invite_code=boris.invite_code, address="192.0.2.7")
    elsewhere = sign_in(settings, number(31), invite_code=boris.invite_code, address="192.0.2.8")
    assert activation.activated(late.user.id) is None
    assert activation.activated(elsewhere.user.id) is not None


@in_context
@pytest.mark.requirement("INV-04")
def test_first_logins_and_activations_share_the_limit_of_all_users(settings: Settings, noon: Traveller) -> None:
    boris = user(settings, BORIS)
    with transaction() as session:
        today, ends_at = counters.period(DAY, datetime.now(UTC)), counters.ends_at(DAY, datetime.now(UTC))
        session.add(Counter(scope="invites/day", period=today, taken=invite_attempts.TOTAL_PER_DAY, ends_at=ends_at))
    assert activation.activated(sign_in(settings, invite_code=boris.invite_code).user.id) is None


@in_context
@pytest.mark.requirement("INV-04")
def test_a_first_login_does_not_activate_the_code_of_a_deleted_owner(settings: Settings, noon: Traveller) -> None:
    boris = user(settings, BORIS)
    accounts.delete(settings, boris.id)
    anna = sign_in(settings, invite_code=boris.invite_code).user
    assert (db.session.query(Referral).count(), db.session.get_one(User, boris.id).invite_count) == (0, 0)
    assert db.session.query(Event).filter_by(kind="invite-activated").count() == 0
    assert attempts_taken(anna.id) == {1}


@in_context
@pytest.mark.requirement("INV-04")
def test_at_a_first_login_an_attempt_is_taken_before_the_code_is_looked_up(
    settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with statements() as seen:
        sign_in(settings, invite_code="AAAAAA")
    [looked_up] = [n for n, statement in enumerate(seen) if LOOKS_UP in statement]
    taken = max(n for n, statement in enumerate(seen[:looked_up]) if "INSERT INTO counters" in statement)
    [made] = [n for n, statement in enumerate(seen) if "INSERT INTO users" in statement]
    assert made < taken < looked_up


@in_context
def test_only_a_first_login_looks_up_its_invite_code(
    settings: Settings, noon: Traveller, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    boris = user(settings, BORIS)
    sign_in(settings, invite_code=boris.invite_code)
    noon.shift(DAY)
    with statements() as seen:
        sign_in(settings, invite_code="AAAAAA")
    assert not [statement for statement in seen if LOOKS_UP in statement]
    assert {counter.taken for counter in db.session.query(Counter).filter(Counter.scope.startswith("invites/"))} == {0}


@pytest.mark.requirement("INV-04")
def test_the_answer_to_a_first_login_does_not_depend_on_its_invite_code(app: Flask) -> None:
    """An unknown code, one of a deleted owner, one that is not looked up any more, none, and a right one."""
    settings = app.config["SETTINGS"]
    client = app.test_client()
    with app.app_context():
        gone, owner = user(settings, BORIS).invite_code, user(settings, number(99)).invite_code
        accounts.delete(settings, people.find(settings, BORIS))

    def login(n: int, invite_code: str | None) -> tuple[int, dict[str, str], dict[str, object]]:
        body = {"telephone_number": number(n)} | ({"invite_code": invite_code} if invite_code else {})
        sent = client.post("/api/v1/auth/signup/", json=body).json
        assert sent is not None
        with app.app_context():
            code = right(settings, db.session.get_one(Verification, sent["verification_id"]))
        answer = client.post("/api/v1/auth/code/", json={"verification_id": sent["verification_id"], "code": code})
        changing = {"Date", "X-Request-ID", "Content-Length"}
        headers = {name: value for name, value in answer.headers if name not in changing}
        return answer.status_code, headers, {name: type(value) for name, value in (answer.json or {}).items()}

    first = login(3, "ZZZZZZ")
    assert first[0] == 200
    assert login(4, gone) == login(5, None) == login(6, owner) == first
    for n in range(7, 30):
        assert login(n, "ZZZZZZ") == first
    assert login(30, owner) == first
    with app.app_context():
        assert db.session.query(Referral).count() == 1


@pytest.mark.requirement("INV-04")
def test_of_forty_parallel_first_logins_with_wrong_codes_only_the_limit_is_looked_up(
    app: Flask, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    settings, busy = app.config["SETTINGS"], 503
    with app.app_context():
        made = [ask(settings, number(n), invite_code=f"AAAA{n:02d}") for n in range(40)]
        waiting = [{"verification_id": sent.id, "code": right(settings, sent)} for sent in made]

    def login(body: dict[str, str]) -> int:
        client = app.test_client()
        for _ in range(TRIES):  # the database may be too busy
            answer = client.post("/api/v1/auth/code/", json=body, environ_base={"REMOTE_ADDR": "192.0.2.7"})
            if answer.status_code != busy:
                break
        return answer.status_code

    with statements() as seen:
        answers = at_once([partial(login, body) for body in waiting])
    assert answers == [200] * 40
    assert len([statement for statement in seen if LOOKS_UP in statement]) == invite_attempts.PER_ADDRESS_PER_DAY
    with app.app_context():
        taken = db.session.query(Counter).filter(Counter.scope.startswith("invites/address/")).one().taken
        assert taken == invite_attempts.PER_ADDRESS_PER_DAY
