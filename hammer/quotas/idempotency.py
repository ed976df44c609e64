"""Idempotency keys: a request that is repeated because its answer was lost has one effect, and gets the same answer again
(draft-ietf-httpapi-idempotency-key-header-07).

A verb first claims the key, in its own transaction. A parallel request with the same key waits there until that transaction ends,
then reads what it stored. A request that changed nothing stores nothing: its transaction is rolled back.

Nothing secret is stored: only keyed hashes of the key and of the request, and the ids from which the answer is computed again. The
hash of the request depends on the idempotency key too, so a copy of the table does not help to find out codes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.sql.dml import ReturningInsert

from config import LONGEST_CODE_TTL_SECONDS, Settings
from hammer import clock
from hammer.db.database import Transaction, UtcDateTime
from hammer.db.prepared import InsertInto, prepared
from hammer.models import IdempotencyKey
from hammer.refusals import (
    N_,
    AlreadyActivated,
    InvalidFields,
    InviteLoop,
    NotAllowed,
    OwnInvite,
    Refusal,
    TelephoneNumberTaken,
    UnknownInvite,
    WrongCode,
)

HEADER: Final = "Idempotency-Key"
LIFETIME: Final = timedelta(minutes=2)
"""How long a repeated request of a program gets the same answer."""
FORM_LIFETIME: Final = timedelta(seconds=LONGEST_CODE_TTL_SECONDS)
"""The same for the form of a page: people may reload it as long as its code can live."""
REUSED: Final = N_("This key was sent with another request before. Every new request needs a new key.")

_STORED_REFUSALS: Final[Mapping[str, type[Refusal]]] = {
    leaf.slug: leaf
    for leaf in (
        AlreadyActivated,
        InviteLoop,
        NotAllowed,
        OwnInvite,
        TelephoneNumberTaken,
        UnknownInvite,
        WrongCode,
    )
}
"""Slug -> a refusal that may leave a trace. It is stored, because a repeated request must not leave a second trace."""

_SAME_KEY: Final = IdempotencyKey.key_hash == bindparam("key")
FIND_KEY: Final = prepared(select(IdempotencyKey.body_hash, IdempotencyKey.answer, IdempotencyKey.expires_at).where(_SAME_KEY))
KEEP_ANSWER: Final = prepared(update(IdempotencyKey).where(_SAME_KEY).values(answer=bindparam("stored")))
FREE_KEY: Final = prepared(delete(IdempotencyKey).where(_SAME_KEY))


@prepared
def claim_key(insert: InsertInto) -> ReturningInsert[str]:
    """Claims a key that is free or expired; returns no row if it is taken.

    A key that expires too far ahead was stored while the clock was ahead. It counts as expired.
    """
    row = {"body_hash": bindparam("fingerprint"), "answer": "", "expires_at": bindparam("ends_at", type_=UtcDateTime)}
    over = or_(
        IdempotencyKey.expires_at <= bindparam("now", type_=UtcDateTime),
        IdempotencyKey.expires_at > bindparam("after_any_key", type_=UtcDateTime),
    )
    new = insert(IdempotencyKey).values(key_hash=bindparam("key"), **row)
    return new.on_conflict_do_update(index_elements=[IdempotencyKey.key_hash], set_=row, where=over).returning(
        IdempotencyKey.key_hash
    )


@dataclass(frozen=True)
class Key:
    """The idempotency key of one request, as the rules need it. Made by `make_key`."""

    name: str
    fingerprint: str
    """A hash of the request: a different request with the same key has a different one."""
    lifetime: timedelta = LIFETIME
    others: tuple[tuple[str, str], ...] = ()
    """Name and fingerprint by each key of `SECRET_KEY_PREVIOUS`."""

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Name and fingerprint of each row that this key has, in one order, or two processes would wait for each other."""
        return sorted([(self.name, self.fingerprint), *self.others])


def make_key(settings: Settings, shown: str, *, call: str, caller: str = "", body: str = "", lifetime: timedelta = LIFETIME) -> Key:
    """The key that a caller (empty: anyone) has `shown` with a call.

    The same string from another caller, or for another call, is a different key.
    """
    name, fingerprint = repr(("key", call, caller, shown)), repr(("body", shown, body))
    both = (settings.keyed_hashes("idempotency", text) for text in (name, fingerprint))
    [(name, fingerprint), *others] = zip(*both, strict=True)
    return Key(name, fingerprint, lifetime, tuple(others))


def claim(tx: Transaction, key: Key | None) -> dict[str, Any] | None:
    """Claims the key for this request. Returns None if this request is the first with the key, or has no key.

    Otherwise returns what the first request stored by `keep`, or raises the refusal that it got. Refuses with `InvalidFields` if
    the first request asked for something else.
    """
    if key is None:
        return None
    now = clock.now()
    values = {"now": now, "ends_at": now + key.lifetime, "after_any_key": now + FORM_LIFETIME + clock.APART}
    claimed: list[str] = []
    for name, expected in key.rows:
        if not claim_key.rows(tx, key=name, fingerprint=expected, **values):
            break
        claimed.append(name)
    else:
        return None
    for each in claimed:  # the first request came with another secret key: its row alone has the answer
        FREE_KEY.execute(tx, key=each)
    [(fingerprint, answer, _)] = FIND_KEY.rows(tx, key=name)
    if fingerprint != expected:
        raise InvalidFields({HEADER: [REUSED]})
    before: dict[str, Any] | None = json.loads(answer) if answer else None
    if before and "refusal" in before:
        raise _STORED_REFUSALS[before.pop("refusal")](**before)
    return before


def peek(tx: Transaction, key: Key) -> dict[str, Any] | None:
    """What a request with this key stored; None if there was none, or if it was refused. Claims nothing."""
    now = clock.now()
    for name, expected in key.rows:
        for fingerprint, answer, expires_at in FIND_KEY.rows(tx, key=name):
            before: dict[str, Any] = json.loads(answer or "{}")
            if fingerprint == expected and now < expires_at <= now + FORM_LIFETIME + clock.APART and "refusal" not in before:
                return before
    return None


def keep(tx: Transaction, key: Key | None, **ids: object) -> None:
    """Stores the ids and flags from which the answer is computed again; nothing secret."""
    for name, _ in key.rows if key else ():
        KEEP_ANSWER.execute(tx, key=name, stored=json.dumps(ids))


def keep_outcome(tx: Transaction, key: Key | None, refusal: Refusal | None) -> None:
    """Stores that the request succeeded, or its refusal."""
    if refusal is None:
        keep(tx, key)
    else:
        keep_refusal(tx, key, refusal)


def keep_refusal(tx: Transaction, key: Key | None, refusal: Refusal) -> None:
    """Stores a refusal that leaves a trace, which the verb raises after its transaction. Frees the key after any other refusal."""
    if refusal.slug in _STORED_REFUSALS:
        keep(tx, key, refusal=refusal.slug, **refusal.details)
    else:
        free(tx, key)


def free(tx: Transaction, key: Key | None) -> None:
    """Frees the key of a request that changed nothing: repeating it does no harm, and the table does not grow."""
    for name, _ in key.rows if key else ():
        FREE_KEY.execute(tx, key=name)
