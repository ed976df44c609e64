"""What webhooks and the event feed read does not grow with the number of events and deliveries."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import cast

import pytest
from flask import Flask
from sqlalchemy import select, text

from config import Settings
from hammer import clock, events
from hammer.db.database import db, transaction
from hammer.models import Event
from hammer.operations import retention
from hammer.webhooks import deliveries, endpoints, feed
from tests.benchmarks.webhooks import fill
from tests.conftest import SETTINGS
from tests.databases import Databases
from tests.outgoing.servers import fixed, serving

FEW, MANY = 1_000, 10_000
ENDPOINTS = 5
ACCEPTED = b"HTTP/1.1 204 No Content\r\n\r\n"
DUE, LATER = timedelta(0), timedelta(hours=5)


@pytest.fixture
def settings(databases: Databases, app_with: Callable[[Settings], Flask]) -> Iterator[Settings]:
    settings = replace(SETTINGS, database_url=databases.new())
    with app_with(settings).app_context():
        yield settings


@pytest.fixture
def endpoint_ids(settings: Settings) -> Iterator[list[str]]:
    with serving(fixed(ACCEPTED)) as server:
        yield [endpoints.add(settings, f"http://127.0.0.1:{server.port}/{n}").id for n in range(ENDPOINTS)]


def reads(flow: Callable[[], object]) -> int:
    """How much the flow reads: on PostgreSQL rows and entries of indexes, on SQLite steps of its machine, in tens."""
    flow()  # what is done once, like closing what was read before
    if db.engine.dialect.name == "sqlite":
        steps: list[None] = []
        with _only_connection() as connection:
            connection.set_progress_handler(lambda: steps.append(None), 10)
        flow()
        with _only_connection() as connection:
            connection.set_progress_handler(None, 0)
        return len(steps)
    counted = []
    for _ in range(3):  # the least: the server may add now what another connection read some seconds ago
        before = _rows_read()
        flow()
        counted.append(_rows_read() - before)
    return min(counted)


@contextmanager
def _only_connection() -> Iterator[sqlite3.Connection]:
    db.session.rollback()
    pooled = db.engine.raw_connection()
    yield cast(sqlite3.Connection, pooled.dbapi_connection)
    pooled.close()


def _rows_read() -> int:
    db.session.execute(text("select pg_stat_force_next_flush()"))
    of_tables = "select sum(seq_tup_read) from pg_stat_user_tables"
    of_indexes = "select sum(idx_tup_read) from pg_stat_user_indexes"
    return int(db.session.execute(text(f"select ({of_tables}) + ({of_indexes})")).scalar_one())


def happen() -> None:
    with transaction() as tx:
        events.note(tx, events.Kind.SIGNED_UP, "A" * 22)
    assert feed.publish() == 1


def place(sequence: int) -> str:
    at = db.session.scalars(select(Event.at).where(Event.sequence == sequence)).one()
    return f"{sequence}.{clock.microseconds(at)}"


@pytest.mark.parametrize(("receivers", "ahead"), [(ENDPOINTS, DUE), (1, DUE), (ENDPOINTS, LATER), (1, LATER)])
def test_the_reads_of_no_flow_grow(settings: Settings, endpoint_ids: list[str], receivers: int, ahead: timedelta) -> None:
    """Deliveries wait for each of five endpoints, or all of them for one; they are due, or none of them is."""

    def deliver() -> None:
        assert deliveries.deliver_next(settings) is (ahead == DUE)

    def read(after: str, expected: int, *kinds: str) -> None:
        assert len(feed.read(after, kinds=kinds).items) == expected

    found: list[dict[str, int]] = []
    for many in (FEW, MANY):
        fill(endpoint_ids[:receivers], many, clock.now() + ahead)
        near_end = place(many - 50)
        found.append(
            {
                "deliver": reads(deliver),
                "feed, beginning": reads(feed.read),
                "feed, near its end": reads(partial(read, near_end, 50)),
                "feed, near its end, one type": reads(partial(read, near_end, 1, events.Kind.KEY_ROTATED)),
                "attempts": reads(lambda: endpoints.attempts(endpoint_ids[0])),
                "prune": reads(partial(retention.prune, settings)),
                "publish": reads(happen),
            }
        )
    of_few, of_many = found
    assert {name: (read, of_many[name]) for name, read in of_few.items() if of_many[name] > 1.5 * read + 20} == {}
