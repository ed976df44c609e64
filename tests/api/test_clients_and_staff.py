"""A client changes users, but not staff (a stolen secret must not lock the operator’s people out), and is told what it lacks."""

import pytest
from flask import Flask

from hammer.models import Scope
from tests.api.contract import ANNA, STAFF, problem
from tests.backends import Backend
from tests.people import Program

CHANGES = [
    ("PATCH", "", {"first_name": "Eva"}),
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
