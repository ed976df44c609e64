"""No GET request changes anything in the database."""

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from hammer.db.database import db
from tests.api.contract import ANNA, STRANGER, ask
from tests.people import Browser, Program


def all_rows(app: Flask) -> dict[str, list[str]]:
    with app.app_context():
        return {table.name: sorted(repr(row) for row in db.session.execute(select(table))) for table in db.metadata.sorted_tables}


def test_no_get_request_changes_anything(app: Flask, anna: Program, boris: Program, staff: Program) -> None:
    browser = Browser(app)
    browser.sign_in(ANNA)
    boris.result("POST", "/users/me/invite/", {"invite_code": anna.tokens["invite_code"]})
    session = anna.result("GET", "/auth/sessions/")[0]["id"]
    ask(Program(app), STRANGER)
    values = {
        "username": [ANNA, "me", STRANGER],
        "session_id": [session],
        "invite_code": [anna.tokens["invite_code"], boris.tokens["invite_code"], "000000"],
        "name": ["redoc.js"],
        "filename": ["hammer.css"],
    }
    addresses = {"/i/", "/nothing/", "/?lang=en"}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            (argument, *more) = [*rule.arguments, ""]
            assert more in ([], [""]), "A route with two arguments: give this test both."
            with app.test_request_context():
                addresses |= {
                    app.url_for(rule.endpoint, **({argument: value} if argument else {})) for value in values.get(argument, [""])
                }
    before = all_rows(app)
    del before["events"]  # who looked at what may be noted
    assert sum(map(len, before.values())) > 10
    callers: list[tuple[FlaskClient, dict[str, str]]] = [(app.test_client(), {}), (browser.client, {})]
    callers += [(person.client, {"Authorization": f"Bearer {person.tokens['access_token']}"}) for person in (anna, staff)]
    assert len(addresses) > 20
    for client, headers in callers:
        for address in sorted(addresses):
            for method in ("GET", "HEAD"):
                with client.open(address, method=method, headers=headers) as answer:
                    assert answer.status_code < 500, address
    after = all_rows(app)
    del after["events"]
    assert after == before
