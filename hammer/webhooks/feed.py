"""The event feed: all events that apps are told about, in the order in which they were published.

The ids of events are no such order: of two transactions, the one with the lower id may commit later, and an app that had read past
it would never see it. So events get their place after their commit, by `publish`, which runs one at a time: the feed has no gaps,
and new events come only at its end.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, cast

from sqlalchemy import Table, and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.sql import ColumnElement

from hammer import clock, events
from hammer.db import server_clock
from hammer.db.database import Transaction, db, one_at_a_time, transaction
from hammer.db.pagination import MOST_PER_PAGE, NO_PLACE, Page
from hammer.models import Client, Event, WebhookDelivery, WebhookEndpoint
from hammer.refusals import N_, InvalidFields
from hammer.webhooks.messages import Message, message, select_events

MOST_AT_ONCE: Final = 1000
"""Events that one transaction publishes."""
MOST_DELIVERIES: Final = 10_000
"""Deliveries that one transaction adds, about: with many endpoints it publishes fewer events."""
SKIPPED: Final = 10**9
"""Places that `skip_places` skips: more than events can have happened since a backup was made."""
PLACE_GONE: Final = N_("The feed does not have this place any more. Read it from its beginning, without `after`.")

_PUBLISHED: Final = Event.sequence > events.UNPUBLISHED
_NUMBER: Final = (
    update(cast(Table, Event.__table__)).where(Event.__table__.c.id == bindparam("event")).values(sequence=bindparam("place"))
)


def publish() -> int:
    """Gives the events that wait for it their place in the feed, and adds their deliveries. Returns how many they were, at most
    `MOST_AT_ONCE`; further ones wait for the next call."""
    waiting = select(Event.id, Event.kind, Event.at).where(Event.sequence == events.UNPUBLISHED).order_by(Event.id)
    if not db.session.execute(waiting.limit(1)).first():
        return 0
    with transaction() as tx:
        one_at_a_time(tx, "publish")
        endpoints = _endpoints(tx)
        found = tx.execute(waiting.limit(min(MOST_AT_ONCE, MOST_DELIVERIES // (len(endpoints) or 1) + 1))).all()
        if found:
            newest = tx.scalar(select(func.max(Event.sequence)).where(_PUBLISHED)) or 0
            places = [{"event": event.id, "place": place} for place, event in enumerate(found, newest + 1)]
            tx.connection().execute(_NUMBER, places)
            now = server_clock.now()
            rows = [
                {"endpoint_id": endpoint.id, "event_id": event.id, "tries": 0, "due_at": now}
                for event in found
                for endpoint in endpoints
                if endpoint.wants(event.kind, event.at)
            ]
            if rows:
                tx.execute(insert(WebhookDelivery), rows)
    return len(found)


def skip_places() -> None:
    """Moves the newest event ahead by `SKIPPED` places, and with it all that follow.

    For use after a backup was restored: apps may have seen the next places, on events that the backup lacks, and would take new
    events with these places for old ones.
    """
    with transaction() as tx:
        one_at_a_time(tx, "publish")
        newest = select(func.max(Event.sequence)).where(_PUBLISHED).scalar_subquery()
        tx.execute(update(Event).where(_PUBLISHED, Event.sequence == newest).values(sequence=Event.sequence + SKIPPED))


@dataclass(frozen=True)
class _Endpoint:
    id: str
    types: frozenset[str]
    created_at: datetime
    disabled_at: datetime | None
    """When it was disabled, or its client."""

    def wants(self, kind: str, at: datetime) -> bool:
        """Whether it gets an event of this kind that happened then: since it was added, and before it was disabled."""
        in_time = self.created_at <= at and (self.disabled_at is None or at < self.disabled_at)
        return in_time and (not self.types or events.TYPES[kind] in self.types)


def _endpoints(tx: Transaction) -> list[_Endpoint]:
    """All endpoints. They are locked, so that none is removed before its deliveries are there."""
    columns = WebhookEndpoint.id, WebhookEndpoint.types, WebhookEndpoint.created_at, WebhookEndpoint.disabled_at, Client.disabled_at
    rows = select(*columns).outerjoin(Client, Client.id == WebhookEndpoint.client_id)
    rows = rows.where(or_(WebhookEndpoint.client_id.is_(None), Client.id.is_not(None)))
    found = tx.execute(rows.with_for_update(of=WebhookEndpoint, read=True, key_share=True))
    return [
        _Endpoint(id_, frozenset(types.split()), created_at, min((at for at in disabled if at), default=None))
        for id_, types, created_at, *disabled in found
    ]


def is_receiving() -> ColumnElement[bool]:
    """Whether an endpoint is posted to: neither it nor its client is disabled."""
    enabled = exists().where(Client.id == WebhookEndpoint.client_id, Client.disabled_at.is_(None))
    return and_(WebhookEndpoint.disabled_at.is_(None), or_(WebhookEndpoint.client_id.is_(None), enabled))


def read(after: str | None = None, *, kinds: Iterable[str] = (), limit: int = MOST_PER_PAGE) -> Page[Message]:
    """The events after a place in the feed, oldest first, from its beginning without `after`.

    What was committed before the call is there or on one of the next pages. `Page.after` is there at the end too: read again from
    there for what happens next. It is None only while the feed is empty.

    :param after: `Page.after` of a page before. Refuses with `InvalidFields` a place that the feed does not have (any more).
    :param kinds: kinds of events; empty for all.
    """
    publish()  # so that the feed needs no worker
    begin = _read_place(after)
    newest = db.session.execute(select(Event.sequence, Event.at).where(_PUBLISHED).order_by(Event.sequence.desc()).limit(1)).first()
    if newest is None:
        return Page([], None)
    # SQLite begins to read at the first lower bound of the two. The other one allows it to use the index.
    rows = select_events().where(Event.sequence > begin, Event.sequence <= newest.sequence, _PUBLISHED)
    if wanted := list(kinds):
        rows = rows.where(Event.kind.in_(wanted))
    messages = [message(*row) for row in db.session.execute(rows.order_by(Event.sequence).limit(limit))]
    if len(messages) == limit:
        return Page(messages, _place(messages[-1].sequence, messages[-1].timestamp))
    return Page(messages, _place(newest.sequence, newest.at))  # past what other kinds there are, so that they are not read again


def _place(sequence: int | None, at: datetime) -> str:
    """The moment tells a place from the one with the same number in another history, which a restored backup begins."""
    return f"{sequence}.{clock.microseconds(at)}"


def _read_place(after: str | None) -> int:
    if after is None:
        return 0
    made = re.fullmatch(r"(\d{1,18})\.(\d{1,17})", after, re.ASCII)
    if made is None:
        raise InvalidFields({"after": [NO_PLACE]})
    this = Event.sequence == int(made[1]), Event.at == clock.at(int(made[2]))
    if not db.session.scalar(select(exists().where(_PUBLISHED, *this))):
        raise InvalidFields({"after": [PLACE_GONE]})
    return int(made[1])
