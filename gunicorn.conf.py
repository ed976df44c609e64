"""The configuration of gunicorn: `gunicorn --config gunicorn.conf.py`. Options on the command line take precedence.

Hammer itself is configured by the environment (`docs/settings.md`).

The hooks below are here and not in a module of their own for two reasons. gunicorn executes this file again at each reload, while
a module would stay loaded in its old version. And the main process of gunicorn must not import the application: its workers are
forks, and a worker of a reload to a new version would get the old modules. `tests/deployment/test_one_host.py` tests the hooks.
"""

import json
import logging
import math
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker
from werkzeug.exceptions import BadRequest

wsgi_app = "wsgi:app"
chdir = str(Path(__file__).resolve().parent)

sys.path.insert(0, chdir)
from config import load_env_file  # noqa: E402

load_env_file()  # faults in it are reported by `on_starting`, with all others
del sys.modules["config"]  # a worker of a reload to a new version must import the new one

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))  # more than one need PostgreSQL, and should have Redis
threads = 8  # each needs one of the at most 30 database connections of a worker

# A worker without a heartbeat for this long is replaced. The heartbeat comes from the main loop: a thread may be busy for longer.
# No answer takes that long to begin, even while the database is away; a download of 100,000 people may take longer to end. A slow
# request body may take longer too, but the proxy waits for it instead.
timeout = 30
graceful_timeout = 30  # for requests in flight at a stop or a reload
keepalive = 5  # longer than the usual pause between two requests of a busy proxy


class _Threads(ThreadPoolExecutor):
    """The threads of a worker. They tell the application how long each request waited for one (`hammer.web.load_shedding`).

    When the oldest waiting request has waited for too long, a new one does not join the queue: a thread beside the others takes it
    at once and tells this wait. So the application refuses it now and not seconds later, and monitoring is answered.
    """

    longest_wait = math.inf
    """In seconds; `post_worker_init` sets it."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self._joined: deque[float] = deque()
        """When each waiting request joined the queue, oldest first."""
        self._refusing = ThreadPoolExecutor(2)

    def submit(self, call: Callable[..., Any], /, connection: Any) -> Future[Any]:  # type: ignore[override]
        now = time.monotonic()
        wait = 0.0
        with suppress(IndexError):
            wait = now - self._joined[0]
        if wait > self.longest_wait:
            return self._refusing.submit(self._tell, wait, call, connection)
        self._joined.append(now)
        return super().submit(self._begin, call, connection)

    def _begin(self, call: Callable[..., Any], connection: Any) -> Any:
        return self._tell(time.monotonic() - self._joined.popleft(), call, connection)

    def _tell(self, wait: float, call: Callable[..., Any], connection: Any) -> Any:
        _of_thread.wait = max(wait, _since_sent(connection.sock))
        return call(connection)


_of_thread = threading.local()


def _since_sent(connection: socket.socket) -> float:
    """How many seconds ago the last of the request came; 0 where the system does not tell. It may have waited in the kernel first:
    while all threads compute, the main thread seldom gets to accept connections."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6) or not hasattr(socket, "TCP_INFO"):
        return 0.0
    last_data_recv = struct.unpack_from("I", connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 56), 52)[0]
    return float(last_data_recv) / 1000


class _Worker(ThreadWorker):
    def get_thread_pool(self) -> _Threads:
        return _Threads(self.cfg.threads)

    def accept(self, listener: socket.socket) -> None:
        """Accepts all connections that wait. gunicorn itself accepts one in each round of its loop."""
        before = -1
        while before != self.nr_conns < self.worker_connections:
            before = self.nr_conns
            super().accept(listener)


worker_class = _Worker

# Connections whose requests wait for two seconds are open for as long. Each needs a file descriptor.
_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
worker_connections = 4000 if _files == resource.RLIM_INFINITY else max(50, min(4000, _files - 200))

# Each worker creates its own application: threads and connections do not survive a fork.
preload_app = False
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # the heartbeat must not wait for a disk


class _JsonLines(logging.Formatter):
    """Formats gunicorn's own log lines like those of Hammer."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname, "logger": record.name, "message": record.getMessage(), "request_id": None}
        return json.dumps(line | ({"trace": self.formatException(record.exc_info)} if record.exc_info else {}))


# Hammer logs each request itself, without addresses and paths.
accesslog = None
errorlog = "-"
loglevel = "warning"
if os.environ.get("HAMMER_ENV") == "production":
    logconfig_dict = {
        "formatters": {"lines": {"()": _JsonLines}},
        "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "loggers": {"gunicorn.error": {"handlers": ["lines"], "propagate": False}},
        "root": {"level": "INFO", "handlers": []},
    }

# Hammer decides which proxies it trusts (HAMMER_PROXY_HOPS). gunicorn must not change their headers.
forwarded_allow_ips = ""
limit_request_line = 8190  # requests of apps to sign people in have long addresses
limit_request_fields = 60
limit_request_field_size = 8190

# The directory in which the workers' metrics are collected. It is empty at each start.
_metrics_directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="hammer-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _metrics_directory
Path(_metrics_directory).mkdir(parents=True, exist_ok=True)


def on_starting(server: Any) -> None:
    """Checks the settings once and prints faults in words. Without this, each worker would print them with a traceback."""
    import config  # noqa: PLC0415  # it was removed above

    try:
        settings = config.read()
    except config.Misconfigured as error:
        error.show()
        _exit(server, error.exit_code)
    if server.cfg.workers > 1 and settings.database_url.startswith("sqlite"):
        server.log.warning("Several workers share one SQLite and wait for each other's writes. Use one worker, or PostgreSQL.")
    if settings.sms_threads and any(url.partition("://")[0] in (*config.SMS_SERVICES, "sns") for url in settings.gateways):
        # In a child process: this process must not import the application (see above).
        checker = multiprocessing.get_context("fork").Process(target=_check_gateways, args=(settings,))
        checker.start()
        checker.join()
        if checker.exitcode:
            _exit(server, checker.exitcode)
    del sys.modules["config"]


def _check_gateways(settings: Any) -> None:
    from config import Misconfigured  # noqa: PLC0415
    from hammer.sms import gateways  # noqa: PLC0415

    try:
        gateways.check(settings)
    except Misconfigured as error:
        error.show()
        sys.exit(error.exit_code)


def _exit(server: Any, status: int) -> NoReturn:
    on_exit(server)
    sys.exit(status)


def on_reload(server: Any) -> None:
    """Keeps the old workers until a new one has loaded the application. gunicorn itself would end them at once.

    gunicorn ends the oldest workers when there are more than `num_workers`. So that number is raised by the number of old workers,
    and lowered again as each of them ends (`child_exit`).
    """
    server.old_workers = set(server.WORKERS)
    server.num_workers += len(server.old_workers)


def post_fork(server: Any, worker: Any) -> None:
    """Gives a new worker the process ids of the old ones."""
    worker.old_workers = getattr(server, "old_workers", set())


def post_worker_init(worker: Any) -> None:
    """Runs in a worker that has loaded the application."""
    app = worker.wsgi
    # A malformed chunked body is a fault of the client. Without this, gunicorn's exception would be answered with 500.
    app.register_error_handler(ParseException, lambda _: app.handle_http_exception(BadRequest()))
    app.config["SERVER_THREADS"] = worker.cfg.threads
    _tell_waits(app, worker.tpool)
    for name in ("hammer.web.processes", "hammer.sms.outbox", "hammer.grants.logout_notices", "hammer.webhooks.deliveries"):
        app.extensions.get(name, lambda: None)()  # starts them now, not at the first request
    for pid in worker.old_workers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def _tell_waits(app: Any, threads: _Threads) -> None:
    threads.longest_wait = app.config.get("LONGEST_WAIT", math.inf)
    serve = app.wsgi_app

    def with_wait(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ["hammer.waited"] = _of_thread.wait
        return serve(environ, start_response)

    app.wsgi_app = with_wait


def child_exit(server: Any, worker: Any) -> None:
    """Lowers the number of workers when an old one has ended, and forgets how many of its threads were busy.

    Its counters stay: a sum that became smaller would look like a restart.
    """
    for file in Path(_metrics_directory).glob(f"gauge_live*_{worker.pid}.db"):
        file.unlink(missing_ok=True)
    if worker.pid in getattr(server, "old_workers", ()):
        server.old_workers.remove(worker.pid)
        server.num_workers -= 1


def pre_exec(server: Any) -> None:
    """Gives the directory of the metrics to a new main process (SIGUSR2), which goes on counting there."""
    server.cfg.env_orig["PROMETHEUS_MULTIPROC_DIR"] = _metrics_directory


def on_exit(server: Any) -> None:
    """Deletes the metrics, unless another main process uses them: the one that this one started, or that started this one."""
    if not server.reexec_pid and not server.master_pid:
        shutil.rmtree(_metrics_directory, ignore_errors=True)
