"""Gauges for /metrics: the figures of `figures` under the names of Prometheus. Every process reports the same values."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlalchemy.exc import DBAPIError

from config import Settings
from hammer.db.database import AWAY
from hammer.models import Disabled, MessageState
from hammer.operations import figures, readiness, seals
from hammer.operations.figures import NEWEST, Figures
from hammer.sms import outbox
from hammer.webhooks.status import MOST_COUNTED


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
        seen = figures.read(settings)
        ahead = readiness.clock_ahead()
    except (DBAPIError, *AWAY):  # also when tables are missing
        return [replace(answers, values=[((), 0.0)])]
    return [
        answers,
        _single("clock_ahead_seconds", "How far the clock of this machine is ahead of the database's.", ahead.total_seconds()),
        *_guessing(seen),
        *_texts(seen),
        *_logout_notices(seen),
        *_webhooks(seen),
        *_seals(seen),
        *_events(seen),
        *_codes(seen),
    ]


def _guessing(seen: Figures) -> Iterator[Gauge]:
    used = {str(length): used for length, (used, _) in seen.guesses.items()}
    most = {str(length): most for length, (_, most) in seen.guesses.items()}
    help_text = "Wrong guesses today (UTC), by length of the code, without those that were given back."
    yield _by("guess_budget_used", help_text, "digits", used)
    yield _by("guess_budget", "Wrong guesses per day that the whole system allows, by length of the code.", "digits", most)
    help_text = "Accounts per year that guessing would take over if all budgets were always used up."
    yield _single("expected_takeovers_per_year", help_text, seen.expected_takeovers_per_year)


def _texts(seen: Figures) -> Iterator[Gauge]:
    asked = {span: used for span, (used, _) in seen.texts.items()}
    most = {span: most for span, (_, most) in seen.texts.items()}
    yield _by("texts_asked", "Texts requested in the present hour and day (UTC).", "span", asked)
    yield _by("texts_allowed", "Texts that the whole system may send in an hour and a day.", "span", most)
    status = seen.outbox
    yield _single("texts_waiting", "Texts that wait to be sent.", status.waiting)
    yield _single(
        "texts_waiting_seconds", "Seconds that the oldest waiting text has waited.", status.oldest_waiting.total_seconds()
    )
    by_state = (
        dict.fromkeys(((MessageState.GIVEN_UP, ""), (MessageState.UNNEEDED, ""), (MessageState.WAITING, "")), 0.0) | status.newest
    )
    yield Gauge("texts_newest", f"The newest {outbox.COUNTED} texts by state and gateway.", ("state", "gateway"), by_state.items())


def _logout_notices(seen: Figures) -> Iterator[Gauge]:
    yield _single("logout_notices_waiting", "Notices that wait to be posted to apps.", seen.notices.waiting)
    help_text = "Seconds that the oldest waiting notice has waited, also for its next try."
    yield _single("logout_notices_waiting_seconds", help_text, seen.notices.oldest_waiting.total_seconds())


def _webhooks(seen: Figures) -> Iterator[Gauge]:
    status = seen.webhooks
    most = f"of deliveries and of unpublished events {MOST_COUNTED} each at most"
    help_text = f"Posts to webhook endpoints that wait, also for their next try; {most}."
    yield _single("webhook_deliveries_waiting", help_text, status.waiting)
    help_text = "Seconds that the first post in line has been due, also while its endpoint is paused after a failure."
    yield _single("webhook_deliveries_waiting_seconds", help_text, status.oldest_due.total_seconds())
    help_text = "Failed posts to an endpoint since the last one that it accepted. Without disabled endpoints."
    yield _by("webhook_failures", help_text, "endpoint", status.failures)
    disabled = {why.value: status.disabled[why] for why in Disabled}
    yield _by("webhook_endpoints_disabled", "Webhook endpoints that are disabled, by reason.", "reason", disabled)


def _seals(seen: Figures) -> Iterator[Gauge]:
    waiting, oldest = seen.unsealed
    yield _single("events_unsealed", f"Events of the audit trail without a seal, {seals.MOST_COUNTED} at most.", waiting)
    help_text = "Seconds since the oldest event without a seal. A server or worker seals once a minute."
    yield _single("events_unsealed_seconds", help_text, oldest.total_seconds())


def _events(seen: Figures) -> Iterator[Gauge]:
    help_text = "Events in the last five minutes by kind, including logins. Of users of test numbers only test-number-used."
    yield _by("events_lately", help_text, "kind", seen.lately)
    yield _single("test_numbers", "Numbers that sign in with a fixed code today.", seen.test_numbers)


def _codes(seen: Figures) -> Iterator[Gauge]:
    yield _by("codes_ended", f"The newest {NEWEST} expired codes, by calling code.", "calling_code", seen.codes_ended)
    help_text = f"Those of the newest {NEWEST} expired codes that were entered. A small share is a sign of text pumping."
    yield _by("codes_proved", help_text, "calling_code", seen.codes_proved)


def _single(name: str, help_text: str, value: float) -> Gauge:
    return Gauge(name, help_text, (), [((), value)])


def _by(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Gauge:
    return Gauge(name, help_text, (label,), [((each,), float(value)) for each, value in values.items()])
