"""A real Chromium and a real server. The fixtures here:

    server    the application in a process of its own, in demo mode, on a database of its own; one for all files here
    number    a telephone number that no other test here has; `numbers` gives more of them
    visit     opens a page in a new browser context: `visit(java_script_enabled=False)`; an error in its console fails the test
    heard     the errors in the consoles so far

No test sleeps: each waits for what it expects to see.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests import serving
from tests.browser import ears
from tests.browser.chromium import start
from tests.databases import Databases
from tests.serving import Server

PHONE: ViewportSize = {"width": 360, "height": 740}
PATIENCE = 60_000
"""Milliseconds to wait for what a test expects. Long, since the machine may be busy with other tests."""

expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with start() as started:
        yield started


@pytest.fixture(scope="package")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("server") / "log"
    with serving.serve(databases.new(), log, HAMMER_RESEND_SECONDS="60") as started:
        yield started


@pytest.fixture(scope="package")
def numbers() -> Iterator[str]:
    return (f"+7929{n:07d}" for n in count(1_000_001))


@pytest.fixture
def number(numbers: Iterator[str]) -> str:
    return next(numbers)


@pytest.fixture
def heard() -> list[str]:
    return []


@contextmanager
def coming(chromium: Browser, server: Server, heard: list[str]) -> Iterator[Callable[..., Page]]:
    """Each call opens a browser context of its own, for another person; two pages of one `page.context` are two tabs."""
    with ExitStack() as leaving:

        def come(**how: object) -> Page:
            how = {"base_url": server.url, "locale": "en", "viewport": PHONE} | how
            context = leaving.enter_context(chromium.new_context(**how))  # type: ignore[arg-type]
            context.set_default_timeout(PATIENCE)
            ears.listen(context, str(how["base_url"]), heard)
            return context.new_page()

        yield come


@pytest.fixture
def visit(chromium: Browser, server: Server, heard: list[str]) -> Iterator[Callable[..., Page]]:
    with coming(chromium, server, heard) as come:
        yield come
    assert heard == [], "A page had errors."


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()
