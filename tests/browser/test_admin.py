"""The operator's pages in Chromium: each is accessible, light, and as wide as a phone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.actions import Visit, button, expect_status, sign_in
from tests.browser.conftest import coming
from tests.browser.test_every_page import MOST_BYTES, wrong
from tests.browser.test_keyboard import tab_to
from tests.browser.test_passkeys import enrolment_link
from tests.browser.walk import State, Wire, inspect
from tests.operators import app_code
from tests.serving import Server

PERSON = ("", "number/", "rename/", "move/", "block/", "delete/", "make-staff/", "sign-out/", "attach/")
PAGES = (
    "",
    "people/",
    "people/?only=blocked",
    "people/export/",
    "people/import/",
    "webhooks/",
    "apps/",
    "apps/provider/",
    "audit/",
    "audit/?person=x",
    "settings/",
    "doctor/",
)
APP = ("", "change/", "rotate/", "disable/", "remove/", "check/")
WEBHOOK = ("change/", "test/", "replay/", "disable/", "rotate/", "remove/")
OWN = ("factors/", "factors/app/", "factors/recovery/", "factors/passkeys/", "confirm/")
SIDES = ("axe", "sideways", "small_targets", "moving", "without_edge", "without_focus", "loose_ends")


def enter_app_code(page: Page) -> None:
    shown = re.search(r"(?:[A-Z2-7]{4}\s+){7}[A-Z2-7]{4}", page.locator("main").inner_text())
    assert shown
    secret = "".join(shown[0].split())
    page.locator("[name=code]").fill(app_code(secret))
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
    page.goto(f"/admin/people/bulk/?action=delete&ids={person.split('/')[-2]}")
    yield inspect("bulk", page, wire)
    button(page, "Удалить навсегда").click()
    expect(page.get_by_role("alert")).to_be_visible()
    yield inspect("bulk, another number", page, wire)
    for path in PERSON:
        page.goto(person + path)
        yield inspect(f"person/{path}", page, wire)
    page.goto("/admin/apps/add/")
    yield inspect("apps/add/", page, wire)
    page.locator("[name=redirect_uris]").fill("x")
    page.locator("[name=name]").press("Enter")
    expect(page.locator("[aria-invalid]").first).to_be_visible()
    yield inspect("apps/add/ refused", page, wire)
    page.locator("[name=name]").fill("Metabase")
    page.locator("[name=redirect_uris]").fill("https://metabase.example.com/login")
    page.locator("[name=name]").press("Enter")
    expect(page.locator("code.command")).to_be_visible()
    yield inspect("apps/add/ done", page, wire)
    page.locator("main a.button").click()
    page.wait_for_url("**/apps/*/")
    client = page.url
    for path in APP:
        page.goto(client + path)
        yield inspect(f"app/{path}", page, wire)
    for path in ("apps/", "apps/provider/", "apps/provider/rotate/"):
        page.goto(f"/admin/{path}")
        yield inspect(f"{path} with an app", page, wire)
    yield from _webhooks(page, wire)
    page.goto("/admin/?lang=en")
    button(page, "Close").click()
    page.goto("/admin/")
    yield inspect("sign-in", page, wire)


def _webhooks(page: Page, wire: Wire) -> Iterator[State]:
    page.goto("/admin/webhooks/add/")
    page.locator("[value=some]").check()
    yield inspect("webhooks/add/", page, wire)
    page.locator("#form button:not(.quiet)").click()
    expect(page.get_by_role("alert")).to_have_count(1)
    yield inspect("webhooks/add/ refused", page, wire)
    page.locator("[name=url]").fill("http://127.0.0.1:9/hook?key=1")  # nothing listens there
    page.locator("[value=all]").check()
    page.locator("#form button:not(.quiet)").click()
    expect(page.locator("code.command")).to_contain_text("whsec_")
    yield inspect("webhooks/add/ secret", page, wire)
    page.locator("main a.button").click()
    page.wait_for_url("**/webhooks/*/")
    endpoint = page.url
    yield inspect("webhook/", page, wire)
    page.locator("form[action$='/test/'] button").click()
    expect(page.get_by_role("alert")).to_have_count(1)
    yield inspect("webhook/ tested", page, wire)
    for path in WEBHOOK:
        page.goto(endpoint + path)
        yield inspect(f"webhook/{path}", page, wire)
    page.goto("/admin/webhooks/")
    yield inspect("webhooks/ with one", page, wire)


@pytest.mark.requirement("ACC-02", "ACC-04")
@pytest.mark.parametrize("side", SIDES)
def test_nothing_is_wrong_with_any_page(states: list[State], side: str) -> None:
    assert wrong(states, side) == {}


@pytest.mark.requirement("ACC-04")
def test_every_page_is_light_on_the_wire(states: list[State]) -> None:
    heavy = {state.name: sum(state.wire.values()) for state in states}
    assert len(states) > 20
    assert {name: size for name, size in heavy.items() if size > MOST_BYTES} == {}


@pytest.mark.requirement("ACC-04")
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_two_people_are_blocked_and_unblocked_by_the_keyboard_alone(
    visit: Visit, server: Server, numbers: Iterator[str], tmp_path: Path, scripts: bool
) -> None:
    page, me, name = visit(java_script_enabled=scripts), next(numbers), f"Melchior{scripts}"
    for _ in range(2):
        token = server.sign_in(next(numbers))["access_token"]
        assert server.call("PATCH", "/users/me/", {"first_name": name}, token=token).status == 200
    sign_in(page, me, scripts=scripts)
    page.goto(enrolment_link(server, me, tmp_path / "log"))
    enter_app_code(page)

    page.goto("/admin/people/")
    expect(page.locator("[name=q]")).to_be_focused()  # it comes with the first frame, which may be after the load
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    boxes = page.get_by_role("checkbox", name=re.compile(rf"\+7.*{name}$"))
    expect(boxes).to_have_count(2)
    for n in range(2):
        tab_to(page, boxes.nth(n))
        page.keyboard.press("Space")
    if scripts:
        expect(page.get_by_role("checkbox", name="All on this page")).to_be_checked()
    tab_to(page, page.get_by_label("With those selected"))
    page.keyboard.press("ArrowDown")
    for action, said in (("Block", "signed out everywhere: 2."), ("Unblock", "Can sign in again: 2.")):
        if action == "Block":
            tab_to(page, button(page, "Continue"))
        else:
            tab_to(page, page.get_by_role("link", name="Undo"))
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("these people?")
        expect(page.get_by_role("heading", name="2 people")).to_be_visible()
        tab_to(page, button(page, action))
        page.keyboard.press("Enter")
        expect_status(page, said)
        expect(boxes).to_have_count(2)
