"""Chromium, the one that `TEST_CHROMIUM` names or that is installed."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests import parts

_QUIET = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@contextmanager
def start() -> Iterator[Browser]:
    """Started, and ended with the block."""
    program = parts.program("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic", *_QUIET]
        )
        yield started
        started.close()
