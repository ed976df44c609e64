"""Compares the audit trail with its seals: `verify`. What it proves, and what not, is in `docs/security.md`."""

import hashlib
import hmac
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy import func, select

from config import Settings
from hammer import clock
from hammer.db.database import db
from hammer.models import Event, Seal
from hammer.operations import seals

SLACK: Final = timedelta(days=1)
"""The clocks of the machine that deletes and of the one that verifies may differ."""
LATE: Final = timedelta(hours=1)
"""How long after its events a seal is made at most, while sealing works."""
BATCH: Final = 1000
"""Seals that are read at a time."""
MOST_FLAWS: Final = 1000
"""Flaws that are named."""
_SEALED: Final = ("id", "from_id", "to_id", "rows", "newest_at", "sha256", "previous", "sealed_at")


@dataclass
class Verified:
    """What `verify` found."""

    seals: int = 0
    events: int = 0
    """Events that were compared with their seals."""
    pruned: int = 0
    """Events that `prune` deleted: only their seals are left."""
    unsealed: int = 0
    """Events that no seal covers yet."""
    late: int = 0
    """Seals that were made more than `LATE` after their events, which could be changed until then."""
    last_late: int = 0
    """The newest of them."""
    flaws: list[str] = field(default_factory=list)
    """A sentence for each flaw, `MOST_FLAWS` at most."""
    more: int = 0
    """Further flaws."""

    def flaw(self, sentence: str) -> None:
        if len(self.flaws) < MOST_FLAWS:
            self.flaws.append(sentence)
        else:
            self.more += 1


def verify(settings: Settings, heads: Collection[str] = ()) -> Verified:
    """Compares all events with their seals, and the seals with each other, in batches. May be called at any time.

    :param heads: hashes of seals that were kept elsewhere. Each must be in the chain.
    """
    verified, forged, lost = Verified(), list[int](), set(heads)
    before = None
    for seal in _chain():
        verified.seals += 1
        lost.discard(seal.hmac)
        sealed = {name: getattr(seal, name) for name in _SEALED}
        if not any(hmac.compare_digest(seals.keyed_hash(key, sealed), seal.hmac) for key in settings.keys("seals")):
            forged.append(seal.id)
        _compare_with_the_one_before(verified, seal, before)
        _compare_with_its_events(settings, verified, seal)
        before = seal
    for first, last in _runs(forged):
        verified.flaw(f"{_seals(first, last)} altered, or made with another SECRET_KEY.")
    for outside in db.session.scalars(select(Event.id).where(Event.id < 1).limit(MOST_FLAWS)):
        verified.flaw(f"Event {outside} was added.")
    for head in sorted(lost):
        verified.flaw(f"No seal has the hash {head}: the chain was replaced, or its end is missing.")
    verified.unsealed = db.session.scalar(select(func.count()).where(Event.id > seals.end(before))) or 0
    return verified


def _chain() -> Iterator[Seal]:
    last = None
    while True:
        following = select(Seal).where(Seal.id > last) if last is not None else select(Seal)
        found = db.session.scalars(following.order_by(Seal.id).limit(BATCH)).all()
        yield from found
        if len(found) < BATCH:
            return
        last = found[-1].id
        db.session.expunge_all()


def _compare_with_the_one_before(verified: Verified, seal: Seal, before: Seal | None) -> None:
    next_id, previous = (before.id + 1, before.hmac) if before else (1, seals.FIRST)
    if seal.id != next_id:
        verified.flaw(f"{_seals(next_id, seal.id - 1)} missing.")
    elif seal.previous != previous or seal.from_id != seals.end(before) + 1:
        verified.flaw(f"Seal {seal.id} does not follow on the one before: the chain is broken.")


def _compare_with_its_events(settings: Settings, verified: Verified, seal: Seal) -> None:
    if seal.sealed_at - seal.newest_at > LATE:
        verified.late, verified.last_late = verified.late + 1, seal.id
    found = {event.id: seals.digest(event) for event in seals.read_events(seal.from_id, seal.to_id)}
    if seal.pruned_at is None and len(found) == seal.rows and _is_hash(seal, found):
        verified.events += seal.rows
        return
    db.session.refresh(seal)  # the events may have been pruned since it was read
    if seal.pruned_at is not None:
        _compare_with_none(settings, verified, seal, found)
        return
    verified.events += len(found)
    marks = seals.marks(seal)
    flaws = dict.fromkeys(marks.keys() - found.keys(), "deleted") | dict.fromkeys(found.keys() - marks.keys(), "added")
    kept = marks.keys() & found.keys()
    flaws |= {id_: "altered" for id_ in kept if seals.mark(id_, found[id_]) != marks[id_]}
    for id_, what in sorted(flaws.items()):
        verified.flaw(f"Event {id_} was {what} after seal {seal.id} was made.")
    if not flaws:
        verified.flaw(f"Events {seal.from_id} to {seal.to_id} are not what seal {seal.id} covers.")


def _compare_with_none(settings: Settings, verified: Verified, seal: Seal, found: Collection[int]) -> None:
    """Of a range that was pruned no event is left, and all were old."""
    verified.pruned += seal.rows
    if clock.now() - seal.newest_at < settings.events_kept - SLACK:
        verified.flaw(f"Events {seal.from_id} to {seal.to_id} were deleted before their time: seal {seal.id} is marked as pruned.")
    left = db.session.scalars(select(Event.id).where(Event.id.in_(list(found)[:MOST_FLAWS])).order_by(Event.id))
    for id_ in left:
        verified.flaw(f"Event {id_} was added after the events of seal {seal.id} were pruned.")


def _is_hash(seal: Seal, found: dict[int, bytes]) -> bool:
    return hashlib.sha256(b"".join(found.values())).hexdigest() == seal.sha256


def _runs(ids: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of ids that follow on each other."""
    begins = [id_ for place, id_ in enumerate(ids) if not place or ids[place - 1] != id_ - 1]
    ends = [id_ for place, id_ in enumerate(ids) if place + 1 == len(ids) or ids[place + 1] != id_ + 1]
    return zip(begins, ends, strict=True)


def _seals(first: int, last: int) -> str:
    return f"Seal {first} is" if first == last else f"Seals {first} to {last} are"
