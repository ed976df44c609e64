"""The apps of the guide about webhooks get what happens in Hammer, and accept nothing that it did not sign."""

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from flask import Flask
from standardwebhooks import Webhook

from config import Settings
from hammer.events import Type
from hammer.webhooks import endpoints
from tests.conftest import SETTINGS
from tests.delivery import wait_until
from tests.integrate.conftest import command, surroundings_of_an_app
from tests.integrate.receivers import Receiver, receiving, url_at
from tests.serving import Server, free_port
from tests.workers import ask as asked

Receive = Callable[[str, str, int], AbstractContextManager[Receiver]]

APPS = ["flask", pytest.param("express", marks=pytest.mark.needs("node"))]
BODY = json.dumps({"type": "ping", "timestamp": "2026-11-30T08:00:00+00:00", "data": {"endpoint_id": "x" * 22}})
SECRET = "whsec_" + "c2VjcmV0" * 4
OTHER = "whsec_" + "b3RoZXIx" * 4


@pytest.fixture
def settings(server: Server) -> Settings:
    return replace(SETTINGS, database_url=server.database_url, public_url=server.url)


@pytest.fixture
def hammer(app_with: Callable[[Settings], Flask], settings: Settings) -> Iterator[None]:
    """A context in which the verbs work on the server's database."""
    with app_with(settings).app_context():
        yield


@pytest.fixture
def receive(examples: Path, libraries: Path) -> Receive:
    """Starts an app of the guide: `with receive("flask", SECRET, PORT) as receiver`."""
    environment = surroundings_of_an_app(libraries)
    return lambda name, secret, port: receiving(name, examples, environment, secret, port)


def register(server: Server, port: int, *types: Type) -> tuple[str, str]:
    """Adds an endpoint for the app that will run on `port`, by the command of the guide: its id and its secret."""
    shown = command(server, "webhooks", "add", url_at(port), *(word for type_ in types for word in ("--type", type_)))
    return shown["id"], shown["secret"]


@pytest.mark.requirement("HOOK-01")
@pytest.mark.parametrize("name", APPS)
def test_an_app_gets_what_happens_and_counts_it_once_though_it_is_posted_twice(
    server: Server, hammer: None, settings: Settings, receive: Receive, numbers: Iterator[str], name: str
) -> None:
    port = free_port()
    endpoint_id, secret = register(server, port, Type.USER_CREATED, Type.INVITE_ACTIVATED)
    with receive(name, secret, port) as receiver:
        referrer, referee = server.sign_in(next(numbers)), server.sign_in(next(numbers))
        token = referee["access_token"]
        assert server.call("POST", "/users/me/invite/", {"invite_code": referrer["invite_code"]}, token=token).status == 200
        inviter, invited = (
            server.call("GET", "/users/me/", token=person["access_token"]).json["id"] for person in (referrer, referee)
        )
        wait_until(lambda: len(receiver.events()) == 3)
        got = receiver.events()
        # One that is still being posted would count as accepted after the replay, and not be posted once more.
        posting = f"select id from webhook_deliveries where delivered is null and endpoint_id = '{endpoint_id}'"
        wait_until(lambda: not asked(server.database_url, posting))

        replayed = endpoints.replay_span(endpoint_id, endpoints.find(endpoint_id).created_at)
        wait_until(lambda: set(receiver.seen_before()) == set(got))

    assert replayed == 3
    assert receiver.events() == got
    assert [(event["type"], event["data"]) for event in got.values()] == [
        ("user.created", {"user_id": inviter}),
        ("user.created", {"user_id": invited}),
        ("invite.activated", {"user_id": invited, "referrer_id": inviter}),
    ]
    assert [event["sequence"] for event in got.values()] == sorted(event["sequence"] for event in got.values())


@pytest.mark.requirement("HOOK-02")
@pytest.mark.parametrize("name", APPS)
def test_an_app_refuses_what_is_forged_changed_or_301_seconds_old(receive: Receive, name: str) -> None:
    def signed(secret: str = SECRET, body: str = BODY, age: int = 0) -> dict[str, str]:
        at = datetime.now(UTC) - timedelta(seconds=age)
        signature = Webhook(secret).sign("msg_1_1", at, body)
        return {"webhook-id": "msg_1_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}

    refused = {
        "signed with another secret": signed(OTHER),
        "another body": signed(body=BODY.replace("xx", "xy")),
        "another id": signed() | {"webhook-id": "msg_2_1"},
        "301 seconds old": signed(age=301),
        "from 310 seconds ahead": signed(age=-310),
        "301 seconds old, said to be new": signed(age=301) | {"webhook-timestamp": signed()["webhook-timestamp"]},
        "of another version": signed() | {"webhook-signature": signed()["webhook-signature"].replace("v1,", "v2,")},
        "a malformed signature": signed() | {"webhook-signature": "v1,?"},
        "no signature at all": {"webhook-id": "msg_1_1"},
    }
    with receive(name, SECRET, free_port()) as receiver:

        def post(headers: dict[str, str]) -> int:
            headers = {"Content-Type": "application/json"} | headers
            return requests.post(receiver.url, BODY, headers=headers, timeout=30).status_code

        answers = {wrong: post(headers) for wrong, headers in refused.items()}
        stored = receiver.events()
        accepted = post(signed(age=240))

    assert answers == dict.fromkeys(refused, 400)
    assert stored == {}
    assert accepted == 204
    assert list(receiver.events()) == ["msg_1_1"]


@pytest.mark.requirement("HOOK-02")
@pytest.mark.parametrize("name", APPS)
def test_an_app_changes_to_a_new_secret_without_losing_an_event(
    server: Server, hammer: None, settings: Settings, receive: Receive, name: str
) -> None:
    port = free_port()
    endpoint_id, old = register(server, port)

    def answers() -> list[int | None]:
        return [attempt.status for attempt, _ in endpoints.attempts(endpoint_id).items]

    def ping() -> str:
        """Returns when the app has answered."""
        before, message = len(answers()), endpoints.ping(endpoint_id)
        wait_until(lambda: len(answers()) > before)
        return message

    with receive(name, old, port):
        pings = [ping()]
        new = endpoints.rotate(settings, endpoint_id)
        pings.append(ping())
    with receive(name, new, port) as receiver:
        pings.append(ping())

    assert old != new
    assert list(receiver.events()) == pings
    assert answers() == [204, 204, 204]


def test_the_feed_has_what_is_posted_and_a_program_reads_on_from_where_it_stopped(
    server: Server,
    hammer: None,
    settings: Settings,
    receive: Receive,
    numbers: Iterator[str],
    examples: Path,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    own = environment | {"EVENTS": str(tmp_path / "events.db")}

    def read_feed() -> list[dict[str, Any]]:
        """What it stores in one run."""
        with closing(sqlite3.connect(own["EVENTS"])) as db, suppress(sqlite3.OperationalError):  # it makes the table
            db.execute("DELETE FROM events")
            db.commit()
        python = shutil.which("python", path=own["PATH"])
        subprocess.run([str(python), "read_feed.py"], cwd=examples, env=own, timeout=60, check=True)
        with closing(sqlite3.connect(own["EVENTS"])) as db:
            return [json.loads(body) for [body] in db.execute("SELECT body FROM events ORDER BY rowid")]

    port = free_port()
    _, secret = register(server, port)
    with receive("flask", secret, port) as receiver:
        read_feed()
        people = [server.sign_in(next(numbers)) for _ in range(3)]
        new = read_feed()
        wait_until(lambda: len(receiver.events()) == len(people))

    assert {event.pop("id"): event for event in new} == receiver.events()
    assert read_feed() == []
