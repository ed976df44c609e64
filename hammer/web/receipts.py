"""Where gateways tell what became of a text: the address goes along with it, and whoever has it may say so, of that text alone.

By `GET`, since that is how gateways report. Nobody can guess the address, no page leads to it, and twice is as good as once.
"""

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue

from hammer.sms import outbox
from hammer.web.access import public
from hammer.web.settings import settings

blueprint = Blueprint("receipts", __name__)


def init_app(app: Flask) -> None:
    app.register_blueprint(blueprint)


@blueprint.get("/receipts/<receipt>/")
@public
def receive(receipt: str) -> ResponseReturnValue:
    """Takes down the `status` of a text."""
    outbox.record_receipt(settings(), receipt, request.args.get("status", ""))
    return "", 204
