"""The two pages with the API document draw it, log no error and ask no other host."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect


@pytest.mark.parametrize("path", ["/redoc/", "/swagger/"])
@pytest.mark.requirement("WEB-03")
def test_a_page_draws_the_document_without_an_error_or_a_request_to_another_host(visit: Callable[..., Page], path: str) -> None:
    page = visit(viewport={"width": 1280, "height": 900})
    page.goto(path)
    expect(page.get_by_role("heading", name="auth").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    expect(page.locator("img[src]")).to_have_count(0)
