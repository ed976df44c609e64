"""What only a real browser shows: that our own forms arrive with the headers that we send, and other sites' do not.

Needs Chromium. Where `TEST_CHROMIUM` names one, as the checks do, nothing is skipped.
"""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Request, Route, sync_playwright

from tests.serving import Server

ANNA = "+79290000001"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium")
    if not path:
        pytest.skip("There is no chromium here. Install it, or name one in TEST_CHROMIUM.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    with chromium.new_context(locale="en") as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def demo(serve: Callable[..., Server]) -> Server:
    return serve()


@pytest.mark.requirement("WEB-04", "WEB-01")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_our_own_forms_arrive_from_a_real_browser(demo: Server, page: Page, host: str) -> None:
    sent: list[Request] = []
    told: list[str] = []

    def note(request: Request) -> None:  # Playwright takes no built-in function
        sent.append(request)

    page.on("request", note)
    page.on("console", lambda message: told.append(message.text))

    page.goto(f"http://{host}:{demo.port}/login/")
    page.fill("[name=telephone_number]", f"{ANNA[:-1]}{len(host) % 10}")
    page.press("[name=telephone_number]", "Enter")
    page.wait_for_url("**/login/code/")
    page.fill("[name=code]", page.inner_text(".note code"))
    page.press("[name=code]", "Enter")
    page.wait_for_url("**/profile/")

    posts = [request for request in sent if request.method == "POST"]
    assert len(posts) == 2
    assert all(request.all_headers()["origin"] == f"http://{host}:{demo.port}" for request in posts)
    assert told == []  # no policy of ours stops anything that our pages need
    assert {request.url.split("/")[2] for request in sent} == {f"{host}:{demo.port}"}


@pytest.mark.requirement("WEB-01")
@pytest.mark.parametrize("policy", ["no-referrer", "unsafe-url"])
def test_a_form_of_another_site_is_refused(demo: Server, page: Page, policy: str) -> None:
    def elsewhere(route: Route) -> None:
        form = f"<form method=post action={demo.url}/login/><input name=telephone_number value={ANNA}><button>Win</button></form>"
        route.fulfill(body=f"<meta name=referrer content={policy}>{form}", content_type="text/html")

    page.route("http://evil.example/**", elsewhere)
    page.goto("http://evil.example/")

    with page.expect_navigation() as arrived:
        page.click("button")

    assert arrived.value.status == 403
    assert "closed to you" in page.inner_text("h1")
