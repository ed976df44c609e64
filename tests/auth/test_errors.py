"""Error pages, and input that cannot be right."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hammer.refusals import TooManyRequests, Unavailable
from hammer.web.pages import errors
from tests.auth.pages import ANNA, BORIS, RUBBISH, UNSAFE, CodeFor, Outline, send, sign_in, words
from tests.people import Page


def test_a_place_that_is_none_shows_the_newest(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)

    for after in ("x", "\0", "9" * 10_000, "1.x"):
        assert client.get("/profile/", query_string={"after": after}).status_code == 200


@pytest.mark.parametrize("typed", RUBBISH)
@pytest.mark.parametrize("field", ["telephone_number", "code", "username", "first_name", "last_name", "invite_code"])
def test_whatever_is_typed_is_answered_cleanly(client: FlaskClient, code_for: CodeFor, field: str, typed: str) -> None:
    path = {"telephone_number": "/login/", "code": "/login/code/"}.get(field, "/profile/")
    if path == "/profile/":
        sign_in(client, code_for)
    else:
        send(client, "/login/", telephone_number=ANNA)

    answer = send(client, path, **{field: typed})

    assert answer.status_code in (303, 413, 422)
    assert answer.status_code == 303 or len(Outline(answer).all("h1")) == 1


@pytest.mark.parametrize("typed", RUBBISH)
@pytest.mark.parametrize("path", ["/profile/invite/", "/profile/number/", "/profile/number/code/", "/profile/proof/"])
def test_whatever_is_typed_further_in_is_answered_cleanly(client: FlaskClient, code_for: CodeFor, path: str, typed: str) -> None:
    sign_in(client, code_for)
    send(client, "/profile/number/", telephone_number=BORIS)
    send(client, "/profile/proof/send/", then="auth.delete")

    answer = send(client, path, invite_code=typed, telephone_number=typed, code=typed, end_other_sessions=typed)

    assert answer.status_code in (200, 303, 413, 422)
    assert answer.status_code == 303 or len(Outline(answer).all("h1")) == 1


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"csrf_token", b"csrf_token=%", b"a" * 16_000, b"=" * 3000, b"&" * 5000])
def test_a_body_that_is_no_form_is_answered_cleanly(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/login/", data=body, content_type="application/x-www-form-urlencoded")

    assert answer.status_code in (403, 413)
    assert len(Outline(answer).all("h1")) == 1


@pytest.mark.parametrize("path", ["/profile/sessions/%00/", f"/profile/sessions/{'x' * 5000}/", "/profile/sessions/%F0%9F%94%A8/"])
def test_a_session_that_cannot_be_is_not_there(client: FlaskClient, code_for: CodeFor, path: str) -> None:
    sign_in(client, code_for)

    assert send(client, path).status_code == 404


@pytest.mark.parametrize("path", ["/nowhere", "/%00", "/login/x", f"/{'x' * 5000}", "/static/../../config.py"])
def test_a_page_that_is_not_there_leads_to_the_first_one(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 404
    assert "There is no such page" in words(answer)
    assert "evil.example" not in answer.text
    assert [link["href"] for link in Outline(answer).all("a") if link.get("class") == "button"] == ["/"]


def test_an_address_never_becomes_a_link_to_another_site(client: FlaskClient) -> None:
    answer = client.get("/", environ_overrides={"PATH_INFO": "//evil.example/"})

    assert answer.status_code == 404
    assert "evil.example" not in answer.text


def test_an_address_that_does_not_open_like_that_names_what_it_takes(client: FlaskClient) -> None:
    answer = client.get("/logout/")

    assert answer.status_code == 405
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}


def test_a_form_that_is_too_large_is_refused(client: FlaskClient) -> None:
    answer = send(client, "/login/", telephone_number="1" * 20_000)

    assert answer.status_code == 413
    assert "That is too much at once" in words(answer)


@pytest.mark.requirement("LOG-03")
def test_a_fault_of_ours_is_a_page_too(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.view_functions, "auth.landing", lambda invite_code: str(len(invite_code) // 0))
    app.config["PROPAGATE_EXCEPTIONS"] = False

    answer = client.get("/i/Q9UK59")

    assert answer.status_code == 500
    assert "Something broke on our side" in words(answer)
    assert "ZeroDivision" not in answer.text


@pytest.mark.parametrize(("refusal", "status"), [(TooManyRequests(retry_after=75), 429), (Unavailable(retry_after=2), 503)])
def test_a_page_that_asks_to_wait_says_how_long_and_asks_nothing_of_the_database(
    app: Flask,
    refusal: TooManyRequests | Unavailable,
    status: int,
    statements: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    with statements() as seen, app.test_request_context("/profile/", headers={"Accept-Language": "en", "Cookie": "hammer=x"}):
        answer = errors.error_page(refusal)

    assert (answer.status_code, answer.headers["Retry-After"]) == (status, str(refusal.retry_after))
    assert "You can try again" in answer.get_data(as_text=True)
    assert 'href="/profile/"' in answer.get_data(as_text=True)
    assert seen == []


@pytest.mark.parametrize("sent_by", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}])
def test_a_browser_without_cookies_hears_so_and_keeps_its_number(
    client: FlaskClient, app: Flask, sent_by: dict[str, str], memory: list[object]
) -> None:
    form = Page(client.get("/login/").text).forms[0].fields
    without = app.test_client(use_cookies=False)
    typed = {"telephone_number": "8 929 123-45-67"}

    answer = without.post("/login/", data=form | typed, headers={"Accept-Language": "en"} | sent_by)
    again = without.post("/login/", data=form | typed | {"lang": "ru"}, headers={"Accept-Language": "en"} | sent_by)

    assert (answer.status_code, again.status_code) == (403, 403)
    assert "It looks as if your browser blocks cookies" in words(answer)
    assert ("браузер" in words(again)) is bool(sent_by)  # what another site may have sent chooses no language
    for page in (answer, again):
        assert Outline(page).with_id("telephone_number")["value"] == typed["telephone_number"]
        assert Outline(page).with_id("form")["action"] == "/login/"
    assert memory == []


def test_a_number_that_met_no_cookies_is_sent_once_they_are_allowed(client: FlaskClient, code_for: CodeFor) -> None:
    typed = {"telephone_number": ANNA}
    client.get("/login/")
    client.delete_cookie("hammer_form")

    kept = Page(client.post("/login/", data=typed).text)
    sent = client.post("/login/", data=kept.forms[0].fields)

    assert sent.location == "/login/code/"
    assert code_for(ANNA)


@pytest.mark.parametrize("path", ["/login/code/", "/login/resend/", "/profile/"])
def test_other_forms_without_cookies_lead_back(app: Flask, path: str) -> None:
    answer = app.test_client(use_cookies=False).post(path, data={"code": "1234"}, headers={"Accept-Language": "en"})

    assert answer.status_code == 403
    assert "It looks as if your browser blocks cookies" in words(answer)
    assert "telephone_number" not in answer.text


@pytest.mark.parametrize("rubbish", ["\0", "x" * 5000, "🔨", "\u202e", "' or 1=1 --"])
def test_rubbish_in_hidden_fields_is_answered_cleanly(client: FlaskClient, code_for: CodeFor, rubbish: str) -> None:
    sign_in(client, code_for)
    seen = ("first_name", "last_name", "username")
    hidden = dict.fromkeys(("verification", "then", "carried", "whose", *(f"was_{name}" for name in seen)), rubbish)

    for path in UNSAFE:
        if path != "/logout/":
            for fields in (hidden, {name: value for name, value in hidden.items() if name != "whose"}):
                assert send(client, path, **fields, telephone_number=rubbish).status_code in (200, 303, 404, 413, 422, 429), path
