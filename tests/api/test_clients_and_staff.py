"""A client changes users, but not staff (a stolen secret must not lock the operator’s people out), and is told what it lacks."""

from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select

from config import Settings
from hammer.db.database import db
from hammer.models import Event, Scope
from hammer.refusals import NotFound
from hammer.users import accounts
from tests.actions import number, user
from tests.api.contract import ANNA, STAFF, problem
from tests.backends import Backend
from tests.interleaving import Verb, at_every_step
from tests.people import Program

CHANGES = [
    ("PATCH", "", {"first_name": "Eva"}),
    ("PATCH", "", {}),
    ("POST", "", {"metadata": {"plan": "pro"}}),
    ("PUT", "", {}),
    ("POST", "block/", None),
    ("POST", "unblock/", None),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "below", "body"), CHANGES)
def test_clients_change_users_and_no_staff(
    app: Flask, anna: Program, staff: Program, method: str, below: str, body: dict[str, object] | None
) -> None:
    shop = Backend(app, Scope.USERS_WRITE)
    before = staff.result("GET", "/users/me/")

    problem(shop.call(method, f"/users/{STAFF}/{below}", body), 403, "not-allowed")
    assert shop.call(method, f"/users/{ANNA}/{below}", body).status_code in (200, 204)

    assert staff.result("GET", "/users/me/") == before


def test_a_client_learns_which_scope_it_lacks(app: Flask) -> None:
    answer = Backend(app, Scope.USERS_READ).call("POST", "/auth/signup/", {"telephone_number": ANNA})

    body = problem(answer, 403, "not-allowed")
    assert (body["scope"], body["detail"]) == ("codes:send", "The token needs the scope codes:send.")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="codes:send"'


def test_a_client_sees_that_a_user_is_blocked(app: Flask, anna: Program) -> None:
    shop = Backend(app, Scope.USERS_READ, Scope.USERS_WRITE)
    assert shop.result("GET", f"/users/{ANNA}/")["blocked_at"] is None

    shop.result("POST", f"/users/{ANNA}/block/")

    assert shop.result("GET", f"/users/{ANNA}/")["blocked_at"] is not None


@pytest.mark.parametrize(("method", "below", "body"), [change for change in CHANGES if change[2] != {}])
def test_who_becomes_staff_at_the_same_moment_is_changed_before_it_or_not_at_all(
    app: Flask, settings: Settings, method: str, below: str, body: dict[str, object] | None
) -> None:
    shop, people = Backend(app, Scope.USERS_WRITE), [""]

    def scene() -> tuple[Verb, Verb]:
        people.append(user(settings, number(len(people))).id)
        if below == "unblock/":
            accounts.set_blocked(people[-1], True)
        path = f"/users/{people[-1]}/{below}"
        return partial(shop.call, method, path, body), partial(accounts.set_staff, settings, people[-1], True)

    for change, raised_to_staff, step in at_every_step(app, scene):
        assert type(raised_to_staff.raised) in (type(None), NotFound), step
        with app.app_context():
            happened = select(Event.kind, Event.client_id).where(Event.user_id == people[-1]).order_by(Event.id)
            kinds = [kind for kind, client_id in db.session.execute(happened) if client_id or kind == "staff-given"]
        status = change.value.status_code  # type: ignore[attr-defined]
        if "staff-given" in kinds:
            assert kinds[-1] == "staff-given", step
        assert (status == 403) == (kinds == ["staff-given"]), step
        assert status in (200, 204, 403), step
