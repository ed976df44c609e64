"""The page on which staff look after their second factors."""

from flask import flash, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.admin import forms
from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.admin.sign_in import app_to_enrol
from hammer.factors import passkeys, staff
from hammer.refusals import Invalid, NotAllowed
from hammer.sessions.sessions import Caller
from hammer.web.languages import say
from hammer.web.pages.frame import REFUSED, go, refused, shows_only
from hammer.web.settings import settings


@blueprint.get("/factors/")
@admin_only()
def factors(caller: Caller) -> ResponseReturnValue:
    """What the caller can prove besides their number."""
    return render_template(
        "admin/factors.html",
        factors=staff.factors(caller.user_id),
        passkeys=passkeys.of_user(caller.user_id),
        accepted=passkeys.accepted(settings(), caller.user_id),
        possible=settings().passkey_host is not None,
    )


@blueprint.route("/factors/app/", methods=["GET", "POST"])
@admin_only(recent=True)
def add_app(caller: Caller) -> ResponseReturnValue:
    """Enrols an authenticator app in place of the one before."""
    form, template = forms.App(), "admin/app.html"
    if shows_only():
        return render_template(template, form=form, **app_to_enrol(caller))
    try:
        staff.add_app(settings(), caller.user_id, form.code.data or "")
    except Invalid as refusal:
        return refused(refusal, form, template, **app_to_enrol(caller))
    flash(gettext("The authenticator app is set up."))
    return go("admin.factors")


@blueprint.route("/factors/app/remove/", methods=["GET", "POST"])
@admin_only(recent=True)
def remove_app(caller: Caller) -> ResponseReturnValue:
    """Asks, then removes the authenticator app."""
    if shows_only():
        return render_template("admin/remove_app.html")
    try:
        staff.remove_app(caller.user_id)
    except NotAllowed as refusal:
        flash(say(refusal), REFUSED)
        return go("admin.factors")
    flash(gettext("The authenticator app is removed."))
    return go("admin.factors")


@blueprint.route("/factors/recovery/", methods=["GET", "POST"])
@admin_only(recent=True)
def make_recovery_codes(caller: Caller) -> ResponseReturnValue:
    """Asks, then shows new recovery codes once. The ones before are void."""
    if shows_only():
        return render_template("admin/new_codes.html", factors=staff.factors(caller.user_id))
    return render_template("admin/recovery.html", codes=staff.make_recovery_codes(settings(), caller.user_id))
