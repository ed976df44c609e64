"""PgBouncer in transaction mode, with few sessions of PostgreSQL for all processes: logins work, the pooler may be restarted, waits
are still limited, nothing stays in a session; and `doctor` notices a pooler that the settings do not name."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from config import Settings
from hammer.db.database import db, transaction
from hammer.operations import doctor
from hammer.refusals import Unavailable
from tests.databases import migrate
from tests.deployment import peers
from tests.deployment.peers import PgBouncer, Postgres, wait_until
from tests.serving import Server, at_once, gunicorn, serve

pytestmark = pytest.mark.needs("postgres", "pgbouncer")

SESSIONS = 4
numbers = (f"+7929{n:07d}" for n in range(1, 1_000_000))


@pytest.fixture(scope="module")
def pooler(postgres: Postgres) -> Iterator[PgBouncer]:
    with peers.home() as home:
        server = PgBouncer(home, postgres, SESSIONS).start()
        yield server
        server.stop()


@pytest.fixture
def pooled(settings: Settings, pooler: PgBouncer) -> Settings:
    return replace(settings, database_url=pooler.url, database_pooler=True)


@pytest.fixture(scope="module")
def site(pooler: PgBouncer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two processes of eight threads each, which also send the texts."""
    log: Path = tmp_path_factory.mktemp("pooled") / "log"
    with serve(pooler.url, log, gunicorn, HAMMER_DATABASE_POOLER="on") as server:
        yield server


def sign_in_once(site: Server, number: str) -> tuple[list[int], str]:
    """The statuses of a login, and the invite code of the person; empty where one of the requests was refused."""
    asked = site.call_once("POST", "/auth/signup/", {"telephone_number": number})
    if asked.status != 200:
        return [asked.status], ""
    code = {"verification_id": asked.json["verification_id"], "code": asked.json["Ваш код активации"]}
    entered = site.call_once("POST", "/auth/code/", code)
    if entered.status != 200:
        return [200, entered.status], ""
    profile = site.call_once("GET", "/users/me/", token=entered.json["access_token"])
    return [200, 200, profile.status], str(entered.json["invite_code"])


def test_many_log_in_at_once_by_few_sessions_of_postgresql(site: Server, postgres: Postgres) -> None:
    statuses: list[int] = []
    for _ in range(3):
        for found, _code in at_once([partial(sign_in_once, site, next(numbers)) for _ in range(24)]):
            statuses += found

    assert statuses == [200] * 3 * 24 * 3
    with psycopg.connect(postgres.url, autocommit=True) as server:
        wait_until(lambda: all_of(server, "select count(*) from texts where ended_at is null") == [(0,)], "all texts to be sent")
        sessions = all_of(server, "select count(*) from pg_stat_activity where backend_type = 'client backend'")
    assert sessions[0][0] <= SESSIONS + 1  # and the one that asks


def test_a_restart_of_the_pooler_without_requests_costs_nobody_a_refusal(site: Server, pooler: PgBouncer) -> None:
    assert {status for found, _ in at_once([partial(sign_in_once, site, next(numbers))] * 16) for status in found} >= {200}

    pooler.stop()
    pooler.start()

    assert [site.request("GET", "/readyz").status for _ in range(16)] == [200] * 16


def test_a_restart_of_the_pooler_under_load_loses_nothing_that_was_answered(
    site: Server, pooler: PgBouncer, postgres: Postgres
) -> None:
    signed_in: dict[str, str] = {}
    statuses: list[int] = []
    over = threading.Event()

    def live() -> None:
        while not over.is_set():
            number = next(numbers)
            found, code = sign_in_once(site, number)
            statuses.extend(found)
            if code:
                signed_in[number] = code

    people = [threading.Thread(target=live, daemon=True) for _ in range(8)]
    for person in people:
        person.start()
    for _ in range(3):
        before = len(signed_in)
        wait_until(lambda before=before: len(signed_in) > before + 10, "logins")  # type: ignore[misc]
        pooler.stop()
        pooler.start()
    before, at = len(signed_in), len(statuses)
    wait_until(lambda: len(signed_in) > before + 20, "logins after the last restart")
    over.set()
    for person in people:
        person.join(timeout=30)

    assert set(statuses) <= {200, 503}
    assert 503 not in statuses[at + 8 * 3 :]  # those that were under way at the restart
    with psycopg.connect(postgres.url) as server:
        assert signed_in.items() <= dict(all_of(server, "select telephone_number, invite_code from users")).items()


def test_waits_for_locks_end_by_the_limit_of_the_server(site: Server, postgres: Postgres) -> None:
    """And not by the deadline of the driver, which would close connections."""
    token, before = site.sign_in(next(numbers))["access_token"], len(site.log.read_text())
    with psycopg.connect(postgres.url) as other:
        other.execute("lock table users in access exclusive mode")
        read = site.call_once("GET", "/users/me/", token=token)
        written = site.call_once("PATCH", "/users/me/", {"first_name": "Anna"}, token=token)

    assert [read.status, written.status] == [503, 503]
    causes = re.findall(r"The database refuses: (\w+)\.", site.log.read_text()[before:])
    assert causes
    assert set(causes) <= {"LockNotAvailable", "QueryCanceled"}
    assert site.call_once("GET", "/users/me/", token=token).status == 200


LIMITS = "select current_setting('lock_timeout'), current_setting('statement_timeout')"


def test_each_kind_of_statement_has_its_limits_and_leaves_none_behind(
    pooled: Settings, app_with: Callable[[Settings], Flask], pooler: PgBouncer
) -> None:
    app, found = app_with(pooled), dict[str, Any]()

    @app.get("/limits")
    def limits() -> str:
        found["read"] = tuple(db.session.execute(text(f"{LIMITS} where :one = 1"), {"one": 1}).one())
        with transaction() as tx:
            found["write"] = tuple(tx.execute(text(LIMITS)).one())
        with pytest.raises(OperationalError) as slow:
            db.session.execute(text("select pg_sleep(30)"))
        found["slow read"] = type(slow.value.orig)
        with pytest.raises(Unavailable) as slow_in_transaction, transaction() as tx:
            tx.execute(text("select pg_sleep(30)"))
        found["slow write"] = type(getattr(slow_in_transaction.value.__cause__, "orig", None))
        return ""

    assert app.test_client().get("/limits").status_code == 200
    with app.app_context():  # as in a command
        found["command"] = tuple(db.session.execute(text(LIMITS)).one())
        with db.engine.connect().execution_options(isolation_level="SERIALIZABLE") as migrating:
            found["migration"] = tuple(migrating.execute(text(f"{LIMITS}, current_setting('transaction_isolation')")).one())

    of_commands = ("2s", "0")
    assert found == {
        "read": ("2s", "2s"), "write": ("2s", "2s"), "slow read": psycopg.errors.QueryCanceled,
        "slow write": psycopg.errors.QueryCanceled, "command": of_commands, "migration": (*of_commands, "serializable"),
    }  # fmt: skip
    with psycopg.connect(pooler.url, autocommit=True, prepare_threshold=None) as other:
        assert all_of(other, LIMITS) == [("0", "0")]


def test_a_login_leaves_nothing_in_the_sessions_of_the_server(site: Server, pooler: PgBouncer) -> None:
    inviter = site.sign_in(next(numbers))
    tokens = [site.sign_in(next(numbers))["access_token"] for _ in range(12)]  # more often than the driver waits to prepare
    activated = [site.call("POST", "/users/me/invite/", {"invite_code": inviter["invite_code"]}, token=one) for one in tokens]

    assert {answer.status for answer in activated} == {200}
    left = "(select count(*) from pg_prepared_statements), (select count(*) from pg_listening_channels())"
    locks = "(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())"
    temporary = "(select count(*) from pg_class where relpersistence = 't')"
    clients = [psycopg.connect(pooler.url, prepare_threshold=None) for _ in range(SESSIONS)]
    try:  # each in a transaction, so each in another session
        assert {all_of(one, f"select {left}, {locks}, {temporary}")[0] for one in clients} == {(0, 0, 0, 0)}
        assert len({all_of(one, "select pg_backend_pid()")[0] for one in clients}) == SESSIONS
    finally:
        for one in clients:
            one.close()


def test_migrations_run_through_the_pooler(pooled: Settings, pooler: PgBouncer, postgres: Postgres) -> None:
    with psycopg.connect(postgres.url, autocommit=True) as server:
        server.execute("create database another")

    migrate(replace(pooled, database_url=pooler.url.replace("/postgres", "/another")))

    with psycopg.connect(postgres.url.replace("/postgres", "/another")) as another:
        assert all_of(another, "select count(*) from users") == [(0,)]


@pytest.mark.parametrize(
    ("how", "named", "words", "remedy"),
    [
        ({}, False, "unsupported startup parameter: options", "Set HAMMER_DATABASE_POOLER=on."),
        ({"ignore_startup_parameters": "options"}, False, "prepared statements fail", "Set HAMMER_DATABASE_POOLER=on."),
        ({"pool_mode": "statement"}, True, "statement pooling mode", "Set pool_mode = transaction in its configuration."),
    ],
)
def test_doctor_notices_a_pooler_that_would_break(
    how: dict[str, str], named: bool, words: str, remedy: str, settings: Settings, postgres: Postgres,
    app_with: Callable[[Settings], Flask],
) -> None:  # fmt: skip
    with peers.home() as home:
        pooler = PgBouncer(home, postgres, SESSIONS, **how).start()
        try:
            found = findings(app_with(replace(settings, database_url=pooler.url, database_pooler=named)))
        finally:
            pooler.stop()

    assert found["pooler"].state == doctor.WRONG
    assert words in found["pooler"].how
    assert found["pooler"].remedy == remedy


def test_doctor_names_the_pooler_and_notices_one_that_is_not_there(
    pooled: Settings, postgres: Postgres, app_with: Callable[[Settings], Flask]
) -> None:
    assert findings(app_with(pooled))["pooler"].state == doctor.FINE
    assert findings(app_with(replace(pooled, database_url=postgres.url)))["pooler"].state == doctor.ADVICE
    assert "pooler" not in findings(app_with(replace(pooled, database_url=postgres.url, database_pooler=False)))


def findings(app: Flask) -> dict[str, doctor.Finding]:
    with app.app_context():
        found = {finding.part: finding for finding in doctor.examine(app.config["SETTINGS"])}
        db.session.remove()
    return found


def all_of(connection: "psycopg.Connection[Any]", query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()
