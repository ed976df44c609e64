"""The apps of the guide count each activation exactly once, though servers and workers of Hammer are killed all the time.

`TEST_ACTIVATIONS=2000` makes more activations than a usual run. `pytest -s` shows the figures.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from config import Settings
from hammer.db.database import db
from hammer.events import Kind, Type
from hammer.models import Referral
from hammer.webhooks import endpoints, feed, signing
from tests.conftest import SETTINGS
from tests.databases import Databases
from tests.integrate.conftest import surroundings_of_an_app
from tests.integrate.receivers import COMMANDS, receiving, url_at
from tests.serving import free_port
from tests.webhooks.test_killed_deliveries import ACTIVATIONS, CALLERS, Deployment, call, people
from tests.webhooks.workers import wait_for_all
from tests.workers import worker


@pytest.mark.needs("node")
@pytest.mark.requirement("HOOK-02", "INV-05")
def test_both_apps_count_each_activation_once_while_servers_and_workers_are_killed(
    databases: Databases, app_with: Callable[[Settings], Flask], examples: Path, libraries: Path, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, database_url=databases.new())
    app, ports, secrets = app_with(settings), {name: free_port() for name in COMMANDS}, {}
    with app.test_request_context():
        for name, port in ports.items():
            endpoint = endpoints.add(settings, url_at(port), [Type.INVITE_ACTIVATED])
            secrets[name] = signing.secret(settings, endpoint.id, endpoint.generation)
        everybody = people(ACTIVATIONS)
    deployment, over = Deployment(settings.database_url, tmp_path, settings), threading.Event()
    with ExitStack() as running:
        environment = surroundings_of_an_app(libraries)
        receivers = {
            name: running.enter_context(receiving(name, examples, environment, secrets[name], port)) for name, port in ports.items()
        }
        with ThreadPoolExecutor(CALLERS + 1) as pool:
            killing = pool.submit(deployment.run, over)
            try:
                sent = [(person.token, {"invite_code": person.activates}) for person in everybody]
                for one in [pool.submit(call, deployment.port, "POST", "/users/me/invite/", body, token) for token, body in sent]:
                    one.result()
            finally:
                over.set()
            killing.result()
        with worker(settings.database_url, tmp_path / "last"):
            wait_for_all(settings.database_url, seconds=240)

    assert min(deployment.kills.values()) > 1, "They were killed too late for this to say anything."
    with app.app_context():
        activated = sorted((row.referee_id, row.referrer_id) for row in db.session.scalars(select(Referral)))
        page = feed.read(kinds=[Kind.INVITE_ACTIVATED], limit=ACTIVATIONS + 1)
    listed = {message.id: message.data for message in page.items}
    assert len(activated) == ACTIVATIONS
    assert sorted((data["user_id"], data["referrer_id"]) for data in listed.values()) == activated
    for name, receiver in receivers.items():
        got, again = {id_: event["data"] for id_, event in receiver.events().items()}, receiver.seen_before()
        print(f"{name}: {ACTIVATIONS} activations, {len(got)} counted, {len(again)} came twice, {deployment.kills} kills.")  # noqa: T201  # `pytest -s` shows the figures
        assert got == listed
        assert set(again) <= set(listed)
        assert len(again) <= deployment.kills["worker"]
