"""Workers are killed at any moment while they notify apps: real processes, and apps that count."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

from config import Settings
from hammer.grants import logout_notices
from tests import serving
from tests.databases import Databases
from tests.delivery import wait_until
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.grants.test_logout_notices import app_at, jtis, sign_out_of
from tests.workers import ask, worker

pytestmark = pytest.mark.processes

KILLS = logout_notices.POLICY.most_tries - 1
"""One kill more, and the oldest notice could be given up: it may have been claimed before each of them."""
PEOPLE = 4


@pytest.fixture
def receivers() -> Iterator[list[FakeGateway]]:
    with ExitStack() as running:
        yield [running.enter_context(fake_gateway()) for _ in range(3)]


@pytest.fixture
def database_url(databases: Databases) -> str:
    return databases.new()


@pytest.fixture
def app(settings: Settings, database_url: str, app_with: Callable[[Settings], Flask]) -> Flask:
    """On the database of the workers. It posts nothing."""
    return app_with(replace(settings, database_url=database_url))


def wait_for_all(database_url: str) -> None:
    wait_until(lambda: not ask(database_url, "select id from logout_notices where delivered is null"))


def came(receivers: list[FakeGateway]) -> Counter[str]:
    return sum((Counter(jtis(receiver)) for receiver in receivers), Counter[str]())


def test_killing_a_worker_at_any_moment_loses_no_notice(
    app: Flask, settings: Settings, database_url: str, receivers: list[FakeGateway], tmp_path: Path
) -> None:
    with app.app_context():
        clients = [app_at(receiver, f"App {n}") for n, receiver in enumerate(receivers)]
    interrupted = 0
    for kill in range(KILLS):
        with app.app_context():
            for client in clients:
                sign_out_of(app.config["SETTINGS"], client, people=PEOPLE)
        for receiver in receivers:
            receiver.arrived.clear()
        with worker(database_url, tmp_path / "log") as process:
            assert receivers[0].arrived.wait(60), (tmp_path / "log").read_text()
            time.sleep(kill * 0.005)  # each time at another moment of the delivery
            process.kill()
            process.wait(timeout=10)
        interrupted += bool(ask(database_url, "select id from logout_notices where ended_at is null"))
        ask(database_url, "update logout_notices set due_at = created_at where ended_at is null")  # as if the leases had ended
    assert interrupted, "They were killed too late for this to say anything."
    with worker(database_url, tmp_path / "log"):
        wait_for_all(database_url)
    times = came(receivers)
    assert set(times) == set(ask(database_url, "select id from logout_notices where delivered"))
    assert len(times) == KILLS * PEOPLE * len(receivers)
    again = times.total() - len(times)
    print(f"{KILLS} kills, {interrupted} of them early, {len(times)} notices, {again} came twice.")  # noqa: T201  # `pytest -s`
    assert again <= KILLS * logout_notices.THREADS


def test_two_workers_share_the_notices_and_post_each_once(
    app: Flask, settings: Settings, database_url: str, receivers: list[FakeGateway], tmp_path: Path
) -> None:
    with app.app_context():
        for n, receiver in enumerate(receivers):
            sign_out_of(app.config["SETTINGS"], app_at(receiver, f"App {n}"), people=10)
    with worker(database_url, tmp_path / "one"), worker(database_url, tmp_path / "two"):
        wait_for_all(database_url)
    assert came(receivers) == dict.fromkeys(ask(database_url, "select id from logout_notices"), 1)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_worker_that_is_stopped_finishes_the_notices_that_it_posts(
    app: Flask, database_url: str, receivers: list[FakeGateway], tmp_path: Path, stop: signal.Signals
) -> None:
    with app.app_context():
        for n, receiver in enumerate(receivers):
            receiver.open.clear()
            sign_out_of(app.config["SETTINGS"], app_at(receiver, f"App {n}"))
    with worker(database_url, tmp_path / "log") as process:
        wait_until(lambda: sum(len(receiver.asked) for receiver in receivers) == logout_notices.THREADS)
        process.send_signal(stop)
        for receiver in receivers:
            receiver.open.set()
        assert process.wait(timeout=30) == 0, (tmp_path / "log").read_text()
    delivered = ask(database_url, "select id from logout_notices where delivered")
    assert len(delivered) >= logout_notices.THREADS
    assert came(receivers) == dict.fromkeys(delivered, 1)
    assert set(ask(database_url, "select tries from logout_notices where delivered is null")) <= {0}


@pytest.mark.parametrize("command", [serving.flask_run, serving.gunicorn], ids=["flask run", "gunicorn"])
def test_a_server_posts_notices_itself_where_it_sends_texts(
    app: Flask, database_url: str, receivers: list[FakeGateway], tmp_path: Path, command: Callable[[int], list[str]]
) -> None:
    with app.app_context():
        sign_out_of(app.config["SETTINGS"], app_at(receivers[0]), people=2)
    with serving.serve(database_url, tmp_path / "log", command) as server:
        wait_for_all(database_url)
        os.kill(server.pid, 0)
    assert set(came(receivers).values()) == {1}


def test_a_server_without_threads_leaves_notices_to_a_worker(
    app: Flask, database_url: str, receivers: list[FakeGateway], tmp_path: Path
) -> None:
    with serving.serve(database_url, tmp_path / "log", HAMMER_SMS_THREADS="0") as server:
        with app.app_context():
            sign_out_of(app.config["SETTINGS"], app_at(receivers[0]))
        assert server.request("GET", "/healthz").status == 200
        [notice] = ask(database_url, "select id from logout_notices where tries = 0")
        with worker(database_url, tmp_path / "worker"):
            wait_for_all(database_url)
    assert came(receivers) == {notice: 1}
