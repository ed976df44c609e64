"""Figures of the processes of a server."""

import platform
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

import hammer
from config import Settings
from hammer.db.database import transaction
from hammer.web import processes
from tests import serving
from tests.databases import Databases
from tests.serving import at_once


def figures(exposed: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(exposed)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def shown(app: Flask) -> dict[tuple[str, ...], float]:
    return figures(app.test_client().get("/metrics").text)


def test_the_version_of_what_runs_is_shown(app: Flask) -> None:
    assert shown(app)["hammer_build_info", platform.python_version(), hammer.__version__] == 1


def test_a_thread_is_busy_while_it_serves_a_request(app: Flask) -> None:
    assert shown(app)["hammer_threads", "busy"] == 1  # the one that shows the metrics
    assert processes._busy == set()


def test_connections_in_use_are_counted(app: Flask) -> None:
    before = shown(app)
    with app.app_context(), transaction():
        [during] = at_once([lambda: figures_without_request(app)])

    assert during - figures_without_request(app) == 1
    assert before["hammer_database_connections", "allowed"] >= 10


def figures_without_request(app: Flask) -> float:
    with app.app_context():
        processes.measure(app)
    return float(processes.CONNECTIONS.labels("used")._value.get())


def test_memory_and_start_of_a_single_process_are_shown(app: Flask) -> None:
    seen = shown(app)

    assert seen[("hammer_processes",)] == 1
    assert seen[("process_resident_memory_bytes",)] > 10_000_000
    assert seen[("process_start_time_seconds",)] > 1_000_000_000


@pytest.mark.usefixtures("context")
def test_the_clocks_of_the_host_and_of_the_database_are_compared(app: Flask, settings: Settings) -> None:
    assert abs(shown(app)[("hammer_clock_ahead_seconds",)]) < 60


@pytest.mark.processes
def test_processes_of_one_server_add_up_what_they_use(databases: Databases, tmp_path: Path) -> None:
    with serving.serve(databases.new(), tmp_path / "log", serving.gunicorn, WEB_CONCURRENCY="2") as server:
        at_once([lambda: server.call("GET", "/users/me/")] * 40)
        seen: dict[Any, float] = {}
        for _ in range(100):
            seen = figures(server.request("GET", "/metrics").body.decode())
            if seen.get(("hammer_processes",)) == 2 and seen.get(("hammer_threads", "all")) == 16:
                break
            threading.Event().wait(0.1)

    assert seen[("hammer_processes",)] == 2
    assert seen["hammer_threads", "all"] == 16
    assert seen["hammer_refusals_total", "not-signed-in"] == 40
