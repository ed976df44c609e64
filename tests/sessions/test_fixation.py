"""What a browser had before a sign-in is worthless after it: the session is new, and the old one has ended."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from time_machine import Traveller

from tests import delivery
from tests.people import Browser

ANNA = "+79290000001"
DAY = 24 * 3600


def cookie(browser: Browser) -> str:
    kept = browser.client.get_cookie("hammer")
    return kept.value if kept else ""


def is_signed_in_by(client: FlaskClient, shown: str) -> bool:
    client.set_cookie("hammer", shown)
    return client.get("/profile/").status_code == 200


@pytest.mark.requirement("SES-01", "SES-03")
def test_a_copied_cookie_is_worth_nothing_after_the_logout_and_after_the_next_login(app: Flask, browser: Browser) -> None:
    browser.sign_in(ANNA)
    before = cookie(browser)
    assert is_signed_in_by(app.test_client(), before)

    browser.sign_out()
    assert not is_signed_in_by(app.test_client(), before)
    browser.client.set_cookie("hammer", before)
    browser.sign_in(ANNA)

    assert cookie(browser) != before
    assert is_signed_in_by(app.test_client(), cookie(browser))
    assert not is_signed_in_by(app.test_client(), before)


@pytest.mark.parametrize("planted", ["", "x", "A" * 22, f"{'A' * 22}.0.{'A' * 43}", "A" * 4000])
@pytest.mark.requirement("SES-03")
def test_a_planted_cookie_is_not_used(app: Flask, browser: Browser, planted: str) -> None:
    browser.client.set_cookie("hammer", planted)

    browser.sign_in(ANNA)

    assert planted not in (cookie(browser), cookie(browser)[:22])
    assert not is_signed_in_by(app.test_client(), planted)


@pytest.mark.requirement("SES-03")
def test_cookies_from_before_a_login_are_worthless_after_it(app: Flask, browser: Browser) -> None:
    """Another browser sends all cookies from before the login, planted or not."""
    page = browser.get("/login/")
    form = page.form_with("telephone_number")
    assert form is not None
    browser.send(form, telephone_number=ANNA)
    kept = browser.client.get_cookie("hammer_form")
    assert kept is not None

    browser.sign_in(ANNA)

    thief = app.test_client()
    thief.set_cookie("hammer_form", kept.value)
    assert thief.get("/profile/").status_code == 303


@pytest.mark.requirement("SES-03")
def test_verifying_the_number_again_opens_a_new_session_and_ends_the_old(app: Flask, browser: Browser, clock: Traveller) -> None:
    browser.sign_in(ANNA)
    before = cookie(browser)
    clock.shift(3600)
    form = next(form for form in browser.get("/profile/delete/").forms if form.action == "/profile/proof/send/")
    code_form = browser.send(form).form_with("code")
    assert code_form is not None
    with app.app_context():
        code = delivery.code_for(app.config["SETTINGS"], ANNA)
    browser.send(code_form, code=code)

    assert cookie(browser) != before
    assert browser.is_signed_in()
    assert not is_signed_in_by(app.test_client(), before)


@pytest.mark.requirement("SES-04")
def test_a_browser_is_signed_out_after_three_days_without_use_and_after_fourteen_in_any_case(
    browser: Browser, clock: Traveller
) -> None:
    browser.sign_in(ANNA)
    clock.shift(3 * DAY)
    assert not browser.is_signed_in()

    browser.client.delete_cookie("hammer")
    browser.sign_in(ANNA)
    shown = cookie(browser)
    for _ in range(13):
        clock.shift(DAY)
        assert browser.is_signed_in()
    clock.shift(DAY)
    browser.client.set_cookie("hammer", shown)  # a browser deletes it when it expires; a copy remains
    assert not browser.is_signed_in()


@pytest.mark.requirement("SES-02")
def test_every_sign_in_draws_an_id_of_128_bits(app: Flask) -> None:
    ids = set()
    for _ in range(3):
        browser = Browser(app)
        browser.sign_in(ANNA)
        row_id, number, signature = cookie(browser).split(".")
        assert (len(row_id), number, len(signature)) == (22, "0", 43)
        ids.add(row_id)
    assert len(ids) == 3
