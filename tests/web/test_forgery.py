"""Other sites cannot make a browser do anything here (CSRF), and typed text cannot become markup (XSS)."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import update

import hammer
from hammer.db.database import db
from hammer.models import User
from hammer.web.access import Access, by_endpoint
from hammer.web.languages import PROGRAMS
from hammer.web.pages.csrf import FROM_APPS
from tests import routes
from tests.people import Browser, Page, Program
from tests.routes import form_token

ANNA, BORIS = "+79290000001", "+79290000002"
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
PACKAGE = Path(hammer.__file__).parent
NAMES_OF_TARGETS = ("next", "return", "redirect", "url", "after", "lang")
PAYLOADS = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'-alert(1)-'", "{{7*7}}", "javascript:alert(1)")


def unsafe_pages(app: Flask) -> list[str]:
    """Addresses of routes for browsers that change something. The two to which apps send forms answer by the same address."""
    found = [rule for rule in routes.rules(app) if not rule.rule.startswith(PROGRAMS) and set(UNSAFE) & (rule.methods or set())]
    return [routes.path(rule) for rule in found if rule.endpoint not in FROM_APPS]


class Tags(HTMLParser):
    """The elements of a page, each with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


@pytest.mark.requirement("WEB-01")
def test_every_unsafe_form_needs_the_token_of_this_browser(app: Flask, browser: Browser) -> None:
    stolen = form_token(app.test_client())
    browser.sign_in(ANNA)
    pages = unsafe_pages(app)

    assert {"/login/", "/login/code/", "/login/resend/", "/profile/", "/logout/"} <= set(pages)
    for client in (app.test_client(), browser.client):
        for page in pages:
            for sent in ({}, {"csrf_token": ""}, {"csrf_token": stolen}, {"csrf_token": "x.y.z"}):
                answer = client.post(page, data=sent)
                assert answer.status_code == 403, (page, sent)
                assert "Location" not in answer.headers
    assert browser.is_signed_in()


@pytest.mark.requirement("WEB-01")
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:5000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:5000.evil.example"},
        {"Origin": "http://[::1"},
        {"Origin": ""},
    ],
    ids=str,
)
def test_a_valid_token_does_not_help_another_site(app: Flask, browser: Browser, headers: dict[str, str]) -> None:
    browser.sign_in(ANNA)
    right = form_token(browser.client)

    for page in unsafe_pages(app):
        assert browser.client.post(page, data={"csrf_token": right}, headers=headers).status_code == 403, page
    assert browser.is_signed_in()


@pytest.mark.requirement("WEB-01")
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost:5000"},
        {"Origin": "http://localhost"},  # the client's own host
        {},
    ],
    ids=str,
)
def test_our_own_forms_work_in_every_browser(client: FlaskClient, headers: dict[str, str]) -> None:
    answer = client.post("/login/", data={"csrf_token": form_token(client), "telephone_number": ANNA}, headers=headers)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/login/code/")


@pytest.mark.requirement("WEB-01")
def test_a_refused_form_says_how_to_continue(client: FlaskClient) -> None:
    client.get("/login/")
    answer = client.post("/login/", data={"telephone_number": ANNA}, headers={"Accept-Language": "en"})

    assert answer.status_code == 403
    assert "The form has expired" in answer.text
    assert 'href="/login/"' in answer.text


TRIES_TO_WRITE = {"/readyz", "/metrics"}
"""Routes that insert and delete a row, to find out whether the database can be written to."""


@pytest.mark.requirement("WEB-01")
def test_reading_changes_nothing(
    app: Flask, program: Program, browser: Browser, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    """Every route, by GET and HEAD, as staff: only reads, except for the last use of the session, the event of an export, and the
    places that the event feed gives to events that wait for them."""
    program.sign_in(ANNA)
    browser.sign_in(ANNA)
    with app.app_context():
        db.session.execute(update(User).values(is_staff=True))

    looked = 0
    with statements() as seen:
        for rule in routes.rules(app):
            if rule.rule in TRIES_TO_WRITE:
                continue
            for method in {"GET", "HEAD"} & (rule.methods or set()):
                answer = browser.client.open(routes.path(rule), method=method, headers=_bearer(program), buffered=True)
                assert answer.status_code < 500, rule
                looked += 1

    assert looked > 40
    writes = [sql for sql in seen if re.match(r"\s*(insert|update|delete)\b", sql, re.IGNORECASE)]
    assert [
        sql for sql in writes if not re.match(r"UPDATE sessions SET seen_at=|INSERT INTO events |UPDATE events SET sequence=", sql)
    ] == []


@pytest.mark.requirement("WEB-02")
def test_the_api_ignores_cookies(app: Flask, browser: Browser) -> None:
    browser.sign_in(ANNA)
    closed = {name for name, audience in by_endpoint(app).items() if audience > Access.PUBLIC}
    asked = 0

    for rule in routes.rules(app, "/api/"):
        for method in set(rule.methods or ()) - {"OPTIONS", "HEAD"}:
            if rule.endpoint in closed:
                answer = routes.send(browser.client, method, routes.path(rule))
                assert answer.status_code == 401, f"{method} {rule.rule}"
                asked += 1
    assert asked >= 14


@pytest.mark.requirement("WEB-02")
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json"]
)
def test_the_api_reads_no_forms(app: Flask, client: FlaskClient, kind: str) -> None:
    for rule in routes.rules(app, "/api/"):
        for method in {"POST", "PUT", "PATCH"} & (rule.methods or set()):
            answer = client.open(routes.path(rule), method=method, data=b"{}", content_type=kind)
            assert answer.status_code in (401, 415), f"{method} {rule.rule}"
            assert answer.status_code == 415 or "Bearer" in answer.headers["WWW-Authenticate"]


@pytest.mark.requirement("WEB-06")
@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "/\\evil.example",
        "https:evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/%0d%0aSet-Cookie: a=b",
    ],
)
def test_no_parameter_redirects_to_another_site(app: Flask, browser: Browser, elsewhere: str) -> None:
    strangers = app.test_client()
    browser.sign_in(ANNA)

    for rule in routes.rules(app):
        if "GET" in (rule.methods or ()) and not rule.rule.startswith("/api/"):
            for client in (strangers, browser.client):
                answer = client.get(routes.path(rule), query_string=dict.fromkeys(NAMES_OF_TARGETS, elsewhere), buffered=True)
                leads = answer.headers.get("Location", "/")
                assert re.match(r"/(?![/\\])", leads), rule.rule
                assert "evil" not in leads
                assert not [one for one in answer.headers.getlist("Set-Cookie") if one.startswith("a=b")]
    assert not re.search(r"args.*next|\bnext_url\b", "".join(file.read_text() for file in PACKAGE.rglob("*.py")))


@pytest.mark.requirement("WEB-06")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_typed_markup_is_shown_as_text(app: Flask, browser: Browser, program: Program, payload: str) -> None:
    """In every field of every form, and in stored values that were sent to the API."""
    browser.sign_in(ANNA)
    program.sign_in(ANNA)
    program.call("PATCH", "/users/me/", {"first_name": payload, "last_name": payload})
    stranger = app.test_client()
    right, theirs = form_token(browser.client), form_token(stranger)
    fields = dict.fromkeys(("telephone_number", "code", "username", "first_name", "last_name", "invite_code"), payload)

    shown = [browser.client.get("/profile/").text, stranger.get(f"/i/{payload}").text, stranger.get(f"/{payload}").text]
    shown += [browser.client.post("/profile/", data={"csrf_token": right, name: payload}).text for name in fields]
    shown.append(browser.client.post("/profile/", data={"csrf_token": right} | fields).text)
    shown.append(stranger.post("/login/", data={"csrf_token": theirs} | fields).text)

    assert any(payload in form.fields.values() for form in Page(shown[0]).forms)
    for page in shown:
        for tag, attributes in Tags(page).found:
            assert tag not in ("img", "iframe"), attributes
            assert tag != "script" or re.fullmatch(r"/static/\w+\.js\?v=\w+", attributes["src"]), attributes
            assert not [name for name in attributes if name.startswith("on")], attributes
            assert not attributes.get("href", "").startswith("javascript:")
            assert "49" not in attributes.values()


@pytest.mark.requirement("WEB-06")
def test_no_template_turns_escaping_off() -> None:
    for file in (PACKAGE / "templates").rglob("*.html"):
        assert not re.search(r"\|\s*safe\b|autoescape|<script(?![^>]*\bsrc=)|\son\w+=|\bstyle=", file.read_text()), file.name
    for file in PACKAGE.rglob("*.py"):
        made = re.findall(r"Markup\((.*)", file.read_text())
        assert all(
            re.match(r"\"[^\"]*\"\)\.format\(|", code) and not re.match(r"f\"|(?!drawn\.svg_inline\(|gettext\(\")\w", code)
            for code in made
        ), file.name


def _bearer(program: Program) -> dict[str, str]:
    return {"Authorization": f"Bearer {program.tokens['access_token']}"}
