"""The first of the operator's pages."""

from flask import render_template
from flask.typing import ResponseReturnValue

from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.sessions.sessions import Caller


@blueprint.get("/")
@admin_only()
def home(_: Caller) -> ResponseReturnValue:
    """The service at a glance."""
    return render_template("admin/home.html")
