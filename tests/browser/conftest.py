"""A real Chromium before a real server. What a test here can ask for:

    server    the application in a process of its own, in demo mode, on a database of its own; one for all files here
    number    a telephone number that nobody else here has; `numbers` hands out more of them
    visit     opens a page as somebody new: `visit(java_script_enabled=False)`; what its console complains of fails the test
    heard     what the consoles complained of so far

Nothing sleeps: tests wait for what they expect to see.
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
"""Milliseconds until something expected counts as missing. Long: the machine may be busy with other tests."""

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
    """Each call is another person with a browser of their own; two pages of `page.context` are two tabs of one."""
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
    assert heard == [], "A page complained."


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()
