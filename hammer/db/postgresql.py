"""PostgreSQL: deadlines for requests, a circuit breaker for connecting, and a pool that notices closed connections.

A server may refuse, close the connection, freeze, or disappear with its host; each looks different from here.
`docs/decisions/databases-go-away.md` says what is done about each, and what it costs.
"""

import select
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Dialect, Engine, ExceptionContext, event
from sqlalchemy.exc import InvalidatePoolError, OperationalError

if TYPE_CHECKING:
    from flask import Flask

Result = TypeVar("Result")

_in_request: ContextVar[bool] = ContextVar("in_request", default=False)
"""Whether a request waits for the database. Commands have no deadline: a migration takes its time."""

_GRACE_SECONDS: Final = 0.5
"""The server ends a statement at the deadline. If it does not answer this much later, the connection is given up."""
_OPEN_SECONDS: Final = 1.0
"""How long the circuit breaker stays open: requests do not try to connect."""


def connect_args(busy_seconds: int, *, pooler: bool) -> dict[str, Any]:
    """Options of a connection that limit how long it waits for a host that is gone, and for a lock."""
    waits = {
        "connect_timeout": busy_seconds,
        "tcp_user_timeout": busy_seconds * 1000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "client_encoding": "UTF8",
        "fallback_application_name": "hammer",
    }
    if pooler:
        return waits | {"prepare_threshold": None}
    return waits | {"options": f"-c lock_timeout={busy_seconds}s -c timezone=UTC"}


def limit_waits(app: "Flask", engine: Engine, busy_seconds: int, *, pooler: bool) -> None:
    """Sets a deadline of about `busy_seconds` for each statement that a request of `app` sends to `engine`."""
    app.before_request(_begin_request)
    app.teardown_request(_end_request)
    event.listen(engine, "do_connect", _Connector(busy_seconds, pooler=pooler))
    event.listen(engine, "checkout", _refuse_closed)
    event.listen(engine, "handle_error", _disconnect)


def server(connection: psycopg.Connection[Any]) -> str:
    """The host and port that answer: of those in `DATABASE_URL`, the one that was chosen."""
    return f"{connection.info.host or connection.info.hostaddr}:{connection.info.port}"


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Whether a pooler is between this process and the server. A pooler gives its clients numbers of its own for the processes of
    the server."""
    return connection.execute("select pg_backend_pid()").fetchone() != (connection.info.backend_pid,)


def _begin_request() -> None:
    _in_request.set(True)


def _end_request(_: BaseException | None) -> None:
    _in_request.set(False)


class _Connection(psycopg.Connection[Any]):
    """A connection that gives up a statement of a request after the deadline."""

    connector: "_Connector | None" = None
    """None while the connection is being opened: `connect_timeout` applies then."""

    def wait(self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None) -> Result:
        if self.connector and timeout is None and _in_request.get():
            timeout = self.connector.busy_seconds + _GRACE_SECONDS
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # or the next statement would read the answer to this one
                if self.connector:
                    self.connector.open_circuit()
            raise


class _PooledCursor(psycopg.Cursor[Any]):
    """Sets the time limits of each transaction in the transaction itself: behind a pooler, the next one may get another session of
    the server. They are sent together with `BEGIN`, or with the statement that is a transaction of its own."""

    def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        connection = cast(_Connection, self.connection)
        if connection.connector is None or connection.pgconn.transaction_status != TransactionStatus.IDLE:
            return super().execute(query, params, **how)
        limits = connection.connector.limits()
        if isinstance(query, str) and query.startswith("begin"):
            sets = "".join(f"; set local {name} = '{value}'" for name, value in limits.items())
            return super().execute(query + sets, **how)
        with connection.pipeline():
            sets = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in limits.items())
            psycopg.Cursor(connection).execute(f"select {sets}")
            return super().execute(query, params, **how)


class _Connector:
    """Opens connections, with a circuit breaker: after a request waited in full, the others fail at once for a second.

    Otherwise they would queue up behind each other's waits in the few threads of a process.
    """

    def __init__(self, busy_seconds: int, *, pooler: bool) -> None:
        self.busy_seconds = busy_seconds
        self._pooler = pooler
        self._open_until = 0.0

    def limits(self) -> dict[str, str]:
        """Settings of the server that limit the next statement. Commands wait for a lock as long, but their statements may take
        their time."""
        waits = {"lock_timeout": f"{self.busy_seconds}s"}
        return waits | {"statement_timeout": f"{self.busy_seconds}s"} if _in_request.get() else waits

    def open_circuit(self) -> None:
        self._open_until = time.monotonic() + _OPEN_SECONDS

    def __call__(self, _dialect: Dialect, _record: object, arguments: list[Any], parameters: dict[str, Any]) -> _Connection:
        began = time.monotonic()
        if _in_request.get():
            if began < self._open_until:
                raise psycopg.OperationalError("The circuit breaker is open: the server did not answer in time.")
            if not self._pooler:
                parameters = parameters | {"options": f"{parameters['options']} -c statement_timeout={self.busy_seconds}s"}
        try:
            connection = _Connection.connect(*arguments, **parameters)
        except psycopg.OperationalError:
            if time.monotonic() - began > _GRACE_SECONDS:
                self.open_circuit()
            raise
        connection.connector = self
        if self._pooler:
            connection.cursor_factory = _PooledCursor
        return connection


def _refuse_closed(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    # An idle server sends nothing until it closes the connection. Polling the socket costs a hundredth of a query.
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError


def _disconnect(context: ExceptionContext) -> OperationalError | None:
    """Treats a server that accepts no writes as gone: it may be the old primary, and a new connection finds the new one.

    So is one that reports an error without a code, as libpq itself and poolers do when a connection breaks: the driver raises a
    plain `DatabaseError` then, which would be no reason to try again.
    """
    refused = context.original_exception
    without_code = type(refused) is psycopg.DatabaseError and refused.sqlstate is None
    if not (isinstance(refused, psycopg.errors.ReadOnlySqlTransaction) or without_code or context.is_disconnect):
        return None
    context.is_disconnect = True
    return OperationalError(None, None, refused, hide_parameters=True, connection_invalidated=True)
