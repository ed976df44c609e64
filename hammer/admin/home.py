"""The first of the operator's pages: the service at a glance."""

import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from flask import current_app, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer import clock
from hammer.admin import forms
from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.admin.concerns import concerns, fates
from hammer.events import Kind
from hammer.models import MessageState
from hammer.operations import glance
from hammer.operations.daily import Day
from hammer.operations.glance import Glance
from hammer.refusals import N_
from hammer.sessions.keys import Key, Purpose
from hammer.sessions.sessions import Caller
from hammer.web import request_limits
from hammer.web.pages import pictures
from hammer.web.pages.filters import moment
from hammer.web.pages.pictures import Bars
from hammer.web.settings import settings

PLOTS: Final = (
    (N_("Logins"), (Kind.SIGNED_IN, Kind.SIGNED_UP)),
    (N_("New people"), (Kind.SIGNED_UP, Kind.USER_CREATED)),
    (N_("Activations"), (Kind.INVITE_ACTIVATED,)),
    (N_("Codes sent"), (Kind.CODE_SENT,)),
)
"""Name of a figure -> the kinds of events that it counts."""
FATES: Final = {
    MessageState.DELIVERED: N_("delivered"),
    MessageState.SENT: N_("sent"),
    MessageState.WAITING: N_("waiting"),
    MessageState.UNNEEDED: N_("not needed"),
    MessageState.FAILED: N_("did not arrive"),
    MessageState.GIVEN_UP: N_("taken by no gateway"),
}
KEY_PURPOSES: Final = {Purpose.ACCESS: N_("access tokens"), Purpose.ID: N_("id tokens")}


@dataclass(frozen=True)
class Plot:
    """One figure of the last days."""

    name: str
    days: list[tuple[Day, int | None]]
    """Each day, and how many; None for a past day that is not counted completely yet."""
    bars: Bars

    @property
    def today(self) -> int:
        return self.days[-1][1] or 0

    @property
    def yesterday(self) -> int | None:
        return self.days[-2][1]


@blueprint.get("/")
@admin_only()
def home(_: Caller) -> ResponseReturnValue:
    """The service at a glance."""
    seen, redis_answers = glance.read(settings()), request_limits.redis_answers()
    newest = fates(seen)
    return render_template(
        "admin/home.html",
        form=forms.People(),
        concerns=concerns(seen, redis_answers=redis_answers),
        figures=seen.figures,
        plots=[_plot(name, kinds, seen.days) for name, kinds in PLOTS],
        uncounted=not all(day.complete for day in seen.days),
        fates=[(name, newest[state], state) for state, name in FATES.items() if newest[state]],
        by_gateway=[(gateway, FATES[MessageState(state)], count) for (state, gateway), count in _sorted(seen)],
        keys=list(trusted(seen.keys)),
        key_names=KEY_PURPOSES,
        installed=_installed(seen, redis_answers=redis_answers),
        now=clock.now(),
    )


def _plot(name: str, kinds: tuple[Kind, ...], days: list[Day]) -> Plot:
    counts = [(day, sum(day.counts[kind] for kind in kinds) if day.complete else None) for day in days]
    return Plot(name, counts, pictures.bars([count for _, count in counts]))


def _sorted(seen: Glance) -> list[tuple[tuple[str, str], int]]:
    return sorted(seen.figures.outbox.newest.items(), key=lambda each: (each[0][1], each[0][0]))


def trusted(keys: Iterable[Key]) -> Iterator[tuple[Key, bool]]:
    """The keys that are trusted, each with whether it signs now: the next one to retire of its purpose and algorithm."""
    now, signing = clock.now(), set[tuple[Purpose, str]]()
    for key in keys:
        if not key.is_trusted(now):
            continue
        of = key.purpose, key.algorithm
        signs = key.ends > now and of not in signing
        if signs:
            signing.add(of)
        yield key, signs


def _installed(seen: Glance, *, redis_answers: bool | None) -> list[tuple[str, str]]:
    """What runs here, in pairs of a name and a value."""
    ours, threads = settings(), settings().sms_threads
    redis = {None: gettext("not used"), True: gettext("answers"), False: gettext("away or slow")}
    last = seen.figures.outbox.last_ended
    return [
        ("Hammer", current_app.config["VERSION"]),
        ("Python", platform.python_version()),
        (gettext("Database"), seen.database),
        (gettext("Tables"), gettext("step %(step)s", step=seen.migration)),
        ("Redis", redis[redis_answers]),
        (gettext("Mode"), ours.env),
        (gettext("Texts are sent by"), gettext("this server, %(count)d at once", count=threads) if threads else gettext("workers")),
        (gettext("Last text"), moment(last) if last else gettext("none recently")),
        (gettext("Test numbers today"), str(seen.figures.test_numbers)),
    ]
