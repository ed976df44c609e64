"""Files at fixed addresses that every site is asked for: icons, robots.txt and security.txt."""

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
"""How long a reader can rely on security.txt. RFC 9116 §2.5.5 recommends less than a year."""
ROBOTS: Final = """User-agent: *
Disallow: /api/
Disallow: /login/code/
Disallow: /profile/
Disallow: /logout/
Disallow: /receipts/
"""
"""Invite links (/i/) are allowed, because messengers that draw previews obey this file too. Those pages have `noindex` instead."""

blueprint = Blueprint("well_known_files", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/favicon.ico")
@public
def favicon() -> ResponseReturnValue:
    """The icon, for browsers that show something other than a page, which has no `<link rel=icon>`."""
    return _kept(current_app.send_static_file("favicon.ico"))


@blueprint.get("/apple-touch-icon.png")
@public
def touch_icon() -> ResponseReturnValue:
    """The icon on home screens of Apple's phones, which ask for this name."""
    return _kept(current_app.send_static_file("mark.png"))


@blueprint.get("/robots.txt")
@public
def robots() -> ResponseReturnValue:
    """Asks crawlers not to visit what is useless in search results (RFC 9309)."""
    return _kept(Response(ROBOTS, mimetype="text/plain"))


@blueprint.get("/.well-known/security.txt")
@public
def security() -> ResponseReturnValue:
    """Where to report a vulnerability (RFC 9116). Refuses with `NotFound` if the operator set no contact (`HAMMER_SUPPORT`)."""
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
