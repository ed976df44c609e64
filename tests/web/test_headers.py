"""The security headers of every answer, and the hosts that the application answers for."""

import itertools
import re
import sys

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from hammer.web import origins
from tests import routes
from tests.people import Browser, Program
from tests.web import observatory

HOST = "https://login.example.com"
LOWEST_SCORE = 130
EXPECTED = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "otp-credentials=(self), camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


@pytest.fixture(scope="module")
def answers(production: Flask) -> list[tuple[str, TestResponse]]:
    """The answers to a stranger, from every route."""
    for at in ("/broken/", "/api/v1/broken/"):
        production.add_url_rule(at, at, lambda: 1 / 0)  # type: ignore[arg-type]
    return list(routes.every_answer(production, production.test_client(), HOST))


def markup(answer: TestResponse) -> str:
    """The beginning of what a browser reads; of a picture nothing."""
    return "" if (answer.mimetype or "").startswith("image/") else answer.text[:100_000]


def is_document(where: str) -> bool:
    return bool(re.search(r" /(redoc|swagger)/", where))


@pytest.mark.requirement("WEB-03", "WEB-04", "SES-05")
def test_every_answer_has_the_headers(answers: list[tuple[str, TestResponse]]) -> None:
    assert len(answers) > 200
    assert {answer.status_code for _, answer in answers} >= {200, 303, 401, 403, 404, 405, 413, 415, 422, 500}
    for where, answer in answers:
        for name, value in EXPECTED.items():
            has_its_own = name == "Content-Security-Policy" and is_document(where)
            may_be_kept = name == "Cache-Control" and re.search(
                r" /(static|documents|api/v1/openapi|\.well-known|robots\.txt|favicon\.ico|apple-touch-icon)", where
            )
            if not has_its_own and not may_be_kept:
                assert answer.headers.getlist(name) == [value], f"{where}: {answer.status_code} {name}"


@pytest.mark.requirement("WEB-03")
def test_no_policy_names_another_host_or_lets_inline_scripts_run(answers: list[tuple[str, TestResponse]]) -> None:
    for where, answer in answers:
        policy = observatory.directives(answer.headers["Content-Security-Policy"])
        assert policy["default-src"] == ["'none'"], where
        assert policy["script-src"] == ["'self'"], where
        assert policy["base-uri"] == policy["frame-ancestors"] == ["'none'"], where
        sources = {source for found in policy.values() for source in found}
        allowed = r"'none'|'self'|'nonce-[\w-]+'" + ("|data:|blob:" if is_document(where) else "")
        assert all(re.fullmatch(allowed, source) for source in sources), f"{where}: {sources}"


@pytest.mark.requirement("WEB-03")
def test_no_page_loads_anything_from_another_host(answers: list[tuple[str, TestResponse]]) -> None:
    for where, answer in answers:
        if answer.mimetype == "text/html":
            asked = re.findall(r"""(?:src|href|action|srcset|poster)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)""", answer.text)
            assert [url for url in asked if not url.startswith(HOST)] == [], where
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+\s*=|javascript:", answer.text), where


@pytest.mark.requirement("WEB-05")
def test_every_answer_scores_high(answers: list[tuple[str, TestResponse]], capsys: pytest.CaptureFixture[str]) -> None:
    scores = {
        where: observatory.score(dict(answer.headers), answer.headers.getlist("Set-Cookie"), markup(answer))
        for where, answer in answers
        if not where.endswith(origins.FOR_EVERYONE)  # these are meant for any page to read
    }
    lowest = min(scores, key=lambda where: scores[where])
    with capsys.disabled():
        sys.stdout.write(f"\n[Observatory's rules: {scores[lowest]} at least ({lowest}), {max(scores.values())} at most]\n")
    assert scores[lowest] >= LOWEST_SCORE


def test_the_score_falls_when_something_is_missing() -> None:
    good = EXPECTED
    cookie = "__Host-a=b; Secure; HttpOnly; Path=/; SameSite=Lax"
    assert observatory.score(good, [cookie]) == 155
    assert observatory.score(good, ["a=b; HttpOnly"]) < 100
    for name in ("Content-Security-Policy", "X-Content-Type-Options", "Strict-Transport-Security", "Referrer-Policy"):
        assert observatory.score({other: value for other, value in good.items() if other != name}, [cookie]) <= 150


@pytest.mark.requirement("CRY-02")
def test_no_answer_names_software_versions_or_shows_internals(answers: list[tuple[str, TestResponse]]) -> None:
    for where, answer in answers:
        assert not {"Server", "X-Powered-By", "X-AspNet-Version", "Via"} & set(answer.headers.keys()), where
        if answer.status_code >= 400:
            assert not re.search(r"Traceback|File \"|werkzeug|flask|sqlalchemy|ZeroDivision", markup(answer), re.IGNORECASE), where


@pytest.mark.requirement("CRY-02")
@pytest.mark.parametrize("path", ["/console", "/?__debugger__=yes&cmd=resource&f=debugger.js", "/metrics", "/.git/HEAD", "/.env"])
def test_no_tools_of_developers_are_open_in_production(production: Flask, path: str) -> None:
    answer = production.test_client().get(path, base_url=HOST)

    assert not production.debug
    assert answer.status_code in (303, 403, 404)


@pytest.mark.requirement("WEB-04")
def test_without_https_there_is_no_hsts(client: FlaskClient) -> None:
    assert "Strict-Transport-Security" not in client.get("/login/").headers


@pytest.mark.requirement("SES-05")
def test_files_can_be_cached_and_personal_pages_cannot(browser: Browser) -> None:
    browser.sign_in("+79290000001")

    for personal in ("/profile/", "/profile/export/", "/profile/delete/", "/login/"):
        assert browser.client.get(personal).headers["Cache-Control"] == "no-store", personal
    file = browser.client.get("/static/hammer.css", buffered=True)
    assert "no-store" not in file.headers["Cache-Control"]
    again = browser.client.get("/static/hammer.css", headers={"If-None-Match": file.headers["ETag"]}, buffered=True)
    assert again.status_code == 304


@pytest.mark.requirement("SES-05")
def test_no_answer_to_a_signed_in_caller_can_be_cached(app: Flask) -> None:
    """The API's answers of 200 too, and those that hold tokens."""
    program, browser = Program(app), Browser(app)
    program.sign_in("+79290000001")
    browser.sign_in("+79290000002")
    answers = [program.call("GET", routes.path(rule).removeprefix("/api/v1")) for rule in routes.rules(app, "/api/v1/auth/")]
    answers += [program.call("GET", routes.path(rule).removeprefix("/api/v1")) for rule in routes.rules(app, "/api/v1/users/")]
    answers += [program.call(method, "/users/me/", {"first_name": "Анна"}) for method in ("POST", "PATCH", "PUT")]
    answers += [program.call("POST", "/auth/signup/", {"telephone_number": "+79290000003"})]
    answers += [program.call("POST", "/auth/refresh/", {"refresh_token": program.tokens["refresh_token"]})]
    pages = [rule for rule in routes.rules(app) if (rule.endpoint or "").startswith("auth.") and "GET" in (rule.methods or ())]
    answers += [browser.client.get(routes.path(rule)) for rule in pages]

    welcome = [answer for answer in answers if answer.status_code == 200]
    assert len(welcome) >= 14
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


ANYWHERE = ("/", "/login/", "/api/v1/users/me/", "/static/hammer.css", "/redoc/", "/nothing/")


@pytest.mark.requirement("CRY-01")
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "login.example.com.evil.example",
        "127.0.0.1",
        "xlogin.example.com",
        "a b",
        "[::1",
        ".login.example.com",
        "login..example.com",
        f"{'x' * 64}.example.com",
    ],
)
def test_production_answers_for_one_host(production: Flask, host: str) -> None:
    for at in ANYWHERE:
        answer = production.test_client().get(at, base_url=HOST, headers={"Host": host}, buffered=True)

        assert answer.status_code == 400, at
        assert host not in answer.text
        assert answer.headers["Content-Security-Policy"]


@pytest.mark.requirement("CRY-01")
@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Host", "Forwarded"])
def test_no_header_changes_the_host(production: Flask, header: str) -> None:
    answer = production.test_client().get("/", base_url=HOST, headers={header: "host=evil.example"})

    assert answer.status_code == 303
    assert "evil.example" not in str(answer.headers)


def test_monitoring_can_use_any_host_name(production: Flask) -> None:
    client, by_address = production.test_client(), "http://10.0.0.7:8000"

    statuses = {at: client.get(at, base_url=by_address).status_code for at in ("/healthz", "/readyz", "/metrics")}

    assert statuses == {
        "/healthz": 200,
        "/readyz": 200,
        "/metrics": 404,
    }  # no token is sent here; a wrong host would be answered with 400


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize("origin", ["null", "https://good.evil", HOST, "https://login.example.com.evil.example", "file://"])
def test_no_other_origin_can_read_an_answer(production: Flask, origin: str) -> None:
    client = production.test_client()
    asks = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}

    for at, method in itertools.product(ANYWHERE, ("GET", "OPTIONS", "POST")):
        answer = client.open(at, method=method, base_url=HOST, headers=asks, buffered=True)
        assert [name for name in answer.headers.keys() if name.lower().startswith("access-control")] == []  # noqa: SIM118


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize("at", ["/api/v1/users/me/", "/.well-known/jwks.json"])
def test_the_api_refuses_http_and_does_not_redirect(production: Flask, at: str) -> None:
    """The published keys too: an attacker between the two could replace them."""
    for method in ("GET", "POST"):
        answer = production.test_client().open(
            at, method=method, base_url="http://login.example.com", headers={"Authorization": "Bearer x"}
        )
        assert answer.status_code == 403
        assert answer.mimetype == "application/problem+json"
        assert "Location" not in answer.headers
