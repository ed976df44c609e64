"""Figures of the processes of one server: threads that are busy, connections to the database, memory and start.

Several processes write theirs into a file each, once a second, for whichever of them `/metrics` asks. With labels for each process
there would be new series after each reload, so the figures are added up, and `hammer_processes` says over how many.
"""

import platform
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flask import Flask
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.pool import QueuePool

from hammer import measures
from hammer.db.database import db
from hammer.db.queue import Workers, start_with_server
from hammer.web.settings import settings

NAME: Final = "hammer.web.processes"
THREADS: Final = "SERVER_THREADS"
"""In the configuration of the application: how many threads of this process serve requests; missing where there is no limit."""
SERVING: Final = measures.gauge("threads", "Threads that serve requests: busy ones, and all.", "state")
CONNECTIONS: Final = measures.gauge("database_connections", "Connections to the database: used ones, and allowed ones.", "state")
ADDED_UP: Final = ("process_resident_memory_bytes", "process_open_fds")
NEWEST: Final = "process_start_time_seconds"

_busy: Final[set[int]] = set()
"""Threads of this process that are serving a request."""


def init_app(app: Flask) -> None:
    app.before_request(_begin)
    app.teardown_request(_end)
    if settings(app).metrics_directory and not app.testing:
        start_with_server(app, NAME, Workers(None, lambda: measure(app), name="measures", count=1, context=app.app_context))


def _begin() -> None:
    _busy.add(threading.get_ident())


def _end(_: BaseException | None) -> None:
    _busy.discard(threading.get_ident())


def measure(app: Flask) -> bool:
    """Writes the figures of this process. Returns False, since nothing else is to be done at once."""
    SERVING.labels("busy").set(len(_busy))
    if THREADS in app.config:
        SERVING.labels("all").set(app.config[THREADS])
    pool = db.engine.pool
    if isinstance(pool, QueuePool):
        CONNECTIONS.labels("used").set(pool.checkedout())
        CONNECTIONS.labels("allowed").set(pool.size() + max(pool._max_overflow, 0))
    return False


class Processes(Collector):
    """The version, and the memory, open files and start of the processes of this server."""

    def __init__(self, version: str, directory: str) -> None:
        self.version = version
        self.directory = directory

    def collect(self) -> Iterator[Metric]:
        labels = {"version": self.version, "python": platform.python_version()}
        built = GaugeMetricFamily("hammer_build_info", "1; the labels say what runs.", labels=list(labels))
        built.add_metric(list(labels.values()), 1)
        yield built
        found = [seen for pid in self._living() if (seen := _of_process(pid))]
        yield GaugeMetricFamily("hammer_processes", "Processes of this server.", value=len(found))
        for name in ADDED_UP:
            yield GaugeMetricFamily(name, "Of all processes of this server together.", value=sum(each[name] for each in found))
        began = max((each[NEWEST] for each in found), default=0)
        yield GaugeMetricFamily(NEWEST, "When the newest process of this server started, in seconds since 1970.", value=began)

    def _living(self) -> list[str]:
        """The ids of the processes that write their figures; `gunicorn.conf.py` deletes the files of those that ended."""
        files = Path(self.directory).glob("gauge_livesum_*.db") if self.directory else ()
        return [file.stem.rpartition("_")[2] for file in files] or ["self"]


def _of_process(pid: str) -> dict[str, float]:
    """The figures of a process by their names; empty if it has ended, or where there is no `/proc`."""
    seen = {family.name: family.samples[0].value for family in ProcessCollector(pid=lambda: pid, registry=None).collect()}
    return seen if {*ADDED_UP, NEWEST} <= seen.keys() else {}
