"""For monitoring: whether the process runs (`/healthz`), whether it can work (`/readyz`), and its figures (`/metrics`)."""

import hmac
from typing import Final, cast

from flask import Blueprint, Flask, Response, abort, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import DBAPIError

from hammer.db.causes import Cause, cause_of
from hammer.db.database import AWAY, db
from hammer.operations import gauges, readiness
from hammer.web import metrics, request_limits
from hammer.web.access import public
from hammer.web.settings import settings
from hammer.web.tokens import bearer_token

_REDIS: Final = {None: "", True: "redis: answers\n", False: "redis: away or slow; each process counts requests by itself\n"}

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.extensions["hammer.web.health"] = readiness.WriteCheck()


@blueprint.get("/healthz")
@public
def healthz() -> ResponseReturnValue:
    """Answers `ok` and the version: the process runs."""
    return Response(f"ok\nversion: {current_app.config['VERSION']}\n", mimetype="text/plain")


@blueprint.get("/readyz")
@public
def readyz() -> ResponseReturnValue:
    """200 if the database answers, can be written to, and is migrated at least as far as this program needs; else 503 with a word
    for what failed.

    Redis is reported and changes nothing: without it everything works, and some limits are wider.
    """
    state = _state()
    ready = state == readiness.READY
    words = f"{state}\n" if ready else f"database: {state}\n"
    answer = Response(words + _REDIS[request_limits.redis_answers()], status=200 if ready else 503, mimetype="text/plain")
    if not ready:
        answer.headers["Retry-After"] = "5"
    return answer


@blueprint.get("/metrics")
@public
def telemetry() -> ResponseReturnValue:
    """Figures for Prometheus. In production they need `HAMMER_METRICS_TOKEN`; without it the answer is that of an unknown page."""
    token = settings().metrics_token
    closed = token or settings().env == "production"
    if closed and not (token and hmac.compare_digest(token.encode(), bearer_token().encode())):
        abort(404)
    ready = _state() == readiness.READY
    return Response(metrics.exposition(current_app, gauges.read(settings(), ready=ready)), content_type=metrics.CONTENT_TYPE)


def _state() -> str:
    """The state of the database, as one of the words in `readiness`."""
    try:
        at = readiness.migration()
    except (DBAPIError, *AWAY) as error:
        db.session.rollback()  # without this, the next read in this request would fail too
        return cause_of(error)
    if at is None or at < readiness.NEWEST_MIGRATION:  # a newer schema is fine: migrations run before the new program
        return Cause.UNMIGRATED
    return cast(readiness.WriteCheck, current_app.extensions["hammer.web.health"]).state()
