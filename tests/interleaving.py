"""Runs two verbs at the same time: the second one runs between two chosen steps of the first.

Parallel requests hit the gap between two statements only by chance. Here one thread stops before a step (a statement or a commit)
until the other thread has ended or waits for a lock. `at_every_step` does so for each step of the verb. All waits have a limit.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import psycopg
from flask import Flask
from sqlalchemy import Engine, event

from hammer.db import database
from hammer.db.database import db

SECONDS: float = 30
"""The limit of each wait. A test that needs longer fails."""
MOST_STEPS = 60

Verb = Callable[[], object]


@dataclass(frozen=True)
class Ended:
    """How a verb ended: its result, or the exception that it raised."""

    value: object = None
    raised: Exception | None = None


class _Stop:
    """Stops the thread that has called `arm` before its n-th step, or before the first step that contains this text."""

    def __init__(self, before: int | str) -> None:
        self.before = before
        self.thread = 0
        self.steps: list[str] = []
        self.reached, self.go_on = threading.Event(), threading.Event()

    def arm(self) -> None:
        self.thread = threading.get_ident()

    @property
    def place(self) -> str:
        return self.steps[self.before - 1] if isinstance(self.before, int) else self.before

    def statement(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self._note(" ".join(statement.split()))

    def commit(self, _connection: object) -> None:
        self._note("COMMIT")

    def _note(self, step: str) -> None:
        if threading.get_ident() != self.thread:
            return
        self.steps.append(step)
        if not self.reached.is_set() and (self.before == len(self.steps) or (isinstance(self.before, str) and self.before in step)):
            self.reached.set()
            assert self.go_on.wait(SECONDS), f"Waited too long before {step}"


def stopped(app: Flask, first: Verb, second: Verb, before: int | str) -> tuple[Ended, Ended, str] | None:
    """Runs `second` before a step of `first`: how both ended, and that step. None if `first` has no such step."""
    with app.app_context():
        engine = db.engine
    stop = _Stop(before)
    with listening(engine, stop), someone_waits(engine) as waits, ThreadPoolExecutor(2) as pool:
        one = pool.submit(_run, app, first, stop)
        until(lambda: stop.reached.is_set() or one.done())
        if not stop.reached.is_set():
            assert one.result().raised is None
            return None
        two = pool.submit(_run, app, second)
        try:
            until(lambda: two.done() or waits())
        finally:
            stop.go_on.set()
        return one.result(SECONDS), two.result(SECONDS), stop.place


def both_stopped(app: Flask, first: Verb, second: Verb, before: str, second_before: int) -> tuple[Ended, Ended, str] | None:
    """As `stopped`, but `second` stops too, before its n-th step, until `first` has ended or waits. None if it has fewer steps."""
    with app.app_context():
        engine = db.engine
    stop, other = _Stop(before), _Stop(second_before)
    with (
        listening(engine, stop),
        listening(engine, other),
        someone_waits(engine) as waits,
        ThreadPoolExecutor(2) as pool,
    ):
        one = pool.submit(_run, app, first, stop)
        until(lambda: stop.reached.is_set() or one.done())
        assert stop.reached.is_set()
        two = pool.submit(_run, app, second, other)
        try:
            until(lambda: other.reached.is_set() or two.done() or waits())
            stop.go_on.set()
            until(lambda: one.done() or waits())
        finally:
            stop.go_on.set()
            other.go_on.set()
        ended = one.result(SECONDS), two.result(SECONDS)
        return (*ended, other.place) if other.reached.is_set() else None


def while_held(app: Flask, holder: Verb, *others: Verb) -> list[Ended]:
    """Stops `holder` before its commit until each of the others has ended or waits: how all of them ended."""
    with app.app_context():
        engine = db.engine
    stop = _Stop("COMMIT")
    with listening(engine, stop), someone_waits(engine) as waits, ThreadPoolExecutor(1 + len(others)) as pool:
        all_of_them = [pool.submit(_run, app, holder, stop)]
        until(lambda: stop.reached.is_set() or all_of_them[0].done())
        for n, other in enumerate(others):
            all_of_them.append(pool.submit(_run, app, other))
            until(lambda n=n: waits() > n)  # type: ignore[misc]
        stop.go_on.set()
        return [one.result(SECONDS) for one in all_of_them]


def at_every_step(
    app: Flask, scene: Callable[[], tuple[Verb, Verb]], first_before: str | None = None
) -> Iterator[tuple[Ended, Ended, str]]:
    """Plays a new `scene` (the first verb, and the one that runs in between) for each step of the first verb; with `first_before`,
    the step before which the first verb stops, for each step of the second."""
    for step in count(1):
        assert step < MOST_STEPS
        with app.app_context():
            first, second = scene()
        played = stopped(app, first, second, step) if first_before is None else both_stopped(app, first, second, first_before, step)
        if played is None:
            assert step > 1
            return
        yield played


def _run(app: Flask, verb: Verb, stop: _Stop | None = None) -> Ended:
    if stop is not None:
        stop.arm()
    with app.app_context():
        try:
            return Ended(verb())
        except Exception as raised:  # noqa: BLE001  # the test looks at it
            return Ended(raised=raised)


@contextmanager
def someone_waits(engine: Engine) -> Iterator[Callable[[], int]]:
    """A function that counts who waits for a lock of the database. On SQLite all writers wait while one of them writes."""
    if engine.dialect.name == "sqlite":
        yield lambda: MOST_STEPS if database._sqlite_writer.locked() else 0
        return
    plain = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as watching:
        waiting = (
            "select count(*) from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"
        )

        def how_many() -> int:
            found = watching.execute(waiting).fetchone()
            return found[0] if found else 0

        yield how_many


def until(holds: Callable[[], object]) -> None:
    """Returns as soon as the condition holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "The condition did not hold in time."
        time.sleep(0.002)


@contextmanager
def listening(engine: Engine, stop: _Stop) -> Iterator[None]:
    event.listen(engine, "before_cursor_execute", stop.statement)
    event.listen(engine, "commit", stop.commit)
    try:
        yield
    finally:
        stop.go_on.set()
        event.remove(engine, "before_cursor_execute", stop.statement)
        event.remove(engine, "commit", stop.commit)
