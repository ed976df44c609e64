"""The scenes of `tests/pictures.py` on the operator's pages, a line for each, with the same people at the same moment each time."""

import base64
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

import time_machine
from sqlalchemy import insert, update

from hammer.clients import registry
from hammer.db.database import transaction
from hammer.factors import staff
from hammer.invites import activation
from hammer.models import Message, MessageState, SecondFactor, Session, SessionKind, User
from hammer.operations import daily, demo, seals
from hammer.refusals import Refusal
from hammer.sessions import sessions
from hammer.users import accounts, oversight, people
from tests import delivery
from tests.actions import ask, confirm, right
from tests.operators import app_code

if TYPE_CHECKING:
    from tests.pictures import Visit

NOW = datetime(2026, 11, 30, 12, 20, tzinfo=UTC)
OPERATOR, NUMBER = "operator-operator-oper", "+79161234599"
UNKNOWN_CODE = "K7M2QX"
_NO_CARET = """() => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { caret-color: transparent !important }");
    document.adoptedStyleSheets = [sheet];
}"""
"""The caret blinks: it would be in some of the pictures."""
Act = Callable[["Visit"], object]


def _scene(path: str, *acts: Act, crowd: int = 300, factor: str = "proved", most: int = 1300) -> Act:
    """A scene that opens a page as an operator, and does something there. `{}` in its address is the id of the person who invited
    most.

    :param factor: what the operator has: a second factor that was "proved" or is "set up", a "link" to set one up, or "none".
    """

    def draw(visit: "Visit") -> None:
        visit.most = most
        ids = random.Random(3)  # noqa: S311  # protects nothing
        settings = replace(visit.app.config["SETTINGS"], sends_per_number_day=5)
        with (
            time_machine.travel(NOW) as clocks,
            patch("secrets.token_urlsafe", partial(_token, ids)),
            patch.dict(visit.app.config, SETTINGS=settings),
        ):
            with visit.app.app_context():
                _enter(visit, factor)
                star = _fill(visit, clocks, crowd) if crowd else ""
                link = staff.allow_enrolment(settings, OPERATOR) if factor == "link" else ""
            visit.page.clock.set_fixed_time(NOW)
            visit.open(path.format(star or link))
            for act in acts:
                act(visit)
            visit.page.evaluate(_NO_CARET)

    return draw


def _token(ids: random.Random, size: int) -> str:
    return base64.urlsafe_b64encode(ids.randbytes(size)).rstrip(b"=").decode()


def _enter(visit: "Visit", factor: str) -> None:
    """An operator, whose browser is signed in."""
    settings, names = visit.app.config["SETTINGS"], {"first_name": "Ольга", "last_name": "Соколова"}
    with transaction() as tx:
        owner = {"telephone_number": NUMBER, "invite_code": "Q9UK59", "is_staff": True, "date_joined": NOW - timedelta(days=400)}
        tx.execute(insert(User).values(id=OPERATOR, **owner, **names))
        if factor in ("proved", "set up"):
            tx.execute(insert(SecondFactor).values(user_id=OPERATOR, generation=1, step=0, recovery_generation=1))
    with transaction() as tx:
        me = tx.get_one(User, OPERATOR)
        opening = partial(Session.opening, me, device="Firefox · Linux", now=NOW)
        opened = [Session(**opening(kind=SessionKind.BROWSER))]
        if factor == "proved":
            opened.append(Session(**opening(kind=SessionKind.ADMIN), parent_id=opened[0].id))
        tx.add_all(opened)
        tx.flush()
        cookies = dict(zip(("hammer", "hammer_admin"), [sessions.cookie(settings, one) for one in opened], strict=False))
    visit.page.context.add_cookies([{"name": name, "value": value, "url": visit.url} for name, value in cookies.items()])


def _fill(visit: "Visit", clocks: time_machine.Traveller, crowd: int) -> str:
    """Makes people with a history, of whom one had trouble in the last hour: the one who invited most. Returns their id."""
    settings = visit.app.config["SETTINGS"]
    clocks.move_to(NOW - timedelta(minutes=80))
    made = demo.fill(settings, people=crowd, seed=3, more=True)
    assert made is not None
    star, number = made.most_inviting, people.profile(settings, made.most_inviting).telephone_number
    clocks.shift(60)
    oversight.show_number(star, "asked-for-help", actor_id=OPERATOR)
    accounts.change(star, {"first_name": "Максим", "last_name": "Ильин", "username": "ilin.m"}, actor_id=OPERATOR)
    clocks.shift(540)
    for state in (MessageState.FAILED, MessageState.DELIVERED):
        clocks.shift(360)
        asked = ask(settings, number)
        delivery.deliver(settings)
        with transaction() as tx:
            tx.execute(update(Message).where(Message.verification_id == asked.id).values(state=state))
    clocks.shift(20)
    confirm(settings, asked, right(settings, asked), kind=SessionKind.BROWSER)
    clocks.shift(240)
    with suppress(Refusal):
        activation.activate(settings, star, UNKNOWN_CODE, address="192.0.2.1")
    registry.add("Grafana", ["users:read"], redirect_uris=["https://grafana.example.com/login/generic_oauth"])
    clocks.move_to(NOW)
    seals.seal_all(settings)
    daily.count_hours(settings)
    return star


def _fill_in(**fields: str) -> Act:
    """Fills in fields, and sends their form."""

    def act(visit: "Visit") -> None:
        for name, value in fields.items():
            visit.page.fill(f"main [name={name}]", value)
        with visit.page.expect_navigation():
            visit.page.press(f"main [name={name}]", "Enter")

    return act


def _click(what: str) -> Act:
    return lambda visit: visit.page.click(what)


def _enrol(visit: "Visit") -> None:
    with visit.app.app_context():
        secret = staff.next_secret(visit.app.config["SETTINGS"], OPERATOR)
    _fill_in(code=app_code(secret))(visit)


def _select(action: str, many: int) -> Act:
    """Selects people of the list, and what to do with them."""

    def act(visit: "Visit") -> None:
        for n in range(many):
            visit.page.check(f"main [name=ids] >> nth={n}")
        visit.page.select_option("#action", action)
        visit.page.click("#bulk button")

    return act


def _send_file(visit: "Visit") -> None:
    lines = ["number,first_name", "+79167654321,Анна", "+79167654322,Борис", "12,Вера", f"{NUMBER},Ольга"]
    visit.page.set_input_files("#file", {"name": "people.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()})
    visit.page.click("#form button")


def _without_what_differs(visit: "Visit") -> None:
    """Removes from the findings of `doctor` what is of this computer."""
    script = """cells => { for (const cell of cells) cell.innerHTML = cell.innerHTML.replace(/sqlite:\\S+/, "sqlite:////srv/hammer.sqlite3")
        .replace(/[\\d.]+ GB/, "40 GB").replace(/:\\d\\d UTC/, ":00 UTC") }"""
    visit.page.locator("main td").evaluate_all(script)


SCENES = {
    "sign-in": _scene("/admin/", crowd=0, factor="set up"),
    "sign-in-wrong": _scene("/admin/", _fill_in(code="123 456"), crowd=0, factor="set up"),
    "link-missing": _scene("/admin/", crowd=0, factor="none"),
    "enrol": _scene("/admin/enrol/{}/", crowd=0, factor="link"),
    "recovery-codes": _scene("/admin/enrol/{}/", _enrol, crowd=0, factor="link"),
    "home": _scene("/admin/"),
    "home-new": _scene("/admin/", crowd=0),
    "people": _scene("/admin/people/"),
    "people-found": _scene("/admin/people/", _fill_in(q="иль")),
    "people-none": _scene("/admin/people/", _fill_in(q="шварц")),
    "people-bulk": _scene("/admin/people/", _select("block", 3)),
    "people-export": _scene("/admin/people/export/"),
    "people-import": _scene("/admin/people/import/"),
    "people-import-checked": _scene("/admin/people/import/", _send_file),
    "person": _scene("/admin/people/{}/", most=2000),
    "number": _scene("/admin/people/{}/number/"),
    "number-shown": _scene("/admin/people/{}/number/", _click("main [type=radio] >> nth=0"), _click("#form button")),
    "rename-error": _scene("/admin/people/{}/rename/", _fill_in(username="м. ильин")),
    "block": _scene("/admin/people/{}/block/"),
    "confirm": _scene("/admin/confirm/"),
    "apps": _scene("/admin/apps/"),
    "app": _scene("/admin/apps/", _click("main td a >> nth=1")),
    "app-added": _scene("/admin/apps/add/", _fill_in(name="Wiki")),
    "app-remove": _scene("/admin/apps/", _click("main td a >> nth=1"), _click("main .danger-zone a >> nth=1")),
    "provider": _scene("/admin/apps/provider/"),
    "webhooks": _scene("/admin/webhooks/"),
    "webhook": _scene("/admin/webhooks/", _click("main td a")),
    "webhook-error": _scene("/admin/webhooks/add/", _fill_in(url="http://10.0.0.1/hook")),
    "audit": _scene("/admin/audit/"),
    "settings": _scene("/admin/settings/"),
    "doctor": _scene("/admin/doctor/", _click("main form button"), _without_what_differs),
    "factors": _scene("/admin/factors/"),
}
"""Name of a picture -> how to come to what it shows."""
