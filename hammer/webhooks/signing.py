"""Signatures of posts (Standard Webhooks 1.0.0).

The secret of an endpoint is computed from its id, its generation and a key outside the database, and never stored.

After a rotation the secret before signs too for `OVERLAP`, so that an app can change it without losing an event. So do the secrets
of `SECRET_KEY_PREVIOUS` for as long as it is set.
"""

import hmac
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Final

from standardwebhooks import Webhook

from config import Settings
from hammer import clock
from hammer.models import WebhookEndpoint

OVERLAP: Final = timedelta(hours=24)
"""How long the secret before signs too after a rotation."""


def secret(settings: Settings, endpoint_id: str, generation: int) -> str:
    """The secret of a generation: `whsec_` and 32 bytes in base64."""
    return _secret(settings.key("webhooks"), endpoint_id, generation)


def _secret(key: bytes, endpoint_id: str, generation: int) -> str:
    value = hmac.digest(key, f"secret|{endpoint_id}|{generation}".encode(), "sha256")
    return f"whsec_{b64encode(value).decode()}"


def older_until(endpoint: WebhookEndpoint) -> datetime | None:
    """Until when the secret before the newest signs too; None if it does not, or if there is none."""
    until = endpoint.rotated_at and endpoint.rotated_at + OVERLAP
    return until if until and clock.now() < until else None


def headers(settings: Settings, endpoint: WebhookEndpoint, message_id: str, body: bytes) -> dict[str, str]:
    """The headers of a post that is made now."""
    now = clock.now()
    generations = [endpoint.generation, endpoint.generation - 1] if older_until(endpoint) else [endpoint.generation]
    secrets = [_secret(key, endpoint.id, generation) for generation in generations for key in settings.keys("webhooks")]
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(each).sign(message_id, now, body.decode()) for each in secrets),
    }
