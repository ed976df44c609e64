"""Two verbs at once, the second let in at a chosen step of the first.

Parallel requests hit the window between two statements by luck alone. Here one thread stops before a step (a statement or a commit)
until the other is through, or waits for a lock; `at_every_step` does so for all steps there are. All waits are bounded.
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
"""So long everything may take; a test that needs more fails."""
MOST_STEPS = 60

Verb = Callable[[], object]


@dataclass(frozen=True)
class Ended:
    """How a verb ended: what it returned, or what it raised."""

    value: object = None
    raised: Exception | None = None


class _Stop:
    """Stops the thread that calls `arm` before its n-th step, or before the first one that has these words in it."""

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
            assert self.go_on.wait(SECONDS), f"Nothing let it go on before {step}"


def stopped(app: Flask, first: Verb, second: Verb, before: int | str) -> tuple[Ended, Ended, str] | None:
    """How both end when `second` comes before a step of `first`, and that step; None when `first` has no such step."""
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
    """As `stopped`, but `second` stops as well, before its n-th step, until `first` is through or waits. None when it has fewer."""
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
    """How all end when `holder` stops before its commit until each of the others waits, or is through."""
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
    """Plays a new `scene` (who comes first, who comes in between) for each step of the first verb; or, where it is said before
    which step the first one stops, for each of the second."""
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
    """Asks how many wait for a lock of the database. On SQLite that is everybody who wants to write while one does."""
    if engine.dialect.name == "sqlite":
        yield lambda: MOST_STEPS if database._writing.locked() else 0
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
    """Returns as soon as it holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "It did not come true."
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
