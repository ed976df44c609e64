"""What waits to be posted, and which endpoints fail: for the gauges of /metrics, `doctor` and the command line."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Subquery, func, select
from sqlalchemy.orm import InstrumentedAttribute

from hammer import clock, events
from hammer.db.database import db
from hammer.models import Event, WebhookDelivery, WebhookEndpoint
from hammer.webhooks.feed import is_receiving

MOST_COUNTED: Final = 10_000
"""Rows that are counted at most, so that a longer queue costs no more."""

_WAITING: Final = WebhookDelivery.ended_at.is_(None)


@dataclass(frozen=True)
class Status:
    """Without what waits for endpoints that are disabled."""

    waiting: int
    """Deliveries that wait, also for their next try, and events that are not published yet; `MOST_COUNTED` of each at most."""
    oldest_due: timedelta
    """How long the first in line has been due; zero if nothing is due."""
    overdue: timedelta
    """For how long a worker could have done it. This is shorter: an endpoint that fails is paused for some minutes."""
    failures: dict[str, int]
    """Id of an endpoint -> its failed posts since the last one that it accepted."""
    disabled: Counter[str]
    """A `Disabled` -> how many endpoints are disabled for it."""


def status() -> Status:
    """Costs no more with long queues: of each endpoint the first delivery in line is read."""
    now = clock.now()
    first = select(WebhookDelivery.due_at).where(WebhookDelivery.endpoint_id == WebhookEndpoint.id, _WAITING)
    first = first.where(WebhookDelivery.due_at <= now).order_by(WebhookDelivery.id).limit(1)
    columns: list[Any] = [WebhookEndpoint.id, WebhookEndpoint.failures, WebhookEndpoint.next_at, WebhookEndpoint.disabled_for]
    columns += [is_receiving().label("receiving"), first.scalar_subquery().label("due_at")]
    endpoints = db.session.execute(select(*columns)).all()
    disabled = Counter(str(each.disabled_for) for each in endpoints if each.disabled_for)
    receiving = [each for each in endpoints if each.receiving]
    if not receiving:  # an event need not be published before an app reads the feed
        return Status(0, timedelta(0), timedelta(0), {}, disabled)
    waiting = _first(WebhookDelivery.id, _WAITING, WebhookDelivery.endpoint_id.in_([each.id for each in receiving]))
    unpublished = _first(Event.at, Event.sequence == events.UNPUBLISHED)
    count, oldest = db.session.execute(select(func.count(), func.min(unpublished.c.at)).select_from(unpublished)).one()
    due = [(each.due_at, max(each.due_at, each.next_at)) for each in receiving if each.due_at]
    since, workable_since = map(min, zip(*due, (oldest or now, oldest or now), strict=True))
    return Status(
        _count(waiting) + count,
        max(now - since, timedelta(0)),
        max(now - workable_since, timedelta(0)),
        {each.id: each.failures for each in receiving},
        disabled,
    )


def waiting_for(endpoint_id: str) -> int:
    """How many deliveries wait for an endpoint, `MOST_COUNTED` at most."""
    return _count(_first(WebhookDelivery.id, _WAITING, WebhookDelivery.endpoint_id == endpoint_id))


def _first(column: InstrumentedAttribute[Any], *where: ColumnElement[bool]) -> Subquery:
    """Some of these rows, `MOST_COUNTED` at most."""
    return select(column).where(*where).limit(MOST_COUNTED).subquery()


def _count(rows: Subquery) -> int:
    return db.session.scalars(select(func.count()).select_from(rows)).one()
