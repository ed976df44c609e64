"""The migrations: they make the schema that the models describe, and can be downgraded."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from flask import Flask
from sqlalchemy import create_engine, inspect, select, text

from config import Settings
from hammer import cli, clock, events
from hammer.db.database import db, transaction
from hammer.models import WebhookDelivery, WebhookEndpoint
from hammer.operations.readiness import NEWEST_MIGRATION
from hammer.quotas import counters
from hammer.quotas.counters import DAY, Limit
from hammer.webhooks import feed
from tests.actions import STRANGER_ID
from tests.conftest import SETTINGS
from tests.databases import MIGRATIONS, Databases
from tests.serving import ROOT, surroundings

pytestmark = [
    pytest.mark.filterwarnings("ignore:autogenerate skipping .* expression-based index:UserWarning"),
    pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index"),
]
OF_SEARCH = "ix_users_search"
"""How the names of indexes begin that only PostgreSQL has, or that are on an expression. They are in no model."""
BIG = {"users", "sessions", "devices", "events", "referrals"}
"""Tables that grow with the number of people: a migration that rewrites one would block everyone."""
AppWith = Callable[[Settings], Flask]


@pytest.fixture
def bare(databases: Databases, app_with: AppWith) -> Iterator[Flask]:
    """An application on a database that was never migrated, in whose context the test runs."""
    app = app_with(replace(SETTINGS, database_url=databases.bare()))
    cli.init_migrations(app)
    with app.app_context():
        yield app


def tables() -> set[str]:
    return set(inspect(db.engine).get_table_names()) - {"alembic_version"}


@pytest.mark.usefixtures("bare")
def test_the_migrations_make_what_the_models_describe() -> None:
    flask_migrate.upgrade(MIGRATIONS)
    with db.engine.connect() as connection:
        exact = connection.dialect.name == "postgresql"  # SQLite gives defaults back in other words
        opts = {
            "compare_type": True,
            "compare_server_default": exact,
            "include_object": lambda _object, name, *_: not (name or "").startswith(OF_SEARCH),
        }
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, db.metadata) == []


@pytest.mark.usefixtures("bare")
def test_the_migrations_can_be_downgraded_and_upgraded_again() -> None:
    flask_migrate.upgrade(MIGRATIONS)
    made = tables()
    assert made == set(db.metadata.tables)
    flask_migrate.downgrade(MIGRATIONS, revision="base")
    assert tables() == set()
    flask_migrate.upgrade(MIGRATIONS)
    assert tables() == made
    flask_migrate.upgrade(MIGRATIONS)
    assert tables() == made


def places() -> dict[str, int]:
    """Where the database keeps each table: elsewhere after it was written once more."""
    where = "select name, rootpage from sqlite_master where type = 'table'"
    if db.engine.dialect.name == "postgresql":
        where = "select relname, relfilenode from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    with db.engine.connect() as connection:
        return {name: place for name, place in connection.execute(text(where)) if name in BIG}


@pytest.mark.usefixtures("bare")
def test_no_migration_since_the_fourth_rewrites_a_big_table() -> None:
    flask_migrate.upgrade(MIGRATIONS, revision="0004")
    before = places()
    assert set(before) == BIG
    flask_migrate.upgrade(MIGRATIONS)
    assert places() == before


@pytest.mark.usefixtures("bare")
def test_people_stay_signed_in_when_clients_come_and_go() -> None:
    flask_migrate.upgrade(MIGRATIONS, revision="0008")
    now = "2026-11-29 12:00:00+00:00"
    with db.engine.begin() as connection:
        connection.execute(
            text(
                "insert into users (id, telephone_number, invite_code, date_joined) values ('anna', '+79290000001', 'Q9UK59', :now)"
            ),
            {"now": now},
        )
        columns = "id, user_id, kind, device, refreshes, refreshed_at, created_at, seen_at, expires_at"
        connection.execute(
            text(f"insert into sessions ({columns}) values ('one', 'anna', 'program', 'Firefox', 0, :now, :now, :now, :now)"),
            {"now": now},
        )
    flask_migrate.upgrade(MIGRATIONS, revision="0009")
    with db.engine.begin() as connection:
        connection.execute(
            text("insert into clients (id, name, scopes, sends_per_hour, created_at) values ('c', 'Shop', '', 100, :now)"),
            {"now": now},
        )
        connection.execute(text("update sessions set client_id = 'c'"))
        connection.execute(text("update users set app_metadata = '{}'"))
        assert connection.execute(text("select origins, generation from clients")).one() == ("", 0)

    flask_migrate.downgrade(MIGRATIONS, revision="0008")
    flask_migrate.upgrade(MIGRATIONS)

    with db.engine.connect() as connection:
        kept = "select s.id, s.device, s.client_id, u.invite_code, u.app_metadata from sessions s join users u on u.id = s.user_id"
        assert connection.execute(text(kept)).all() == [("one", "Firefox", None, "Q9UK59", None)]
        assert connection.execute(text("select count(*) from clients")).scalar() == 0


@pytest.mark.usefixtures("context")
def test_every_constraint_and_index_has_the_name_that_the_models_give_it() -> None:
    found: set[object] = set()
    described: set[object] = set()
    inspector = inspect(db.engine)
    for name, table in db.metadata.tables.items():
        for look in ("get_indexes", "get_foreign_keys", "get_check_constraints", "get_unique_constraints"):
            found |= {item["name"] for item in getattr(inspector, look)(name)}
        found.add(inspector.get_pk_constraint(name)["name"])
        described |= {str(index.name) for index in table.indexes} | {str(rule.name) for rule in table.constraints}
    by_expression = "uq_users_lower_username"  # inspection of SQLite does not see it; a test of usernames does
    assert {name for name in found | {by_expression} if not str(name).startswith(OF_SEARCH)} == described


def test_readyz_refuses_until_the_database_is_migrated(bare: Flask, databases: Databases) -> None:
    not_yet = bare.test_client().get("/readyz")
    assert not_yet.status_code == 503
    assert "hammer_database_answers 0.0" in bare.test_client().get("/metrics").text
    assert int(not_yet.headers["Retry-After"]) >= 1
    flask_migrate.upgrade(MIGRATIONS)
    assert bare.test_client().get("/readyz").status_code == 200
    flask_migrate.downgrade(MIGRATIONS, revision="base")
    assert bare.test_client().get("/readyz").status_code == 503


def test_readyz_accepts_a_schema_that_is_newer_than_the_program(app: Flask) -> None:
    """Migrations come before the restart, host by host; the load balancer must not lose all of them before that."""
    with app.app_context(), transaction() as session:
        session.execute(text("update alembic_version set version_num = '9999'"))
    try:
        assert app.test_client().get("/readyz").status_code == 200
    finally:
        with app.app_context(), transaction() as session:
            session.execute(text("update alembic_version set version_num = :ours"), {"ours": NEWEST_MIGRATION})


@pytest.mark.processes
def test_flask_db_upgrade_makes_the_tables(databases: Databases) -> None:
    url = databases.bare()
    upgrade = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]

    subprocess.run(upgrade, cwd=ROOT, env=surroundings(measured=True) | {"DATABASE_URL": url}, check=True, capture_output=True)

    engine = create_engine(url)
    assert set(db.metadata.tables) <= set(inspect(engine).get_table_names())
    engine.dispose()


@pytest.mark.usefixtures("bare")
def test_events_from_before_webhooks_are_in_no_feed_and_outlive_a_downgrade() -> None:
    flask_migrate.upgrade(MIGRATIONS, revision="0010")
    with db.engine.begin() as connection:
        connection.execute(text("insert into events (at, kind) values ('2026-11-29 12:00:00+00:00', 'signed-up')"))
    before = places()

    flask_migrate.upgrade(MIGRATIONS)

    assert places() == before
    assert feed.read().items == []
    with transaction() as tx:
        tx.add(WebhookEndpoint(id="e", url="https://app.example.com/", created_at=clock.now(), next_at=clock.now()))
        events.note(tx, events.Kind.USER_RENAMED, STRANGER_ID)
    assert [message.sequence for message in feed.read().items] == [1]
    assert db.session.scalars(select(WebhookDelivery.endpoint_id)).all() == ["e"]
    db.session.remove()

    flask_migrate.downgrade(MIGRATIONS, revision="0010")
    with db.engine.connect() as connection:
        kinds = connection.execute(text("select kind from events order by id")).scalars().all()
    assert kinds == ["signed-up", "user-renamed"]
    assert not {name for name in tables() if name.startswith("webhook")}
    flask_migrate.upgrade(MIGRATIONS)
    assert feed.read().items == []


@pytest.mark.requirement("THR-03")
@pytest.mark.usefixtures("bare")
def test_what_is_used_of_a_shared_limit_survives_its_division() -> None:
    """Neither an upgrade nor a downgrade during the day gives a guess back, or takes one more."""
    budget, now = Limit("guesses/4", 70, DAY), clock.now()
    flask_migrate.upgrade(MIGRATIONS, revision="0017")
    row = {"scope": budget.scope, "period": counters.period(DAY, now), "taken": 67, "ends_at": counters.ends_at(DAY, now)}
    with transaction() as tx:
        columns = ", ".join(row)
        tx.execute(text(f"insert into counters ({columns}) values (:scope, :period, :taken, :ends_at)"), row)

    flask_migrate.upgrade(MIGRATIONS)
    with transaction() as tx:
        assert counters.used(tx, [budget], now) == {"guesses/4": 67}
        assert [counters.take_all(tx, [], [budget], now) is not None for _ in range(5)] == [True] * 3 + [False] * 2

    flask_migrate.downgrade(MIGRATIONS, revision="0017")
    assert list(db.session.execute(text("select taken from counters"))) == [(70,)]
