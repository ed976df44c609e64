"""What goes on here, in figures for whoever watches: read from the database, so that they are the same whichever process is asked.

Each costs the same with ten texts and with ten million: of what grows, the newest rows are read.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from config import Settings
from hammer import clock, events
from hammer.db.database import AWAY, Transaction, db
from hammer.models import Event, MessageState, Verification
from hammer.quotas import guesses, texts
from hammer.sms import outbox

LATELY: Final = timedelta(minutes=5)
NEWEST: Final = 1000


@dataclass(frozen=True)
class Figure:
    """One kind of figure: pairs of label values, in the order of `labels`, and how much."""

    name: str
    what: str
    labels: tuple[str, ...]
    values: Collection[tuple[tuple[str, ...], float]]


def look(settings: Settings, *, ready: bool = True) -> list[Figure]:
    """All figures, as they are now; if the database is away, that alone. Some 10 ms; meant for once in some seconds. Whether it is
    `ready` is for the caller to find out."""
    what = "Whether the database answers, takes what is written and is migrated, 1 or 0. What cannot be read in it is missing."
    answers = _single("database_answers", what, float(ready))
    try:
        session, now = db.session(), clock.now()
        return [answers, *_guessing(session, settings, now), *_texts(session, settings, now), *_deeds(session, now)]
    except (DBAPIError, *AWAY):  # without its tables too
        return [replace(answers, values=[((), 0.0)])]


def _guessing(tx: Transaction, settings: Settings, now: datetime) -> Iterator[Figure]:
    budgets = guesses.budgets_used(tx, settings, now)
    used = [((str(length),), float(used)) for length, (used, _) in budgets.items()]
    most = [((str(length),), float(most)) for length, (_, most) in budgets.items()]
    yield Figure(
        "guess_budget_used", "Wrong guesses of today (UTC) that were not returned, by digits of the code.", ("digits",), used
    )
    yield Figure("guess_budget", "Wrong guesses a day that the whole system allows.", ("digits",), most)
    expected = settings.expected_takeovers_per_year
    yield _single("expected_takeovers_per_year", "Accounts that guessing takes over, if all budgets are always spent.", expected)


def _texts(tx: Transaction, settings: Settings, now: datetime) -> Iterator[Figure]:
    system = texts.system_used(tx, settings, now)
    asked = [((span,), float(used)) for span, (used, _) in system.items()]
    most = [((span,), float(most)) for span, (_, most) in system.items()]
    yield Figure("texts_asked", "Texts asked for in the present hour and day (UTC).", ("span",), asked)
    yield Figure("texts_allowed", "Texts that the whole system may send in that time.", ("span",), most)
    status = outbox.status()
    yield _single("texts_waiting", "Texts that wait to leave.", status.waiting)
    yield _single("texts_waiting_seconds", "For how long the oldest of them has waited.", status.oldest_waiting.total_seconds())
    fates = (
        dict.fromkeys(((MessageState.GIVEN_UP, ""), (MessageState.UNNEEDED, ""), (MessageState.WAITING, "")), 0.0) | status.newest
    )
    yield Figure("texts_newest", f"What became of the newest {outbox.COUNTED} texts.", ("state", "gateway"), fates.items())


def _deeds(tx: Transaction, now: datetime) -> Iterator[Figure]:
    count = select(Event.kind, func.count()).where(Event.at > now - LATELY, Event.at <= now).group_by(Event.kind)
    lately: Counter[str] = Counter(dict.fromkeys(events.Kind, 0))  # whoever waits for a figure to fall to nought must find it there
    for kind, many in tx.execute(count):
        lately[kind] = many
    named = [((kind,), float(many)) for kind, many in lately.items()]
    yield Figure("events_lately", "What happened in the last five minutes, logins among it.", ("kind",), named)
    of = f"Of the newest {NEWEST} codes whose time is over"
    asked, proved = _codes_by_country(tx, now)
    yield Figure("codes_ended", f"{of}: all of them.", ("calling_code",), asked.items())
    yield Figure(
        "codes_proved", f"{of}: those that were entered. Few of many is how text pumping looks.", ("calling_code",), proved.items()
    )


def _single(name: str, what: str, value: float) -> Figure:
    return Figure(name, what, (), [((), value)])


def _codes_by_country(tx: Transaction, now: datetime) -> tuple[Counter[tuple[str]], Counter[tuple[str]]]:
    """How many codes were asked for, and how many entered, by calling code."""
    began = func.substr(Verification.telephone_number, 2, 3).label("began")
    over = select(began, Verification.consumed_at).where(Verification.expires_at <= now)
    newest = over.order_by(Verification.expires_at.desc()).limit(NEWEST).subquery()
    count = select(newest.c.began, func.count(), func.count(newest.c.consumed_at)).group_by(newest.c.began)
    asked: Counter[tuple[str]] = Counter()
    proved: Counter[tuple[str]] = Counter()
    for digits, all_of_them, consumed in tx.execute(count):
        country = (_calling_code(digits),)
        asked[country] += all_of_them
        proved[country] += consumed
    return asked, proved


def _calling_code(digits: str) -> str:
    """None of them begins with another."""
    return next((digits[:n] for n in (1, 2, 3) if int(digits[:n]) in COUNTRY_CODE_TO_REGION_CODE), digits)
