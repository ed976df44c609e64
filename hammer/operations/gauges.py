"""Gauges for /metrics, read from the database, so that every process reports the same values.

Of tables that grow, only the newest rows are read: the cost does not grow with the tables.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from sqlalchemy import func, not_, or_, select
from sqlalchemy.exc import DBAPIError

from config import Settings
from hammer import clock, events
from hammer.db.database import AWAY, Transaction, db
from hammer.grants import logout_notices
from hammer.login import test_numbers
from hammer.models import Disabled, Event, MessageState, Verification
from hammer.operations import seals
from hammer.quotas import guesses, texts
from hammer.sms import outbox
from hammer.webhooks import status as webhooks

LATELY: Final = timedelta(minutes=5)
"""The period in which events are counted."""
NEWEST: Final = 1000
"""How many codes are counted."""


@dataclass(frozen=True)
class Gauge:
    """One gauge with all its values."""

    name: str
    """Its name in Prometheus, without the prefix `hammer_`."""
    help: str
    labels: tuple[str, ...]
    values: Collection[tuple[tuple[str, ...], float]]
    """Pairs of label values, in the order of `labels`, and the measured value."""


def read(settings: Settings, *, ready: bool = True) -> list[Gauge]:
    """All gauges with their present values; only `database_answers` if the database is away. Takes about 10 ms.

    :param ready: what /readyz says.
    """
    help_text = "1 if the database answers, accepts writes and is migrated, else 0. Gauges that could not be read are missing."
    answers = _single("database_answers", help_text, float(ready))
    try:
        tx, now = db.session(), clock.now()
        return [
            answers,
            *_guessing(tx, settings, now),
            *_texts(tx, settings, now),
            *_logout_notices(),
            *_webhooks(),
            *_seals(),
            *_events(tx, settings, now),
            *_codes(tx, settings, now),
        ]
    except (DBAPIError, *AWAY):  # also when tables are missing
        return [replace(answers, values=[((), 0.0)])]


def _guessing(tx: Transaction, settings: Settings, now: datetime) -> Iterator[Gauge]:
    budgets = guesses.budgets_used(tx, settings, now)
    used = [((str(length),), float(used)) for length, (used, _) in budgets.items()]
    most = [((str(length),), float(most)) for length, (_, most) in budgets.items()]
    help_text = "Wrong guesses today (UTC), by length of the code, without those that were given back."
    yield Gauge("guess_budget_used", help_text, ("digits",), used)
    yield Gauge("guess_budget", "Wrong guesses per day that the whole system allows, by length of the code.", ("digits",), most)
    help_text = "Accounts per year that guessing would take over if all budgets were always used up."
    yield _single("expected_takeovers_per_year", help_text, settings.expected_takeovers_per_year)


def _texts(tx: Transaction, settings: Settings, now: datetime) -> Iterator[Gauge]:
    system = texts.system_used(tx, settings, now)
    asked = [((span,), float(used)) for span, (used, _) in system.items()]
    most = [((span,), float(most)) for span, (_, most) in system.items()]
    yield Gauge("texts_asked", "Texts requested in the present hour and day (UTC).", ("span",), asked)
    yield Gauge("texts_allowed", "Texts that the whole system may send in an hour and a day.", ("span",), most)
    status = outbox.status()
    yield _single("texts_waiting", "Texts that wait to be sent.", status.waiting)
    yield _single(
        "texts_waiting_seconds", "Seconds that the oldest waiting text has waited.", status.oldest_waiting.total_seconds()
    )
    by_state = (
        dict.fromkeys(((MessageState.GIVEN_UP, ""), (MessageState.UNNEEDED, ""), (MessageState.WAITING, "")), 0.0) | status.newest
    )
    yield Gauge("texts_newest", f"The newest {outbox.COUNTED} texts by state and gateway.", ("state", "gateway"), by_state.items())


def _logout_notices() -> Iterator[Gauge]:
    status = logout_notices.status()
    yield _single("logout_notices_waiting", "Notices that wait to be posted to apps.", status.waiting)
    help_text = "Seconds that the oldest waiting notice has waited, also for its next try."
    yield _single("logout_notices_waiting_seconds", help_text, status.oldest_waiting.total_seconds())


def _webhooks() -> Iterator[Gauge]:
    status = webhooks.status()
    most = f"of deliveries and of unpublished events {webhooks.MOST_COUNTED} each at most"
    help_text = f"Posts to webhook endpoints that wait, also for their next try; {most}."
    yield _single("webhook_deliveries_waiting", help_text, status.waiting)
    help_text = "Seconds that the first post in line has been due, also while its endpoint is paused after a failure."
    yield _single("webhook_deliveries_waiting_seconds", help_text, status.oldest_due.total_seconds())
    failures = [((endpoint_id,), float(count)) for endpoint_id, count in status.failures.items()]
    help_text = "Failed posts to an endpoint since the last one that it accepted. Without disabled endpoints."
    yield Gauge("webhook_failures", help_text, ("endpoint",), failures)
    disabled = [((why.value,), float(status.disabled[why])) for why in Disabled]
    yield Gauge("webhook_endpoints_disabled", "Webhook endpoints that are disabled, by reason.", ("reason",), disabled)


def _seals() -> Iterator[Gauge]:
    waiting, oldest = seals.waiting()
    yield _single("events_unsealed", f"Events of the audit trail without a seal, {seals.MOST_COUNTED} at most.", waiting)
    help_text = "Seconds since the oldest event without a seal. A server or worker seals once a minute."
    yield _single("events_unsealed_seconds", help_text, oldest.total_seconds())


def _events(tx: Transaction, settings: Settings, now: datetime) -> Iterator[Gauge]:
    count = select(Event.kind, func.count()).where(Event.at > now - LATELY, Event.at <= now).group_by(Event.kind)
    if settings.test_numbers:
        count = count.where(or_(Event.kind == events.Kind.TEST_NUMBER_USED, not_(test_numbers.is_of_testers())))
    lately: Counter[str] = Counter(dict.fromkeys(events.Kind, 0))  # all kinds, so that an alert can see a value fall to zero
    for kind, total in tx.execute(count):
        lately[kind] = total
    values = [((kind,), float(total)) for kind, total in lately.items()]
    help_text = "Events in the last five minutes by kind, including logins. Of users of test numbers only test-number-used."
    yield Gauge("events_lately", help_text, ("kind",), values)
    yield _single("test_numbers", "Numbers that sign in with a fixed code today.", len(test_numbers.active(settings, now)))


def _codes(tx: Transaction, settings: Settings, now: datetime) -> Iterator[Gauge]:
    requested, entered = _codes_by_country(tx, settings, now)
    yield Gauge("codes_ended", f"The newest {NEWEST} expired codes, by calling code.", ("calling_code",), requested.items())
    help_text = f"Those of the newest {NEWEST} expired codes that were entered. A small share is a sign of text pumping."
    yield Gauge("codes_proved", help_text, ("calling_code",), entered.items())


def _single(name: str, help_text: str, value: float) -> Gauge:
    return Gauge(name, help_text, (), [((), value)])


def _codes_by_country(tx: Transaction, settings: Settings, now: datetime) -> tuple[Counter[tuple[str]], Counter[tuple[str]]]:
    """How many codes were requested, and how many of them were entered, by calling code; without test numbers."""
    began = func.substr(Verification.telephone_number, 2, 3).label("began")
    over = select(began, Verification.consumed_at).where(Verification.expires_at <= now)
    if settings.test_numbers:
        over = over.where(Verification.telephone_number.not_in(settings.test_numbers))
    newest = over.order_by(Verification.expires_at.desc()).limit(NEWEST).subquery()
    count = select(newest.c.began, func.count(), func.count(newest.c.consumed_at)).group_by(newest.c.began)
    requested: Counter[tuple[str]] = Counter()
    entered: Counter[tuple[str]] = Counter()
    for digits, total, consumed in tx.execute(count):
        country = (_calling_code(digits),)
        requested[country] += total
        entered[country] += consumed
    return requested, entered


def _calling_code(digits: str) -> str:
    """The calling code at the beginning of `digits`. No calling code is the beginning of another one."""
    return next((digits[:n] for n in (1, 2, 3) if int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE), digits)
