"""gunicorn is replaced by a new main process (SIGUSR2), on a socket of its own: no count is lost."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import serving
from tests.databases import Databases
from tests.deployment.peers import wait_until
from tests.serving import Server


@pytest.fixture(params=["of its own", "given"])
def server(databases: Databases, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a directory of metrics of its own, and one with the directory that it is given."""
    given = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "hammer-metrics")} if request.param == "given" else {}
    with serving.serve(databases.new(), tmp_path / "log", serving.gunicorn, TMPDIR=str(tmp_path), **given) as running:
        yield running


def children(pid: int) -> set[int]:
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_running(pid: int) -> bool:
    with suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def counted(server: Server) -> int:
    """How many calls of an unknown user were counted."""
    shown = server.request("GET", "/metrics").body.decode()
    found = re.search(r'^hammer_refusals_total\{slug="not-signed-in"\} (\d+)', shown, re.MULTILINE)
    return int(found[1]) if found else 0


def call(server: Server, times: int) -> None:
    for _ in range(times):
        assert server.call("GET", "/users/me/").status == 401


def begin_another(server: Server) -> int:
    """The id of a second main process, with a worker that has loaded the application."""
    before = children(server.pid)
    os.kill(server.pid, signal.SIGUSR2)
    wait_until(lambda: bool(children(server.pid) - before), "the new main process")
    [new] = children(server.pid) - before
    wait_until(lambda: bool(children(new)), "its worker")
    return new


def test_a_new_main_process_goes_on_counting_where_the_old_one_ended(server: Server, tmp_path: Path) -> None:
    call(server, 5)
    new = begin_another(server)
    try:
        server.stop()
        call(server, 3)

        assert counted(server) == 8
        assert list(tmp_path.glob("hammer-metrics*/*.db"))
    finally:
        os.kill(new, signal.SIGTERM)
        wait_until(lambda: not is_running(new), "the end of the new main process")
    assert not list(tmp_path.glob("hammer-metrics*"))


def test_an_upgrade_that_is_given_up_leaves_the_old_counts(server: Server) -> None:
    call(server, 5)
    new = begin_another(server)

    os.kill(new, signal.SIGTERM)
    wait_until(lambda: not is_running(new), "the end of the new main process")
    call(server, 3)

    assert counted(server) == 8
