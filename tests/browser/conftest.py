"""A real Chromium and a real server. The fixtures here:

    server    the application in a process of its own, in demo mode, on a database of its own; one for all files here
    number    a telephone number that no other test here has; `numbers` gives more of them
    visit     opens a page for another person: `visit()`, or `visit(java_script_enabled=False)` (see `Contexts.visit`)
    page      one page, as `visit()` opens it
    heard     the errors in the consoles so far; one that is left fails the test

No test sleeps: each waits for what it expects to see.
"""

from collections import defaultdict
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


class Contexts:
    """Opens pages, each in a browser context that no other page of the same test has.

    To make a context takes Chromium twice the work of a login. So a context is emptied after a test and used again, unless the test
    asked for something that cannot be undone.
    """

    def __init__(self, come: Callable[..., Page], heard: list[str]) -> None:
        self.come = come
        self.heard = heard
        self.free: defaultdict[str, list[Page]] = defaultdict(list)

    @contextmanager
    def visiting(self) -> Iterator[Callable[..., Page]]:
        """The function below; the contexts that it gave are given back after the block."""
        with ExitStack() as leaving:

            def visit(*, clock: bool = False, script: str = "", once: bool = False, **how: object) -> Page:
                """Opens a page. With `clock`, its clock can be moved; `script` runs before those of the page; after `once` no other
                test gets the page; `how` is for `Browser.new_context`. A test installs no clock and adds no script to a context in
                another way."""
                if clock or script or once:
                    page = self.come(**how)
                    leaving.callback(page.context.close)
                    if clock:
                        page.clock.install()
                    if script:
                        page.context.add_init_script(script)
                else:
                    free = self.free[repr(sorted(how.items()))]
                    page = free.pop() if free else self.come(**how)
                    leaving.callback(free.append, page)
                    leaving.callback(self.empty, page)
                return page

            yield visit

    def empty(self, page: Page) -> None:
        """Leaves the page, and removes what the context has kept."""
        context = page.context
        for other in context.pages:
            if other != page:
                other.close()
        page.unroute_all()
        context.unroute_all()
        page.goto("/healthz")
        context.clear_cookies()
        context.clear_permissions()


@pytest.fixture(scope="package")
def contexts(chromium: Browser, server: Server) -> Iterator[Contexts]:
    heard: list[str] = []
    with coming(chromium, server, heard) as come:
        yield Contexts(come, heard)


@pytest.fixture(autouse=True)
def heard(contexts: Contexts) -> Iterator[list[str]]:
    contexts.heard.clear()
    yield contexts.heard
    assert contexts.heard == [], "A page had errors."


@pytest.fixture
def visit(contexts: Contexts) -> Iterator[Callable[..., Page]]:
    with contexts.visiting() as visit:
        yield visit


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    return visit()
