"""The steps that tests of webhooks have in common. All need an application context."""

from datetime import datetime

from sqlalchemy import select

from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.models import WebhookDelivery, WebhookEndpoint
from hammer.webhooks.deliveries import deliver_next
from tests.actions import STRANGER_ID

MOST_POSTS = 10_000


def note(count: int = 1, kind: events.Kind = events.Kind.SIGNED_UP) -> None:
    """So many events of which apps are told."""
    with transaction() as tx:
        for _ in range(count):
            events.note(tx, kind, STRANGER_ID)


def deliver(settings: Settings) -> None:
    """Posts all that is due."""
    for _ in range(MOST_POSTS):
        if not deliver_next(settings):
            return
    raise AssertionError("The queue never became empty.")


def stored(endpoint_id: str) -> WebhookEndpoint:
    """The row of an endpoint, as it is in the database."""
    db.session.expire_all()
    return db.session.get_one(WebhookEndpoint, endpoint_id)


def deliveries_of(endpoint_id: str) -> list[WebhookDelivery]:
    """Its deliveries, as they are in the database, in the order of the feed."""
    db.session.expire_all()
    return list(
        db.session.scalars(select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint_id).order_by(WebhookDelivery.id))
    )


def next_post_at(endpoint_id: str) -> datetime | None:
    """When the next post to it may begin; None if nothing waits."""
    due = [delivery.due_at for delivery in deliveries_of(endpoint_id) if delivery.ended_at is None]
    return max(min(due), stored(endpoint_id).next_at) if due else None
