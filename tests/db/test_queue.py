"""The queue in a table: which row is claimed and for how long, what a claim that was lost may still change, and the threads."""

import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from time_machine import Traveller

from hammer import clock as time_of_day
from hammer.db import queue
from hammer.db.database import Transaction, db, transaction
from hammer.db.prepared import insert_row
from hammer.db.queue import Policy, Queue, Workers
from hammer.models import Message, MessageState
from hammer.refusals import NotFound, Unavailable
from tests.interleaving import until

in_context = pytest.mark.usefixtures("context")

SECOND = timedelta(seconds=1)
POLICY = Policy(lease=15 * SECOND, waits=(2 * SECOND, 60 * SECOND), jitter=0)
STEP = timedelta(microseconds=1)


def queue_of(policy: Policy = POLICY) -> Queue[Message]:
    return Queue(Message, policy, id=Message.id, due_at=Message.due_at, tries=Message.tries, waiting=Message.ended_at.is_(None))


def test_the_classes_of_statements_are_made_before_a_thread_needs_them() -> None:
    made = "{Update, Delete} <= set(annotated_classes)"
    check = f"import hammer.db.database; from sqlalchemy.sql.annotation import *; from sqlalchemy import *; assert {made}"
    subprocess.run([sys.executable, "-c", check], check=True)


def add(name: str, due_in: timedelta = timedelta(0), tries: int = 0) -> None:
    """A row, told apart by what stands where messages have their language."""
    now = time_of_day.now()
    values = {"telephone_number": "+79290000001", "language": name, "state": MessageState.WAITING}
    with transaction() as tx:
        insert_row(tx, Message, created_at=now, due_at=now + due_in, tries=tries, **values)


def claim(rows: Queue[Message]) -> Message | None:
    with transaction() as tx:
        return rows.claim(tx, time_of_day.now())


def claimed(rows: Queue[Message]) -> Message:
    row = claim(rows)
    assert row is not None
    return row


def stored(name: str) -> Message:
    db.session.expire_all()
    return db.session.query(Message).filter(Message.language == name).one()


@pytest.fixture
def clock() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


# Policy


def test_a_policy_has_one_try_more_than_waits() -> None:
    assert POLICY.most_tries == 3
    assert [POLICY.wait(tries) for tries in (1, 2)] == [2 * SECOND, 60 * SECOND]


def test_waits_differ_by_a_quarter_at_most_in_both_directions() -> None:
    policy = Policy(lease=SECOND, waits=(4 * SECOND,))
    drawn = [policy.wait(1) for _ in range(500)]
    assert 3 * SECOND <= min(drawn) < 3.2 * SECOND
    assert 4.8 * SECOND < max(drawn) <= 5 * SECOND


@pytest.mark.parametrize(
    ("lease", "waits", "jitter", "furthest"),
    [(15, (2, 60), 0.25, 75), (15, (2, 60), 0.5, 90), (15, (2, 60), 0, 60), (100, (2, 60), 0.25, 100), (1, (60, 2), 0.25, 75)],
)
def test_nothing_moves_a_due_time_further_ahead_than_the_longest_wait_or_the_lease(
    lease: int, waits: tuple[int, ...], jitter: float, furthest: int
) -> None:
    policy = Policy(lease * SECOND, tuple(wait * SECOND for wait in waits), jitter)
    assert policy.furthest_ahead == furthest * SECOND


# Claims


@in_context
def test_the_row_that_is_due_for_longest_is_claimed_for_the_length_of_the_lease(clock: Traveller) -> None:
    rows = queue_of()
    assert not rows.any_due(time_of_day.now())
    assert claim(rows) is None
    for name, ago in (("second", 1), ("first", 2), ("third", 0)):
        add(name, -ago * SECOND)
    add("later", STEP)
    taken = []
    while rows.any_due(time_of_day.now()):
        row = claimed(rows)
        assert (row.due_at, row.tries) == (time_of_day.now() + POLICY.lease, 1)
        taken.append(row.language)
    assert taken == ["first", "second", "third"]
    assert claim(rows) is None
    assert (stored("later").tries, stored("later").due_at) == (0, time_of_day.now() + STEP)
    clock.shift(POLICY.lease - STEP)
    assert claimed(rows).language == "later"
    assert claim(rows) is None
    clock.shift(STEP)
    assert claimed(rows).tries == 2


@in_context
def test_conditions_narrow_what_is_due(clock: Traveller) -> None:
    rows, now = queue_of(), time_of_day.now()
    add("one")
    add("other", -SECOND)
    mine = Message.language == "one"
    assert rows.any_due(now, mine)
    with transaction() as tx:
        row = rows.claim(tx, now, mine)
        assert row is not None
        assert row.language == "one"
        assert rows.claim(tx, now, mine) is None
    assert not rows.any_due(now, mine)
    assert rows.any_due(now)


@in_context
def test_a_row_that_needs_no_more_work_is_not_claimed(clock: Traveller) -> None:
    rows = queue_of()
    add("one")
    with transaction() as tx:
        tx.execute(update(Message).values(ended_at=time_of_day.now()))
    assert not rows.any_due(time_of_day.now())
    assert claim(rows) is None


@in_context
def test_a_row_that_is_due_further_ahead_than_can_be_is_due_now(clock: Traveller) -> None:
    """A server whose clock was ahead wrote it."""
    rows = queue_of()
    add("one", POLICY.furthest_ahead + time_of_day.APART)
    assert not rows.any_due(time_of_day.now())
    assert claim(rows) is None
    add("other", POLICY.furthest_ahead + time_of_day.APART + STEP)
    assert rows.any_due(time_of_day.now())
    assert claimed(rows).language == "other"


@in_context
def test_a_try_that_failed_is_repeated_after_the_wait_of_its_number(clock: Traveller) -> None:
    rows = queue_of()
    add("one")
    add("other", -SECOND)
    row = claimed(rows)
    assert row.language == "other"
    assert not rows.is_last_try(row)
    with transaction() as tx:
        rows.retry_later(tx, row)
    assert stored("other").due_at == time_of_day.now() + 2 * SECOND
    assert stored("one").due_at == time_of_day.now()
    clock.shift(2 * SECOND)
    for _ in range(2):
        row = claimed(rows)
    assert (row.language, row.tries, rows.is_last_try(row)) == ("other", 2, False)
    with transaction() as tx:
        rows.retry_later(tx, row)
    assert stored("other").due_at == time_of_day.now() + 60 * SECOND
    clock.shift(60 * SECOND)
    last = [claimed(rows) for _ in range(2)]
    assert {row.language: rows.is_last_try(row) for row in last} == {"one": False, "other": True}


@in_context
@pytest.mark.parametrize("since", ["claimed again", "ended"])
def test_a_claim_that_was_lost_changes_nothing(clock: Traveller, since: str) -> None:
    rows = queue_of()
    add("one")
    lost = claimed(rows)
    db.session.expunge_all()
    clock.shift(POLICY.lease)
    if since == "ended":
        with transaction() as tx:
            tx.execute(update(Message).values(ended_at=time_of_day.now()))
    else:
        claimed(rows)
    before = stored("one").due_at
    with transaction() as tx:
        rows.retry_later(tx, lost)
        held = db.session.query(Message).filter(*rows.held(lost)).count()
    assert held == 0
    assert stored("one").due_at == before


# Results


@dataclass
class Naps:
    """Pauses that take no time."""

    taken: list[float] = field(default_factory=list)
    then: Callable[[], object] = lambda: None

    def sleep(self, seconds: float) -> None:
        self.taken.append(seconds)
        self.then()


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> Naps:
    naps = Naps()
    monkeypatch.setattr(queue, "time", naps)
    monkeypatch.setattr(queue, "RECORD_AGAIN_SECONDS", 0.25)
    return naps


@dataclass
class Result:
    """What is to be recorded, in a database that is away for some attempts."""

    away: int
    attempts: int = 0

    def write(self, tx: Transaction) -> None:
        self.attempts += 1
        tx.execute(update(Message).values(gateway=f"attempt {self.attempts}"))
        if self.attempts <= self.away:
            raise OperationalError("", {}, Exception()) if self.attempts % 2 else Unavailable(retry_after=1)


@in_context
@pytest.mark.parametrize("away", [0, 1, 2, 59])
def test_a_result_is_recorded_again_while_the_database_is_away(clock: Traveller, naps: Naps, away: int) -> None:
    rows, result = queue_of(), Result(away)
    add("one")
    rows.record(claimed(rows), result.write)
    assert stored("one").gateway == f"attempt {away + 1}"
    assert naps.taken == [0.25] * away


@in_context
def test_a_result_is_given_up_after_as_many_attempts_as_the_lease_has_time_for(clock: Traveller, naps: Naps) -> None:
    rows, result = queue_of(), Result(1000)
    add("one")
    with pytest.raises(Unavailable):
        rows.record(claimed(rows), result.write)
    assert (result.attempts, len(naps.taken)) == (60, 59)
    assert stored("one").gateway is None


@in_context
def test_a_result_is_given_up_once_the_lease_has_ended(clock: Traveller, naps: Naps) -> None:
    rows, result = queue_of(), Result(1000)
    add("one")
    row = claimed(rows)
    clock.shift(POLICY.lease)
    naps.then = lambda: clock.shift(STEP)
    with pytest.raises(Unavailable):
        rows.record(row, result.write)
    assert result.attempts == 2  # at its end, and not behind it


@in_context
def test_a_fault_of_another_kind_is_raised_at_once(clock: Traveller, naps: Naps) -> None:
    rows = queue_of()
    add("one")

    def write(_: Transaction) -> None:
        raise NotFound

    with pytest.raises(NotFound):
        rows.record(claimed(rows), write)
    assert naps.taken == []


# Threads


class Work:
    """Rows for workers, outside of any database."""

    def __init__(self, rows: int = 0) -> None:
        self.left = rows
        self.looks = 0
        self.done = 0
        self.entered = 0
        self.inside = 0
        self.fault: Exception | None = None

    @contextmanager
    def context(self) -> Iterator[None]:
        self.entered += 1
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    def on_next(self) -> bool:
        assert self.inside
        self.looks += 1
        if self.fault is not None:
            raise self.fault
        if not self.left:
            return False
        self.left -= 1
        self.done += 1
        return True


@contextmanager
def working(work: Work, rows: Queue[Message], count: int = 1) -> Iterator[Workers]:
    workers = Workers(rows, work.on_next, name="texts", count=count, context=work.context)
    assert not workers.alive
    workers.start()
    try:
        yield workers
    finally:
        workers.stop()
    assert not workers.alive


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look by themselves once an hour."""
    monkeypatch.setattr(queue, "IDLE_SECONDS", 3600.0)
    monkeypatch.setattr(queue, "AFTER_FAULT_SECONDS", 3600.0)


@pytest.mark.usefixtures("patient")
def test_workers_do_all_rows_and_then_wait_to_be_woken() -> None:
    rows, work = queue_of(), Work(3)
    with working(work, rows) as workers:
        until(lambda: work.looks == 4)
        assert (work.done, work.entered) == (3, 1)
        assert workers.alive
        work.left = 2
        rows.wake()
        until(lambda: work.looks == 7 and not work.inside)
        until(lambda: not rows.added.is_set())
        assert (work.done, work.entered) == (5, 2)
    assert work.looks == 7


def test_an_idle_worker_looks_by_itself_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "IDLE_SECONDS", 0.01)
    work = Work()
    with working(work, queue_of()):
        until(lambda: work.looks >= 3)


@pytest.mark.usefixtures("patient")
def test_one_idle_thread_looks_for_all() -> None:
    rows, work = queue_of(), Work()
    with working(work, rows, count=4):
        until(lambda: work.looks == 1)
        rows.wake()
        until(lambda: work.looks > 1)
    assert work.looks <= 1 + 4


@pytest.mark.usefixtures("patient")
def test_the_threads_keep_no_process_from_ending_and_have_names() -> None:
    before = set(threading.enumerate())
    with working(Work(), queue_of(), count=3) as workers:
        started = set(threading.enumerate()) - before
        assert sorted(thread.name for thread in started) == ["texts-0", "texts-1", "texts-2"]
        assert all(thread.daemon for thread in started)
        assert workers.alive


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "fault", [Unavailable(retry_after=1), OperationalError("", {}, Exception())], ids=lambda one: type(one).__name__
)
def test_a_worker_outlives_a_database_that_is_away(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    monkeypatch.setattr(queue, "IDLE_SECONDS", 0.0)  # which is not the pause after a fault
    rows, work = queue_of(), Work()
    work.fault = fault
    with caplog.at_level(logging.WARNING, logger="hammer"), working(work, rows) as workers:
        until(lambda: bool(caplog.records))
        monkeypatch.setattr(queue, "IDLE_SECONDS", 3600.0)
        work.fault, work.left = None, 1
        rows.wake()
        until(lambda: work.looks == 3)
        assert workers.alive
    assert (work.looks, work.done) == (3, 1)
    assert [record.getMessage() for record in caplog.records] == [
        f"The queue of texts waits for the database: {type(fault).__name__}."
    ]


def test_after_a_fault_a_worker_looks_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "AFTER_FAULT_SECONDS", 0.01)
    monkeypatch.setattr(queue, "IDLE_SECONDS", 3600.0)
    work = Work()
    work.fault = Unavailable(retry_after=1)
    with working(work, queue_of()):
        until(lambda: work.looks >= 3)


@pytest.mark.usefixtures("patient")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_workers_are_not_alive_when_one_of_them_ended_by_a_bug() -> None:
    work = Work()
    work.fault = ZeroDivisionError()
    with working(work, queue_of()) as workers:
        until(lambda: not workers.alive)


class Stuck(Work):
    """Its row takes until `go`."""

    def __init__(self) -> None:
        super().__init__(1000)
        self.began, self.go = threading.Event(), threading.Event()

    def on_next(self) -> bool:
        self.began.set()
        assert self.go.wait(60)
        return super().on_next()


@pytest.mark.usefixtures("patient")
def test_a_worker_that_is_stopped_ends_its_row_and_begins_no_other() -> None:
    work, rows = Stuck(), queue_of()
    workers = Workers(rows, work.on_next, name="texts", count=1, context=work.context)
    workers.start()
    assert work.began.wait(60)
    stopping = threading.Thread(target=workers.stop)
    stopping.start()
    until(rows.added.is_set)
    work.go.set()
    stopping.join(60)
    assert not stopping.is_alive()
    assert (work.done, workers.alive) == (1, False)


@pytest.mark.usefixtures("patient")
def test_stopping_waits_for_a_worker_that_is_stuck_no_longer_than_a_lease() -> None:
    work = Stuck()
    rows = queue_of(replace(POLICY, lease=timedelta(milliseconds=10)))
    workers = Workers(rows, work.on_next, name="texts", count=2, context=work.context)
    workers.start()
    assert work.began.wait(60)
    rows.wake()  # the other thread, which does not look by itself while one looks for both
    until(lambda: work.entered == 2)
    stopping = threading.Thread(target=workers.stop)
    stopping.start()
    stopping.join(30)
    stopped, alive = not stopping.is_alive(), workers.alive
    work.go.set()
    stopping.join(60)
    assert (stopped, alive) == (True, True)
    until(lambda: not workers.alive)
