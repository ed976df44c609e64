"""For whoever watches over the process: whether it lives (`/healthz`), can work (`/readyz`), and what goes on (`/metrics`)."""

import hmac
from pathlib import Path

from flask import Blueprint, Flask, Response, abort, current_app
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hammer import limits, metrics, vitals
from hammer.audience import public
from hammer.database import AWAY, db
from hammer.tokens import bearer_token, settings

NEWEST_MIGRATION = max(step.name for step in (Path(__file__).parent.parent / "migrations" / "versions").glob("0*.py"))[:4]
_REDIS = {None: "", True: "redis: answers\n", False: "redis: away or slow; each process counts requests by itself\n"}

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
@public
def healthz() -> ResponseReturnValue:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
@public
def readyz() -> ResponseReturnValue:
    """The database answers and its schema is the one that this program was written for, or a newer one; else 503.

    Of Redis it only tells: without it everything works, and some limits are wider.
    """
    try:
        at = db.session.scalar(text("select version_num from alembic_version"))
    except (DBAPIError, *AWAY):
        at = None
    ready = at is not None and at >= NEWEST_MIGRATION  # migrations come first, and this one serves until the next is there
    words = "ready\n" if ready else "the database is away or not migrated\n"
    answer = Response(words + _REDIS[limits.redis_answers()], status=200 if ready else 503, mimetype="text/plain")
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
    return Response(metrics.exposition(current_app, vitals.look(settings())), content_type=metrics.CONTENT_TYPE)
