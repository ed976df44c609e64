"""The leanest login there can be: bare Flask with the raw driver, on tables that hold only what a login needs.

A login is ten statements, `BEGIN` and `COMMIT` among them. There is no outbox for texts, no row for a session, no limits, no events
and no known devices; tokens are signed by a symmetric key, and nobody can end them. So it measures what Flask, the server, the
driver and the database cost for any login by phone, whatever its rules are.
"""

import contextlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jwt
import psycopg
from flask import Flask, request
from flask.typing import ResponseReturnValue

from tests.benchmarks import as_deployed
from tests.benchmarks.floor import KEY, one_time_code

TABLES = (
    "CREATE TABLE lean_codes (id VARCHAR(22) PRIMARY KEY, number VARCHAR(16), guesses INTEGER, expires_at BIGINT)",
    "CREATE INDEX lean_codes_number ON lean_codes (number)",
    "CREATE TABLE lean_users (id VARCHAR(22) PRIMARY KEY, number TEXT UNIQUE, invite_code TEXT UNIQUE, invited_by TEXT)",
)
_here = threading.local()
_writing = threading.Lock()
statements: list[str] = []
"""The statements of the last request, to be counted."""


def make() -> Flask:
    """The WSGI application. Makes its tables."""
    for table in TABLES:
        _run(table)
    app = Flask(__name__)
    app.before_request(statements.clear)
    app.post("/api/v1/auth/signup/")(signup)
    app.post("/api/v1/auth/code/")(code)
    app.get("/api/v1/users/me/")(profile)
    app.get("/healthz")(dict)
    return as_deployed(app)


def signup() -> dict[str, Any]:
    number, verification_id, now = request.get_json()["telephone_number"], secrets.token_urlsafe(16), int(time.time())
    with _transaction():
        _run("SELECT max(expires_at) FROM lean_codes WHERE number = %s", number)  # when the last text was sent
        _run("DELETE FROM lean_codes WHERE number = %s", number)
        _run("INSERT INTO lean_codes (id, number, guesses, expires_at) VALUES (%s, %s, 0, %s)", verification_id, number, now + 300)
    return {"verification_id": verification_id, "telephone_number": number, "expires_in": 300}


def code() -> ResponseReturnValue:
    body, now = request.get_json(), int(time.time())
    verification_id = body["verification_id"]
    with _transaction():
        found = _run("SELECT number, guesses FROM lean_codes WHERE id = %s AND expires_at > %s", verification_id, now)
        number = found[0][0] if found and found[0][1] < 3 else ""
        right = number and one_time_code(verification_id, number) == body["code"]
        if not right:
            _run("UPDATE lean_codes SET guesses = guesses + 1 WHERE id = %s", verification_id)
        else:
            _run("DELETE FROM lean_codes WHERE id = %s", verification_id)
            user_id, invite_code = _run(
                "INSERT INTO lean_users (id, number, invite_code) VALUES (%s, %s, %s) "
                "ON CONFLICT (number) DO UPDATE SET number = excluded.number RETURNING id, invite_code",
                *(secrets.token_urlsafe(16), number, secrets.token_hex(3)),
            )[0]
    if not right:
        return {"type": "/problems/wrong-code"}, 401
    token = jwt.encode({"sub": user_id, "exp": now + 900}, KEY, "HS256")
    return {"access_token": token, "expires_in": 900, "invite_code": invite_code, "device_token": ""}


def profile() -> dict[str, Any]:
    token = jwt.decode(request.headers["Authorization"].removeprefix("Bearer "), KEY, ["HS256"])
    number, invite_code, invited_by = _run("SELECT number, invite_code, invited_by FROM lean_users WHERE id = %s", token["sub"])[0]
    return {"telephone_number": number, "invite_code": invite_code, "activated_invite_code": invited_by}


def _run(statement: str, *values: object) -> Sequence[Sequence[Any]]:
    statements.append(statement)
    connection = _connection()
    if isinstance(connection, sqlite3.Connection):
        return connection.execute(statement.replace("%s", "?"), values).fetchall()
    cursor = connection.execute(statement, values)
    return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def _transaction() -> Iterator[None]:
    on_sqlite = isinstance(_connection(), sqlite3.Connection)
    with _writing if on_sqlite else contextlib.nullcontext():
        _run("BEGIN IMMEDIATE" if on_sqlite else "BEGIN")
        try:
            yield
        except BaseException:
            _run("ROLLBACK")
            raise
        _run("COMMIT")


def _connection() -> "sqlite3.Connection | psycopg.Connection[Any]":
    """The connection of this thread. It stays open."""
    if not hasattr(_here, "connection"):
        url = os.environ["DATABASE_URL"]
        if url.startswith("sqlite:///"):
            _here.connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=2, isolation_level=None)
            for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
                _here.connection.execute(f"pragma {pragma}")
        else:
            _here.connection = psycopg.connect(url, autocommit=True)
    return _here.connection  # type: ignore[no-any-return]
