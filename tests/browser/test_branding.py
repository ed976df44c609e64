"""Pages with a name, a mark and an accent of the operator's, as Chromium draws them."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from hammer.web import branding
from tests import serving
from tests.browser import walk
from tests.browser.conftest import coming
from tests.databases import Databases

ACCENT = "#0A58CA"
LONG_NAME = "Кофейня у озера на Тверской 12"
MARK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><circle cx="16" cy="16" r="16" fill="#0A58CA"/></svg>'
PHONE: ViewportSize = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def branded(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    folder = tmp_path_factory.mktemp("branded")
    mark = folder / "mark.svg"
    mark.write_text(MARK)
    links = {f"HAMMER_{name}_URL": f"https://example.com/{{language}}/{name}" for name in ("TERMS", "PRIVACY", "HELP")}
    own = {"HAMMER_NAME": LONG_NAME, "HAMMER_ACCENT": ACCENT, "HAMMER_MARK": str(mark), "HAMMER_SUPPORT": "help@example.com"}
    with serving.serve(databases.new(), folder / "log", serving.flask_run, **own, **links) as started:
        yield started


@pytest.fixture
def come(chromium: Browser, branded: serving.Server) -> Iterator[Callable[..., Page]]:
    heard: list[str] = []
    with coming(chromium, branded, heard) as visit:
        yield visit
    assert heard == [], "A page had errors."


def background(page: Page) -> str:
    red, green, blue = page.locator("main button").first.evaluate("one => getComputedStyle(one).backgroundColor.match(/\\d+/g)")
    return f"#{int(red):02X}{int(green):02X}{int(blue):02X}"


def test_the_accent_and_the_mark_are_drawn_in_both_schemes_under_our_policy(come: Callable[..., Page]) -> None:
    page = come()
    page.goto("/login/")
    page.emulate_media(color_scheme="light")
    light = background(page)
    page.emulate_media(color_scheme="dark")

    assert (light, background(page)) == (ACCENT, branding.shades(ACCENT).dark)
    assert page.locator("header img").evaluate("image => image.complete && image.naturalWidth > 0")


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_long_name_leaves_the_language_beside_it_and_nothing_is_cut_off(come: Callable[..., Page], language: str) -> None:
    page = come(locale=language, viewport=PHONE)
    page.goto("/login/")
    name, switch = page.locator("header > a").bounding_box(), page.locator("header nav").bounding_box()

    assert name is not None
    assert switch is not None
    assert name["y"] < switch["y"] + switch["height"] / 2 < name["y"] + name["height"]
    expect(page.locator("header")).to_contain_text(LONG_NAME)


@pytest.mark.requirement("ACC-04")
def test_pages_with_links_and_an_accent_pass_the_same_checks_as_ours(come: Callable[..., Page]) -> None:
    page = come()
    wire = walk.Wire(page)
    page.goto("/login/")
    seen = [walk.inspect("phone form", page, wire)]
    page.goto("/i/Q9UK59")
    seen.append(walk.inspect("landing", page, wire))

    for state in seen:
        assert state.axe + state.sideways + state.small_targets + state.without_edge + state.without_focus == [], state.name
