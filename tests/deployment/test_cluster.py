"""A database of three machines, as docs/cluster.md has it, loses one of them under load: nothing that was acknowledged is lost, and
nothing is done twice, callers see only 503 and 429 meanwhile, and the service goes on by itself.

Run by `make test-cluster` only. Prints for how long people were refused after each fault.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from tests.deployment.cluster import SECONDS, Cluster, cluster
from tests.deployment.peers import wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.needs("etcd", "haproxy", "patroni", "pgbouncer", "postgres"),
]


@dataclass
class Acknowledged:
    """What was answered 200, since the beginning."""

    signed_in: dict[str, str] = field(default_factory=dict)
    activated: dict[str, str] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    def add(self, told: list[dict[str, Any]]) -> None:
        for each in told:
            self.signed_in |= each["signed_in"]
            self.activated |= each["activated"]
            self.waiting |= set(each["waiting"])


@pytest.fixture(scope="module")
def running() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def acknowledged() -> Acknowledged:
    return Acknowledged()


Mend = Callable[[], None]


def killed(there: Cluster, leader: str, _: str) -> Mend:
    there.machines[leader].kill()
    return there.machines[leader].start


def frozen(there: Cluster, leader: str, _: str) -> Mend:
    there.machines[leader].freeze()
    return there.machines[leader].thaw


def its_patroni_frozen(there: Cluster, leader: str, _: str) -> Mend:
    """Its PostgreSQL goes on: for a while there are two that accept writes."""
    patroni = there.machines[leader].patroni.pid
    os.kill(patroni, signal.SIGSTOP)
    return lambda: os.kill(patroni, signal.SIGCONT)


def cut_off(there: Cluster, leader: str, _: str) -> Mend:
    there.hosts[leader].cut_off()
    return there.hosts[leader].reconnect


def switched_over(there: Cluster, leader: str, standby: str) -> Mend:
    there.patronictl("switchover", "--leader", leader, "--candidate", standby, "--force")
    return lambda: None


FAULTS = {
    "killed": killed, "frozen": frozen, "its Patroni frozen": its_patroni_frozen, "cut off": cut_off,
    "switched over": switched_over,
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_acknowledged_is_lost_when_the_leader_is(
    running: Cluster, acknowledged: Acknowledged, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    leader, standby = running.of_role("Leader"), running.of_role("Sync Standby")
    with running.crowd(list(FAULTS).index(fault)) as told:
        running.wait_for_logins()

        began = time.monotonic()
        mend = FAULTS[fault](running, leader, standby)
        wait_until(lambda: running.of_role("Leader") == standby, "the synchronous standby to lead", SECONDS)
        running.wait_for_logins()
        mend()
        wait_until(running.is_whole, "three members", SECONDS)
        running.wait_for_logins()

    acknowledged.add(told)
    with capsys.disabled():
        sys.stdout.write(f"\nThe leader {fault}: {refusals(began, told)}\n")
    assert statuses(told) <= {200, 429, 503}, running.errors()
    check(running, acknowledged)


def test_nothing_acknowledged_is_lost_when_the_synchronous_standby_is_frozen(
    running: Cluster, acknowledged: Acknowledged, capsys: pytest.CaptureFixture[str]
) -> None:
    standby, other = running.of_role("Sync Standby"), running.of_role("Replica")
    with running.crowd(len(FAULTS)) as told:
        running.wait_for_logins()

        began = time.monotonic()
        running.machines[standby].freeze()
        wait_until(lambda: running.of_role("Sync Standby") == other, "the other standby to be synchronous", SECONDS)
        running.wait_for_logins()
        running.machines[standby].thaw()
        wait_until(running.is_whole, "three members", SECONDS)

    acknowledged.add(told)
    with capsys.disabled():
        sys.stdout.write(f"\nThe synchronous standby frozen: {refusals(began, told)}\n")
    assert statuses(told) <= {200, 429, 503}, running.errors()
    check(running, acknowledged)


def check(there: Cluster, acknowledged: Acknowledged) -> None:
    codes = dict(there.ask("select json_build_array(telephone_number, invite_code) from users"))
    assert acknowledged.signed_in.items() <= codes.items()
    sessions = dict(there.ask(
        "select json_build_array(telephone_number, count(*)) from users u join sessions on user_id = u.id group by telephone_number"
    ))  # fmt: skip
    assert set(acknowledged.signed_in) <= set(sessions)
    assert set(sessions.values()) == {1}
    referrals = there.ask(
        "select json_build_array(a.telephone_number, b.invite_code) from referrals r"
        " join users a on a.id = r.referee_id join users b on b.id = r.referrer_id"
    )
    assert acknowledged.activated.items() <= dict(referrals).items()
    assert len(referrals) == len(dict(referrals))
    counts = there.ask(
        "select json_build_array(invite_count, (select count(*) from referrals where referrer_id = users.id)) from users"
    )
    assert [pair for pair in counts if pair[0] != pair[1]] == []
    wait_until(lambda: acknowledged.waiting <= there.texted(), "every text to arrive", SECONDS)


def statuses(told: list[dict[str, Any]]) -> set[int]:
    """All that were answered; 0 for each request that got no answer."""
    lost = any(answer.endswith("Error") for each in told for answer in each["answers"])
    return {status for each in told for _, _, status in each["moments"]} | ({0} if lost else set())


def refusals(began: float, told: list[dict[str, Any]]) -> str:
    moments = sorted((at, path, status) for each in told for at, path, status in each["moments"])
    logins = [at for at, path, status in moments if status == 200 and path == "/auth/code/"]
    reads = [at for at, path, status in moments if status == 200 and path == "/users/me/"]
    refused = [at for at, _, status in moments if status == 503]
    when = f", from {refused[0] - began:.1f} to {refused[-1] - began:.1f} s after it" if refused else ""
    return (
        f"no login for {gap(logins):.1f} s, no profile for {gap(reads):.1f} s;"
        f" {len(refused)} of {len(moments)} answers were 503{when}."
    )


def gap(moments: list[float]) -> float:
    """The longest time between two of them."""
    return max(later - former for former, later in pairwise(moments))
