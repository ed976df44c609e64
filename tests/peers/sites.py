"""Sites that sign people in through Hammer, and what a person does there in Chromium.

They are at 127.0.0.1: for a browser, that is another site than Hammer's `localhost`.
"""

import shutil
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect

from hammer.models import SigningAlgorithm
from tests.integrate.conftest import PORT, answering
from tests.peers.apache import apache


@dataclass(frozen=True)
class Kind:
    """How a site is started and registered, and what a person does there."""

    command: tuple[str, ...]
    callback: str
    """The path of the redirect URI."""
    sign_in: tuple[str, ...]
    """The links and buttons that a person presses between the first page and Hammer."""
    sign_out: tuple[str, ...]
    asked: bool = False
    """Whether Hammer asks the person who signs out: the site keeps no id token to show."""
    algorithm: SigningAlgorithm = SigningAlgorithm.RS256
    pkce: bool = True
    backchannel: str = ""
    """The path at which it hears that a session has ended (OpenID Connect Back-Channel Logout), if it can."""
    inside: str = "/"
    """The path of the page that says who is signed in."""
    outside: str = "Sign in"
    """Words of the page for those who are not."""


APACHE: Final = Kind(
    ("apache2",),
    "/members/callback",
    ("Members",),
    ("Sign out",),
    backchannel="/members/callback?logout=backchannel",
    inside="/members/",
    outside="For everyone.",
)
KINDS: Final = {
    "auth.js": Kind(
        ("node", "auth_js.mjs"),
        "/auth/callback/hammer",
        ("Sign in", "Sign in with Hammer"),
        ("Sign out", "Sign out"),
        asked=True,
        backchannel="/ended",
    ),
    "passport": Kind(
        ("node", "passport.mjs"), "/callback", ("Sign in",), ("Sign out",), algorithm=SigningAlgorithm.ES256, pkce=False
    ),
    "allauth": Kind(
        ("python", "allauth_site.py", "runserver", "--noreload", PORT),
        "/accounts/oidc/hammer/login/callback/",
        ("Sign in with Hammer", "Continue"),
        ("Sign out", "Sign Out"),
        asked=True,
    ),
    "apache-RS256": APACHE,
    "apache-ES256": replace(APACHE, algorithm=SigningAlgorithm.ES256),
}


def running(kind: Kind, programs: Path, environment: dict[str, str], port: int) -> AbstractContextManager[object]:
    """Runs the site as long as the block."""
    program, *words = kind.command
    if program == "apache2":
        return apache(port, environment)
    if program == "python":
        python = shutil.which(program, path=environment["PATH"])
        assert python is not None
        subprocess.run([python, words[0], "migrate"], cwd=programs, env=environment, check=True, capture_output=True)
    return answering(kind.command, programs, environment, port)


@dataclass(frozen=True)
class Site:
    url: str
    kind: Kind

    def sign_in(self, page: Page) -> None:
        """From the first page of the site to the first one of Hammer."""
        page.goto(self.url)
        press(page, self.kind.sign_in)

    def sign_out(self, page: Page) -> None:
        press(page, self.kind.sign_out)
        if self.kind.asked:
            page.locator("main form[action^='/oauth/logout'] button").click()

    def expect_inside(self, page: Page, number: str, sub: str) -> None:
        expect(page.get_by_text(f"You are {number}, with the id {sub}.")).to_be_visible()
        assert page.url == f"{self.url}{self.kind.inside}"

    def knows(self, page: Page, sub: str) -> bool:
        """Whether this person is signed in to the site."""
        page.goto(f"{self.url}{self.kind.inside}")
        return sub in page.locator("body").inner_text()

    def expect_outside(self, page: Page) -> None:
        expect(page.get_by_text(self.kind.outside)).to_be_visible()
        assert page.url.split("?")[0] == f"{self.url}/"


def press(page: Page, names: tuple[str, ...]) -> None:
    """Presses links and buttons with these names, one page after another."""
    for name in names:
        page.get_by_role("link", name=name).or_(page.get_by_role("button", name=name)).click()


def prove(page: Page, number: str, *, scripts: bool = True) -> None:
    """From the phone form through the code form, in any language."""
    page.locator("input[name=telephone_number]").fill(number)
    page.keyboard.press("Enter")
    code = page.locator("input[name=code]")
    expect(code).to_be_visible()
    page.wait_for_load_state()  # before the script runs, the form would not send itself
    code.fill(page.locator("[data-code]").get_attribute("data-code") or "")
    if not scripts:
        page.keyboard.press("Enter")


def allow(page: Page) -> None:
    """On the page that asks what the app may know."""
    page.locator("main form[action^='/oauth/continue'] button").click()
