"""The list of people, found by what a caller says of them, and the page that shows a number.

What is searched for can be a name, which no address may contain. So the form is sent by POST: it leads straight to the person who
is meant, or keeps the text in the signed cookie and leads to the list, whose address names the text by a random id.
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Final, cast

from flask import redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from hammer import clock, codes
from hammer.admin import forms, sentences
from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.admin.weight import fitting
from hammer.parsing import phones
from hammer.refusals import N_, InvalidFields, NotFound, TooManyRequests
from hammer.sessions.sessions import Caller
from hammer.users import oversight, overview, people, search
from hammer.web.pages.frame import refused, shows_only
from hammer.web.settings import settings

SEARCHES: Final = "searches"
"""The key in the signed cookie of the newest texts that were searched for: id -> text."""
MOST_SEARCHES: Final = 3
SHOWN: Final = {
    search.Only.EVERYONE: N_("everyone"),
    search.Only.STAFF: N_("staff"),
    search.Only.BLOCKED: N_("blocked people"),
    search.Only.DELETED: N_("deleted people"),
}
TOGETHER: Final = {
    "block": N_("Block"),
    "unblock": N_("Unblock"),
    "sign-out": N_("Sign out everywhere"),
    "delete": N_("Delete for ever"),
}
"""What can be done to several people at once (`admin.bulk`), and its button."""
FIELDS: Final = ("only", "joined_from", "joined_to", "invited_by", "search", "after")
"""The fields in the address of the list."""
LONGEST_VALUE: Final = 24
"""Characters of the longest of them that can be valid."""
CHOOSE: Final = N_("Choose one of these.")
NOT_A_DATE: Final = N_("Enter a date, like 2026-11-30.")
NOT_A_PERSON: Final = N_("There is no person with this code, number or id.")
FORGOTTEN: Final = N_("This search is kept in this browser no more. Please enter it again.")


@blueprint.route("/people/", methods=["GET", "POST"])
@admin_only()
def list_people(caller: Caller) -> ResponseReturnValue:
    """The people whom the fields ask for."""
    form, template = forms.People(), "admin/people.html"
    shown: dict[str, Any] = {"choices": SHOWN}
    try:
        if request.method != "POST":
            return fitting(lambda most: render_template(template, form=form, **shown, **_list(form, most)), search.PER_PAGE)
        if shows_only() and "lang" not in request.form:  # a search changes nothing: in another language it is made once more
            return render_template(template, form=form, **shown)
        return redirect(_found(form, caller.user_id), 303)
    except (InvalidFields, TooManyRequests) as refusal:
        # Their text may not have arrived, so they have no account yet.
        if isinstance(refusal, InvalidFields) and search.UNKNOWN_NUMBER in refusal.errors.get("q", ()):
            shown |= {"texts": overview.texts_without_person(settings(), form.q.data), "say": sentences, "now": clock.now()}
        return refused(refusal, form, template, **shown)


@blueprint.route("/people/<user_id>/number/", methods=["GET", "POST"])
@admin_only()
def show_number(caller: Caller, user_id: str) -> ResponseReturnValue:
    """Asks for a reason, then shows the whole number, in this answer alone."""
    form, person = forms.ShowNumber(), people.profile(settings(), user_id)
    shown: dict[str, Any] = {"user_id": user_id, "masked": phones.last_four(person.telephone_number)}
    shown |= {"reasons": oversight.REASONS_TO_SHOW, "name": f"{person.first_name} {person.last_name}".strip() or person.username}
    if shows_only():
        return render_template("admin/number.html", form=form, **shown)
    reason = form.reason.data or ""
    try:
        number = oversight.show_number(user_id, reason, actor_id=caller.user_id)
    except InvalidFields as refusal:
        return refused(refusal, form, "admin/number.html", **shown)
    return render_template("admin/number.html", number=number, reason=oversight.REASONS_TO_SHOW[reason], **shown)


def _found(form: forms.People, actor_id: str) -> str:
    """Where the form that was sent leads: to the person who is meant, else to the list. Refuses with `InvalidFields`, and with
    `TooManyRequests` too many whole numbers."""
    typed = (form.q.data or "").strip()
    person = search.person(settings(), typed, actor_id=actor_id) if typed else None
    if person:
        return url_for("admin.person", user_id=person)
    text = search.text(settings(), typed) if typed else ""
    kept = {name: form[name].data for name in ("only", "joined_from", "joined_to")}
    _filters(kept)
    inviter = (form.invited_by.data or "").strip()
    kept["invited_by"] = search.person(settings(), inviter, actor_id=actor_id) if inviter else None
    if inviter and kept["invited_by"] is None:
        raise InvalidFields({"invited_by": [NOT_A_PERSON]})
    asked = {"search": _keep(text) if text else None} | kept
    return _address(asked)


def read_address(form: forms.People) -> tuple[dict[str, str], search.Filters]:
    """What the address of a list asks for: its fields that are not empty, and the filters. Fills the form with it.

    Refuses with `InvalidFields`.
    """
    asked = {name: request.args.get(name, "") for name in ("only", "joined_from", "joined_to", "invited_by")}
    for name, value in asked.items():
        form[name].data = value
    filters, search_id = _filters(asked), request.args.get("search", "")
    if filters.invited_by:
        with suppress(NotFound):  # a deleted user, whose code is in no profile
            form.invited_by.data = people.profile(settings(), filters.invited_by).invite_code
    form.q.data = session.get(SEARCHES, {}).get(search_id, "")
    if search_id and not form.q.data:
        raise InvalidFields({"q": [FORGOTTEN]})
    return {name: value for name, value in (asked | {"search": search_id}).items() if value}, filters


def _list(form: forms.People, most: int) -> dict[str, Any]:
    """The list that the address asks for, of up to this many people; fills the form with what was asked. Refuses with
    `InvalidFields`."""
    asked, filters = read_address(form)
    page = search.people(form.q.data, filters, request.args.get("after"), most)
    next_page = _address(asked | {"after": page.after}) if page.after else ""
    shown = {"people": page.items, "next_page": next_page, "asked": asked, "further": "after" in request.args}
    return shown | {"kept": kept(), "together": TOGETHER}


def kept() -> dict[str, Any]:
    """The fields of the list in the address of this request, for the way back to the same list."""
    asked = {name: request.args.get(name, "") for name in FIELDS}
    return {name: value for name, value in asked.items() if 0 < len(value) <= LONGEST_VALUE}


def _address(asked: Mapping[str, str | None]) -> str:
    """The address of the list that these fields ask for."""
    return url_for("admin.list_people", **cast(dict[str, Any], {name: value for name, value in asked.items() if value}))


def _filters(asked: Mapping[str, str | None]) -> search.Filters:
    """The filters in these fields. Refuses with `InvalidFields`."""
    errors, days = {}, {}
    for name in ("joined_from", "joined_to"):
        try:
            days[name] = date.fromisoformat(asked[name] or "") if asked[name] else None
        except ValueError:
            errors[name] = [NOT_A_DATE]
    only, invited_by = asked["only"] or "", asked.get("invited_by") or ""
    if only not in list(search.Only):
        errors["only"] = [CHOOSE]
    if invited_by and not codes.is_id(invited_by):
        errors["invited_by"] = [NOT_A_PERSON]
    if errors:
        raise InvalidFields(errors)
    return search.Filters(search.Only(only), days["joined_from"], days["joined_to"], invited_by or None)


def _keep(text: str) -> str:
    """Keeps the text in the signed cookie; its id there."""
    kept: dict[str, str] = session.get(SEARCHES, {})
    search_id = next((known for known, other in kept.items() if other == text), None) or codes.random_id()[:8]
    session[SEARCHES] = dict(
        [*((known, other) for known, other in kept.items() if known != search_id), (search_id, text)][-MOST_SEARCHES:]
    )
    return search_id
