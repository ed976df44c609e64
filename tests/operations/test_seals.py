"""Seals of the audit trail: what is changed afterwards is named, and what is committed late is not taken for a change."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError
from time_machine import Traveller

from config import Settings
from hammer import clock as moments
from hammer import events
from hammer.db.database import db, transaction
from hammer.events import Kind
from hammer.models import Event, Seal
from hammer.operations import audit, retention, seals
from hammer.webhooks import feed
from tests.actions import STRANGER_ID
from tests.delivery import wait_until
from tests.tampering import tamper
from tests.workers import worker

in_context = pytest.mark.usefixtures("context")


def happen(count: int, kind: Kind = Kind.SIGNED_IN) -> None:
    with transaction() as tx:
        for _ in range(count):
            events.note(tx, kind, STRANGER_ID, actor_id="B" * 22, detail="detail", reason="Причина")


def seal(settings: Settings, *counts: int) -> None:
    """Makes a seal over as many events for each count."""
    for count in counts:
        happen(count)
        assert seals.seal_all(settings) == count


def flaws(settings: Settings, *heads: str) -> list[str]:
    return audit.verify(settings, heads).flaws


def head() -> Seal:
    newest = seals.newest()
    assert newest is not None
    return newest


ADD = "insert into events (id, at, kind) values ({}, '2020-01-01 00:00:00', 'signed-in')"
FORGED = "Seal {} is altered, or made with another SECRET_KEY."


@in_context
@pytest.mark.requirement("AZN-05")
@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (["update events set reason = 'Another' where id = 5"], ["Event 5 was altered after seal 2 was made."]),
        (["update events set at = '2020-01-01 00:00:00' where id = 1"], ["Event 1 was altered after seal 1 was made."]),
        (["update events set client_id = user_id, user_id = null where id = 1"], ["Event 1 was altered after seal 1 was made."]),
        (["delete from events where id = 5"], ["Event 5 was deleted after seal 2 was made."]),
        ([ADD.format(15)], ["Event 15 was added after seal 4 was made."]),
        ([ADD.format(-7)], ["Event -7 was added."]),
        (
            ["delete from events where id in (4, 5)", ADD.format(5)],
            ["Event 4 was deleted after seal 2 was made.", "Event 5 was altered after seal 2 was made."],
        ),
        (["update seals set sealed_at = newest_at where id = 2"], [FORGED.format(2)]),
        (
            ["update seals set hmac = sha256 where id in (1, 2)"],
            [
                "Seal 2 does not follow on the one before: the chain is broken.",
                "Seal 3 does not follow on the one before: the chain is broken.",
                "Seals 1 to 2 are altered, or made with another SECRET_KEY.",
            ],
        ),
        (["delete from seals where id = 2", "delete from events where id in (4, 5, 6)"], ["Seal 2 is missing."]),
        (["delete from seals where id < 3"], ["Seals 1 to 2 are missing."]),
        (
            ["update seals set pruned_at = '2020-01-01 00:00:00' where id = 2", "delete from events where id in (4, 5, 6)"],
            ["Events 4 to 6 were deleted before their time: seal 2 is marked as pruned."],
        ),
    ],
)
def test_what_was_changed_after_its_seal_is_named(settings: Settings, statements: list[str], named: list[str]) -> None:
    seal(settings, 3, 3, 3)
    with transaction() as tx:  # ids that a rollback leaves out are in the range of a seal too
        tx.execute(insert(Event).values(id=20, at=moments.now(), kind=Kind.SIGNED_IN))
    assert seals.seal_all(settings) == 1
    assert flaws(settings) == []
    tamper(*statements)
    assert flaws(settings) == named


@in_context
@pytest.mark.requirement("AZN-05")
def test_a_head_that_was_kept_shows_what_the_holder_of_the_key_changed(settings: Settings) -> None:
    """Or an owner of the database, who drops the newest seals and lets the application seal what was altered."""
    seal(settings, 3, 3)
    kept = head().hmac
    tamper("delete from seals where id = 2", "update events set kind = 'altered' where id = 4")
    assert seals.seal_all(settings) == 3
    assert flaws(settings) == []
    assert flaws(settings, kept) == [f"No seal has the hash {kept}: the chain was replaced, or its end is missing."]
    assert flaws(settings, head().hmac) == []


@in_context
def test_a_seal_that_was_made_long_after_its_events_is_counted(settings: Settings, clock: Traveller) -> None:
    seal(settings, 1)
    happen(1)
    clock.shift(audit.LATE + timedelta(seconds=1))
    seals.seal_all(settings)
    found = audit.verify(settings)
    assert (found.late, found.last_late, found.flaws) == (1, 2, [])


@in_context
def test_seals_of_another_key_are_told_from_those_of_this_one(settings: Settings) -> None:
    seal(settings, 1, 1)
    seal(replace(settings, secret_key="another key, which is as long as it must be"), 1)
    assert flaws(settings) == [FORGED.format(3)]


@in_context
def test_a_place_in_the_feed_is_no_change(settings: Settings) -> None:
    with transaction() as tx:
        events.note(tx, Kind.SIGNED_UP, STRANGER_ID)
    seals.seal_all(settings)
    feed.publish()
    feed.skip_places()
    assert flaws(settings) == []
    assert {column.key for column in seals.SEALED} == set(inspect(Event).columns.keys()) - {"sequence"}


@in_context
def test_a_seal_covers_about_a_thousand_events_of_a_day(settings: Settings, clock: Traveller) -> None:
    happen(seals.MOST_AT_ONCE + 1)
    clock.shift(timedelta(hours=20))
    happen(1)
    clock.shift(timedelta(hours=20))
    happen(1)
    assert seals.seal_all(settings) == seals.MOST_AT_ONCE + 3
    assert [made.rows for made in db.session.scalars(select(Seal).order_by(Seal.id))] == [seals.MOST_AT_ONCE, 2, 1]
    assert flaws(settings) == []


@in_context
def test_a_thread_seals_once_a_minute(settings: Settings, clock: Traveller) -> None:
    assert not seals.seal_due(settings)
    happen(1)
    assert seals.seal_due(settings)
    happen(1)
    assert not seals.seal_due(settings)
    clock.shift(seals.EVERY)
    assert seals.seal_due(settings)
    assert not seals.seal_due(settings)


@pytest.mark.usefixtures("on_postgresql")
def test_an_event_that_is_committed_late_is_sealed_with_those_of_its_range(
    app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "WRITERS_SECONDS", 0.0)
    noted, go = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with app.app_context(), transaction() as tx:
            events.note(tx, Kind.SIGNED_IN)
            noted.set()
            assert go.wait(60)

    with ThreadPoolExecutor(1) as pool, app.app_context():
        slow = pool.submit(write_slowly)
        assert noted.wait(60)
        happen(1)
        assert seals.seal_next(settings) == 0
        go.set()
        slow.result(60)
        assert seals.seal_next(settings) == 2
        assert flaws(settings) == []


@pytest.mark.requirement("AZN-05")
def test_no_event_of_parallel_writers_is_missed_or_taken_for_an_addition(app: Flask, settings: Settings) -> None:
    writers, each, done = 6, 24, threading.Event()
    began = threading.Barrier(writers + 2)

    def write() -> None:
        began.wait(60)
        with app.app_context():
            for turn in range(each):
                happen(1 + turn % 3)

    def seal_on() -> None:
        began.wait(60)
        with app.app_context():
            while not done.is_set():
                seals.seal_next(settings)
            seals.seal_all(settings)

    with ThreadPoolExecutor(writers + 2) as pool:
        sealing = [pool.submit(seal_on) for _ in range(2)]
        for writing in [pool.submit(write) for _ in range(writers)]:
            writing.result(60)
        done.set()
        for each_sealing in sealing:
            each_sealing.result(60)
    with app.app_context():
        found = audit.verify(settings)
        assert (found.flaws, found.unsealed) == ([], 0)
        assert found.events == db.session.scalar(select(func.count()).select_from(Event)) == writers * each * 2


CHANGES = (
    *(f"update events set {name} = null" for name in ("user_id", "actor_id", "client_id", "request_id", "detail", "reason")),
    *("update events set id = 7", "update events set at = '2020-01-01 00:00:00'", "update events set endpoint_id = 'altered'"),
    "update events set referrer_id = 'altered'",
    *("update events set kind = 'altered', sequence = 1", "delete from events"),
    *("update seals set sha256 = ''", "update seals set previous = hmac", "delete from seals"),
)


@in_context
@pytest.mark.requirement("AZN-05")
def test_the_database_refuses_changes(settings: Settings) -> None:
    request, client = events.request_id.set("request"), events.calling_client.set("C" * 22)
    seal(settings, 1)
    events.request_id.reset(request)
    events.calling_client.reset(client)
    emptying = () if db.engine.dialect.name == "sqlite" else ("truncate events cascade", "truncate seals")
    for statement in CHANGES + emptying:
        with pytest.raises(IntegrityError, match="cannot be changed"):
            db.session.execute(text(statement))
    assert flaws(settings) == []


@in_context
@pytest.mark.requirement("AZN-05")
def test_ranges_that_were_pruned_stay_in_the_chain(settings: Settings, clock: Traveller) -> None:
    seal(settings, 3, 2)
    clock.shift(timedelta(days=1))
    seal(settings, 2)
    clock.shift(settings.events_kept - timedelta(seconds=1))
    assert retention.prune(settings)["events"] == 5
    happen(1)
    found = audit.verify(settings)
    assert (found.flaws, found.seals, found.events, found.pruned, found.unsealed) == ([], 3, 2, 5, 1)
    with pytest.raises(IntegrityError):
        db.session.execute(text("update seals set pruned_at = null"))
    tamper(ADD.format(2))
    assert flaws(settings) == ["Event 2 was added after the events of seal 1 were pruned."]


@in_context
def test_an_event_that_was_added_to_an_old_range_stops_no_prune(settings: Settings, clock: Traveller) -> None:
    seal(settings, 2)
    clock.shift(settings.events_kept)
    seal(settings, 1)
    tamper("update events set at = '2035-01-01 00:00:00' where id = 2")
    assert retention.prune(settings)["events"] == 1
    assert flaws(settings) == ["Event 2 was added after the events of seal 1 were pruned."]


@pytest.mark.processes
def test_a_worker_that_is_killed_while_it_seals_leaves_whole_seals(app: Flask, settings: Settings, tmp_path: Path) -> None:
    with app.app_context():
        with transaction() as tx:
            tx.execute(insert(Event), [{"at": moments.now(), "kind": Kind.SIGNED_IN} for _ in range(20 * seals.MOST_AT_ONCE)])
        with worker(settings.database_url, tmp_path / "log"):
            wait_until(lambda: seals.newest() is not None)
        assert flaws(settings) == []
        seals.seal_all(settings)
        found = audit.verify(settings)
        assert (found.events, found.unsealed, found.flaws) == (20 * seals.MOST_AT_ONCE, 0, [])
