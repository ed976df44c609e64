"""Passkeys on the operator's pages: their forms, which a script completes, and what those pages say."""

import html
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from config import Settings
from tests.authenticator import Authenticator
from tests.operators import Operator
from tests.people import Form, Page

ANNA = "+79290000001"


def options(operator: Operator) -> str:
    """What the page asks the browser for."""
    assert operator.last is not None
    found = re.search(r'data-options="([^"]+)"', operator.last.text)
    assert found is not None, operator.last.text
    return html.unescape(found[1])


def form(page: Page) -> Form:
    found = page.form_with("passkey")
    assert found is not None, page.words
    return found


@pytest.fixture
def anna(app: Flask) -> Operator:
    """A staff member who has opened an enrolment link."""
    anna = Operator(app, ANNA)
    anna.sign_in(ANNA)
    token = anna.make_staff()
    anna.get(f"/admin/enrol/{token}/")
    return anna


def test_a_passkey_is_made_used_named_and_removed(anna: Operator) -> None:
    first, second = Authenticator(), Authenticator()
    page = anna.get("/admin/enrol/")
    assert "need scripts" in page.words
    page = anna.send(form(page), passkey=first.make(options(anna)))
    assert "recovery" in page.words.lower()
    assert anna.has_open()

    page = anna.send(form(anna.get("/admin/confirm/")), passkey=first.sign(options(anna)))
    assert anna.has_open()

    page = anna.send(form(anna.get("/admin/factors/passkeys/")), passkey=second.make(options(anna)), name="Phone <2>")
    assert "Phone <2>" in page.words
    naming = anna.get(f"/admin/factors/passkeys/{second.id}/").form_with("name")
    assert naming is not None
    page = anna.send(naming, name="Tablet")
    assert "Tablet" in page.words
    anna.send(next(each for each in page.forms if each.action == "/admin/leave/"))
    assert not anna.has_open()

    page = anna.send(form(anna.get("/admin/factors/")), passkey=second.sign(options(anna)))
    assert anna.at == "/admin/factors/"
    removing = anna.get(f"/admin/factors/passkeys/{second.id}/remove/").forms[-1]
    assert "Tablet" not in anna.send(removing).words
    removing = anna.get(f"/admin/factors/passkeys/{first.id}/remove/").forms[-1]
    assert "only second factor" in anna.send(removing).words


def test_a_refused_passkey_shows_why_and_an_unknown_one_is_forgotten_by_its_authenticator(anna: Operator) -> None:
    key = Authenticator()
    anna.send(form(anna.get("/admin/enrol/")), passkey=key.make(options(anna)))
    stranger = Authenticator(handle=key.handle)

    for answer, says in (("{}", "not accepted"), (stranger.sign(options_at(anna, "/admin/confirm/")), "not known here")):
        page = anna.send(form(anna.get("/admin/confirm/")), passkey=answer)
        assert says in page.words
        assert anna.last is not None
        assert (anna.last.status_code, "signalUnknownCredential" in anna.last.text) == (422, says == "not known here")


def options_at(operator: Operator, path: str) -> str:
    operator.get(path)
    return options(operator)


def test_at_an_ip_address_pages_say_why_there_are_no_passkeys(app_with: Callable[[Settings], Flask], settings: Settings) -> None:
    anna = Operator(app_with(replace(settings, public_url="http://127.0.0.1:5000")), ANNA).open()
    for path in ("/admin/factors/", "/admin/factors/passkeys/"):
        page = anna.get(path)
        assert "Passkeys need https" in page.words
        assert page.form_with("passkey") is None
