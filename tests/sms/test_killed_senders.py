"""Servers and workers are killed at any moment while they send texts: real processes, and a gateway that counts."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from hammer.db.database import BUSY_SECONDS
from hammer.sms import outbox
from tests import serving
from tests.actions import number
from tests.databases import Databases
from tests.delivery import states, wait_until
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.serving import Server

pytestmark = pytest.mark.processes

KILLS = outbox.POLICY.most_tries - 1  # each may interrupt the same text
TEXTS_A_KILL = 10
THREADS = 4


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


def environment(database_url: str, gateway: FakeGateway) -> dict[str, str]:
    return serving.surroundings() | {
        "DATABASE_URL": database_url,
        "SECRET_KEY": "only for the tests, 32 bytes and more of it",
        "HAMMER_SMS_URL": gateway.template,
        "HAMMER_SMS_DELAY_SECONDS": "0",
    }


@contextmanager
def worker(database_url: str, gateway: FakeGateway, log: Path, **more: str) -> Iterator[serving.Process]:
    command = ["flask", "--app", "wsgi", "worker", "--threads", str(THREADS)]
    process = serving.begin(command, environment(database_url, gateway) | more, log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def one_worker(port: int) -> list[str]:
    return [*serving.gunicorn(port), "--workers", "1", "--log-level", "info"]


def forget_claims(database_url: str) -> None:
    """Ends all leases, as if their time had passed. No living process holds one."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("update texts set due_at = created_at where ended_at is null"))
    engine.dispose()


def untried(database_url: str) -> int:
    """How many texts were never claimed."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = connection.scalar(text("select count(*) from texts where tries = 0 and ended_at is null"))
    engine.dispose()
    return int(found or 0)


def all_arrived(database_url: str) -> Callable[[], bool]:
    return lambda: set(states(database_url)) == {"sent"}


def report(gateway: FakeGateway, wanted: set[str], what: str) -> None:
    """Every text arrived. No more came twice than were being sent when a process was killed."""
    came = gateway.texts_to()
    assert set(came) == wanted, f"Lost: {wanted - set(came)}"
    again = sum(came.values()) - len(came)
    print(f"{what}: {KILLS} kills, {len(came)} texts, {again} came twice.")  # noqa: T201  # `pytest -s` shows the figure of docs/texts.md
    assert again <= KILLS * THREADS


def test_killing_a_worker_at_any_moment_loses_no_text(serve: Callable[..., Server], gateway: FakeGateway, tmp_path: Path) -> None:
    server = serve(HAMMER_SMS_THREADS="0")
    numbers = iter(range(10_000))
    wanted: set[str] = set()
    for kill in range(KILLS):
        asked = [number(next(numbers)) for _ in range(TEXTS_A_KILL)]
        for one in asked:
            server.ask(one)
        wanted |= set(asked)
        gateway.arrived.clear()
        with worker(server.database_url, gateway, tmp_path / "log") as process:
            assert gateway.arrived.wait(60), (tmp_path / "log").read_text()
            time.sleep(kill * 0.004)  # each time at another moment of the sending
            process.kill()
        forget_claims(server.database_url)
    assert states(server.database_url)["waiting"] > 0, "They were killed too late for this to say anything."
    with worker(server.database_url, gateway, tmp_path / "log"):
        wait_until(all_arrived(server.database_url), seconds=240)
    report(gateway, wanted, f"A worker on {server.database_url.partition(':')[0]}")


def test_killing_a_server_at_any_moment_loses_no_text_that_was_promised(
    databases: Databases, gateway: FakeGateway, tmp_path: Path
) -> None:
    """Everyone whose request was answered gets a text, even if the server dies right after the answer."""
    database_url = databases.new()
    numbers = iter(range(10_000))
    wanted: set[str] = set()
    with ExitStack() as running:
        for kill in range(KILLS):
            server = running.enter_context(serving.serve(database_url, tmp_path / f"log{kill}", HAMMER_SMS_URL=gateway.template))
            for _ in range(TEXTS_A_KILL):
                one = number(next(numbers))
                server.ask(one)
                wanted.add(one)
            time.sleep(kill * 0.002)
            server.kill()
            forget_claims(database_url)
        running.enter_context(serving.serve(database_url, tmp_path / "log", HAMMER_SMS_URL=gateway.template)).request("GET", "/")
        wait_until(all_arrived(database_url))
    report(gateway, wanted, f"A server on {database_url.partition(':')[0]}")


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_worker_that_is_stopped_finishes_the_texts_that_it_sends(
    serve: Callable[..., Server], gateway: FakeGateway, tmp_path: Path, stop: signal.Signals
) -> None:
    server = serve(HAMMER_SMS_THREADS="0")
    for n in range(THREADS + 2):
        server.ask(number(n))
    gateway.open.clear()
    production = {"HAMMER_ENV": "production", "HAMMER_PUBLIC_URL": "https://login.example.com"}
    with worker(server.database_url, gateway, tmp_path / "log", **production) as process:
        wait_until(lambda: len(gateway.asked) == THREADS)
        process.send_signal(stop)
        gateway.open.set()
        assert process.wait(timeout=30) == 0, (tmp_path / "log").read_text()
    sent = states(server.database_url)["sent"]
    assert sent >= THREADS
    assert untried(server.database_url) == THREADS + 2 - sent
    lines = map(json.loads, (tmp_path / "log").read_text().splitlines())
    begun, stopped = (line for line in lines if line["logger"] == "hammer.cli.texts")
    assert begun["message"] == f"Sending texts in {THREADS} threads, logout notices in 2, and webhooks in 4."
    assert stopped["message"] == "Stopped. All texts, logout notices and webhooks that were being sent are finished."
    assert set(gateway.texts_to().values()) == {1}


@contextmanager
def writes_blocked(database_url: str) -> Iterator[None]:
    engine = create_engine(database_url)
    with engine.connect() as connection:
        held = "begin immediate" if engine.dialect.name == "sqlite" else "lock table texts in share row exclusive mode"
        connection.exec_driver_sql(held)
        yield
        connection.rollback()
    engine.dispose()


def test_what_was_sent_while_the_database_took_no_writes_is_recorded_later(
    serve: Callable[..., Server], gateway: FakeGateway, tmp_path: Path
) -> None:
    server = serve(HAMMER_SMS_THREADS="0")
    gateway.open.clear()
    server.ask(number(1))
    log = tmp_path / "log"
    with worker(server.database_url, gateway, log):
        assert gateway.arrived.wait(60), log.read_text()
        with writes_blocked(server.database_url):
            gateway.open.set()
            time.sleep(1.5 * BUSY_SECONDS)  # longer than a sender waits for a lock
        wait_until(all_arrived(server.database_url), seconds=240)
    assert gateway.texts_to() == {number(1): 1}


def test_texts_that_waited_are_sent_by_a_new_server_without_a_request(
    serve: Callable[..., Server], gateway: FakeGateway, tmp_path: Path
) -> None:
    server = serve(HAMMER_SMS_THREADS="0")
    server.ask(number(1))
    process = serving.begin(one_worker(serving.free_port()), environment(server.database_url, gateway), tmp_path / "log")
    try:
        wait_until(all_arrived(server.database_url), seconds=240)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert gateway.texts_to() == {number(1): 1}


def test_two_workers_share_the_texts_and_duplicate_none(serve: Callable[..., Server], gateway: FakeGateway, tmp_path: Path) -> None:
    server = serve(HAMMER_SMS_THREADS="0")
    for n in range(60):
        server.ask(number(n))
    with worker(server.database_url, gateway, tmp_path / "one"), worker(server.database_url, gateway, tmp_path / "two"):
        wait_until(all_arrived(server.database_url), seconds=240)
    assert gateway.texts_to() == {number(n): 1 for n in range(60)}


def test_a_server_without_threads_sends_no_text(serve: Callable[..., Server], gateway: FakeGateway, tmp_path: Path) -> None:
    server = serve(HAMMER_SMS_THREADS="0", HAMMER_SMS_URL=gateway.template)
    server.ask(number(1))
    with worker(server.database_url, gateway, tmp_path / "log"):
        wait_until(all_arrived(server.database_url), seconds=240)
    server.ask(number(2))
    assert states(server.database_url) == {"sent": 1, "waiting": 1}
    assert gateway.texts_to() == {number(1): 1}


def test_a_server_that_is_stopped_finishes_the_texts_that_it_sends(
    databases: Databases, gateway: FakeGateway, tmp_path: Path
) -> None:
    database_url = databases.new()
    with serving.serve(database_url, tmp_path / "log", one_worker, HAMMER_SMS_URL=gateway.template) as server:
        gateway.open.clear()
        for n in range(THREADS):
            server.ask(number(n))
        wait_until(lambda: len(gateway.asked) == THREADS)
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: "Worker exiting" in server.log.read_text())
        gateway.open.set()
        assert server.process is not None
        server.process.wait(timeout=30)
    assert states(database_url) == {"sent": THREADS}, (tmp_path / "log").read_text()
    assert set(gateway.texts_to().values()) == {1}
