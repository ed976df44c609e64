"""Invites in a real browser on a phone's screen: from the ticket of one person to the activation by another."""

from collections.abc import Iterator
from io import BytesIO

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.actions import (
    Visit,
    ask,
    button,
    code_shown,
    enter,
    expect_profile,
    expect_status,
    invite_field,
    invite_link,
    number_field,
    sign_in,
    unfold,
)
from tests.serving import Server

with_and_without_scripts = pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])

ABLE_TO_SHARE = """
    window.shared = [];
    navigator.share = async (what) => { window.shared.push(what); };
"""
UNABLE_TO_SHARE = "Object.defineProperty(Navigator.prototype, 'share', { value: undefined });"


def scan(page: Page) -> list[str]:
    """The content of the QR code on the screen, read by a decoder that is not ours."""
    return [found.text for found in zxingcpp.read_barcodes(Image.open(BytesIO(page.screenshot(full_page=True))))]


def count_invited(page: Page) -> str:
    page.goto("/profile/")
    return page.get_by_role("heading", name="You invited").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_link_is_copied_and_the_picture_of_it_scans(visit: Visit, server: Server, number: str, scheme: str) -> None:
    page = visit(color_scheme=scheme, viewport={"width": 320, "height": 640})
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    sign_in(page, number)
    link = invite_link(page)

    button(page, "Copy the link").click()
    expect_status(page, "The link is copied.")

    assert link.startswith(f"{server.url}/i/")
    assert page.evaluate("navigator.clipboard.readText()") == link
    assert scan(page) == [link]


def test_where_the_system_can_share_the_link_is_handed_to_it(visit: Visit, number: str) -> None:
    page = visit(script=ABLE_TO_SHARE)
    sign_in(page, number)

    button(page, "Share").click()

    page.wait_for_function("window.shared.length > 0")
    assert page.evaluate("window.shared.map((what) => what.url)") == [invite_link(page)]


def test_where_it_cannot_there_is_no_such_button_and_without_permission_the_link_is_copied_all_the_same(
    visit: Visit, number: str
) -> None:
    no_permission = "navigator.clipboard.writeText = async () => { throw new DOMException('no', 'NotAllowedError'); };"
    page = visit(script=UNABLE_TO_SHARE + no_permission)
    sign_in(page, number)

    expect(button(page, "Share")).to_be_hidden()
    button(page, "Copy the link").click()

    expect_status(page, "The link is copied.")


@with_and_without_scripts
def test_a_friend_scans_the_ticket_signs_in_and_activates_it(visit: Visit, numbers: Iterator[str], scripts: bool) -> None:
    anna, boris = visit(), visit(java_script_enabled=scripts)
    sign_in(anna, next(numbers))
    [link] = scan(anna)

    boris.goto(link)
    expect(boris.get_by_role("heading", level=1)).to_have_text("You are invited")
    boris.get_by_role("link", name="Continue").click()
    ask(boris, next(numbers), start="")
    enter(boris, code_shown(boris), scripts=scripts)
    question = boris.get_by_role("region", name="Activate")
    expect(question).to_contain_text("cannot be undone")
    expect(question).to_contain_text("will see your number")
    button(question, "Activate").click()

    expect_status(boris, "The invite is activated.")
    assert count_invited(anna).endswith("1")


def test_an_invited_person_may_say_not_now_and_is_not_asked_again(visit: Visit, numbers: Iterator[str]) -> None:
    anna, boris = visit(), visit()
    sign_in(anna, next(numbers))
    boris.goto(invite_link(anna))
    boris.get_by_role("link", name="Continue").click()
    ask(boris, next(numbers), start="")
    enter(boris, code_shown(boris))

    button(boris.get_by_role("region", name="Activate"), "Not now").click()

    expect_profile(boris)
    expect(boris.get_by_role("heading", name="Activate an invite")).to_be_visible()
    boris.reload()
    unfold(boris, "Activate an invite")
    expect(invite_field(boris)).to_be_visible()
    assert count_invited(anna) == "You invited"


@with_and_without_scripts
def test_a_code_that_is_typed_in_is_asked_about_before_it_is_activated(visit: Visit, numbers: Iterator[str], scripts: bool) -> None:
    anna, boris = visit(), visit(java_script_enabled=scripts)
    sign_in(anna, next(numbers))
    code = invite_link(anna)[-6:]
    sign_in(boris, next(numbers), scripts=scripts)

    activation = unfold(boris, "Activate an invite")
    invite_field(activation).fill("no")
    button(activation, "Activate").click()
    expect(invite_field(boris)).to_have_attribute("aria-invalid", "true")
    invite_field(boris).fill(f" {code[:3].lower()}-{code[3:].lower()} ")
    button(activation, "Activate").click()
    expect(boris.get_by_role("heading", level=1)).to_contain_text("Activate")
    expect(boris.get_by_role("main")).to_contain_text(
        "You can do this only once, and it cannot be undone. The owner of the code will see your number"
    )
    button(boris, "Activate").dblclick()

    expect_status(boris, "The invite is activated.")
    boris.reload()
    expect(invite_field(boris)).to_have_count(0)
    assert count_invited(anna).endswith("1")


def test_previews_of_an_invite_change_nothing(visit: Visit, server: Server, numbers: Iterator[str]) -> None:
    anna, boris = visit(), visit()
    sign_in(anna, next(numbers))
    link = invite_link(anna)
    path = link.removeprefix(server.url)

    for method in ("HEAD", "GET", "HEAD", "GET"):
        answer = server.request(method, path, headers={"User-Agent": "TelegramBot (like TwitterBot)", "Accept-Language": "en"})
        assert answer.status == 200
    for previewed in (boris.request.head(link), boris.request.get(link)):
        assert previewed.ok
    boris.goto(link)

    assert count_invited(anna) == "You invited"
    sign_in(boris, next(numbers))
    expect(boris.get_by_role("region", name="Activate")).to_be_visible()
    assert count_invited(anna) == "You invited"


def test_a_link_that_is_no_invite_says_so_and_leads_on(page: Page) -> None:
    page.goto("/i/nothing-like-it")

    expect(page.get_by_role("heading", level=1)).to_contain_text("does not look right")
    page.get_by_role("link", name="Continue").click()
    expect(number_field(page)).to_be_visible()
