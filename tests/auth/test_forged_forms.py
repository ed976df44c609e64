"""Forms that another site, another browser or no page of ours made are refused."""

import re
from io import BytesIO

import pytest
from flask import Flask
from flask.testing import FlaskClient

from hammer.web.languages import PROGRAMS
from hammer.web.pages.csrf import FROM_APPS
from tests.auth.pages import ANNA, BORIS, UNSAFE, CodeFor, Outline, rows, send, sign_in, words
from tests.people import Page


def test_the_list_of_unsafe_pages_is_whole(app: Flask) -> None:
    posts = [rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ()) and rule.endpoint not in FROM_APPS]
    unsafe = {re.sub("<[a-z_]+>", "x", rule.rule) for rule in posts}

    assert {path for path in unsafe if not path.startswith((*PROGRAMS, "/admin/"))} == set(UNSAFE)


@pytest.mark.parametrize("path", UNSAFE)
def test_a_form_without_its_token_does_nothing(app: Flask, client: FlaskClient, code_for: CodeFor, path: str) -> None:
    sign_in(client, code_for)
    before = rows(app)

    answer = client.post(path, data={"telephone_number": BORIS, "code": "1234", "first_name": "Eve"})

    assert answer.status_code == 403
    assert "The form has expired" in words(answer)
    assert "Open it anew and send it once more." in words(answer)
    assert rows(app) == before


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("signed_in", [True, False])
def test_files_and_json_are_no_fields_of_a_form(client: FlaskClient, code_for: CodeFor, path: str, signed_in: bool) -> None:
    send(client, "/login/", telephone_number=ANNA)
    if signed_in:
        send(client, "/login/code/", code=code_for(ANNA))
    token = Page(client.get("/login/", follow_redirects=True).text).forms[0].fields["csrf_token"]
    fields = ("telephone_number", "code", "username", "first_name", "last_name", "invite_code", "verification", "then", "whose")
    files = {field: (BytesIO(b"1"), "x") for field in fields}

    answer = client.post(path, data={"csrf_token": token} | files)
    answers = [
        client.post(path, json=json, headers={"X-CSRFToken": token}) for json in (dict.fromkeys(fields, 1), [1, 2], "x", None)
    ]

    fine = {200} if path == "/oauth/logout/confirm" else set[int]()  # it has no fields, only a button that signs out
    assert {answer.status_code for answer in (answer, *answers)} <= {302, 303, 403, 404, 422, 429} | fine


def test_a_token_of_another_browser_is_none(app: Flask, client: FlaskClient, other_client: FlaskClient) -> None:
    stolen = Page(other_client.get("/login/").text).forms[0].fields["csrf_token"]
    client.get("/login/")

    answer = client.post("/login/", data={"csrf_token": stolen, "telephone_number": ANNA})

    assert answer.status_code == 403
    assert rows(app)["verifications"] == []


def test_an_expired_form_leads_back_to_itself(client: FlaskClient) -> None:
    client.get("/login/")

    answer = client.post("/login/", data={"telephone_number": ANNA})

    [button] = [link for link in Outline(answer).all("a") if link.get("class") == "button"]
    assert button["href"] == "/login/"


def test_programs_need_no_form_token(client: FlaskClient) -> None:
    answer = client.post("/api/v1/auth/signup/", json={"telephone_number": ANNA})

    assert answer.status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}])
@pytest.mark.requirement("WEB-01")
def test_nothing_that_another_site_typed_is_shown(client: FlaskClient, headers: dict[str, str]) -> None:
    client.get("/login/")

    answer = client.post("/login/", data={"telephone_number": "typed elsewhere"}, headers=headers)

    assert answer.status_code == 403
    assert "typed elsewhere" not in answer.text
