"""The page that runs `doctor`: it checks this installation, and says what to do about faults."""

import time
from collections.abc import Iterable
from itertools import chain
from typing import Any, Final

from flask import current_app, render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DBAPIError

from hammer.admin.access import admin_only
from hammer.admin.blueprint import blueprint
from hammer.db.database import unavailable
from hammer.operations.doctor import ADVICE, FINE, WRONG, Finding, examine
from hammer.sessions.sessions import Caller
from hammer.web.pages import templates
from hammer.web.pages.frame import shows_only
from hammer.web.settings import settings

TEMPLATE: Final = "admin/doctor.html"
SECONDS: Final = 20.0
"""After this long no further check is begun: servers of apps that are away take some seconds each."""
ORDER: Final = {WRONG: 0, ADVICE: 1, FINE: 2}


@blueprint.route("/doctor/", methods=["GET", "POST"], endpoint="doctor")
@admin_only()
def run_doctor(_: Caller) -> ResponseReturnValue:
    """Explains what is checked; when the form is sent, checks it and shows what was found, the worst first."""
    if shows_only():
        return render_template(TEMPLATE, findings=None)
    ours = settings()
    return show(chain(examine(ours), templates.examine(current_app, ours)))


def show(findings: Iterable[Finding], **context: Any) -> ResponseReturnValue:
    """The page with what is found, the worst first."""
    try:
        found, complete = _within(SECONDS, findings)
    except DBAPIError as error:  # a table is missing
        raise unavailable(error) from error
    found.sort(key=lambda finding: ORDER[finding.state])
    return render_template(TEMPLATE, findings=found, complete=complete, **context)


def _within(seconds: float, findings: Iterable[Finding]) -> tuple[list[Finding], bool]:
    """What was found until then, and whether that is all."""
    until, found = time.monotonic() + seconds, []
    for finding in findings:
        found.append(finding)
        if time.monotonic() > until:
            return found, False
    return found, True
