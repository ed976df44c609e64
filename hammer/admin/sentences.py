"""What happened, in words: a sentence for each kind of event and of entry in a person's timeline."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from flask_babel import gettext

from hammer.events import Kind
from hammer.login import verifications
from hammer.models import CodeState, MessageState, SessionKind
from hammer.refusals import N_, AlreadyActivated, InviteLoop, OwnInvite, TooManyRequests, UnknownInvite
from hammer.users import oversight, timeline

EVENTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Kind.CODE_SENT: N_("A text with a code was asked for"),
        Kind.SIGNED_UP: N_("First sign-in"),
        Kind.SIGNED_IN: N_("Sign-in"),
        Kind.TEST_NUMBER_USED: N_("The fixed code of a test number was entered"),
        Kind.SIGN_IN_BLOCKED: N_("The code was right, but the person is blocked: no sign-in"),
        Kind.GUESSES_SPENT: N_("Too many wrong codes: a code is void"),
        Kind.INVITE_ACTIVATED: N_("An invite code was activated"),
        Kind.REFERRAL_ATTACHED: N_("Staff attached a referral"),
        Kind.REFERRAL_DETACHED: N_("Staff detached the referral"),
        Kind.INVITE_REFUSED: N_("An invite code was not activated"),
        Kind.REFRESH_REUSED: N_("A refresh token was used twice and may be stolen: the session was ended"),
        Kind.SESSION_ENDED: N_("Signed out on one device"),
        Kind.SESSIONS_ENDED: N_("Signed out on several devices"),
        Kind.USER_CREATED: N_("The account was created by staff or the command line"),
        Kind.USER_RENAMED: N_("Names were changed"),
        Kind.USER_METADATA_CHANGED: N_("Metadata was changed"),
        Kind.USER_DELETED: N_("The account was deleted"),
        Kind.USER_BLOCKED: N_("The account was blocked"),
        Kind.USER_UNBLOCKED: N_("The account was unblocked"),
        Kind.STAFF_GIVEN: N_("Became staff"),
        Kind.STAFF_TAKEN: N_("Is staff no more"),
        Kind.ENROLMENT_ALLOWED: N_("A link to set up a second factor was made"),
        Kind.FACTOR_ENROLLED: N_("A second factor was set up"),
        Kind.FACTOR_REMOVED: N_("A second factor was removed"),
        Kind.FACTORS_RESET: N_("All second factors were removed by the command line"),
        Kind.RECOVERY_CODES_MADE: N_("New recovery codes were made"),
        Kind.FACTOR_WRONG: N_("A wrong code of a second factor was entered"),
        Kind.ADMIN_OPENED: N_("The operator’s pages were opened with a second factor"),
        Kind.NUMBER_CHANGED: N_("The number was changed"),
        Kind.NUMBER_SHOWN: N_("Staff saw the whole number"),
        Kind.DATA_EXPORTED: N_("The person downloaded their data"),
        Kind.USERS_EXPORTED: N_("People were exported to a file"),
        Kind.USERS_IMPORTED: N_("People were added from a file"),
        Kind.IMPORT_CHECKED: N_("A file of people was checked before an import"),
        Kind.CLIENT_ADDED: N_("A client was added"),
        Kind.CLIENT_CHANGED: N_("A client was changed"),
        Kind.CLIENT_PKCE_OFF: N_("A client may sign people in without PKCE from now on"),
        Kind.CLIENT_ROTATED: N_("The secret of a client was changed"),
        Kind.CLIENT_DISABLED: N_("A client was disabled"),
        Kind.CLIENT_ENABLED: N_("A client was enabled"),
        Kind.CLIENT_REMOVED: N_("A client was removed"),
        Kind.CONSENT_GIVEN: N_("An app was allowed to know something about the person"),
        Kind.CONSENT_WITHDRAWN: N_("An app may know nothing about the person any more"),
        Kind.APP_SIGNED_IN: N_("Signed in to an app"),
        Kind.APP_SIGNED_OUT: N_("Signed out of an app"),
        Kind.CODE_REPLAYED: N_("The code of an app was used twice and may be stolen: what it opened was ended"),
        Kind.KEY_ROTATED: N_("A new key signs tokens"),
        Kind.ENDPOINT_ADDED: N_("A webhook endpoint was added"),
        Kind.ENDPOINT_CHANGED: N_("A webhook endpoint was changed"),
        Kind.ENDPOINT_ROTATED: N_("The secret of a webhook endpoint was changed"),
        Kind.ENDPOINT_DISABLED: N_("A webhook endpoint was disabled"),
        Kind.ENDPOINT_ENABLED: N_("A webhook endpoint was enabled"),
        Kind.ENDPOINT_REPLAYED: N_("Events were posted to a webhook endpoint once more"),
        Kind.ENDPOINT_REMOVED: N_("A webhook endpoint was removed"),
        Kind.PING: N_("A webhook endpoint was tested"),
    }
)
"""The kind of an event -> what happened. The page adds who did it, to whom, and by which client."""

DETAILS: Final[Mapping[str, str]] = MappingProxyType(
    {
        UnknownInvite.slug: N_("there is no such code"),
        OwnInvite.slug: N_("it is their own code"),
        InviteLoop.slug: N_("they invited its owner, directly or through others"),
        AlreadyActivated.slug: N_("they, or an earlier account of the number, had activated one before"),
        TooManyRequests.slug: N_("too many codes were tried that could not be activated"),
        "app": N_("authenticator app"),
        "passkey": N_("passkey"),
        "recovery": N_("recovery code"),
        **oversight.REASONS_TO_SHOW,
    }
)
"""The detail of an event -> how the page words it."""


ENTRIES: Final[Mapping[str, str]] = {
    **EVENTS,
    timeline.Kind.CODE_ASKED: N_("A code was asked for"),
    timeline.Kind.CODE_ENTERED: N_("The code was entered"),
    timeline.Kind.CODE_EXPIRED: N_("The code was not entered in time"),
    timeline.Kind.TEXT: N_("A text with the code"),
    timeline.Kind.SESSION_OPENED: N_("A session was opened"),
    timeline.Kind.SESSION_OVER: N_("A session was ended"),
    timeline.Kind.ACTIVATED: N_("Activated the invite code of %(who)s"),
    timeline.Kind.INVITED: N_("%(who)s activated this person’s invite code"),
}
"""The kind of an entry in a timeline -> what happened."""

TEXTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        MessageState.WAITING: N_("waits to be sent"),
        MessageState.SENT: N_("accepted by the gateway, which has reported nothing since"),
        MessageState.DELIVERED: N_("delivered"),
        MessageState.FAILED: N_("failed, the gateway reported that it did not reach the telephone"),
        MessageState.GIVEN_UP: N_("given up, no gateway accepted it in time"),
        MessageState.UNNEEDED: N_("not sent, its code was entered before"),
    }
)
"""The state of a text -> how the page words it."""
CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        CodeState.VALID: N_("its code can still be entered"),
        CodeState.ENTERED: N_("its code was entered"),
        CodeState.EXPIRED: N_("its code has expired"),
        CodeState.VOID: N_("its code is void after wrong ones"),
    }
)
"""What became of a code -> how the page words it."""
SESSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        SessionKind.BROWSER: N_("browser"),
        SessionKind.PROGRAM: N_("program"),
        SessionKind.APP: N_("sign-in to an app"),
        SessionKind.ADMIN: N_("operator’s pages"),
    }
)
"""The kind of a session -> how the page words it."""
_PURPOSES: Final = {verifications.LOGIN: N_("to sign in"), verifications.CHANGE_NUMBER: N_("to change the number")}
_DETAILS_OF: Final[Mapping[str, Mapping[str, str]]] = {
    timeline.Kind.CODE_ASKED: _PURPOSES,
    timeline.Kind.TEXT: TEXTS,
    timeline.Kind.SESSION_OPENED: SESSIONS,
    timeline.Kind.SESSION_OVER: SESSIONS,
}


def detail_of(entry: timeline.Entry) -> str:
    """The detail of an entry, in the visitor's language; empty for none."""
    return _in_words(_DETAILS_OF.get(entry.kind, DETAILS), entry.detail)


def event_sentence(kind: str) -> str:
    """What an event of this kind records, in the visitor's language; the kind itself if it is one of another version."""
    return str(gettext(EVENTS[kind])) if kind in EVENTS else kind


def detail_in_words(detail: str | None) -> str:
    """The detail of an event in the visitor's language; as it is stored where there are no words for it; empty for none."""
    return _in_words(DETAILS, detail)


def _in_words(words: Mapping[str, str], detail: str | None) -> str:
    return str(gettext(words[detail])) if detail is not None and detail in words else detail or ""
