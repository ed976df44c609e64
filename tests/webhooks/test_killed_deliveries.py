"""Servers and workers are killed at random moments while people activate invite codes: no event is lost on its way to an app.

`TEST_ACTIVATIONS=2000` makes more activations than a usual run. `pytest -s` shows the figures.
"""

import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import insert, select

from config import Settings
from hammer import clock, codes
from hammer.clients import registry
from hammer.db.database import db, transaction
from hammer.models import Referral, Scope, Session, SessionKind, User
from hammer.web import tokens
from hammer.webhooks import endpoints, signing
from tests import serving
from tests.actions import number
from tests.databases import Databases
from tests.webhooks.receivers import Post, Receiver
from tests.webhooks.workers import wait_for_all
from tests.workers import ask, worker

pytestmark = pytest.mark.processes

ACTIVATIONS = int(os.environ.get("TEST_ACTIVATIONS", "600"))
CALLERS = 4
ALPHABET = "23456789BCDFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True)
class Person:
    id: str
    token: str
    activates: str
    """The invite code of another person."""


def invite_code(n: int) -> str:
    return "".join(ALPHABET[n // 28**place % 28] for place in range(6))


def people(count: int) -> list[Person]:
    """So many users, each signed in, who will activate the code of an earlier one. One more only invites."""
    now = clock.now()
    users = [
        User(id=codes.random_id(), telephone_number=number(n), invite_code=invite_code(n), date_joined=now)
        for n in range(count + 1)
    ]
    opened = [Session.opening(user, kind=SessionKind.PROGRAM, device="", now=now) for user in users]
    with transaction() as tx:
        columns = ("id", "telephone_number", "invite_code", "date_joined")
        tx.execute(insert(User), [{name: getattr(user, name) for name in columns} for user in users])
        tx.execute(insert(Session), opened)
    shown = [tokens.pair(Session(**session))["access_token"] for session in opened]
    return [Person(users[n].id, shown[n], users[n // 2].invite_code) for n in range(1, count + 1)]


@dataclass
class Deployment:
    """A server on one port, and a worker, each started again after it was killed."""

    database_url: str
    directory: Path
    settings: Settings
    port: int = field(default_factory=serving.free_port)
    kills: dict[str, int] = field(default_factory=lambda: {"server": 0, "worker": 0})

    @contextmanager
    def server(self) -> Iterator[serving.Server]:
        more = {"HAMMER_SMS_THREADS": "0", "HAMMER_PUBLIC_URL": self.settings.public_url}
        environment = serving.surroundings() | serving.development(self.database_url, self.port) | more
        command = serving.flask_run(self.port)
        with serving.running(command, environment, self.directory / "server", self.port, self.database_url) as server:
            yield server

    def run(self, over: threading.Event) -> None:
        """Lets both run, and kills each after random times, until it is over."""
        with ThreadPoolExecutor(2) as pool:
            for ended in [pool.submit(self._serve, over), pool.submit(self._work, over)]:
                ended.result()

    def _serve(self, over: threading.Event) -> None:
        while not over.is_set():
            with self.server() as server:
                over.wait(random.uniform(0.2, 1.5))  # noqa: S311
                server.kill()
                self.kills["server"] += 1

    def _work(self, over: threading.Event) -> None:
        while not over.is_set():
            with worker(self.database_url, self.directory / "worker") as process:
                over.wait(random.uniform(0.8, 2.5))  # noqa: S311
                process.kill()
                process.wait(timeout=10)
                self.kills["worker"] += 1
            # As if the lease had ended: no other worker holds one.
            ask(self.database_url, "update webhook_endpoints set next_at = created_at")


def call(port: int, method: str, path: str, body: object, token: str) -> serving.Answer:
    """One call, again and again until there is an answer."""
    server = serving.Server(port, "", Path())
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            answer = server.call(method, path, body, token=token)
        except (OSError, HTTPException):
            time.sleep(0.05)  # the server was killed
        else:
            assert answer.status == 200, answer.body
            return answer
    raise AssertionError("There was no answer for a minute.")


@dataclass
class Reader:
    """An app that reads the event feed by pages, and goes on from where it was."""

    port: int
    token: str
    page: str = "/events/?limit=37&type=invite.activated"
    read: list[dict[str, Any]] = field(default_factory=list)

    def read_on(self) -> bool:
        """Reads one page. Returns False if it was empty."""
        answer = call(self.port, "GET", self.page, None, self.token)
        self.read += answer.json
        if found := re.search(r'<[^>]*?/api/v1(/events/[^>]+)>; rel="next"', answer.headers.get("Link", "")):
            self.page = found[1]
        return bool(answer.json)

    def follow(self, over: threading.Event) -> None:
        while not over.is_set():
            if not self.read_on():
                over.wait(0.1)


@pytest.mark.requirement("HOOK-03", "INV-05")
def test_no_activation_is_lost_when_servers_and_workers_are_killed(
    settings: Settings, databases: Databases, app_with: Callable[[Settings], Flask], receiver: Receiver, tmp_path: Path
) -> None:
    settings = replace(settings, database_url=databases.new())
    app = app_with(settings)
    with app.test_request_context():
        endpoint_id = endpoints.add(settings, receiver.url, ["invite.activated"]).id
        everybody = people(ACTIVATIONS)
        token = tokens.of_client(registry.add("Shop", [Scope.EVENTS_READ]), [Scope.EVENTS_READ])
    verified: list[Post] = []

    def verify(post: Post) -> None:
        post.verify(signing.secret(settings, endpoint_id, 0))
        verified.append(post)

    receiver.on_post = verify
    deployment, answered, over = Deployment(settings.database_url, tmp_path, settings), threading.Event(), threading.Event()
    follower, late = (Reader(deployment.port, token) for _ in range(2))
    with ThreadPoolExecutor(CALLERS) as callers, ThreadPoolExecutor(2) as others:
        running, following = others.submit(deployment.run, over), others.submit(follower.follow, answered)
        try:
            sent = [(person.token, {"invite_code": person.activates}) for person in everybody]
            for one in [callers.submit(call, deployment.port, "POST", "/users/me/invite/", body, own) for own, body in sent]:
                one.result()
            answered.set()
            following.result()
        finally:
            answered.set()
            over.set()
        running.result()
    assert min(deployment.kills.values()) > 1, "They were killed too late for this to say anything."
    with worker(settings.database_url, tmp_path / "last"):
        wait_for_all(settings.database_url)
    with deployment.server():
        for reader in (follower, late):
            while reader.read_on():
                pass

    with app.app_context():
        activated = sorted((row.referee_id, row.referrer_id) for row in db.session.scalars(select(Referral)))
    came = {post.id: post.json for post in verified}
    twice = len(receiver.posts) - len(came)
    print(  # noqa: T201  # `pytest -s` shows the figures
        f"{settings.database_url.partition(':')[0]}: {ACTIVATIONS} activations, kills: {deployment.kills}, "
        f"lost: {len(activated) - len(came)}, came twice: {twice}."
    )
    assert len(activated) == ACTIVATIONS
    assert who(came.values()) == who(late.read) == activated
    assert follower.read == late.read
    assert [event["id"] for event in late.read] == sorted(came, key=lambda shown: came[shown]["sequence"])
    assert twice <= deployment.kills["worker"]


def who(bodies: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Who (first) activated whose code (second), in the order of ids."""
    return sorted((body["data"]["user_id"], body["data"]["referrer_id"]) for body in bodies)
