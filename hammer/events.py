"""What happened: the audit trail, written in the same transaction as what it tells. It names people by their ids alone."""

from contextvars import ContextVar
from typing import Final

from sqlalchemy.orm import Session

from hammer import clock
from hammer.db.prepared import add
from hammer.models import Event

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being served, as it stands in the log; None on the command line."""

CODE_SENT: Final = "code-sent"
SIGNED_UP: Final = "signed-up"
SIGNED_IN: Final = "signed-in"
SIGN_IN_BLOCKED: Final = "sign-in-blocked"
GUESSES_SPENT: Final = "guesses-spent"
INVITE_ACTIVATED: Final = "invite-activated"
REFRESH_REUSED: Final = "refresh-reused"
SESSION_ENDED: Final = "session-ended"
SESSIONS_ENDED: Final = "sessions-ended"
USER_CREATED: Final = "user-created"
USER_RENAMED: Final = "user-renamed"
USER_DELETED: Final = "user-deleted"
USER_BLOCKED: Final = "user-blocked"
USER_UNBLOCKED: Final = "user-unblocked"
STAFF_GIVEN: Final = "staff-given"
STAFF_TAKEN: Final = "staff-taken"
NUMBER_CHANGED: Final = "number-changed"
DATA_EXPORTED: Final = "data-exported"
KEY_ROTATED: Final = "key-rotated"

KINDS: Final = (
    CODE_SENT,
    SIGNED_UP,
    SIGNED_IN,
    SIGN_IN_BLOCKED,
    GUESSES_SPENT,
    INVITE_ACTIVATED,
    REFRESH_REUSED,
    SESSION_ENDED,
    SESSIONS_ENDED,
    USER_CREATED,
    USER_RENAMED,
    USER_DELETED,
    USER_BLOCKED,
    USER_UNBLOCKED,
    STAFF_GIVEN,
    STAFF_TAKEN,
    NUMBER_CHANGED,
    DATA_EXPORTED,
    KEY_ROTATED,
)


def note(session: Session, kind: str, user_id: str | None = None, *, actor_id: str | None = None) -> None:
    """Adds an event to the caller's transaction: `kind` is one of this module's, `user_id` whom it is about, `actor_id` who else
    did it."""
    add(
        session,
        Event,
        at=clock.now(),
        kind=kind,
        user_id=user_id,
        actor_id=None if actor_id == user_id else actor_id,
        request_id=request_id.get(),
    )
