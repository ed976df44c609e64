"""What scripts do at once: answer a press, show a typing error, replace a code form whose code has expired."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

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
    posts,
    sign_in,
    unfold,
)
from tests.browser.conftest import Contexts
from tests.serving import Server


def press(pressed: Locator, times: int = 1, then: str = "") -> list[str | None]:
    """The value of `aria-busy` after each press, and after the event `then`, before the answer arrives."""
    return pressed.evaluate(  # type: ignore[no-any-return]
        """(button, [times, then]) => {
            const seen = [];
            for (let n = 0; n < times; n++) { button.click(); seen.push(button.getAttribute("aria-busy")); }
            if (then) {
                dispatchEvent(new PageTransitionEvent(then, { persisted: true }));
                seen.push(button.getAttribute("aria-busy"));
            }
            return seen;
        }""",
        [times, then],
    )


def wrong(page: Page, name: str | re.Pattern[str]) -> Locator:
    """The message about a field while a person types into it."""
    field = page.get_by_role("textbox", name=name)
    return page.locator(f"[data-typing='{field.get_attribute('id')}']")


@pytest.fixture(scope="module")
def phone_form(contexts: Contexts) -> Iterator[Page]:
    """A phone form for tests that only type into it."""
    with contexts.visiting() as visit:
        page = visit()
        page.goto("/login/")
        page.wait_for_load_state()
        yield page


@pytest.fixture(scope="module")
def profile(contexts: Contexts, numbers: Iterator[str]) -> Iterator[Page]:
    """A profile, with everything unfolded, for tests that only type into it."""
    with contexts.visiting() as visit:
        page = visit()
        sign_in(page, next(numbers))
        for section in ("Activate an invite", "About you"):
            unfold(page, section)
        page.wait_for_load_state()
        yield page


def test_a_press_is_answered_at_once_and_sends_the_form_once(page: Page, number: str) -> None:
    page.goto("/login/")
    number_field(page).fill(number)
    page.wait_for_load_state()
    sent = posts(page)

    assert press(button(page, "Get the code"), times=3) == ["true"] * 3
    expect(code_field(page)).to_be_visible()

    assert sent == ["/login/"]


def test_what_is_busy_looks_busy(page: Page) -> None:
    page.goto("/login/")
    pressed = button(page, "Get the code")
    look = "(button) => [getComputedStyle(button).cursor, getComputedStyle(button, '::after').borderTopStyle]"
    before = pressed.evaluate(look)

    pressed.evaluate("(button) => button.setAttribute('aria-busy', 'true')")

    assert (before, pressed.evaluate(look)) == (["pointer", "none"], ["progress", "solid"])


def test_enter_is_answered_on_the_button_that_stands_beside_the_field(page: Page, number: str) -> None:
    sign_in(page, number)
    unfold(page, "Activate an invite")
    invite_field(page).fill("K7M2QX")
    page.wait_for_load_state()

    busy = invite_field(page).evaluate(
        """(field) => {
            field.form.requestSubmit(document.querySelector(".by-enter"));
            return [...document.querySelectorAll("[aria-busy]")].map((button) => button.innerText);
        }"""
    )

    assert busy == ["Activate"]
    expect(page.get_by_role("heading", level=1)).to_contain_text("Activate")


def test_a_request_that_fails_gives_the_button_back(visit: Visit, number: str) -> None:
    page = visit(clock=True)
    page.goto("/login/")
    number_field(page).fill(number)
    page.route("**/login/", lambda route: route.fulfill(status=204) if route.request.method == "POST" else route.continue_())
    pressed = button(page, "Get the code")

    assert press(pressed) == ["true"]
    page.clock.fast_forward(10_000)
    expect(pressed).not_to_have_attribute("aria-busy", "true")
    page.unroute("**/login/")
    pressed.click()

    expect(code_field(page)).to_be_visible()


def test_a_page_that_is_come_back_to_is_not_busy(page: Page, number: str) -> None:
    page.goto("/login/")
    number_field(page).fill(number)
    page.wait_for_load_state()
    pressed = button(page, "Get the code")

    assert press(pressed, then="pageshow") == ["true", None]  # as from the back-forward cache
    expect(code_field(page)).to_be_visible()
    page.go_back()

    expect(pressed).to_be_visible()
    expect(pressed).not_to_have_attribute("aria-busy", "true")


def test_a_button_that_has_to_wait_looks_as_if_it_waits(visit: Visit, number: str) -> None:
    page = visit(clock=True)
    ask(page, number)
    again = page.locator("button[data-wait]")
    look = "(button) => { const { cursor, color, borderColor } = getComputedStyle(button); return [cursor, color, borderColor]; }"
    expect(again).to_be_disabled()
    waiting = again.evaluate(look)

    page.clock.fast_forward(61_000)
    expect(again).to_be_enabled()
    ready = again.evaluate(look)

    assert (waiting[0], ready[0]) == ("default", "pointer")
    assert all(one != other for one, other in zip(waiting, ready, strict=True))


@pytest.mark.requirement("ACC-03")
@pytest.mark.parametrize("zone", ["Europe/Moscow", "Asia/Yekaterinburg"])
def test_the_wait_is_stated_once_with_the_hour_of_the_readers_clock(visit: Visit, number: str, zone: str) -> None:
    page = visit(timezone_id=zone, locale="en-GB")
    ask(page, number)
    sentences = page.get_by_role("main")

    expect(sentences).to_contain_text(re.compile(r"The code is good until \d?\d:\d\d\."))
    good_until = page.evaluate(
        "() => new Date(Date.now() + 299e3).toLocaleTimeString('en-GB', { hour: 'numeric', minute: '2-digit' })"
    )
    said = re.findall(r"until (\d?\d:\d\d)", sentences.inner_text())[0]
    minutes = [int(hour) * 60 + int(minute) for hour, minute in (said.split(":"), good_until.split(":"))]
    assert (minutes[0] - minutes[1]) % 1440 in (0, 1, 1439)
    assert len(re.findall(r"again in|in 1 minute|in \d+ seconds", sentences.inner_text())) == 1
    expect(sentences).to_contain_text("the same code comes once more")


@pytest.mark.requirement("ACC-03")
def test_a_code_form_notices_that_its_code_is_over_and_offers_a_new_one(visit: Visit, server: Server, number: str) -> None:
    page = visit(clock=True)
    ask(page, number)
    page.wait_for_load_state()
    code_field(page).press_sequentially(code_shown(page)[:2])
    let_pass(server, minutes=5)

    page.clock.fast_forward(301_000)

    expect(page.get_by_role("heading", level=1)).to_have_text("This code is no longer good")
    expect(page).to_have_title("This code is no longer good — Hammer")
    expect(page.get_by_role("main")).to_be_focused()
    expect(page.get_by_role("textbox")).to_have_count(0)
    button(page, "Send a new code").click()
    expect(code_field(page)).to_be_visible()
    enter(page, code_shown(page))
    expect_profile(page)


def test_a_code_that_is_over_speaks_the_other_language_too(visit: Visit, server: Server, number: str) -> None:
    page = visit(clock=True)
    ask(page, number)
    page.wait_for_load_state()
    let_pass(server, minutes=5)
    page.clock.fast_forward(301_000)
    expect(button(page, "Send a new code")).to_be_visible()

    button(page, "Русский").click()

    expect(button(page, "Отправить новый код")).to_be_visible()


def test_the_shown_code_of_demo_mode_can_be_typed_by_a_button(page: Page, number: str) -> None:
    ask(page, number)
    page.wait_for_load_state()

    button(page, "Type it in").click()

    expect_profile(page)


TYPED_CODES = {
    "12a4": True,
    "x": True,
    "12345": True,
    "Код: 24": True,
    "Код: 24 63": False,
    "Your code: 24-63.": False,
    "24 63 57": True,
    "1": False,
    "12 3": False,
    "12-3": False,
    "١٢": False,
    "": False,
}


@pytest.mark.requirement("ACC-02")
@pytest.mark.parametrize(("typed", "is_wrong"), TYPED_CODES.items(), ids=[repr(typed) for typed in TYPED_CODES])
def test_a_typing_error_in_a_code_is_shown_while_typing_and_goes_when_it_is_mended(
    page: Page, number: str, typed: str, is_wrong: bool
) -> None:
    ask(page, number)
    page.wait_for_load_state()
    sent = posts(page)
    said = wrong(page, "Code")
    expect(said).to_have_attribute("aria-live", "polite")

    code_field(page).fill(typed)

    if is_wrong:
        expect(said).to_have_text("The code has 4 digits and nothing else.")
        expect(code_field(page)).to_have_accessible_description(re.compile("4 digits and nothing else"))
    else:
        expect(said).to_have_text("")
    code_field(page).fill("1")
    expect(said).to_have_text("")
    assert sent == []


@pytest.mark.parametrize(
    ("typed", "is_wrong"),
    [
        ("8 929 828-43-01", False),
        ("8 9", False),
        ("+7 (929", False),
        ("8 929 x", True),
        ("1" * 18, True),
        ("+7 929 828-43-01, 8 (929) 828-43-01", False),
        ("[+7 929 828-43-01](+79298284301)", False),
        ("+7 929 828-43-01, +7 929 828-43-02", True),
        ("Anna +298 211234", False),
        ("Anna: +7 929 828-43-01", False),
    ],
)
def test_a_typing_error_in_a_number_is_shown_while_typing(phone_form: Page, typed: str, is_wrong: bool) -> None:
    field, said = number_field(phone_form), wrong(phone_form, "Telephone number")
    field.fill("")
    expect(said).to_have_text("")

    field.fill(typed)

    expect(said).to_have_text("A telephone number is made of digits, 15 at most." if is_wrong else "")
    expect(phone_form.get_by_text("For example")).to_be_visible(visible=not is_wrong)


@pytest.mark.parametrize(
    ("name", "typed", "is_wrong"),
    [
        ("Invite code", "K7M 2QX", False),
        ("Invite code", "k7", False),
        ("Invite code", "АВ", False),
        ("Invite code", "Ж", True),
        ("Invite code", "K7M2QXT", True),
        ("Invite code", "https://login.example.com/i/K7M2QX", False),
        ("Invite code", "Here is my code: K7M2QX", False),
        ("Invite code", "код K7M2QX", False),
        ("Invite code", "K7M2QX, hi", False),
        ("Invite code", "код K7M2QXT", True),
        ("Username", "anna.k", False),
        ("Username", "7", True),
        ("Username", "анна", True),
        ("Username", "", False),
    ],
)
def test_typing_errors_on_the_profile_are_shown_while_typing(profile: Page, name: str, typed: str, is_wrong: bool) -> None:
    field, said = profile.get_by_role("textbox", name=name), wrong(profile, name)
    field.fill("")
    expect(said).to_have_text("")

    field.fill(typed)

    if is_wrong:
        expect(said).not_to_have_text("")
    else:
        expect(said).to_have_text("")


def test_without_a_way_to_share_copying_is_the_loud_button(visit: Visit, number: str) -> None:
    page = visit(script="Object.defineProperty(Navigator.prototype, 'share', { value: undefined });")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, number)

    expect(button(page, "Copy the link")).not_to_have_class(re.compile("quiet"))
    button(page, "Copy the link").click()
    expect_status(page, "The link is copied.")
