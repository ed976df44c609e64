"""What needs Authlib, imported when it is needed first: it takes some 20 MB of memory, which a server without apps can spare."""

from typing import TYPE_CHECKING, cast

from flask import current_app

from hammer.models import Authorization, Client

if TYPE_CHECKING:
    from hammer.oauth.server import Server


def server() -> "Server":
    """The authorization server of this process."""
    if "hammer.oauth" not in current_app.extensions:
        from hammer.oauth.server import Server  # noqa: PLC0415

        current_app.extensions["hammer.oauth"] = Server()
    return cast("Server", current_app.extensions["hammer.oauth"])


def read_request() -> tuple[Authorization, Client]:
    """See `authorize.read`."""
    from hammer.oauth import authorize  # noqa: PLC0415

    return authorize.read()
