"""The page of the audit trail: what happened, and how far it is sealed."""

from datetime import date
from typing import Any, Final

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue

from hammer import codes
from hammer.admin import forms, sentences
from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.admin.weight import fitting
from hammer.operations import seals, trail
from hammer.refusals import N_, InvalidFields
from hammer.sessions.sessions import Caller
from hammer.web.pages.frame import refused

FIELDS: Final = ("by_staff", "kind", "person", "client", "since", "until")
LONGEST_ID: Final = 18
"""Digits of an id that a database can compare."""
NOT_A_DAY: Final = N_("Enter a date, like 2026-11-30.")
NOT_A_KIND: Final = N_("Choose one of these.")
NOT_AN_ID: Final = N_("Enter the id of a person: it is on their page.")
NOT_AN_APP: Final = N_("Enter the id of an app: it is on its page.")
TEMPLATE: Final = "admin/audit.html"


@blueprint.get("/audit/")
@admin_only()
def audit(_: Caller) -> ResponseReturnValue:
    """What happened, newest first, as the fields in the address ask. `?before=` shows an older page."""
    form = forms.Audit()
    asked = {name: request.args.get(name, "").strip() for name in FIELDS}
    for name, value in asked.items():
        form[name].data = value
    context: dict[str, Any] = {"say": sentences, "seals": seals, "sealed": seals.status(), "asked": any(asked.values())}
    try:
        filters = _filters(asked)
    except InvalidFields as refusal:
        return refused(refusal, form, TEMPLATE, **context)
    kept = {name: value for name, value in asked.items() if value}

    def draw(most: int) -> str:
        page = trail.read(filters, _before(), most)
        older = url_for("admin.audit", **kept, before=page.after) if page.after else ""  # type: ignore[arg-type]
        return render_template(TEMPLATE, form=form, entries=page.items, older=older, **context)

    return fitting(draw, trail.A_PAGE)


def _filters(asked: dict[str, str]) -> trail.Filters:
    """Refuses with `InvalidFields`."""
    errors, days = {}, {}
    for name in ("since", "until"):
        try:
            days[name] = date.fromisoformat(asked[name]) if asked[name] else None
        except ValueError:
            errors[name] = [NOT_A_DAY]
    if asked["kind"] and asked["kind"] not in sentences.EVENTS:
        errors["kind"] = [NOT_A_KIND]
    if asked["person"] and not codes.is_id(asked["person"]):
        errors["person"] = [NOT_AN_ID]
    if asked["client"] and not codes.is_id(asked["client"]):
        errors["client"] = [NOT_AN_APP]
    if errors:
        raise InvalidFields(errors)
    kind, person, client = (asked[name] or None for name in ("kind", "person", "client"))
    return trail.Filters(bool(asked["by_staff"]), kind, person, days["since"], days["until"], client)


def _before() -> int | None:
    """Where the page begins; None, for the newest page, also for what no page has as its link."""
    before = request.args.get("before", "")
    return int(before) if before.isascii() and before.isdigit() and len(before) <= LONGEST_ID else None
