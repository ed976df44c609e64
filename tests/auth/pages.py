"""What tests of the pages share: sending forms, reading answers, and the lists of pages."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from hammer.db.database import db
from tests.people import Form, Page

ANNA, BORIS, VERA = "+79291234567", "+79297654321", "+79295550123"


CodeFor = Callable[[str], str]


def send(client: FlaskClient, path: str, **fields: str) -> TestResponse:
    """Sends a form with a valid token of this browser."""
    token = Page(client.get("/login/", follow_redirects=True).text).forms[0].fields["csrf_token"]
    return client.post(path, data={"csrf_token": token} | fields)


def sign_in(client: FlaskClient, code_for: CodeFor, number: str = ANNA) -> None:
    send(client, "/login/", telephone_number=number)
    assert send(client, "/login/code/", code=code_for(number)).location == "/profile/"


def invite_code(client: FlaskClient) -> str:
    found = re.search(r"/i/([0-9A-Z]{6})", client.get("/profile/").text)
    assert found
    return found[1]


def plain(written: str) -> str:
    """The text on one line, with plain spaces and hyphens."""
    return re.sub(r"\s+", " ", written).replace("\N{NON-BREAKING HYPHEN}", "-")


def words(answer: TestResponse) -> str:
    """The text that a person reads on the page."""
    return plain(Page(answer.text).words)


def rows(app: Flask) -> dict[str, list[Any]]:
    """All rows of the database, by table."""
    with app.app_context():
        tables = db.metadata.sorted_tables
        return {table.name: sorted(map(repr, db.session.execute(table.select()).all())) for table in tables}


class Outline(HTMLParser):
    """The elements of a page, without those inside a `template`, which are for scripts."""

    def __init__(self, answer: TestResponse) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(re.sub(r"<template.*?</template>", "", answer.text, flags=re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    def with_id(self, name: str | None) -> dict[str, str | None]:
        [found] = [attributes for _, attributes in self.tags if attributes.get("id") == name]
        return found


def assert_well_built(page: TestResponse) -> None:
    """The structure that every page has, and what none has: styles and scripts inside, double ids, fields without a label."""
    at, outline = f"{page.request.method} {page.request.path} ({page.status_code})", Outline(page)
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    ownerless = {one["form"] for tag in ("button", "input") for one in outline.all(tag) if "form" in one} - set(ids)
    labelled = {label["for"] for label in outline.all("label")}
    fields = [field for field in outline.all("input") if field.get("type") != "hidden"]
    assert outline.all("html") == [{"lang": "en"}], at
    assert [len(outline.all(tag)) for tag in ("title", "h1", "main", "header", "footer", "nav")] == [1] * 6, at
    assert outline.tags[[tag for tag, _ in outline.tags].index("body") + 1] == ("a", {"href": "#main"}), at
    assert len(ids) == len(set(ids)), at
    assert not ownerless, at
    assert {field["id"] for field in fields} <= labelled, at
    assert all(set((field.get("aria-describedby") or "").split()) <= set(ids) for field in fields), at
    assert all((script["src"] or "").startswith("/static/") and "defer" in script for script in outline.all("script")), at
    assert not outline.all("style"), at
    assert not [name for _, attributes in outline.tags for name in attributes if name == "style" or name.startswith("on")], at
    assert {"name": "referrer", "content": "same-origin"} in outline.all("meta"), at
    assert page.headers["Cache-Control"] == "no-store", at


def form_of(client: FlaskClient, path: str, field: str) -> Form:
    return Page(client.get(path).text).form_with(field) or pytest.fail("no form")


def other_language(answer: TestResponse) -> dict[str, str | None]:
    """The button that shows a form in Russian."""
    [switch] = [button for button in Outline(answer).all("button") if button.get("name") == "lang"]
    return switch


UNSAFE = [
    "/login/",
    "/login/code/",
    "/login/resend/",
    "/profile/",
    "/profile/invite/",
    "/profile/invite/decline/",
    "/profile/sessions/",
    "/profile/sessions/x/",
    "/profile/apps/x/end/",
    "/profile/apps/x/forget/",
    "/profile/delete/",
    "/profile/proof/",
    "/profile/proof/send/",
    "/profile/number/",
    "/profile/number/code/",
    "/profile/number/resend/",
    "/logout/",
    "/oauth/continue",
    "/oauth/other",
    "/oauth/logout/confirm",
]


SHOWN = [
    ("/login/", {"telephone_number": "8 929"}),
    ("/login/code/", {"code": "12"}),
    ("/profile/", {"username": "an", "first_name": "Ан", "last_name": "Ко", "invite_code": "K7M"}),
    ("/profile/number/", {"telephone_number": "8 929"}),
    ("/profile/number/code/", {"code": "12"}),
    ("/profile/proof/", {"code": "12"}),
]


def go_where_its_form_is(client: FlaskClient, code_for: CodeFor, path: str, clock: time_machine.Traveller) -> None:
    if path == "/login/code/":
        send(client, "/login/", telephone_number=ANNA)
    elif path != "/login/":
        sign_in(client, code_for)
    if path == "/profile/number/code/":
        send(client, "/profile/number/", telephone_number=BORIS)
    if path == "/profile/proof/":
        clock.shift(600)
        send(client, "/profile/proof/send/", then="auth.delete")


OURS = {"Sec-Fetch-Site": "same-origin"}


RUBBISH = ["", "\0", "🔨" * 20, "①②③④", "../../etc/passwd", "%(x)s %s {0}", "' or 1=1 --", "\u202e\ufeff", "x" * 10_000]
