"""Waiting for the processes that deliver webhooks."""

from tests.delivery import wait_until
from tests.workers import ask


def wait_for_all(database_url: str, seconds: int = 120) -> None:
    """Waits until all events are published and all deliveries are accepted."""
    unpublished, waiting = "select id from events where sequence = 0", "select id from webhook_deliveries where delivered is null"
    wait_until(lambda: not ask(database_url, unpublished) and not ask(database_url, waiting), seconds=seconds)
