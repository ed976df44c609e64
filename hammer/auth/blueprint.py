"""The blueprint of the pages for people."""

from flask import Blueprint, request

from hammer.auth import carried
from hammer.invites import invite_codes
from hammer.web.pages.frame import frame

blueprint = Blueprint("auth", __name__)
frame(blueprint)


@blueprint.before_request
def _carry_invite_of_address() -> None:
    """Keeps the invite code of an address like `/login/?invite=Q9UK59`. The landing page links there, and the link may be opened in
    another browser than the landing page was."""
    code = invite_codes.read_path(request.args.get("invite", ""))
    if code and request.method == "GET" and code != carried.newest():
        carried.add(code)
