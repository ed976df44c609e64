"""Seals of the audit trail: what was altered, deleted or added afterwards is noticed (`audit.verify`).

A seal is a keyed hash over all events of a range of ids, and over the seal before it. Seals are made after the commits of the
events: in the transactions themselves, one would have to wait for the other. The place of an event in the feed is not sealed.

On PostgreSQL a transaction can commit an id that is lower than those that are committed already. So a range is sealed only after
the transactions that held a lock for writing to the table, when the end of the range was read, have ended: each of them took the
lock before its first id, and keeps it until its events are visible. On SQLite there is one writer at a time, so ids are in order.
"""

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ScalarSelect, delete, func, or_, select, text, update

from config import Settings
from hammer import clock, events
from hammer.db import server_clock
from hammer.db.database import Transaction, db, insert, transaction
from hammer.db.queue import Workers, start_with_server
from hammer.models import Event, Seal

if TYPE_CHECKING:
    from flask import Flask

EVERY: Final = timedelta(seconds=60)
"""How long events wait at most for their seal, unless a transaction stays open."""
MOST_AT_ONCE: Final = 1000
"""Events of one seal, about."""
LONGEST_SPAN: Final = timedelta(days=1)
"""Events of one seal happened within this time. They are deleted together, so none is kept for much longer than it may be."""
WRITERS_SECONDS: Final = 5.0
"""How long is waited for transactions that are open."""
STANDS_STILL: Final = timedelta(minutes=10)
"""`doctor` reports events that have waited for their seal for so long."""
MOST_COUNTED: Final = 10_000
"""Events without a seal that are counted."""
FIRST: Final = ""
"""What the first seal follows on: nothing."""
SEALED: Final = (
    *(Event.id, Event.at, Event.kind, Event.user_id, Event.actor_id, Event.client_id, Event.request_id),
    *(Event.endpoint_id, Event.referrer_id, Event.detail, Event.reason),
)
"""All columns of events except `sequence`. Columns that are empty are not hashed: one that is added later changes no hash."""
ID_BYTES: Final = 8
MARK_BYTES: Final = 8
_WRITERS: Final = text(
    "select virtualtransaction from pg_locks where locktype = 'relation' and relation = cast('events' as regclass)"
    " and database = (select oid from pg_database where datname = current_database())"
    " and mode = 'RowExclusiveLock' and granted and pid <> pg_backend_pid()"
)

log = logging.getLogger(__name__)


def init_app(app: "Flask") -> None:
    """Prepares the thread of a server that seals: where workers send the texts, they seal too."""
    settings: Settings = app.config["SETTINGS"]
    if not app.testing and settings.sms_threads:
        start_with_server(app, "hammer.operations.seals", threads(app))


def threads(app: "Flask") -> Workers:
    """A thread that seals, not started yet. Any number of processes may have one."""
    settings: Settings = app.config["SETTINGS"]
    return Workers(None, lambda: seal_due(settings), name="seals", count=1, context=lambda: server_clock.for_workers(app))


@dataclass(frozen=True)
class Status:
    """What is sealed."""

    head: Seal | None
    """The newest seal."""
    waiting: int
    """Events without a seal, at most `MOST_COUNTED`."""
    oldest_waiting: timedelta
    """How long ago the oldest of them happened."""


def status() -> Status:
    """How far the seals go."""
    head = newest()
    return Status(head, *_waiting(end(head)))


def waiting() -> tuple[int, timedelta]:
    """`Status.waiting` and `Status.oldest_waiting`, by one statement."""
    return _waiting(select(func.coalesce(func.max(Seal.to_id), 0)).scalar_subquery())


def _waiting(after: int | ScalarSelect[int]) -> tuple[int, timedelta]:
    unsealed = select(Event.at).where(Event.id > after).order_by(Event.id).limit(MOST_COUNTED).subquery()
    count, since = db.session.execute(select(func.count(), func.min(unsealed.c.at))).one()
    return count, max(clock.now() - since, timedelta(0)) if since else timedelta(0)


def newest() -> Seal | None:
    """The head of the chain."""
    return db.session.scalar(select(Seal).order_by(Seal.id.desc()).limit(1))


def described(seal: Seal) -> str:
    """A seal in one line, to keep elsewhere: a copy shows also what a holder of the key changes."""
    return f"seal {seal.id}, events {seal.from_id}-{seal.to_id}: {seal.hmac}"


def seal_due(settings: Settings) -> bool:
    """Seals what waits, if there is enough of it or the newest seal is old enough. Returns False when there was nothing to do."""
    head = newest()
    fresh = head is not None and abs(server_clock.now() - head.sealed_at) < EVERY
    return (not fresh or _last_of_next(head)[1] >= MOST_AT_ONCE) and seal_next(settings) > 0


def seal_all(settings: Settings) -> int:
    """Seals all events that are committed. Returns how many."""
    total = 0
    while count := seal_next(settings):
        total += count
    return total


def seal_next(settings: Settings) -> int:
    """Makes the next seal. Returns how many events it covers: 0 if none waits, if another process was faster, or if a transaction
    stays open that may add one of them."""
    head = newest()
    last, _ = _last_of_next(head)
    if last is None or not _writers_have_ended():
        return 0
    found = list(_within_span(read_events(end(head) + 1, last)))
    seal = _made(settings, head, found)
    with transaction() as tx:
        made = insert(tx, Seal).values(seal).on_conflict_do_nothing().returning(Seal.id)
        if tx.scalar(made) is None:
            return 0
    if head is None or f"{head.sealed_at:%F %H}" != f"{seal['sealed_at']:%F %H}":
        log.info("The head of the audit trail: %s.", described(Seal(**seal)))  # once an hour: the log is a copy elsewhere
    return len(found)


def prune(older_than: datetime) -> int:
    """Deletes the events of all ranges that happened before. Returns how many. Their seals stay.

    The newest range stays, and the one with the newest event of the feed: ids and places go on from there.
    """
    gone = 0
    while True:
        with transaction() as tx:
            seal = _next_to_prune(tx, older_than)
            if seal is None:
                return gone
            mark = update(Seal).where(Seal.id == seal.id, Seal.pruned_at.is_(None)).values(pruned_at=clock.now(), marks=None)
            tx.execute(mark, execution_options={"synchronize_session": False})
            # Without events that were added later, which the database may not let go: `audit.verify` names them.
            old = delete(Event).where(Event.id.between(seal.from_id, seal.to_id), Event.at <= seal.newest_at)
            gone += len(tx.scalars(old.returning(Event.id), execution_options={"synchronize_session": False}).all())


def _next_to_prune(tx: Transaction, older_than: datetime) -> Any:
    of_feed = select(Event.id).where(Event.sequence > events.UNPUBLISHED).order_by(Event.sequence.desc()).limit(1)
    kept = tx.scalar(of_feed) or 0
    due = select(Seal.id, Seal.from_id, Seal.to_id, Seal.newest_at).where(Seal.pruned_at.is_(None), Seal.newest_at <= older_than)
    due = due.where(Seal.id < select(func.max(Seal.id)).scalar_subquery(), or_(Seal.from_id > kept, Seal.to_id < kept))
    return tx.execute(due.order_by(Seal.newest_at).limit(1).with_for_update()).first()


def end(seal: Seal | None) -> int:
    """The last id of a seal; 0 before the first."""
    return seal.to_id if seal else 0


def _last_of_next(head: Seal | None) -> tuple[int | None, int]:
    """The last id that the next seal may cover, of those that are visible; and how many are visible up to it."""
    following = select(Event.id).where(Event.id > end(head)).order_by(Event.id).limit(MOST_AT_ONCE).subquery()
    last, count = db.session.execute(select(func.max(following.c.id), func.count())).one()
    return last, count


def _writers_have_ended() -> bool:
    """Waits until the transactions have ended that may have taken ids before this call. False if one of them takes too long."""
    if db.engine.dialect.name == "sqlite":
        return True
    before, until = _writers(), time.monotonic() + WRITERS_SECONDS
    while before and (before := before & _writers()):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _writers() -> set[str]:
    return set(db.session.scalars(_WRITERS))


def read_events(from_id: int, to_id: int) -> Sequence[Any]:
    """The events of a range, as rows of `SEALED`."""
    return db.session.execute(select(*SEALED).where(Event.id.between(from_id, to_id)).order_by(Event.id)).all()


def _within_span(found: Sequence[Any]) -> Iterator[Any]:
    """The first of these events, as many as happened within `LONGEST_SPAN`."""
    earliest = latest = found[0].at
    for event in found:
        earliest, latest = min(earliest, event.at), max(latest, event.at)
        if latest - earliest > LONGEST_SPAN:
            return
        yield event


def _made(settings: Settings, head: Seal | None, found: Sequence[Any]) -> dict[str, Any]:
    """The columns of the seal over these events."""
    digests = [digest(event) for event in found]
    seal: dict[str, Any] = {
        "id": head.id + 1 if head else 1,
        "from_id": end(head) + 1,
        "to_id": found[-1].id,
        "rows": len(found),
        "newest_at": max(event.at for event in found),
        "sha256": hashlib.sha256(b"".join(digests)).hexdigest(),
        "previous": head.hmac if head else FIRST,
        "sealed_at": server_clock.now(),
    }
    marks = b"".join(mark(event.id, digest) for event, digest in zip(found, digests, strict=True))
    return seal | {"hmac": keyed_hash(settings.key("seals"), seal), "marks": marks}


def digest(event: Any) -> bytes:
    """The hash of an event: a row of `SEALED`."""
    facts = {name: value for name, value in event._asdict().items() if value is not None}
    facts["at"] = clock.microseconds(event.at)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()


def mark(event_id: int, digest: bytes) -> bytes:
    return event_id.to_bytes(ID_BYTES) + digest[:MARK_BYTES]


def marks(seal: Seal) -> dict[int, bytes]:
    """The marks of a seal by the ids of its events."""
    both, step = seal.marks or b"", ID_BYTES + MARK_BYTES
    cut = [both[at : at + step] for at in range(0, len(both), step)]
    return {int.from_bytes(each[:ID_BYTES]): each for each in cut}


def keyed_hash(key: bytes, seal: Mapping[str, Any]) -> str:
    """What `Seal.hmac` must be, from the columns before it."""
    facts = {name: clock.microseconds(value) if isinstance(value, datetime) else value for name, value in seal.items()}
    return hmac.digest(key, json.dumps(facts, sort_keys=True).encode(), "sha256").hex()
