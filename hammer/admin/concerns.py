"""What needs the operator's attention, in words, and what to do about it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flask import url_for
from flask_babel import format_percent, gettext, ngettext

from hammer.events import Kind
from hammer.models import Disabled, MessageState
from hammer.operations import readiness, seals
from hammer.operations.doctor import WAITS_LONG
from hammer.operations.glance import Endpoint, Glance
from hammer.web.pages.filters import day, span

MANY_GUESSES: Final = 0.5
"""The part of a budget of wrong guesses from which guessing is a concern. Those of people who then succeed are given back."""
NEARLY: Final = 0.8
"""The part of the system's texts from which they are a concern."""
MANY_FAILED: Final = 0.05
"""The part of the newest texts from which failures are a concern: some telephones are always switched off."""
FEW_ENTERED: Final = 0.2
"""The part of a country's codes below which too few of them are entered."""
ENOUGH_CODES: Final = 20
"""From how many codes on that part says anything."""
FAILURES: Final = 3
"""Failed posts in a row from which a webhook endpoint is a concern: a restart of its app takes one or two."""


@dataclass(frozen=True)
class Concern:
    what: str
    remedy: str
    page: str = ""
    """The address of the page to which the remedy leads."""


def concerns(seen: Glance, *, redis_answers: bool | None) -> list[Concern]:
    """What needs attention, the most urgent first; empty when all is well.

    :param redis_answers: None where there is no Redis.
    """
    failing = [each for each in seen.endpoints if each.disabled_for or each.failures >= FAILURES]
    return [
        *_queues(seen),
        *_guesses(seen),
        *_texts(seen),
        *_codes(seen),
        *map(_endpoint, failing),
        *_upkeep(seen, redis_answers=redis_answers),
    ]


def _queues(seen: Glance) -> Iterator[Concern]:
    worker = gettext("Start a server or %(command)s; if one is running, look at its log.", command="flask --app wsgi worker")
    texts, notices, posts = seen.figures.outbox, seen.figures.notices, seen.figures.webhooks
    if texts.oldest_waiting > WAITS_LONG:
        time = span(texts.oldest_waiting)
        what = ngettext(
            "%(num)d text waits for %(time)s.",
            "%(num)d texts wait, the first one for %(time)s.",
            texts.waiting,
            time=time,
        )
        yield Concern(what, worker)
    if notices.overdue > WAITS_LONG:
        yield Concern(gettext("Logout notices are late by %(time)s.", time=span(notices.overdue)), worker)
    if posts.overdue > WAITS_LONG:
        yield Concern(gettext("Webhook posts are late by %(time)s.", time=span(posts.overdue)), worker)
    if seen.figures.unsealed[1] > seals.STANDS_STILL:
        time = span(seen.figures.unsealed[1])
        yield Concern(gettext("The audit trail has not been sealed for %(time)s.", time=time), worker)


def _guesses(seen: Glance) -> Iterator[Concern]:
    meanwhile = gettext("New codes get longer by themselves until midnight (UTC).")
    page = url_for("admin.audit", kind=Kind.GUESSES_SPENT)
    for digits, (used, most) in seen.figures.guesses.items():
        if most and used >= most * MANY_GUESSES:
            what = gettext(
                "Codes of %(digits)d digits are being guessed: %(used)d of %(most)d wrong guesses a day are used.",
                digits=digits,
                used=used,
                most=most,
            )
            yield Concern(f"{what} {meanwhile}", gettext("See when codes became void"), page)


def _texts(seen: Glance) -> Iterator[Concern]:
    sentences = {
        "hour": gettext("%(used)d of %(most)d texts of this hour are used."),
        "day": gettext("%(used)d of %(most)d texts of this day are used."),
    }
    for period, (used, most) in seen.figures.texts.items():
        if used >= most * NEARLY:
            remedy = gettext("Unless this is an attack, raise %(setting)s.", setting="HAMMER_SENDS_PER_HOUR")
            yield Concern(sentences[period] % {"used": used, "most": most}, remedy)
    newest = fates(seen)
    remedy = gettext("See which ones: %(command)s", command="flask --app wsgi texts list")
    if given_up := newest[MessageState.GIVEN_UP]:
        what = ngettext("No gateway took %(num)d text.", "No gateway took %(num)d texts.", given_up)
        yield Concern(what, remedy)
    failed = newest[MessageState.FAILED]
    if failed > newest.total() * MANY_FAILED:
        what = ngettext("%(num)d text did not arrive.", "%(num)d texts did not arrive.", failed)
        yield Concern(what, remedy)


def fates(seen: Glance) -> Counter[str]:
    """`MessageState` -> how many of the newest texts."""
    counts: Counter[str] = Counter()
    for (state, _), count in seen.figures.outbox.newest.items():
        counts[state] += count
    return counts


def _codes(seen: Glance) -> Iterator[Concern]:
    remedy = gettext("Such texts may be bought by an attacker. Limit the countries: %(setting)s.", setting="HAMMER_REGIONS")
    for code, ended in seen.figures.codes_ended.items():
        proved = seen.figures.codes_proved[code]
        if ended >= ENOUGH_CODES and proved < ended * FEW_ENTERED:
            share = format_percent(proved / ended)
            yield Concern(gettext("Of the codes to +%(code)s only %(share)s are entered.", code=code, share=share), remedy)


def _endpoint(endpoint: Endpoint) -> Concern:
    if endpoint.disabled_for == Disabled.GONE:
        what = gettext("The webhook endpoint at %(host)s is disabled: it answered that it is gone.", host=endpoint.host)
    elif endpoint.disabled_for:
        what = gettext("The webhook endpoint at %(host)s is disabled: it accepted nothing for days.", host=endpoint.host)
    else:
        what = ngettext(
            "The webhook endpoint at %(host)s failed %(num)d time in a row.",
            "The webhook endpoint at %(host)s failed %(num)d times in a row.",
            endpoint.failures,
            host=endpoint.host,
        )
    return Concern(what, gettext("See why"), url_for("admin.webhook", endpoint_id=endpoint.id))


def _upkeep(seen: Glance, *, redis_answers: bool | None) -> Iterator[Concern]:
    if redis_answers is False:
        remedy = gettext("Start it. Until then each process counts requests by itself.")
        yield Concern(gettext("Redis is away or slow."), remedy)
    if seen.migration != readiness.NEWEST_MIGRATION:
        what = gettext(
            "The tables are at step %(step)s, and this program needs %(newest)s.",
            step=seen.migration,
            newest=readiness.NEWEST_MIGRATION,
        )
        yield Concern(what, gettext("Run %(command)s, or start the newer program.", command="flask --app wsgi db upgrade"))
    if seen.unpruned_since:
        what = gettext("Codes of %(day)s are not deleted yet.", day=day(seen.unpruned_since))
        yield Concern(what, gettext("Run %(command)s every hour.", command="flask --app wsgi prune"))
