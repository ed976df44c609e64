"""The event feed and its messages: what apps learn, that nothing of it is personal, and that the feed skips nothing."""

import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from flask import Flask
from openapi_schema_validator import OAS31Validator
from sqlalchemy import create_engine, text

from config import Settings
from hammer import events
from hammer.api.documents import document
from hammer.db.database import transaction
from hammer.models import Scope
from hammer.sessions import keys
from hammer.users import oversight, people
from hammer.webhooks import deliveries, feed
from hammer.webhooks.catalogue import CATALOGUE
from tests.api.contract import ANNA, BORIS, STAFF, STRANGER, problem, signed_in
from tests.backends import Backend
from tests.delivery import code_for
from tests.interleaving import Verb, at_every_step, stopped
from tests.people import Program
from tests.serving import Server, gunicorn
from tests.webhooks.receivers import Receiver, receiving

KINDS = [events.Kind.USER_CREATED, events.Kind.USER_RENAMED, events.Kind.SIGNED_IN, events.Kind.USER_BLOCKED]


@pytest.fixture
def reader(app: Flask) -> Backend:
    return Backend(app, Scope.EVENTS_READ, name="Reader")


def happen(app: Flask, *kinds: events.Kind) -> None:
    for kind in kinds:
        with app.app_context(), transaction() as tx:
            events.note(tx, kind, "A" * 22)


def page(person: Program, path: str) -> tuple[list[Any], str]:
    """The events of a page, and the address of the next one; empty without one."""
    answer = person.call("GET", path)
    assert answer.status_code == 200, answer.text
    link = answer.headers.get("Link", "")
    assert not link or link.endswith('>; rel="next"')
    return answer.get_json(), link.removesuffix('>; rel="next"').removeprefix("</api/v1")


# Pages


def test_an_empty_feed_has_no_link(reader: Backend) -> None:
    assert page(reader, "/events/") == ([], "")


def test_the_link_leads_to_what_happens_next_also_from_an_empty_page(app: Flask, reader: Backend) -> None:
    happen(app, *KINDS)

    first, at = page(reader, "/events/?limit=2")
    second, at = page(reader, at)
    nothing, at = page(reader, at)
    still_nothing, at = page(reader, at)
    happen(app, events.Kind.USER_DELETED)
    later, _ = page(reader, at)

    assert [event["type"] for event in first + second] == ["user.created", "user.renamed", "user.blocked"]
    assert nothing == still_nothing == []
    assert [event["type"] for event in later] == ["user.deleted"]
    assert [event["sequence"] for event in first + second + later] == [1, 2, 3, 4]
    assert all(event.keys() == {"id", "type", "timestamp", "sequence", "data"} for event in first)
    assert page(reader, "/events/")[0] == first + second + later


def test_the_link_keeps_the_types_and_the_limit_of_the_query(app: Flask, reader: Backend) -> None:
    happen(app, *KINDS * 2)
    read, at = [], "/events/?type=user.blocked&limit=1&type=user.created&type=user.blocked"
    for _ in range(5):
        found, at = page(reader, at)
        assert len(found) <= 1
        assert (at.count("type=user.blocked"), at.count("type=user.created"), at.count("limit=1")) == (1, 1, 1)
        read += found
    assert [event["type"] for event in read] == ["user.created", "user.blocked"] * 2
    assert [event["sequence"] for event in read] == [1, 3, 4, 6]
    happen(app, events.Kind.USER_RENAMED)
    assert page(reader, at)[0] == []
    happen(app, events.Kind.USER_BLOCKED)
    assert [event["sequence"] for event in page(reader, at)[0]] == [8]


@pytest.mark.parametrize(
    "types", ["type=nope", "type=ping", "type=", "type=user.created&type=%00", "type=USER.CREATED", "type=user.created,ping"]
)
def test_an_unknown_type_is_refused(reader: Backend, types: str) -> None:
    assert set(problem(reader.call("GET", f"/events/?{types}"), 422, "invalid-fields")["errors"]) == {"type"}


@pytest.mark.parametrize(
    "after", ["", "x", "0", "1", "1.", "1.1", "0.0", "-1.1", "9" * 18 + "." + "9" * 17, "9" * 400, "%00", "%ff", "٣.٣", "1.1.1"]
)
def test_a_place_that_the_feed_does_not_have_is_refused(app: Flask, reader: Backend, after: str) -> None:
    happen(app, *KINDS)
    assert set(problem(reader.call("GET", f"/events/?after={after}"), 422, "invalid-fields")["errors"]) == {"after"}


def test_clients_with_the_scope_and_staff_read_the_feed(app: Flask, staff: Program, reader: Backend, anna: Program) -> None:
    assert page(staff, "/events/") == page(reader, "/events/")
    assert page(staff, "/events/")[0]
    problem(anna.call("GET", "/events/"), 403, "not-allowed")
    other = Backend(app, *(scope for scope in Scope if scope != Scope.EVENTS_READ))
    assert problem(other.call("GET", "/events/"), 403, "not-allowed")["scope"] == "events:read"


# Messages

MADE = "+79290000077"
"""The number of a user whom staff create."""
CANARIES = {
    "first_name": "Канарейка",
    "last_name": "Canary O'Bird",
    "username": "canary_name",
    "metadata": {"plan": "canary plan"},
}


def spellings(secret: str) -> set[str]:
    """A string as a message could contain it, in lower case. A number is looked for without its plus."""
    secret = secret.lstrip("+")
    forms = secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]
    return {form.lower() for form in forms}


def live(app: Flask, anna: Program, boris: Program, staff: Program, manager: Backend, posted_to: str) -> tuple[set[str], set[str]]:
    """Makes every type of event happen to Anna: her secrets, and the ids of all who take part."""
    settings: Settings = app.config["SETTINGS"]
    before, friend = anna.result("GET", "/users/me/"), boris.result("GET", "/users/me/")
    url = "http://127.0.0.1:9/canary-path?token=canary-token"
    all_types = manager.result("POST", "/webhooks/", {"url": posted_to})["id"]
    dead = manager.result("POST", "/webhooks/", {"url": url, "types": ["key.rotated"]})["id"]

    made = staff.result("POST", "/users/", {"telephone_number": MADE, "first_name": CANARIES["first_name"]})
    anna.result("PATCH", "/users/me/", {name: value for name, value in CANARIES.items() if name != "metadata"})
    staff.result("PATCH", f"/users/{before['id']}/", {"metadata": CANARIES["metadata"]})
    assert anna.activate(friend["invite_code"]) is None
    with app.app_context():
        oversight.detach(before["id"], "Canary asked", may_activate=False, actor_id=people.find(settings, STAFF))
    asked = anna.result("POST", "/users/me/telephone_number/", {"telephone_number": STRANGER})
    with app.app_context():
        body = {"verification_id": asked["verification_id"], "code": code_for(settings, STRANGER)}
    anna.result("POST", "/users/me/telephone_number/code/", body)
    anna.sign_out()
    staff.result("POST", f"/users/{before['id']}/block/")
    staff.result("POST", f"/users/{before['id']}/unblock/")
    with app.app_context():
        keys.rotate(settings)
    manager.result("POST", f"/webhooks/{dead}/disable/")
    manager.result("POST", f"/webhooks/{all_types}/test/")
    assert staff.call("DELETE", f"/users/{before['id']}/").status_code == 204

    names = {CANARIES[name] for name in ("first_name", "last_name", "username")} | {"canary", "O'Bird"}
    ids = {before["id"], friend["id"], made["id"], staff.result("GET", "/users/me/")["id"], all_types, dead}
    return {*map(str, names), ANNA, BORIS, STRANGER, MADE, before["invite_code"], friend["invite_code"], made["invite_code"]}, ids


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


@pytest.mark.requirement("HOOK-05")
def test_every_message_has_the_ids_of_the_catalogue_and_nothing_personal(
    app: Flask, settings: Settings, reader: Backend, staff: Program, receiver: Receiver
) -> None:
    manager = Backend(app, Scope.WEBHOOKS_MANAGE)
    anna, boris = signed_in(app, ANNA), signed_in(app, BORIS)
    _, before = page(reader, "/events/")
    secrets, ids = live(app, anna, boris, staff, manager, receiver.url)
    with app.app_context():
        while deliveries.deliver_next(settings):
            pass
    stated = document(app)
    components = {"components": stated["components"]}

    in_feed, since_then = page(reader, "/events/")[0], page(reader, before)[0]

    assert {event["type"] for event in in_feed} | {"ping"} == set(CATALOGUE)
    for event in in_feed:
        OAS31Validator(stated["components"]["schemas"]["EventOut"] | components).validate(event)
    posted = {post.id: post.json for post in receiver.posts}
    assert {body["type"] for body in posted.values()} == set(CATALOGUE)
    assert posted.items() >= {event.pop("id"): event for event in since_then}.items()
    assert len(posted) == len(since_then) + 1
    for body in posted.values():
        media = stated["webhooks"][body["type"]]["post"]["requestBody"]["content"]["application/json"]
        OAS31Validator(media["schema"] | components).validate(body)
        assert body.keys() - {"sequence"} == {"type", "timestamp", "data"}
        assert ("sequence" in body) == (body["type"] != "ping")
        assert body["data"].keys() == set(CATALOGUE[body["type"]].fields)
        assert set(body["data"].values()) <= ids
    written = [*(json.dumps(event, ensure_ascii=False) for event in in_feed), *(post.body.decode() for post in receiver.posts)]
    written += [str(post.headers) for post in receiver.posts]
    found = {secret for secret in secrets for each in spellings(secret) for message in written if each in message.lower()}
    assert found == set()


def test_the_document_describes_every_type_with_an_example_and_its_headers(app: Flask) -> None:
    stated = document(app)
    assert list(stated["webhooks"]) == list(CATALOGUE)
    for type_, methods in stated["webhooks"].items():
        operation = methods["post"]
        media = operation["requestBody"]["content"]["application/json"]
        OAS31Validator(media["schema"] | {"components": stated["components"]}).validate(media["example"])
        assert media["example"]["type"] == type_
        assert media["example"]["data"].keys() == set(CATALOGUE[events.Type(type_)].fields)
        named = [stated["components"]["parameters"][each["$ref"].rpartition("/")[2]] for each in operation["parameters"]]
        assert [(header["in"], header["name"], header["required"]) for header in named] == [
            ("header", name, True) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        ]
        assert operation["responses"].keys() == {"2XX", "410", "default"}
        assert operation["security"] == [], "A post brings no token of ours."
    bodies = {operation["post"]["operationId"] for operation in stated["webhooks"].values()}
    assert len(bodies) == len(CATALOGUE)


# No gaps


def add_event(user_id: str) -> None:
    with transaction() as tx:
        events.note(tx, events.Kind.USER_RENAMED, user_id)


def user_ids(messages: list[Any]) -> list[str]:
    return [message.data["user_id"] for message in messages]


def test_an_event_that_commits_after_one_with_a_higher_id_was_read_is_not_skipped(app: Flask, settings: Settings) -> None:
    def commit_and_read() -> Any:
        add_event("second")
        return feed.read()

    played = stopped(app, partial(add_event, "first"), commit_and_read, "COMMIT")

    assert played is not None
    read = played[1].value
    with app.app_context():
        later = feed.read(read.after).items  # type: ignore[attr-defined]
        everything = feed.read().items
    assert [*read.items, *later] == everything  # type: ignore[attr-defined]
    assert sorted(user_ids(everything)) == ["first", "second"]
    assert [message.sequence for message in everything] == [1, 2]
    if not settings.database_url.startswith("sqlite"):  # where the second waits for the first
        assert user_ids(everything) == ["second", "first"]
        assert everything[0].id > everything[1].id


def read_all() -> list[Any]:
    """Follows the feed from its beginning to its end."""
    read, after = [], None
    while (found := feed.read(after, limit=100)).items:
        read += found.items
        after = found.after
    return read


@pytest.mark.parametrize("second", ["write", "write and read", "read"])
def test_the_feed_stays_whole_when_two_read_it_or_one_writes_at_any_moment(app: Flask, second: str) -> None:
    names = map(str, count())
    written: list[str] = []

    def write() -> None:
        written.append(next(names))
        add_event(written[-1])

    def write_and_read() -> list[Any]:
        write()
        return read_all()

    def scene() -> tuple[Verb, Verb]:
        write()
        return read_all, {"write": write, "write and read": write_and_read, "read": read_all}[second]

    for one, other, step in at_every_step(app, scene):
        assert (one.raised, other.raised) == (None, None), step
        with app.app_context():
            whole = read_all()
        assert [message.sequence for message in whole] == list(range(1, len(written) + 1)), step
        assert sorted(user_ids(whole), key=int) == written, step
        for part in (one.value, other.value):
            assert part is None or part == whole[: len(part)], step  # type: ignore[arg-type]


WRITERS, CHANGES = 8, 12


def test_a_reader_of_a_busy_server_gets_every_event_once_and_in_order(serve: Callable[..., Server]) -> None:
    """Writers and readers run in two processes of a server, whose own threads publish too."""
    server = serve(gunicorn, HAMMER_REQUESTS_PER_ADDRESS_MINUTE="0")
    people = [server.sign_in(f"+7931555{n:04d}") for n in range(WRITERS)]
    staff = server.sign_in("+79315559999")["access_token"]
    ask(server, "update users set is_staff = true where telephone_number = '+79315559999'")
    writing = threading.Event()
    writing.set()
    read: list[list[int]] = [[], [], []]

    def write(token: str) -> None:
        for n in range(CHANGES):
            assert server.call("PATCH", "/users/me/", {"first_name": f"N{n}"}, token=token).status == 200

    def follow(seen: list[int]) -> None:
        at = "/events/?limit=7"
        while True:
            last_round = not writing.is_set()
            answer = server.call("GET", at, token=staff)
            assert answer.status == 200, answer.body
            seen += [event["sequence"] for event in answer.json]
            at = answer.headers["Link"].removesuffix('>; rel="next"').removeprefix("</api/v1")
            if last_round and not answer.json:
                return

    readers = [threading.Thread(target=follow, args=(seen,)) for seen in read]
    writers = [threading.Thread(target=write, args=(person["access_token"],)) for person in people]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(timeout=120)
    writing.clear()
    for thread in readers:
        thread.join(timeout=120)

    [(happened,)] = ask(server, "select count(*) from events where sequence is not null")
    assert happened >= WRITERS * (CHANGES + 1)
    assert read == [list(range(1, happened + 1))] * len(read)


def ask(server: Server, query: str) -> list[Any]:
    engine = create_engine(server.database_url)
    with engine.begin() as connection:
        result = connection.execute(text(query))
        rows = list(result.all()) if result.returns_rows else []
    engine.dispose()
    return rows
