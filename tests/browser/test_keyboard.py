"""Signing in and activating an invite with the keyboard alone, and what a screen reader announces on the way."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.actions import wrong_code
from tests.browser.actions import (
    Visit,
    code_field,
    code_shown,
    enter,
    expect_profile,
    expect_status,
    invite_field,
    invite_link,
    number_field,
    sign_in,
)

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "accessibility.md"
TREE = re.compile(r"(^### (.+?)\n(?:(?!^###).*\n)*?```yaml\n)((?:.*\n)*?)(```$)", re.MULTILINE)
"""The comment before a tree, the step it belongs to, the tree, and its end."""
MOST_STOPS = 60


def focused(page: Page) -> Locator:
    return page.locator(":focus")


def tab_to(page: Page, wanted: Locator) -> None:
    """Presses Tab until the wanted element has the focus. Each element on the way is outlined, on the screen and not covered."""
    page.wait_for_load_state()
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        stop = focused(page)
        if stop.count() == 0:  # the browser's own controls, at the end of the page
            continue
        seen = stop.evaluate(
            """(stop) => {
                const { left, right, top, bottom } = stop.getBoundingClientRect();
                const on_top = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
                const { outlineStyle, outlineWidth } = getComputedStyle(stop);
                const seen = outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && top > -1 && bottom < innerHeight + 1
                    && on_top !== null && (stop.contains(on_top) || on_top.contains(stop));
                return seen ? "" : [stop.outerHTML, outlineStyle, top, bottom, innerHeight, on_top?.outerHTML].join(", ");
            }"""
        )
        assert seen == "", f"The focus cannot be seen: {seen}"
        if wanted.evaluate("(wanted) => wanted === document.activeElement"):
            return
    raise AssertionError(f"The keyboard does not lead to {wanted}.")


@pytest.mark.requirement("ACC-04", "ACC-01")
@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_a_person_signs_in_and_activates_an_invite_by_the_keyboard_alone(
    visit: Visit, numbers: Iterator[str], scripts: bool
) -> None:
    anna, page = visit(), visit(java_script_enabled=scripts)
    sign_in(anna, next(numbers))
    code = invite_link(anna)[-6:]

    page.goto("/login/")
    tab_to(page, number_field(page))
    page.keyboard.type(next(numbers))
    page.keyboard.press("Enter")
    expect(code_field(page)).to_be_focused()
    page.wait_for_load_state()
    page.keyboard.type(code_shown(page))
    if not scripts:
        page.keyboard.press("Enter")
    expect_profile(page)
    tab_to(page, page.locator("summary", has_text="Activate an invite"))
    page.keyboard.press("Enter")
    tab_to(page, invite_field(page))
    page.keyboard.type(code)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Activate")
    tab_to(page, page.get_by_role("button", name="Activate", exact=True))
    page.keyboard.press("Space")

    expect_status(page, "The invite is activated.")


@pytest.mark.requirement("ACC-04")
def test_the_first_stop_leads_past_the_header(page: Page) -> None:
    page.goto("/login/")
    page.keyboard.press("Tab")
    expect(focused(page)).to_have_text("To the content")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")

    expect(number_field(page)).to_be_focused()


def spoken(page: Page, **made_up: str) -> str:
    """The accessibility tree without the addresses of links, and with fixed values for what differs each time."""
    page.wait_for_load_state()
    tree = re.sub(r"\n *- /url: .*", "", page.locator("body").aria_snapshot())
    for what, instead in {
        **made_up,
        r"in [01]:\d\d": "in 1:00",
        r"until \d+:\d\d": "until 2:35",
        r"[AP]M": "PM",
        r"in \d+ seconds": "in 1 minute",
    }.items():
        tree = re.sub(what, instead, tree)
    return tree + "\n"


@pytest.mark.requirement("ACC-02", "ACC-04")
def test_the_document_has_what_a_screen_reader_finds_from_the_phone_form_to_the_profile(
    page: Page, pytestconfig: pytest.Config
) -> None:
    found = {}
    page.goto("/login/")
    found["1. The phone form"] = spoken(page)
    number_field(page).fill("+7 929 828-43-01")
    page.keyboard.press("Enter")
    expect(code_field(page)).to_be_visible()
    code = code_shown(page)
    wrong = wrong_code(code)
    found["2. The code form"] = spoken(page, **{code: "1234"})
    enter(page, wrong)
    expect(page.get_by_role("alert")).to_be_visible()
    found["3. A wrong code"] = spoken(page, **{code: "1234", wrong: "1235"})
    enter(page, code)
    expect_profile(page)
    link = invite_link(page)
    invite = f"{link[-6:-3]}.{link[-3:]}"
    found["4. Signed in"] = spoken(page, **{re.escape(link): "https://login.example.com/i/K7M2QX", invite: "K7M 2QX"})

    if pytestconfig.getoption("--evidence"):
        DOCUMENT.write_text(TREE.sub(lambda step: f"{step[1]}{found[step[2]]}{step[4]}", DOCUMENT.read_text()))

    assert {step: tree for _, step, tree, _ in TREE.findall(DOCUMENT.read_text())} == found, "Run `make evidence`."
