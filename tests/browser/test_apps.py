"""Signing in to an app in a real browser: the way there and back, with scripts and without."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.apps import VERIFIER
from tests.browser.actions import Visit, address_for_app, ask, button, code_shown, enter, let_pass, sign_in
from tests.serving import Server

APP: Final = "https://app.example"


class App:
    """The app's own server: what reaches it from one browser."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.reached: list[Request] = []
        page.context.route(f"{APP}/**", self._answer)

    def _answer(self, route: Route) -> None:
        self.reached.append(route.request)
        route.fulfill(
            body='<!doctype html><title>App</title><link rel="icon" href="data:,"><h1>The app</h1>', content_type="text/html"
        )

    def answer(self) -> dict[str, list[str]]:
        """Waits until the browser is at the app. Returns the parameters that came along the only time that it came."""
        self.page.wait_for_url(f"{APP}/**")
        [came] = self.reached
        return parse_qs(urlsplit(came.url).query)


def exchange(server: Server, start: str, code: str) -> None:
    """Exchanges the code, as the app does as soon as a browser brings it."""
    asked = {name: values[0] for name, values in parse_qs(urlsplit(start).query).items()}
    sent = {"grant_type": "authorization_code", "code": code, "code_verifier": VERIFIER}
    sent |= {name: asked[name] for name in ("client_id", "redirect_uri")}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.request("POST", "/oauth/token", urlencode(sent).encode(), form)
    assert answer.status == 200, answer.body


@pytest.fixture(autouse=True)
def only_the_app_is_elsewhere(heard: list[str]) -> Iterator[None]:
    """The app is at another origin, which is no error here."""
    yield
    heard[:] = [one for one in heard if not one.startswith(f"elsewhere: {APP}/")]


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "without scripts"])
def test_a_person_comes_from_an_app_signs_in_allows_and_is_led_back(
    visit: Visit, server: Server, number: str, scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts)
    app = App(page)

    ask(page, number, start=address_for_app(server, f"Shop {scripts}", f"{APP}/callback", "openid phone"))
    enter(page, code_shown(page), scripts=scripts)
    expect(page.get_by_role("heading", name=f"Sign in to Shop {scripts}?")).to_be_visible()
    button(page, "Allow").click()

    answer = app.answer()
    assert set(answer) == {"code", "state", "iss"}
    assert answer["state"] == ["of the app"]
    assert "referer" not in app.reached[0].headers


def test_what_was_allowed_is_not_asked_again_and_the_form_with_the_code_leads_back(
    visit: Visit, server: Server, number: str
) -> None:
    first, second = visit(), visit()
    app, again = App(first), App(second)
    start = address_for_app(server, "Remembered", f"{APP}/callback", "openid phone")
    sign_in(first, number)
    first.goto(start)
    button(first, "Allow").click()
    app.answer()

    let_pass(server, minutes=2)
    ask(second, number, start=start)
    enter(second, code_shown(second))

    assert "code" in again.answer()


def test_going_back_from_the_app_does_not_lead_there_once_more(visit: Visit, server: Server, number: str) -> None:
    page = visit()
    app = App(page)
    sign_in(page, number)
    start = address_for_app(server, "Once", f"{APP}/callback", "openid phone", public=True)
    page.goto(start)
    button(page, "Allow").click()
    exchange(server, start, app.answer()["code"][0])

    page.go_back()

    expect(page.get_by_role("heading", name="This sign-in is over")).to_be_visible()
    expect(page.get_by_role("link", name="Open Once")).to_have_attribute("href", f"{APP}/")
    assert len(app.reached) == 1


def test_a_refusal_leads_back_without_a_code(visit: Visit, server: Server, number: str) -> None:
    page = visit()
    app = App(page)
    sign_in(page, number)
    page.goto(address_for_app(server, "Declined", f"{APP}/callback", "openid phone"))

    page.get_by_role("link", name="Refuse, back to the app").click()

    assert app.answer()["error"] == ["access_denied"]


def test_an_app_on_the_device_has_a_link_where_the_browser_does_not_open_it_by_itself(
    visit: Visit, server: Server, number: str, heard: list[str]
) -> None:
    page = visit(once=True)  # after an address that no program opens, Chromium follows no link and sends no form in this tab
    sign_in(page, number)
    page.goto(address_for_app(server, "Device", "com.example.app:/callback", "openid phone", public=True))

    button(page, "Allow").click()

    link = page.get_by_role("link", name="Continue to Device")
    expect(link).to_be_visible()
    assert (link.get_attribute("href") or "").startswith("com.example.app:/callback?code=")
    heard[:] = [one for one in heard if "com.example.app:" not in one]  # no program here has registered the scheme
