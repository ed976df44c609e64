"""Who gets into the operator's pages: only staff who proved a second factor in this browser, and are staff still."""

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

from hammer import clock
from hammer.users import accounts
from hammer.web.access import Access, by_endpoint
from tests import routes
from tests.operators import Operator, app_code
from tests.people import Browser, Program

ANNA, BORIS, CLARA = "+79290000001", "+79290000002", "+79290000003"
PUBLIC = {"admin.enrolment_link"}


def pages(app: Flask) -> list[tuple[str, str, str]]:
    """Method, address and endpoint of every request that the operator's pages take. Last the one that ends the session."""
    found = [
        (method, routes.path(rule), rule.endpoint)
        for rule in routes.rules(app, "/admin/")
        for method in sorted(set(rule.methods or ()) & {"GET", "POST"})
        if rule.endpoint not in PUBLIC
    ]
    return sorted(found, key=lambda request: request[2] == "admin.leave")


def answers(app: Flask, client: FlaskClient, **headers: str) -> dict[str, tuple[int, str]]:
    """Method and endpoint of every request -> status of the answer, and where it leads."""
    sent = {"csrf_token": routes.form_token(client)}
    found = {}
    for method, at, endpoint in pages(app):
        answer = client.open(at, method=method, data=sent if method == "POST" else None, headers=headers)
        assert "Анна" not in answer.text
        found[f"{method} {endpoint}"] = answer.status_code, answer.headers.get("Location", "")
    return found


@pytest.mark.requirement("AZN-02", "AZN-03")
def test_strangers_are_led_to_the_phone_form(app: Flask) -> None:
    assert set(answers(app, app.test_client()).values()) == {(303, "/login/")}


@pytest.mark.requirement("AZN-02", "AZN-03")
def test_users_who_are_not_staff_are_refused(app: Flask, browser: Browser) -> None:
    browser.sign_in(ANNA)

    assert set(answers(app, browser.client).values()) == {(403, "")}


@pytest.mark.requirement("AZN-02", "AZN-03")
def test_bearer_tokens_open_nothing(app: Flask, program: Program) -> None:
    for number in (ANNA, BORIS):
        program.sign_in(number)
        if number == BORIS:
            with app.app_context():
                me = program.result("GET", "/users/me/")["id"]
                accounts.set_staff(app.config["SETTINGS"], me, True)
        found = answers(app, app.test_client(), Authorization=f"Bearer {program.tokens['access_token']}")
        assert set(found.values()) == {(303, "/login/")}


@pytest.mark.requirement("AZN-02", "AZN-03")
def test_staff_without_a_factor_see_only_the_page_that_asks_for_the_link(app: Flask) -> None:
    thief = Operator(app, ANNA)
    thief.sign_in(ANNA)
    thief.make_staff()

    for what, (status, where) in answers(app, thief.client).items():
        endpoint = what.split()[1]
        before = {"admin.take_link": (303, "/admin/enrol/")} | dict.fromkeys(("admin.sign_in", "admin.enrol"), (403, ""))
        assert (status, where) == before.get(endpoint, (303, "/admin/sign-in/")), what
    page = thief.client.get("/admin/sign-in/", headers={"Accept-Language": "en"})
    assert "enrolment link" in page.text


@pytest.mark.requirement("AZN-02", "AZN-03")
def test_former_staff_are_refused_at_the_next_request(app: Flask) -> None:
    former = Operator(app, ANNA).open()
    assert former.has_open()
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], former.user_id, False)

    assert set(answers(app, former.client).values()) == {(403, "")}


@pytest.mark.requirement("AZN-03")
def test_a_copied_cookie_of_the_profile_opens_nothing(app: Flask) -> None:
    operator = Operator(app, ANNA).open()
    thief = app.test_client()
    profile = operator.client.get_cookie("hammer")
    assert profile is not None
    thief.set_cookie("hammer", profile.value)
    thief.set_cookie("hammer_admin", profile.value)

    assert thief.get("/profile/").status_code == 200
    assert {where for _, where in answers(app, thief).values()} <= {"/admin/sign-in/", "/admin/enrol/", ""}
    assert thief.get("/admin/").status_code == 303


@pytest.mark.requirement("AZN-05")
def test_with_a_proof_that_is_older_than_five_minutes_nothing_dangerous_is_done(app: Flask) -> None:
    operator = Operator(app, ANNA).open()
    dangerous = {name for name, view in app.view_functions.items() if getattr(view, "recent", False)}
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        for what, answer in answers(app, operator.client).items():
            method, endpoint = what.split()
            shown_again = method == "POST" and getattr(app.view_functions[endpoint], "long_form", False)
            if endpoint in dangerous:
                assert answer in ([(403, ""), (404, "")] if shown_again else [(303, "/admin/confirm/")]), what
    assert dangerous


@pytest.mark.requirement("AZN-05")
def test_the_confirmation_leads_back_to_the_page_that_needed_it_and_does_nothing_itself(app: Flask) -> None:
    operator = Operator(app, ANNA).open()
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        sent = {"csrf_token": routes.form_token(operator.client)}
        assert operator.client.post("/admin/factors/recovery/", data=sent).headers["Location"] == "/admin/confirm/"
        asking = operator.answer("/admin/confirm/").text
        page = operator.confirm()

    assert '<p role="alert">Пока ничего не сделано' in asking
    assert operator.at == "/admin/factors/recovery/"
    assert not any(code in page.words for code in operator.recovery_codes)
    assert page.form_with("csrf_token") is not None


@pytest.mark.requirement("AZN-03", "SES-02")
def test_the_cookie_goes_along_with_requests_of_our_own_pages_alone(app: Flask) -> None:
    operator = Operator(app, ANNA).open()
    operator.confirm()
    cookie = operator.client.get_cookie("hammer_admin")
    assert cookie is not None
    assert (cookie.http_only, cookie.same_site, cookie.path) == (True, "Strict", "/")
    # A link of another site: the browser keeps the cookie back at first.
    answer = app.test_client().get("/admin/factors/", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 200
    assert 'href="/admin/factors/"' in answer.text


def test_the_sign_in_leads_to_the_page_that_was_asked_for(app: Flask) -> None:
    operator = Operator(app, ANNA).open()
    operator.send(next(form for form in operator.get("/admin/").forms if form.action == "/admin/leave/"))
    assert not operator.has_open()

    page = operator.get("/admin/factors/")
    assert operator.at == "/admin/sign-in/"
    form = page.form_with("code")
    assert form is not None
    page = operator.send(form, code="123")
    assert "wrong" in page.words
    again = page.form_with("code")
    assert again is not None
    operator.send(again, code=app_code(operator.secret))

    assert operator.at == "/admin/factors/"


def test_an_operator_who_is_signed_out_comes_back_by_the_phone_form(app: Flask) -> None:
    operator = Operator(app, ANNA).open()
    operator.sign_out()

    page = operator.enter(operator.get("/admin/"), ANNA)

    assert operator.at == "/admin/sign-in/"
    assert page.form_with("code") is not None


def test_a_user_who_asked_for_the_pages_is_led_to_the_profile(app: Flask, browser: Browser) -> None:
    browser.enter(browser.get("/admin/"), BORIS)

    assert browser.at == "/profile/"


def test_every_page_but_the_sign_in_is_for_staff(app: Flask) -> None:
    stated = {name: who for name, who in by_endpoint(app).items() if name.startswith("admin.")}

    assert {name for name, who in stated.items() if who != Access.STAFF} == PUBLIC
