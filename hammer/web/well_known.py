"""Files at fixed addresses that every site is asked for: icons, robots.txt, security.txt, and the links of apps."""

from datetime import UTC, datetime, timedelta
from typing import Final

from flask import Blueprint, Flask, Response, current_app, jsonify
from flask.typing import ResponseReturnValue

from hammer import clock
from hammer.refusals import NotFound
from hammer.web import branding
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
    shown = branding.brand()
    return _kept(branding.mark_file(shown) if shown.own else current_app.send_static_file("favicon.ico"))


@blueprint.get("/apple-touch-icon.png")
@public
def touch_icon() -> ResponseReturnValue:
    """The icon on home screens of Apple's phones, which ask for this name. Refuses with `NotFound` where the operator has a name or
    mark of their own: it cannot be an SVG."""
    if branding.brand().own:
        raise NotFound
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


@blueprint.get("/.well-known/assetlinks.json")
@public
def android_apps() -> ResponseReturnValue:
    """Lets the operator's Android apps open our links, and later use our passkeys (Digital Asset Links)."""
    apps = dict[str, list[str]]()
    for package, _, fingerprint in (app.partition(":") for app in settings().android_apps):
        apps.setdefault(package, []).append(fingerprint.upper())
    relations = ["delegate_permission/common.handle_all_urls", "delegate_permission/common.get_login_creds"]
    targets = [
        {"namespace": "android_app", "package_name": package, "sha256_cert_fingerprints": fingerprints}
        for package, fingerprints in apps.items()
    ]
    return _kept_json([{"relation": relations, "target": target} for target in targets])


@blueprint.get("/.well-known/apple-app-site-association")
@public
def apple_apps() -> ResponseReturnValue:
    """Lets the operator's apps on Apple's systems open invite links, and later use our passkeys (Associated Domains)."""
    apps = list(settings().apple_apps)
    links = {"details": [{"appIDs": apps, "components": [{"/": "/i/*"}]}]}
    return _kept_json({"applinks": links, "webcredentials": {"apps": apps}} if apps else None)


def _kept_json(content: object) -> Response:
    """The content as JSON. Refuses with `NotFound` if it is empty: the operator named no app."""
    if not content:
        raise NotFound
    return _kept(jsonify(content))


def _kept(response: Response) -> Response:
    response.headers["Cache-Control"] = KEPT
    return response
