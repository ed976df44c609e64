"""Signing in with a real browser: the usual way, what people do besides, and what other sites attempt."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.actions import wrong_code
from tests.browser.actions import (
    Visit,
    ask,
    button,
    code_field,
    code_shown,
    enter,
    expect_profile,
    expect_status,
    let_pass,
    number_field,
    posts,
    sign_in,
)
from tests.serving import Server

with_and_without_scripts = pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])


def paste(page: Page, text: str) -> None:
    page.wait_for_load_state()  # before the script runs, the form would not send itself
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("text => navigator.clipboard.writeText(text)", text)
    code_field(page).focus()
    page.keyboard.press("Control+V")


def test_the_errors_of_a_page_are_collected(visit: Visit, heard: list[str]) -> None:
    page = visit()
    script = "<script>alert(1)</script><script src=/nothing.js></script><link rel=stylesheet href=http://elsewhere.example/>"
    policy = {"Content-Security-Policy": "script-src 'self'"}
    page.route("**/login/", lambda route: route.fulfill(body=script, content_type="text/html", headers=policy))
    page.route("http://elsewhere.example/", lambda route: route.abort())

    page.goto("/login/")
    with page.context.expect_event("weberror"):
        page.evaluate("setTimeout(() => { throw Error('a fault') })")

    errors = "\n".join(heard)
    assert "policy: script-src-elem stopped inline" in errors
    assert "404: " in errors
    assert "elsewhere: http://elsewhere.example/" in errors
    assert "script: a fault" in errors
    heard.clear()


@pytest.mark.requirement("ACC-01")
@with_and_without_scripts
def test_a_person_signs_in_and_out_again(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)

    sign_in(page, number, scripts=scripts)
    page.goto("/")
    expect_profile(page)
    button(page, "Sign out").first.click()

    expect_status(page, "You are signed out.")
    page.go_back()
    expect(number_field(page)).to_be_visible()


@pytest.mark.requirement("ACC-02")
@with_and_without_scripts
def test_a_wrong_code_is_said_at_the_field_and_the_right_one_still_works(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    ask(page, number)
    right = code_shown(page)

    enter(page, wrong_code(right), scripts=scripts)

    expect(page.get_by_role("alert")).to_contain_text("2 tries left.")
    expect(code_field(page)).to_have_attribute("aria-invalid", "true")
    expect(code_field(page)).to_have_accessible_description(re.compile("2 tries left"))
    expect(page).to_have_title(re.compile("^Error:"))
    enter(page, right, scripts=scripts)
    expect_profile(page)


@pytest.mark.requirement("ACC-03")
@with_and_without_scripts
def test_another_text_can_be_asked_for_after_a_wait_that_is_counted_down(
    visit: Visit, server: Server, number: str, scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts, clock=True)
    ask(page, number)
    code = code_shown(page)

    if scripts:
        waiting = page.get_by_role("button", name=re.compile(r"^Send again in [01]:\d\d$"))
        expect(waiting).to_be_disabled()
        page.clock.fast_forward(61_000)
    else:
        expect(page.get_by_role("main")).to_contain_text(re.compile(r"You can send it again in.(1.minute|\d+.seconds)"))
    let_pass(server, seconds=61)
    button(page, "Send again").click()

    expect_status(page, "We have sent you another text.")
    assert code_shown(page) == code
    expect(page.get_by_role("main")).to_contain_text("The code is good until" if scripts else "The code stops working in")


@pytest.mark.requirement("ACC-03")
@with_and_without_scripts
def test_a_code_that_is_too_old_is_replaced_without_typing_the_number_again(
    visit: Visit, server: Server, number: str, scripts: bool
) -> None:
    page = visit(java_script_enabled=scripts)
    ask(page, number)
    old = code_shown(page)
    let_pass(server, minutes=6)

    enter(page, old, scripts=scripts)
    expect(page.get_by_role("heading", level=1)).to_have_text("This code is no longer good")
    button(page, "Send a new code").click()
    enter(page, code_shown(page), scripts=scripts)

    expect_profile(page)


def test_back_after_signing_in_leads_to_the_profile(page: Page, number: str) -> None:
    sign_in(page, number)

    page.go_back()

    expect_profile(page)


def test_back_from_what_a_form_was_answered_leads_to_a_page_and_sends_nothing(page: Page, number: str) -> None:
    page.goto("/login/")
    number_field(page).fill(number)
    button(page, "Русский").click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    button(page, "English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.wait_for_load_state()
    ask(page, number, start="")
    right = code_shown(page)
    for wrong in (wrong_code(right), wrong_code(wrong_code(right))):
        enter(page, wrong)
        expect(page.get_by_role("alert")).to_contain_text("left")
    page.wait_for_load_state()
    sent = posts(page)

    for _ in range(2):
        page.go_back()
        expect(code_field(page)).to_be_visible()
        expect(page.get_by_role("main")).to_contain_text("1 try left.")
    for _ in range(3):
        page.go_back()
        expect(number_field(page)).to_be_visible()

    assert sent == []


@with_and_without_scripts
def test_reloading_repeats_nothing(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    ask(page, number)
    sent = posts(page)
    page.reload()
    expect(code_field(page)).to_be_visible()
    assert sent == []
    enter(page, code_shown(page), scripts=scripts)
    expect_profile(page)
    sent.clear()

    page.reload()

    expect_profile(page)
    assert sent == []


@with_and_without_scripts
def test_reloading_a_refused_code_costs_no_second_guess(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    ask(page, number)
    enter(page, wrong_code(code_shown(page)), scripts=scripts)
    expect(page.get_by_role("alert")).to_contain_text("2 tries left.")
    page.wait_for_load_state()
    sent = posts(page)

    page.reload()
    page.reload()

    assert sent[:1] == ([] if scripts else ["/login/code/"])
    expect(page.get_by_role("alert")).to_have_count(0 if scripts else 1)  # the form that is sent again has the same answer
    expect(page.get_by_role("main")).to_contain_text("2 tries left.")
    enter(page, code_shown(page), scripts=scripts)
    expect_profile(page)


@with_and_without_scripts
def test_another_language_keeps_what_was_typed_and_enter_still_sends_the_form(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    page.goto("/login/")
    number_field(page).fill(number)

    button(page, "Русский").click()
    expect(page.locator("html")).to_have_attribute("lang", "ru")
    expect(page.get_by_role("textbox")).to_have_value(number)
    button(page, "English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    number_field(page).press("Enter")
    code = code_shown(page)
    page.wait_for_load_state()
    code_field(page).press_sequentially(code[:2])
    button(page, "Русский").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Код из SMS")
    expect(page.get_by_role("textbox")).to_have_value(code[:2])
    expect(page.get_by_role("main")).not_to_contain_text("попыт")


@with_and_without_scripts
def test_another_text_keeps_the_digits_that_were_typed(visit: Visit, server: Server, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts, clock=True)
    ask(page, number)
    page.wait_for_load_state()
    expect(page.get_by_role("main")).to_contain_text("No text yet?")
    code = code_shown(page)
    code_field(page).press_sequentially(code[:2])
    let_pass(server, seconds=61)
    if scripts:
        page.clock.fast_forward(61_000)
        expect(button(page, "Send again")).to_be_enabled()

    button(page, "Send again").click()

    expect_status(page, "We have sent you another text.")
    expect(code_field(page)).to_have_value(code[:2])
    page.wait_for_load_state()
    sent = posts(page)
    page.reload()
    expect(code_field(page)).to_be_visible()
    assert sent == ([] if scripts else ["/login/resend/"])
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_form_that_came_too_late_is_there_again_with_what_was_typed(page: Page, number: str) -> None:
    page.goto("/login/")
    number_field(page).fill(number)
    page.locator("main [name=csrf_token]").evaluate("(field) => { field.value = 'stale'; }")

    button(page, "Get the code").click()
    expect(page.get_by_role("alert")).to_contain_text("This form was open for too long")
    expect(number_field(page)).to_have_value(number)
    button(page, "Get the code").click()

    expect(code_field(page)).to_be_visible()


@with_and_without_scripts
def test_pressing_twice_asks_for_one_text_and_leads_on(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    page.goto("/login/")
    number_field(page).fill(number)

    button(page, "Get the code").dblclick()

    expect(code_field(page)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_the_complete_code_is_sent_once_whatever_else_is_pressed(page: Page, number: str) -> None:
    ask(page, number)
    page.wait_for_load_state()
    sent = posts(page)

    submitted = code_field(page).evaluate(
        """(field, code) => {
            const submitted = [];
            document.addEventListener("submit", (event) => { submitted.push(!event.defaultPrevented); });
            field.value = code;
            for (let times = 0; times < 3; times++) field.dispatchEvent(new InputEvent("input", { bubbles: true }));
            for (const button of field.form.elements) if (button.type === "submit") button.click();
            field.form.requestSubmit();
            return submitted;
        }""",
        code_shown(page),
    )

    expect_profile(page)
    assert submitted[0]
    assert len(submitted) > 4
    assert not any(submitted[1:])
    assert sent == ["/login/code/"]


def test_the_other_tab_of_a_sign_in_that_is_done_leads_to_the_profile(page: Page, number: str) -> None:
    ask(page, number)
    second = page.context.new_page()
    second.goto("/login/code/")
    code = code_shown(page)

    enter(page, code)
    expect_profile(page)
    enter(second, code)

    expect_profile(second)


def test_two_tabs_that_sign_in_with_two_numbers_go_on_with_the_later_one(page: Page, numbers: Iterator[str]) -> None:
    first_number, second_number = next(numbers), next(numbers)
    ask(page, first_number)
    second = page.context.new_page()
    ask(second, second_number)

    enter(page, wrong_code(code_shown(second)))
    expect(page.get_by_role("main")).to_contain_text(f"{second_number[-2:]}")
    enter(page, code_shown(second))

    expect_profile(page)


@with_and_without_scripts
def test_a_person_who_blocks_cookies_reads_so_and_types_their_number_once(visit: Visit, number: str, scripts: bool) -> None:
    page = visit(java_script_enabled=scripts)
    page.goto("/login/")
    page.context.clear_cookies()
    number_field(page).fill(number)

    button(page, "Get the code").click()

    expect(page.get_by_role("main")).to_contain_text("cookies")
    expect(number_field(page)).to_have_value(number)
    button(page, "Get the code").click()
    expect(code_field(page)).to_be_visible()


@pytest.mark.requirement("ACC-01")
def test_a_code_can_be_pasted_with_a_space_in_it(page: Page, number: str) -> None:
    ask(page, number)
    code = code_shown(page)

    paste(page, f"{code[:2]} {code[2:]}")

    expect_profile(page)


@pytest.mark.requirement("ACC-01")
def test_the_whole_text_can_be_pasted_and_sends_itself(page: Page, number: str) -> None:
    ask(page, number)
    code = code_shown(page)

    paste(page, f"Hammer: {code} is your login code. Do not tell it to anybody.\n@localhost #{code}")

    expect_profile(page)


@pytest.mark.requirement("ACC-01")
def test_the_code_field_is_one_field_that_the_system_can_fill(page: Page, number: str) -> None:
    page.goto("/login/")
    expect(number_field(page)).to_have_attribute("autocomplete", "tel")
    ask(page, number, start="")

    expect(page.get_by_role("textbox")).to_have_count(1)
    expect(code_field(page)).to_have_attribute("autocomplete", "one-time-code")
    expect(code_field(page)).to_have_attribute("inputmode", "numeric")
    expect(code_field(page)).to_have_attribute("type", "text")
    expect(code_field(page)).not_to_have_attribute("maxlength", re.compile(".*"))


def test_a_code_that_is_longer_says_why_and_works(page: Page, server: Server, number: str) -> None:
    for guesses in (3, 2):
        verification, right = server.ask(number)
        for _ in range(guesses):
            assert server.confirm(verification, wrong_code(right)).status == 401
        let_pass(server, minutes=3)

    ask(page, number)

    expect(page.get_by_role("main")).to_contain_text("This time the code has 6 digits")
    code = code_shown(page)
    assert len(code) == 6
    page.wait_for_load_state()
    code_field(page).press_sequentially(code[:5])
    expect(code_field(page)).to_have_value(code[:5])
    code_field(page).press_sequentially(code[5:])
    expect_profile(page)


@pytest.mark.parametrize("early", [2, 4], ids=["half of it", "all of it"])
def test_a_code_that_was_begun_before_the_script_came_is_not_stuck(page: Page, number: str, early: int) -> None:
    held: list[Route] = []
    page.route("**/code.js*", lambda route: held.append(route))  # noqa: PLW0108  # it wants a function of ours
    ask(page, number)
    code = code_shown(page)
    hint = page.get_by_text("It is sent automatically")

    code_field(page).press_sequentially(code[:early])
    expect(code_field(page)).to_have_value(code[:early])
    expect(hint).to_be_hidden()
    held[0].continue_()
    page.wait_for_load_state()

    if early < len(code):
        expect(hint).to_be_visible()
        code_field(page).press_sequentially(code[early:])
    else:
        expect(hint).to_be_hidden()
        button(page, "Sign in").click()
    expect_profile(page)


@pytest.mark.requirement("WEB-04", "WEB-01")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_our_own_forms_arrive_from_a_real_browser(visit: Visit, server: Server, number: str, host: str) -> None:
    here = f"http://{host}:{server.port}"
    page = visit(base_url=here)
    sent: list[Request] = []

    def note(request: Request) -> None:  # Playwright takes no built-in function
        sent.append(request)

    page.on("request", note)

    sign_in(page, number)

    arrived = [request for request in sent if request.method == "POST"]
    assert len(arrived) == 2
    assert all(request.all_headers()["origin"] == here for request in arrived)


@pytest.mark.requirement("WEB-01")
@pytest.mark.parametrize("policy", ["no-referrer", "unsafe-url"])
def test_a_form_of_another_site_is_refused(visit: Visit, server: Server, heard: list[str], number: str, policy: str) -> None:
    def elsewhere(route: Route) -> None:
        form = (
            f"<form method=post action={server.url}/login/><input name=telephone_number value={number}><button>Win</button></form>"
        )
        route.fulfill(body=f"<meta name=referrer content={policy}>{form}", content_type="text/html")

    page = visit()
    page.route("http://evil.example/**", elsewhere)
    page.goto("http://evil.example/")

    with page.expect_navigation() as arrived:
        button(page, "Win").click()

    assert arrived.value.status == 403
    expect(page.get_by_role("heading", level=1)).to_contain_text("You cannot open")
    assert heard == ["elsewhere: http://evil.example/"]
    heard.clear()
