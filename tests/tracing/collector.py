"""A collector of OpenTelemetry with a local HTTP port, which records the spans that it gets."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass(frozen=True)
class Seen:
    """A span as the collector got it."""

    name: str
    kind: str
    trace_id: str
    id: str
    parent: str
    attributes: dict[str, object]
    failed: bool
    service: object


@dataclass
class Collector:
    port: int
    status: int = 200
    posts: int = 0
    spans: list[Seen] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> Seen:
        """The only span with this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


def _attributes(pairs: "list[KeyValue]") -> dict[str, object]:
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}


def _read(body: bytes) -> Iterator[Seen]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        service = _attributes(list(resource.resource.attributes))["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    span.name,
                    Span.SpanKind.Name(span.kind),
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    _attributes(list(span.attributes)),
                    failed=span.status.code == span.status.STATUS_CODE_ERROR,
                    service=service,
                )


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if one.status == 200 and self.path == "/v1/traces":
                one.bodies.append(body)
                one.spans.extend(_read(body))
            one.posts += 1
            self.send_response(one.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one = Collector(server.server_address[1])
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield one
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
