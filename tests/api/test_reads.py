"""No GET request changes anything in the database."""

from itertools import product

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from hammer.db.database import db
from hammer.quotas import staff_limits
from tests import routes
from tests.api.contract import ANNA, STRANGER, ask
from tests.operators import Operator
from tests.people import Browser, Program

NOTED = ("events", "event_counts")
"""Who looked at what may be noted, and what was counted may be kept."""
LIMITED = staff_limits.SEARCHES.name
"""Searches of staff by whole numbers are counted, because they have a limit."""


def all_rows(app: Flask) -> dict[str, list[str]]:
    with app.app_context():
        rows = {table.name: map(repr, db.session.execute(select(table))) for table in db.metadata.sorted_tables}
        return {table: sorted(row for row in each if not row.startswith(f"('{LIMITED}/")) for table, each in rows.items()}


def test_no_get_request_changes_anything(app: Flask, anna: Program, boris: Program, staff: Program) -> None:
    browser, operator = Browser(app), Operator(app, "+79290000009").open()
    browser.sign_in(ANNA)
    boris.result("POST", "/users/me/invite/", {"invite_code": anna.tokens["invite_code"]})
    session = anna.result("GET", "/auth/sessions/")[0]["id"]
    ask(Program(app), STRANGER)
    values = {
        "username": [ANNA, "me", STRANGER],
        "session_id": [session],
        "user_id": [operator.user_id, boris.result("GET", "/users/me/")["id"]],
        "invite_code": [anna.tokens["invite_code"], boris.tokens["invite_code"], "000000"],
        "name": ["redoc.js"],
        "filename": ["hammer.css"],
    }
    addresses = {"/i/", "/nothing/", "/?lang=en"}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            each = product(*(values.get(argument, [routes.SAMPLES[argument]]) for argument in rule.arguments))
            addresses |= {routes.path(rule, **dict(zip(rule.arguments, chosen, strict=True))) for chosen in each}
    before = all_rows(app)
    for noted in NOTED:
        del before[noted]
    assert sum(map(len, before.values())) > 10
    callers: list[tuple[FlaskClient, dict[str, str]]] = [(app.test_client(), {}), (browser.client, {}), (operator.client, {})]
    callers += [(person.client, {"Authorization": f"Bearer {person.tokens['access_token']}"}) for person in (anna, staff)]
    assert len(addresses) > 20
    for client, headers in callers:
        for address in sorted(addresses):
            for method in ("GET", "HEAD"):
                with client.open(address, method=method, headers=headers) as answer:
                    assert answer.status_code < 500, address
    after = all_rows(app)
    assert {name: rows for name, rows in after.items() if name not in NOTED} == before
