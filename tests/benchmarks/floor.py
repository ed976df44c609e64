"""The floor: bare Flask with raw driver calls, which sends Hammer's statements to the same tables, with the same durability.

It has no documented routes, no checks of fields, no parsing of numbers, no signed access tokens, no languages, no log and no
headers. It has every statement that a rule needs, in the same order and the same transactions, and signs id tokens. So it measures
the cost of the database, its driver, Flask, the server and that signature without an application.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import sqlite3
import threading
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from flask import Flask, redirect, request
from werkzeug.wrappers import Response

from tests.benchmarks import as_deployed

KEY = b"only for benchmarks, 32 bytes and more of it"
RSA = generate_private_key(65537, 2048)
MOST = 100_000_000
_here = threading.local()
statements: list[str] = []
"""The statements of the last request, to be counted."""


class OnSqlite:
    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, timeout=2, isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on"):
            self.connection.execute(f"pragma {pragma}")

    def run(self, statement: str, *values: object) -> Sequence[Sequence[Any]]:
        statements.append(statement)
        return self.connection.execute(
            statement.replace("%s", "?").replace("FOR KEY SHARE OF u", "").replace("FOR KEY SHARE", ""),
            [_for_sqlite(value) for value in values],
        ).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        with _writing:
            self.run("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.run("ROLLBACK")
                raise
            self.run("COMMIT")


class OnPostgres:
    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, options="-c timezone=UTC")

    def run(self, statement: str, *values: object) -> Sequence[Sequence[Any]]:
        statements.append(statement)
        cursor = self.connection.execute(statement, values)
        rows: Sequence[Sequence[Any]] = cursor.fetchall() if cursor.description else []
        return rows

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        statements.extend(("BEGIN", "COMMIT"))
        with self.connection.transaction():
            yield


_writing = threading.Lock()


def _for_sqlite(value: object) -> object:
    return value.strftime("%Y-%m-%d %H:%M:%S.%f") if isinstance(value, datetime) else value


def database() -> OnSqlite | OnPostgres:
    """The connection of this thread. It stays open."""
    if not hasattr(_here, "database"):
        url = os.environ["DATABASE_URL"]
        on_sqlite = url.startswith("sqlite:///")
        _here.database = OnSqlite(url.removeprefix("sqlite:///")) if on_sqlite else OnPostgres(url)
    return _here.database  # type: ignore[no-any-return]


def signup() -> dict[str, Any]:
    db, now, number = database(), datetime.now(UTC), request.get_json()["telephone_number"]
    number_hash, prefix, address = (_hash(value) for value in (number, number[:-4], request.headers["X-Forwarded-For"]))
    day, hour, verification_id = _day(now), _hour(now), secrets.token_urlsafe(16)
    with db.transaction():
        counted = db.run(
            "SELECT scope, sum(taken) FROM counters WHERE scope IN (%s, %s, %s, %s) AND ends_at > %s GROUP BY scope",
            *(f"guesses/{number_hash}", "guesses/4", "guesses/6", "guesses/8", now),
        )
        used: dict[str, int] = {scope: taken for scope, taken in counted}  # noqa: C416
        if used.get(f"guesses/{number_hash}", 0) >= 5 or used.get("guesses/4", 0) >= MOST:
            raise OverflowError
        limits = [
            (f"texts/address/d/{address}", day, MOST, now + timedelta(days=1)),
            (f"texts/address/h/{address}", hour, MOST, now + timedelta(hours=1)),
            (f"texts/prefix/{prefix}", hour, MOST, now + timedelta(hours=1)),
        ]
        if len(_take(db, limits, now)) < len(limits):
            raise OverflowError
        allowed = db.run(
            "INSERT INTO send_allowances (number_hash, day_began_at, sends, streak, next_send_at) VALUES (%s, %s, 1, 1, %s) "
            "ON CONFLICT (number_hash) DO UPDATE SET sends = send_allowances.sends + 1, streak = send_allowances.streak + 1, "
            "next_send_at = excluded.next_send_at WHERE send_allowances.next_send_at <= %s AND send_allowances.sends < %s "
            "RETURNING sends, next_send_at",
            *(number_hash, now, now, now, 10_000),
        )
        if not allowed:
            raise OverflowError
        db.run(
            "INSERT INTO verifications (id, telephone_number, purpose, code_length, guesses, user_id, device_id, language, "
            "invite_code, created_at, expires_at) VALUES (%s, %s, 'login', 4, 0, NULL, NULL, 'ru', NULL, %s, %s)",
            *(verification_id, number, now, now + timedelta(seconds=300)),
        )
        waiting = "INSERT INTO texts (verification_id, tries, state, created_at, due_at) VALUES (%s, 0, 'waiting', %s, %s)"
        db.run(waiting, verification_id, now, now)
        _note(db, "code-sent", None, now)
        of_system = [("texts/day", day, MOST, now + timedelta(days=1)), ("texts/hour", hour, MOST, now + timedelta(hours=1))]
        if len(_take(db, of_system, now)) < len(of_system):
            raise OverflowError
    return {
        "verification_id": verification_id,
        "telephone_number": number,
        "code_length": 4,
        "expires_in": 300,
        "resend_in": 0,
    }


def code() -> tuple[dict[str, Any], int]:
    db, now, body = database(), datetime.now(UTC), request.get_json()
    verification_id = body["verification_id"]
    with db.transaction():
        found = db.run(
            "UPDATE verifications SET guesses = guesses + 1 WHERE id = %s AND purpose = 'login' AND user_id IS NULL "
            "AND consumed_at IS NULL AND expires_at > %s AND guesses < 3 AND code_length = %s "
            "RETURNING telephone_number, guesses, device_id, invite_code",
            *(verification_id, now, len(body["code"])),
        )
        if not found:
            return {"type": "/problems/wrong-code"}, 401
        number, guesses, _, _ = found[0]
        number_hash = _hash(number)
        limits = [("guesses/4", _day(now), MOST, now + timedelta(days=1))]
        limits += [(f"guesses/{number_hash}", _day(now), 5, now + timedelta(days=30))]
        if len(_take(db, limits, now)) < len(limits):
            return {"type": "/problems/wrong-code"}, 401
        if not hmac.compare_digest(one_time_code(verification_id, number), body["code"]):
            return {"type": "/problems/wrong-code", "attempts_left": 3 - guesses}, 401
        db.run("UPDATE verifications SET consumed_at = %s WHERE id = %s AND consumed_at IS NULL", now, verification_id)
        db.run(
            "UPDATE counters SET taken = taken - %s WHERE scope = %s AND period = %s OR scope = %s AND period = %s",
            *(guesses, "guesses/4", _day(now), f"guesses/{number_hash}", _day(now)),
        )
        db.run("UPDATE send_allowances SET streak = 0, next_send_at = %s WHERE number_hash = %s", now, number_hash)
        columns = "id, invite_code, blocked_at"
        user = db.run(f"SELECT {columns} FROM users WHERE telephone_number = %s FOR KEY SHARE", number)
        created = not user
        for _ in range(0 if user else 10):  # until the invite code is unique: among ten thousand people some codes would be equal
            user = user or db.run(
                "INSERT INTO users (id, telephone_number, invite_code, date_joined) VALUES (%s, %s, %s, %s) "
                f"ON CONFLICT DO NOTHING RETURNING {columns}",
                *(secrets.token_urlsafe(16), number, _invite_code(), now),
            )
        user_id, invite_code, _ = user[0]
        device_id, session_id = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        db.run(
            "INSERT INTO devices (id, user_id, guesses, known_since, used_at) VALUES (%s, %s, 0, %s, %s)",
            *(device_id, user_id, now, now),
        )
        db.run(
            "INSERT INTO sessions (id, user_id, kind, device, refreshes, refreshed_at, created_at, seen_at, expires_at) "
            "VALUES (%s, %s, 'program', 'curl', 0, %s, %s, %s, %s)",
            *(session_id, user_id, now, now, now, now + timedelta(days=30)),
        )
        _note(db, "signed-up" if created else "signed-in", user_id, now)
    return {
        "Ваш токен": session_id,
        "Ваш инвайт код": invite_code,
        "access_token": session_id,
        "refresh_token": session_id,
        "token_type": "Bearer",
        "expires_in": 900,
        "invite_code": invite_code,
        "created": created,
        "device_token": device_id,
    }, 200


def profile() -> dict[str, Any]:
    return _profile(database(), _user(database()))


def activate() -> dict[str, Any]:
    db, now, typed = database(), datetime.now(UTC), request.get_json()["invite_code"]
    user_id = _user(db)
    with db.transaction():
        if isinstance(db, OnPostgres):
            db.run("SELECT pg_advisory_xact_lock(hashtext('activate'))")
        if db.run("SELECT u.invite_code FROM users u JOIN referrals r ON r.referrer_id = u.id WHERE r.referee_id = %s", user_id):
            raise ValueError
        number = db.run("SELECT telephone_number FROM users WHERE id = %s FOR KEY SHARE", user_id)[0][0]
        number_hash, address = _hash(number), _hash(request.headers["X-Forwarded-For"])
        if db.run("SELECT 1 FROM tombstones WHERE number_hash = %s AND expires_at > %s", number_hash, now):
            raise ValueError
        db.run("SELECT sum(taken) FROM counters WHERE scope = %s AND ends_at > %s", f"invites/life/{user_id}", now)
        limits = [
            (f"invites/address/{address}", _day(now), MOST, now + timedelta(days=1)),
            ("invites/day", _day(now), MOST, now + timedelta(days=1)),
            (f"invites/life/{user_id}", 0, 10, now + timedelta(days=36_525)),
            (f"invites/number/{number_hash}", _day(now), 5, now + timedelta(days=1)),
        ]
        if len(_take(db, limits, now)) < len(limits):
            raise OverflowError
        owner = db.run("SELECT id FROM users WHERE invite_code = %s AND deleted_at IS NULL", typed)[0][0]
        loop = db.run(
            "WITH RECURSIVE above (referrer_id) AS (SELECT referrer_id FROM referrals WHERE referee_id = %s UNION "
            "SELECT r.referrer_id FROM referrals r JOIN above a ON r.referee_id = a.referrer_id) "
            "SELECT 1 FROM above WHERE referrer_id = %s",
            *(owner, user_id),
        )
        if loop:
            raise ValueError
        db.run(
            "INSERT INTO referrals (referee_id, referrer_id, activated_at) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING RETURNING referee_id",
            *(user_id, owner, now),
        )
        db.run("UPDATE users SET invite_count = invite_count + 1 WHERE id = %s", owner)
        _note(db, "invite-activated", user_id, now)
        keys = [value for scope, period, _, _ in limits for value in (scope, period)]
        pairs = " OR ".join("scope = %s AND period = %s" for _ in limits)
        db.run(f"UPDATE counters SET taken = taken - 1 WHERE {pairs}", *keys)
    return _profile(db, user_id)


def authorize() -> Response:
    db, now, sent = database(), datetime.now(UTC), request.args
    client = db.run("SELECT id, redirect_uris, first_party FROM clients WHERE id = %s AND disabled_at IS NULL", sent["client_id"])
    if not client or client[0][1] != sent["redirect_uri"]:
        raise ValueError
    _, session_id = _caller(db, request.cookies["session"], "browser")
    proved_at, allowed = db.run(
        "SELECT s.created_at, c.scopes FROM sessions s LEFT JOIN consents c ON c.user_id = s.user_id AND c.client_id = %s "
        "WHERE s.id = %s",
        *(sent["client_id"], session_id),
    )[0]
    if not proved_at or not set(sent["scope"].split()) <= set(allowed.split()):
        raise ValueError
    row_id = secrets.token_urlsafe(16)
    with db.transaction():
        db.run(
            "INSERT INTO authorizations (id, client_id, redirect_uri, scopes, state, nonce, code_challenge, prompt, created_at, "
            "expires_at, session_id) VALUES (%s, %s, %s, %s, %s, %s, %s, '', %s, %s, %s)",
            *(row_id, sent["client_id"], sent["redirect_uri"], sent["scope"], sent["state"], sent["nonce"], sent["code_challenge"]),
            *(now, now + timedelta(seconds=60), session_id),
        )
    answer = urlencode({"code": f"{row_id}.{_hash(row_id)}", "state": sent["state"], "iss": "https://login.example.com"})
    return redirect(f"{sent['redirect_uri']}?{answer}", 303)


def token() -> dict[str, Any]:
    db, now, sent = database(), datetime.now(UTC), request.form
    client_id, _, secret = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().partition(":")
    limits = [(f"secrets/{_hash(client_id + request.headers['X-Forwarded-For'])}", _hour(now), 20, now + timedelta(hours=1))]
    with db.transaction():
        if not db.run("SELECT id, algorithm, generation FROM clients WHERE id = %s AND disabled_at IS NULL", client_id):
            raise ValueError
        if len(_take(db, limits, now)) < len(limits) or not hmac.compare_digest(secret, _hash(client_id)):
            raise OverflowError
        scope, period, *_ = limits[0]
        db.run("UPDATE counters SET taken = taken - 1 WHERE scope = %s AND period = %s", scope, period)
    row_id, _, signature = sent["code"].partition(".")
    if not hmac.compare_digest(signature, _hash(row_id)):
        raise ValueError
    grant_id = secrets.token_urlsafe(16)
    with db.transaction():
        db.run("SELECT id FROM clients WHERE id = %s AND disabled_at IS NULL FOR KEY SHARE", client_id)
        db.run(
            "SELECT u.id FROM users u JOIN sessions s ON s.user_id = u.id JOIN authorizations a ON a.session_id = s.id "
            "WHERE a.id = %s AND a.client_id = %s AND u.blocked_at IS NULL AND u.deleted_at IS NULL FOR KEY SHARE OF u",
            *(row_id, client_id),
        )
        redirect_uri, challenge, scopes, session_id, nonce = db.run(
            "UPDATE authorizations SET consumed_at = %s WHERE id = %s AND client_id = %s AND consumed_at IS NULL "
            "AND session_id IS NOT NULL RETURNING redirect_uri, code_challenge, scopes, session_id, nonce",
            *(now, row_id, client_id),
        )[0]
        shown = urlsafe_b64encode(hashlib.sha256(sent["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if redirect_uri != sent["redirect_uri"] or not hmac.compare_digest(challenge, shown):
            raise ValueError
        user_id, created_at, expires_at = db.run(
            "SELECT s.user_id, s.created_at, s.expires_at FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = %s "
            "AND s.kind = 'browser' AND s.ended_at IS NULL AND s.expires_at > %s AND u.blocked_at IS NULL AND u.deleted_at IS NULL "
            "FOR KEY SHARE",
            *(session_id, now),
        )[0]
        db.run(
            "INSERT INTO sessions (id, user_id, kind, device, client_id, parent_id, scopes, refreshes, refreshed_at, created_at, "
            "seen_at, expires_at) VALUES (%s, %s, 'app', '', %s, %s, %s, 0, %s, %s, %s, %s)",
            *(grant_id, user_id, client_id, session_id, scopes, now, created_at, now, expires_at),
        )
        db.run("UPDATE authorizations SET grant_id = %s WHERE id = %s", grant_id, row_id)
        _note(db, "app-signed-in", user_id, now)
    return {
        "access_token": f"{grant_id}.{_hash(grant_id)}",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": scopes,
        "id_token": jwt.encode({"sub": user_id, "aud": client_id, "sid": grant_id, "nonce": nonce}, RSA, "RS256"),
    }


def nothing() -> dict[str, Any]:
    """Measures Flask and the server without statements."""
    return {}


def one_time_code(verification_id: str, number: str) -> str:
    """Computes a code in about the same way as Hammer."""
    digest = hmac.digest(KEY, f"{verification_id}|{number}".encode(), "sha256")
    return str(int.from_bytes(digest) % 10_000).zfill(4)


def make() -> Flask:
    """The WSGI application."""
    app = Flask(__name__)
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.before_request(statements.clear)
    app.post("/api/v1/auth/signup/")(signup)
    app.post("/api/v1/auth/code/")(code)
    app.get("/api/v1/users/me/")(profile)
    app.post("/api/v1/users/me/invite/")(activate)
    app.get("/oauth/authorize")(authorize)
    app.post("/oauth/token")(token)
    app.get("/healthz")(nothing)
    return as_deployed(app)


def _user(db: OnSqlite | OnPostgres) -> str:
    return _caller(db, request.headers["Authorization"].removeprefix("Bearer "), "program")[0]


def _caller(db: OnSqlite | OnPostgres, session_id: str, kind: str) -> tuple[str, str]:
    caller = db.run(
        "SELECT u.id, s.id, u.is_staff FROM users u JOIN sessions s ON u.id = s.user_id WHERE s.id = %s AND s.kind = %s "
        "AND s.ended_at IS NULL AND s.expires_at > %s AND u.blocked_at IS NULL AND u.deleted_at IS NULL",
        *(session_id, kind, datetime.now(UTC)),
    )
    return caller[0][0], caller[0][1]


def _profile(db: OnSqlite | OnPostgres, user_id: str) -> dict[str, Any]:
    row = db.run(
        "SELECT u.username, u.first_name, u.last_name, u.telephone_number, u.invite_code, u.invite_count, u.date_joined, "
        "o.invite_code FROM users u LEFT JOIN referrals r ON r.referee_id = u.id LEFT JOIN users o ON o.id = r.referrer_id "
        "WHERE u.id = %s AND u.deleted_at IS NULL",
        user_id,
    )[0]
    invited = (
        db.run(
            "SELECT u.telephone_number FROM referrals r JOIN users u ON u.id = r.referee_id WHERE r.referrer_id = %s "
            "ORDER BY r.activated_at DESC, r.referee_id DESC LIMIT 100",
            user_id,
        )
        if row[5]
        else []
    )
    return {
        "username": row[0] or "",
        "first_name": row[1],
        "last_name": row[2],
        "telephone_number": row[3],
        "invite_code": row[4],
        "invite_code_list": [number for (number,) in invited],
        "activated_invite_code": row[7],
        "invite_count": row[5],
        "date_joined": str(row[6]),
    }


def _take(db: OnSqlite | OnPostgres, limits: Sequence[tuple[str, int, int, datetime]], now: datetime) -> dict[str, int]:
    rows = ", ".join("(%s, %s, 1, %s)" for _ in limits)
    most = " ".join("WHEN %s THEN %s" for _ in limits)
    taken = db.run(
        f"INSERT INTO counters (scope, period, taken, ends_at) VALUES {rows} ON CONFLICT (scope, period, part) DO UPDATE "
        f"SET taken = counters.taken + 1 WHERE counters.taken < CASE counters.scope {most} END RETURNING scope, taken + "
        "(SELECT coalesce(sum(before.taken), 0) FROM counters AS before WHERE before.scope = counters.scope "
        "AND before.period < counters.period AND before.ends_at > %s)",
        *(value for scope, period, _, ends in limits for value in (scope, period, ends)),
        *(value for scope, _, most, _ in limits for value in (scope, most)),
        now,
    )
    return {scope: count for scope, count in taken}  # noqa: C416


def _note(db: OnSqlite | OnPostgres, kind: str, user_id: str | None, now: datetime) -> None:
    db.run(
        "INSERT INTO events (at, kind, user_id, actor_id, request_id) VALUES (%s, %s, %s, NULL, %s)",
        *(now, kind, user_id, secrets.token_hex(16)),
    )


def _hash(value: str) -> str:
    return hmac.digest(KEY, value.encode(), "sha256").hex()


def _day(now: datetime) -> int:
    return int(now.timestamp()) // 86_400


def _hour(now: datetime) -> int:
    return int(now.timestamp()) // 3600


def _invite_code() -> str:
    return "".join(secrets.choice("23456789BCDFGHJKMNPQRSTVWXYZ") for _ in range(6))
