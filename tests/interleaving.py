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

from hammer import database
from hammer.database import db

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
    """Stops the thread that calls `arm` before its n-th step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.thread = 0
        self.steps: list[str] = []
        self.reached, self.go_on = threading.Event(), threading.Event()

    def arm(self) -> None:
        self.thread = threading.get_ident()

    def statement(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self._note(statement)

    def commit(self, _connection: object) -> None:
        self._note("commit")

    def _note(self, what: str) -> None:
        if threading.get_ident() == self.thread:
            self.steps.append(" ".join(what.split()))
            if len(self.steps) == self.step:
                self.reached.set()
                assert self.go_on.wait(SECONDS), f"Nothing let it go on before {what}"


def stopped(app: Flask, first: Verb, second: Verb, step: int) -> tuple[Ended, Ended, str] | None:
    """How both end when `second` comes before the n-th step of `first`, and that step; None when `first` has fewer."""
    with app.app_context():
        engine = db.engine
    stop = _Stop(step)

    def run(verb: Verb, armed: bool) -> Ended:
        if armed:
            stop.arm()
        with app.app_context():
            try:
                return Ended(verb())
            except Exception as raised:  # noqa: BLE001  # the test looks at it
                return Ended(raised=raised)

    with _listening(engine, stop), someone_waits(engine) as waits, ThreadPoolExecutor(2) as pool:
        one = pool.submit(run, first, True)
        until(lambda: stop.reached.is_set() or one.done())
        if not stop.reached.is_set():
            assert one.result().raised is None
            return None
        two = pool.submit(run, second, False)
        try:
            until(lambda: two.done() or waits())
        finally:
            stop.go_on.set()
        return one.result(SECONDS), two.result(SECONDS), stop.steps[step - 1]


def at_every_step(app: Flask, scene: Callable[[], tuple[Verb, Verb]]) -> Iterator[tuple[Ended, Ended, str]]:
    """Plays a new `scene` (who comes first, who comes in between) for each step of the first verb."""
    for step in count(1):
        assert step < MOST_STEPS
        with app.app_context():
            first, second = scene()
        ended = stopped(app, first, second, step)
        if ended is None:
            assert step > 1
            return
        yield ended


@contextmanager
def someone_waits(engine: Engine) -> Iterator[Callable[[], bool]]:
    """Asks whether somebody waits for a lock of the database. On SQLite a writer waits as long as another one writes."""
    if engine.dialect.name == "sqlite":
        yield database._writing.locked
        return
    plain = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as watching:
        waiting = "select count(*) from pg_stat_activity where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0"

        def how_many() -> bool:
            return watching.execute(waiting).fetchone() != (0,)

        yield how_many


def until(holds: Callable[[], bool]) -> None:
    """Returns as soon as it holds."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end, "It did not come true."
        time.sleep(0.002)


@contextmanager
def _listening(engine: Engine, stop: _Stop) -> Iterator[None]:
    event.listen(engine, "before_cursor_execute", stop.statement)
    event.listen(engine, "commit", stop.commit)
    try:
        yield
    finally:
        stop.go_on.set()
        event.remove(engine, "before_cursor_execute", stop.statement)
        event.remove(engine, "commit", stop.commit)
