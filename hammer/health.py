"""Whether the process lives (`/healthz`) and can work (`/readyz`), for whoever watches over it."""

from pathlib import Path

from flask import Blueprint, Flask, Response
from flask.typing import ResponseReturnValue
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hammer.audience import public
from hammer.database import db

NEWEST_MIGRATION = max(step.name for step in (Path(__file__).parent.parent / "migrations" / "versions").glob("0*.py"))[:4]

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
    """The database answers and its schema is the one that this program was written for; else 503."""
    try:
        at = db.session.scalar(text("select version_num from alembic_version"))
    except DBAPIError:
        at = None
    if at == NEWEST_MIGRATION:
        return Response("ready\n", mimetype="text/plain")
    return Response("the database is away or not migrated\n", status=503, mimetype="text/plain", headers={"Retry-After": "5"})
