"""The service at a glance, for the operator's first page: the figures of /metrics, those of the last days, and what runs."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import or_, select
from sqlalchemy.exc import DBAPIError

from config import Settings
from hammer.db.database import db, unavailable
from hammer.models import Disabled, WebhookEndpoint
from hammer.operations import daily, doctor, figures, readiness
from hammer.operations.daily import Day
from hammer.operations.figures import Figures
from hammer.refusals import Unavailable
from hammer.sessions import keys
from hammer.sessions.keys import Key

SECONDS_TO_COUNT: Final = 1.0
"""How long the page may take to count past hours. Those that are left are counted at the next call, and by `prune`."""
MOST_ENDPOINTS: Final = 20


@dataclass(frozen=True)
class Endpoint:
    """A webhook endpoint that does not work. Its URL may contain secrets in its path and query: only its host is shown."""

    id: str
    host: str
    failures: int
    failing_since: datetime | None
    disabled_for: str | None


@dataclass(frozen=True)
class Glance:
    """The state of the service at one moment."""

    figures: Figures
    days: list[Day]
    endpoints: list[Endpoint]
    """Those that fail, and those that were disabled for it; `MOST_ENDPOINTS` at most."""
    keys: list[Key]
    database: str
    migration: str | None
    unpruned_since: datetime | None


def read(settings: Settings) -> Glance:
    """The present state. Refuses with `Unavailable` when the database is away, or lacks a table."""
    try:
        with suppress(Unavailable, DBAPIError):  # while the database takes no writes, the page shows what it can
            daily.count_hours(settings, seconds=SECONDS_TO_COUNT)
        return Glance(
            figures=figures.read(settings),
            days=daily.days(settings),
            endpoints=_endpoints(),
            keys=[key for purpose in keys.Purpose for key in keys.every(settings, purpose)],
            database=" ".join(readiness.server()),
            migration=readiness.migration(),
            unpruned_since=doctor.unpruned_since(),
        )
    except DBAPIError as error:
        raise unavailable(error) from error


def _endpoints() -> list[Endpoint]:
    bad = or_(WebhookEndpoint.disabled_for != Disabled.BY_HAND, WebhookEndpoint.failures > 0)
    chosen = select(WebhookEndpoint).where(bad).order_by(WebhookEndpoint.created_at).limit(MOST_ENDPOINTS)
    return [
        Endpoint(each.id, urlsplit(each.url).hostname or "", each.failures, each.failing_since, each.disabled_for)
        for each in db.session.scalars(chosen)
        if each.disabled_for != Disabled.BY_HAND
    ]
