"""An invite goes from one person to another, in Chromium with scripts on and off, on a phone's screen."""

import os
import shutil
from collections.abc import Iterator
from io import BytesIO

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.serving import Server

ANNA, BORIS = "+79291234567", "+79297654321"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The one that `CHROMIUM` names, or that is installed. Without one these tests fail: nobody should think that they passed."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert program, "These tests need Chromium: install it, or name one with CHROMIUM."
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic"])
        yield started
        started.close()


@pytest.fixture(params=["light", "dark"])
def phone(request: pytest.FixtureRequest, chromium: Browser, server: Server) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 320, "height": 640}, color_scheme=request.param, locale="en")
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=server.url)
    yield context
    context.close()


def sign_in(page: Page, server: Server, number: str) -> None:
    """By the pages; the code form sends itself."""
    page.goto(f"{server.url}/login/")
    page.fill("#telephone_number", number)
    page.click("main form button")
    page.wait_for_url("**/login/code/")
    page.locator("#code").press_sequentially(page.inner_text(".note code"))
    page.wait_for_url("**/profile/")


def complaints(page: Page, server: Server) -> list[str]:
    """What the console says of errors, and requests to anybody else, from now on."""
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(server.url) else heard.append(asked.url))
    return heard


def test_the_link_is_copied_and_the_picture_of_it_scans(phone: BrowserContext, server: Server) -> None:
    page = phone.new_page()
    heard = complaints(page, server)
    sign_in(page, server, ANNA)
    link = page.get_attribute(".ticket a", "href") or ""

    page.click("[data-deed=copy]")
    page.get_by_text("The link is copied.").wait_for()
    scanned = zxingcpp.read_barcodes(Image.open(BytesIO(page.locator(".qr").screenshot())))

    assert link.startswith(f"{server.url}/i/")
    assert page.evaluate("navigator.clipboard.readText()") == link
    assert [found.text for found in scanned] == [link]
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    assert heard == []


def test_with_scripts_off_nothing_is_missing(chromium: Browser, server: Server) -> None:
    invite = server.sign_in(ANNA)["invite_code"]
    context = chromium.new_context(java_script_enabled=False, viewport={"width": 320, "height": 640}, locale="en")
    page = context.new_page()

    page.goto(f"{server.url}/login/")
    page.fill("#telephone_number", BORIS)
    page.click("main form button")
    page.fill("#code", page.inner_text(".note code"))
    page.click("main form button >> nth=0")
    no_buttons = page.locator(".deeds").is_hidden()
    page.fill("#invite_code", invite)
    page.press("#invite_code", "Enter")
    asked = page.inner_text("main")
    page.click("main form button")

    assert no_buttons
    assert "This can be done once, for ever. The owner of the code will see your number" in asked
    assert "The invite is activated." in page.inner_text("main")
    context.close()
