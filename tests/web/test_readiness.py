"""`/readyz`, `/metrics` and `doctor` agree on whether anything can be written. A database that refuses is a 503, with its cause in
the log."""

import logging
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from psycopg import sql
from sqlalchemy import URL
from werkzeug.test import TestResponse

import hammer
from config import Settings
from hammer import clock
from hammer.db import database
from hammer.db.causes import Cause
from hammer.db.database import BUSY_SECONDS
from hammer.operations import doctor, readiness
from tests.actions import ANNA, number
from tests.serving import at_once

Made = Callable[[Settings], Flask]
Statements = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture(autouse=True)
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "KNOWN_SECONDS", 0.0)
    monkeypatch.setattr(database, "_logged", clock.Seldom(1000.0))  # also where a test takes more than a minute


@pytest.fixture
def server(on_postgresql: URL) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A connection to the test's database; skips the test on SQLite."""
    plain = on_postgresql.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True, options="-c default_transaction_read_only=off") as connection:
        yield connection


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"No leave to mount a small disk: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No byte more can be written to it."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        filler.unlink()


def signup(app: Flask, telephone_number: str = ANNA) -> TestResponse:
    return app.test_client().post("/api/v1/auth/signup/", json={"telephone_number": telephone_number})


def ready(app: Flask) -> tuple[int, str]:
    """The status, the first line, and whether the figure for Prometheus says the same."""
    client = app.test_client()
    answer, figures = client.get("/readyz"), client.get("/metrics").text
    assert ("hammer_database_answers 1.0" in figures) == (answer.status_code == 200)
    assert ("Retry-After" in answer.headers) == (answer.status_code == 503)
    return answer.status_code, answer.text.splitlines()[0]


def writing(app: Flask) -> doctor.Finding:
    """What the doctor says of it."""
    with app.app_context():
        return next(finding for finding in doctor.examine(app.config["SETTINGS"]) if finding.part == "writing")


def refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_process_that_runs_answers_ok_and_its_version(app: Flask) -> None:
    assert app.test_client().get("/healthz").text.splitlines() == ["ok", f"version: {hammer.__version__}"]


def test_the_newest_migration_is_the_one_that_readyz_expects() -> None:
    versions = Path(__file__).parents[2] / "migrations" / "versions"
    assert max(file.name for file in versions.glob("0*.py"))[:4] == readiness.NEWEST_MIGRATION, (
        "Change NEWEST_MIGRATION in readiness.py."
    )


def test_a_database_that_takes_writes_is_ready(app: Flask) -> None:
    assert ready(app) == (200, "ready")
    assert writing(app).state == doctor.FINE


def test_it_is_not_ready_while_the_disk_is_full(
    app_with: Made, settings: Settings, on_sqlite: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copyfile(on_sqlite, small_disk / "hammer.sqlite3")
    app = app_with(replace(settings, database_url=f"sqlite:///{small_disk}/hammer.sqlite3"))
    assert ready(app) == (200, "ready")

    with full(small_disk):
        refused = [signup(app, number(n)) for n in range(100)][-5:]
        assert {answer.status_code for answer in refused} == {503}
        assert ready(app) == (503, "database: full")
        assert writing(app).state == doctor.WRONG
        assert "Free space" in writing(app).remedy
        assert app.test_client().get("/login/").status_code == 200

    assert refusals(caplog) == ["The database refuses: SQLITE_FULL."]
    assert signup(app, number(200)).status_code == 200
    assert ready(app) == (200, "ready")


def test_it_is_not_ready_while_the_file_is_read_only(app_with: Made, settings: Settings, on_sqlite: Path) -> None:
    with closing(sqlite3.connect(on_sqlite)) as connection:
        connection.execute("pragma journal_mode = wal")
    app = app_with(replace(settings, database_url=f"sqlite:///file:{on_sqlite}?mode=ro&uri=true"))
    assert ready(app) == (503, "database: read-only")
    assert writing(app).state == doctor.WRONG


def test_it_is_not_ready_while_the_file_is_locked(app: Flask, on_sqlite: Path) -> None:
    with closing(sqlite3.connect(on_sqlite, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert ready(app) == (503, "database: locked")
    assert ready(app) == (200, "ready")


@contextmanager
def read_only(server: "psycopg.Connection[tuple[object, ...]]") -> Iterator[None]:
    """New connections may only read, and those that were open are closed: as at a primary that became a standby."""
    name = sql.Identifier(server.info.dbname)
    server.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
    hang_up = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
    server.execute(hang_up, [server.info.dbname])
    try:
        yield
    finally:
        server.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))


def test_a_read_only_postgresql_is_not_ready(
    app: Flask, server: "psycopg.Connection[tuple[object, ...]]", caplog: pytest.LogCaptureFixture
) -> None:
    assert signup(app).status_code == 200
    with read_only(server):
        for n in range(5):
            answer = signup(app, number(10 + n))
            assert answer.status_code == 503
            assert answer.get_json()["type"].endswith("/unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert ready(app) == (503, "database: read-only")
        assert writing(app).state == doctor.WRONG
        assert app.test_client().get("/login/").status_code == 200
    # No connection of before is left, which would still only read.
    assert signup(app, number(20)).status_code == 200
    assert ready(app) == (200, "ready")
    assert "The database refuses: ReadOnlySqlTransaction." in refusals(caplog)
    assert len(refusals(caplog)) == len(set(refusals(caplog)))


def test_a_process_that_hangs_while_asking_blocks_no_other(app: Flask, server: "psycopg.Connection[tuple[object, ...]]") -> None:
    with server.transaction():
        server.execute("insert into counters (scope, period, taken, ends_at) values ('readiness/another', 0, 1, now())")
        assert ready(app) == (200, "ready")


def test_many_requests_write_only_once_in_a_while(app: Flask, statements: Statements, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "KNOWN_SECONDS", 1000.0)
    with statements() as seen:
        answers = at_once([lambda: app.test_client().get("/readyz").status_code] * 20)
        app.test_client().get("/metrics")
    app.extensions["hammer.web.health"] = readiness.WriteCheck()
    assert set(answers) == {200}
    assert sum("INSERT" in statement for statement in seen) == 1


def test_every_cause_is_one_public_word() -> None:
    assert all(word.replace("-", "").isalpha() for word in Cause)
    assert readiness.KNOWN_SECONDS <= BUSY_SECONDS * 5


def test_a_cause_is_logged_once_a_minute(app: Flask, on_sqlite: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(on_sqlite, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert at_once([lambda: signup(app).status_code] * 4) == [503] * 4
    logged = refusals(caplog)
    assert "The database refuses: SQLITE_BUSY." in logged
    assert len(logged) == len(set(logged))  # requests that waited behind the first one have another cause
    assert ANNA not in caplog.text
