"""The endpoints of webhooks: servers of apps that are told what happens.

A client sees only the endpoints that it added; staff and the command line see all. What is not seen is refused with `NotFound`.
Staff who are staff no more when their transaction ends are refused with `NotAllowed`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from config import Settings
from hammer import clock, codes, events
from hammer.acting import CHANGED_SINCE, ROTATED_SINCE, acting
from hammer.db.database import Transaction, db, insert, one_at_a_time
from hammer.db.pagination import NO_PLACE, Page
from hammer.models import Disabled, Event, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from hammer.outgoing import uris
from hammer.quotas import idempotency
from hammer.refusals import N_, InvalidFields, NotAllowed, NotFound
from hammer.webhooks import signing
from hammer.webhooks.messages import is_message, kinds_of, message_id

MOST: Final = 20
"""Endpoints that one client may have; also that staff and the command line may have together."""
MOST_REPLAYED: Final = 10_000
"""Events that one call replays."""
TOO_MANY: Final = N_("A client may have 20 endpoints, and staff and the command line 20 together. Remove one first.")
NOT_A_TYPE: Final = N_("There is no such type of event.")
NO_MESSAGE: Final = N_("There is no such event, or it is not one that this endpoint gets.")
TOO_LONG_SPAN: Final = N_("More than 10000 events happened in this time. Choose a shorter one, or read the event feed.")
NO_SPAN: Final = N_("The time must begin before it ends, and before now.")
IS_DISABLED: Final = N_("The endpoint is disabled. Enable it first.")

TYPES: Final = tuple(type_ for type_ in events.Type if type_ is not events.Type.PING)
"""What an endpoint and a reader of the feed can choose from. A ping comes when it is asked for."""


@dataclass(frozen=True)
class Manager:
    """Who manages endpoints: a client, a member of staff, or the command line, which is neither. With both, staff who act for the
    client."""

    client_id: str | None = None
    user_id: str | None = None


COMMAND_LINE: Final = Manager()


def every(by: Manager = COMMAND_LINE) -> list[WebhookEndpoint]:
    """All endpoints, the oldest first."""
    return list(db.session.scalars(select(WebhookEndpoint).where(*_seen(by)).order_by(WebhookEndpoint.created_at)))


def find(endpoint_id: str, by: Manager = COMMAND_LINE) -> WebhookEndpoint:
    """The endpoint with this id. Refuses with `NotFound`."""
    found = db.session.scalar(select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, *_seen(by)))
    if found is None:
        raise NotFound
    return found


def add(
    settings: Settings,
    url: str,
    types: Iterable[str] = (),
    *,
    by: Manager = COMMAND_LINE,
    key: idempotency.Key | None = None,
) -> WebhookEndpoint:
    """A new endpoint. It gets what happens from now on. A request that is repeated with its `key` gets the same endpoint.

    Refuses with `InvalidFields` a URL that Hammer may not post to and unknown types, and with `NotAllowed` when there are `MOST`.

    :param types: `events.Type`s; empty for all.
    """
    columns = _read(settings, {"url": url, "types": types})
    now = clock.now()
    with acting(by.user_id) as tx:
        before = idempotency.claim(tx, key)
        if before is not None and (added := tx.get(WebhookEndpoint, before["id"])) is not None:
            return added
        one_at_a_time(tx, f"webhook endpoints of {by.client_id}")
        if (tx.scalar(select(func.count()).where(WebhookEndpoint.client_id.is_not_distinct_from(by.client_id))) or 0) >= MOST:
            raise NotAllowed(TOO_MANY)
        endpoint = WebhookEndpoint(
            id=codes.random_id(), client_id=by.client_id, generation=0, failures=0, claims=0, created_at=now, next_at=now, **columns
        )
        tx.add(endpoint)
        tx.flush()
        events.note(tx, events.Kind.ENDPOINT_ADDED, actor_id=by.user_id, endpoint_id=endpoint.id)
        idempotency.keep(tx, key, id=endpoint.id)
    return endpoint


def edition(endpoint: WebhookEndpoint) -> str:
    """A hash of what can be changed: another one later says that it was changed."""
    return sha256(repr((endpoint.url, endpoint.types)).encode()).hexdigest()


def change(settings: Settings, endpoint_id: str, *, by: Manager = COMMAND_LINE, seen: str = "", **given: Any) -> WebhookEndpoint:
    """Changes those of `url` and `types` that are given. Another URL is posted to at once, however the one before failed. Refuses
    with `InvalidFields` like `add`.

    :param seen: the `edition` that the caller has seen; any other one is refused.
    """
    columns: dict[str, Any] = _read(settings, given)
    if not columns:
        return find(endpoint_id, by)
    with acting(by.user_id) as tx:
        if seen and seen != edition(_locked(tx, endpoint_id, by)):
            raise InvalidFields({"seen": [CHANGED_SINCE]})
        endpoint = _update(tx, endpoint_id, by, events.Kind.ENDPOINT_CHANGED, **columns)
        if "url" in columns:
            _begin_again(tx, endpoint_id)
    return endpoint


def rotate(
    settings: Settings,
    endpoint_id: str,
    *,
    by: Manager = COMMAND_LINE,
    generation: int | None = None,
    key: idempotency.Key | None = None,
) -> str:
    """A new secret. The one before signs too for `signing.OVERLAP`; the one before that is gone at once. A request that is repeated
    with its `key` gets the same secret.

    :param generation: the one that the caller has seen; any other one is refused with `NotAllowed`.
    """
    following = {"generation": WebhookEndpoint.generation + 1, "rotated_at": clock.now()}
    with acting(by.user_id) as tx:
        before = idempotency.claim(tx, key)
        if before is None:
            endpoint = _update(tx, endpoint_id, by, events.Kind.ENDPOINT_ROTATED, **following)
            if generation not in (None, endpoint.generation - 1):
                raise NotAllowed(ROTATED_SINCE)
            before = {"generation": endpoint.generation}
            idempotency.keep(tx, key, **before)
    return signing.secret(settings, endpoint_id, before["generation"])


def disable(endpoint_id: str, *, by: Manager = COMMAND_LINE) -> WebhookEndpoint:
    """Posts nothing to it from now on. Its deliveries wait, and it gets no new ones."""
    with acting(by.user_id) as tx:
        endpoint = _locked(tx, endpoint_id, by)
        if endpoint.disabled_at is None:
            disable_in(tx, endpoint_id, Disabled.BY_HAND, by)
    return find(endpoint_id, by)


def disable_in(tx: Transaction, endpoint_id: str, why: Disabled, by: Manager = COMMAND_LINE) -> None:
    """Disables an endpoint that is enabled, in the transaction of the caller, who has locked its row."""
    tx.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(disabled_at=clock.now(), disabled_for=why))
    events.note(tx, events.Kind.ENDPOINT_DISABLED, actor_id=by.user_id, endpoint_id=endpoint_id)


def enable(endpoint_id: str, *, by: Manager = COMMAND_LINE) -> WebhookEndpoint:
    """Posts to it again: what waits, and what happens from now on. What happened since it was disabled can be replayed. Ends the
    pause of one that is enabled."""
    with acting(by.user_id) as tx:
        endpoint = _locked(tx, endpoint_id, by)
        was_disabled = endpoint.disabled_at is not None
        if was_disabled or endpoint.failures:
            _begin_again(tx, endpoint_id)
        if was_disabled:
            _update(tx, endpoint_id, by, events.Kind.ENDPOINT_ENABLED, disabled_at=None, disabled_for=None)
    return find(endpoint_id, by)


def remove(endpoint_id: str, *, by: Manager = COMMAND_LINE) -> None:
    """Deletes it with its deliveries and their log."""
    with acting(by.user_id) as tx:
        this = delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, *_seen(by))
        if tx.scalar(this.returning(WebhookEndpoint.id)) is None:
            raise NotFound
        events.note(tx, events.Kind.ENDPOINT_REMOVED, actor_id=by.user_id, endpoint_id=endpoint_id)


def lock(tx: Transaction, endpoint_id: str, by: Manager = COMMAND_LINE) -> WebhookEndpoint | None:
    """Locks the row until the transaction of the caller ends. Take this lock before those of deliveries. None if there is no such
    endpoint."""
    this = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, *_seen(by)).with_for_update(key_share=True)
    found: WebhookEndpoint | None = tx.scalar(this.execution_options(populate_existing=True))
    return found


def paused_until(endpoint: WebhookEndpoint) -> datetime | None:
    """Until when nothing is posted to it after a failed post; None if it is not paused."""
    return endpoint.next_at if endpoint.failures and not endpoint.disabled_at and endpoint.next_at > clock.now() else None


def end_pause(tx: Transaction, endpoint_id: str) -> None:
    """Makes it an endpoint that never failed, in the transaction of the caller, who has locked its row. A post under way that fails
    does not change that: its claim is over."""
    fresh = {"failures": 0, "failing_since": None, "next_at": clock.now(), "claims": WebhookEndpoint.claims + 1}
    tx.execute(update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(fresh))


def remove_of_client(tx: Transaction, client_id: str, *, actor_id: str | None = None) -> None:
    """Deletes the endpoints of a client that is deleted, in the transaction of the caller."""
    gone = tx.scalars(delete(WebhookEndpoint).where(WebhookEndpoint.client_id == client_id).returning(WebhookEndpoint.id))
    for endpoint_id in gone.all():
        events.note(tx, events.Kind.ENDPOINT_REMOVED, actor_id=actor_id, client_id=client_id, endpoint_id=endpoint_id)


def ping(endpoint_id: str, *, by: Manager = COMMAND_LINE) -> str:
    """Sends it a `ping` soon: the id of the message. Refuses with `NotAllowed` while it is disabled."""
    with acting(by.user_id) as tx:
        _make_ready(tx, _locked(tx, endpoint_id, by))
        event = add_ping(tx, endpoint_id, by)
        tx.add(WebhookDelivery(endpoint_id=endpoint_id, event_id=event.id, tries=0, due_at=event.at))
    return message_id(event)


def add_ping(tx: Transaction, endpoint_id: str, by: Manager = COMMAND_LINE) -> Event:
    """A `ping` without a delivery."""
    event = Event(
        at=clock.now(),
        kind=events.Kind.PING,
        endpoint_id=endpoint_id,
        actor_id=by.user_id,
        client_id=events.calling_client.get(),
        request_id=events.request_id.get(),
    )
    tx.add(event)
    tx.flush()
    return event


def replay(endpoint_id: str, message: str, *, by: Manager = COMMAND_LINE) -> int:
    """Posts one event once more, with the same id: 1. Also ends a pause.

    Refuses with `NotAllowed` while the endpoint is disabled, and with `InvalidFields` for an event that is not one of its types.
    """
    if not (count := _replay(endpoint_id, by, is_message(message))):
        raise InvalidFields({"message_id": [NO_MESSAGE]})
    return count


def replay_span(endpoint_id: str, since: datetime, until: datetime | None = None, *, by: Manager = COMMAND_LINE) -> int:
    """Posts the events of a time once more, from `since` (included) to `until` (not included), or to now: how many.

    Refuses with `NotAllowed` while the endpoint is disabled, and with `InvalidFields` more than `MOST_REPLAYED` events and a time
    that ends before it begins.
    """
    if since >= (until or clock.now()):
        raise InvalidFields({"since": [NO_SPAN]})
    return _replay(endpoint_id, by, Event.at >= since, Event.at < (until or clock.now()))


def _replay(endpoint_id: str, by: Manager, *which: ColumnElement[bool]) -> int:
    now = clock.now()
    with acting(by.user_id) as tx:
        endpoint = _locked(tx, endpoint_id, by)
        _make_ready(tx, endpoint)
        which = (*which, Event.sequence > events.UNPUBLISHED)
        if endpoint.types:
            which = (*which, Event.kind.in_(kinds_of(endpoint.types.split())))
        ids = tx.scalars(select(Event.id).where(*which).order_by(Event.sequence).limit(MOST_REPLAYED + 1)).all()
        if len(ids) > MOST_REPLAYED:
            raise InvalidFields({"since": [TOO_LONG_SPAN]})
        if ids:
            again = {"due_at": now, "tries": 0, "delivered": None, "ended_at": None}
            rows = [{"endpoint_id": endpoint_id, "event_id": event_id, "due_at": now, "tries": 0} for event_id in ids]
            key = WebhookDelivery.event_id, WebhookDelivery.endpoint_id
            tx.execute(insert(tx, WebhookDelivery).on_conflict_do_update(index_elements=key, set_=again), rows)
            events.note(tx, events.Kind.ENDPOINT_REPLAYED, actor_id=by.user_id, endpoint_id=endpoint_id)
    return len(ids)


def attempts(
    endpoint_id: str, after: str | None = None, limit: int = 100, *, by: Manager = COMMAND_LINE
) -> Page[tuple[WebhookAttempt, Event]]:
    """The posts to an endpoint, newest first, each with its event. Refuses with `InvalidFields` a bad `after`."""
    find(endpoint_id, by)
    rows = select(WebhookAttempt, Event).join(Event, Event.id == WebhookAttempt.event_id)
    rows = rows.where(WebhookAttempt.endpoint_id == endpoint_id)
    if after is not None:
        if not (after.isascii() and after.isdecimal() and len(after) < 19):
            raise InvalidFields({"after": [NO_PLACE]})
        rows = rows.where(WebhookAttempt.id < int(after))
    found = [(attempt, event) for attempt, event in db.session.execute(rows.order_by(WebhookAttempt.id.desc()).limit(limit + 1))]
    more = len(found) > limit
    return Page(found[:limit], str(found[limit - 1][0].id) if more else None)


def _read(settings: Settings, given: Mapping[str, Any]) -> dict[str, str]:
    """Columns of an endpoint from what was sent."""
    columns = {}
    if "url" in given:
        columns["url"] = given["url"]
        uris.check_server(settings, "url", given["url"])
    if "types" in given:
        types = set(given["types"])
        if types - set(TYPES):
            raise InvalidFields({"types": [NOT_A_TYPE]})
        columns["types"] = " ".join(type_ for type_ in TYPES if type_ in types)
    return columns


def _begin_again(tx: Transaction, endpoint_id: str) -> None:
    """Ends a pause, and makes what waits due, with all tries. The caller has locked the row."""
    now = clock.now()
    end_pause(tx, endpoint_id)
    # Those that were never posted stay as they are: they may be very many.
    waiting = WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.ended_at.is_(None)
    failed = or_(WebhookDelivery.tries > 0, WebhookDelivery.due_at > now)
    tx.execute(update(WebhookDelivery).where(*waiting, failed).values(due_at=now, tries=0))


def _seen(by: Manager) -> tuple[ColumnElement[bool], ...]:
    return () if by.client_id is None else (WebhookEndpoint.client_id == by.client_id,)


def _update(tx: Transaction, endpoint_id: str, by: Manager, kind: events.Kind, **values: Any) -> WebhookEndpoint:
    """Changes a row and adds an event, in the transaction of the caller."""
    this = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, *_seen(by))
    endpoint: WebhookEndpoint | None = tx.scalar(this.values(values).returning(WebhookEndpoint))
    if endpoint is None:
        raise NotFound
    events.note(tx, kind, actor_id=by.user_id, endpoint_id=endpoint_id)
    return endpoint


def _locked(tx: Transaction, endpoint_id: str, by: Manager) -> WebhookEndpoint:
    if (endpoint := lock(tx, endpoint_id, by)) is None:
        raise NotFound
    return endpoint


def _make_ready(tx: Transaction, endpoint: WebhookEndpoint) -> None:
    """Refuses with `NotAllowed` an endpoint that is disabled, and ends the pause of one that failed."""
    if endpoint.disabled_at is not None:
        raise NotAllowed(IS_DISABLED)
    if endpoint.failures:
        end_pause(tx, endpoint.id)
