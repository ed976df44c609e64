"""The blueprint of the pages for people."""

from flask import Blueprint, request

from hammer.invites import invite_codes
from hammer.web.pages import apps, kept_invites
from hammer.web.pages.frame import frame

blueprint = Blueprint("auth", __name__)
frame(blueprint)


blueprint.before_request(apps.load)


@blueprint.before_request
def _keep_invite_of_address() -> None:
    """Keeps the invite code of an address like `/login/?invite=Q9UK59`. The landing page links there, and the person may open that
    link in another browser than the landing page."""
    code = invite_codes.read_path(request.args.get("invite", ""))
    if code and request.method == "GET" and code != kept_invites.newest():
        kept_invites.add(code)
