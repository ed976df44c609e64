"""Core Web Vitals of the pages on a slow line and a slow phone. `make vitals` writes them into docs/web-vitals.md."""

import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page

from tests import serving
from tests.browser.actions import ask, code_field, code_shown, invite_link, number_field, section, sign_in
from tests.browser.chromium import start
from tests.conftest import SETTINGS
from tests.databases import migrate

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "web-vitals.md"
BEGIN, END = "<!-- made by `make vitals` -->", "<!-- end of what is made -->"
TIMES = 5

SLOW_LINE = {"offline": False, "latency": 562.5, "downloadThroughput": 180_000, "uploadThroughput": 84_375}
"""What Chromium's developer tools call "Slow 4G": 1.44 Mbit/s down, 0.675 up (here in bytes a second), 562.5 ms to each answer."""
SLOWER_PHONE = 4
"""The factor by which Chromium slows down the CPU."""

_WATCH = """
    navigator.share ??= async () => {};  // as phones can
    window.vitals = { lcp: 0, cls: 0, inp: 0, shifted: [] };
    const watch = (type, see, options) => new PerformanceObserver((list) => list.getEntries().forEach(see))
        .observe({ type, buffered: true, ...options });
    watch("largest-contentful-paint", ({ startTime }) => { vitals.lcp = startTime; });
    watch("layout-shift", ({ value, hadRecentInput, sources }) => {
        if (hadRecentInput) return;
        vitals.cls += value;
        vitals.shifted.push(...sources.map(({ node }) => (node?.outerHTML ?? String(node?.textContent)).slice(0, 100)));
    });
    watch("event", ({ duration, interactionId }) => { if (interactionId) vitals.inp = Math.max(vitals.inp, duration); },
        { durationThreshold: 16 });
"""
_FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]"
_PAINTED = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"


@dataclass(frozen=True)
class Vitals:
    """In milliseconds; `cls` is a share of the screen times a share of its height."""

    first_paint: float
    lcp: float
    cls: float
    inp: float
    """The slowest response to a press; 16 when none took longer than a frame."""
    shifted: tuple[str, ...] = ()
    """The elements that moved while the page arrived. Later it depends on the machine: a browser takes what moves half a second
    after a press for no consequence of it."""


@contextmanager
def slow(page: Page) -> Iterator[None]:
    protocol = page.context.new_cdp_session(page)
    protocol.send("Network.enable")
    protocol.send("Network.setCacheDisabled", {"cacheDisabled": True})
    protocol.send("Network.emulateNetworkConditions", SLOW_LINE)
    protocol.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER_PHONE})
    yield
    protocol.detach()


def measure(page: Page, path: str, use: Callable[[Page], None]) -> Vitals:
    """Opens the page with nothing kept from before, then uses it."""
    page.goto(path, wait_until="networkidle")
    page.wait_for_function(f"{_FIRST_PAINT} && vitals.lcp")  # a busy machine reports them some time after it has painted
    page.evaluate(_PAINTED)
    first_paint = page.evaluate(f"{_FIRST_PAINT}.startTime")
    arrived = page.evaluate("vitals")  # what is painted after the first press does not count
    use(page)
    page.evaluate(_PAINTED)
    used = page.evaluate("vitals")
    return Vitals(first_paint, arrived["lcp"], used["cls"], max(used["inp"], 16), tuple(arrived["shifted"]))


def everywhere(visit: Callable[..., Page], new_number: Callable[[], str], times: int) -> dict[str, list[Vitals]]:
    """Each page that people meet first, opened so many times on a slow line and a slow phone."""
    owner, friend = visit(), visit()
    for page in (owner, friend):
        page.context.add_init_script(_WATCH)
    sign_in(owner, new_number())
    link = invite_link(owner)
    ask(friend, new_number())

    def type_code(page: Page) -> None:
        code_field(page).press_sequentially(code_shown(page)[:2])

    def type_number(page: Page) -> None:
        number_field(page).press_sequentially("+7 929")
        page.get_by_text("What is kept about you").click()

    def use_profile(page: Page) -> None:
        page.get_by_role("button", name="Copy the link").click()
        section(page, "About you").get_by_label("First name").press_sequentially("Anna")

    pages: dict[str, tuple[Page, str, Callable[[Page], None]]] = {
        "An invite link": (friend, link, lambda page: page.keyboard.press("Tab")),
        "Phone form": (friend, "/login/", type_number),
        "Code form": (friend, "/login/code/", type_code),
        "Profile": (owner, "/profile/", use_profile),
    }
    with slow(friend), slow(owner):
        return {name: [measure(*how) for _ in range(times)] for name, how in pages.items()}


def table(figures: dict[str, list[Vitals]]) -> str:
    lines = ["| page | first paint | LCP | INP | CLS |", "|---|---|---|---|---|"]
    for name, seen in figures.items():
        times = [f"{median(getattr(one, what) for one in seen):.0f} ms" for what in ("first_paint", "lcp", "inp")]
        lines.append(f"| {name} | {' | '.join(times)} | {max(one.cls for one in seen):.3g} |")
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        url = f"sqlite:///{directory}/hammer.sqlite3"
        migrate(replace(SETTINGS, database_url=url))
        server = running.enter_context(serving.serve(url, Path(directory) / "log"))
        browser: Browser = running.enter_context(start())
        numbers = (f"+7929{n:07d}" for n in range(100))

        def visit() -> Page:
            phone = {"width": 360, "height": 740}
            return running.enter_context(browser.new_context(base_url=server.url, locale="en", viewport=phone)).new_page()  # type: ignore[arg-type]

        figures = everywhere(visit, lambda: next(numbers), TIMES)
        where = f"{datetime.now(UTC):%Y-%m-%d}, Chromium {browser.version}, {platform.machine()}"
        heading = f"{where}; medians of {TIMES}, the largest CLS.\n\n"
    text = DOCUMENT.read_text()
    made = re.escape(BEGIN) + ".*" + re.escape(END)
    DOCUMENT.write_text(re.sub(made, f"{BEGIN}\n{heading}{table(figures)}\n{END}", text, flags=re.DOTALL))


if __name__ == "__main__":
    main()
