"""Events by day: exact, also where days meet, while only the newest hours are counted in the events themselves."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, insert, select

from config import Settings
from hammer import clock
from hammer.db.database import db, transaction
from hammer.events import Kind
from hammer.models import Event, EventCount
from hammer.operations import daily, retention
from hammer.operations.daily import DAY, DAYS, HOUR

pytestmark = pytest.mark.usefixtures("context")

KINDS = (Kind.SIGNED_IN, Kind.SIGNED_UP, Kind.INVITE_ACTIVATED)
MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)


def happen(kind: Kind, *moments: datetime) -> None:
    with transaction() as tx:
        tx.execute(insert(Event), [{"at": at, "kind": kind} for at in moments])


def counted_one_by_one(now: datetime) -> list[Counter[str]]:
    """The events of each day, each looked at."""
    found = [Counter[str]() for _ in range(DAYS)]
    for at, kind in db.session.execute(select(Event.at, Event.kind)):
        days_ago = (now.date() - at.date()).days
        if days_ago < DAYS:
            found[DAYS - 1 - days_ago][kind] += 1
    return found


@pytest.mark.parametrize("seed", range(4))
def test_every_day_has_the_events_that_happened_on_it(settings: Settings, seed: int) -> None:
    chance, now = random.Random(seed), MIDNIGHT - HOUR * 30  # noqa: S311
    around_midnight = [timedelta(0), -timedelta(microseconds=1), timedelta(microseconds=1), HOUR - timedelta(microseconds=1)]
    for _ in range(14):
        committed_late = [now - timedelta(seconds=chance.uniform(0, 590)) for _ in range(chance.randrange(6))]
        now += chance.choice([timedelta(minutes=7), timedelta(minutes=50), HOUR * 3, HOUR * 31, DAY * 4])
        meanwhile = [MIDNIGHT + DAY * chance.randrange(-3, 20) + chance.choice(around_midnight) for _ in range(8)]
        with time_machine.travel(now, tick=False):
            for at in (*committed_late, *(at for at in meanwhile if now - timedelta(minutes=5) <= at <= now), now):
                happen(chance.choice(KINDS), at)
            daily.count_hours(settings, seconds=chance.choice([0, None]))
            whole = daily.days(settings)
            assert [day.counts for day in whole if day.complete] == [
                expected for day, expected in zip(whole, counted_one_by_one(now), strict=True) if day.complete
            ]
    with time_machine.travel(now, tick=False):
        daily.count_hours(settings)
        assert [day.counts for day in daily.days(settings)] == counted_one_by_one(now)
        assert all(day.complete for day in daily.days(settings))


def test_a_day_that_is_not_counted_yet_says_so_and_the_newest_come_first(settings: Settings) -> None:
    daily.count_hours(settings, seconds=0)
    assert [day.complete for day in daily.days(settings)][:-2] == [False] * (DAYS - 2)
    daily.count_hours(settings)
    assert all(day.complete for day in daily.days(settings))


def test_later_readings_look_at_the_events_of_two_hours_at_most(
    settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with time_machine.travel(MIDNIGHT + timedelta(minutes=5), tick=False):
        daily.count_hours(settings)
        with statements() as seen:
            daily.count_hours(settings)
            daily.days(settings)
    assert len([each for each in seen if "FROM events" in each]) == 2


def test_hours_that_were_counted_while_a_clock_was_ahead_are_counted_again(settings: Settings) -> None:
    with time_machine.travel(MIDNIGHT + HOUR * 6, tick=False):
        daily.count_hours(settings)
    with time_machine.travel(MIDNIGHT + HOUR * 2, tick=False):
        daily.count_hours(settings)
        happen(Kind.SIGNED_IN, clock.now())
    with time_machine.travel(MIDNIGHT + HOUR * 5, tick=False):
        daily.count_hours(settings)
        assert daily.days(settings)[-1].counts[Kind.SIGNED_IN] == 1


def test_two_processes_may_count_the_same_hours_at_once(app: Flask, settings: Settings) -> None:
    happen(Kind.SIGNED_IN, clock.now() - DAY)
    others = iter([lambda: _in_another_session(app, settings)])

    def other_comes_first(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "FROM events" in statement and (count := next(others, None)):
            count()

    event.listen(db.engine, "before_cursor_execute", other_comes_first)
    try:
        daily.count_hours(settings)
    finally:
        event.remove(db.engine, "before_cursor_execute", other_comes_first)
    assert next(others, None) is None
    assert sum(day.counts[Kind.SIGNED_IN] for day in daily.days(settings)) == 1


def _in_another_session(app: Flask, settings: Settings) -> None:
    with app.app_context():
        daily.count_hours(settings)


def test_prune_keeps_the_counts_that_are_shown(settings: Settings) -> None:
    with time_machine.travel(MIDNIGHT + HOUR * 23, tick=False):
        daily.count_hours(settings)
        assert retention.prune(settings)["event counts"] == 0
    with time_machine.travel(MIDNIGHT + DAY * 20, tick=False):
        assert retention.prune(settings)["event counts"] == 22 + 24 * (DAYS - 1)
        assert db.session.scalars(select(EventCount)).all() == []
