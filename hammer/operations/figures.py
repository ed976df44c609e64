"""What is measured: the state of guesses, texts, notices, webhooks, events and codes, as the database has it now.

`/metrics` and the operator's pages show the same figures. Of tables that grow, only the newest rows are read: the cost does not
grow with the tables.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from sqlalchemy import func, select

from config import Settings
from hammer import clock, events
from hammer.db.database import Transaction, db
from hammer.grants import logout_notices
from hammer.login import test_numbers
from hammer.models import Event, Verification
from hammer.operations import daily, seals
from hammer.quotas import guesses, texts
from hammer.sms import outbox
from hammer.webhooks import status as webhooks

LATELY: Final = timedelta(minutes=5)
"""The period in which events are counted."""
NEWEST: Final = 1000
"""How many codes are counted."""


@dataclass(frozen=True)
class Figures:
    """The figures of one moment."""

    guesses: dict[int, tuple[int, int]]
    """Digits -> (wrong guesses of today that were not given back, budget)."""
    expected_takeovers_per_year: float
    texts: dict[str, tuple[int, int]]
    """`hour` and `day` -> (texts that were asked for, allowed)."""
    outbox: outbox.OutboxStatus
    notices: logout_notices.NoticesStatus
    webhooks: webhooks.Status
    unsealed: tuple[int, timedelta]
    """How many events have no seal, `seals.MOST_COUNTED` at most, and how long ago the oldest of them happened."""
    lately: Counter[str]
    """Kind -> how many events in the last five minutes; 0 for kinds without events."""
    test_numbers: int
    """How many numbers sign in with a fixed code today."""
    codes_ended: Counter[str]
    """Calling code -> how many of the newest codes that expired."""
    codes_proved: Counter[str]
    """Calling code -> how many of them were entered."""


def read(settings: Settings) -> Figures:
    """The present figures. Takes about 10 ms."""
    tx, now = db.session(), clock.now()
    ended, proved = _codes_by_country(tx, settings, now)
    return Figures(
        guesses=guesses.budgets_used(tx, settings, now),
        expected_takeovers_per_year=settings.expected_takeovers_per_year,
        texts=texts.system_used(tx, settings, now),
        outbox=outbox.status(),
        notices=logout_notices.status(),
        webhooks=webhooks.status(),
        unsealed=seals.waiting(),
        lately=_lately(settings, now),
        test_numbers=len(test_numbers.active(settings, now)),
        codes_ended=ended,
        codes_proved=proved,
    )


def _lately(settings: Settings, now: datetime) -> Counter[str]:
    """All kinds, so that an alert can see a value fall to zero."""
    found = daily.by_kind(settings, Event.at > now - LATELY, Event.at <= now)
    return Counter(dict.fromkeys(events.Kind, 0) | found)


def _codes_by_country(tx: Transaction, settings: Settings, now: datetime) -> tuple[Counter[str], Counter[str]]:
    """How many codes were requested, and how many of them were entered, by calling code; without test numbers."""
    began = func.substr(Verification.telephone_number, 2, 3).label("began")
    over = select(began, Verification.consumed_at).where(Verification.expires_at <= now)
    if settings.test_numbers:
        over = over.where(Verification.telephone_number.not_in(settings.test_numbers))
    newest = over.order_by(Verification.expires_at.desc()).limit(NEWEST).subquery()
    count = select(newest.c.began, func.count(), func.count(newest.c.consumed_at)).group_by(newest.c.began)
    requested: Counter[str] = Counter()
    entered: Counter[str] = Counter()
    for digits, total, consumed in tx.execute(count):
        country = _calling_code(digits)
        requested[country] += total
        entered[country] += consumed
    return requested, entered


def _calling_code(digits: str) -> str:
    """The calling code at the beginning of `digits`. No calling code is the beginning of another one."""
    return next((digits[:n] for n in (1, 2, 3) if int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE), digits)
