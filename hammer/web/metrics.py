"""Durations and statuses of requests, counted as they are answered, and the text that Prometheus reads."""

import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from hammer import measures
from hammer.operations.gauges import Gauge
from hammer.web import processes
from hammer.web.settings import settings

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


def init_app(app: Flask) -> None:
    """Counts the requests of `app`. Where `PROMETHEUS_MULTIPROC_DIR` is set, all processes of a server count together there."""
    counted, directory = CollectorRegistry(), settings(app).metrics_directory
    what = "How long requests took, by route and status."
    durations = Histogram("hammer_request_seconds", what, ("method", "route", "status"), buckets=SECONDS, registry=counted)
    labelled = cache(durations.labels)  # which looks them up each time

    def observe(response: Response) -> Response:
        method = request.method if request.method in METHODS else "other"
        route = request.url_rule.rule if request.url_rule else "(none)"
        labelled(method, route, response.status[:3]).observe(time.perf_counter() - g.began)
        return response

    app.after_request(observe)
    app.extensions["hammer.web.metrics"] = (counted, directory)


def exposition(app: Flask, gauges: Iterable[Gauge]) -> bytes:
    """The counted requests and these gauges, in the text format of Prometheus."""
    counted, directory = app.extensions["hammer.web.metrics"]
    measures.begin_at_zero()
    processes.measure(app)
    registry = CollectorRegistry()
    for collector in [_AllProcesses(Path(directory))] if directory else [counted, measures.REGISTRY]:
        registry.register(collector)
    registry.register(processes.Processes(app.config["VERSION"], directory))
    registry.register(_Gauges(gauges))
    return generate_latest(registry)


class _AllProcesses(Collector):
    """What all processes of this server counted. The file of a new process is empty at first; the library would take it for a
    broken one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def collect(self) -> Iterable[Metric]:
        begun = [str(file) for file in self.directory.glob("*.db") if file.stat().st_size]
        merged: Iterable[Metric] = MultiProcessCollector.merge(begun)  # type: ignore[no-untyped-call]
        return merged


class _Gauges(Collector):
    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self.gauges = list(gauges)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for gauge in self.gauges:
            family = GaugeMetricFamily(f"hammer_{gauge.name}", gauge.help, labels=gauge.labels)
            for labels, value in gauge.values:
                family.add_metric(labels, value)
            yield family
