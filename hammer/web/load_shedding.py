"""Load shedding: while more requests come than can be served, those that waited too long for a thread are refused, so that the
others are served in time.

The server tells how long each waited (`gunicorn.conf.py`, which has the other half of this).
"""

import logging
from typing import Final

from flask import Flask, request

from hammer import clock, measures
from hammer.refusals import Unavailable

WAITED: Final = "hammer.waited"
"""In the WSGI environment: how many seconds the request waited for a thread; missing if the server does not tell."""
LONGEST_WAIT: Final = 2.0
"""Seconds after which a request is refused. Then people try again, and their first request would be served for nobody."""
RETRY_AFTER: Final = 5
"""Seconds that callers are asked to wait."""

WAITS: Final = measures.histogram(
    "request_wait_seconds",
    "How long requests waited for a thread.",
    "fate",
    limits=(0.001, 0.01, 0.1, 0.25, 0.5, 1.0, LONGEST_WAIT, 5.0, 10.0),
    known=(("served",), ("refused",)),
)

_logged = clock.Seldom(60.0)
log = logging.getLogger(__name__)


def init_app(app: Flask) -> None:
    app.before_request(_refuse_late)


def waited() -> float | None:
    """How many seconds this request waited for a thread; None if the server does not tell."""
    return request.environ.get(WAITED)


def _refuse_late() -> None:
    """Refuses with `Unavailable` what waited too long. Monitoring is always answered: a busy host is not a dead one."""
    seconds = waited()
    if seconds is None:
        return
    late = seconds > LONGEST_WAIT and request.blueprint != "health"
    WAITS.labels("refused" if late else "served").observe(seconds)
    if late:
        if _logged.now("late"):
            log.warning("More requests come than can be served: those that waited over %.0f seconds are refused.", LONGEST_WAIT)
        raise Unavailable(retry_after=RETRY_AFTER)
