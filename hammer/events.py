"""The audit trail: events, written in the same transaction as what they record. Users are named by id only."""

from contextvars import ContextVar
from enum import StrEnum

from hammer import clock
from hammer.db.database import Transaction
from hammer.db.prepared import insert_row
from hammer.models import Event

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, as in the log; None on the command line."""
calling_client: ContextVar[str | None] = ContextVar("calling_client", default=None)
"""The id of the client that calls with its token or secret, or that sends a person to sign in; None for all other requests."""


class Kind(StrEnum):
    """The kinds of events."""

    CODE_SENT = "code-sent"
    """A message with a one-time code was put into the outbox."""
    SIGNED_UP = "signed-up"
    """The first login of a number created its user."""
    SIGNED_IN = "signed-in"
    TEST_NUMBER_USED = "test-number-used"
    """A person signed in with the fixed code of a test number. `SIGNED_UP` or `SIGNED_IN` follows."""
    SIGN_IN_BLOCKED = "sign-in-blocked"
    """A right code was entered for a blocked user."""
    GUESSES_SPENT = "guesses-spent"
    """A code became void because a limit on wrong guesses was reached."""
    INVITE_ACTIVATED = "invite-activated"
    REFRESH_REUSED = "refresh-reused"
    """A refresh token was used a second time. It may be stolen, so the session was ended."""
    SESSION_ENDED = "session-ended"
    SESSIONS_ENDED = "sessions-ended"
    """All sessions of a user were ended, or all but the current one."""
    USER_CREATED = "user-created"
    """Staff or the command line created the user."""
    USER_RENAMED = "user-renamed"
    """The username, first name or last name was changed."""
    USER_METADATA_CHANGED = "user-metadata-changed"
    USER_DELETED = "user-deleted"
    USER_BLOCKED = "user-blocked"
    USER_UNBLOCKED = "user-unblocked"
    STAFF_GIVEN = "staff-given"
    STAFF_TAKEN = "staff-taken"
    NUMBER_CHANGED = "number-changed"
    DATA_EXPORTED = "data-exported"
    """Users exported what is stored about them."""
    USERS_EXPORTED = "users-exported"
    """The command line exported all users."""
    CLIENT_ADDED = "client-added"
    CLIENT_CHANGED = "client-changed"
    """Its name, its scopes, its limit or its addresses were changed."""
    CLIENT_PKCE_OFF = "client-pkce-off"
    """A client may sign people in without PKCE from now on."""
    CLIENT_ROTATED = "client-secret-rotated"
    CLIENT_DISABLED = "client-disabled"
    CLIENT_ENABLED = "client-enabled"
    CLIENT_REMOVED = "client-removed"
    CONSENT_GIVEN = "consent-given"
    """The user allowed an app to know something about them."""
    CONSENT_WITHDRAWN = "consent-withdrawn"
    APP_SIGNED_IN = "app-signed-in"
    """The user signed in to an app."""
    APP_SIGNED_OUT = "app-signed-out"
    """The user, or the app, ended the user's sessions in the app."""
    CODE_REPLAYED = "authorization-code-replayed"
    """The code of an app was exchanged a second time. It may be stolen, so what was given for it was revoked."""
    KEY_ROTATED = "key-rotated"
    """A new key signs access tokens or id tokens."""


def note(
    tx: Transaction, kind: Kind, user_id: str | None = None, *, actor_id: str | None = None, client_id: str | None = None
) -> None:
    """Adds an event about `user_id` to the caller's transaction.

    `actor_id` is the user who did it, if that is another one. `client_id` is the client; without it, the client that is calling.
    """
    insert_row(
        tx,
        Event,
        at=clock.now(),
        kind=kind,
        user_id=user_id,
        actor_id=None if actor_id == user_id else actor_id,
        client_id=client_id or calling_client.get(),
        request_id=request_id.get(),
    )
