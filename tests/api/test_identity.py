"""Ids and metadata of users in the JSON API, and blocking: for users, staff and clients."""

from typing import Any

import jwt
import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from hammer import events
from hammer.clients import registry
from hammer.db.database import db
from hammer.models import Event, Scope
from hammer.parsing.phones import masked
from hammer.users import people
from hammer.web import tokens
from tests.api.contract import ANNA, BORIS, STAFF, STRANGER, USER, problem, signed_in
from tests.api.test_users import ON_ONE_USER
from tests.delivery import code_for
from tests.people import Program


def client_with(app: Flask, *scopes: Scope) -> Program:
    """A client with these scopes."""
    with app.app_context():
        client = registry.add(f"App {' '.join(scopes)}", scopes)
    made = Program(app)
    with app.test_request_context():
        made.tokens = {"access_token": tokens.of_client(client, scopes)}
    return made


@pytest.fixture
def writer(app: Flask) -> Program:
    """A client with `users:write`."""
    return client_with(app, Scope.USERS_WRITE)


def id_of(person: Program) -> str:
    return str(person.result("GET", "/users/me/")["id"])


def sent(person: Program, body: str) -> TestResponse:
    """The answer to a change of Anna, whose body is sent as it is."""
    headers = {"Authorization": f"Bearer {person.tokens['access_token']}", "Accept-Language": "en"}
    return person.client.patch(f"/api/v1/users/{ANNA}/", data=body.encode(), content_type="application/json", headers=headers)


# Ids


def test_the_id_is_the_subject_of_every_token_and_stays_whatever_changes(anna: Program, staff: Program) -> None:
    before = id_of(anna)
    assert jwt.decode(anna.tokens["access_token"], options={"verify_signature": False})["sub"] == before
    anna.result("PUT", "/users/me/", {"username": "anna", "first_name": "Анна"})
    asked = anna.result("POST", "/users/me/telephone_number/", {"telephone_number": STRANGER})
    with anna.app.app_context():
        code = code_for(anna.app.config["SETTINGS"], STRANGER)
    changed = anna.result("POST", "/users/me/telephone_number/code/", {"verification_id": asked["verification_id"], "code": code})
    again = signed_in(anna.app, STRANGER)
    assert changed["id"] == id_of(again) == before
    assert jwt.decode(again.tokens["access_token"], options={"verify_signature": False})["sub"] == before
    assert staff.result("GET", f"/users/{before}/")["telephone_number"] == masked(STRANGER)
    assert [user["id"] for user in staff.result("GET", "/users/?q=anna")] == [before]


@pytest.mark.parametrize(("method", "below", "body"), [*ON_ONE_USER, ("POST", "invite/", None), ("POST", "block/", None)])
@pytest.mark.requirement("AZN-01")
def test_an_id_names_the_user_in_every_call(
    anna: Program, boris: Program, staff: Program, method: str, below: str, body: object
) -> None:
    at, unknown = f"/users/{id_of(anna)}/{below}", f"/users/{'A' * 22}/{below}"
    body = {"invite_code": boris.tokens["invite_code"]} if below == "invite/" else body
    problem(boris.call(method, at, body), 404, "not-found")
    problem(boris.call(method, unknown, body), 404, "not-found")
    problem(staff.call(method, unknown, body), 404, "not-found")
    caller = anna if below == "invite/" else staff
    assert caller.call(method, at, body).status_code == (204 if method == "DELETE" else 200)


# Metadata


@pytest.mark.parametrize("method", ["PATCH", "POST", "PUT"])
def test_staff_and_clients_write_metadata_and_the_user_reads_them(
    anna: Program, staff: Program, writer: Program, method: str
) -> None:
    assert anna.result("GET", "/users/me/")["metadata"] == {}
    for person, metadata in ((staff, {"plan": "про", "a": {"b": [1, None]}}), (writer, {"seats": 2}), (staff, {})):
        changed = person.result(method, f"/users/{ANNA}/", {"metadata": metadata, "first_name": "Анна"})
        assert set(changed) == USER
        assert (changed["metadata"], changed["first_name"]) == (metadata, "Анна")
        assert anna.result("GET", "/users/me/")["metadata"] == metadata


@pytest.mark.parametrize("method", ["PATCH", "POST", "PUT"])
@pytest.mark.requirement("AZN-01")
def test_users_do_not_write_metadata(anna: Program, boris: Program, staff: Program, method: str) -> None:
    staff.result("PATCH", f"/users/{ANNA}/", {"metadata": {"plan": "free"}})
    for metadata in ({"plan": "pro"}, {}):
        problem(anna.call(method, "/users/me/", {"first_name": "A", "metadata": metadata}), 403, "not-allowed")
        problem(boris.call(method, f"/users/{ANNA}/", {"metadata": metadata}), 404, "not-found")
    me = anna.result("GET", "/users/me/")
    assert (me["metadata"], me["first_name"]) == ({"plan": "free"}, "")


@pytest.mark.parametrize("method", ["PATCH", "POST", "PUT"])
def test_metadata_that_are_not_sent_stay(anna: Program, staff: Program, method: str) -> None:
    staff.result("PATCH", f"/users/{ANNA}/", {"metadata": {"plan": "pro"}})
    assert staff.result(method, f"/users/{ANNA}/", {"last_name": "К"})["metadata"] == {"plan": "pro"}
    assert anna.result(method, "/users/me/", {"last_name": "Л"})["metadata"] == {"plan": "pro"}


@pytest.mark.requirement("LOG-01")
def test_the_trail_names_the_client_that_wrote_metadata_or_blocked(app: Flask, anna: Program, writer: Program) -> None:
    writer.result("PATCH", f"/users/{ANNA}/", {"metadata": {"plan": "pro"}})
    writer.result("POST", f"/users/{ANNA}/block/")
    with app.app_context():
        client_id = registry.every()[0].id
        noted = db.session.scalars(select(Event).where(Event.client_id == client_id).order_by(Event.id)).all()
    assert [(event.kind, event.actor_id) for event in noted][-2:] == [
        (events.Kind.USER_METADATA_CHANGED, None),
        (events.Kind.USER_BLOCKED, None),
    ]


@pytest.mark.requirement("AZN-01")
def test_a_client_that_only_reads_writes_no_metadata(app: Flask, anna: Program) -> None:
    reader = client_with(app, Scope.USERS_READ, Scope.USERS_NUMBERS)
    problem(reader.call("PATCH", f"/users/{ANNA}/", {"metadata": {}}), 403, "not-allowed")
    assert reader.result("GET", f"/users/{ANNA}/")["metadata"] == {}


def test_a_user_is_created_with_metadata(staff: Program, writer: Program) -> None:
    for person, number in ((staff, STRANGER), (writer, "+79298284305")):
        made = person.result("POST", "/users/", {"telephone_number": number, "metadata": {"plan": "pro"}})
        assert made["metadata"] == {"plan": "pro"}


LARGE, DEEP = '{"a": "' + "x" * 4096 + '"}', '{"a":' * 8 + "{}" + "}" * 8
NUL, INFINITE = r'{"a": "\u0000"}', '{"a": 1e999}'


@pytest.mark.parametrize(
    "metadata", ["null", "[]", '"{}"', "1", "true", LARGE, DEEP, NUL, r'{"\u0000": 1}', INFINITE], ids=lambda text: text[:20]
)
def test_metadata_that_cannot_be_stored_are_refused_by_field(anna: Program, staff: Program, metadata: str) -> None:
    found = problem(sent(staff, f'{{"first_name": "A", "metadata": {metadata}}}'), 422, "invalid-fields")
    assert set(found["errors"]) == {"metadata"}
    assert anna.result("GET", "/users/me/")["first_name"] == ""


TWICE, HALF = '{"a": {"b": 1, "b": 1}}', r'{"a": "\ud800"}'


@pytest.mark.parametrize("metadata", [TWICE, HALF, '{"a": NaN}', '{"a": -Infinity}', '{"a":' * 3000], ids=lambda text: text[:20])
def test_json_that_parsers_read_differently_is_unreadable(staff: Program, anna: Program, metadata: str) -> None:
    problem(sent(staff, f'{{"metadata": {metadata}}}'), 400, "invalid-request")
    problem(sent(anna, '{"first_name": "A", "first_name": "B"}'), 400, "invalid-request")


def test_4096_bytes_are_kept_and_come_back(anna: Program, staff: Program) -> None:
    metadata = {"я": "🔨" * 1021 + "abc"}  # nine bytes of JSON and name, then 1021 times four and three
    assert staff.result("PATCH", f"/users/{ANNA}/", {"metadata": metadata})["metadata"] == metadata
    too_large = {"я": metadata["я"] + "x"}
    problem(staff.call("PATCH", f"/users/{ANNA}/", {"metadata": too_large}), 422, "invalid-fields")


@pytest.mark.parametrize("bad", [{"a": "x" * 5000}, {"a": "\0"}, {"a": [[[[[[[[]]]]]]]]}], ids=["large", "NUL", "deep"])
def test_a_refusal_of_metadata_is_in_the_language_of_the_caller(staff: Program, bad: dict[str, Any]) -> None:
    answers = [staff.call("PATCH", "/users/me/", {"metadata": bad}, **{"Accept-Language": language}) for language in ("en", "ru")]
    english, russian = (problem(answer, 422, "invalid-fields")["errors"]["metadata"] for answer in answers)
    assert english[0].isascii()
    assert not russian[0].isascii()


# Blocking


def blocked(app: Flask, number: str) -> bool:
    with app.app_context():
        settings = app.config["SETTINGS"]
        return people.profile(settings, people.find(settings, number)).blocked_at is not None


@pytest.mark.parametrize("by", ["staff", "client"])
def test_staff_and_clients_block_a_user_at_once_and_let_them_in_again(
    app: Flask, anna: Program, staff: Program, writer: Program, by: str
) -> None:
    caller = {"staff": staff, "client": writer}[by]
    answer = caller.result("POST", f"/users/{ANNA}/block/")
    assert set(answer) == USER
    problem(anna.call("GET", "/users/me/"), 401, "not-signed-in")
    assert blocked(app, ANNA)
    assert set(caller.result("POST", f"/users/{answer['id']}/unblock/")) == USER
    assert not blocked(app, ANNA)
    assert signed_in(app, ANNA).is_signed_in()


@pytest.mark.requirement("AZN-01")
def test_no_other_caller_blocks_anybody_and_nobody_themselves(app: Flask, anna: Program, boris: Program, staff: Program) -> None:
    reader = client_with(app, Scope.USERS_READ)
    for act in ("block", "unblock"):
        problem(Program(app).call("POST", f"/users/{ANNA}/{act}/"), 401, "not-signed-in")
        problem(boris.call("POST", f"/users/{ANNA}/{act}/"), 404, "not-found")
        problem(reader.call("POST", f"/users/{ANNA}/{act}/"), 403, "not-allowed")
        for person, number in ((anna, ANNA), (staff, STAFF)):
            problem(person.call("POST", f"/users/me/{act}/"), 403, "not-allowed")
            problem(person.call("POST", f"/users/{number}/{act}/"), 403, "not-allowed")
        problem(staff.call("POST", f"/users/{STRANGER}/{act}/"), 404, "not-found")
    assert not any(blocked(app, number) for number in (ANNA, BORIS, STAFF))
