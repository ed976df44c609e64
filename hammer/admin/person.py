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
    before, entries = _timeline(them)
    context: dict[str, object] = {"person": them, "entries": entries, "before": before}
    context |= {"say": sentences, "views": current_app.view_functions, "most_guesses": settings().guesses_per_code}
    if before is None:
        context |= _present(them) | {"own_session": caller.session_id}
    return render_template("admin/person.html", **context)


def _present(them: Person) -> dict[str, object]:
    """What the first page shows besides the timeline."""
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
        "texts": overview.latest_texts(them.id, number),
        "referees": overview.referees(them.id),
        "factors": staff.factors(them.id) if them.is_staff else None,
        "metadata": json.dumps(them.metadata, ensure_ascii=False, indent=2),
        "now": clock.now(),
    }


def _timeline(them: Person) -> tuple[str | None, Page[timeline.Entry]]:
    """The place that was asked for, and the entries from there; the newest when the place is invalid."""
    before = request.args.get("before")
    read = partial(timeline.read, them.id, them.telephone_number)
    try:
        return before, read(before=before, limit=timeline.A_PAGE if before else ON_FIRST_PAGE)
    except InvalidFields:
        return None, read(limit=ON_FIRST_PAGE)
