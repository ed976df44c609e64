"""Starts Chromium: the one that `TEST_CHROMIUM` names, or the one that is installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests import parts

_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def start() -> Iterator[Browser]:
    """A Chromium that runs as long as the block."""
    program = parts.program("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=_QUIET)
        yield started
        started.close()


@contextmanager
def with_letters_twice_the_size(browser: Browser) -> Iterator[Browser]:
    """A second Chromium, set to a font size of 32 px."""
    args = [*_QUIET, "--blink-settings=defaultFontSize=32"]
    started = browser.browser_type.launch(executable_path=parts.program("chromium"), args=args)
    yield started
    started.close()
