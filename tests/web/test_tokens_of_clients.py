"""Access tokens of clients: forged ones are refused, and what it costs to read them."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask import Flask

from hammer.models import Scope
from tests.actions import ANNA
from tests.backends import Backend
from tests.delivery import code_for
from tests.people import Program
from tests.web.test_tokens import FOREIGN, Part, ask, assert_refused, base64, parts, put_together, signing

Statements = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def shop(app: Flask) -> Backend:
    return Backend(app, Scope.USERS_READ, Scope.CODES_SEND)


def read(shop: Backend, token: str) -> int:
    return shop.call("GET", "/users/", Authorization=f"Bearer {token}").status_code


def test_a_token_made_by_hand_with_our_key_is_accepted(app: Flask, shop: Backend) -> None:
    assert read(shop, put_together(*parts(shop.tokens["access_token"]), signing(app).private.sign)) == 200


CHANGES: list[Part] = [
    {"client_id": None},
    {"client_id": "A" * 22},
    {"client_id": ""},
    {"client_id": ["x"]},
    {"sub": "A" * 22},
    {"scope": None},
    {"scope": ["users:read"]},
    {"scope": 1},
    {"sid": "A" * 22},
    {"type": "refresh"},
    {"iss": "https://example.org"},
    {"aud": "https://example.org"},
    {"exp": 1_700_000_000},
    {"iat": 4_000_000_000},
    {"jti": None},
]


@pytest.mark.requirement("TOK-02")
@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_a_changed_claim_is_refused(app: Flask, shop: Backend, change: Part) -> None:
    header, claims = parts(shop.tokens["access_token"])
    token = put_together(header, claims | change, signing(app).private.sign)

    assert read(shop, token) == 401
    assert shop.call("POST", "/auth/signup/", {"telephone_number": ANNA}, Authorization=f"Bearer {token}").status_code == 401


@pytest.mark.requirement("TOK-02")
def test_a_token_is_that_of_a_user_or_that_of_a_client_and_never_both(app: Flask, shop: Backend, program: Program) -> None:
    program.sign_in(ANNA)
    header, user = parts(program.tokens["access_token"])
    _, client = parts(shop.tokens["access_token"])
    sign = signing(app).private.sign

    for claims in (client | {"sid": user["sid"]}, user | {"client_id": user["sub"], "scope": "users:read"}):
        assert_refused(ask(program, put_together(header, claims, sign)))
        assert read(shop, put_together(header, claims, sign)) == 401
    scoped = put_together(header, user | {"scope": " ".join(Scope)}, sign)  # a scope adds nothing to a user's token
    assert shop.call("POST", "/users/", {"telephone_number": "+79291234567"}, Authorization=f"Bearer {scoped}").status_code == 403


@pytest.mark.requirement("TOK-01")
@pytest.mark.parametrize("path", ["/users/", "/auth/signup/"])
def test_a_token_that_we_did_not_sign_is_refused(shop: Backend, path: str) -> None:
    header, claims = parts(shop.tokens["access_token"])
    content = shop.tokens["access_token"].rpartition(".")[0]
    more = {"scope": " ".join(Scope)}
    forged = [
        put_together(header, claims | more, FOREIGN.sign),
        put_together(header | {"alg": "none"}, claims | more, lambda _: b""),
        put_together(header | {"alg": "HS256"}, claims | more, lambda _: b"x"),
        f"{content}.",
    ]

    for token in forged:
        call = ("GET", path, None) if path == "/users/" else ("POST", path, {"telephone_number": ANNA})
        assert_refused(shop.call(*call, Authorization=f"Bearer {token}"))


def test_a_token_that_names_no_client_is_ignored_where_everyone_may_call(shop: Backend) -> None:
    deep = base64(b"[" * 5000)
    for n, token in enumerate(("x", "a.b.c", f"{deep}.{deep}.AAAA", f"{base64(b'{}')}.{base64(b'[1]')}.AAAA")):
        answer = shop.call("POST", "/auth/signup/", {"telephone_number": f"+7929000000{n}"}, Authorization=f"Bearer {token}")
        assert answer.status_code == 200


def test_finding_the_client_takes_one_statement(shop: Backend, statements: Statements) -> None:
    with statements() as seen:
        assert shop.call("GET", "/texts/").status_code == 403
    assert len(seen) == 1, seen


def test_clients_cost_nobody_else_a_statement(app: Flask, shop: Backend, program: Program, statements: Statements) -> None:
    """A login by a client costs two more: one finds it at each call, and one locks it where its session is opened."""
    program.sign_in("+79290000010")  # the first of a day also makes the rows of its limits
    counts = []
    for caller, number in ((program, "+79290000011"), (shop, "+79290000012")):
        caller.call("GET", "/users/")  # reads the keys
        with statements() as asking:
            asked = caller.result("POST", "/auth/signup/", {"telephone_number": number})
        with app.app_context():
            body = {"verification_id": asked["verification_id"], "code": code_for(app.config["SETTINGS"], number)}
        with statements() as confirming:
            caller.result("POST", "/auth/code/", body)
        counts.append((len(asking), len(confirming)))
        assert caller is shop or not [one for one in asking + confirming if "clients" in one]

    assert (counts[1][0] - counts[0][0], counts[1][1] - counts[0][1]) == (1, 2)
