"""The audit trail of everybody, newest first, by a keyset of ids and at a cost that does not grow with the table."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import aliased

from hammer.db.database import db
from hammer.db.pagination import Page
from hammer.models import Client, Event, User, WebhookEndpoint
from hammer.users import timeline
from hammer.users.timeline import Other

A_PAGE: Final = 50
READ_AT_ONCE: Final = 100_000
"""Events of all kinds among which one page looks for events of one kind."""
OUT_OF_ORDER: Final = 10_000
"""How far apart the ids of events can be that are in one order by id, and in another by time."""

_ACTOR, _ABOUT = aliased(User), aliased(User)


@dataclass(frozen=True)
class Filters:
    """Which events are asked for; all by default."""

    by_staff: bool = False
    """Only what staff did to others."""
    kind: str | None = None
    person: str | None = None
    """The id of a user who did it or whom it is about."""
    since: date | None = None
    until: date | None = None
    """The first and the last day (UTC)."""
    client: str | None = None
    """The id of a client."""


@dataclass(frozen=True)
class Entry:
    """An event."""

    id: int
    at: datetime
    kind: str
    detail: str | None
    reason: str | None
    by: Other | None
    about: Other | None
    client: str | None
    """The name of the client; its id, if it was removed."""
    endpoint_id: str | None
    endpoint_host: str
    """The host of the webhook endpoint; empty if it was removed."""
    request_id: str | None


def read(filters: Filters, before: int | None = None, limit: int = A_PAGE) -> Page[Entry]:
    """The newest events that fit, or the newest before an id. The next page begins before the id in `Page.after`.

    A page may have fewer entries, or none, although there is a next one.
    """
    lowest, above = _span(filters, before)
    of_few = filters.person or filters.by_staff
    bottom = lowest if of_few or not (filters.kind or filters.client) else max(lowest, above - READ_AT_ONCE)
    fit = select(Event.id).where(Event.id >= bottom, Event.id < above, *_conditions(filters))
    ids = db.session.scalars(fit.order_by(Event.id.desc()).limit(limit + 1)).all()
    after = ids[limit - 1] if len(ids) > limit else bottom if bottom > lowest else None
    return Page(_entries(list(ids[:limit])), None if after is None else str(after))


def _span(filters: Filters, before: int | None) -> tuple[int, int]:
    """The ids among which the events are: from the first on, and below the second."""
    oldest, newest = (db.session.scalar(select(Event.id).order_by(order).limit(1)) or 0 for order in (Event.id, Event.id.desc()))
    above = newest + 1 if before is None else min(before, newest + 1)
    if until := _end(filters):
        last = select(Event.id).where(Event.at < until).order_by(Event.at.desc()).limit(1)
        above = min(above, (db.session.scalar(last) or 0) + OUT_OF_ORDER)
    if filters.since:
        first = select(Event.id).where(Event.at >= _midnight(filters.since)).order_by(Event.at).limit(1)
        oldest = max(oldest, (db.session.scalar(first) or newest) - OUT_OF_ORDER)
    return oldest, above


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.by_staff:
        conditions.append(Event.actor_id.is_not(None))
    if filters.kind:
        conditions.append(Event.kind == filters.kind)
    if filters.person:
        conditions.append(or_(Event.user_id == filters.person, Event.actor_id == filters.person))
    if filters.client:
        conditions.append(Event.client_id == filters.client)
    if filters.since:
        conditions.append(Event.at >= _midnight(filters.since))
    if until := _end(filters):
        conditions.append(Event.at < until)
    return conditions


def _entries(ids: list[int]) -> list[Entry]:
    rows = (
        select(Event, _ACTOR, _ABOUT, func.coalesce(Client.name, Event.client_id), WebhookEndpoint.url)
        .outerjoin(_ACTOR, _ACTOR.id == Event.actor_id)
        .outerjoin(_ABOUT, _ABOUT.id == Event.user_id)
        .outerjoin(Client, Client.id == Event.client_id)
        .outerjoin(WebhookEndpoint, WebhookEndpoint.id == Event.endpoint_id)
        .where(Event.id.in_(ids))
        .order_by(Event.id.desc())
    )
    return [
        Entry(
            event.id,
            event.at,
            event.kind,
            event.detail,
            event.reason,
            _other(event.actor_id, actor),
            _other(event.user_id, about),
            client,
            event.endpoint_id,
            urlsplit(url or "").hostname or "",
            event.request_id,
        )
        for event, actor, about, client, url in db.session.execute(rows)
    ]


def _other(user_id: str | None, user: Any) -> Other | None:
    """A person, also one of whom only the id is left."""
    if user_id is None:
        return None
    return timeline.other(user_id, user) if user else Other(user_id, "", None)


def _end(filters: Filters) -> datetime | None:
    """The end of the last day; None if there is none, or it is the last of the calendar."""
    return _midnight(filters.until + timedelta(days=1)) if filters.until and filters.until < date.max else None


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
