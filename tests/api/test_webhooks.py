"""Webhook endpoints in the JSON API: for clients those that they added, for staff all, for other users none."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from standardwebhooks import Webhook
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.models import Event, Scope, WebhookEndpoint
from hammer.users.accounts import SIGN_IN_AGAIN
from hammer.webhooks import deliveries, endpoints, signing
from tests.api.contract import problem
from tests.api.test_lists import pages
from tests.backends import Backend
from tests.outgoing.servers import fixed, serving
from tests.people import Program

URL = "https://app.example.com/hammer?key=1"
NOBODY = "http://127.0.0.1:9/hook"
"""Nothing listens there."""
KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
SHOWN = {
    "id",
    "url",
    "types",
    "client_id",
    "created_at",
    "disabled_at",
    "disabled_for",
    "failures",
    "failing_since",
    "paused_until",
    "older_secret_until",
}
BELOW: list[tuple[str, str, object]] = [
    ("GET", "", None),
    ("PATCH", "", {"types": []}),
    ("POST", "", {"url": URL}),
    ("POST", "rotate/", None),
    ("POST", "test/", None),
    ("POST", "disable/", None),
    ("POST", "enable/", None),
    ("POST", "replay/", {"since": "2026-11-23T09:30:00Z"}),
    ("GET", "attempts/", None),
    ("DELETE", "", None),
]
"""Every call for one endpoint, with a body that is allowed."""


@pytest.fixture
def shop(app: Flask) -> Backend:
    return Backend(app, Scope.WEBHOOKS_MANAGE)


def add(person: Program, url: str = NOBODY, *types: str) -> dict[str, Any]:
    added: dict[str, Any] = person.result("POST", "/webhooks/", {"url": url, "types": types})
    return added


def happen(app: Flask, *kinds: events.Kind) -> None:
    with app.app_context(), transaction() as tx:
        for kind in kinds:
            events.note(tx, kind, "A" * 22)


def deliver(app: Flask, settings: Settings) -> None:
    with app.app_context():
        while deliveries.deliver_next(settings):
            pass


def noted(app: Flask, endpoint_id: str) -> list[tuple[str, str | None, str | None]]:
    """Kind, client and actor of the events about an endpoint."""
    with app.app_context():
        about = select(Event.kind, Event.client_id, Event.actor_id).where(Event.endpoint_id == endpoint_id).order_by(Event.id)
        return [(kind, client, actor) for kind, client, actor in db.session.execute(about)]


def test_a_client_adds_changes_and_deletes_an_endpoint(app: Flask, shop: Backend) -> None:
    added = shop.call("POST", "/webhooks/", {"url": URL, "types": ["user.deleted", "user.created", "user.created"]})

    assert added.status_code == 201
    shown = dict(added.get_json())
    assert shown.pop("secret").startswith("whsec_")
    assert shown.keys() == SHOWN
    assert (shown["url"], shown["types"]) == (URL, ["user.created", "user.deleted"])
    assert (shown["client_id"], shown["disabled_at"], shown["failures"]) == (shop.client_id, None, 0)
    at = f"/webhooks/{shown['id']}/"
    assert shop.result("GET", at) == shown
    assert shop.result("GET", "/webhooks/") == [shown]

    assert shop.result("PATCH", at, {}) == shown
    assert shop.result("PATCH", at, {"types": []}) == shown | {"types": []}
    assert shop.result("POST", at, {"url": NOBODY}) == shown | {"types": [], "url": NOBODY}
    assert shop.call("DELETE", at).status_code == 204
    problem(shop.call("GET", at), 404, "not-found")
    assert shop.result("GET", "/webhooks/") == []

    kinds = [kind for kind, *_ in noted(app, shown["id"])]
    assert kinds == ["endpoint-added", "endpoint-changed", "endpoint-changed", "endpoint-removed"]
    assert {(client, actor) for _, client, actor in noted(app, shown["id"])} == {(shop.client_id, None)}


def test_the_secret_that_is_shown_verifies_posts(app: Flask, settings: Settings, shop: Backend) -> None:
    with serving(fixed(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        added = add(shop, f"http://127.0.0.1:{server.port}/hook")
        sent = shop.call("POST", f"/webhooks/{added['id']}/test/")
        deliver(app, settings)

    assert sent.status_code == 202
    [request] = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert headers["webhook-id"] == sent.get_json()["message_id"]
    assert Webhook(added["secret"]).verify(body, headers)["type"] == "ping"


@pytest.mark.requirement("AZN-01")
def test_a_client_sees_its_own_endpoints_and_staff_see_all(app: Flask, shop: Backend, staff: Program, anna: Program) -> None:
    other = Backend(app, Scope.WEBHOOKS_MANAGE, name="Other")
    theirs, ours = add(shop), add(staff)

    assert [endpoint["id"] for endpoint in shop.result("GET", "/webhooks/")] == [theirs["id"]]
    assert [endpoint["id"] for endpoint in staff.result("GET", "/webhooks/")] == [theirs["id"], ours["id"]]
    assert other.result("GET", "/webhooks/") == []
    assert ours["client_id"] is None
    for method, below, body in BELOW:
        for endpoint in (theirs, ours):
            problem(other.call(method, f"/webhooks/{endpoint['id']}/{below}", body), 404, "not-found")
            problem(anna.call(method, f"/webhooks/{endpoint['id']}/{below}", body), 403, "not-allowed")
        problem(shop.call(method, f"/webhooks/{ours['id']}/{below}", body), 404, "not-found")
    for method, below, body in BELOW:
        assert staff.call(method, f"/webhooks/{theirs['id']}/{below}", body).status_code in (200, 202, 204), (method, below)
    actors = {(client, actor is None) for _, client, actor in noted(app, theirs["id"])}
    assert actors == {(shop.client_id, True), (None, False)}


def test_a_client_has_twenty_endpoints_at_most(app: Flask, shop: Backend, staff: Program) -> None:
    for _ in range(endpoints.MOST):
        add(shop)
    assert problem(shop.call("POST", "/webhooks/", {"url": URL}), 403, "not-allowed")["detail"] == endpoints.TOO_MANY
    add(staff)


def test_staff_need_a_fresh_code_for_a_secret_and_another_url(staff: Program, shop: Backend, clock: Traveller) -> None:
    at = f"/webhooks/{add(staff)['id']}/"
    clock.shift(timedelta(minutes=5))
    guarded: list[tuple[str, object]] = [("/webhooks/", {"url": URL}), (f"{at}rotate/", None), (at, {"url": URL})]
    for path, body in guarded:
        assert problem(staff.call("POST", path, body), 403, "not-allowed")["detail"] == SIGN_IN_AGAIN
    for method, below, body in BELOW:
        if below != "rotate/" and body != {"url": URL}:
            assert staff.call(method, f"{at}{below}", body).status_code in (200, 202, 204), (method, below)
    at = f"/webhooks/{add(shop)['id']}/"
    assert shop.result("POST", f"{at}rotate/")["secret"]


def test_a_rotation_gives_a_new_secret_and_says_how_long_the_older_one_signs(shop: Backend, clock: Traveller) -> None:
    added = add(shop)
    at = f"/webhooks/{added['id']}/"

    secret = shop.result("POST", f"{at}rotate/")["secret"]

    assert secret != added["secret"]
    until = datetime.fromisoformat(shop.result("GET", at)["older_secret_until"])
    assert until == datetime.now(UTC) + signing.OVERLAP
    clock.move_to(until)
    shop.authenticate()
    assert shop.result("GET", at)["older_secret_until"] is None


def test_a_request_whose_answer_was_lost_adds_one_endpoint_and_rotates_once(app: Flask, shop: Backend) -> None:
    key = {"Idempotency-Key": KEY}
    added = [shop.call("POST", "/webhooks/", {"url": URL}, **key).get_json() for _ in range(2)]
    assert added[0] == added[1]
    ids = [added[0]["id"], add(shop)["id"]]

    first, again = (shop.call("POST", f"/webhooks/{ids[0]}/rotate/", **key).get_json() for _ in range(2))

    assert first == again
    with app.app_context():
        assert {row.id: row.generation for row in db.session.scalars(select(WebhookEndpoint))} == {ids[0]: 1, ids[1]: 0}
    other = problem(shop.call("POST", f"/webhooks/{ids[1]}/rotate/", **key), 422, "invalid-fields")
    assert set(other["errors"]) == {"Idempotency-Key"}
    shop.call("DELETE", f"/webhooks/{ids[0]}/")
    assert shop.call("POST", "/webhooks/", {"url": URL}, **key).get_json()["id"] not in ids


def test_a_disabled_endpoint_says_why_and_gets_neither_tests_nor_replays(app: Flask, shop: Backend) -> None:
    at = f"/webhooks/{add(shop)['id']}/"
    happen(app, events.Kind.USER_BLOCKED)

    disabled = shop.result("POST", f"{at}disable/")

    assert (disabled["disabled_for"], disabled["disabled_at"] is None) == ("by hand", False)
    assert shop.result("POST", f"{at}disable/") == disabled == shop.result("GET", at)
    refused: list[tuple[str, object]] = [("test/", None), ("replay/", {"since": "2020-01-01T00:00:00Z"})]
    for below, body in refused:
        assert problem(shop.call("POST", f"{at}{below}", body), 403, "not-allowed")["detail"] == endpoints.IS_DISABLED
    enabled = shop.result("POST", f"{at}enable/")
    assert (enabled["disabled_for"], enabled["disabled_at"]) == (None, None)


def test_one_event_and_those_of_a_time_are_replayed(app: Flask, settings: Settings, shop: Backend, clock: Traveller) -> None:
    at = f"/webhooks/{add(shop, NOBODY, 'user.blocked', 'user.deleted')['id']}/replay/"
    began = datetime.now(UTC)
    for kind in (events.Kind.USER_BLOCKED, events.Kind.USER_RENAMED, events.Kind.USER_DELETED):
        happen(app, kind)
        clock.shift(60)
    deliver(app, settings)
    reader = Backend(app, Scope.EVENTS_READ, name="Reader")
    ids = {event["type"]: event["id"] for event in reader.result("GET", "/events/")}

    def replay(**what: str) -> Any:
        answer = shop.call("POST", at, what)
        return answer.get_json()["replayed"] if answer.status_code == 202 else set(problem(answer, 422, "invalid-fields")["errors"])

    def minutes(count: int) -> str:
        return (began + timedelta(minutes=count)).isoformat()

    assert replay(message_id=ids["user.blocked"]) == 1
    assert replay(message_id=ids["user.renamed"]) == {"message_id"}, "It is not one of its types."
    assert replay(message_id=f"{ids['user.blocked']}0") == {"message_id"}
    assert replay(since=minutes(0)) == 2
    assert replay(since=minutes(0), until=minutes(2)) == 1
    assert replay(since=minutes(1)) == 1
    assert replay(since=minutes(3)) == {"since"}, "That is not before now."
    assert replay(since=minutes(1), until=minutes(1)) == {"since"}
    in_another_zone = (began + timedelta(minutes=1)).isoformat().replace("+00:00", "+01:00")
    assert replay(since=in_another_zone) == 2
    assert replay() == {"message_id"}
    assert replay(message_id=ids["user.blocked"], since=minutes(0)) == {"message_id"}
    assert replay(until=minutes(0), message_id=ids["user.blocked"]) == {"until"}


def test_attempts_are_paged_newest_first(app: Flask, settings: Settings, shop: Backend, clock: Traveller) -> None:
    with serving(fixed(b"HTTP/1.1 204 No Content\r\n\r\n")) as server:
        at = f"/webhooks/{add(shop, f'http://127.0.0.1:{server.port}/')['id']}/"
        sent = []
        for _ in range(5):
            sent.append(shop.result("POST", f"{at}test/")["message_id"])
            clock.shift(1)
            deliver(app, settings)
    shop.result("PATCH", at, {"url": NOBODY})
    sent.append(shop.result("POST", f"{at}test/")["message_id"])
    deliver(app, settings)

    found = [attempt for page in pages(shop, f"{at}attempts/?limit=2") for attempt in page]

    assert [attempt["message_id"] for attempt in found] == sent[::-1]
    assert [attempt["at"] for attempt in found] == sorted((attempt["at"] for attempt in found), reverse=True)
    assert [(attempt["status"], attempt["fault"]) for attempt in found] == [(None, "connect"), *[(204, None)] * 5]
    assert all(attempt.keys() == {"message_id", "type", "at", "status", "fault", "took_ms"} for attempt in found)
    assert {attempt["type"] for attempt in found} == {"ping"}
    shown = shop.result("GET", at)
    assert (shown["failures"], shown["failing_since"]) == (1, found[0]["at"])
    for after in ("x", "-1", "1.5", "9" * 19, "%00"):
        problem(shop.call("GET", f"{at}attempts/?after={after}"), 422, "invalid-fields")


NO_ARRAYS: list[object] = [1, 1.5, True, None, {}, "user.created", "", 10**30]
NO_TYPES = [1, None, ["user.created"], "user.gone", "user.created\x00", "x" * 5000]


@pytest.mark.parametrize("types", [*NO_ARRAYS, *([each] for each in NO_TYPES)])
def test_types_are_an_array_of_types_of_events(shop: Backend, types: object) -> None:
    for method, path in (("POST", "/webhooks/"), ("PATCH", f"/webhooks/{'A' * 22}/")):
        assert set(problem(shop.call(method, path, {"url": URL, "types": types}), 422, "invalid-fields")["errors"]) == {"types"}


HOSTILE = [
    "",
    "http://8.8.8.8/",
    "https://10.0.0.1/",
    "https://[::ffff:10.0.0.1]/",
    "https://169.254.169.254/latest/",
    "https://2130706433/",
    "https://0x7f.1/",
    "https://a@app.example.com/",
    "https://app.example.com/#x",
    "https://app.example.com/../x",
    "https://app.example.com/\x00",
    "https://app.example.com\\@10.0.0.1/",
    "https://[::1",
    "https://app.example.com:99999/",
    "https://ａpp.example.com/",
    "https://app.example.com/" + "a" * 2000,
    "https://" + "a." * 990 + "com/",
    "ftp://app.example.com/",
    "javascript:alert(1)",
    "//app.example.com/",
    "https://app.example.com/\r\nHost: x",
]


@pytest.mark.parametrize("url", HOSTILE, ids=lambda url: repr(url[:40]))
def test_an_address_that_may_not_be_posted_to_is_refused(shop: Backend, url: str) -> None:
    at = f"/webhooks/{add(shop, URL)['id']}/"
    for method, path in (("POST", "/webhooks/"), ("PATCH", at), ("POST", at)):
        assert set(problem(shop.call(method, path, {"url": url}), 422, "invalid-fields")["errors"]) == {"url"}, method
    assert shop.result("GET", at)["url"] == URL


MOMENTS = [
    "2026-11-23",
    "2026-11-23T09:30:00",
    "2026-11-23T09:30Z",
    "2026-02-30T09:30:00Z",
    "2026-11-23T24:30:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-W48-1T00:00:00Z",
    "20261123T093000Z",
    "2026-11-23T09:30:00+99:99",
    "٢٠٢٦-11-23T09:30:00Z",
    "now",
    "",
    "\x00",
    "1" * 5000,
    1795858200,
    10**30,
    True,
    None,
    [],
    {},
]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: repr(moment)[:40])
def test_a_moment_is_a_date_and_a_time_with_a_zone(shop: Backend, moment: object) -> None:
    at = f"/webhooks/{add(shop)['id']}/replay/"
    for body in ({"since": moment}, {"since": "2026-11-23T09:30:00Z", "until": moment}):
        answer = problem(shop.call("POST", at, body), 422, "invalid-fields")
        assert set(answer["errors"]) == {list(body)[-1]}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-11-23t09:30:00.5+05:45"])
def test_every_moment_with_a_zone_can_be_asked_for(shop: Backend, moment: str) -> None:
    at = f"/webhooks/{add(shop)['id']}/replay/"
    answer = problem(shop.call("POST", at, {"since": moment, "until": moment}), 422, "invalid-fields")
    assert answer["errors"] == {"since": [endpoints.NO_SPAN]}


@pytest.mark.parametrize("part", ["%00", "%ff", "%F0%9F%98%80", "a" * 5000, "+", "..", "a%2fb", "'", "%0a", "A" * 21])
def test_a_strange_id_is_not_found(shop: Backend, staff: Program, part: str) -> None:
    for person in (shop, staff):
        for method, below, body in BELOW:
            problem(person.call(method, f"/webhooks/{part}/{below}", body), 404, "not-found")


def test_no_answer_but_the_two_that_give_it_shows_a_secret(app: Flask, shop: Backend, staff: Program) -> None:
    added = add(shop)
    at = f"/webhooks/{added['id']}/"
    secrets = {added["secret"], shop.result("POST", f"{at}rotate/")["secret"]}
    shown = [person.call(method, f"{at}{below}", body).text for person in (shop, staff) for method, below, body in BELOW[:-1]
             if below != "rotate/"]  # fmt: skip
    shown.append(staff.call("GET", "/webhooks/").text)

    assert not [text for text in shown if any(json.dumps(secret)[1:-1] in text for secret in secrets)]
    with app.app_context():
        stored = [str(row) for row in db.session.execute(select(WebhookEndpoint.__table__))]
    assert not [row for row in stored if any(secret[6:] in row for secret in secrets)]
