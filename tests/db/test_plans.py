"""Each flow finds what it needs by an index, however many people there are."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from flask import Flask
from sqlalchemy import text

from config import Settings
from hammer.db.database import db
from hammer.operations import retention
from hammer.users import search
from tests.benchmarks import crowd, growth
from tests.conftest import SETTINGS
from tests.databases import Databases

PEOPLE = 2000
GROWS = "users|referrals|sessions|devices|verifications|texts|events|counters|send_allowances|idempotency_keys"
READ_WHOLE = re.compile(rf"Seq Scan on (?:{GROWS})\b|SCAN (?:{GROWS})\b(?! USING)")
A_NAME = re.compile("search by (a name|username|the last digits|what nobody)")


@pytest.fixture
def crowded(databases: Databases, app_with: Callable[[Settings], Flask]) -> Iterator[Settings]:
    settings = replace(SETTINGS, database_url=databases.new())
    crowd.fill(settings.database_url, PEOPLE, lambda _: None)
    with app_with(settings).app_context():
        retention.prune(settings)
        yield settings


def test_no_flow_reads_a_table_that_grows(crowded: Settings) -> None:
    on_sqlite = db.engine.dialect.name == "sqlite"
    if not on_sqlite:  # so few people are read faster as a whole: whether there is another way is what is asked
        db.session.execute(text("set enable_seqscan = off"))
    found: dict[str, list[str]] = {}
    for name, flow in growth.flows(crowded):
        plans: list[str] = []
        with growth.explained(plans):
            flow()
        assert plans
        found[name] = [plan for plan in plans if READ_WHOLE.search(plan)]
    # SQLite has no index for parts of words; `docs/performance.md` says so.
    assert {name: plans for name, plans in found.items() if plans and not (on_sqlite and A_NAME.match(name))} == {}


def test_each_search_of_staff_reads_people_in_the_order_of_its_index(crowded: Settings) -> None:
    if db.engine.dialect.name == "postgresql":
        db.session.execute(text("set enable_seqscan = off; set enable_bitmapscan = off"))
    for name, (typed, filters, index) in growth.OF_STAFF.items():
        plans: list[str] = []
        with growth.explained(plans):
            search.people(typed, filters)
        assert any(re.search(index, plan) for plan in plans), name
        assert not [plan for plan in plans if READ_WHOLE.search(plan)], name
