"""The queue with a table, a policy and work of its own, as a second user of it would have."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import MetaData, update
from sqlalchemy.orm import Mapped, mapped_column
from time_machine import Traveller

from hammer import clock as clock_module
from hammer.db.database import Base, UtcDateTime, db, transaction
from hammer.db.queue import Policy, Queue
from tests.serving import at_once

POLICY = Policy(lease=timedelta(minutes=1), waits=(timedelta(seconds=5), timedelta(hours=1)), jitter=0.1)


class Job(Base):
    """A row of work. Its table is made by the fixture, and no migration knows it."""

    __tablename__ = "jobs"
    metadata = MetaData()

    id: Mapped[int] = mapped_column(primary_key=True)
    claims: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(UtcDateTime)
    done: Mapped[bool] = mapped_column(default=False)


@pytest.fixture
def jobs(app: Flask) -> Iterator[Queue[Job]]:
    with app.app_context():
        Job.metadata.create_all(db.engine)
    yield Queue(Job, POLICY, id=Job.id, due_at=Job.next_at, tries=Job.claims, waiting=Job.done.is_(False))
    with app.app_context():
        db.session.remove()
        Job.metadata.drop_all(db.engine)


def add(*ids: int) -> None:
    with transaction() as tx:
        for id_ in ids:
            tx.add(Job(id=id_, next_at=clock_module.now() + timedelta(microseconds=id_)))


def claim(jobs: Queue[Job]) -> Job | None:
    with transaction() as tx:
        return jobs.claim(tx, clock_module.now())


def claim_one(jobs: Queue[Job]) -> Job:
    claimed = claim(jobs)
    assert claimed is not None
    return claimed


def stored(id_: int) -> Job:
    db.session.expire_all()
    return db.session.get_one(Job, id_)


def finish(jobs: Queue[Job], job: Job) -> None:
    with transaction() as tx:
        tx.execute(update(Job).where(*jobs.held(job)).values(done=True))


def test_rows_are_claimed_in_the_order_of_their_due_times_and_once(jobs: Queue[Job], app: Flask, clock: Traveller) -> None:
    with app.app_context():
        add(2, 1, 3)
        clock.shift(1)
        assert jobs.any_due(clock_module.now())
        assert [claim_one(jobs).id for _ in range(3)] == [1, 2, 3]
        assert claim(jobs) is None
        assert not jobs.any_due(clock_module.now())


def test_threads_that_claim_at_once_get_different_rows(jobs: Queue[Job], app: Flask) -> None:
    with app.app_context():
        add(*range(-20, 0))
    claimed: list[int] = []

    def claim_all() -> None:
        with app.app_context():
            while jobs.any_due(clock_module.now()):
                if job := claim(jobs):
                    claimed.append(job.id)

    at_once([claim_all] * 4)
    assert sorted(claimed) == list(range(-20, 0))


def test_a_worker_that_lost_its_claim_changes_nothing(jobs: Queue[Job], app: Flask, clock: Traveller) -> None:
    with app.app_context():
        add(0)
        slow = claim_one(jobs)
        db.session.expunge(slow)
        clock.shift(POLICY.lease)
        leased_until = claim_one(jobs).next_at
        finish(jobs, slow)
        with transaction() as tx:
            jobs.retry_later(tx, slow)
        assert (stored(0).done, stored(0).next_at) == (False, leased_until)


def test_a_failed_row_waits_as_long_as_the_policy_says_until_its_last_try(jobs: Queue[Job], app: Flask, clock: Traveller) -> None:
    with app.app_context():
        add(0)
        for seconds in (5, 3600):
            job = claim_one(jobs)
            assert not jobs.is_last_try(job)
            with transaction() as tx:
                jobs.retry_later(tx, job)
            waits = stored(0).next_at - clock_module.now()
            assert timedelta(seconds=0.9 * seconds) <= waits <= timedelta(seconds=1.1 * seconds)
            clock.shift(waits - timedelta(microseconds=1))
            assert claim(jobs) is None
            clock.shift(timedelta(microseconds=1))
        assert jobs.is_last_try(claim_one(jobs))
        assert POLICY.most_tries == 3
