"""Posts events to endpoints: `deliver_next`, and threads that call it.

A worker claims an endpoint, not a delivery (`hammer.db.queue`), and makes one post for each claim. So an endpoint gets one post at
a time, and one that does not answer holds up one thread. An event is posted until the endpoint accepts it or the tries are over. It
is posted twice only if a process is killed between a post and its record, if a post is recorded later than its claim holds, or if
the endpoint is enabled or gets another URL during the post: then with the same `webhook-id`.

Nothing wakes the threads after a commit: they look once a second.
"""

import logging
import random
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, func, select, update

from config import Settings
from hammer import clock, measures
from hammer.acting import acting
from hammer.db import server_clock
from hammer.db.database import Transaction, on_commit, transaction
from hammer.db.prepared import insert_row
from hammer.db.queue import Policy, Queue, Workers, start_with_server
from hammer.models import Disabled, Event, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from hammer.outgoing.guard import Guard
from hammer.outgoing.post import Fault, Outcome, post
from hammer.refusals import NotFound
from hammer.webhooks import endpoints, feed, signing
from hammer.webhooks.endpoints import COMMAND_LINE, Manager
from hammer.webhooks.messages import Message, message, select_events

if TYPE_CHECKING:
    from flask import Flask

POST_SECONDS: Final = 15.0
"""Time limit of one post, from the name of the host to the answer."""
WAITS: Final = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 1800, *(hours * 3600 for hours in (2, 5, 10, 14, 20, 24)))
)
"""How long a delivery waits after its first failed try, after the second, and so on: three days and four hours in all."""
JITTER: Final = 0.25
"""The share by which a wait is randomly longer, so that deliveries that failed together are not retried together."""
LONGEST_WAIT: Final = WAITS[-1] * (1 + JITTER)
"""How far ahead a delivery can be due."""
LONGEST_RETRY_AFTER: Final = timedelta(hours=24)
"""The longest wait that an endpoint can ask for."""
PAUSE: Final = timedelta(seconds=5)
"""How long an endpoint is not posted to after a failed post. It doubles with each further one, up to `LONGEST_PAUSE`."""
LONGEST_PAUSE: Final = timedelta(minutes=5)
DISABLED_AFTER: Final = timedelta(days=3)
"""An endpoint is disabled when it has failed for so long without accepting one post."""
LONGEST_SILENCE: Final = timedelta(days=2)
"""Longer than a wait between two tries. An endpoint that was not posted to for so long begins to fail with its next failure."""
QUEUE: Final = Queue(
    WebhookEndpoint,
    Policy(lease=timedelta(seconds=30), waits=(LONGEST_RETRY_AFTER,)),  # the lease is longer than a post and its record take
    id=WebhookEndpoint.id,
    due_at=WebhookEndpoint.next_at,
    tries=WebhookEndpoint.claims,
    waiting=WebhookEndpoint.disabled_at.is_(None),
)
THREADS: Final = 4
SLOW: Final = timedelta(seconds=1)
"""An endpoint whose last post took longer is slow."""
SLOW_THREADS: Final = 2
"""Threads of a process that post to slow endpoints at the same time: those that hang, however many, delay only each other."""
SLOW_OR_NEW_THREADS: Final = 3
"""Those that post to slow endpoints or to new ones, which may hang too. The others are for endpoints that answer at once."""

POSTS: Final = measures.counter(
    "webhook_posts",
    "Posts to endpoints of webhooks, by the first digit of the status or by the fault.",
    "outcome",
    known=((outcome,) for outcome in ("2xx", "3xx", "4xx", "5xx", *Fault)),
)

log = logging.getLogger(__name__)

_claiming = threading.Lock()
_busy: dict[tuple[str, int], bool | None] = {}
"""Claim under which this process is posting -> whether the endpoint is slow; None for a new one."""


def init_app(app: "Flask") -> None:
    """Prepares the threads of a server: where it sends no texts, because workers do, it posts no events either."""
    settings: Settings = app.config["SETTINGS"]
    if not app.testing and settings.sms_threads:
        start_with_server(app, "hammer.webhooks.deliveries", threads(app))


def threads(app: "Flask") -> Workers:
    """Threads that deliver events, not started yet."""
    settings: Settings = app.config["SETTINGS"]
    return Workers(
        QUEUE, lambda: deliver_next(settings), name="webhooks", count=THREADS, context=lambda: server_clock.for_workers(app)
    )


@dataclass(frozen=True)
class _Work:
    """The rows are as they were at the claim: they belong to no session, which would read them again."""

    endpoint: WebhookEndpoint
    delivery: WebhookDelivery
    message: Message


def deliver_next(settings: Settings) -> bool:
    """Publishes what waits for it, and posts one delivery. Returns False when there was nothing to do."""
    published = feed.publish()
    with _claiming:
        work = _claim(*_allowed())
        if work is None:
            return bool(published)
        claim = work.endpoint.id, work.endpoint.claims
        _busy[claim] = work.endpoint.slow
    try:
        at = clock.now()
        _record(work, at, *_post(settings, work.endpoint, work.message))
    finally:
        del _busy[claim]
    return True


def ping_now(settings: Settings, endpoint_id: str, *, by: Manager = COMMAND_LINE) -> Outcome:
    """Posts a `ping` at once, also to a disabled endpoint, and logs the attempt. If it is accepted, that ends the pause of an
    endpoint that failed. Refuses with `NotFound`, and staff who are staff no more with `NotAllowed`."""
    with acting(by.user_id) as tx:
        endpoint = endpoints.lock(tx, endpoint_id, by)
        if endpoint is None:
            raise NotFound
        event = endpoints.add_ping(tx, endpoint_id, by)
    at = clock.now()
    outcome, took = _post(settings, endpoint, message(event, None))
    with transaction() as tx:  # the post was made, so it is recorded, whoever is staff by now
        if endpoint := endpoints.lock(tx, endpoint_id):
            _log_attempt(tx, endpoint_id, event.id, at, outcome, took)
            if outcome.accepted and endpoint.failures:
                endpoints.end_pause(tx, endpoint_id)
    return outcome


def _has_work(now: datetime) -> tuple[ColumnElement[bool], ...]:
    # Not EXISTS: PostgreSQL would read all due deliveries for a join, instead of one for each endpoint.
    waiting = WebhookDelivery.endpoint_id == WebhookEndpoint.id, WebhookDelivery.ended_at.is_(None)
    earliest = select(func.min(WebhookDelivery.due_at)).where(*waiting).correlate(WebhookEndpoint)
    return feed.is_receiving(), earliest.scalar_subquery() <= now


def _allowed() -> tuple[ColumnElement[bool], ...]:
    """The endpoints that a thread may post to now: conditions on them."""
    slow, slow_or_new = list(_busy.values()).count(True), sum(each is not False for each in _busy.values())
    if slow_or_new >= SLOW_OR_NEW_THREADS:
        return (WebhookEndpoint.slow.is_(False),)
    return (WebhookEndpoint.slow.is_distinct_from(True),) if slow >= SLOW_THREADS else ()


def _claim(*which: ColumnElement[bool]) -> _Work | None:
    """Claims an endpoint, of those that match `which`, and reads its first delivery in line; None if none is due."""
    now = server_clock.now()
    where = (*which, *_has_work(now))
    if not QUEUE.any_due(now, *where):
        return None
    with transaction() as tx:
        endpoint = QUEUE.claim(tx, now, *where)
        return _oldest_due(tx, endpoint, now) if endpoint else None


def _oldest_due(tx: Transaction, endpoint: WebhookEndpoint, now: datetime) -> _Work | None:
    """None, and the endpoint is released, if a worker whose claim is over has recorded a result since."""
    due = select_events(WebhookDelivery).join(WebhookDelivery, WebhookDelivery.event_id == Event.id)
    due = due.where(WebhookDelivery.endpoint_id == endpoint.id, WebhookDelivery.ended_at.is_(None), WebhookDelivery.due_at <= now)
    found = tx.execute(due.order_by(WebhookDelivery.due_at, WebhookDelivery.id).limit(1)).first()
    if found is None:
        _release(tx, endpoint, next_at=now)
        return None
    event, referrer_id, delivery = found
    for row in (endpoint, delivery):
        tx.expunge(row)
    return _Work(endpoint, delivery, message(event, referrer_id))


def _release(tx: Transaction, endpoint: WebhookEndpoint, **values: object) -> bool:
    """Changes the endpoint and ends the claim on it; False if it does not hold any more."""
    held = update(WebhookEndpoint).where(*QUEUE.held(endpoint)).values(values)
    return tx.scalar(held.returning(WebhookEndpoint.id)) is not None


def _post(settings: Settings, endpoint: WebhookEndpoint, about: Message) -> tuple[Outcome, timedelta]:
    """Makes one post: what became of it, and how long it took."""
    body, began = about.body(), time.monotonic()
    headers = signing.headers(settings, endpoint, about.id, body)
    outcome = post(Guard.of(settings), endpoint.url, body, headers, seconds=POST_SECONDS)
    return outcome, timedelta(seconds=time.monotonic() - began)


def _record(work: _Work, at: datetime, outcome: Outcome, took: timedelta) -> None:
    now, slow = server_clock.now(), took > SLOW

    def write(tx: Transaction) -> Disabled | None:
        if not endpoints.lock(tx, work.endpoint.id):  # it was removed meanwhile
            return None
        _log_attempt(tx, work.endpoint.id, work.delivery.event_id, at, outcome, took)
        if not outcome.accepted:
            return _failed(tx, work, outcome, now, slow=slow)
        # This counts even if the claim is over: the endpoint has the event.
        _release(tx, work.endpoint, next_at=now, failures=0, failing_since=None, slow=slow)
        ended = {"ended_at": now, "delivered": True, "tries": work.delivery.tries + 1}
        tx.execute(update(WebhookDelivery).where(WebhookDelivery.id == work.delivery.id).values(ended))
        return None

    if why := QUEUE.record(work.endpoint, write):
        log.error("The webhook endpoint %s was disabled: %s.", work.endpoint.id, why)


def _failed(tx: Transaction, work: _Work, outcome: Outcome, now: datetime, *, slow: bool) -> Disabled | None:
    """Records a failed post: why the endpoint was disabled, if it was. Changes nothing if the claim is over."""
    endpoint, delivery = work.endpoint, work.delivery
    failing_since = endpoint.failing_since if endpoint.failing_since and not _was_silent(tx, endpoint, now) else now
    asked = min(outcome.retry_after or timedelta(0), LONGEST_RETRY_AFTER)
    pause = max(asked, min(PAUSE * 2 ** min(endpoint.failures, 10), LONGEST_PAUSE))
    failures = endpoint.failures + 1
    if not _release(tx, endpoint, next_at=now + pause, failures=failures, failing_since=failing_since, slow=slow):
        return None
    why = None
    if outcome.status == HTTPStatus.GONE:
        why = Disabled.GONE
    elif now - failing_since >= DISABLED_AFTER:
        why = Disabled.FAILING
    if why:
        endpoints.disable_in(tx, endpoint.id, why)
    if why is Disabled.GONE or delivery.tries >= len(WAITS):
        became: dict[str, object] = {"ended_at": now, "delivered": False}
    else:
        wait = WAITS[delivery.tries] * random.uniform(1, 1 + JITTER)  # noqa: S311  # protects nothing
        became = {"due_at": now + max(asked, wait)}
    # A delivery that was ended or begun again since the claim stays as it is.
    as_posted = WebhookDelivery.id == delivery.id, WebhookDelivery.tries == delivery.tries, WebhookDelivery.ended_at.is_(None)
    tx.execute(update(WebhookDelivery).where(*as_posted).values(tries=delivery.tries + 1, **became))
    return why


def _was_silent(tx: Transaction, endpoint: WebhookEndpoint, now: datetime) -> bool:
    """Whether the post before the one that was just logged was too long ago to say that the endpoint failed since."""
    before = select(WebhookAttempt.at).where(WebhookAttempt.endpoint_id == endpoint.id)
    at = tx.scalar(before.order_by(WebhookAttempt.id.desc()).offset(1).limit(1))
    return at is None or now - at > LONGEST_SILENCE


def _log_attempt(tx: Transaction, endpoint_id: str, event_id: int, at: datetime, outcome: Outcome, took: timedelta) -> None:
    took_ms = round(took / timedelta(milliseconds=1))
    values = {"at": at, "status": outcome.status, "fault": outcome.fault, "took_ms": took_ms}
    insert_row(tx, WebhookAttempt, endpoint_id=endpoint_id, event_id=event_id, **values)
    on_commit(tx, POSTS.labels(outcome.fault or f"{(outcome.status or 0) // 100}xx").inc)
