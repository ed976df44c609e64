"""What must fit on one line on a phone of 360 px in both languages, and look like its neighbours."""

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.actions import Visit, sign_in

LANGUAGES = ["en", "ru"]


def apart(line: Locator, one: str, other: str) -> float:
    """How far the middles of two parts of a line are apart in height. Both are measured at one moment: a page may still move."""
    measured: float = line.evaluate(
        """(line, parts) => {
            const [one, other] = parts.map((part) => line.querySelector(part).getBoundingClientRect());
            return Math.abs((one.top + one.bottom) / 2 - (other.top + other.bottom) / 2);
        }""",
        [one, other],
    )
    return measured


def ask(page: Page, number: str, start: str = "/login/") -> None:
    """In any language."""
    page.goto(start)
    page.locator("input[type=tel]").fill(number)
    page.locator("main form button").click()
    expect(page.locator("input.slots")).to_be_visible()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_code_of_demo_mode_shares_a_line_with_its_button(visit: Visit, number: str, language: str) -> None:
    page = visit(locale=language)
    ask(page, number)
    note = page.locator("main .note")
    expect(note.locator("button")).to_be_visible()

    assert apart(note, "span", "button") < 4


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_stay_whole_and_share_a_line_with_what_changes_them(visit: Visit, number: str, language: str) -> None:
    page = visit(locale=language)
    ask(page, number, "/login/?invite=Q9UK59")
    page.locator("[data-code]").click()
    line = page.locator("#about ~ .line")
    expect(line).to_be_visible()

    assert apart(line, "span", "a") < 4
    [shown] = page.locator(".ask p strong").all()
    assert shown.evaluate("element => element.getClientRects().length") == 1


def test_devices_that_are_folded_look_like_the_others(visit: Visit, number: str) -> None:
    page = visit()
    sign_in(page, number)
    looks = page.evaluate(
        """() => {
            const list = document.querySelector("#devices ~ ul");
            const fold = document.createElement("details");
            fold.open = true;
            fold.append(list.cloneNode(true));
            list.after(fold);
            return [list, fold].map((place) => {
                const { color, fontSize, marginBlockStart } = getComputedStyle(place.querySelector("p"));
                return [color, fontSize, marginBlockStart];
            });
        }"""
    )

    assert looks[0] == looks[1]
