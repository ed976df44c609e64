"""Requests that are repeated because their answer was lost: each is done once and answered the same again, as
draft-ietf-httpapi-idempotency-key-header-07 has it.

A verb claims the key of a request first, in its own transaction. A parallel request with the same key waits there until that
transaction ends, then finds what it stored. A request that changed nothing stores nothing: its transaction is rolled back.

Nothing secret is stored: of the key and of the request keyed hashes alone, of the answer the ids that it is computed from again.
The hash of the request depends on the idempotency key as well, so a copy of the table is no way to try out codes.
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
"""How long a program that repeats a request gets the same answer."""
FORM_LIFETIME: Final = timedelta(seconds=LONGEST_CODE_TTL_SECONDS)
"""The same for a form of a page, which people may reload as long as its code may live."""
REUSED: Final = N_("This key was sent with another request before. Every new request needs a new key.")

_KEPT: Final[Mapping[str, type[Refusal]]] = {
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
"""Refusals that may leave a trace, so that repeating the request must not leave a second one."""

_HERE: Final = IdempotencyKey.key_hash == bindparam("name")
FIND_KEY: Final = prepared(select(IdempotencyKey.body_hash, IdempotencyKey.answer, IdempotencyKey.expires_at).where(_HERE))
KEEP_ANSWER: Final = prepared(update(IdempotencyKey).where(_HERE).values(answer=bindparam("said")))
FREE_KEY: Final = prepared(delete(IdempotencyKey).where(_HERE))


@prepared
def claim_key(insert: InsertInto) -> ReturningInsert[str]:
    """Takes a key that is free, or whose time is over; one from the future too, which a clock left that was ahead."""
    row = {"body_hash": bindparam("body"), "answer": "", "expires_at": bindparam("ends", type_=UtcDateTime)}
    over = or_(
        IdempotencyKey.expires_at <= bindparam("now", type_=UtcDateTime),
        IdempotencyKey.expires_at > bindparam("latest", type_=UtcDateTime),
    )
    new = insert(IdempotencyKey).values(key_hash=bindparam("name"), **row)
    return new.on_conflict_do_update(index_elements=[IdempotencyKey.key_hash], set_=row, where=over).returning(
        IdempotencyKey.key_hash
    )


@dataclass(frozen=True)
class Key:
    """The idempotency key of one request, as far as the rules need it. `made` makes one."""

    name: str
    fingerprint: str
    """Of what was asked; another request with the same key has another one."""
    lifetime: timedelta = LIFETIME


def made(settings: Settings, shown: str, *, call: str, caller: str = "", body: str = "", lifetime: timedelta = LIFETIME) -> Key:
    """The key `shown` by a caller (empty: anyone) with a call. The same key of another caller, or for another call, is another."""
    name, fingerprint = repr(("key", call, caller, shown)), repr(("body", shown, body))
    return Key(settings.keyed_hash("idempotency", name), settings.keyed_hash("idempotency", fingerprint), lifetime)


def claim(tx: Transaction, key: Key | None) -> dict[str, Any] | None:
    """What the first request with this key stored by `keep`; None when this one is the first, or when there is no key.

    Raises the refusal that the first one got, and `InvalidFields` when the first one asked for something else.
    """
    if key is None:
        return None
    now = clock.now()
    values = {
        "name": key.name,
        "body": key.fingerprint,
        "now": now,
        "ends": now + key.lifetime,
        "latest": now + FORM_LIFETIME + clock.APART,
    }
    if claim_key.rows(tx, **values):
        return None
    [(fingerprint, answer, _)] = FIND_KEY.rows(tx, name=key.name)
    if fingerprint != key.fingerprint:
        raise InvalidFields({HEADER: [REUSED]})
    before: dict[str, Any] | None = json.loads(answer) if answer else None
    if before and "refusal" in before:
        raise _KEPT[before.pop("refusal")](**before)
    return before


def peek(tx: Transaction, key: Key) -> dict[str, Any] | None:
    """What a request with this key stored; None when there was none, or when it was refused."""
    now = clock.now()
    for fingerprint, answer, expires_at in FIND_KEY.rows(tx, name=key.name):
        before: dict[str, Any] = json.loads(answer or "{}")
        if fingerprint == key.fingerprint and now < expires_at <= now + FORM_LIFETIME + clock.APART and "refusal" not in before:
            return before
    return None


def keep(tx: Transaction, key: Key | None, **ids: object) -> None:
    """Stores what the answer is computed from: ids and flags, nothing secret."""
    if key is not None:
        KEEP_ANSWER.execute(tx, name=key.name, said=json.dumps(ids))


def keep_outcome(tx: Transaction, key: Key | None, refusal: Refusal | None) -> None:
    """Stores that the request was done, or why not."""
    if refusal is None:
        keep(tx, key)
    else:
        keep_refusal(tx, key, refusal)


def keep_refusal(tx: Transaction, key: Key | None, refusal: Refusal) -> None:
    """Stores a refusal that left a trace; the verb raises it after its transaction. After any other the key is `free` again."""
    if refusal.slug in _KEPT:
        keep(tx, key, refusal=refusal.slug, **refusal.details)
    else:
        free(tx, key)


def free(tx: Transaction, key: Key | None) -> None:
    """Stores nothing: the request changed nothing, so that repeating it does no harm, and no table grows by it."""
    if key is not None:
        FREE_KEY.execute(tx, name=key.name)
