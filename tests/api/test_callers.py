"""Calls without a valid access token are refused."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask

from tests.api.contract import ANNA, problem
from tests.people import Browser, Program

SIGNED_IN_ONLY = [
    ("POST", "/auth/logout/"),
    ("GET", "/auth/sessions/"),
    ("DELETE", "/auth/sessions/"),
    ("DELETE", "/auth/sessions/{session}/"),
    ("GET", "/users/"),
    ("POST", "/users/"),
    ("GET", "/users/me/"),
    ("POST", "/users/me/"),
    ("PATCH", "/users/me/"),
    ("PUT", "/users/me/"),
    ("DELETE", "/users/me/"),
    ("POST", "/users/me/invite/"),
    ("GET", "/users/me/invitees/"),
    ("GET", "/users/me/export/"),
    ("GET", "/events/"),
    ("GET", "/webhooks/"),
    ("POST", "/webhooks/"),
    ("GET", "/webhooks/{endpoint}/"),
    ("PATCH", "/webhooks/{endpoint}/"),
    ("DELETE", "/webhooks/{endpoint}/"),
    ("POST", "/webhooks/{endpoint}/rotate/"),
    ("POST", "/webhooks/{endpoint}/replay/"),
    ("GET", "/webhooks/{endpoint}/attempts/"),
]


@pytest.mark.parametrize(("method", "path"), SIGNED_IN_ONLY)
def test_every_call_needs_a_bearer_token(program: Program, method: str, path: str) -> None:
    answer = program.call(
        method, path.format(session="A" * 22, endpoint="A" * 22), {} if method in ("POST", "PUT", "PATCH") else None
    )
    problem(answer, 401, "not-signed-in")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.requirement("WEB-02")
def test_a_cookie_is_not_accepted(app: Flask) -> None:
    browser = Browser(app)
    browser.sign_in(ANNA)
    assert browser.is_signed_in()
    problem(browser.client.get("/api/v1/users/me/"), 401, "not-signed-in")


GARBLED = {
    "unsigned": "Bearer {0}.{1}.",
    "half": "Bearer {0}.{1}",
    "another scheme": "Basic {0}.{1}.{2}",
    "no scheme": "{0}.{1}.{2}",
    "two tokens": "Bearer {0}.{1}.{2} {0}.{1}.{2}",
    "two headers": "Bearer {0}.{1}.{2}, Bearer {0}.{1}.{2}",
    "8 kB": "Bearer " + "a" * 8192,
    "not ASCII": "Bearer ключ",
}
RUBBISH = ["", "Bearer", "Bearer ", "Bearer a.b.c", "Bearer \xff\xfe", "bearer", "Bearer ..", "Bearer null", "=" * 50]


@pytest.mark.parametrize("how", [*GARBLED, *RUBBISH])
def test_a_malformed_token_is_refused(anna: Program, how: str) -> None:
    header = GARBLED.get(how, how).format(*anna.tokens["access_token"].split(".")).encode().decode("latin-1")
    answer = anna.call("GET", "/users/me/", Authorization=header)
    problem(answer, 401, "not-signed-in")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_expired_token_is_refused(anna: Program) -> None:
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=900 + 31)):
        problem(anna.call("GET", "/users/me/"), 401, "not-signed-in")
