"""A gateway with a local HTTP port. It records its requests and answers as the test says."""

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    headers: dict[str, str]


@dataclass
class FakeGateway:
    port: int
    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 0
    """How many were opened."""
    asked: list[Asked] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    """While this is not set, it accepts requests and does not answer."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when a request has come."""

    open_connections: list[socket.socket] = field(default_factory=list)

    def hang_up(self) -> None:
        """Ends all connections. New ones are accepted."""
        while self.open_connections:
            with suppress(OSError):  # the other side ended it before
                self.open_connections.pop().shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def template(self) -> str:
        """What to write into `HAMMER_SMS_URL`."""
        return f"{self.url}/send?to={{to}}&text={{text}}"

    def texts_to(self) -> Counter[str]:
        """Number -> how many texts came for it."""
        return Counter(one.query["to"] for one in list(self.asked))


@contextmanager
def fake_gateway() -> Iterator[FakeGateway]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # headers and body in one packet: else each answer waits 40 ms for an acknowledgement

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            parts = urlsplit(self.path)
            query, form = ({name: values[-1] for name, values in parse_qs(said).items()} for said in (parts.query, body))
            gateway.asked.append(Asked(self.command, parts.path, query, form, dict(self.headers.items())))
            gateway.arrived.set()
            gateway.open.wait(60)
            try:
                self.send_response(gateway.status)
                self.send_header("Content-Length", str(len(gateway.body)))
                for name, value in gateway.headers.items():
                    self.send_header(name, value)
                if 300 <= gateway.status < 400:
                    self.send_header("Location", f"{gateway.url}/elsewhere")
                self.end_headers()
                self.wfile.write(gateway.body)
                self.wfile.flush()
            except OSError:
                pass  # the caller has died or given up

        do_GET = do_POST = answer  # noqa: N815  # the library's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 100
        daemon_threads = True

        def process_request(self, request: Any, client_address: Any) -> None:
            gateway.connections += 1
            open_connections.append(request)
            super().process_request(request, client_address)

        def handle_error(self, *_: object) -> None:
            pass  # connections of killed processes

    open_connections: list[socket.socket] = []
    server = Server(("127.0.0.1", 0), Handler)
    gateway = FakeGateway(server.server_address[1], open_connections=open_connections)
    gateway.open.set()
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield gateway
    finally:
        gateway.open.set()
        server.shutdown()
        serving.join()
        server.server_close()
        gateway.hang_up()
