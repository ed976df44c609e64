"""The `webhooks` of the OpenAPI document: what Hammer posts to endpoints, made from the catalogue of events."""

from typing import Any, Final

from hammer.api import schemas as s
from hammer.api import webhook_schemas as w
from hammer.events import Type
from hammer.webhooks.catalogue import CATALOGUE, Entry

Tree = dict[str, Any]

HEADERS: Final[dict[str, Tree]] = {
    "WebhookId": {
        "name": "webhook-id",
        "description": "The id of the event, the same in every post of it. Ignore an event whose id came before.",
        "required": True,
        "schema": {"type": "string"},
        "example": w.MESSAGE_ID["example"],
    },
    "WebhookTimestamp": {
        "name": "webhook-timestamp",
        "description": "When the post was made, in seconds since 1970. Refuse what is older than five minutes.",
        "required": True,
        "schema": {"type": "string"},
        "example": "1795858200",
    },
    "WebhookSignature": {
        "name": "webhook-signature",
        "description": "One or two signatures with a space between them (Standard Webhooks): for 24 hours after a rotation "
        "both secrets sign. One that is right is enough.",
        "required": True,
        "schema": {"type": "string"},
        "example": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    },
}
"""The headers of every post, as parameters."""
_ANSWERS: Final[Tree] = {
    "2XX": {"description": "The event was accepted."},
    "410": {"description": "The endpoint wants no events any more. It is disabled."},
    "default": {
        "description": "The event was not accepted, and is posted again later, for three days. A redirect is not followed and "
        "counts as this, and so do 15 seconds without an answer. A `Retry-After` of up to 24 hours is followed. An "
        "endpoint that accepts nothing for three days is disabled."
    },
}


def _name(type_: Type) -> str:
    return type_.replace(".", "_")


def _schema_name(type_: Type) -> str:
    return "".join(word.capitalize() for word in _name(type_).split("_")) + "Event"


def _fields(type_: Type, entry: Entry) -> Tree:
    """The fields of a body: name -> schema."""
    data = {field: {"type": "string"} | w.DATA[field] for field in entry.fields}
    sequence = {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "description": "Its number in the event feed. Events can arrive in another order.",
        "example": 4711,
    }
    return {
        "type": {"type": "string", "const": type_, "example": type_},
        "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."} | s.MOMENT,
        **({} if type_ is Type.PING else {"sequence": sequence}),
        "data": {"type": "object", "description": "Ids alone.", "properties": data, "required": list(data)},
    }


def _schema(type_: Type, entry: Entry) -> Tree:
    fields = _fields(type_, entry)
    return {"type": "object", "description": entry.when, "properties": fields, "required": list(fields)}


def _post(type_: Type, entry: Entry) -> Tree:
    fields = _fields(type_, entry)
    data = {field: about["example"] for field, about in fields.pop("data")["properties"].items()}
    example = {field: about["example"] for field, about in fields.items()} | {"data": data}
    return {
        "operationId": f"on_{_name(type_)}",
        "tags": ["posts"],  # not with calls: openapi-generator would write one class over the other
        "summary": type_,
        "description": entry.when,
        "security": [],
        "parameters": [{"$ref": f"#/components/parameters/{header}"} for header in HEADERS],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": f"#/components/schemas/{_schema_name(type_)}"}, "example": example}
            },
        },
        "responses": _ANSWERS,
    }


SCHEMAS: Final[dict[str, Tree]] = {_schema_name(type_): _schema(type_, entry) for type_, entry in CATALOGUE.items()}
"""The bodies: name -> schema."""
WEBHOOKS: Final[dict[str, Tree]] = {type_.value: {"post": _post(type_, entry)} for type_, entry in CATALOGUE.items()}
"""Type of event -> what is posted."""
