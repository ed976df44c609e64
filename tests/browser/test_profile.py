"""What people do once they are signed in, in a real browser."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.actions import (
    Visit,
    ask,
    button,
    code_field,
    code_shown,
    enter,
    expect_profile,
    expect_status,
    invite_field,
    let_pass,
    number_field,
    section,
    sign_in,
    unfold,
)
from tests.browser.chromium import with_letters_twice_the_size
from tests.browser.conftest import coming
from tests.serving import Server

with_and_without_scripts = pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])


def prove(page: Page, *, scripts: bool = True) -> None:
    """Proves the number again, on a page that asks for it."""
    button(page, "Get the code").click()
    expect(code_field(page)).to_be_visible()
    enter(page, code_shown(page), scripts=scripts)


def test_the_language_that_was_chosen_is_kept(page: Page, number: str) -> None:
    sign_in(page, number)
    html = page.locator("html")
    expect(html).to_have_attribute("lang", "en")

    button(page, "Русский").click()
    expect(html).to_have_attribute("lang", "ru")
    page.goto("/profile/delete/")
    expect(html).to_have_attribute("lang", "ru")
    page.goto("/profile/")
    page.get_by_role("button", name="Выйти", exact=True).first.click()

    expect_status(page, re.compile("[а-я]"))
    expect(html).to_have_attribute("lang", "ru")
    button(page, "English").click()
    expect(html).to_have_attribute("lang", "en")


def test_a_preference_for_dark_gives_the_dark_scheme(visit: Visit) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        page.goto("/login/")
        grounds[scheme] = page.evaluate(
            """() => {
                const paint = document.createElement("canvas").getContext("2d");
                paint.fillStyle = getComputedStyle(document.documentElement).backgroundColor;
                paint.fillRect(0, 0, 1, 1);
                return paint.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((sum, part) => sum + part);
            }"""
        )

    assert grounds["light"] > 600
    assert grounds["dark"] < 165


@pytest.mark.parametrize("everywhere", [False, True], ids=["one device", "all others"])
def test_another_device_can_be_signed_out_from_here(visit: Visit, server: Server, number: str, everywhere: bool) -> None:
    lost, kept = visit(user_agent="Mozilla/5.0 (Android 16; Mobile) Firefox/140.0"), visit()
    sign_in(lost, number)
    let_pass(server, minutes=2)
    sign_in(kept, number)

    devices = section(kept, "Devices")
    if everywhere:
        button(devices, "End all others").click()
        expect_status(kept, "All other devices are signed out.")
    else:
        button(devices, "End Firefox · Android").click()
        expect_status(kept, "The device is signed out.")

    expect(devices.get_by_role("listitem")).to_have_count(1)
    lost.reload()
    expect(number_field(lost)).to_be_visible()


@with_and_without_scripts
def test_everything_about_a_user_is_deleted_with_a_fresh_code(visit: Visit, server: Server, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    sign_in(page, number, scripts=scripts)
    let_pass(server, minutes=10)

    page.get_by_role("link", name="Delete my data").click()
    expect(button(page, "Delete for ever")).to_have_count(0)
    prove(page, scripts=scripts)
    button(page, "Delete for ever").click()

    expect_status(page, "Your data is deleted.")
    page.goto("/profile/")
    expect(number_field(page)).to_be_visible()


@with_and_without_scripts
def test_a_number_is_changed_with_a_code_to_the_new_one(
    visit: Visit, server: Server, number: str, numbers: Iterator[str], scripts: bool
) -> None:
    new = next(numbers)
    page = visit(java_script_enabled=scripts)
    sign_in(page, number, scripts=scripts)
    let_pass(server, minutes=10)

    page.get_by_role("link", name="Change my number").click()
    prove(page, scripts=scripts)
    number_field(page).fill(new)
    button(page, "Get the code").click()
    expect(code_field(page)).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text(new[-2:])
    enter(page, code_shown(page), scripts=scripts)

    expect_status(page, "Your number is")
    expect(section(page, "About you")).to_contain_text(new[-2:])


@with_and_without_scripts
def test_all_that_is_stored_comes_as_a_file(visit: Visit, number: str, tmp_path: Path, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    sign_in(page, number, scripts=scripts)

    with page.expect_download() as coming:
        page.get_by_role("link", name="Download my data").click()
    file = tmp_path / coming.value.suggested_filename
    coming.value.save_as(file)

    assert file.name == "my-data.json"
    assert number in json.dumps(json.loads(file.read_text()))
    expect_profile(page)


@with_and_without_scripts
def test_names_are_saved_and_a_bad_one_is_said_at_its_field(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    sign_in(page, number, scripts=scripts)
    about = unfold(page, "About you")

    about.get_by_label("Username").fill("7 dwarfs")
    button(about, "Save").click()
    expect(about.get_by_label("Username")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_have_count(1)
    about.get_by_label("Username").fill(f"anna{number[-7:]}")
    about.get_by_label("First name").fill("Анна")
    button(about, "Save").click()

    expect_status(page, "Saved.")
    expect(page.get_by_role("heading", level=1)).to_have_text("Анна")


@with_and_without_scripts
def test_nothing_half_typed_on_the_profile_is_lost(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    sign_in(page, number, scripts=scripts)
    unfold(page, "About you")
    unfold(page, "Activate an invite")
    page.get_by_label("First name").fill("Анна")
    invite_field(page).fill("K7M")

    button(page, "Русский").click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    button(page, "English").click()
    expect(page.get_by_label("First name")).to_have_value("Анна")
    expect(invite_field(page)).to_have_value("K7M")
    invite_field(page).fill("K7M2QX")
    button(section(page, "Activate an invite"), "Activate").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Activate")
    page.get_by_role("link", name="Not now").click()

    expect(page.get_by_label("First name")).to_have_value("Анна")


_ROWS = """() => [...document.querySelectorAll("section:has(#invitees) li")].filter((row) =>
    row.lastElementChild.getBoundingClientRect().top > row.firstElementChild.getBoundingClientRect().bottom - 4)
    .map((row) => row.innerText)"""
_ROW_HEIGHT = """(header) => {  // of mark, language and button, which stand in one row; demo mode adds a line of its own
    const places = [...header.children].filter((one) => !one.matches(".note, .by-enter")).map((one) => one.getBoundingClientRect());
    return Math.max(...places.map(({ bottom }) => bottom)) - Math.min(...places.map(({ top }) => top));
}"""
_LINES = "(one) => { const all = document.createRange(); all.selectNodeContents(one); return all.getClientRects().length }"


@pytest.mark.parametrize("language", ["en", "ru"])
def test_nothing_breaks_where_it_should_not_on_the_narrowest_phone(
    visit: Visit, server: Server, numbers: Iterator[str], language: str
) -> None:
    number = next(numbers)
    page = visit(viewport={"width": 320, "height": 640}, locale=language)
    page.goto("/login/")
    page.get_by_role("textbox").fill(number)
    page.keyboard.press("Enter")
    again = page.locator("button[data-wait]")
    expect(again).to_be_disabled()
    assert again.evaluate(_LINES) == 1
    assert page.locator("header").evaluate(_ROW_HEIGHT) < 60
    code = re.search(r"\d{4}", page.locator("main .note").inner_text())
    assert code
    page.locator("#code").fill(code[0])
    expect(page.locator(".ticket code")).to_be_visible()
    link = page.locator(".ticket a")
    for days in (0, 1, 2):
        friend = server.sign_in(next(numbers))["access_token"]
        server.call("POST", "/users/me/invite/", {"invite_code": (link.get_attribute("href") or "")[-6:]}, token=friend)
        let_pass(server, hours=20 * days)
    page.locator("section:has(#about) summary").click()
    page.locator("#first_name").fill("Ж" * 60)
    page.locator("#first_name").press("Enter")

    expect_status(page, re.compile("Saved|Сохранено"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert page.locator("h1").evaluate("(one) => one.scrollWidth <= one.clientWidth")
    assert link.locator("span").evaluate(_LINES) == 1
    assert page.evaluate(_ROWS) == []
    assert page.locator("header").evaluate(_ROW_HEIGHT) < 60


_WIDTHS = """() => [...document.querySelectorAll("main :is(input:not([type=hidden]), button, .button, .ticket)")]
    .filter((one) => one.checkVisibility() && !one.closest(".note")).map((one) => Math.round(one.getBoundingClientRect().width))"""


def test_on_a_wide_screen_fields_and_buttons_have_one_width_on_a_surface_below_the_top(visit: Visit, number: str) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    paths = ["/i/K7M2QX", "/login/", "/login/code/", "/nowhere"]
    seen: dict[str, tuple[set[int], float]] = {}
    for path in paths:
        page.goto(path)
        if path == "/login/code/":
            ask(page, number)
        top = page.get_by_role("main").evaluate("(main) => main.getBoundingClientRect().top / innerHeight")
        seen[path] = set(page.evaluate(_WIDTHS)), top

    assert {path: widths for path, (widths, _) in seen.items() if widths != {442}} == {}  # 26 rem of 17 px
    assert {path: top for path, (_, top) in seen.items() if not 0.15 < top < 0.35} == {}


_BROKEN_WORDS = """() => [...document.querySelectorAll("h1, h2")].filter((one) => one.checkVisibility()).flatMap((heading) => {
    const broken = [];
    const texts = document.createTreeWalker(heading, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        for (const { 0: word, index } of texts.currentNode.data.matchAll(/[^\\s\\u2010-\\u2015-]+/g)) {
            const range = document.createRange();
            range.setStart(texts.currentNode, index);
            range.setEnd(texts.currentNode, index + word.length);
            if (new Set([...range.getClientRects()].map(({ top }) => Math.round(top))).size > 1) broken.push(word);
        }
    return broken;
}).concat(document.documentElement.scrollWidth > 320 ? ["(the page scrolls sideways)"] : [])"""


@pytest.mark.requirement("ACC-04")
@pytest.mark.parametrize("large", [False, True], ids=["letters of usual size", "letters of twice the size"])
def test_no_word_of_a_heading_is_broken_and_nothing_scrolls_sideways_on_the_narrowest_phone(
    chromium: Browser, server: Server, heard: list[str], numbers: Iterator[str], large: bool
) -> None:
    broken: dict[str, list[str]] = {}
    with ExitStack() as leaving:
        browser = leaving.enter_context(with_letters_twice_the_size(chromium)) if large else chromium
        page = leaving.enter_context(coming(browser, server, heard))(viewport={"width": 320, "height": 640}, locale="ru")
        for path in ("/i/K7M2QX", "/i/no", "/nowhere", "/login/"):
            page.goto(path)
            broken[path] = page.evaluate(_BROKEN_WORDS)
        page.locator("#telephone_number").fill(next(numbers))
        page.keyboard.press("Enter")
        broken["code"] = page.locator("#code").evaluate(_BROKEN_WORDS)
        page.locator("#code").fill(page.locator("main .note code").inner_text())
        expect(page.locator(".ticket")).to_be_visible()
        for path in ("/profile/", "/profile/delete/", "/profile/number/"):
            page.goto(path)
            broken[path] = page.evaluate(_BROKEN_WORDS)

    assert {name: words for name, words in broken.items() if words} == {}
