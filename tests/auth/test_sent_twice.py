"""A form that is sent twice, or loaded again, does nothing twice."""

import re
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from tests.actions import wrong_code
from tests.auth.pages import ANNA, BORIS, CodeFor, Outline, form_of, go_where_its_form_is, rows, send, sign_in, words
from tests.people import Page


def test_a_form_that_is_sent_twice_texts_once_and_leads_on_although_the_first_answer_was_lost(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, memory: list[object]
) -> None:
    form = Page(client.get("/login/").text).form_with("telephone_number") or pytest.fail("no form")
    cookie = client.get_cookie("hammer_form") or pytest.fail("no cookie")
    other_client.set_cookie(cookie.key, cookie.value)

    twice = [who.post(form.action, data=form.fields | {"telephone_number": ANNA}) for who in (client, other_client)]

    assert [answer.location for answer in twice] == ["/login/code/"] * 2
    code = code_for(ANNA)
    assert len(memory) == 1
    assert send(other_client, "/login/code/", code=code).location == "/profile/"


def test_signing_out_twice_is_no_fault(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    form = Page(client.get("/profile/").text).forms[0].fields

    for _ in range(2):
        answer = client.post("/logout/", data=form, headers={"Sec-Fetch-Site": "same-origin"})
        assert (answer.status_code, answer.location) == (303, "/login/")

    assert "You are signed out." in words(client.get("/login/"))


def test_a_form_of_the_profile_that_is_sent_twice_says_once_that_it_is_saved(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    form = form_of(client, "/profile/", "first_name")

    for _ in range(2):
        answer = client.post(form.action, data=form.fields | {"first_name": "Anna"})
        assert answer.location == "/profile/#about"

    assert words(client.get("/profile/")).count("Saved.") == 1


def test_a_wrong_code_that_is_sent_again_by_reloading_costs_no_second_guess(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    form, kept = form_of(client, "/login/code/", "code"), client.get_cookie("hammer_form") or pytest.fail("no cookie")
    sent = form.fields | {"code": wrong_code(code_for(ANNA))}

    answers = []
    for _ in range(4):
        client.set_cookie("hammer_form", kept.value)
        answers.append(client.post(form.action, data=sent))

    assert {(answer.status_code, words(answer)) for answer in answers} == {(401, words(answers[0]))}
    assert "2 tries left." in words(client.get("/login/code/"))


def test_another_wrong_code_in_the_same_form_does_cost_a_guess(client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    form = form_of(client, "/login/code/", "code")
    first = wrong_code(code_for(ANNA))

    for code in (first, wrong_code(first), first, wrong_code(wrong_code(first))):
        answer = client.post(form.action, data=form.fields | {"code": code})

    assert "This code is no longer good" in words(answer)


@pytest.mark.parametrize("path", ["/profile/proof/", "/profile/number/code/"])
def test_a_wrong_code_further_in_costs_one_guess_too(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller, path: str
) -> None:
    go_where_its_form_is(client, code_for, path, clock)
    form = form_of(client, path, "code")
    sent = form.fields | {"code": wrong_code(code_for(BORIS if "number" in path else ANNA))}
    first = client.post(path, data=sent)

    again = client.post(path, data=sent)

    assert (again.status_code, words(again)) == (401, words(first))
    assert "2 tries left." in words(client.get(path))


def test_an_unknown_invite_code_costs_one_attempt_however_often_it_is_reloaded(
    app: Flask, client: FlaskClient, code_for: CodeFor
) -> None:
    sign_in(client, code_for)
    question = send(client, "/profile/invite/", invite_code="Q9UK59")
    form = Page(question.text).form_with("invite_code") or pytest.fail("no form")
    refused = client.post(form.action, data=form.fields)
    counted = rows(app)["counters"]

    again = [client.post(form.action, data=form.fields) for _ in range(6)]

    assert refused.status_code == 422
    assert {(answer.status_code, words(answer)) for answer in again} == {(422, words(refused))}
    assert rows(app)["counters"] == counted


@pytest.mark.requirement("LOG-02")
def test_what_is_stored_of_a_refusal_does_not_reveal_what_was_typed(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    send(client, "/login/", telephone_number=ANNA)
    send(client, "/login/code/", code=wrong_code(code_for(ANNA)))

    kept = rows(app)["idempotency_keys"]

    assert len(kept) == 2
    for row in kept:
        answer = r'\{"verification": "[\w-]{22}"\}|\{"refusal": "wrong-code", "attempts_left": 2\}'
        assert re.match(rf"\('[0-9a-f]{{64}}', '[0-9a-f]{{64}}', '({answer})', datetime", row)


def test_another_text_keeps_the_digits_that_were_typed_and_a_reload_sends_none(
    app: Flask, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(61)
    page = client.get("/login/code/")
    [again] = [button for button in Outline(page).all("button") if button.get("formaction") == "/login/resend/"]
    sent = form_of(client, "/login/code/", "code").fields | {"code": "12"}

    answer = client.post(again["formaction"] or "", data=sent)
    clock.shift(300)
    reloaded = client.post(again["formaction"] or "", data=sent)

    assert answer.status_code == 200
    assert Outline(answer).with_id("code")["value"] == "12"
    assert "We have sent you another text." in words(answer)
    assert (reloaded.status_code, reloaded.location) == (303, "/login/code/")
    assert len(rows(app)["texts"]) == 2


def test_the_same_new_number_again_leads_to_the_code_that_it_has(client: FlaskClient, code_for: CodeFor) -> None:
    sign_in(client, code_for)
    asked = {"telephone_number": BORIS, "end_other_sessions": "y"}
    send(client, "/profile/number/", **asked)

    assert "checked" in Outline(client.get("/profile/number/")).with_id("end_other_sessions")
    assert send(client, "/profile/number/", **asked).location == "/profile/number/code/"


def test_a_proof_that_was_asked_for_is_not_asked_for_twice_and_leads_where_its_tab_was(
    client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(client, code_for)
    clock.shift(timedelta(minutes=6))
    send(client, "/profile/proof/send/", then="auth.delete")
    first_tab = form_of(client, "/profile/proof/", "code")

    again = send(client, "/profile/proof/send/", then="auth.number")

    assert (again.status_code, again.location) == (303, "/profile/proof/")
    answer = client.post("/profile/proof/", data=first_tab.fields | {"code": code_for(ANNA)})
    assert answer.location == "/profile/delete/"
