"""What browsers, crawlers and people who found a fault ask every site for, at addresses that no page of ours names."""

from datetime import UTC, datetime, timedelta
from typing import Final

from flask import Blueprint, Flask, Response, current_app
from flask.typing import ResponseReturnValue

from hammer import clock
from hammer.refusals import NotFound
from hammer.web.access import public
from hammer.web.settings import settings

KEPT: Final = "public, max-age=86400"
SECURITY_GOOD_FOR: Final = timedelta(days=90)
"""RFC 9116 §2.5.5 wants less than a year; who reads it later asks again."""
ROBOTS: Final = """User-agent: *
Disallow: /api/
Disallow: /login/code/
Disallow: /profile/
Disallow: /logout/
Disallow: /receipts/
"""
"""Invite links are not among them: messengers that draw a preview keep to this file too. Their pages ask not to be listed."""

blueprint = Blueprint("well_known_files", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/favicon.ico")
@public
def favicon() -> ResponseReturnValue:
    """For what reads no `<link rel=icon>`, like browsers that show a document of ours which is no page."""
    return _kept(current_app.send_static_file("favicon.ico"))


@blueprint.get("/apple-touch-icon.png")
@public
def touch_icon() -> ResponseReturnValue:
    """For home screens of Apple's phones, which ask for it by this name."""
    return _kept(current_app.send_static_file("mark.png"))


@blueprint.get("/robots.txt")
@public
def robots() -> ResponseReturnValue:
    """Keeps crawlers off what is of no use to a search (RFC 9309)."""
    return _kept(Response(ROBOTS, mimetype="text/plain"))


@blueprint.get("/.well-known/security.txt")
@public
def security() -> ResponseReturnValue:
    """Whom to write to about a fault (RFC 9116). Refuses with `NotFound` where the operator names no contact (`HAMMER_SUPPORT`)."""
    here = settings()
    if not here.support:
        raise NotFound
    expires = datetime.combine(clock.now().date(), datetime.min.time(), UTC) + SECURITY_GOOD_FOR
    lines = (
        f"Contact: {here.support}",
        f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}",
        "Preferred-Languages: en, ru",
        f"Canonical: {here.public_url}/.well-known/security.txt",
    )
    return _kept(Response("\n".join(lines) + "\n", mimetype="text/plain"))


def _kept(response: Response) -> Response:
    response.headers["Cache-Control"] = KEPT
    return response
