"""The operator's pages in Chromium: each is accessible, light, and as wide as a phone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.actions import button, sign_in
from tests.browser.conftest import coming
from tests.browser.test_every_page import MOST_BYTES, wrong
from tests.browser.test_passkeys import enrolment_link
from tests.browser.walk import State, Wire, inspect
from tests.operators import app_code
from tests.serving import Server

PERSON = ("", "number/", "rename/", "move/", "block/", "delete/", "make-staff/", "sign-out/", "attach/")
PAGES = ("", "people/", "people/?only=blocked", "audit/", "audit/?person=x", "settings/", "doctor/")
OWN = ("factors/", "factors/app/", "factors/recovery/", "factors/passkeys/", "confirm/")
SIDES = ("axe", "sideways", "small_targets", "moving", "without_edge", "without_focus", "loose_ends")


def enter_app_code(page: Page) -> None:
    shown = re.search(r"(?:[A-Z2-7]{4}\s+){7}[A-Z2-7]{4}", page.locator("main").inner_text())
    assert shown
    secret = "".join(shown[0].split())
    page.locator("[name=code]").fill(app_code(secret, -1))
    page.locator("[name=code]").press("Enter")
    expect(page.locator("ol.codes")).to_be_visible()


@pytest.fixture(scope="module")
def states(chromium: Browser, server: Server, numbers: Iterator[str], tmp_path_factory: pytest.TempPathFactory) -> list[State]:
    """An operator's way: the enrolment, then every page; in Russian, whose words are longer."""
    heard: list[str] = []
    me, them, log = next(numbers), next(numbers), tmp_path_factory.mktemp("admin") / "log"
    with coming(chromium, server, heard) as visit:
        page = visit()
        sign_in(page, me)
        link = enrolment_link(server, me, Path(log))
        server.call("POST", "/users/me/invite/", {"invite_code": "AAAAAA"}, token=server.sign_in(them)["access_token"])
        seen = list(_walk(page, Wire(page), server, link, them))
    assert [each for each in heard if "422" not in each] == [], "A page complained."
    return seen


def _walk(page: Page, wire: Wire, server: Server, link: str, them: str) -> Iterator[State]:
    page.goto("/admin/?lang=ru")
    yield inspect("link is missing", page, wire)
    page.goto(link)
    yield inspect("enrol", page, wire)
    enter_app_code(page)
    yield inspect("recovery codes", page, wire)
    for path in (*PAGES, *OWN):
        page.goto(f"/admin/{path}")
        yield inspect(path, page, wire)
    page.goto("/admin/people/")
    page.locator("[name=q]").fill(them)
    page.locator("[name=q]").press("Enter")
    page.wait_for_url("**/people/*/")
    person = page.url
    for path in PERSON:
        page.goto(person + path)
        yield inspect(f"person/{path}", page, wire)
    page.goto("/admin/?lang=en")
    button(page, "Close").click()
    page.goto("/admin/")
    yield inspect("sign-in", page, wire)


@pytest.mark.requirement("ACC-02", "ACC-04")
@pytest.mark.parametrize("side", SIDES)
def test_nothing_is_wrong_with_any_page(states: list[State], side: str) -> None:
    assert wrong(states, side) == {}


@pytest.mark.requirement("ACC-04")
def test_every_page_is_light_on_the_wire(states: list[State]) -> None:
    heavy = {state.name: sum(state.wire.values()) for state in states}
    assert len(states) > 20
    assert {name: size for name, size in heavy.items() if size > MOST_BYTES} == {}
