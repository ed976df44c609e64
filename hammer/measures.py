"""What this program counts of itself: the counters and histograms that `/metrics` shows, made with the library of Prometheus.

They are made where they are counted, by `counter` and `histogram`, so that no rule has to know the web. What a transaction did is
counted after its commit (`hammer.db.database.on_commit`), so that nothing is counted that was rolled back.

Each label has few values, which are words of this program or numbers of its settings: never a number, a code, a token or an id. All
metrics have labels, because the library makes the file of a metric without labels when the module is imported, also for commands.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

REGISTRY: Final = CollectorRegistry()
SECONDS: Final = Histogram.DEFAULT_BUCKETS
"""The usual limits of a histogram: from 5 ms to 10 s."""

_known: Final[list[tuple[Counter | Histogram, Sequence[Sequence[str]]]]] = []

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which says when it began


def counter(name: str, help_text: str, *labels: str, known: Iterable[Sequence[str]]) -> Counter:
    """A counter with these labels.

    :param known: values of the labels that it shows before it has counted any.
    """
    made = Counter(f"hammer_{name}", help_text, labels, registry=REGISTRY)
    _known.append((made, list(known)))
    return made


def histogram(
    name: str, help_text: str, *labels: str, limits: tuple[float, ...] = SECONDS, known: Iterable[Sequence[str]] = ()
) -> Histogram:
    """A histogram with these labels; `known` as for a counter."""
    made = Histogram(f"hammer_{name}", help_text, labels, buckets=limits, registry=REGISTRY)
    _known.append((made, list(known)))
    return made


def gauge(name: str, help_text: str, *labels: str) -> Gauge:
    """A gauge whose values in all living processes of a server are added up."""
    return Gauge(f"hammer_{name}", help_text, labels, registry=REGISTRY, multiprocess_mode="livesum")


def begin_at_zero() -> None:
    """Shows the values that are known although nothing was counted: Prometheus sees no increase in a counter that begins with 1."""
    for made, values in _known:
        for each in values:
            made.labels(*each)
