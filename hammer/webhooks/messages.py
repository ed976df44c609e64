"""What an app is told about an event: the same in a post and in the feed."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, false, func, literal, select

from hammer import clock, events
from hammer.db.database import Base
from hammer.models import Event, Referral
from hammer.webhooks.catalogue import CATALOGUE


@dataclass(frozen=True)
class Message:
    """An event as apps see it: ids alone. An app that needs more asks the API."""

    id: str
    """The same in every post of the event. Ids of rows may be given a second time after a backup was restored, so it also contains
    the moment of the event."""
    type: events.Type
    timestamp: datetime
    """When it happened."""
    sequence: int | None
    """Its place in the feed; None for a ping."""
    data: dict[str, str | None]

    def body(self) -> bytes:
        """The body of a post, as JSON."""
        body: dict[str, Any] = {"type": self.type, "timestamp": self.timestamp.isoformat()}
        if self.sequence is not None:
            body["sequence"] = self.sequence
        return json.dumps(body | {"data": self.data}).encode()


def select_events(*more: type[Base]) -> Select[Any]:
    """Selects what `message` needs, and `more` beside it."""
    # For activations from before events had a referrer. A referral that staff attached later is none of them.
    activated = and_(
        Event.kind == events.Kind.INVITE_ACTIVATED, Referral.referee_id == Event.user_id, Referral.activated_at <= Event.at
    )
    columns: list[Any] = [Event, func.coalesce(Event.referrer_id, Referral.referrer_id), *more]
    return select(*columns).select_from(Event).outerjoin(Referral, activated)


def message(event: Event, referrer_id: str | None) -> Message:
    """The message about an event of one of `events.TYPES`."""
    type_ = events.TYPES[event.kind]
    ids = {"user_id": event.user_id, "referrer_id": referrer_id, "endpoint_id": event.endpoint_id}
    data = {field: ids[field] for field in CATALOGUE[type_].fields}
    return Message(message_id(event), type_, event.at, event.sequence, data)


def message_id(event: Event) -> str:
    return f"msg_{event.id}_{clock.microseconds(event.at)}"


def is_message(shown: str) -> ColumnElement[bool]:
    """A condition: the event of this message id; of none if it is malformed."""
    made = re.fullmatch(r"msg_(\d{1,18})_(\d{1,17})", shown, re.ASCII)
    return and_(Event.id == literal(int(made[1]), BigInteger), Event.at == clock.at(int(made[2]))) if made else false()


def kinds_of(types: Iterable[str]) -> list[str]:
    """The kinds of events that an app knows as one of these types."""
    wanted = set(types)
    return [kind for kind, type_ in events.TYPES.items() if type_ in wanted]
