"""The blueprint of the operator's pages."""

from typing import Any, Final

from flask import Blueprint, g, request

from hammer.refusals import N_, NotFound
from hammer.web.pages.frame import UNPROVED, frame

SECTIONS: Final = (
    ("admin.home", N_("Service")),
    ("admin.list_people", N_("People")),
    ("admin.list_clients", N_("Apps")),
    ("admin.list_webhooks", N_("Webhooks")),
    ("admin.audit", N_("Audit")),
    ("admin.factors", N_("Second factor")),
)
"""The pages in the navigation, and their names."""

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
frame(blueprint)


@blueprint.before_request
def _refuse_nul() -> None:
    """There is no page at an address with a NUL character, which PostgreSQL refuses in a text."""
    if any("\0" in str(value) for value in (request.view_args or {}).values()):
        raise NotFound


@blueprint.context_processor
def _navigation() -> dict[str, Any]:
    return {"sections": SECTIONS, "unproved": g.get("shows_only") == UNPROVED}
