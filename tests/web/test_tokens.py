"""Access tokens: which are accepted, for how long, and that everything else is refused."""

import json
import socket
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask, Response
from sqlalchemy import delete, update
from time_machine import Traveller
from werkzeug.test import TestResponse

from config import ACCESS_TOKEN_LEEWAY, Settings
from hammer import events
from hammer.db.database import db
from hammer.models import Event, Session, SessionKind, TokenKey, User
from hammer.sessions import devices, keys, sessions
from hammer.users import accounts, people
from hammer.web import tokens
from tests import routes
from tests.actions import sign_in
from tests.people import Browser, Program

ANNA, BORIS = "+79290000001", "+79290000002"
Part = dict[str, Any]
Statements = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def anna(program: Program) -> Program:
    program.sign_in(ANNA)
    return program


def ask(program: Program, token: str) -> TestResponse:
    return program.call("GET", "/users/me/", Authorization=f"Bearer {token}")


def assert_refused(answer: TestResponse) -> None:
    assert answer.status_code == 401, answer.text
    assert answer.json is not None
    assert answer.json["type"].endswith("/not-signed-in")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def ring(app: Flask) -> keys.KeyRing:
    checks: tokens.TokenVerifier = app.extensions["hammer.web.tokens"]
    return checks.ring


def signing(app: Flask) -> keys.Key:
    with app.app_context():
        return ring(app).signing()


def base64(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def parts(token: str) -> tuple[Part, Part]:
    """The header and the claims of a token."""
    header, claims, _ = (
        json.loads(urlsafe_b64decode(part + "==") or b"0") if n < 2 else {} for n, part in enumerate(token.split("."))
    )
    return header, claims


def put_together(header: object, claims: object, sign: Callable[..., bytes]) -> str:
    """A token of any header and claims; a library would refuse to make most of them."""
    signed = ".".join(base64(part if isinstance(part, bytes) else json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{base64(sign(signed.encode()))}"


def with_secret(secret: bytes) -> Callable[[bytes], bytes]:
    def sign(message: bytes) -> bytes:
        code = hmac.HMAC(secret, hashes.SHA256())
        code.update(message)
        return code.finalize()

    return sign


def test_a_token_made_by_hand_with_our_key_is_accepted(app: Flask, anna: Program) -> None:
    header, claims = parts(anna.tokens["access_token"])

    assert ask(anna, put_together(header, claims, signing(app).private.sign)).status_code == 200


@pytest.mark.requirement("TOK-01")
def test_a_header_names_only_the_algorithm_the_key_and_the_type(app: Flask, anna: Program) -> None:
    header, _ = parts(anna.tokens["access_token"])

    assert header == {"alg": "EdDSA", "typ": "at+jwt", "kid": signing(app).kid}


ELSEWHERE = "http://192.0.2.1/keys.json"
FOREIGN = Ed25519PrivateKey.generate()
FOREIGN_JWK = {"kty": "OKP", "crv": "Ed25519", "x": base64(FOREIGN.public_key().public_bytes_raw())}
DEEP = b'{"alg":' + b"[" * 5000
HEADERS: dict[str, Part] = {
    "of another kind": {"typ": "JWT"},
    "of the refresh kind": {"typ": "rt+jwt"},
    "of the kind in a list": {"typ": ["at+jwt"]},
    "whose kind is missing": {"typ": None},
    "whose key is missing": {"kid": None},
    "whose key has no name": {"kid": ""},
    "whose key is a path": {"kid": "../../x"},
    "whose key is a device": {"kid": "/dev/null"},
    "whose key is a statement": {"kid": "x' OR '1'='1"},
    "whose key has a NUL in its name": {"kid": "a\0b"},
    "whose key is half a character": {"kid": "\ud800"},
    "whose key is a number": {"kid": 1},
    "whose key is a list": {"kid": ["first"]},
    "whose key has a long name": {"kid": "k" * 5000},
    "whose key is another": {"kid": "A" * 43},
    "whose key is the row's": {"kid": "first"},
    "that brings a key": {"jwk": FOREIGN_JWK},
    "that says where its key is": {"jku": ELSEWHERE},
    "that says where its certificate is": {"x5u": ELSEWHERE},
    "that brings a certificate": {"x5c": ["MIIB"]},
    "that wants something understood": {"crit": ["exp"]},
    "that has its content elsewhere": {"crit": ["b64"], "b64": False},
    "that wants nothing understood": {"crit": []},
    "that is packed": {"zip": "DEF"},
    "of another content": {"cty": "JWT"},
    "that says one thing more": {"x": 1},
}


@pytest.mark.parametrize("how", HEADERS)
@pytest.mark.requirement("TOK-01", "TOK-02")
def test_a_token_with_another_header_is_refused(app: Flask, anna: Program, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed with our key, and with the key in the header itself. No other host is asked for a key."""
    called: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: called.append(where))
    monkeypatch.setattr(socket.socket, "connect", lambda _, where: called.append(where))
    header, claims = parts(anna.tokens["access_token"])
    header = {name: value for name, value in (header | HEADERS[how]).items() if value is not None}

    for key in (signing(app).private, FOREIGN):
        assert_refused(ask(anna, put_together(header, claims, key.sign)))

    assert called == []
    assert anna.is_signed_in()


@pytest.mark.parametrize("header", [b"", b"{}", b"[]", b"null", b"0", b'"a"', b"{", b"\xff", DEEP, b'{"alg":NaN}'], ids=len)
@pytest.mark.requirement("TOK-01")
def test_a_token_with_a_malformed_header_is_refused(app: Flask, anna: Program, header: bytes) -> None:
    _, claims = parts(anna.tokens["access_token"])

    assert_refused(ask(anna, put_together(header[:6000], claims, signing(app).private.sign)))


@pytest.mark.parametrize("none", ["none", "None", "NONE", "nOnE", "", None, 0, ["EdDSA"]])
@pytest.mark.requirement("TOK-01")
def test_an_unsigned_token_is_refused(app: Flask, anna: Program, none: object) -> None:
    header, claims = parts(anna.tokens["access_token"])

    for sign in (lambda _: b"", signing(app).private.sign):
        assert_refused(ask(anna, put_together(header | {"alg": none}, claims, sign)))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512", "ES256", "RS256", "PS256", "Ed448", "EdDSA ", "eddsa"])
@pytest.mark.requirement("TOK-01")
def test_public_values_are_not_accepted_as_secrets(app: Flask, anna: Program, algorithm: str) -> None:
    header, claims = parts(anna.tokens["access_token"])
    key = signing(app)
    known = [
        key.public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw),
        key.published["x"].encode(),
        json.dumps(key.published).encode(),
        key.public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        key.public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        b"",
    ]

    for secret in known:
        assert_refused(ask(anna, put_together(header | {"alg": algorithm}, claims, with_secret(secret))))
        assert_refused(ask(anna, put_together(header, claims, with_secret(secret))))


@pytest.mark.requirement("TOK-01")
def test_another_signature_is_refused(app: Flask, anna: Program) -> None:
    good = anna.tokens["access_token"]
    header, claims = parts(good)
    content, _, signature = good.rpartition(".")
    other = "A" if signature[0] != "A" else "B"

    for forged in (
        f"{content}.",
        f"{content}.{other}{signature[1:]}",
        f"{content}.{'A' * 86}",
        f"{content}.{signature}.{signature}",
    ):
        assert_refused(ask(anna, forged))
    assert_refused(ask(anna, put_together(header, claims, FOREIGN.sign)))
    assert_refused(ask(anna, put_together(header, claims | {"sub": "B" * 22}, lambda _: urlsafe_b64decode(signature + "=="))))


CLAIMS = ("iss", "aud", "exp", "iat", "sub", "jti", "sid", "type")


@pytest.mark.requirement("TOK-02", "TOK-03", "PHN-03")
def test_claims_name_the_user_and_the_expiry_and_nothing_personal(app: Flask, anna: Program) -> None:
    anna.result("PATCH", "/users/me/", {"username": "anna", "first_name": "Анна"})
    for shown in (anna.tokens, anna.result("POST", "/auth/refresh/", {"refresh_token": anna.tokens["refresh_token"]})):
        _, claims = parts(shown["access_token"])

        assert set(claims) == {*CLAIMS, "rfn", "fresh"}
        assert claims["iss"] == claims["aud"] == app.config["SETTINGS"].public_url
        assert claims["exp"] - claims["iat"] == shown["expires_in"] == 15 * 60
        assert not [value for value in claims.values() if "anna" in str(value).lower() or "9290000001" in str(value)]


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.requirement("TOK-02")
def test_a_missing_claim_is_refused(app: Flask, anna: Program, claim: str) -> None:
    header, claims = parts(anna.tokens["access_token"])
    without = {name: value for name, value in claims.items() if name != claim}

    for altered in (without, without | {claim: None}):
        assert_refused(ask(anna, put_together(header, altered, signing(app).private.sign)))


OTHER_CLAIMS: list[Part] = [
    {"iss": "https://example.org"},
    {"iss": ["http://localhost:5000"]},
    {"iss": "http://localhost:5000/"},
    {"aud": "https://example.org"},
    {"aud": ["http://localhost:5000", "https://example.org"]},
    {"exp": 1_700_000_000},
    {"exp": "soon"},
    {"iat": 4_000_000_000},
    {"iat": "now"},
    {"nbf": 4_000_000_000},
    {"sub": "A" * 22},
    {"sub": 1},
    {"jti": 1},
    {"sid": "A" * 22},
    {"sid": [1]},
    {"sid": 1},
    {"type": "refresh"},
    {"rfn": "0"},
    {"rfn": True},
    {"rfn": 0.0},
    {"rfn": [0]},
]


@pytest.mark.parametrize("other", OTHER_CLAIMS, ids=repr)
@pytest.mark.requirement("TOK-02")
def test_a_changed_claim_is_refused(app: Flask, anna: Program, other: Part) -> None:
    header, claims = parts(anna.tokens["access_token"])

    assert_refused(ask(anna, put_together(header, claims | other, signing(app).private.sign)))


@pytest.mark.requirement("TOK-02")
def test_a_token_of_an_older_version_without_refreshes_is_accepted(app: Flask, anna: Program) -> None:
    header, claims = parts(anna.tokens["access_token"])
    del claims["rfn"]

    assert ask(anna, put_together(header, claims, signing(app).private.sign)).status_code == 200


@pytest.mark.parametrize("claims", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 5000], ids=len)
@pytest.mark.requirement("TOK-02")
def test_malformed_claims_are_refused(app: Flask, anna: Program, claims: bytes) -> None:
    header, _ = parts(anna.tokens["access_token"])

    assert_refused(ask(anna, put_together(header, claims, signing(app).private.sign)))


@pytest.mark.requirement("TOK-02")
def test_no_other_token_or_id_of_ours_is_an_access_token(app: Flask, anna: Program, browser: Browser) -> None:
    browser.sign_in(BORIS)
    sent = anna.result("POST", "/auth/signup/", {"telephone_number": "+79290000003"})
    cookies = {name: browser.client.get_cookie(name) for name in ("hammer", "hammer_device", "hammer_form")}
    [session] = anna.result("GET", "/auth/sessions/")
    given = [anna.tokens["refresh_token"], anna.tokens["device_token"], sent["verification_id"], session["id"]]
    given += [cookie.value for cookie in cookies.values() if cookie] + [routes.form_token(app.test_client())]

    assert len(given) == 8
    for shown in given:
        assert_refused(ask(anna, shown))


@pytest.mark.requirement("TOK-02")
def test_a_token_of_another_installation_is_refused(
    app: Flask, anna: Program, settings: Settings, app_with: Callable[[Settings], Flask]
) -> None:
    """One with another secret, and one with our secret at another address."""
    _, claims = parts(anna.tokens["access_token"])
    others = (
        replace(settings, secret_key="another secret of 32 bytes or more"),
        replace(settings, public_url="https://example.org"),
    )
    for other in others:
        with app_with(other).test_request_context():
            theirs = tokens.pair(Session(id=claims["sid"], user_id=claims["sub"], refreshes=0))
        assert_refused(ask(anna, theirs["access_token"]))
    assert anna.is_signed_in()


@pytest.mark.requirement("TOK-03")
def test_a_token_expires_after_fifteen_minutes_also_if_remembered(anna: Program, clock: Traveller, app: Flask) -> None:
    """With half a minute of leeway, since the clocks of two machines can differ."""
    anna.sign_in(ANNA)
    kept = anna.tokens["access_token"]
    anna.sign_in(ANNA)
    fresh = anna.tokens["access_token"]
    assert ask(anna, kept).status_code == 200
    clock.shift(15 * 60 + 29)
    assert ask(anna, kept).status_code == 200
    clock.shift(1)

    assert_refused(ask(anna, kept))
    assert_refused(ask(anna, fresh))


@pytest.mark.requirement("TOK-03")
def test_a_token_has_its_leeway_also_where_it_is_shown_for_the_first_time(app: Flask, anna: Program, clock: Traveller) -> None:
    first, second = anna.tokens["access_token"], Program(app)
    second.sign_in(BORIS)
    ends_at = datetime.fromtimestamp(parts(first)[1]["exp"], UTC) + ACCESS_TOKEN_LEEWAY
    clock.move_to(ends_at - timedelta(microseconds=1))
    assert ask(anna, first).status_code == 200
    clock.move_to(ends_at)
    assert_refused(ask(anna, first))
    assert_refused(ask(anna, second.tokens["access_token"]))


@pytest.mark.requirement("TOK-03")
def test_a_token_of_a_machine_whose_clock_is_ahead_by_the_leeway_is_accepted(anna: Program, clock: Traveller) -> None:
    clock.shift(ACCESS_TOKEN_LEEWAY)
    anna.sign_in(ANNA)
    clock.shift(-ACCESS_TOKEN_LEEWAY)
    assert anna.is_signed_in()


# -- what is remembered -------------------------------------------------------------------------------------------------------


def test_a_signature_is_verified_once_in_a_process(app: Flask, anna: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    decode = jwt.decode

    def count(token: str, *more: Any, **named: Any) -> Any:
        checked.append(token)
        return decode(token, *more, **named)

    monkeypatch.setattr(jwt, "decode", count)
    for _ in range(3):
        assert anna.is_signed_in()

    assert checked == [anna.tokens["access_token"]]


def test_finding_the_caller_takes_one_statement(app: Flask, anna: Program, statements: Statements) -> None:
    header = {"Authorization": f"Bearer {anna.tokens['access_token']}"}
    for _ in range(2):
        with statements() as seen, app.test_request_context(headers=header):
            tokens.bearer()
            tokens.bearer()
        assert len(seen) == 1, seen


def test_finding_the_visitor_takes_one_statement(app: Flask, browser: Browser, statements: Statements) -> None:
    browser.sign_in(ANNA)
    cookie = browser.client.get_cookie(tokens.SESSION_COOKIE)
    assert cookie is not None
    with statements() as seen, app.test_request_context(headers={"Cookie": f"{cookie.key}={cookie.value}"}):
        assert tokens.visitor() == tokens.visitor() is not None
    assert len(seen) == 1, seen


def test_a_refused_token_takes_no_statement(app: Flask, anna: Program, statements: Statements) -> None:
    good = anna.tokens["access_token"]
    with statements() as seen:
        assert_refused(ask(anna, good[:-6] + ("B" if good[-6] == "A" else "A") * 6))
    assert seen == []


@pytest.mark.requirement("TOK-01")
def test_a_remembered_token_does_not_help_a_forged_one(app: Flask, anna: Program) -> None:
    good = anna.tokens["access_token"]
    assert ask(anna, good).status_code == 200
    content, _, signature = good.rpartition(".")
    for forged in (f"{content}.{signature[:-4]}AAAA", f"{content}.", good + "=", good + ".", good.swapcase()):
        for _ in range(2):
            assert_refused(ask(anna, forged))


def test_a_limited_number_of_tokens_is_remembered_and_all_are_accepted(
    app: Flask, anna: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_REMEMBERED", 3)
    shown = []
    for _ in range(5):
        anna.tokens |= anna.result("POST", "/auth/refresh/", {"refresh_token": anna.tokens["refresh_token"]})
        shown.append(anna.tokens["access_token"])
    for token in shown * 2:
        assert ask(anna, token).status_code == 200
        assert len(app.extensions["hammer.web.tokens"]._remembered) <= 3
    assert list(app.extensions["hammer.web.tokens"]._remembered) == shown[-3:]


@pytest.mark.requirement("TOK-01")
def test_a_remembered_token_is_refused_when_its_key_is_no_longer_trusted(app: Flask, anna: Program, clock: Traveller) -> None:
    """Rotated, and then taken out of the table by hand."""
    assert anna.is_signed_in()
    with app.app_context():
        keys.rotate(app.config["SETTINGS"])
    clock.shift(keys.RELOAD)
    assert anna.is_signed_in()
    with app.app_context():
        db.session.execute(delete(TokenKey).where(TokenKey.retired_at.is_not(None)))
    clock.shift(keys.RELOAD)
    assert_refused(ask(anna, anna.tokens["access_token"]))


# -- ends at once -------------------------------------------------------------------------------------------------------------


def _log_out(app: Flask, anna: Program, other: Program) -> None:
    anna.sign_out()


def _end(app: Flask, anna: Program, other: Program) -> None:
    mine = next(device["id"] for device in anna.result("GET", "/auth/sessions/") if device["current"])
    assert other.call("DELETE", f"/auth/sessions/{mine}/").status_code == 204


def _end_others(app: Flask, anna: Program, other: Program) -> None:
    assert other.call("DELETE", "/auth/sessions/").status_code == 204


def _block(app: Flask, anna: Program, other: Program) -> None:
    with app.app_context():
        accounts.set_blocked(people.find(app.config["SETTINGS"], ANNA), True)


def _block_by_hand(app: Flask, anna: Program, other: Program) -> None:
    with app.app_context():
        db.session.execute(update(User).values(blocked_at=User.date_joined))


def _delete(app: Flask, anna: Program, other: Program) -> None:
    assert other.call("DELETE", "/users/me/").status_code == 204


def _reuse(app: Flask, anna: Program, other: Program) -> None:
    first = anna.tokens["refresh_token"]
    second = anna.result("POST", "/auth/refresh/", {"refresh_token": first})["refresh_token"]
    anna.result("POST", "/auth/refresh/", {"refresh_token": second})
    assert anna.call("POST", "/auth/refresh/", {"refresh_token": first}).status_code == 401


@pytest.mark.parametrize("action", [_log_out, _end, _end_others, _block, _block_by_hand, _delete, _reuse])
@pytest.mark.requirement("TOK-06", "TOK-04", "SES-06")
def test_all_tokens_of_a_session_end_with_it_at_once(
    app: Flask, anna: Program, action: Callable[[Flask, Program, Program], None], clock: Traveller
) -> None:
    """Although their signatures are good, remembered as such, and far from their end."""
    other = Program(app)
    clock.shift(61)
    other.sign_in(ANNA)
    renewed = anna.result("POST", "/auth/refresh/", {"refresh_token": anna.tokens["refresh_token"]})
    shown = [anna.tokens["access_token"], renewed["access_token"]]
    anna.tokens = anna.tokens | renewed
    assert [ask(anna, token).status_code for token in shown] == [200, 200]

    action(app, anna, other)

    for token in shown:
        assert_refused(ask(anna, token))
    assert_refused(anna.call("POST", "/auth/refresh/", {"refresh_token": renewed["refresh_token"]}, Authorization=""))


@pytest.mark.requirement("TOK-04", "LOG-01")
def test_a_thief_who_refreshes_right_behind_the_owner_ends_the_session(app: Flask) -> None:
    for n in range(20):
        owner, thief = Program(app), Program(app)
        owner.sign_in(f"+792900010{n:02d}")
        stolen = owner.tokens["refresh_token"]
        owner.tokens |= owner.result("POST", "/auth/refresh/", {"refresh_token": stolen})
        assert owner.is_signed_in()

        assert_refused(thief.call("POST", "/auth/refresh/", {"refresh_token": stolen}))

        assert not owner.is_signed_in()
        with app.app_context():
            assert db.session.query(Event).filter_by(kind=events.Kind.REFRESH_REUSED).count() == n + 1


# -- in the header alone ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TOK-07")
def test_a_token_is_read_only_from_the_header(app: Flask, anna: Program) -> None:
    token = anna.tokens["access_token"]
    client = app.test_client()
    for name in ("access_token", "token", "jwt", "access_token_cookie", "Authorization"):
        client.set_cookie(name, token)
        for value in (token, f"Bearer {token}"):
            assert client.get("/api/v1/users/me/", query_string={name: value}).status_code == 422
        assert_refused(client.patch("/api/v1/users/me/", json={name: token}))
        assert_refused(client.get("/api/v1/users/me/", headers={"X-Access-Token": token, "Proxy-Authorization": f"Bearer {token}"}))
    assert client.get("/api/v1/users/me/", headers={"Authorization": f"bearer {token}"}).status_code == 200


@pytest.mark.requirement("TOK-07")
@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abcX", "abcX"),
        ("\tBEARER   abc \t", "abc"),
        ("XBearer abc", ""),
        ("Bearer abc\x0c", ""),
        ("Bearer", ""),
        ("Basic abc", ""),
        (None, ""),
    ],
)
def test_a_header_is_read_as_the_rfc_says(app: Flask, value: str | None, token: str) -> None:
    with app.test_request_context(environ_base={} if value is None else {"HTTP_AUTHORIZATION": value}):
        assert tokens.bearer_token() == token


def test_every_call_that_needs_a_token_answers_401_without_one(app: Flask) -> None:
    for rule in routes.rules(app, "/api/v1/"):
        for method in sorted((rule.methods or set()) - {"OPTIONS", "HEAD"}):
            answer = routes.send(app.test_client(), method, routes.path(rule))
            if answer.status_code == 401 and "/auth/refresh" not in rule.rule and "/auth/code" not in rule.rule:
                assert_refused(answer)


# -- cookies ------------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("context")
@pytest.mark.requirement("SES-02")
@pytest.mark.parametrize(
    ("public_url", "prefix", "flags"), [("http://localhost", "", ""), ("https://localhost", "__Host-", "Secure ")]
)
def test_the_cookies_of_a_browser_live_two_weeks_and_a_year(
    settings: Settings, app_with: Callable[[Settings], Flask], public_url: str, prefix: str, flags: str
) -> None:
    them = sign_in(settings, kind=SessionKind.BROWSER)
    said, response = {}, Response()
    with app_with(replace(settings, public_url=public_url)).test_request_context():
        tokens.set_cookies(response, them.session, them.device)
        tokens.clear_cookie(response)
    for line in response.headers.getlist("Set-Cookie"):
        pair, *attributes = line.split("; ")
        said[pair] = {one for one in attributes if not one.startswith("Expires=")}
    always = {*flags.split(), "HttpOnly", "Path=/", "SameSite=Lax"}
    assert said == {
        f"{prefix}hammer={sessions.cookie(settings, them.session)}": {f"Max-Age={14 * 24 * 3600}", *always},
        f"{prefix}hammer_device={devices.token(settings, them.device)}": {f"Max-Age={365 * 24 * 3600}", *always},
        f"{prefix}hammer=": {"Max-Age=0", *always},
    }


# -- the name of a device -----------------------------------------------------------------------------------------------------

CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME}", "Chrome · Windows"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Edg/142.0.0.0", "Edge · Windows"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {CHROME} OPR/124.0.0.0", "Opera · Linux"),
        (f"Mozilla/5.0 (Linux; Android 15) {CHROME} YaBrowser/25.10", "Yandex · Android"),
        ("Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", "Firefox · Android"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 26_1 like Mac OS X) Version/26.1 Safari/604.1", "Safari · iPhone"),
        ("Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) Version/17.7 Safari/604.1", "Safari · iPad"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/26.1 Safari/605.1.15", "Safari · macOS"),
        ("Firefox/145.0", "Firefox"),
        ("shop-app/2.1 (Android 15)", "Android"),
        ("shop-app_2.1/7 okhttp", "shop-app_2.1"),
        ("a" * 41, "a" * 40),
        ("приложение/1", ""),
        (" x", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_device_is_called_by_its_browser_and_system_or_else_by_its_program(app: Flask, agent: str | None, name: str) -> None:
    with app.test_request_context(environ_base={} if agent is None else {"HTTP_USER_AGENT": agent}):
        assert tokens.device() == name
