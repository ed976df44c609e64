"""PostgreSQL, near or away: connections on which no request waits for long, and a pool that notices by itself what hung up.

A server may refuse, hang up, freeze, or vanish with its host; each looks different from here. `docs/decisions/databases-go-away.md`
tells what is done about each, and what it costs.
"""

import select
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Dialect, Engine, ExceptionContext, event
from sqlalchemy.exc import InvalidatePoolError, OperationalError

if TYPE_CHECKING:
    from flask import Flask

Answer = TypeVar("Answer")

_somebody_waits: ContextVar[bool] = ContextVar("somebody_waits", default=False)
"""Whether this is done for somebody's request. Commands may take their time: a migration does."""

_LATE_SECONDS: Final = 0.5
"""The server ends a statement that takes too long; one that does not even do that is given up so much later."""
_APART_SECONDS: Final = 1.0
"""Between two tries to reach a server that lets them wait in vain."""


def reach(busy_seconds: int) -> dict[str, Any]:
    """What to connect with, so that neither a host that vanished nor somebody's lock is waited for any longer."""
    return {
        "connect_timeout": busy_seconds,
        "tcp_user_timeout": busy_seconds * 1000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "options": f"-c lock_timeout={busy_seconds}s -c timezone=UTC -c client_encoding=UTF8",
    }


def watch(app: "Flask", engine: Engine, busy_seconds: int) -> None:
    """Keeps requests of `app` from waiting longer than `busy_seconds` for `engine`, give or take a moment."""
    app.before_request(_begin)
    app.teardown_request(_end)
    event.listen(engine, "do_connect", _Door(busy_seconds))
    event.listen(engine, "checkout", _refuse_hung_up)
    event.listen(engine, "handle_error", _leave_read_only)


def _begin() -> None:
    _somebody_waits.set(True)


def _end(_: BaseException | None) -> None:
    _somebody_waits.set(False)


class _Connection(psycopg.Connection[Any]):
    kind: "_Door | None" = None

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        if self.kind and timeout is None and _somebody_waits.get():
            timeout = self.kind.busy_seconds + _LATE_SECONDS
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.close()  # or the next question would get this one's answer
                if self.kind:
                    self.kind.shut()
            raise


class _Door:
    """Opens connections. When somebody waited for the server in vain, those who want a new one in the next second are told at once,
    or they would queue up behind each other's waits."""

    def __init__(self, busy_seconds: int) -> None:
        self.busy_seconds = busy_seconds
        self.next_try_at = 0.0

    def shut(self) -> None:
        self.next_try_at = time.monotonic() + _APART_SECONDS

    def __call__(self, _dialect: Dialect, _record: object, arguments: list[Any], parameters: dict[str, Any]) -> _Connection:
        began = time.monotonic()
        if _somebody_waits.get():
            if began < self.next_try_at:
                raise psycopg.OperationalError("The server let the last try to reach it wait in vain.")
            parameters = parameters | {"options": f"{parameters['options']} -c statement_timeout={self.busy_seconds}s"}
        try:
            connection = _Connection.connect(*arguments, **parameters)
        except psycopg.OperationalError:
            if time.monotonic() - began > _LATE_SECONDS:
                self.shut()
            raise
        connection.kind = self
        return connection


def _refuse_hung_up(connection: psycopg.Connection[Any], _record: object, _proxy: object) -> None:
    # An idle server says nothing, unless it says goodbye: to look costs a hundredth of asking it.
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError


def _leave_read_only(context: ExceptionContext) -> OperationalError | None:
    """A server that takes no writes is as good as away: it may be the old primary, and a new connection finds the new one."""
    refused = context.original_exception
    if not isinstance(refused, psycopg.errors.ReadOnlySqlTransaction):
        return None
    context.is_disconnect = True
    return OperationalError(None, None, refused, hide_parameters=True, connection_invalidated=True)
