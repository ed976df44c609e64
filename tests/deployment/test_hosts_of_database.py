"""Several hosts in `DATABASE_URL`: one that is not there and one that accepts no writes are passed over."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from flask import Flask

import config
from config import Settings
from hammer.db.database import db
from hammer.operations import doctor
from tests.actions import ANNA
from tests.deployment import peers
from tests.deployment.peers import Postgres
from tests.serving import free_port

pytestmark = pytest.mark.needs("postgres")


@pytest.fixture
def read_only() -> Iterator[Postgres]:
    with peers.home() as home:
        server = Postgres(home).start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("alter system set default_transaction_read_only = on")
            connection.execute("select pg_reload_conf()")
        yield server
        server.stop()


@pytest.mark.parametrize("form", ["postgresql://hammer@{}/postgres?", "postgresql://hammer@/postgres?host={}&"])
def test_the_first_host_that_accepts_writes_is_used_and_named(
    form: str, postgres: Postgres, read_only: Postgres, settings: Settings, app_with: Callable[[Settings], Flask],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    hosts = [f"127.0.0.1:{port}" for port in (free_port(), read_only.port, postgres.port)]
    url = form.format(("&host=" if "host=" in form else ",").join(hosts)) + "target_session_attrs=read-write"
    monkeypatch.setenv("DATABASE_URL", url)
    app = app_with(
        replace(settings, database_url=config.read().database_url, resend_wait=timedelta(0))
    )  # both forms use one database

    signup = app.test_client().post("/api/v1/auth/signup/", json={"telephone_number": ANNA})

    assert signup.status_code == 200
    with app.app_context():
        found = next(finding for finding in doctor.examine(app.config["SETTINGS"]) if finding.part == "database")
        db.session.remove()
    assert found.state == doctor.FINE
    assert found.how.endswith(f", at {hosts[-1]}")
