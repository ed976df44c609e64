"""Sites in Chromium: by Auth.js, by passport-openidconnect, which knows no PKCE, by django-allauth, and in Apache by Debian's
mod_auth_openidc, which knows no EdDSA. All but that of passport-openidconnect are the examples of the guides."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import serving
from tests.delivery import wait_until
from tests.integrate.conftest import surroundings_of_an_app
from tests.peers.conftest import Register, Visit
from tests.peers.sites import KINDS, Site, allow, prove, running
from tests.serving import Server

pytestmark = pytest.mark.needs("apache2", "chromium", "mod_auth_openidc.so", "node")


@pytest.fixture(scope="module", params=KINDS)
def site(request: pytest.FixtureRequest, server: Server, register: Register, programs: Path, libraries: Path) -> Iterator[Site]:
    kind, port = KINDS[request.param], serving.free_port()
    home = f"http://127.0.0.1:{port}"
    app = register(
        request.param,
        redirect_uris=[home + kind.callback],
        post_logout_redirect_uris=[f"{home}/"],
        backchannel_logout_uri=home + kind.backchannel if kind.backchannel else None,
        algorithm=kind.algorithm,
        pkce_required=kind.pkce,
    )
    known = surroundings_of_an_app(libraries) | {
        "LOGIN_URL": server.url,
        "LOGIN_CLIENT_ID": app.id,
        "LOGIN_CLIENT_SECRET": app.secret,
        "SITE_URL": home,
        "SITE_SECRET": "of-the-site-for-tests-of-32-bytes",
    }
    with running(kind, programs, known, port):
        yield Site(home, kind)


@pytest.fixture
def sub(server: Server, number: str) -> str:
    """The id of the user with this number."""
    token = server.sign_in(number)["access_token"]
    return str(server.call("GET", "/users/me/", token=token).json["id"])


@pytest.mark.parametrize(("language", "scripts"), [("en", True), ("ru", False)], ids=["english", "russian-no-scripts"])
def test_a_person_signs_in_and_out_with_new_and_with_remembered_consent(
    site: Site, server: Server, visit: Visit, number: str, sub: str, language: str, scripts: bool
) -> None:
    page = visit(site.url, locale=language, java_script_enabled=scripts)

    site.sign_in(page)
    expect(page.locator("html")).to_have_attribute("lang", language)
    prove(page, number, scripts=scripts)
    expect(page.locator("html")).to_have_attribute("lang", language)
    allow(page)

    site.expect_inside(page, number, sub)
    site.sign_out(page)
    site.expect_outside(page)
    page.goto(f"{server.url}/profile/")
    expect(page).to_have_url(re.compile(f"^{server.url}/login/"))

    site.sign_in(page)
    prove(page, number, scripts=scripts)

    site.expect_inside(page, number, sub)
    page.context.clear_cookies(domain="127.0.0.1")

    site.sign_in(page)  # still signed in to Hammer, which shows no page

    site.expect_inside(page, number, sub)


@pytest.mark.parametrize("site", ["auth.js"], indirect=True)
def test_a_person_who_refuses_comes_back_to_a_page_of_the_site(site: Site, visit: Visit, number: str) -> None:
    page = visit(site.url)
    site.sign_in(page)
    prove(page, number)
    page.get_by_role("link", name="Refuse, back to the app").click()

    expect(page.get_by_text("You are not signed in.")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    site.expect_outside(page)


@pytest.mark.parametrize("site", ["auth.js", "apache-RS256"], indirect=True)
def test_a_site_hears_that_a_person_signed_out_of_hammer(site: Site, server: Server, visit: Visit, number: str, sub: str) -> None:
    page = visit(site.url)
    site.sign_in(page)
    prove(page, number)
    allow(page)
    site.expect_inside(page, number, sub)
    assert site.knows(page, sub)

    page.goto(f"{server.url}/profile/")
    page.locator("form[action^='/logout'] button").click()
    expect(page.locator("input[name=telephone_number]")).to_be_visible()

    wait_until(lambda: not site.knows(page, sub))
