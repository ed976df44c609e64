"""What apps are told about: for each type of event when it happens, and which ids it contains. The document of the API and the
documentation are made from this."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hammer.events import Type
from hammer.refusals import N_

FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "user_id": "The id of the user: `GET /users/{id}/` shows them to clients with the scope `users:read`.",
        "referrer_id": "The id of the user whose invite code was activated.",
        "endpoint_id": "The id of the webhook endpoint.",
    }
)
"""What the data of events may contain: ids alone, never a number, a name or a code."""


@dataclass(frozen=True)
class Entry:
    when: str
    """When it happens, as a sentence."""
    fields: tuple[str, ...] = ("user_id",)
    """The `FIELDS` of its data."""


CATALOGUE: Final[Mapping[Type, Entry]] = MappingProxyType(
    {
        Type.USER_CREATED: Entry(N_("A user was created: by the first login of a number, by staff, by a client or by an import.")),
        Type.USER_RENAMED: Entry(N_("The username, first name or last name of a user was changed.")),
        Type.USER_NUMBER_CHANGED: Entry(N_("A user has another telephone number.")),
        Type.USER_BLOCKED: Entry(N_("A user was blocked: all sessions have ended, and the user cannot sign in.")),
        Type.USER_UNBLOCKED: Entry(N_("A blocked user can sign in again.")),
        Type.USER_DELETED: Entry(N_("A user was deleted: all sessions have ended, and the personal data are gone for ever.")),
        Type.INVITE_ACTIVATED: Entry(
            N_("A user activated the invite code of another user, or staff attached the user to that one."),
            ("user_id", "referrer_id"),
        ),
        Type.INVITE_DETACHED: Entry(N_("Staff undid an activation: it counts no more."), ("user_id", "referrer_id")),
        Type.SESSIONS_ENDED: Entry(N_("Sessions of a user were ended before their time, other than by a block or a deletion.")),
        Type.KEY_ROTATED: Entry(N_("A new key signs tokens from now on. Its public part is in `/.well-known/jwks.json`."), ()),
        Type.ENDPOINT_DISABLED: Entry(
            N_("A webhook endpoint was disabled. It gets nothing until it is enabled."), ("endpoint_id",)
        ),
        Type.PING: Entry(N_("A test of an endpoint. It has no `sequence`, and is not in the feed."), ("endpoint_id",)),
    }
)
