"""A work queue in a table of the database: rows are claimed by a lease and tried a limited number of times.

A worker claims a row by moving the row's due time ahead by the length of the lease. If the worker dies, the lease ends and another
worker claims the row. So the work on a row may be done twice, but no row is lost. The times are those of the database's clock
(`server_clock`), since the clocks of hosts differ.
"""

import atexit
import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, exists, or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute

from hammer import clock
from hammer.db import server_clock
from hammer.db.database import Base, Transaction, db, transaction
from hammer.refusals import Unavailable

if TYPE_CHECKING:
    from flask import Flask

Row = TypeVar("Row", bound=Base)
Result = TypeVar("Result")

IDLE_SECONDS: Final = 1.0
"""How often the idle threads of a process look for due rows without being woken: for rows that other processes add, and for
retries. One of them looks for all."""
AFTER_FAULT_SECONDS: Final = 5.0
"""How long a thread pauses after the database was away."""
RECORD_AGAIN_SECONDS: Final = 0.2
"""The pause between two attempts to record a result."""
STOP_WITHIN: Final = timedelta(seconds=30)
"""How long `Workers.stop` waits for work that is in no queue."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policy:
    """How long a claim holds, how often a row is tried, and how long the queue waits between two tries."""

    lease: timedelta
    """How long a claim holds. It must be longer than the work on one row can take."""
    waits: tuple[timedelta, ...]
    """The wait after the first failed try, after the second, and so on. After the last wait there is one more try."""
    jitter: float = 0.25
    """The share by which a wait is randomly longer or shorter, so that rows that failed together are not retried together."""

    @property
    def most_tries(self) -> int:
        return len(self.waits) + 1

    def wait(self, tries: int) -> timedelta:
        """How long to wait after this many tries."""
        return self.waits[tries - 1] * random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311  # protects nothing

    @property
    def furthest_ahead(self) -> timedelta:
        """The furthest that a claim or a retry can move a due time ahead."""
        return max([self.lease, *(wait * (1 + self.jitter) for wait in self.waits)])


class Queue(Generic[Row]):
    """Rows of one table that wait for work. The columns are given by the user of the queue."""

    def __init__(
        self,
        model: type[Row],
        policy: Policy,
        *,
        id: InstrumentedAttribute[Any],  # noqa: A002  # named after the column
        due_at: InstrumentedAttribute[datetime],
        tries: InstrumentedAttribute[int],
        waiting: ColumnElement[bool],
    ) -> None:
        """
        :param due_at: when the row may be claimed (again).
        :param tries: how often the row was claimed. The number also identifies a claim: see `held`.
        :param waiting: whether the row still needs work.
        """
        self.policy = policy
        self._model = model
        self._id = id
        self._due_at = due_at
        self._tries = tries
        self._waiting = waiting
        self.added = threading.Event()
        """Set when rows for the workers of this process were committed."""

    def wake(self) -> None:
        """Wakes a worker of this process. Call it after the commit: a worker sees only committed rows."""
        self.added.set()

    def any_due(self, now: datetime, *where: ColumnElement[bool]) -> bool:
        """Whether a row can be claimed. Reads only, so that idle workers take no lock."""
        return bool(db.session.scalar(select(exists().where(*self._due(now), *where))))

    def claim(self, tx: Transaction, now: datetime, *where: ColumnElement[bool]) -> Row | None:
        """Claims the row that has been due for longest. None when no row is due, or other workers are claiming all that are."""
        oldest = select(self._id).where(*self._due(now), *where).order_by(self._due_at).limit(1).with_for_update(skip_locked=True)
        claim = update(self._model).where(self._id == oldest.scalar_subquery()).returning(self._model)
        claimed: Row | None = tx.scalar(claim.values({self._due_at: now + self.policy.lease, self._tries: self._tries + 1}))
        return claimed

    def held(self, row: Row) -> tuple[ColumnElement[bool], ...]:
        """The conditions under which the claim on `row` still holds: the row was not claimed again, and it still needs work."""
        return self._id == self._value(row, self._id), self._tries == self._value(row, self._tries), self._waiting

    def is_last_try(self, row: Row) -> bool:
        return cast(int, self._value(row, self._tries)) >= self.policy.most_tries

    def retry_later(self, tx: Transaction, row: Row) -> None:
        """Makes the row due again after the wait of the policy. Does nothing if the claim does not hold any more."""
        wait = self.policy.wait(self._value(row, self._tries))
        tx.execute(update(self._model).where(*self.held(row)).values({self._due_at: server_clock.now() + wait}))

    def record(self, row: Row, write: Callable[[Transaction], Result]) -> Result:
        """Calls `write` in a transaction, to record what was done for a claimed row. Returns what `write` returns.

        While the database is away, this is repeated until the lease ends: work that is not recorded is done twice.
        """
        lease_ends_at = self._value(row, self._due_at)
        attempts_left = int(self.policy.lease.total_seconds() / RECORD_AGAIN_SECONDS)
        while True:
            attempts_left -= 1
            try:
                with transaction() as tx:
                    return write(tx)
            except (Unavailable, SQLAlchemyError):
                if not attempts_left or server_clock.now() > lease_ends_at:
                    raise
                time.sleep(RECORD_AGAIN_SECONDS)

    def _due(self, now: datetime) -> tuple[ColumnElement[bool], ...]:
        # A row that is due further ahead than a wait can be was written while the clock of a server was ahead.
        too_far_ahead = self._due_at > now + self.policy.furthest_ahead + clock.APART
        return self._waiting, or_(self._due_at <= now, too_far_ahead)

    @staticmethod
    def _value(row: Row, column: InstrumentedAttribute[Any]) -> Any:
        return getattr(row, column.key)


class Workers:
    """Threads that work on the rows of a queue until they are stopped."""

    def __init__(
        self,
        queue: Queue[Any] | None,
        work_on_next: Callable[[], bool],
        *,
        name: str,
        count: int,
        context: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """
        :param queue: None for work that is in no queue: then the threads look once a second, and are never woken.
        :param work_on_next: works on one row and returns True, or returns False when no row is due.
        :param name: the name of the queue in the log and in the names of the threads.
        :param context: gives a context in which `work_on_next` can use the database.
        """
        self._woken = queue.added if queue else threading.Event()
        self._patience = queue.policy.lease if queue else STOP_WITHIN
        self._work_on_next = work_on_next
        self._name = name
        self._context = context
        self._stopping = threading.Event()
        self._turn = threading.Lock()
        self._next_look = 0.0
        """Before this moment of the monotonic clock no thread looks without being woken."""
        self._threads = [threading.Thread(target=self._run, name=f"{name}-{n}", daemon=True) for n in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Lets each thread finish the row that it works on. Returns when all have ended, or after the length of a lease."""
        self._stopping.set()
        self._woken.set()
        until = time.monotonic() + self._patience.total_seconds()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def alive(self) -> bool:
        """Whether all threads run. A thread ends before `stop` only by an unexpected exception."""
        return all(thread.is_alive() for thread in self._threads)

    def _run(self) -> None:
        must_look = False
        while not self._stopping.is_set():
            pause, failed = IDLE_SECONDS, False
            try:
                if must_look or self._has_turn():
                    with self._context():
                        while not self._stopping.is_set() and self._work_on_next():
                            pass
            except (Unavailable, SQLAlchemyError) as error:
                log.warning("The queue of %s waits for the database: %s.", self._name, type(error).__name__)
                pause, failed = AFTER_FAULT_SECONDS, True
            pause *= random.uniform(0.5, 1)  # noqa: S311  # so that the threads do not all look at the same moment
            woken = not self._stopping.is_set() and self._woken.wait(pause)
            if woken:
                self._woken.clear()
            must_look = woken or failed

    def _has_turn(self) -> bool:
        """Whether to look now: no other thread of these has looked lately."""
        with self._turn:
            now = time.monotonic()
            if now < self._next_look:
                return False
            self._next_look = now + IDLE_SECONDS / 2
            return True


def start_with_server(app: "Flask", name: str, workers: Workers) -> None:
    """Starts the threads with the first request, or when the server calls `app.extensions[name]`. At the end of the process they
    finish what they are working on."""
    started = threading.Lock()

    def start() -> None:
        if started.acquire(blocking=False):  # only the first call gets the lock, which is never released
            workers.start()
            atexit.register(workers.stop)

    app.before_request(start)
    app.extensions[name] = start
