"""The app that a person is signing in to while this page is shown.

The pages of such a sign-in carry the id of the app's request in their addresses (`?authorization=`), so that two sign-ins in two
tabs do not mix. The signed cookie has the ids of the requests that this browser made: another browser cannot continue them.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

from flask import Flask, g, has_request_context, request, session, url_for

from hammer.grants import authorizations
from hammer.models import Authorization, Client
from hammer.outgoing import uris
from hammer.parsing import phones

KEY: Final = "authorizations"
PARAMETER: Final = "authorization"
MOST: Final = 20
"""Requests that a browser remembers: the newest. A browser that restores its tabs sends one for each tab of an app at once."""
CONTINUE: Final = "sign_in.continue_"
FLOW: Final = frozenset({"auth.home", "auth.phone", "auth.code", "auth.resend", "auth.send_proof", "auth.prove"})
"""Endpoints, besides those of the blueprint `sign_in`, whose addresses carry the id."""


@dataclass(frozen=True)
class App:
    """The app, as pages show it."""

    name: str
    """Empty on an error page that was shown before the database was asked."""
    leave: str
    """The address that leads back to the app."""
    first_party: bool = False
    host: str = ""
    """The host of the address that the person is sent back to; empty for an app on their own device."""


def init_app(app: Flask) -> None:
    """Carries the id from page to page."""
    app.url_defaults(_carry)


def remember(authorization_id: str) -> None:
    """Lets this browser continue the request."""
    session[KEY] = [authorization_id, *session.get(KEY, [])][:MOST]


def current_id() -> str | None:
    """The id of the request that this page belongs to, if this browser made it; None outside of a sign-in to an app."""
    named = request.args.get(PARAMETER)
    return named if named and named in session.get(KEY, []) else None


def current() -> tuple[Authorization, Client] | None:
    """The request that this page belongs to, and its client. Read from the database once a request."""
    if "asked_by_app" not in g:
        named = current_id()
        g.asked_by_app = authorizations.find(named) if named else None
    return cast(tuple[Authorization, Client] | None, g.asked_by_app)


def load_unstored(client: Client, redirect_uri: str, leave: str) -> None:
    """Names the app of a request that is not stored yet on the error page, if there is one. `leave` is an answer to the request."""
    g.unstored_app = _app(client, redirect_uri, leave)


def load() -> None:
    """Reads the request that this page belongs to, so that the page can name the app."""
    current()


def expected_number() -> str:
    """The number that the app expects, as people write it; empty without one."""
    asked, _ = current() or (None, None)
    return phones.pretty(asked.login_hint) if asked and asked.login_hint else ""


def next_page(otherwise: str) -> str:
    """The endpoint to lead to after a sign-in: the one that leads on to the app, or `otherwise`."""
    return CONTINUE if current_id() else otherwise


def shown() -> App | None:
    """The app of this page, for templates. Does not ask the database, which an error page must not."""
    named = current_id()
    if named is None:
        return cast(App | None, g.get("unstored_app"))
    asked, client = g.get("asked_by_app") or (None, None)
    leave = url_for("sign_in.leave", authorization=named)
    return _app(client, asked.redirect_uri, leave) if asked and client else App("", leave)


def _app(client: Client, redirect_uri: str, leave: str) -> App:
    back = uris.split(redirect_uri)
    return App(client.name, leave, client.first_party, back.netloc if back.scheme in ("http", "https") else "")


def _carry(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint in FLOW or endpoint.startswith("sign_in."):
        named = current_id() if has_request_context() else None
        if named and PARAMETER not in values:
            values[PARAMETER] = named
