"""The page about one person, and its older pages of the timeline."""

import json
from functools import partial
from typing import Final

from flask import current_app, render_template, request
from flask.typing import ResponseReturnValue

from hammer import clock
from hammer.admin import sentences
from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.admin.weight import fitting
from hammer.db.pagination import Page
from hammer.factors import staff
from hammer.quotas import guesses, invite_attempts
from hammer.refusals import InvalidFields
from hammer.sessions.sessions import Caller
from hammer.users import overview, timeline
from hammer.users.overview import Person
from hammer.web.settings import settings

ON_FIRST_PAGE: Final = 30
"""Entries of the timeline beside everything else: the whole page stays small."""


@blueprint.get("/people/<user_id>/")
@admin_only()
def person(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Who this is, and what happened. `?before=` shows an older page of the timeline alone."""
    them = overview.person(user_id)

    def draw(most: int) -> str:
        before, entries = _timeline(them, most)
        context: dict[str, object] = {"person": them, "entries": entries, "before": before}
        context |= {"say": sentences, "views": current_app.view_functions, "most_guesses": settings().guesses_per_code}
        if before is None:
            context |= _present(them, min(1, most / ON_FIRST_PAGE)) | {"own_session": caller.session_id}
        return render_template("admin/person.html", **context)

    return fitting(draw, timeline.A_PAGE if request.args.get("before") else ON_FIRST_PAGE)


@blueprint.get("/people/<user_id>/metadata/")
@admin_only()
def metadata(_: Caller, user_id: str) -> ResponseReturnValue:
    """What apps wrote about this person. It may be as large as the whole page of the person."""
    them = overview.person(user_id)
    # A line for each key, and not for each value: deep in many lists that would be a page of its own size.
    written = (f" {_json(key)}: {_json(value)}" for key, value in them.metadata.items())
    return render_template("admin/metadata.html", person=them, metadata="{{\n{}\n}}".format(",\n".join(written)))


def _present(them: Person, share: float) -> dict[str, object]:
    """What the first page shows besides the timeline, and this part of the usual number of referees."""
    number = them.telephone_number
    open_sessions, more_sessions = overview.sessions(them.id)
    return {
        "limits": None if number is None else overview.limits(settings(), them.id, number),
        "most_texts": settings().sends_per_number_day,
        "most_invites": invite_attempts.PER_NUMBER_PER_DAY,
        "ladder_days": guesses.LADDER_DAYS,
        "sessions": open_sessions,
        "more_sessions": more_sessions,
        "known_devices": overview.known_devices(them.id),
        "texts": overview.latest_texts(settings(), them.id, number),
        "referees": overview.referees(them.id, share),
        "factors": staff.factors(them.id) if them.is_staff else None,
        "now": clock.now(),
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _timeline(them: Person, most: int) -> tuple[str | None, Page[timeline.Entry]]:
    """The place that was asked for, and up to this many entries from there; the newest when the place is invalid."""
    before = request.args.get("before")
    read = partial(timeline.read, them.id, them.telephone_number)
    try:
        return before, read(before=before, limit=most)
    except InvalidFields:
        return None, read(limit=min(most, ON_FIRST_PAGE))
