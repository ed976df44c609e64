"""The audit trail: events, written in the same transaction as what they record. Users are named by id only.

Apps are told about some of them, by webhooks and in the event feed (`hammer.webhooks`): `TYPES`.
"""

from collections.abc import Mapping
from contextvars import ContextVar
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hammer import clock, measures
from hammer.db.database import Transaction, on_commit
from hammer.db.prepared import insert_row
from hammer.models import Event

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""The id of the current request, as in the log; None on the command line."""
verification: ContextVar[str | None] = ContextVar("verification", default=None)
"""The shortened id of the verification that the current request is about; None for all other requests."""
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
    INVITE_REFUSED = "invite-refused"
    """A signed-in user asked for an activation and was refused. The slug of the refusal is the event's `detail`."""
    REFERRAL_ATTACHED = "referral-attached"
    """Staff made the user a referee of another user."""
    REFERRAL_DETACHED = "referral-detached"
    """Staff undid an activation of the user."""
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
    ENROLMENT_ALLOWED = "enrolment-allowed"
    """The command line or staff made a link by which a staff member can enrol a second factor."""
    FACTOR_ENROLLED = "factor-enrolled"
    """A staff member enrolled an authenticator app or a passkey."""
    FACTOR_REMOVED = "factor-removed"
    FACTORS_RESET = "factors-reset"
    """The command line removed all second factors of a staff member."""
    RECOVERY_CODES_MADE = "recovery-codes-made"
    """A staff member was given new recovery codes; the ones before are void."""
    FACTOR_WRONG = "factor-wrong"
    """A staff member entered a wrong code of an authenticator app, or a wrong recovery code; or a passkey signed whose counter went
    back or whose kind changed, so that it may be a copy."""
    ADMIN_OPENED = "admin-opened"
    """A staff member opened the operator's pages with a second factor, or proved it again there."""
    NUMBER_CHANGED = "number-changed"
    NUMBER_SHOWN = "number-shown"
    """A staff member saw the whole number of the user. `detail` says why: a key of `oversight.REASONS_TO_SHOW`."""
    DATA_EXPORTED = "data-exported"
    """Users exported what is stored about them."""
    USERS_EXPORTED = "users-exported"
    """The command line exported all users, or staff those whom they chose: `detail` says how many."""
    USERS_IMPORTED = "users-imported"
    """Staff added users from a file, at most 100 in one event: `detail` says how many. Each has an event `USER_CREATED` too."""
    IMPORT_CHECKED = "import-checked"
    """Staff were told what an import would do. `detail` says of how many lines they learned whether the number has a user."""
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
    ENDPOINT_ADDED = "endpoint-added"
    ENDPOINT_CHANGED = "endpoint-changed"
    """The address of a webhook endpoint, or the types of events that it gets, were changed."""
    ENDPOINT_ROTATED = "endpoint-secret-rotated"
    ENDPOINT_DISABLED = "endpoint-disabled"
    """By hand, because it answered that it is gone, or because it accepted nothing for days."""
    ENDPOINT_ENABLED = "endpoint-enabled"
    ENDPOINT_REPLAYED = "endpoint-replayed"
    """Events were posted to it once more."""
    ENDPOINT_REMOVED = "endpoint-removed"
    PING = "ping"
    """An event that tests a webhook endpoint."""


class Type(StrEnum):
    """What apps are told about. Apps rely on these names; `hammer.webhooks.catalogue` describes each."""

    USER_CREATED = "user.created"
    USER_RENAMED = "user.renamed"
    USER_NUMBER_CHANGED = "user.number_changed"
    USER_BLOCKED = "user.blocked"
    USER_UNBLOCKED = "user.unblocked"
    USER_DELETED = "user.deleted"
    INVITE_ACTIVATED = "invite.activated"
    INVITE_DETACHED = "invite.detached"
    SESSIONS_ENDED = "sessions.ended"
    KEY_ROTATED = "key.rotated"
    ENDPOINT_DISABLED = "endpoint.disabled"
    PING = "ping"


TYPES: Final[Mapping[str, Type]] = MappingProxyType(
    {
        Kind.SIGNED_UP: Type.USER_CREATED,
        Kind.USER_CREATED: Type.USER_CREATED,
        Kind.USER_RENAMED: Type.USER_RENAMED,
        Kind.NUMBER_CHANGED: Type.USER_NUMBER_CHANGED,
        Kind.USER_BLOCKED: Type.USER_BLOCKED,
        Kind.USER_UNBLOCKED: Type.USER_UNBLOCKED,
        Kind.USER_DELETED: Type.USER_DELETED,
        Kind.INVITE_ACTIVATED: Type.INVITE_ACTIVATED,
        Kind.REFERRAL_ATTACHED: Type.INVITE_ACTIVATED,
        Kind.REFERRAL_DETACHED: Type.INVITE_DETACHED,
        Kind.SESSION_ENDED: Type.SESSIONS_ENDED,
        Kind.SESSIONS_ENDED: Type.SESSIONS_ENDED,
        Kind.REFRESH_REUSED: Type.SESSIONS_ENDED,
        Kind.KEY_ROTATED: Type.KEY_ROTATED,
        Kind.ENDPOINT_DISABLED: Type.ENDPOINT_DISABLED,
        Kind.PING: Type.PING,
    }
)
"""Kind of an event -> what apps know it as. They are not told about the other kinds."""
PUBLISHED: Final = frozenset(TYPES) - {Kind.PING}
"""The kinds that every endpoint and the feed get. A ping is for one endpoint."""
UNPUBLISHED: Final = 0
"""The `sequence` of an event until it is published."""
COUNTED: Final = measures.counter(
    "events", "Events of the audit trail: signups, logins, activations and others.", "kind", known=((kind,) for kind in Kind)
)


def note(
    tx: Transaction,
    kind: Kind,
    user_id: str | None = None,
    *,
    actor_id: str | None = None,
    client_id: str | None = None,
    endpoint_id: str | None = None,
    referrer_id: str | None = None,
    detail: str | None = None,
    reason: str | None = None,
) -> None:
    """Adds an event about `user_id` to the caller's transaction.

    `actor_id` is the user who did it, if that is another one. `client_id` is the client; without it, the client that is calling.
    `endpoint_id` is the webhook endpoint that the event is about, `referrer_id` the user whose invite code was activated. `detail`
    says in one word what exactly happened; `reason` is what staff gave as theirs.
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
        endpoint_id=endpoint_id,
        referrer_id=referrer_id,
        detail=detail,
        reason=reason,
        sequence=UNPUBLISHED if kind in PUBLISHED else None,
    )
    on_commit(tx, COUNTED.labels(kind).inc)
