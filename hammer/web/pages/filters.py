"""How pages write numbers, codes, moments, waits and refusals, in the visitor's language."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from babel.dates import format_skeleton
from flask_babel import format_date, format_timedelta, get_locale, gettext, ngettext
from markupsafe import Markup, escape

from hammer import clock
from hammer.parsing import phones
from hammer.refusals import Refusal, RegionNotServed, RetryLater, WrongCode
from hammer.web.languages import say
from hammer.web.settings import settings

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def grouped(invite_code: str) -> str:
    """An invite code in two groups, as on the ticket: `Q9U K59`. The line does not break between them."""
    return f"{invite_code[:3]}\N{NO-BREAK SPACE}{invite_code[3:]}"


def phone(e164: str) -> str:
    """A number as people write it: `+7 929 828-43-01`. A line can break only before its last group. A masked one stays as it is."""
    before, space, last = (e164 if "·" in e164 else phones.pretty(e164)).rpartition(" ")
    return before.replace(" ", "\N{NO-BREAK SPACE}") + space + last.replace("-", "\N{NON-BREAKING HYPHEN}")


def masked(e164: str) -> str:
    """A number without its middle, for pages where its owner only has to recognise it: `+7 929 ···-43-01`."""
    written = phone(phones.pretty(e164))
    places = [place for place, character in enumerate(written) if character.isdecimal()]
    return "".join("·" if place in places[4:-4] else character for place, character in enumerate(written))


def last_four(e164: str) -> str:
    """A number with its country code and last four digits alone, for the operator's pages: `+7 ··· ···-43-01`."""
    return phone(phones.last_four(e164))


def unbroken(sentence: str) -> str:
    """The sentence, with each telephone number in it kept on one line."""
    return re.sub(r"\+\d[\d -]+\d", lambda number: phone(number[0]), sentence)


def country(e164: str) -> str:
    """The country of the number: `Russia`; empty when it belongs to none."""
    locale = get_locale()
    return str(locale.territories.get(phones.country(e164), "")) if locale else ""


def moment(then: datetime) -> Markup:
    """`5 minutes ago` within a day, else `November 23`, with the year when it is not this one. True in every time zone.

    A script that knows the reader's time zone replaces it by `yesterday at 14:05`.
    """
    return Markup('<time datetime="{}">{}</time>').format(then.isoformat(timespec="seconds"), _moment(then))


def minute(then: datetime) -> Markup:
    """Like `moment`, with the hour, for lists that have several entries a day: `November 23 at 14:05 UTC`."""
    hour = f"{then.astimezone(UTC):%H:%M} UTC"
    written = _moment(then) if clock.now() - then < DAY else gettext("%(day)s at %(time)s", day=_moment(then), time=hour)
    return Markup('<time datetime="{}" data-minute>{}</time>').format(then.isoformat(timespec="seconds"), written)


def _moment(then: datetime) -> str:
    passed = clock.now() - then
    if passed < MINUTE:
        return str(gettext("just now"))
    if passed < DAY:
        return str(format_timedelta(-passed, add_direction=True, threshold=1, granularity="minute"))
    if then.astimezone(UTC).year != clock.now().year:
        return str(format_date(then, "long"))
    return str(format_skeleton("MMMMd", then, locale=get_locale()))


def day(then: datetime) -> str:
    """A short date, `Nov 23`, for the axis of a picture."""
    return str(format_skeleton("MMMd", then, locale=get_locale())).replace(" ", "\N{NO-BREAK SPACE}")


def wait(seconds: int) -> str:
    """`in 48 seconds`, `in 12 days`, on one line. Rounded up to whole units: a person who waits that long is not too early."""
    span, unit = _span(seconds)
    return _in(-(-span // unit) * unit, unit)


def remaining(seconds: int) -> str:
    """Like `wait`, rounded down: a person who acts within that time is not too late."""
    span, unit = _span(seconds)
    return _in(span // unit * unit, unit)


def _span(seconds: int) -> tuple[timedelta, timedelta]:
    """The span, and the largest unit that is shorter than it."""
    span = timedelta(seconds=seconds)
    return span, next((unit for unit in (DAY, HOUR, MINUTE) if span > unit), timedelta(seconds=1))


def _in(span: timedelta, unit: timedelta) -> str:
    # Babel would round a span of weeks or months to the nearest one.
    largest = {"granularity": "day", "threshold": 5} if unit == DAY else {"threshold": 1}
    return str(format_timedelta(span, add_direction=True, **largest)).replace(" ", "\N{NO-BREAK SPACE}")


def span(length: timedelta) -> str:
    """`12 minutes`, `3 days`: a time that has passed, in its largest unit."""
    return str(format_timedelta(length, threshold=1)).replace(" ", "\N{NO-BREAK SPACE}")


def exactly(length: timedelta) -> str:
    """`24 hours`, `90 days`: a time that is set, in whole hours up to a day, else in whole days."""
    unit = "hour" if length <= DAY else "day"
    # Babel would round 30 days to a month.
    return str(format_timedelta(length, granularity=unit, threshold=sys.maxsize)).replace(" ", "\N{NO-BREAK SPACE}")


def countdown(seconds: int) -> Markup:
    """Like `wait`, and a script counts it down: `in 0:48`, and `now` at the end. Waits longer than a day are not counted down."""
    if seconds > DAY.total_seconds():
        return escape(wait(seconds))
    span = Markup('<span data-wait="{}" data-waiting="{}" data-ready="{}">{}</span>')
    return span.format(seconds, gettext("in %(time)s", time="0:00"), gettext("now"), wait(seconds))


def retry(seconds: int) -> Markup:
    """The sentence that says when the person can try again."""
    return Markup(gettext("You can try again %(wait)s.")) % {"wait": countdown(seconds)}  # noqa: S704  # our own sentence


def explained(refusal: Refusal) -> str:
    """The refusal's sentence, with how long to wait or how many guesses are left."""
    sentences = [say(refusal)]
    if isinstance(refusal, RetryLater):
        sentences.append(retry(refusal.retry_after))
    if isinstance(refusal, WrongCode) and refusal.attempts_left:
        sentences.append(ngettext("%(num)d try left.", "%(num)d tries left.", refusal.attempts_left))
    if settings().support and isinstance(refusal, RegionNotServed):  # only the operator can help
        sentences.append(Markup('<a href="{}">{}</a>').format(settings().support, gettext("Write to us")))
    return Markup(" ").join(sentences)


def strong(text: str) -> Markup:
    """The text in bold, within a translated sentence."""
    return Markup("<strong>{}</strong>").format(text)


def code(characters: str) -> Markup:
    """The characters in a fixed-width font, to compare one by one, within a translated sentence."""
    return Markup("<code>{}</code>").format(characters)


FILTERS: dict[str, Callable[..., str]] = {
    "code": code,
    "country": country,
    "day": day,
    "exactly": exactly,
    "grouped": grouped,
    "last_four": last_four,
    "masked": masked,
    "minute": minute,
    "moment": moment,
    "phone": phone,
    "remaining": remaining,
    "span": span,
    "strong": strong,
    "wait": wait,
}
