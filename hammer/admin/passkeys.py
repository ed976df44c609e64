"""The pages on which staff add, name and remove their passkeys."""

from flask import flash, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext

from hammer.admin import forms
from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.admin.sign_in import passkey_name
from hammer.factors import passkeys
from hammer.refusals import Invalid, NotAllowed
from hammer.sessions.sessions import Caller
from hammer.web.languages import say
from hammer.web.pages.frame import REFUSED, go, refused, shows_only
from hammer.web.settings import settings


@blueprint.route("/factors/passkeys/", methods=["GET", "POST"])
@admin_only(recent=True)
def add_passkey(caller: Caller) -> ResponseReturnValue:
    """Adds a passkey that the browser makes."""
    form, template = forms.Passkey(), "admin/passkey_new.html"
    shown = {"options": passkeys.options_to_add(settings(), caller.user_id, caller.session_id)}
    if shows_only():
        form.name.data = form.name.data or passkey_name()
        return render_template(template, form=form, **shown)
    answer, name = form.passkey.data or "", form.name.data or ""
    try:
        passkeys.add(settings(), caller.user_id, answer, name, session_id=caller.session_id)
    except Invalid as refusal:
        return refused(refusal, form, template, **shown)
    flash(gettext("The passkey is set up."))
    return go("admin.factors")


@blueprint.route("/factors/passkeys/<passkey_id>/", methods=["GET", "POST"])
@admin_only()
def passkey(caller: Caller, passkey_id: str) -> ResponseReturnValue:
    """Gives a passkey another name."""
    form, template = forms.Passkey(), "admin/passkey.html"
    shown = passkeys.find(caller.user_id, passkey_id)
    if shows_only():
        form.name.data = form.name.data or shown.name
        return render_template(template, form=form, passkey=shown)
    try:
        passkeys.rename(caller.user_id, passkey_id, form.name.data or "")
    except Invalid as refusal:
        return refused(refusal, form, template, passkey=shown)
    flash(gettext("The passkey has a new name."))
    return go("admin.factors")


@blueprint.route("/factors/passkeys/<passkey_id>/remove/", methods=["GET", "POST"])
@admin_only(recent=True)
def remove_passkey(caller: Caller, passkey_id: str) -> ResponseReturnValue:
    """Asks, then removes a passkey."""
    shown = passkeys.find(caller.user_id, passkey_id)
    if shows_only():
        return render_template("admin/passkey_remove.html", passkey=shown)
    try:
        passkeys.remove(caller.user_id, passkey_id)
    except NotAllowed as refusal:
        flash(say(refusal), REFUSED)
        return go("admin.factors")
    flash(gettext("The passkey is removed."))
    return go("admin.factors")
