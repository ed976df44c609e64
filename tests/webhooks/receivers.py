"""Servers of apps that get webhooks: they keep what comes, and answer as a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def verify(self, secret: str) -> None:
        """Raises an exception of `standardwebhooks` if the secret did not sign this post within the last five minutes."""
        Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    port: int
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with each answer."""
    posts: list[Post] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0
    """The most posts that were under way at the same moment."""
    on_post: Callable[[Post], object] = lambda _: None
    """Called before each answer. It may change the status of this answer."""
    open: threading.Event = field(default_factory=threading.Event)
    """While this is not set, it accepts posts and does not answer."""
    arrived: threading.Event = field(default_factory=threading.Event)
    """Set when a post has come."""
    counting: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def refuse(self, refuses: Callable[[Any], bool]) -> None:
        """Answers 500 to the posts with these bodies from now on, and 200 to others."""
        self.on_post = lambda post: setattr(self, "status", 500 if refuses(post.json) else 200)

    @property
    def ids(self) -> list[str]:
        return [post.id for post in list(self.posts)]

    @property
    def types(self) -> list[str]:
        return [post.json["type"] for post in list(self.posts)]


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with receiver.counting:
                post = Post(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                receiver.posts.append(post)
                receiver.under_way += 1
                receiver.most_at_once = max(receiver.most_at_once, receiver.under_way)
            receiver.arrived.set()
            receiver.open.wait(60)
            receiver.on_post(post)
            with receiver.counting:
                receiver.under_way -= 1
            with suppress(OSError):  # the caller has died or given up
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 100
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # connections of killed processes

    server = Server(("127.0.0.1", port), Handler)
    receiver = Receiver(server.server_address[1])
    receiver.open.set()
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    serving.start()
    try:
        yield receiver
    finally:
        receiver.open.set()
        server.shutdown()
        serving.join()
        server.server_close()
