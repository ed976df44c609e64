"""Checks webhook endpoints, as `doctor` does. URLs may contain secrets in their path and query: only their host is printed."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import select

from config import Settings
from hammer.db.database import db
from hammer.models import Disabled, WebhookEndpoint
from hammer.operations.faults import OF_CONNECTION, SECONDS
from hammer.operations.findings import ADVICE, FINE, WRONG, Finding
from hammer.outgoing.guard import Guard
from hammer.outgoing.post import fault_of
from hammer.webhooks import endpoints
from hammer.webhooks.feed import is_receiving
from hammer.webhooks.status import status

COMMAND: Final = "flask --app wsgi webhooks"


def examine(settings: Settings, *, waits_long: timedelta) -> Iterator[Finding]:
    """Connects to the servers that are posted to, and sends them nothing.

    :param waits_long: what has been due for longer is reported.
    """
    overdue = status().overdue
    if overdue > waits_long:
        how = f"a post has been due for {overdue.total_seconds() / 60:.0f} minutes"
        remedy = "Start a server or `flask --app wsgi worker`; if one is running, look at its log."
        yield Finding(ADVICE, "webhooks", how, remedy)
    receiving = set(db.session.scalars(select(WebhookEndpoint.id).where(is_receiving())))
    if receiving:
        yield Finding(FINE, "webhooks", f"{len(receiving)} {'endpoint is' if len(receiving) == 1 else 'endpoints are'} posted to")
    for endpoint in endpoints.every():
        if endpoint.disabled_at:
            yield _disabled(endpoint)
        elif endpoint.id in receiving:
            yield from _faults(Guard.of(settings), endpoint)


def _disabled(endpoint: WebhookEndpoint) -> Finding:
    since, id_ = f"{endpoint.disabled_at:%Y-%m-%d %H:%M} UTC", argument(endpoint)
    if endpoint.disabled_for == Disabled.BY_HAND:
        return _finding(FINE, endpoint, f"disabled by hand since {since}")
    if endpoint.disabled_for == Disabled.GONE:
        how = f"disabled since {since}: it answered that it is gone"
        return _finding(
            ADVICE, endpoint, how, f"Remove it ({COMMAND} remove {id_}), or if it is there again: {COMMAND} enable {id_}"
        )
    how = f"disabled since {since}: it accepted nothing for days"
    return _finding(WRONG, endpoint, how, f"To see why ({COMMAND} test {id_}), and then: {COMMAND} enable {id_}")


def _faults(guard: Guard, endpoint: WebhookEndpoint) -> Iterator[Finding]:
    since = endpoint.failing_since
    failing = f"failed posts in a row: {endpoint.failures}, since {since:%Y-%m-%d %H:%M} UTC" if since else ""
    if fault := fault_of(guard, endpoint.url, seconds=SECONDS):
        why, remedy = OF_CONNECTION[fault]
        yield _finding(WRONG, endpoint, f"{why}; {failing}" if failing else why, remedy)
    elif failing:
        yield _finding(ADVICE, endpoint, failing, f"To see why: {COMMAND} test {argument(endpoint)}")


def _finding(state: str, endpoint: WebhookEndpoint, how: str, remedy: str = "") -> Finding:
    return Finding(state, f"webhook endpoint {endpoint.id}", f"{urlsplit(endpoint.url).hostname}: {how}", remedy)


def argument(endpoint: WebhookEndpoint) -> str:
    """Its id for a command: one that begins with a hyphen is no option."""
    return f"-- {endpoint.id}" if endpoint.id.startswith("-") else endpoint.id
