"""What happened: the audit trail, written in the same transaction as what it tells. It names people by their ids alone."""

from contextvars import ContextVar
from enum import StrEnum

from hammer import clock
from hammer.db.database import Transaction
from hammer.db.prepared import insert_row
from hammer.models import Event

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being served, as it stands in the log; None on the command line."""


class Kind(StrEnum):
    """What can happen."""

    CODE_SENT = "code-sent"
    SIGNED_UP = "signed-up"
    SIGNED_IN = "signed-in"
    SIGN_IN_BLOCKED = "sign-in-blocked"
    GUESSES_SPENT = "guesses-spent"
    INVITE_ACTIVATED = "invite-activated"
    REFRESH_REUSED = "refresh-reused"
    SESSION_ENDED = "session-ended"
    SESSIONS_ENDED = "sessions-ended"
    USER_CREATED = "user-created"
    USER_RENAMED = "user-renamed"
    USER_DELETED = "user-deleted"
    USER_BLOCKED = "user-blocked"
    USER_UNBLOCKED = "user-unblocked"
    STAFF_GIVEN = "staff-given"
    STAFF_TAKEN = "staff-taken"
    NUMBER_CHANGED = "number-changed"
    DATA_EXPORTED = "data-exported"
    KEY_ROTATED = "key-rotated"


def note(tx: Transaction, kind: Kind, user_id: str | None = None, *, actor_id: str | None = None) -> None:
    """Adds an event to the caller's transaction: `user_id` is whom it is about, `actor_id` who else
    did it."""
    insert_row(
        tx,
        Event,
        at=clock.now(),
        kind=kind,
        user_id=user_id,
        actor_id=None if actor_id == user_id else actor_id,
        request_id=request_id.get(),
    )
