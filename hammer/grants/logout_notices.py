"""Tells apps that sessions of their users ended (OpenID Connect Back-Channel Logout 1.0): `deliver_next`, and threads that call it.

A verb that ends sessions adds the notices in its own transaction (`hammer.sessions.revocation`), and no request waits for an app.
No notice is lost: see `hammer.db.queue`. An app gets each one once, except after a process was killed between a post and its
record: then the notice is posted a second time, with the same `jti`.

Nothing wakes the threads after a commit: they look once a second, and no person waits for a notice.
"""

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import jwt
from sqlalchemy import func, select, update

from config import Settings
from hammer import clock
from hammer.db import server_clock
from hammer.db.database import Transaction, db, transaction
from hammer.db.queue import Policy, Queue, Workers, start_with_server
from hammer.models import Client, LogoutNotice, SigningAlgorithm
from hammer.outgoing.guard import Guard
from hammer.outgoing.post import Fault, Outcome, post
from hammer.sessions.keys import IdTokenKeys

if TYPE_CHECKING:
    from flask import Flask

POST_SECONDS: Final = 5.0
"""Time limit of one post, from the name of the host to the answer."""
POLICY: Final = Policy(
    lease=timedelta(seconds=15),  # longer than a post and its record take
    waits=tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3600)),
)
QUEUE: Final = Queue(
    LogoutNotice,
    POLICY,
    id=LogoutNotice.id,
    due_at=LogoutNotice.due_at,
    tries=LogoutNotice.tries,
    waiting=LogoutNotice.ended_at.is_(None),
)
THREADS: Final = 2
"""Enough that an app which does not answer delays no other one: a process posts to one app once at a time."""
TOKEN_LIFETIME: Final = timedelta(minutes=2)
"""The longest that §4 of the standard recommends."""
LATELY: Final = timedelta(days=1)
"""How long `doctor` reports notices that were given up."""
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"

log = logging.getLogger(__name__)

_claiming = threading.Lock()
_busy: set[str] = set()
"""The clients to which this process is posting."""


def init_app(app: "Flask") -> None:
    """Prepares the threads of a server: where it sends no texts, because workers do, it sends no notices either."""
    settings: Settings = app.config["SETTINGS"]
    if not app.testing and settings.sms_threads:
        start_with_server(app, "hammer.grants.logout_notices", notice_threads(app))


def notice_threads(app: "Flask") -> Workers:
    """Threads that deliver notices, not started yet."""
    settings: Settings = app.config["SETTINGS"]
    return Workers(
        QUEUE, lambda: deliver_next(settings), name="notices", count=THREADS, context=lambda: server_clock.for_workers(app)
    )


def deliver_next(settings: Settings) -> bool:
    """Posts the notice that has been due for longest, of those for apps to which this process is not posting. Returns False when
    none is due."""
    now = server_clock.now()
    if not QUEUE.any_due(now, LogoutNotice.client_id.not_in(tuple(_busy))):
        return False
    with _claiming:
        with transaction() as tx:
            notice = QUEUE.claim(tx, now, LogoutNotice.client_id.not_in(_busy))
            if notice is None:
                return False
            app = _app(tx, notice)
        _busy.add(notice.client_id)
    try:
        _deliver(settings, notice, app)
    finally:
        _busy.discard(notice.client_id)
    return True


@dataclass(frozen=True)
class _App:
    url: str
    algorithm: SigningAlgorithm


def _app(tx: Transaction, notice: LogoutNotice) -> _App | None:
    """The app that the notice is for; None if it was removed or disabled, or wants no notices any more."""
    wanted = Client.id == notice.client_id, Client.backchannel_logout_uri.is_not(None), Client.disabled_at.is_(None)
    found = tx.execute(select(Client.backchannel_logout_uri, Client.algorithm).where(*wanted)).one_or_none()
    return _App(str(found[0]), SigningAlgorithm(found[1])) if found else None


def _deliver(settings: Settings, notice: LogoutNotice, app: _App | None) -> None:
    if app is None:
        QUEUE.record(notice, lambda tx: _end(tx, notice, delivered=None))
    elif notice.tries > POLICY.most_tries:  # claimed too often by processes that ended before they could record a result
        _give_up(notice, "no result")
    else:
        body = urlencode({"logout_token": logout_token(settings, notice, app.algorithm)}).encode()
        outcome = post(Guard.of(settings), app.url, body, FORM, seconds=POST_SECONDS)
        _record(notice, outcome)


def _record(notice: LogoutNotice, outcome: Outcome) -> None:
    if outcome.accepted:
        QUEUE.record(notice, lambda tx: _end(tx, notice, delivered=True))
    elif outcome.status == HTTPStatus.BAD_REQUEST or QUEUE.is_last_try(notice):  # §2.8: the app does not accept this token
        _give_up(notice, str(outcome))
    else:
        with transaction() as tx:
            QUEUE.retry_later(tx, notice)
            if outcome.fault is Fault.TIMEOUT:
                _hold_back(tx, notice.client_id)


def _hold_back(tx: Transaction, client_id: str) -> None:
    """Makes the notices for an app that does not answer wait, so that several such apps do not keep all threads from the others."""
    now = server_clock.now()
    due = LogoutNotice.client_id == client_id, LogoutNotice.ended_at.is_(None), LogoutNotice.due_at <= now
    tx.execute(update(LogoutNotice).where(*due).values(due_at=now + POLICY.waits[0]))


def _give_up(notice: LogoutNotice, why: str) -> None:
    QUEUE.record(notice, lambda tx: _end(tx, notice, delivered=False))
    log.error("A logout notice for the client %s was given up: %s.", notice.client_id, why)


def _end(tx: Transaction, notice: LogoutNotice, *, delivered: bool | None) -> None:
    """Records the result. A confirmation counts even if another thread has claimed the notice since."""
    this = (LogoutNotice.id == notice.id,) if delivered else QUEUE.held(notice)
    tx.execute(update(LogoutNotice).where(*this).values(delivered=delivered, ended_at=clock.now()))


def logout_token(settings: Settings, notice: LogoutNotice, algorithm: SigningAlgorithm) -> str:
    """The token of a notice (§2.4). It says in its type that it is no id token, and has no nonce."""
    now = clock.now()
    claims = {
        "iss": settings.public_url,
        "aud": notice.client_id,
        "iat": int(now.timestamp()),
        "exp": int((now + TOKEN_LIFETIME).timestamp()),
        "jti": notice.id,
        "sub": notice.user_id,
        "sid": notice.session_id,
        "events": {EVENT: {}},
    }
    key = IdTokenKeys(settings).signing(algorithm)
    return jwt.encode(claims, key.private, algorithm=algorithm, headers={"kid": key.kid, "typ": "logout+jwt"})


@dataclass(frozen=True)
class NoticesStatus:
    waiting: int
    oldest_waiting: timedelta
    """How long the oldest waiting notice has waited; zero if none waits."""
    overdue: timedelta
    """How long a notice has been due without being tried; zero if none is due."""


def status() -> NoticesStatus:
    """Reads the notices that wait, however many are stored."""
    now = clock.now()
    waiting = select(func.count(), func.min(LogoutNotice.created_at), func.min(LogoutNotice.due_at))
    count, created_at, due_at = db.session.execute(waiting.where(LogoutNotice.ended_at.is_(None))).one()
    return NoticesStatus(count, _since(created_at, now), _since(due_at, now))


def _since(moment: datetime | None, now: datetime) -> timedelta:
    return max(now - moment, timedelta(0)) if moment else timedelta(0)


def given_up_lately() -> Counter[str]:
    """Name of a client -> how many notices for it were given up lately."""
    lost = LogoutNotice.created_at > clock.now() - LATELY, LogoutNotice.delivered.is_(False)
    count = select(Client.name, func.count()).join(LogoutNotice, LogoutNotice.client_id == Client.id)
    return Counter(dict(db.session.execute(count.where(*lost).group_by(Client.name)).all()))
