"""How pages write numbers, codes, moments and waits, and what they say about a refusal. All of it in the visitor's language."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask_babel import format_date, format_timedelta, gettext, ngettext
from markupsafe import Markup

from hammer import clock, phones
from hammer.languages import say
from hammer.refusals import Refusal, Wait, WrongCode

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def grouped(invite_code: str) -> str:
    """In two groups, as on a ticket: `Q9U K59`. The space does not break."""
    return f"{invite_code[:3]}\N{NO-BREAK SPACE}{invite_code[3:]}"


def phone(e164: str) -> str:
    """As people read it, on one line: `+7 929 828-43-01`."""
    return phones.pretty(e164).replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def moment(then: datetime) -> str:
    """`5 minutes ago` within a day, else `23 November`, with the year when it is another one. Needs no time zone to be true."""
    passed = clock.now() - then
    if passed < MINUTE:
        return str(gettext("just now"))
    if passed < DAY:
        return str(format_timedelta(-passed, add_direction=True, threshold=1, granularity="minute"))
    pattern = "d MMMM" if then.astimezone(UTC).year == clock.now().year else "d MMMM y"
    return str(format_date(then, pattern))


def day(then: datetime) -> str:
    """`23 Nov`: short, for the axis of a picture."""
    return str(format_date(then, "d MMM"))


def wait(seconds: int) -> str:
    """`in 48 seconds`, `in 5 minutes`, on one line: whole units, rounded up, so that whoever waits as long is not too early."""
    span = timedelta(seconds=seconds)
    unit = next((unit for unit in (HOUR, MINUTE) if span > unit), timedelta(seconds=1))
    return str(format_timedelta(-(-span // unit) * unit, add_direction=True, threshold=1)).replace(" ", "\N{NO-BREAK SPACE}")


def told(refusal: Refusal) -> str:
    """The refusal's sentence, and what its numbers mean for the person."""
    sentences = [say(refusal)]
    if isinstance(refusal, Wait):
        sentences.append(gettext("You can try again %(wait)s.", wait=wait(refusal.retry_after)))
    if isinstance(refusal, WrongCode) and refusal.attempts_left:
        sentences.append(ngettext("%(num)d try left.", "%(num)d tries left.", refusal.attempts_left))
    return " ".join(sentences)


def strong(words: str) -> Markup:
    """Set apart, within a translated sentence."""
    return Markup("<strong>{}</strong>").format(words)


def code(characters: str) -> Markup:
    """Set as characters to compare one by one, within a translated sentence."""
    return Markup("<code>{}</code>").format(characters)


filters: dict[str, Callable[..., str]] = {
    "code": code,
    "day": day,
    "grouped": grouped,
    "moment": moment,
    "phone": phone,
    "strong": strong,
    "wait": wait,
}
