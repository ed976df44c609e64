"""What people do on the pages. Every element is found by its role, label or name, as people find it."""

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlencode

from playwright.sync_api import Locator, Page, expect
from sqlalchemy import NullPool, create_engine, insert, update

from hammer import clock, codes
from hammer.db.database import UtcDateTime, db
from hammer.models import Client
from tests.apps import CHALLENGE
from tests.serving import Server

SEND_CODE = re.compile("^(Sign in|Confirm)$")


def number_field(page: Page) -> Locator:
    return page.get_by_role("textbox", name=re.compile("^(Telephone|New) number$"))


def code_field(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Code", exact=True)


def invite_field(page: Page | Locator) -> Locator:
    return page.get_by_role("textbox", name="Invite code")


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def ask(page: Page, number: str, start: str = "/login/") -> None:
    """From the phone form to the code form."""
    if start:
        page.goto(start)
    number_field(page).fill(number)
    button(page, "Get the code").click()
    expect(code_field(page)).to_be_visible()


def code_shown(page: Page) -> str:
    """The code as demo mode shows it."""
    note = page.get_by_text(re.compile("Demo: ")).inner_text()
    found = re.search(r"\d{4,8}", note)
    assert found, note
    return found[0]


def enter(page: Page, code: str, *, scripts: bool = True) -> None:
    """Types the code. With scripts the form sends itself; without, the button sends it."""
    page.wait_for_load_state()  # before the script runs, the form would not send itself
    code_field(page).fill(code)
    if not scripts:
        page.get_by_role("button", name=SEND_CODE).click()


def sign_in(page: Page, number: str, *, scripts: bool = True) -> None:
    ask(page, number)
    enter(page, code_shown(page), scripts=scripts)
    expect_profile(page)


def expect_profile(page: Page) -> None:
    expect(page.get_by_role("heading", name="Your invite code")).to_be_visible()


def expect_status(page: Page, words: str | re.Pattern[str]) -> None:
    """Expects a status message that a screen reader announces, and that is visible without scrolling."""
    expect(page.get_by_role("status").filter(has_text=words)).to_be_in_viewport()


def section(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def unfold(page: Page, name: str) -> Locator:
    """The section with this heading, with everything folded in it opened."""
    found = section(page, name)
    for summary in found.locator("details:not([open]) > summary").all():
        summary.click()
    return found


def invite_link(page: Page) -> str:
    return section(page, "Your invite code").get_by_role("link").get_attribute("href") or ""


def let_pass(server: Server, **span: float) -> None:
    """Makes time pass for the server: moves every stored moment back by this span. The audit trail and its counts stay."""
    passed = timedelta(**span)
    engine = create_engine(server.database_url, poolclass=NullPool)
    with engine.begin() as connection:
        for table in (each for each in db.metadata.sorted_tables if each.name not in ("events", "event_counts", "seals")):
            moments = [column for column in table.columns if isinstance(column.type, UtcDateTime)]
            for row in connection.execute(table.select()).mappings().all() if moments else ():
                mine = update(table).where(*(key == row[key.name] for key in table.primary_key))
                earlier = {moment.name: row[moment.name] - passed for moment in moments if row[moment.name] is not None}
                if earlier:
                    connection.execute(mine.values(earlier))


def address_for_app(server: Server, name: str, redirect_uri: str, scope: str, *, public: bool = False, **more: str) -> str:
    """Registers an app. Returns the address to which it sends people who sign in to it."""
    row = {"id": codes.random_id(), "name": name, "redirect_uris": redirect_uri, "scopes": "", "sends_per_hour": 0}
    engine = create_engine(server.database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(insert(Client).values(row | {"public": public, "created_at": clock.now()}))
    sent = {"client_id": row["id"], "redirect_uri": redirect_uri, "response_type": "code", "scope": scope, "state": "of the app"}
    sent |= {"code_challenge": CHALLENGE, "code_challenge_method": "S256"} | more
    return f"/oauth/authorize?{urlencode(sent)}"


def posts(page: Page) -> list[str]:
    """The paths of all POST requests of this tab from now on."""
    sent: list[str] = []
    page.on("request", lambda asked: sent.append(re.sub(r"^https?://[^/]+", "", asked.url)) if asked.method == "POST" else None)
    return sent


Visit = Callable[..., Page]
