"""The services of the guides check tokens themselves: they admit people, and nobody else."""

import base64
import hashlib
import hmac
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask

from config import ACCESS_TOKEN_LEEWAY, Settings
from hammer.models import SigningAlgorithm
from hammer.sessions.keys import IdTokenKeys, Key, KeyRing
from tests.cli.commands import CLOSED_PORT
from tests.conftest import SETTINGS
from tests.delivery import wait_until
from tests.integrate.conftest import PORT, Start
from tests.serving import HOME, Server

SERVICES = {
    "flask": ("flask", "--app", "flask_service", "run", "--port", PORT),
    "fastapi": ("uvicorn", "fastapi_service:app", "--port", PORT),
    "django": ("python", "django_service.py", "runserver", "--noreload", PORT),
    "express": ("node", "express_service.mjs"),
}
PROGRAMS = {"node": ("node", "check_token.mjs"), "java": ("java", "CheckToken.java")}
NODE, JAVA = pytest.mark.needs("node"), pytest.mark.needs("javac")


@pytest.fixture
def of_id_tokens(server: Server, app_with: Callable[[Settings], Flask]) -> dict[str, Key]:
    """The keys of id tokens, which the server publishes too: of RSA, P-256 and Ed25519."""
    settings = replace(SETTINGS, database_url=server.database_url, public_url=server.url)
    with app_with(settings).app_context():
        return {algorithm: IdTokenKeys(settings).ensure(algorithm) for algorithm in SigningAlgorithm}


@pytest.fixture
def key(server: Server, of_id_tokens: dict[str, Key], app_with: Callable[[Settings], Flask]) -> Key:
    """The key with which the server signs access tokens, one of four that it publishes."""
    settings = replace(SETTINGS, database_url=server.database_url, public_url=server.url)
    others = {one.kid for one in of_id_tokens.values()}
    wait_until(lambda: others < {one["kid"] for one in json.loads(server.request("GET", "/.well-known/jwks.json").body)["keys"]})
    with app_with(settings).app_context():
        return KeyRing(settings).signing()


@pytest.fixture
def token(server: Server, number: str) -> str:
    """Of a person."""
    return str(server.sign_in(number)["access_token"])


@pytest.fixture
def refused(
    server: Server, environment: Mapping[str, str], token: str, key: Key, of_id_tokens: Mapping[str, Key]
) -> dict[str, str]:
    """Tokens that no service may admit, by what is wrong with them."""
    claims = jwt.decode(token, options={"verify_signature": False})
    header, body, signature = token.split(".")
    client = environment["LOGIN_CLIENT_ID"], environment["LOGIN_CLIENT_SECRET"]
    grant = requests.post(f"{server.url}/oauth/token", auth=client, data={"grant_type": "client_credentials"}, timeout=30)

    def signed(private: Any = key.private, kid: str = key.kid, typ: str = "at+jwt", **other: Any) -> str:
        return jwt.encode(claims | other, private, algorithm="EdDSA", headers={"kid": kid, "typ": typ})

    stranger = Ed25519PrivateKey.generate()
    return {
        "of a client": grant.json()["access_token"],
        "expired": signed(exp=int(time.time() - ACCESS_TOKEN_LEEWAY.total_seconds()) - 5),
        "of another issuer": signed(iss="https://other.example"),
        "for another audience": signed(aud="https://other.example"),
        "of another kind": signed(typ="JWT"),
        "of an unknown key": signed(stranger, kid="unknown"),
        "with a known name and another key": signed(stranger),
        "with another person": f"{header}.{encoded(claims | {'sub': 'somebody else'})}.{signature}",
        "not signed": f"{encoded({'alg': 'none', 'typ': 'at+jwt', 'kid': key.kid})}.{body}.",
        "signed with the public key as a secret": with_a_shared_secret(key, body),
        **{
            f"an id token by {one.algorithm}": id_token(claims, one, environment["LOGIN_CLIENT_ID"])
            for one in of_id_tokens.values()
        },
        "no token": "nonsense",
        "empty": "",
    }


def id_token(claims: Mapping[str, Any], key: Key, audience: str) -> str:
    """Of the same person, for an app (OpenID Connect Core §2)."""
    named = {name: value for name, value in claims.items() if name in ("iss", "sub", "sid", "iat", "exp")}
    return jwt.encode(named | {"aud": audience}, key.private, algorithm=key.algorithm, headers={"kid": key.kid, "typ": "JWT"})


def encoded(part: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def with_a_shared_secret(key: Key, body: str) -> str:
    signed = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{body}"
    public = key.public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    signature = hmac.digest(public, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize("name", ["flask", "fastapi", "django", pytest.param("express", marks=NODE)])
def test_a_service_admits_a_person_and_nobody_else(
    start: Start, server: Server, token: str, refused: Mapping[str, str], name: str
) -> None:
    service = start(*SERVICES[name])

    def ask(authorization: str | None) -> requests.Response:
        return requests.get(f"{service}/orders", headers={"Authorization": authorization} if authorization else {}, timeout=30)

    answers = {wrong: ask(f"Bearer {bad}").status_code for wrong, bad in refused.items()}
    unnamed, good = ask(None), ask(f"Bearer {token}")

    assert (good.status_code, good.json()) == (200, {"orders_of": server.call("GET", "/users/me/", token=token).json["id"]})
    assert answers == dict.fromkeys(refused, 401)
    assert (unnamed.status_code, unnamed.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize("name", ["flask", "fastapi", "django", pytest.param("express", marks=NODE)])
def test_a_service_that_cannot_get_the_keys_signs_nobody_out_and_shows_no_stack(start: Start, token: str, name: str) -> None:
    service = start(*SERVICES[name], LOGIN_URL=f"http://{HOME}:{CLOSED_PORT}")

    failed = requests.get(f"{service}/orders", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    assert failed.status_code == 500
    assert "_service" not in failed.text


@pytest.mark.parametrize("name", [pytest.param("node", marks=NODE), pytest.param("java", marks=JAVA)])
def test_a_program_without_a_library_accepts_tokens_of_people_and_no_other(
    examples: Path, environment: dict[str, str], server: Server, token: str, refused: Mapping[str, str], name: str
) -> None:
    typed = "\n".join([*refused.values(), token]) + "\n"
    run = subprocess.run(
        PROGRAMS[name], cwd=examples, env=environment, input=typed, capture_output=True, text=True, timeout=120, check=True
    )

    *answers, good = run.stdout.splitlines()

    assert dict(zip(refused, answers, strict=True)) == dict.fromkeys(refused, "refused")
    assert good == server.call("GET", "/users/me/", token=token).json["id"]
