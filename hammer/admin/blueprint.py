"""The blueprint of the operator's pages."""

from typing import Any, Final

from flask import Blueprint

from hammer.refusals import N_
from hammer.web.pages.frame import frame

SECTIONS: Final = (
    ("admin.home", N_("Service")),
    ("admin.list_people", N_("People")),
    ("admin.audit", N_("Audit")),
    ("admin.factors", N_("Second factor")),
)
"""The pages in the navigation, and their names."""

blueprint = Blueprint("admin", __name__, url_prefix="/admin")
frame(blueprint)


@blueprint.context_processor
def _navigation() -> dict[str, Any]:
    return {"sections": SECTIONS}
