"""`openid-client`, the certified library for Node: every algorithm, as an app with a secret and as a public one."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from tests import parts
from tests.peers.conftest import App, Register
from tests.peers.visitor import Visitor
from tests.serving import HOME, Server, surroundings

pytestmark = pytest.mark.needs("node")

CALLBACK: Final = f"http://{HOME}:1/callback"
"""Nothing listens there: the test takes the address to which the browser is sent and gives it to the app."""
AFTER_LOGOUT: Final = f"http://{HOME}:1/signed-out"
EVERYTHING: Final = "openid phone profile invites offline_access"

METHODS: Final = ("client_secret_basic", "client_secret_post", "none")
each_method = pytest.mark.parametrize("method", METHODS)
each_algorithm = pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])


class RefusedError(Exception):
    """The library refused what it got, or was refused."""


class RelyingParty:
    """The process of an app that uses the library."""

    def __init__(self, process: "subprocess.Popen[str]", app: App) -> None:
        self.process = process
        self.app = app

    def __call__(self, verb: str, **given: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"verb": verb, **given}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline() or '{"error": "The app ended."}')
        if "error" in answer:
            raise RefusedError(answer["error"], answer.get("words"))
        return answer["result"]

    def sign_in(self, visitor: Visitor, scope: str = EVERYTHING, **parameters: str) -> Any:
        return self("finish", at=visitor.follow(self("begin", scope=scope, **parameters)))


Start = Callable[..., RelyingParty]


@pytest.fixture(scope="module")
def start(server: Server, register: Register, programs: Path) -> Iterator[Start]:
    """Starts an app: one for each algorithm and way to authenticate."""
    started: dict[tuple[str, str], RelyingParty] = {}
    with ExitStack() as running:

        def one(algorithm: str = "RS256", method: str = "client_secret_basic") -> RelyingParty:
            if (algorithm, method) not in started:
                app = register(
                    f"App {algorithm} {method}",
                    redirect_uris=[CALLBACK],
                    post_logout_redirect_uris=[AFTER_LOGOUT],
                    algorithm=algorithm,
                    public=method == "none",
                )
                configuration = {
                    "issuer": server.url, "id": app.id, "secret": app.secret, "method": method, "algorithm": algorithm,
                    "callback": CALLBACK, "afterLogout": AFTER_LOGOUT,
                }  # fmt: skip
                command = [parts.program("node"), "openid_client.mjs", json.dumps(configuration)]
                process = running.enter_context(
                    subprocess.Popen(
                        command, cwd=programs, env=surroundings(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                    )
                )
                running.callback(process.terminate)
                started[algorithm, method] = RelyingParty(process, app)
            return started[algorithm, method]

        yield one


@each_algorithm
@each_method
def test_it_signs_a_person_in_with_every_algorithm_as_every_kind_of_app(
    start: Start, server: Server, number: str, algorithm: str, method: str
) -> None:
    app, visitor = start(algorithm, method), Visitor(server, number)
    me = server.call("GET", "/users/me/", token=server.sign_in(number)["access_token"]).json

    tokens = app.sign_in(visitor)

    assert visitor.seen == ["number", "code", "consent"]
    header, claims = jwt.get_unverified_header(tokens["id_token"]), tokens["claims"]
    assert header["alg"] == algorithm
    assert (claims["iss"], claims["aud"], claims["sub"]) == (server.url, app.app.id, me["id"])
    assert (claims["amr"], claims["acr"]) == (["otp", "sms"], "1")
    assert claims["auth_time"] <= claims["iat"]
    userinfo = app("userinfo", access_token=tokens["access_token"], sub=me["id"])
    assert (userinfo["phone_number"], userinfo["phone_number_verified"]) == (number, True)
    assert userinfo["invite_code"] == me["invite_code"]

    again = app.sign_in(visitor)

    # Without a secret, and at an address of the person's own device, no one can know this app from another one there.
    assert visitor.seen == (["consent"] if method == "none" else [])
    assert again["claims"]["sub"] == me["id"]
    assert again["claims"]["sid"] != claims["sid"]


@each_method
def test_a_refresh_gives_other_tokens_and_an_old_refresh_token_ends_them_all(
    start: Start, server: Server, number: str, method: str
) -> None:
    app = start(method=method)
    first = app.sign_in(Visitor(server, number))
    sub = first["claims"]["sub"]

    second = app("refresh", refresh_token=first["refresh_token"])

    assert second["claims"]["sub"] == sub
    assert second["claims"]["sid"] == first["claims"]["sid"]
    assert second["claims"]["auth_time"] == first["claims"]["auth_time"]
    assert second["refresh_token"] != first["refresh_token"]
    assert app("userinfo", access_token=second["access_token"], sub=sub)["phone_number"] == number
    with pytest.raises(RefusedError, match="invalid_grant"):
        app("refresh", refresh_token=first["refresh_token"])
    with pytest.raises(RefusedError, match="invalid_grant"):
        app("refresh", refresh_token=second["refresh_token"])
    with pytest.raises(RefusedError, match="invalid_token"):
        app("userinfo", access_token=second["access_token"], sub=sub)


@each_method
def test_a_revoked_token_is_worth_nothing(start: Start, server: Server, number: str, method: str) -> None:
    app = start(method=method)
    tokens = app.sign_in(Visitor(server, number))

    app("revoke", token=tokens["refresh_token"])

    with pytest.raises(RefusedError, match="invalid_token"):
        app("userinfo", access_token=tokens["access_token"], sub=tokens["claims"]["sub"])
    with pytest.raises(RefusedError, match="invalid_grant"):
        app("refresh", refresh_token=tokens["refresh_token"])


def test_without_offline_access_there_is_no_refresh_token(start: Start, server: Server, number: str) -> None:
    tokens = start().sign_in(Visitor(server, number), scope="openid")

    assert "refresh_token" not in tokens


@each_algorithm
def test_its_logout_signs_the_person_out_of_hammer_too(start: Start, server: Server, number: str, algorithm: str) -> None:
    app, visitor = start(algorithm), Visitor(server, number)
    tokens = app.sign_in(visitor)
    assert visitor.is_signed_in()

    at = visitor.follow(app("logout", id_token=tokens["id_token"]))

    assert visitor.seen == []
    assert at.startswith(f"{AFTER_LOGOUT}?")
    assert parse_qs(urlsplit(at).query) == {"state": ["of the logout"]}
    assert not visitor.is_signed_in()
    with pytest.raises(RefusedError, match="invalid_token"):
        app("userinfo", access_token=tokens["access_token"], sub=tokens["claims"]["sub"])
    app.sign_in(visitor)
    assert visitor.seen == ["number", "code"]


def test_the_pages_speak_the_language_that_the_app_asks_for(start: Start, server: Server, number: str) -> None:
    visitor = Visitor(server, number)

    start().sign_in(visitor, ui_locales="ru")

    assert visitor.seen == ["number", "code", "consent"]
    assert visitor.languages == {"ru"}


def test_it_learns_that_a_person_did_not_allow_it(start: Start, server: Server, number: str) -> None:
    app, visitor = start(), Visitor(server, number)

    at = visitor.follow(app("begin", scope=EVERYTHING), deny=True)

    assert visitor.seen == ["number", "code"]
    with pytest.raises(RefusedError, match="access_denied"):
        app("finish", at=at)


@pytest.mark.parametrize(("prompt", "error"), [("none", "login_required"), ("create", "invalid_request")])
def test_it_learns_why_it_gets_no_code(start: Start, server: Server, number: str, prompt: str, error: str) -> None:
    app = start()

    with pytest.raises(RefusedError, match=error):
        app.sign_in(Visitor(server, number), prompt=prompt)


def test_without_a_page_it_signs_a_person_in_whose_consent_is_remembered(start: Start, server: Server, number: str) -> None:
    app, visitor = start(), Visitor(server, number)
    first = app.sign_in(visitor)

    assert app.sign_in(visitor, prompt="none")["claims"]["sub"] == first["claims"]["sub"]


def test_it_gets_a_newer_login_when_it_asks_for_one(start: Start, server: Server, number: str) -> None:
    app, visitor = start(), Visitor(server, number)
    first = app.sign_in(visitor)

    second = app.sign_in(visitor, prompt="login")

    assert "code" in visitor.seen
    assert "consent" not in visitor.seen
    assert second["claims"]["auth_time"] >= first["claims"]["auth_time"]


def test_it_notices_an_answer_of_another_issuer(start: Start, server: Server, number: str) -> None:
    app = start()
    at = Visitor(server, number).follow(app("begin", scope="openid"))
    issuer = urlsplit(server.url).netloc.replace(":", "%3A")
    assert f"iss=http%3A%2F%2F{issuer}" in at

    with pytest.raises(RefusedError, match="iss"):
        app("finish", at=at.replace(issuer, "login.example.com"))
