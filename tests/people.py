"""One person who uses the pages (`Browser`) or the JSON API (`Program`): the same few actions through both."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Protocol

from flask import Flask
from werkzeug.test import TestResponse

from tests import delivery


@dataclass(frozen=True)
class Seen:
    """What a person finds on their profile, on the page and in the JSON API."""

    invite_code: str
    invite_count: int
    has_activated: bool


class Person(Protocol):
    def sign_in(self, telephone_number: str, typing: Callable[[str], str] = str, *, code: str | None = None) -> None:
        """Asks for a code, reads the message (unless the `code` is known), and enters the code as `typing` changes it (spaces,
        other digits)."""

    def is_signed_in(self) -> bool: ...

    def profile(self) -> Seen: ...

    def activate(self, invite_code: str) -> str | None:
        """Activates an invite code. None if it was activated; otherwise the answer, in English."""

    def sign_out(self) -> None: ...


class Program:
    """Uses the JSON API. `call` sends any request, with the access token of the person who is signed in."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client(use_cookies=False)
        self.tokens: dict[str, Any] = {}

    def call(self, method: str, path: str, json: object = None, **headers: str) -> TestResponse:
        if self.tokens:
            headers.setdefault("Authorization", f"Bearer {self.tokens['access_token']}")
        headers.setdefault("Accept-Language", "en")
        return self.client.open(f"/api/v1{path}", method=method, json=json, headers=headers)

    def result(self, method: str, path: str, json: object = None) -> Any:
        """The JSON of an answer. The call must succeed."""
        answer = self.call(method, path, json)
        assert answer.status_code < 300, answer.text
        return answer.json

    def sign_in(self, telephone_number: str, typing: Callable[[str], str] = str, *, code: str | None = None) -> None:
        asked = self.result("POST", "/auth/signup/", {"telephone_number": telephone_number})
        with self.app.app_context():
            code = code or delivery.code_for(self.app.config["SETTINGS"], asked["telephone_number"])
        self.tokens = self.result("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": typing(code)})

    def is_signed_in(self) -> bool:
        return self.call("GET", "/users/me/").status_code == 200

    def profile(self) -> Seen:
        me = self.result("GET", "/users/me/")
        return Seen(me["invite_code"], me["invite_count"], me["activated_invite_code"] is not None)

    def activate(self, invite_code: str) -> str | None:
        answer = self.call("POST", "/users/me/invite/", {"invite_code": invite_code})
        return None if answer.status_code == 200 else answer.text

    def sign_out(self) -> None:
        assert self.call("POST", "/auth/logout/").status_code == 204


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    name: str = ""
    """Its id: fields outside of the form refer to it by their attribute `form`."""


class Page(HTMLParser):
    """The words and forms of an HTML page, without the contents of `<template>`, which only scripts read."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words = ""
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._textarea = ""
        self.feed(re.sub(r"<template.*?</template>", "", html, flags=re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(found.get("action", ""), found.get("method", "get").lower(), name=found.get("id", ""))
            self.forms.append(self._open)
        elif tag in ("input", "textarea") and found.get("name") and found.get("type") != "submit":
            owner = next((form for form in self.forms if form.name == found["form"]), None) if "form" in found else self._open
            if owner is not None:
                owner.fields[found["name"]] = found.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def handle_data(self, data: str) -> None:
        self.words += data

    def form_with(self, name: str) -> Form | None:
        """The first form that has a field of this name."""
        return next((form for form in self.forms if name in form.fields), None)


class Browser:
    """Uses the pages without scripts. `get` opens any page, and `send` sends any form."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.client = app.test_client()
        self.at = "/"
        self.last: TestResponse | None = None
        """The page that it shows."""

    def get(self, path: str) -> Page:
        answer = self.client.get(path, follow_redirects=True, headers={"Accept-Language": "en"})
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return self._arrive(answer)

    def send(self, form: Form, **filled: str) -> Page:
        """Fills in a form and sends it; returns the page that follows."""
        answer = self.client.post(
            form.action or self.at, data=form.fields | filled, follow_redirects=True, headers={"Accept-Language": "en"}
        )
        return self._arrive(answer)

    def _arrive(self, answer: TestResponse) -> Page:
        self.at, self.last = answer.request.path, answer
        return Page(answer.text)

    def sign_in(self, telephone_number: str, typing: Callable[[str], str] = str, *, code: str | None = None) -> None:
        page = self.enter(self.get("/login/"), telephone_number, typing, code=code)
        assert self.at.startswith("/profile"), f"{self.at}: {page.words}"

    def enter(self, page: Page, telephone_number: str, typing: Callable[[str], str] = str, *, code: str | None = None) -> Page:
        """Signs in on the page with the phone form. Returns the page that follows."""
        phone_form = page.form_with("telephone_number")
        assert phone_form is not None
        page = self.send(phone_form, telephone_number=telephone_number)
        code_form = page.form_with("code")
        assert code_form is not None, page.words
        digits = re.sub(r"\D", "", telephone_number)
        with self.app.app_context():
            code = code or delivery.code_for(self.app.config["SETTINGS"], f"+7{digits[-10:]}")
        return self.send(code_form, code=typing(code))

    def is_signed_in(self) -> bool:
        answer = self.client.get("/profile/")
        return answer.status_code == 200

    def profile(self) -> Seen:
        answer = self.client.get("/profile/", headers={"Accept-Language": "en"})
        assert answer.status_code == 200
        page = self._arrive(answer)
        link = re.search(r"/i/([0-9A-Z]{6})", answer.text)
        count = re.search(r"[Yy]ou invited\D{0,40}?(\d+)", re.sub(r"\s+", " ", page.words))
        assert link is not None
        return Seen(link[1], int(count[1]) if count else 0, page.form_with("invite_code") is None)

    def activate(self, invite_code: str) -> str | None:
        page = self.get("/profile/")
        form = page.form_with("invite_code")
        if form is None:  # the page of a person who has activated a code has no such form, but a page that was left open has
            form = Form("/profile/", "post", {**next(f for f in page.forms if "csrf_token" in f.fields).fields})
        page = self.send(form, invite_code=invite_code)
        sure = page.form_with("invite_code")
        if sure is not None and "username" not in sure.fields:
            page = self.send(sure)
        again = page.form_with("invite_code")
        return None if again is None else page.words

    def sign_out(self) -> None:
        form = next(form for form in self.get("/profile/").forms if form.action.startswith("/logout"))
        self.send(form)
