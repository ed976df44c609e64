"""For whoever watches over the process: whether it lives (`/healthz`), can work (`/readyz`), and what goes on (`/metrics`)."""

import hmac
from pathlib import Path
from typing import cast

from flask import Blueprint, Flask, Response, abort, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hammer.db.database import AWAY, db
from hammer.operations import gauges, readiness
from hammer.web import metrics, request_limits
from hammer.web.access import public
from hammer.web.settings import settings
from hammer.web.tokens import bearer_token

NEWEST_MIGRATION = max(step.name for step in (Path(__file__).parent.parent.parent / "migrations" / "versions").glob("0*.py"))[:4]
_REDIS = {None: "", True: "redis: answers\n", False: "redis: away or slow; each process counts requests by itself\n"}

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)
    app.extensions["hammer.web.health"] = readiness.Writing()


@blueprint.get("/healthz")
@public
def healthz() -> ResponseReturnValue:
    """Answers `ok` and the version: the process runs."""
    return Response(f"ok\nversion: {current_app.config['VERSION']}\n", mimetype="text/plain")


@blueprint.get("/readyz")
@public
def readyz() -> ResponseReturnValue:
    """The database answers, takes what is written, and its schema is the one that this program was written for, or a newer one;
    else 503 and a word that says which of these fails.

    Of Redis it only tells: without it everything works, and some limits are wider.
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
    """Prometheus text. In production for those alone who show `HAMMER_METRICS_TOKEN`; nobody else learns that it is there."""
    token = settings().metrics_token
    closed = token or settings().env == "production"
    if closed and not (token and hmac.compare_digest(token.encode(), bearer_token().encode())):
        abort(404)
    ready = _state() == readiness.READY
    return Response(metrics.exposition(current_app, gauges.look(settings(), ready=ready)), content_type=metrics.CONTENT_TYPE)


def _state() -> str:
    """How the database is, in a word of `readiness`."""
    try:
        at = db.session.scalar(text("select version_num from alembic_version"))
    except (DBAPIError, *AWAY) as error:
        db.session.rollback()  # or the next read in this request fails with an error of the session instead
        return readiness.word(error)
    if at is None or at < NEWEST_MIGRATION:  # migrations come first, and this one serves until the next is there
        return readiness.UNMIGRATED
    return cast(readiness.Writing, current_app.extensions["hammer.web.health"]).state()
