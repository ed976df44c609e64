"""The single-page app of the guide, in Chromium, at another origin than Hammer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import serving
from tests.browser import chromium
from tests.browser.conftest import PATIENCE
from tests.databases import Databases
from tests.integrate.conftest import Read, answering, surroundings_of_an_app
from tests.serving import HOME, Server

END_THE_ACCESS_TOKEN = """() => new Promise((done) => {
    indexedDB.open("hammer", 1).onsuccess = ({target: {result: database}}) => {
        const transaction = database.transaction("kept", "readwrite"), store = transaction.objectStore("kept");
        store.get("tokens").onsuccess = ({target: {result: tokens}}) => store.put({...tokens, ends: 0}, "tokens");
        transaction.oncomplete = done;
        database.close();
    };
})"""

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture(scope="module")
def port() -> int:
    """Of the app."""
    return serving.free_port()


@pytest.fixture(scope="module")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Server]:
    """Hammer, which lets browsers of the app's origin call it."""
    log = tmp_path_factory.mktemp("server") / "log"
    with serving.serve(databases.new(), log, HAMMER_ORIGINS=f"http://{HOME}:{port}") as started:
        yield started


@pytest.fixture(scope="module")
def app(examples: Path, libraries: Path, server: Server, port: int) -> Iterator[str]:
    page = examples / "single_page.html"
    page.write_text(page.read_text().replace("http://localhost:5000", server.url))
    command = ("python", "-m", "http.server", "--bind", HOME, str(port))
    with answering(command, examples, surroundings_of_an_app(libraries), port):
        yield f"http://{HOME}:{port}/single_page.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.start() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(locale="en")
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def test_a_page_of_another_origin_signs_a_person_in_and_out(app: str, page: Page, server: Server, read: Read, number: str) -> None:
    page.goto(app)
    page.get_by_label("Telephone number").fill("7")
    page.get_by_role("button", name="Get the code").click()
    expect(page.get_by_role("status")).to_contain_text("does not look like a telephone number")
    page.get_by_label("Telephone number").fill(number)
    page.get_by_role("button", name="Get the code").click()
    page.get_by_label("Code").fill(read(number))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_have_text(f"You are {number}.")

    page.reload()
    expect(page.get_by_role("status")).to_have_text(f"You are {number}.")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Telephone number")).to_be_visible()

    token = server.sign_in(number)["access_token"]
    assert [device["current"] for device in server.call("GET", "/auth/sessions/", token=token).json] == [True]


def test_tabs_that_open_at_the_same_time_refresh_once(app: str, page: Page, server: Server, read: Read, number: str) -> None:
    page.goto(app)
    page.get_by_label("Telephone number").fill(number)
    page.get_by_role("button", name="Get the code").click()
    page.get_by_label("Code").fill(read(number))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_have_text(f"You are {number}.")
    before = refreshes(server)

    page.evaluate(END_THE_ACCESS_TOKEN)
    tabs = [page.context.new_page() for _ in range(4)]
    for tab in tabs:
        tab.goto(app, wait_until="commit")

    for tab in tabs:
        expect(tab.get_by_role("status")).to_have_text(f"You are {number}.")
    assert refreshes(server) == before + 1


def refreshes(server: Server) -> int:
    return server.log.read_text().count("POST /api/v1/auth/refresh/")
