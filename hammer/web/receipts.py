"""Delivery receipts of SMS gateways. Each message is sent with an address of its own, to which the gateway reports its status.

Gateways report by `GET`. The address is signed, so it cannot be guessed; no page links to it, and repeated reports are harmless.
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
    """Records the `status` of a message."""
    outbox.record_receipt(settings(), receipt, request.args.get("status", ""))
    return "", 204
