"""Bodies and queries of the calls for webhooks and the event feed."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from marshmallow import ValidationError, fields, validates_schema
from marshmallow.validate import OneOf

from hammer.api import schemas as s
from hammer.events import Type
from hammer.outgoing import uris
from hammer.refusals import N_
from hammer.webhooks.catalogue import FIELDS
from hammer.webhooks.endpoints import NOT_A_TYPE, TYPES

NOT_AN_ARRAY: Final = N_("This is not an array.")
NOT_A_MOMENT: Final = N_("Must be a date and a time with a zone, like 2026-11-23T09:30:00Z.")
ONE_OF_BOTH: Final = N_("Send either message_id or since.")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)

SECRET: Final = {
    "description": "Signs the posts (Standard Webhooks). It is shown this once.",
    "example": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD4vqXQqf3yD0=",
}
MESSAGE_ID: Final = {
    "description": "The id of an event: the same in the feed, in `webhook-id`, and in every post of the event.",
    "example": "msg_4711_1795858200000000",
}
TYPE: Final = {"description": "The type of the event.", "example": Type.USER_CREATED, "enum": list(Type)}
SOME_TYPES: Final = [Type.USER_CREATED, Type.USER_DELETED]
URL: Final = {"example": "https://app.example.com/webhooks", "minLength": 1, "maxLength": uris.LONGEST}


class _Moment(fields.AwareDateTime):
    """A moment with its zone (RFC 3339)."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        try:
            if isinstance(value, str) and _MOMENT.fullmatch(value):
                return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError) as error:  # a day that no month has, or a moment before the year 1 in UTC
            raise ValidationError(NOT_A_MOMENT) from error
        raise ValidationError(NOT_A_MOMENT)


def _moment(description: str) -> _Moment:
    return _Moment(error_messages={"null": NOT_A_MOMENT}, metadata=s.MOMENT | {"description": description})


def _types(description: str, **more: Any) -> fields.List[str]:
    one = fields.String(
        validate=OneOf(TYPES, error=NOT_A_TYPE),
        error_messages=dict.fromkeys(("null", "invalid", "invalid_utf8"), NOT_A_TYPE),
    )
    messages: Any = {"null": NOT_AN_ARRAY, "invalid": NOT_AN_ARRAY}
    return fields.List(one, error_messages=messages, metadata={"description": description, "example": SOME_TYPES}, **more)


class EventsIn(s.PageIn):
    type = _types("Only events of this type. It may be repeated for several types.")


class WebhookIn(s.In):
    url = s.text(URL | {"description": "Where events are posted: `https://` and a public host."})
    types = _types("The types of events that it gets; empty for all.", load_default=())


class WebhookChangeIn(s.In):
    url = s.text(URL | {"description": "Another address. It is posted to at once, however the one before failed."}, required=False)
    types = _types("The types of events that it gets, instead of those before; empty for all.")


REPLAY: Final = {"since": "2026-11-23T09:30:00Z", "until": "2026-11-23T12:00:00Z"}
"""An example of what is replayed."""


class ReplayIn(s.In):
    """Either one event, or those of a time."""

    message_id = s.text(MESSAGE_ID, required=False)
    since = _moment("The events from this moment on, this moment included.")
    until = _moment("With `since`: the events before this moment; those until now without it.")

    @validates_schema
    def name_one_thing(self, data: dict[str, Any], **_: Any) -> None:
        if ("message_id" in data) == ("since" in data):
            raise ValidationError(ONE_OF_BOTH, "message_id")
        if "until" in data and "since" not in data:
            raise ValidationError(ONE_OF_BOTH, "until")


_EXAMPLES: Final = {
    "user_id": "mVn2oQ7yX0m3Zb5rT8kLwA",
    "referrer_id": "hX3o9t4nTQm0cH2k7J9dVw",
    "endpoint_id": "Zb5rT8kLwAmVn2oQ7yX0m3",
}
DATA: Final[dict[str, dict[str, Any]]] = {
    field: s.ID | {"description": description, "example": _EXAMPLES[field]} for field, description in FIELDS.items()
}
"""What the data of events contain: field -> its description."""
EventDataOut: Final = s.Out.from_dict({field: fields.String(metadata=about) for field, about in DATA.items()}, name="EventDataOut")


class EventOut(s.Out):
    id = fields.String(required=True, metadata=MESSAGE_ID)
    type = fields.String(required=True, metadata=TYPE)
    timestamp = fields.AwareDateTime(required=True, metadata=s.MOMENT | {"description": "When it happened."})
    sequence = fields.Integer(
        required=True,
        metadata={
            "description": "Its number in the feed: later events have higher ones.",
            "example": 4711,
            "minimum": 1,
            "format": "int64",
        },
    )
    data = fields.Nested(
        EventDataOut,
        required=True,
        metadata={
            "description": "Ids alone. Which ones depends on the type: see the webhooks of this document.",
            "example": {"user_id": DATA["user_id"]["example"]},
        },
    )


class WebhookOut(s.Out):
    id = fields.String(required=True, metadata=s.ENDPOINT_ID | s.ID)
    url = fields.String(required=True, metadata={"example": URL["example"]})
    types = fields.List(
        fields.String(metadata={"enum": list(TYPES)}),
        required=True,
        metadata={
            "description": "The types of events that it gets; empty for all.",
            "example": SOME_TYPES,
        },
    )
    client_id = fields.String(
        required=True,
        allow_none=True,
        metadata=s.CLIENT_ID | {"description": "The client that it belongs to; null for those of staff and the command line."},
    )
    created_at = fields.AwareDateTime(required=True, metadata=s.MOMENT)
    disabled_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata=s.MOMENT | {"description": "Since when nothing is posted to it; null while it is enabled."},
    )
    disabled_for = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Why: `by hand`, `gone` (it answered with status 410), or `failing` (no success for three days).",
            "example": "gone",
        },
    )
    failures = fields.Integer(
        required=True, metadata={"description": "Failed posts since the last one that it accepted.", "example": 0}
    )
    failing_since = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata=s.MOMENT | {"description": "When the first of them failed; null if there are none."},
    )
    paused_until = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata=s.MOMENT | {"description": "Until when nothing is posted to it after a failed post; null if it is not paused."},
    )
    older_secret_until = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata=s.MOMENT | {"description": "Until when the secret before the newest signs too; null if it does not."},
    )


class SecretOut(s.Out):
    secret = fields.String(required=True, metadata=SECRET)


class WebhookAddedOut(WebhookOut, SecretOut):
    pass


class PingOut(s.Out):
    message_id = fields.String(required=True, metadata=MESSAGE_ID)


class ReplayOut(s.Out):
    replayed = fields.Integer(required=True, metadata={"description": "How many events are posted once more.", "example": 3})


class AttemptOut(s.Out):
    message_id = fields.String(required=True, metadata=MESSAGE_ID)
    type = fields.String(required=True, metadata=TYPE)
    at = fields.AwareDateTime(required=True, metadata=s.MOMENT)
    status = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "The status of the answer; null if there was none.", "example": 204},
    )
    fault = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "Why there was no answer: `refused` (an address that may not be posted to), `resolve`, `connect`, "
            "`tls`, `answer` (not HTTP) or `timeout`; null if there was one.",
            "example": "timeout",
        },
    )
    took_ms = fields.Integer(required=True, metadata={"description": "How long the post took, in milliseconds.", "example": 41})
