"""Several threads and worker processes share the endpoints: one post at a time for each, and none delays the others."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from config import Settings
from hammer.db.database import db
from hammer.models import WebhookDelivery
from hammer.webhooks import deliveries, endpoints, feed
from tests import serving
from tests.databases import Databases
from tests.delivery import wait_until
from tests.outgoing import servers
from tests.webhooks.receivers import Receiver, receiving
from tests.webhooks.steps import deliver, note
from tests.webhooks.workers import wait_for_all
from tests.workers import ask, worker

EVENTS = 40


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    with ExitStack() as running:
        yield [running.enter_context(receiving()) for _ in range(3)]


@contextmanager
def working(app: Flask, times: int = 1) -> Iterator[None]:
    """So many times the threads of a process."""
    workers = [deliveries.threads(app) for _ in range(times)]
    for each in workers:
        each.start()
    try:
        yield
    finally:
        for each in workers:
            each.stop()


def sequences(receiver: Receiver) -> list[int]:
    return [post.json["sequence"] for post in list(receiver.posts)]


IN_ORDER = list(range(1, EVENTS + 1))


def test_threads_post_to_each_endpoint_one_at_a_time_and_in_order(
    app: Flask, settings: Settings, receivers: list[Receiver]
) -> None:
    with app.app_context():
        for receiver in receivers:
            endpoints.add(settings, receiver.url)
        note(EVENTS)
    with working(app, times=2):
        wait_until(lambda: all(len(receiver.posts) == EVENTS for receiver in receivers))
    assert [receiver.most_at_once for receiver in receivers] == [1, 1, 1]
    assert [sequences(receiver) for receiver in receivers] == [IN_ORDER] * 3


def test_endpoints_that_hang_drip_or_are_away_do_not_delay_the_others(
    app: Flask, settings: Settings, receivers: list[Receiver]
) -> None:
    hanging, *good = receivers
    hanging.open.clear()
    with receiving() as away:
        pass
    drip = servers.dripping(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")
    with servers.serving(drip) as dripping:
        with app.app_context():
            for url in (hanging.url, f"http://127.0.0.1:{dripping.port}/", away.url, *(each.url for each in good)):
                endpoints.add(settings, url)
            note(EVENTS)
        with working(app):
            wait_until(lambda: all(len(each.posts) == EVENTS for each in good))
            assert (len(hanging.posts), dripping.connections) == (1, 1)
            dripping.stopped.set()
            hanging.open.set()
            wait_until(lambda: len(hanging.posts) == EVENTS)
    assert [sequences(each) for each in receivers] == [IN_ORDER] * 3
    assert hanging.most_at_once == 1


def test_endpoints_that_hang_however_many_do_not_delay_those_that_answer_at_once(
    app: Flask, settings: Settings, receivers: list[Receiver]
) -> None:
    hanging, _, good = receivers
    with app.app_context():
        endpoints.add(settings, good.url)
        note()
        deliver(settings)  # so that it is known to answer at once
        hanging.open.clear()
        for count in range(6):
            endpoints.add(settings, f"{hanging.url}?{count}")
        note()
        with working(app):
            wait_until(lambda: len(hanging.posts) == deliveries.SLOW_OR_NEW_THREADS)
            note(EVENTS)
            wait_until(lambda: len(good.posts) == EVENTS + 2)
            assert len(hanging.posts) == deliveries.SLOW_OR_NEW_THREADS
            hanging.open.set()
    assert sequences(good) == list(range(1, EVENTS + 3))


def test_an_endpoint_that_answers_slowly_leaves_threads_to_the_others(
    settings: Settings, context: None, receivers: list[Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "SLOW", timedelta(0))
    for receiver in receivers:
        endpoints.add(settings, receiver.url)
    note()
    deliver(settings)
    note()
    feed.publish()
    monkeypatch.setattr(deliveries, "_busy", {("one", 1): True, ("two", 1): True})
    assert deliveries.deliver_next(settings) is False
    monkeypatch.setattr(deliveries, "_busy", {("one", 1): True})
    assert deliveries.deliver_next(settings) is True


def test_an_endpoint_that_hangs_is_left_alone_for_a_while(
    settings: Settings, context: None, receivers: list[Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More such endpoints than one worker has threads, each with events that are older than those of one that answers."""
    monkeypatch.setattr(deliveries, "POST_SECONDS", 0.3)
    *hanging, good = receivers
    for receiver in hanging:
        receiver.open.clear()
        endpoints.add(settings, receiver.url)
        note()
        feed.publish()
    endpoints.add(settings, good.url)
    note()
    for _ in range(3):
        assert deliveries.deliver_next(settings)
    assert [len(receiver.posts) for receiver in receivers] == [1, 1, 1]
    assert deliveries.deliver_next(settings) is False


def test_a_post_that_begins_during_another_one_to_the_same_endpoint_disturbs_no_thread(
    app: Flask, settings: Settings, receivers: list[Receiver]
) -> None:
    receiver = receivers[0]
    receiver.open.clear()
    with app.app_context():
        endpoint_id = endpoints.add(settings, receiver.url).id
        note()
    with working(app):
        wait_until(lambda: len(receiver.posts) == 1)
        with app.app_context():
            endpoints.change(settings, endpoint_id, url=receiver.url)  # which ends the claim
        wait_until(lambda: len(receiver.posts) == 2)
        receiver.open.set()
    assert receiver.most_at_once == 2
    assert deliveries._busy == {}


# Processes


@pytest.fixture
def database_url(databases: Databases) -> str:
    return databases.new()


@pytest.fixture
def beside(settings: Settings, database_url: str, app_with: Callable[[Settings], Flask]) -> Flask:
    """An application on the database of the workers. It posts nothing."""
    return app_with(replace(settings, database_url=database_url))


def prepare(app: Flask, receivers: list[Receiver], events: int) -> None:
    with app.app_context():
        for receiver in receivers:
            endpoints.add(app.config["SETTINGS"], receiver.url)
        note(events)


@pytest.mark.processes
def test_workers_post_to_each_endpoint_one_at_a_time_and_in_order(
    beside: Flask, database_url: str, receivers: list[Receiver], tmp_path: Path
) -> None:
    prepare(beside, receivers, EVENTS)
    with worker(database_url, tmp_path / "one"), worker(database_url, tmp_path / "two"):
        wait_for_all(database_url)
    assert [receiver.most_at_once for receiver in receivers] == [1, 1, 1]
    assert [sequences(receiver) for receiver in receivers] == [IN_ORDER] * 3


@pytest.mark.processes
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_worker_that_is_stopped_finishes_its_posts(
    beside: Flask, database_url: str, receivers: list[Receiver], tmp_path: Path, stop: signal.Signals
) -> None:
    for receiver in receivers:
        receiver.open.clear()
    prepare(beside, receivers, 5)
    with worker(database_url, tmp_path / "log") as process:
        wait_until(lambda: len([receiver for receiver in receivers if receiver.posts]) == deliveries.SLOW_OR_NEW_THREADS)
        process.send_signal(stop)
        for receiver in receivers:
            receiver.open.set()
        assert process.wait(timeout=60) == 0, (tmp_path / "log").read_text()
    posts = sum(len(receiver.posts) for receiver in receivers)
    assert len(ask(database_url, "select id from webhook_deliveries where delivered")) == posts
    with beside.app_context():
        deliver(beside.config["SETTINGS"])
    assert [sequences(receiver) for receiver in receivers] == [[1, 2, 3, 4, 5]] * 3


@pytest.mark.processes
def test_a_server_posts_where_it_sends_texts(beside: Flask, database_url: str, receivers: list[Receiver], tmp_path: Path) -> None:
    prepare(beside, receivers, 3)
    with serving.serve(database_url, tmp_path / "log") as server:
        wait_for_all(database_url)
        os.kill(server.pid, 0)
    assert [sequences(receiver) for receiver in receivers] == [[1, 2, 3]] * 3


@pytest.mark.processes
def test_a_server_without_threads_leaves_posts_to_a_worker(
    beside: Flask, database_url: str, receivers: list[Receiver], tmp_path: Path
) -> None:
    with serving.serve(database_url, tmp_path / "log", HAMMER_SMS_THREADS="0") as server:
        prepare(beside, receivers, 3)
        assert server.request("GET", "/healthz").status == 200
        with beside.app_context():
            assert db.session.query(WebhookDelivery).count() == 0
        with worker(database_url, tmp_path / "worker"):
            wait_for_all(database_url)
    assert [sequences(receiver) for receiver in receivers] == [[1, 2, 3]] * 3
