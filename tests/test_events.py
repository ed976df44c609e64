"""The audit trail: which events each verb writes, about which user, and by which actor."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.models import Event, User
from hammer.refusals import NotAllowed, NotFound, NotSignedIn, Refusal, UnknownInvite, WrongCode
from hammer.sessions import keys, sessions
from hammer.users import accounts, exports
from tests.actions import ANNA, BORIS, CLARA, HOME, STRANGER_ID, activate, ask, confirm, right, sign_in, staff_member, user, wrong
from tests.people import Program

in_context = pytest.mark.usefixtures("context")
LATER = timedelta(minutes=2)


@dataclass(frozen=True)
class Noted:
    kind: str
    about: str | None = None
    by: str | None = None


class Trail:
    """Events written since the last call of `new`."""

    def __init__(self) -> None:
        self.seen = 0

    def new(self) -> list[Noted]:
        db.session.expire_all()
        found = db.session.query(Event).filter(Event.id > self.seen).order_by(Event.id).all()
        self.seen = found[-1].id if found else self.seen
        return [Noted(event.kind, event.user_id, event.actor_id) for event in found]


@pytest.fixture
def trail() -> Trail:
    return Trail()


@in_context
@pytest.mark.requirement("LOG-01")
def test_a_first_login_and_a_second_one_are_different_events(settings: Settings, trail: Trail) -> None:
    anna = sign_in(settings).user
    assert trail.new() == [Noted(events.Kind.CODE_SENT), Noted(events.Kind.SIGNED_UP, anna.id)]
    sign_in(settings)
    assert trail.new() == [Noted(events.Kind.CODE_SENT), Noted(events.Kind.SIGNED_IN, anna.id)]


@in_context
@pytest.mark.requirement("LOG-01")
def test_an_activation_is_noted_at_a_first_login_and_later(settings: Settings, trail: Trail) -> None:
    owner = user(settings, BORIS)
    trail.new()
    anna = sign_in(settings, ANNA, invite_code=owner.invite_code).user
    assert trail.new() == [
        Noted(events.Kind.CODE_SENT),
        Noted(events.Kind.INVITE_ACTIVATED, anna.id),
        Noted(events.Kind.SIGNED_UP, anna.id),
    ]
    clara = user(settings, CLARA)
    trail.new()
    activate(settings, clara.id, owner.invite_code)
    assert trail.new() == [Noted(events.Kind.INVITE_ACTIVATED, clara.id)]
    activate(settings, clara.id, owner.invite_code)
    assert trail.new() == []
    with pytest.raises(UnknownInvite):
        activate(settings, owner.id, "AAAAAA")
    assert trail.new() == [Noted(events.Kind.INVITE_REFUSED, owner.id)]


@in_context
@pytest.mark.requirement("LOG-01")
def test_a_resend_is_noted_like_a_first_message(settings: Settings, trail: Trail, clock: Traveller) -> None:
    anna = sign_in(settings)
    trail.new()
    for asked, about in ((ask(settings, BORIS), None), (_ask_number(settings, anna, CLARA), anna.user.id)):
        trail.new()
        clock.shift(LATER)
        by_code.resend_code(settings, asked.id, HOME)
        assert trail.new() == [Noted(events.Kind.CODE_SENT, about)]


def _ask_number(settings: Settings, them: SignedIn, number: str) -> Any:
    return accounts.ask_number(settings, them.user.id, them.session.id, number, HOME).verification


@in_context
@pytest.mark.requirement("LOG-01")
def test_a_wrong_code_is_noted_only_when_a_limit_is_spent(settings: Settings, trail: Trail) -> None:
    asked = ask(settings)
    trail.new()
    with pytest.raises(WrongCode):
        confirm(settings, asked, wrong(settings, asked))
    assert trail.new() == []
    with pytest.raises(WrongCode):
        confirm(replace(settings, guess_budgets={4: 0, 6: 0, 8: 0}), asked, wrong(settings, asked))
    assert trail.new() == [Noted(events.Kind.GUESSES_SPENT)]


@in_context
@pytest.mark.requirement("LOG-01")
def test_a_right_code_of_a_blocked_user_is_noted(settings: Settings, trail: Trail) -> None:
    anna = user(settings)
    accounts.set_blocked(anna.id, True)
    asked = ask(settings)
    trail.new()
    with pytest.raises(NotAllowed):
        confirm(settings, asked, right(settings, asked))
    assert trail.new() == [Noted(events.Kind.SIGN_IN_BLOCKED, anna.id)]


@in_context
@pytest.mark.requirement("LOG-01")
def test_a_change_of_number_is_noted_and_so_are_the_sessions_that_it_ends(settings: Settings, trail: Trail) -> None:
    sign_in(settings)
    anna = sign_in(settings)
    asked = _ask_number(settings, anna, BORIS)
    trail.new()
    accounts.change_number(settings, anna.user.id, anna.session.id, asked.id, right(settings, asked), end_other_sessions=True)
    assert trail.new() == [Noted(events.Kind.NUMBER_CHANGED, anna.user.id), Noted(events.Kind.SESSIONS_ENDED, anna.user.id)]


@in_context
@pytest.mark.requirement("LOG-01")
def test_the_end_of_a_session_is_noted_once(settings: Settings, trail: Trail) -> None:
    first, second, third = (sign_in(settings) for _ in range(3))
    trail.new()
    sessions.end(first.user.id, first.session.id)
    assert trail.new() == [Noted(events.Kind.SESSION_ENDED, first.user.id)]
    with pytest.raises(NotFound):
        sessions.end(first.user.id, first.session.id)
    assert trail.new() == []
    sessions.end_others(third.user.id, third.session.id)
    assert trail.new() == [Noted(events.Kind.SESSIONS_ENDED, second.user.id)]
    sessions.end_others(third.user.id, third.session.id)
    assert trail.new() == []


@in_context
@pytest.mark.requirement("LOG-01", "TOK-04")
def test_a_refresh_token_used_twice_is_noted_once_and_an_expired_one_never(
    settings: Settings, trail: Trail, clock: Traveller
) -> None:
    anna = sign_in(settings)
    spent = sessions.refresh_token(settings, anna.session)
    sessions.refresh(settings, spent)
    trail.new()
    clock.shift(sessions.GRACE)
    for noted in ([Noted(events.Kind.REFRESH_REUSED, anna.user.id)], []):
        with pytest.raises(NotSignedIn):
            sessions.refresh(settings, spent)
        assert trail.new() == noted
    late = sign_in(settings)
    trail.new()
    clock.shift(timedelta(days=31))
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, sessions.refresh_token(settings, late.session))
    assert trail.new() == []


@in_context
@pytest.mark.requirement("LOG-01")
def test_keys_and_exports_are_noted(settings: Settings, trail: Trail) -> None:
    anna = user(settings)
    trail.new()
    exports.export(settings, anna.id)
    keys.rotate(settings)
    assert trail.new() == [Noted(events.Kind.DATA_EXPORTED, anna.id), Noted(events.Kind.KEY_ROTATED)]


# Who did it


@in_context
@pytest.mark.requirement("LOG-01")
@pytest.mark.parametrize("who", ["command line", "themselves", "staff"])
@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        (lambda _, them, by: accounts.change(them, {"first_name": "A"}, actor_id=by), events.Kind.USER_RENAMED),
        (lambda s, them, by: accounts.set_staff(s, them, True, actor_id=by), events.Kind.STAFF_GIVEN),
        (lambda s, them, by: accounts.set_staff(s, them, False, actor_id=by), events.Kind.STAFF_TAKEN),
        (lambda _, them, by: accounts.change(them, {}, {"a": 1}, actor_id=by), events.Kind.USER_METADATA_CHANGED),
    ],
    ids=["rename", "make-staff", "unmake-staff", "metadata"],
)
def test_an_event_names_the_actor_if_it_is_another_user(
    settings: Settings, trail: Trail, verb: Callable[[Settings, str, str | None], None], kind: str, who: str
) -> None:
    anna, boris = user(settings, ANNA), staff_member(settings, BORIS)
    trail.new()
    by = {"command line": None, "themselves": anna.id, "staff": boris.id}[who]
    if who == "themselves" and kind in (events.Kind.STAFF_GIVEN, events.Kind.STAFF_TAKEN):
        with pytest.raises(NotAllowed):
            verb(settings, anna.id, by)
        assert trail.new() == []
        return
    verb(settings, anna.id, by)
    assert trail.new() == [Noted(kind, anna.id, boris.id if who == "staff" else None)]


@in_context
@pytest.mark.requirement("LOG-01")
@pytest.mark.parametrize("by_staff", [True, False])
def test_the_actor_of_a_block_is_noted_and_nobody_blocks_themselves(settings: Settings, trail: Trail, by_staff: bool) -> None:
    anna, boris = user(settings, ANNA), staff_member(settings, BORIS)
    trail.new()
    for blocked in (True, False):
        accounts.set_blocked(anna.id, blocked, actor_id=boris.id if by_staff else None)
        with pytest.raises(NotAllowed):
            accounts.set_blocked(anna.id, blocked, actor_id=anna.id)
    actor = boris.id if by_staff else None
    assert trail.new() == [Noted(events.Kind.USER_BLOCKED, anna.id, actor), Noted(events.Kind.USER_UNBLOCKED, anna.id, actor)]


@in_context
@pytest.mark.requirement("LOG-01")
def test_the_actor_of_a_deletion_is_noted(settings: Settings, trail: Trail) -> None:
    anna, boris, clara = (sign_in(settings, number) for number in (ANNA, BORIS, CLARA))
    accounts.set_staff(settings, clara.user.id, True)
    trail.new()
    accounts.delete(settings, anna.user.id, actor_id=anna.user.id, session_id=anna.session.id)
    accounts.delete(settings, boris.user.id, actor_id=clara.user.id, session_id=clara.session.id)
    accounts.delete(settings, clara.user.id)
    deleted = events.Kind.USER_DELETED
    assert trail.new() == [
        Noted(deleted, anna.user.id),
        Noted(deleted, boris.user.id, clara.user.id),
        Noted(deleted, clara.user.id),
    ]


@in_context
@pytest.mark.requirement("LOG-01")
def test_the_actor_who_creates_a_user_is_noted_also_for_new_staff(settings: Settings, trail: Trail) -> None:
    anna = staff_member(settings)
    trail.new()
    boris = accounts.create(settings, BORIS, {}, actor_id=anna.id)
    assert trail.new() == [Noted(events.Kind.USER_CREATED, boris, anna.id)]
    clara = accounts.create(settings, CLARA, {}, is_staff=True)
    assert trail.new() == [Noted(events.Kind.USER_CREATED, clara), Noted(events.Kind.STAFF_GIVEN, clara)]


@in_context
@pytest.mark.requirement("LOG-01")
@pytest.mark.parametrize(
    "verb",
    [
        lambda *_: accounts.change(STRANGER_ID, {"first_name": "A"}),
        lambda s, _: accounts.set_staff(s, STRANGER_ID, True),
        lambda *_: accounts.set_blocked(STRANGER_ID, True),
        lambda s, _: accounts.delete(s, STRANGER_ID),
        lambda _, them: accounts.change(them, {"username": "1"}),
        lambda s, _: accounts.create(s, ANNA, {}),
        lambda s, _: exports.export(s, STRANGER_ID),
        lambda _, them: sessions.end(them, STRANGER_ID),
        lambda s, _: by_code.send_code(s, "nothing", HOME),
        lambda s, _: by_code.resend_code(s, STRANGER_ID, HOME),
    ],
)
def test_nothing_is_noted_when_a_transaction_is_rolled_back(
    settings: Settings, trail: Trail, verb: Callable[[Settings, str], object]
) -> None:
    anna = user(settings)
    trail.new()
    with pytest.raises(Refusal):
        verb(settings, anna.id)
    assert trail.new() == []


@pytest.fixture
def staff(app: Flask) -> Program:
    program = Program(app)
    program.sign_in(ANNA)
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], _id(ANNA), True)
    return program


def _id(number: str) -> str:
    return str(db.session.query(User.id).filter_by(telephone_number=number).scalar())


@pytest.mark.requirement("LOG-01")
@pytest.mark.parametrize("name", [BORIS, "me"])
@pytest.mark.parametrize(
    ("method", "body", "kind"),
    [
        ("PATCH", {"first_name": "A"}, events.Kind.USER_RENAMED),
        ("POST", {"first_name": "A"}, events.Kind.USER_RENAMED),
        ("PUT", {"first_name": "A"}, events.Kind.USER_RENAMED),
        ("DELETE", None, events.Kind.USER_DELETED),
    ],
)
def test_staff_are_the_actors_of_what_they_do_in_the_api(
    app: Flask, staff: Program, trail: Trail, method: str, body: object, kind: str, name: str
) -> None:
    with app.app_context():
        user(app.config["SETTINGS"], BORIS)
        anna, about = _id(ANNA), _id(ANNA if name == "me" else BORIS)
        trail.new()
    answer = staff.call(method, f"/users/{name}/", body)
    assert answer.status_code in (200, 204)
    with app.app_context():
        assert trail.new() == [Noted(kind, about, None if name == "me" else anna)]
        assert db.session.query(Event).filter_by(kind=kind).one().request_id == answer.headers["X-Request-ID"]


@pytest.mark.requirement("LOG-01")
def test_staff_are_the_actors_when_they_create_a_user_in_the_api(app: Flask, staff: Program, trail: Trail) -> None:
    with app.app_context():
        trail.new()
    assert staff.call("POST", "/users/", {"telephone_number": BORIS}).status_code == 201
    with app.app_context():
        assert trail.new() == [Noted(events.Kind.USER_CREATED, _id(BORIS), _id(ANNA))]
