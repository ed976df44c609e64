"""`span` records a piece of work, and `headers` continue its trace in another process. Both do nothing without `HAMMER_TRACING`.

Attributes are words of this program, numbers of its settings, and ids of requests and texts: never a number, a code, a token, a
path or the id of a person. Nothing of OpenTelemetry is imported before `start`.
"""

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from hammer.tracing.exporting import Tracing

Kind = Literal["SERVER", "CONSUMER", "CLIENT"]
TRACEPARENT: Final = "traceparent"
"""The header that names a span (W3C Trace Context §3.2), and so the parent of the next one."""
TRACESTATE: Final = "tracestate"
REQUEST_ID: Final = "hammer.request_id"
"""The attribute with the id of a request, as in the log."""


class Span:
    """A span that is recorded nowhere."""

    def add(self, attributes: Mapping[str, str | int]) -> None:
        """Adds attributes."""

    def fail(self, fault: str) -> None:
        """Marks the work as failed, by a fault of this kind."""


_NOWHERE: Final = Span()
_started: "Final[list[Tracing]]" = []
"""One after `start`."""


def start(version: str) -> None:
    """Records spans from now on until the end of the process. Call it after a fork: a thread sends them to the collector."""
    from hammer.tracing.exporting import Tracing  # noqa: PLC0415  # imports OpenTelemetry

    if not _started:
        _started.append(Tracing(version))
        atexit.register(stop)


def stop() -> None:
    """Sends what waits, and records no more. Does not wait for a collector that is known to be away."""
    atexit.unregister(stop)
    while _started:
        _started.pop().stop()


@contextmanager
def span(
    name: str, kind: Kind, attributes: Mapping[str, str | int | None], parent: Mapping[str, str | None] | None = None
) -> Iterator[Span]:
    """Records the work of the block. Attributes that are None are left out.

    :param parent: the headers that name the parent, without them the span begins a trace; None for the span around this one.
    """
    tracing = next(iter(_started), None)
    if tracing is None:
        yield _NOWHERE
        return
    known = {key: value for key, value in attributes.items() if value is not None}
    with tracing.span(name, kind, known, parent) as recorded:
        yield recorded


def headers() -> dict[str, str]:
    """The headers by which another process continues the trace of the span around this call; empty if there is none."""
    tracing = next(iter(_started), None)
    return tracing.headers() if tracing else {}
