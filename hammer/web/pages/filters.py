"""How pages write numbers, codes, moments and waits, and what they say about a refusal. All of it in the visitor's language."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from babel.dates import format_skeleton
from flask_babel import format_date, format_timedelta, get_locale, gettext, ngettext
from markupsafe import Markup, escape

from hammer import clock
from hammer.parsing import phones
from hammer.refusals import Refusal, RetryLater, WrongCode
from hammer.web.languages import say

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def grouped(invite_code: str) -> str:
    """In two groups, as on a ticket: `Q9U K59`. The space does not break."""
    return f"{invite_code[:3]}\N{NO-BREAK SPACE}{invite_code[3:]}"


def phone(e164: str) -> str:
    """As people read it: `+7 929 828-43-01`, which breaks before its last group if at all. A masked one stays as it is."""
    before, space, last = (e164 if "·" in e164 else phones.pretty(e164)).rpartition(" ")
    return before.replace(" ", "\N{NO-BREAK SPACE}") + space + last.replace("-", "\N{NON-BREAKING HYPHEN}")


def unbroken(sentence: str) -> str:
    """The sentence, any number in it on one line."""
    return re.sub(r"\+\d[\d -]+\d", lambda number: phone(number[0]), sentence)


def country(e164: str) -> str:
    """Whose number it is: `Russia`; empty where it is no country's."""
    locale = get_locale()
    return str(locale.territories.get(phones.country(e164), "")) if locale else ""


def moment(then: datetime) -> Markup:
    """`5 minutes ago` within a day, else `November 23`, with the year when it is another one. Needs no time zone to be true; a
    script that knows the reader's makes `yesterday at 14:05` of it."""
    return Markup('<time datetime="{}">{}</time>').format(then.isoformat(timespec="seconds"), _moment(then))


def minute(then: datetime) -> Markup:
    """The same with the hour, where one day may have several: `November 23 at 14:05 UTC`."""
    hour = f"{then.astimezone(UTC):%H:%M} UTC"
    told = _moment(then) if clock.now() - then < DAY else gettext("%(day)s at %(time)s", day=_moment(then), time=hour)
    return Markup('<time datetime="{}" data-minute>{}</time>').format(then.isoformat(timespec="seconds"), told)


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
    """`Nov 23`: short, for the axis of a picture."""
    return str(format_skeleton("MMMd", then, locale=get_locale())).replace(" ", "\N{NO-BREAK SPACE}")


def wait(seconds: int) -> str:
    """`in 48 seconds`, `in 12 days`, on one line: whole units, rounded up, so that whoever waits as long is not too early."""
    span, unit = _span(seconds)
    return _in(-(-span // unit) * unit, unit)


def remaining(seconds: int) -> str:
    """The same, rounded down, so that a person who comes within it is not too late."""
    span, unit = _span(seconds)
    return _in(span // unit * unit, unit)


def _span(seconds: int) -> tuple[timedelta, timedelta]:
    """The span, and the largest unit that is shorter."""
    span = timedelta(seconds=seconds)
    return span, next((unit for unit in (DAY, HOUR, MINUTE) if span > unit), timedelta(seconds=1))


def _in(span: timedelta, unit: timedelta) -> str:
    # Of weeks and months only those would be told that are nearest.
    largest = {"granularity": "day", "threshold": 5} if unit == DAY else {"threshold": 1}
    return str(format_timedelta(span, add_direction=True, **largest)).replace(" ", "\N{NO-BREAK SPACE}")


def counted(seconds: int) -> Markup:
    """The same, and a script counts it down: `in 0:48`, and `now` in the end. Nobody watches for days."""
    if seconds > DAY.total_seconds():
        return escape(wait(seconds))
    span = Markup('<span data-wait="{}" data-waiting="{}" data-ready="{}">{}</span>')
    return span.format(seconds, gettext("in %(time)s", time="0:00"), gettext("now"), wait(seconds))


def again(seconds: int) -> Markup:
    """When the person can try again."""
    return Markup(gettext("You can try again %(wait)s.")) % {"wait": counted(seconds)}  # noqa: S704  # our own sentence


def told(refusal: Refusal) -> str:
    """The refusal's sentence, and what its numbers mean for the person."""
    sentences = [say(refusal)]
    if isinstance(refusal, RetryLater):
        sentences.append(again(refusal.retry_after))
    if isinstance(refusal, WrongCode) and refusal.attempts_left:
        sentences.append(ngettext("%(num)d try left.", "%(num)d tries left.", refusal.attempts_left))
    return Markup(" ").join(sentences)


def strong(words: str) -> Markup:
    """Set apart, within a translated sentence."""
    return Markup("<strong>{}</strong>").format(words)


def code(characters: str) -> Markup:
    """Set as characters to compare one by one, within a translated sentence."""
    return Markup("<code>{}</code>").format(characters)


FILTERS: dict[str, Callable[..., str]] = {
    "code": code,
    "country": country,
    "day": day,
    "grouped": grouped,
    "minute": minute,
    "moment": moment,
    "phone": phone,
    "remaining": remaining,
    "strong": strong,
    "wait": wait,
}
