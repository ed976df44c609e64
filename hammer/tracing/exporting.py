"""Spans that are sent to a collector by OTLP. Only this module imports OpenTelemetry, and only `spans.start` imports this module.

Where they are sent, and which requests are recorded, is set by the variables of OpenTelemetry itself (`OTEL_…`). A thread sends
them in batches. Its queue is bounded: while the collector is away spans are lost, and no request waits.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hammer.tracing.spans import Kind, Span

SERVICE: Final = "hammer"
"""The name of the service unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` sets another one."""

log = logging.getLogger(__name__)


class Tracing:
    """The spans of this process."""

    def __init__(self, version: str) -> None:
        self._exporter = _Exporter()
        ours = Resource({"service.name": SERVICE, "service.version": version})
        self._provider = TracerProvider(
            resource=Resource.create().merge(ours).merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer(SERVICE, version)
        self._headers = TraceContextTextMapPropagator()
        # After what these libraries say of wrong variables. Later they would log each try to reach a collector that is away.
        for library in ("opentelemetry", "urllib3"):
            logging.getLogger(library).setLevel(logging.CRITICAL + 1)

    @contextmanager
    def span(
        self, name: str, kind: Kind, attributes: Mapping[str, str | int], parent: Mapping[str, str | None] | None
    ) -> Iterator[Span]:
        context = None
        if parent is not None:
            context = self._headers.extract({header: value for header, value in parent.items() if value}, Context())
        with self._tracer.start_as_current_span(
            name,
            context,
            trace.SpanKind[kind],
            attributes,
            record_exception=False,  # its message may contain a number
            set_status_on_exception=False,
        ) as span:
            recorded = _Recorded(span)
            try:
                yield recorded
            except BaseException as error:
                recorded.fail(type(error).__name__)
                raise

    def headers(self) -> dict[str, str]:
        written: dict[str, str] = {}
        self._headers.inject(written)
        return written

    def stop(self) -> None:
        if self._exporter.failing:
            self._exporter.shutdown()  # ends its pause between two tries, and what waits is not tried
        self._provider.shutdown()


class _Recorded(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def add(self, attributes: Mapping[str, str | int]) -> None:
        self._span.set_attributes(attributes)

    def fail(self, fault: str) -> None:
        self._span.set_attribute("error.type", fault)
        self._span.set_status(trace.StatusCode.ERROR)


class _Exporter(SpanExporter):
    """The exporter of OpenTelemetry, with one line in the log when the collector goes away and one when it is back."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self.failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self.failing:
            log.warning("The collector does not take our spans. They are lost until it does.")
        elif self.failing and not failed:
            log.info("The collector takes our spans again.")
        self.failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]
