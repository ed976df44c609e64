"""A client of the operator's (`Backend`): it gets a token for its secret, and calls the JSON API with it."""

from base64 import b64encode
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from hammer.clients import registry, secrets
from hammer.models import Scope
from tests.people import Program

FORM = "application/x-www-form-urlencoded"


def basic(client_id: str, secret: str) -> str:
    """The header `Authorization` of a client that shows its secret."""
    return f"Basic {b64encode(f'{client_id}:{secret}'.encode()).decode()}"


class Backend(Program):
    """A client with a token for everything that it may do."""

    def __init__(self, app: Flask, *scopes: Scope, name: str = "Shop", sends_per_hour: int = 100) -> None:
        super().__init__(app)
        with app.app_context():
            client = registry.add(name, scopes, sends_per_hour=sends_per_hour)
            self.client_id, self.secret = client.id, secrets.secret(app.config["SETTINGS"], client)
        self.authenticate()

    def ask_token(self, secret: str = "", *, address: str = "192.0.2.80", **parameters: str) -> TestResponse:
        """Asks for a token with this secret, by default its own."""
        return self.client.post(
            "/oauth/token",
            data={"grant_type": "client_credentials"} | parameters,
            headers={"Authorization": basic(self.client_id, secret or self.secret)},
            environ_overrides={"REMOTE_ADDR": address},
        )

    def authenticate(self, **parameters: str) -> dict[str, Any]:
        """Gets a token, with which it calls from now on."""
        answer = self.ask_token(**parameters)
        assert answer.status_code == 200, answer.text
        self.tokens = answer.get_json()
        return self.tokens
