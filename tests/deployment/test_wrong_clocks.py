"""Hosts whose clocks are wrong do not repeat the work of each other: leases are by the clock of PostgreSQL."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from flask import Flask

from config import Settings
from hammer.db.database import transaction
from hammer.sms import outbox
from tests import serving
from tests.actions import number
from tests.deployment.peers import Peer, Postgres, wait_until
from tests.fake_gateway import fake_gateway

pytestmark = pytest.mark.needs("postgres")

TEXTS = 30
CLOCK = """import datetime as d, sys, time_machine
time_machine.travel(d.datetime.now(d.UTC) + d.timedelta(seconds={ahead})).start()
"""
WORKER = f"{CLOCK}from flask.cli import main\nsys.argv = ['flask', '--app', 'wsgi', 'worker', '--threads', '2']\nmain()\n"
LOOKER = f"""{CLOCK}from hammer import create_app
from hammer.db import server_clock
from hammer.sms.outbox import deliver_next
app = create_app()
for _ in sys.stdin:
    with server_clock.for_workers(app):
        print(deliver_next(app.config["SETTINGS"]), flush=True)
"""


class Looker:
    """A process that looks for a text when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.found: list[str] = []

    def look(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("look\n")
        self.process.stdin.flush()
        self.found.append(self.process.stdout.readline().strip())


@contextmanager
def looking(environment: dict[str, str], ahead: int) -> Iterator[Looker]:
    command = [sys.executable, "-c", LOOKER.format(ahead=ahead)]
    with subprocess.Popen(
        command, cwd=serving.ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Looker(process)
        process.kill()


@pytest.mark.parametrize(("of_worker", "of_other"), [(0, 20), (-20, 0)])
def test_a_wrong_clock_doubles_no_text(
    of_worker: int, of_other: int, settings: Settings, postgres: Postgres, tmp_path: Path, app_with: Callable[[Settings], Flask]
) -> None:
    """A worker holds the only text, while the gateway does not answer; another one looks for work."""
    app = app_with(replace(settings, database_url=postgres.url))
    with psycopg.connect(postgres.url) as server:
        server.execute("truncate texts cascade")
    with fake_gateway() as gateway:
        environment = serving.surroundings() | serving.development(postgres.url, 5000) | {"HAMMER_SMS_URL": gateway.template}
        worker = Peer([sys.executable, "-c", WORKER.format(ahead=of_worker)], tmp_path / "log", (), environment, at=serving.ROOT)
        with looking(environment, of_other) as other:
            other.look()
            worker.start()
            try:
                for turn in range(1, TEXTS + 1):
                    gateway.open.clear()
                    with app.app_context(), transaction() as tx:
                        outbox.add_notice(tx, number(turn), "en")
                    wait_until(lambda turn=turn: len(gateway.asked) >= turn, "the text to be held")  # type: ignore[misc]
                    looks = threading.Thread(target=other.look)
                    looks.start()
                    wait_until(
                        lambda turn=turn, looks=looks: not looks.is_alive() or len(gateway.asked) > turn,  # type: ignore[misc]
                        "the other one to look",
                    )
                    gateway.open.set()
                    looks.join(timeout=30)
                    wait_until(lambda: waiting(postgres) == 0, "it to be sent")
            finally:
                gateway.open.set()
                worker.stop()
        came = gateway.texts_to()

    assert other.found == ["False"] * (TEXTS + 1)
    assert Counter(came.values()) == {1: TEXTS}


def waiting(postgres: Postgres) -> int:
    with psycopg.connect(postgres.url) as server:
        row = server.execute("select count(*) from texts where ended_at is null").fetchone()
    assert row is not None
    return int(row[0])
