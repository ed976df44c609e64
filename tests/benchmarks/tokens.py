"""The cost of verifying an access token: `python -m tests.benchmarks.tokens`. For the figures in docs/decisions/ed25519.md.

All ways take turns in one run. The lowest CPU time of many rounds counts, so that a busy machine does not favour one of them.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask, g
from flask_jwt_extended import JWTManager, create_access_token, verify_jwt_in_request

from hammer import clock, create_app
from hammer.models import Session
from hammer.web import tokens
from tests.conftest import SETTINGS
from tests.databases import migrate

ROUNDS, TIMES = 60, 100
HERE = SETTINGS.public_url
Within = Callable[[], AbstractContextManager[object]]
Way = tuple[str, Within, Callable[[], object]]


def cost(ways: list[Way]) -> dict[str, float]:
    """Microseconds of CPU time per call."""
    least = {name: float("inf") for name, _, _ in ways}
    for _ in range(ROUNDS):
        for name, within, way in ways:
            with within():
                began = time.process_time_ns()
                for _ in range(TIMES):
                    way()
                least[name] = min(least[name], (time.process_time_ns() - began) / TIMES / 1000)
    return least


def before() -> list[Way]:
    """How Flask-JWT-Extended signs and checks with HS256, as Hammer did."""
    app = Flask("before")
    app.config |= {"JWT_SECRET_KEY": "x" * 64, "JWT_TOKEN_LOCATION": ["headers"], "JWT_COOKIE_CSRF_PROTECT": False}
    app.config |= {"JWT_ENCODE_ISSUER": HERE, "JWT_DECODE_ISSUER": HERE, "JWT_ENCODE_AUDIENCE": HERE, "JWT_DECODE_AUDIENCE": HERE}
    app.config |= {"JWT_ACCESS_TOKEN_EXPIRES": timedelta(minutes=15), "JWT_DECODE_LEEWAY": 30}
    JWTManager(app).user_lookup_loader(lambda _, claims: claims["sid"])

    def sign() -> str:
        return str(create_access_token("A" * 22, additional_claims={"sid": "B" * 22}))

    def check() -> None:
        g.pop("_jwt_extended_jwt", None)
        verify_jwt_in_request()

    with app.app_context():
        header = {"Authorization": f"Bearer {sign()}"}
    within = lambda: app.test_request_context(headers=header)  # noqa: E731
    return [
        ("check: HS256 by Flask-JWT-Extended", within, check),
        ("sign:  HS256 by Flask-JWT-Extended", within, sign),
    ]


def alone(app: Flask, algorithm: str, private: Ed25519PrivateKey | str, public: object) -> Way:
    """How PyJWT alone verifies them."""
    now = clock.now()
    claims = {"iss": HERE, "aud": HERE, "sub": "A" * 22, "sid": "B" * 22, "jti": "C" * 36, "iat": now}
    token = jwt.encode(claims | {"exp": now + timedelta(minutes=15)}, private, algorithm)
    check = lambda: jwt.decode(token, public, [algorithm], issuer=HERE, audience=HERE)  # type: ignore[arg-type]  # noqa: E731
    return f"check: {algorithm} by PyJWT alone", app.test_request_context, check


def now(app: Flask) -> list[Way]:
    """How Hammer signs and verifies them."""
    checks: tokens.TokenVerifier = app.extensions["hammer.web.tokens"]
    session = Session(id="B" * 22, user_id="A" * 22, refreshes=0)
    with app.test_request_context():
        token = tokens.pair(session)["access_token"]
    return [
        ("check: here, a token's first request", app.test_request_context, lambda: checks._verified(token)),
        ("check: here, its later requests", app.test_request_context, lambda: checks.claims(token)),
        ("sign:  here, with a refresh token", app.test_request_context, lambda: tokens.pair(session)),
    ]


def main(app: Flask) -> None:
    private = Ed25519PrivateKey.generate()
    found = cost(
        [
            *before(),
            alone(app, "HS256", "x" * 64, "x" * 64),
            alone(app, "EdDSA", private, private.public_key()),
            *now(app),
        ]
    )
    for name, microseconds in sorted(found.items()):
        sys.stdout.write(f"{name:40} {microseconds:8.1f} µs\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        settings = replace(SETTINGS, database_url=f"sqlite:///{directory}/cost.sqlite3")
        migrate(settings)
        main(create_app(settings))
