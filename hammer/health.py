"""Whether the process lives (`/healthz`) and can work (`/readyz`), for whoever watches over it."""

from pathlib import Path

from flask import Blueprint, Flask, Response
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from hammer.database import db

blueprint = Blueprint("health", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/healthz")
def healthz() -> ResponseReturnValue:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
def readyz() -> ResponseReturnValue:
    """The database answers and its schema is the one that this program was written for; else 503."""
    newest = max(file.name[:4] for file in (Path(__file__).parent.parent / "migrations" / "versions").glob("[0-9]*.py"))
    at = db.session.scalar(text("select version_num from alembic_version"))
    if at == newest:
        return Response("ready\n", mimetype="text/plain")
    return Response(f"not migrated: {at}, not {newest}\n", status=503, mimetype="text/plain", headers={"Retry-After": "5"})
