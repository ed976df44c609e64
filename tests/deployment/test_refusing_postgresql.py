"""A PostgreSQL that answers and does not write: its disk is full, or it is a standby. And one that breaks off in a strange way."""

import os
import re
import select
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psycopg
import pytest
from flask import Flask

from config import Settings
from tests.conftest import SETTINGS
from tests.databases import migrate
from tests.deployment import peers
from tests.deployment.peers import Postgres
from tests.people import Program
from tests.web.test_readiness import asked_each_time, full, ready, refusals, signup

__all__ = ["asked_each_time"]
pytestmark = pytest.mark.needs("postgres")

Made = Callable[[Settings], Flask]
QUICK = {"fsync": "off", "autovacuum": "off", "max_wal_size": "64MB"}
SIZE = "96m"
numbers = (f"+7929{n:07d}" for n in range(1, 1_000_000))


@pytest.fixture
def home() -> Iterator[Path]:
    with peers.home() as made:
        yield made


@pytest.fixture
def disk(home: Path) -> Iterator[Path]:
    """A small file system, apart from the log of transactions: without space for that, PostgreSQL stops."""
    disk = home / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"No leave to mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def running(stack: ExitStack, server: Postgres) -> Postgres:
    stack.callback(server.stop)
    return server.start()


def sign_in(app: Flask) -> tuple[str, str]:
    """A number that signed in, and its access token."""
    number, program = next(numbers), Program(app)
    program.sign_in(number)
    return number, program.tokens["access_token"]


def me(app: Flask, token: str) -> int:
    return app.test_client().get("/api/v1/users/me/", headers={"Authorization": f"Bearer {token}"}).status_code


def counted(app: Flask, cause: str) -> float:
    figures = app.test_client().get("/metrics").text
    found = re.search(rf'^hammer_database_refusals_total\{{cause="{cause}"\}} ([\d.]+)$', figures, re.MULTILINE)
    return float(found[1]) if found else 0.0


def use_up(server: Postgres) -> None:
    """Fills what is free within the files of the table in which every request counts, and of its index."""
    add = "insert into counters (scope, period, part, taken, ends_at) values ('filler/' || gen_random_uuid(), 0, 0, 1, now())"
    failures = 0
    with closing(psycopg.connect(server.url, autocommit=True)) as connection:
        while failures < 50:
            try:
                connection.execute(add)
                failures = 0
            except psycopg.errors.DiskFull:
                failures += 1


class Breaking(socketserver.ThreadingTCPServer):
    """Forwards connections to a server. While it `breaks`, it ends them with an error that has no code (`SQLSTATE`)."""

    daemon_threads = allow_reuse_address = True
    breaks = False
    broken = 0

    def __init__(self, server: Postgres) -> None:
        super().__init__(("127.0.0.1", 0), Forwarding)
        self.behind = server.host, server.port

    @property
    def url(self) -> str:
        return f"postgresql://hammer@127.0.0.1:{self.server_address[1]}/postgres"


class Forwarding(socketserver.BaseRequestHandler):
    server: Breaking

    def handle(self) -> None:
        with socket.create_connection(self.server.behind) as behind:
            ends = {self.request: behind, behind: self.request}
            while True:
                for end in select.select(list(ends), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    if self.server.breaks and end is self.request:
                        fields = b"SFATAL\0Mthe server broke off\0\0"
                        self.request.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
                        self.server.broken += 1
                        return
                    ends[end].sendall(data)


@contextmanager
def breaking(server: Postgres) -> Iterator[Breaking]:
    with Breaking(server) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()


@pytest.mark.parametrize("pooler", [False, True])
def test_an_error_without_a_code_is_a_reason_to_wait(
    postgres: Postgres, settings: Settings, app_with: Made, caplog: pytest.LogCaptureFixture, pooler: bool
) -> None:
    with breaking(postgres) as proxy:
        app = app_with(replace(settings, database_url=proxy.url, database_pooler=pooler))
        assert signup(app, next(numbers)).status_code == 200

        proxy.breaks = True
        refused = signup(app, next(numbers))
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert proxy.broken
        assert "The database refuses: DatabaseError." in refusals(caplog)

        proxy.breaks = False
        assert signup(app, next(numbers)).status_code == 200
        assert ready(app) == (200, "ready")


def test_a_full_disk_is_a_reason_to_wait_and_nothing_that_was_answered_is_lost(
    home: Path, disk: Path, settings: Settings, app_with: Made, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        server = running(stack, Postgres(home, data=disk / "data", further=QUICK))
        migrate(replace(SETTINGS, database_url=server.url))
        app = app_with(replace(settings, database_url=server.url))
        signed_in = [sign_in(app) for _ in range(3)]
        before = counted(app, "full")

        with full(disk):
            use_up(server)
            answered = {number: signup(app, number).status_code for number in islice(numbers, 100)}
            assert set(answered.values()) <= {200, 503}
            for _ in range(3):
                refused = signup(app, next(numbers))
                assert refused.status_code == 503
                assert refused.get_json()["type"].endswith("/unavailable")
                assert int(refused.headers["Retry-After"]) >= 1
            assert ready(app) == (503, "database: full")
            assert app.test_client().get("/login/").status_code == 200
            assert {me(app, token) for _, token in signed_in} == {200}
            assert counted(app, "full") >= before + 3
            assert [line for line in refusals(caplog) if "database" in line] == ["The database refuses: DiskFull."]

        assert signup(app, next(numbers)).status_code == 200
        assert ready(app) == (200, "ready")
        signed_in.append(sign_in(app))
        server.stop()
        server.start()
        assert {me(app, token) for _, token in signed_in} == {200}
        with closing(psycopg.connect(server.url)) as connection:
            stored = {number for (number,) in connection.execute("select telephone_number from verifications")}
        assert {number for number, status in answered.items() if status == 200} <= stored


def test_a_standby_takes_no_writes_until_it_is_promoted(
    home: Path, settings: Settings, app_with: Made, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        primary = running(stack, Postgres(home, further=QUICK))
        migrate(replace(SETTINGS, database_url=primary.url))
        _, token = sign_in(app_with(replace(settings, database_url=primary.url)))
        beside = stack.enter_context(peers.home())
        standby = running(stack, Postgres(beside, primary=primary, further=QUICK))
        app = app_with(replace(settings, database_url=standby.url))

        for _ in range(3):
            refused = signup(app, next(numbers))
            assert refused.status_code == 503
            assert refused.get_json()["type"].endswith("/unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
        assert ready(app) == (503, "database: read-only")
        assert app.test_client().get("/login/").status_code == 200
        assert me(app, token) == 200
        assert counted(app, "read-only") >= 3
        assert [line for line in refusals(caplog) if "database" in line] == ["The database refuses: ReadOnlySqlTransaction."]

        primary.stop()
        with closing(psycopg.connect(standby.url, autocommit=True)) as connection:
            assert connection.execute("select pg_promote()").fetchone() == (True,)

        assert signup(app, next(numbers)).status_code == 200
        assert ready(app) == (200, "ready")
        assert me(app, token) == 200
