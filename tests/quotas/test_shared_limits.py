"""Limits that all callers share lie in parts. Whatever several transactions do at the same time, no unit is given twice, no
transaction is refused while units are left, and none waits while a row with units is free."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as played
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from hammer import models
from hammer.db.database import OneConnectionSession, db, send, transaction
from hammer.quotas import counters
from hammer.quotas.counters import DAY, HOUR, PARTS, Limit
from tests.examples import examples

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CALLERS = 4
Row = tuple[str, int]
"""Scope and part."""


@dataclass
class Caller:
    """A transaction that can be begun, and what it has taken and not committed, by scope and part."""

    session: OneConnectionSession
    begun: bool = False
    taken: Counter[Row] = field(default_factory=Counter)

    def begin(self) -> None:
        if not self.begun:
            self.session.current_connection().begin()
            send(self.session.current_connection(), "begin isolation level read committed")
            send(self.session.current_connection(), "set local lock_timeout = '5ms'")  # the clock runs only while it waits
            self.begun = True

    def end(self, *, commit: bool) -> None:
        if self.begun:
            send(self.session.current_connection(), "commit" if commit else "rollback")
        self.session.close()
        self.begun, self.taken = False, Counter()


@pytest.fixture
def callers(app: Flask, on_postgresql: URL) -> Iterator[list[Caller]]:
    with app.app_context():
        made = [Caller(OneConnectionSession(db, autoflush=False)) for _ in range(CALLERS)]
        yield made
        for caller in made:
            caller.end(commit=False)


STEPS = st.lists(
    st.tuples(st.integers(0, CALLERS - 1), st.sampled_from(["take", "take", "take", "give back", "commit", "roll back"])),
    min_size=8,
    max_size=50,
)


@pytest.mark.requirement("THR-03")
@pytest.mark.parametrize("most", [(1,), (2,), (2, 0), (2, 1), (1, 2), (2, 2), (PARTS + 2, 1)])
def test_whatever_is_taken_at_the_same_time_the_bound_is_exact(callers: list[Caller], most: tuple[int, ...]) -> None:
    limits = [Limit("hour", units, HOUR) for units in most[:1]] + [Limit("day", units, DAY) for units in most[1:]]
    seen: Counter[str] = Counter()

    @played(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(STEPS, st.sampled_from(["all rows", "no rows", "rows of another limit"]))
    def play(steps: list[tuple[int, str]], with_: str) -> None:
        _begin_again(callers, limits if with_ != "no rows" else [], other=with_ == "rows of another limit")
        committed: Counter[Row] = Counter()
        for n, what in steps:
            caller, others = callers[n], [each for each in callers if each is not callers[n]]
            if what == "take":
                seen[_take(caller, others, limits, committed)] += 1
            elif what == "give back" and caller.taken:
                _give_back(caller, limits, committed)
            elif what in ("commit", "roll back"):
                if what == "commit":
                    committed.update(caller.taken)
                caller.end(commit=what == "commit")
            for limit in limits:
                assert sum(units for (scope, _), units in committed.items() if scope == limit.scope) <= limit.most
        for caller in callers:
            caller.end(commit=False)
        stored = {(row.scope, row.part): row.taken for row in db.session.query(models.Counter)}
        db.session.rollback()
        assert {row: units for row, units in stored.items() if units} == {row: units for row, units in committed.items() if units}

    play()
    assert set(seen) == ({"granted", "refused", "waits"} if all(most) else {"refused", "waits"})


def _take(caller: Caller, others: list[Caller], limits: list[Limit], committed: Counter[Row]) -> str:
    """Takes a unit of each limit. What comes of it has to be right by what is committed and what others hold."""
    theirs = {row for other in others for row in other.taken}
    view = committed.copy()
    view.update(caller.taken)
    with_units = [{(limit.scope, n) for n in range(PARTS) if view[limit.scope, n] < _most(limit, n)} for limit in limits]
    free = _free()
    caller.begin()
    try:
        rows = counters.take_all(caller.session, [], limits, NOW)
    except OperationalError:
        caller.end(commit=False)
        assert any(each and not each & free for each in with_units)
        assert any(other.begun for other in others)
        return "waits"
    if rows is None:
        assert not all(with_units)
        return "refused"
    assert [row.scope for row in rows] == [limit.scope for limit in limits]
    for row, units in zip(rows, with_units, strict=True):
        taken = row.scope, row.part
        assert taken in units - theirs
        caller.taken[taken] += 1
    return "granted"


def _give_back(caller: Caller, limits: list[Limit], committed: Counter[Row]) -> None:
    """Gives back up to two units, of whichever transaction, to a row that this one has taken from."""
    scope, part = next(iter(caller.taken))
    used = sum(each[row] for each in (committed, caller.taken) for row in each if row[0] == scope)
    rows = [replace(limit, part=part) for limit in limits if limit.scope == scope]
    counters.give_back(caller.session, rows, min(2, used), NOW)
    caller.taken[scope, part] -= min(2, used)


def _begin_again(callers: list[Caller], limits: list[Limit], *, other: bool) -> None:
    """Ends all transactions and empties the table. All rows of these limits exist then, made for these or for `other` ones."""
    for caller in callers:
        caller.end(commit=False)
    with transaction() as tx:
        tx.execute(delete(models.Counter))
        for limit in limits:
            row: dict[str, Any] = {"scope": limit.scope, "period": counters.period(limit.window, NOW)}
            row |= {"taken": 0, "made_for": limit.most + other, "ends_at": NOW + DAY}
            tx.execute(insert(models.Counter), [row | {"part": n} for n in range(PARTS)])


def _most(limit: Limit, part: int) -> int:
    return limit.most // PARTS + (part < limit.most % PARTS)


def _free() -> set[Row]:
    """The rows that no transaction has locked."""
    rows = select(models.Counter.scope, models.Counter.part).with_for_update(skip_locked=True)
    found = {(scope, part) for scope, part in db.session.execute(rows)}
    db.session.rollback()
    return found
