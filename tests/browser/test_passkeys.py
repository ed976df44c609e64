"""Passkeys of staff in Chromium, with its virtual authenticator."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import CDPSession, Page, expect

from tests import serving
from tests.browser.actions import Visit, button, expect_status, sign_in
from tests.serving import Server


def enrolment_link(server: Server, number: str, log: Path) -> str:
    """Makes this person staff; the link that the command prints."""
    environment = serving.surroundings() | serving.development(server.database_url, server.port)
    command = serving.begin(["flask", "--app", "wsgi", "users", "make-staff", number], environment, log)
    assert command.wait(timeout=60) == 0, log.read_text()
    found = re.search(r"http\S+/admin/enrol/\S+", log.read_text())
    assert found, log.read_text()
    return found[0]


def authenticator(page: Page) -> tuple[CDPSession, str]:
    """Gives the browser an authenticator whose owner always agrees; the protocol that controls it, and its id."""
    protocol = page.context.new_cdp_session(page)
    protocol.send("WebAuthn.enable")
    agrees = {"hasResidentKey": True, "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
    made = protocol.send("WebAuthn.addVirtualAuthenticator", {"options": {"protocol": "ctap2", "transport": "internal"} | agrees})
    return protocol, made["authenticatorId"]


@pytest.mark.requirement("AZN-03")
def test_a_passkey_is_made_by_the_link_opens_confirms_and_is_removed(
    visit: Visit, server: Server, number: str, tmp_path: Path
) -> None:
    page = visit(once=True)
    protocol, key = authenticator(page)
    its = {"authenticatorId": key}
    sign_in(page, number)
    page.goto(enrolment_link(server, number, tmp_path / "log"))
    button(page, "Set up a passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()

    page.goto("/admin/factors/")
    button(page, "Close").click()
    page.goto("/admin/factors/")
    protocol.send("WebAuthn.setUserVerified", its | {"isUserVerified": False})
    button(page, "Open with a passkey").click()
    expect(page.get_by_role("alert")).to_have_text("Nothing was confirmed. You can try again.")
    protocol.send("WebAuthn.setUserVerified", its | {"isUserVerified": True})
    button(page, "Open with a passkey").click()
    expect(page.get_by_role("heading", name="Passkeys")).to_be_visible()

    page.goto("/admin/confirm/")
    button(page, "Confirm with a passkey").click()
    expect(page).to_have_url(re.compile("/admin/$"))
    page.goto("/admin/factors/passkeys/")
    button(page, "Add a passkey").click()
    expect(page.get_by_role("alert")).to_have_text("This passkey is set up already.")
    protocol.send("WebAuthn.clearCredentials", its)
    page.get_by_role("textbox", name="Name").fill("Second")
    button(page, "Add a passkey").click()
    expect_status(page, "The passkey is set up.")
    assert len(protocol.send("WebAuthn.getCredentials", its)["credentials"]) == 1

    page.get_by_role("link", name="Remove Second").click()
    button(page, "Remove").click()
    expect_status(page, "The passkey is removed.")
    expect(page.get_by_role("link", name="Second", exact=True)).to_have_count(0)
    page.wait_for_load_state("networkidle")
    assert protocol.send("WebAuthn.getCredentials", its)["credentials"] == []  # the page signalled what is still accepted


def test_without_scripts_there_is_only_the_authenticator_app(visit: Visit, server: Server, number: str, tmp_path: Path) -> None:
    page = visit(java_script_enabled=False)
    sign_in(page, number, scripts=False)
    page.goto(enrolment_link(server, number, tmp_path / "log"))

    expect(button(page, "Set up the app")).to_be_visible()
    expect(button(page, "Set up a passkey")).to_have_count(0)
