"""How gunicorn serves Hammer: `gunicorn --config gunicorn.conf.py`. Every line of it can be overruled on the command line.

Everything about Hammer itself is set in the environment (`docs/settings.md`).
"""

import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from gunicorn.http.errors import ParseException
from werkzeug.exceptions import BadRequest

wsgi_app = "wsgi:app"
chdir = str(Path(__file__).resolve().parent)

sys.path.insert(0, chdir)
from config import load_env_file  # noqa: E402

load_env_file()  # what is wrong with it is said below, with the rest
del sys.modules["config"]  # or each worker of a reload to a new version would get this one

bind = os.environ.get("BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))  # more than one want PostgreSQL, and Redis
worker_class = "gthread"
threads = 8  # a worker has at most 30 connections to the database, and needs one a thread

# A worker that gives no sign of life for longer is replaced. The loop beside its threads gives it: a thread may be busy for ever.
# No answer takes that long, even while the database is away; a body that comes slowly does, and the proxy waits for it instead.
timeout = 30
graceful_timeout = 30  # for requests in flight at a stop or a reload
keepalive = 5  # longer than a proxy waits between two requests of a busy minute

# Each worker makes its own application: threads and connections do not survive a fork.
preload_app = False
control_socket_disable = True
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  # a worker's sign of life must not wait for a disk


class _ForMachines(logging.Formatter):
    """gunicorn's own lines, in the form of Hammer's."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname, "logger": record.name, "message": record.getMessage(), "request_id": None}
        return json.dumps(line | ({"trace": self.formatException(record.exc_info)} if record.exc_info else {}))


# Hammer writes a line for each request itself, without addresses and paths.
accesslog = None
errorlog = "-"
loglevel = "warning"
if os.environ.get("HAMMER_ENV") == "production":
    logconfig_dict = {
        "formatters": {"lines": {"()": _ForMachines}},
        "handlers": {"lines": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "loggers": {"gunicorn.error": {"handlers": ["lines"], "propagate": False}},
        "root": {"level": "INFO", "handlers": []},
    }

# Which proxies are believed is Hammer's own setting (HAMMER_PROXY_HOPS); gunicorn shall leave their headers alone.
forwarded_allow_ips = ""
limit_request_line = 4094
limit_request_fields = 60
limit_request_field_size = 8190

# The workers' figures for /metrics, put together in a directory that is empty at each start.
_figures = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="hammer-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = _figures
Path(_figures).mkdir(parents=True, exist_ok=True)


def on_starting(server: Any) -> None:
    """What is wrong with the settings is told here, once and in words: each worker would tell it again, with a trace."""
    import config  # noqa: PLC0415  # gunicorn finds it from here on

    try:
        settings = config.read()
    except config.Misconfigured as error:
        error.show()
        _give_up(server, error.exit_code)
    if server.cfg.workers > 1 and settings.database_url.startswith("sqlite"):
        server.log.warning("Several workers share one SQLite and wait for each other's writes. Have one worker, or a PostgreSQL.")
    if settings.sms_threads and any(url.partition("://")[0] in (*config.SMS_SERVICES, "sns") for url in settings.gateways):
        # In a process of its own: what this one loads its workers would inherit, also those of a reload to a new version.
        reader = multiprocessing.get_context("fork").Process(target=_read_gateways, args=(settings,))
        reader.start()
        reader.join()
        if reader.exitcode:
            _give_up(server, reader.exitcode)
    del sys.modules["config"]


def _read_gateways(settings: Any) -> None:
    from config import Misconfigured  # noqa: PLC0415
    from hammer.sms import gateways  # noqa: PLC0415

    try:
        gateways.check(settings)
    except Misconfigured as error:
        error.show()
        sys.exit(error.exit_code)


def _give_up(server: Any, status: int) -> NoReturn:
    on_exit(server)
    sys.exit(status)


def on_reload(server: Any) -> None:
    """The former workers serve on until a new one can: gunicorn would end them while the new ones still load."""
    server.former = set(server.WORKERS)
    server.num_workers += len(server.former)


def post_fork(server: Any, worker: Any) -> None:
    worker.former = getattr(server, "former", set())


def post_worker_init(worker: Any) -> None:
    # A body in pieces that are none is its sender's fault; gunicorn's own error for it would be taken for ours.
    app = worker.wsgi
    app.register_error_handler(ParseException, lambda _: app.handle_http_exception(BadRequest()))
    app.extensions.get("hammer.sms.outbox", lambda: None)()  # texts that waited for a server do not wait for a request as well
    for pid in worker.former:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def child_exit(server: Any, worker: Any) -> None:
    if worker.pid in getattr(server, "former", ()):
        server.former.remove(worker.pid)
        server.num_workers -= 1


def on_exit(_server: Any) -> None:
    shutil.rmtree(_figures, ignore_errors=True)
