"""The keys that sign access tokens: published, rotated without a gap, and the same in every process."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from flask import Flask
from flask.testing import FlaskClient
from jwcrypto.common import JWException
from jwcrypto.jwk import JWKSet
from jwcrypto.jwt import JWT
from sqlalchemy import func, select
from time_machine import Traveller

import config
from config import Settings
from hammer import events
from hammer.api.views import KEYS_LIVE_SECONDS
from hammer.db.database import db
from hammer.models import Event, TokenKey
from hammer.sessions import keys
from tests import serving
from tests.actions import everything_stored
from tests.databases import Databases
from tests.people import Program
from tests.serving import ROOT, Answer, Server, at_once

ANNA = "+79290000001"
SECOND = timedelta(seconds=1)
TRUSTED_AFTER_RETIREMENT = keys.TRUSTED_AFTER_RETIREMENT[keys.Purpose.ACCESS]
Statements = Callable[[], AbstractContextManager[list[str]]]


def rotate(settings: Settings, *, ahead: timedelta = timedelta(0)) -> str:
    """Rotates the keys. Returns the name of the new one."""
    [new] = keys.rotate(settings, ahead=ahead)
    return new.kid


def published(client: FlaskClient) -> list[dict[str, str]]:
    answer = client.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    assert answer.json is not None
    found: list[dict[str, str]] = answer.json["keys"]
    return found


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def checked_elsewhere(token: str, document: str) -> dict[str, Any]:
    """The claims of a token that another library verifies with the published keys. Raises if the token is invalid."""
    read = JWT(jwt=token, key=JWKSet.from_json(document), algs=["EdDSA"])
    claims: dict[str, Any] = json.loads(read.claims)
    return claims


# -- one process --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("context")
def test_there_is_always_a_key_and_every_process_has_the_same(settings: Settings) -> None:
    one, other = keys.KeyRing(settings), keys.KeyRing(settings)
    assert one.signing() == one.published()[0]
    assert one.signing().published == other.signing().published
    assert db.session.scalar(select(func.count()).select_from(TokenKey)) == 0


@pytest.mark.usefixtures("context")
def test_another_secret_makes_other_keys_with_other_names(settings: Settings) -> None:
    rotate(settings)
    other = replace(settings, secret_key="another secret of 32 bytes or more")
    ours, theirs = keys.KeyRing(settings).published(), keys.KeyRing(other).published()
    assert len(ours) == len(theirs) == 2
    assert not {key.kid for key in ours} & {key.kid for key in theirs}
    assert not {key.published["x"] for key in ours} & {key.published["x"] for key in theirs}


@pytest.mark.requirement("TOK-08")
@pytest.mark.usefixtures("context")
def test_an_old_key_is_trusted_until_all_that_it_signed_has_expired(settings: Settings, clock: Traveller) -> None:
    ring = keys.KeyRing(settings)
    old = ring.signing()
    new = rotate(settings)
    clock.shift(keys.RELOAD - SECOND)
    assert ring.signing().kid == old.kid  # the last moment at which a process may not know the new key
    clock.shift(config.ACCESS_TOKEN_LIFETIME + config.ACCESS_TOKEN_LEEWAY)
    assert ring.trusted(old.kid) is not None
    assert [key.kid for key in ring.published()] == [old.kid, new]
    clock.shift(SECOND)
    assert ring.trusted(old.kid) is None
    assert [key.kid for key in ring.published()] == [new]
    assert keys.KeyRing(settings).trusted(old.kid) is None


@pytest.mark.usefixtures("context")
def test_a_process_signs_with_the_new_key_after_half_a_minute(settings: Settings, clock: Traveller) -> None:
    ring = keys.KeyRing(settings)
    old = ring.signing().kid
    new = rotate(settings)
    clock.shift(keys.RELOAD - SECOND)
    assert ring.signing().kid == old
    clock.shift(SECOND)
    assert ring.signing().kid == new


@pytest.mark.usefixtures("context")
def test_a_process_trusts_a_key_at_once_that_it_did_not_know(settings: Settings, clock: Traveller) -> None:
    ring = keys.KeyRing(settings)
    ring.signing()
    clock.shift(SECOND)
    assert ring.trusted(rotate(settings)) is not None


@pytest.mark.requirement("TOK-01")
@pytest.mark.usefixtures("context")
def test_tokens_with_unknown_keys_cost_one_query_a_second(settings: Settings, clock: Traveller, statements: Statements) -> None:
    ring = keys.KeyRing(settings)
    ring.signing()
    for _ in range(3):
        clock.shift(SECOND)
        with statements() as seen:
            for n in range(50):
                assert ring.trusted(f"{n:043}") is None
        assert len(seen) == 1


@pytest.mark.usefixtures("context")
def test_a_known_key_costs_one_query_in_half_a_minute(settings: Settings, clock: Traveller, statements: Statements) -> None:
    ring = keys.KeyRing(settings)
    kid = ring.signing().kid
    with statements() as seen:
        for _ in range(30):
            clock.shift(SECOND)
            assert ring.trusted(kid) is not None
            ring.signing()
    assert len(seen) == 1


@pytest.mark.usefixtures("context")
def test_keys_are_reloaded_after_the_clock_is_set_back(settings: Settings, clock: Traveller) -> None:
    ring = keys.KeyRing(settings)
    ring.signing()
    clock.shift(timedelta(days=-1))
    assert ring.trusted(rotate(settings)) is not None


@pytest.mark.requirement("TOK-08")
@pytest.mark.usefixtures("context")
def test_a_key_may_be_published_before_it_signs(settings: Settings, clock: Traveller) -> None:
    ahead = timedelta(minutes=10)
    old = keys.KeyRing(settings).signing().kid
    new = rotate(settings, ahead=ahead)
    assert [key.kid for key in keys.KeyRing(settings).published()] == [old, new]
    clock.shift(ahead - SECOND)
    assert keys.KeyRing(settings).signing().kid == old
    clock.shift(SECOND)
    assert keys.KeyRing(settings).signing().kid == new
    clock.shift(TRUSTED_AFTER_RETIREMENT)
    assert [key.kid for key in keys.KeyRing(settings).published()] == [new]


@pytest.mark.usefixtures("context")
def test_an_urgent_rotation_overtakes_one_that_is_ahead(settings: Settings, clock: Traveller) -> None:
    rotate(settings, ahead=timedelta(hours=1))
    clock.shift(SECOND)
    new = rotate(settings)
    assert keys.KeyRing(settings).signing().kid == new
    clock.shift(timedelta(hours=2))
    assert keys.KeyRing(settings).signing().kid == new


@pytest.mark.usefixtures("context")
def test_many_rotations_leave_one_key_that_does_not_expire(settings: Settings, clock: Traveller) -> None:
    for _ in range(5):
        new = rotate(settings)
        clock.shift(SECOND)
    assert keys.KeyRing(settings).signing().kid == new
    assert len(keys.KeyRing(settings).published()) == 6
    assert [key.kid for key in keys.every(settings) if key.retired_at is None] == [new]
    assert db.session.scalar(select(func.count()).where(Event.kind == events.Kind.KEY_ROTATED)) == 5


def test_parallel_rotations_happen_one_after_another(app: Flask, settings: Settings) -> None:
    def rotate_once() -> str:
        with app.app_context():
            return rotate(settings)

    made = at_once([rotate_once] * 8)
    with app.app_context():
        found = keys.every(settings)
    assert len(set(made)) == 8
    assert {key.kid for key in found} > set(made)
    assert len(found) == 9  # the first key included
    assert len([key for key in found if key.retired_at is None]) == 1


@pytest.mark.requirement("TOK-05", "TOK-08")
@pytest.mark.usefixtures("context")
def test_nothing_in_the_database_signs_anything(settings: Settings) -> None:
    rotate(settings)
    kind = serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    raw = [key.private.private_bytes(*kind) for key in keys.every(settings)]
    stored = "\n".join(everything_stored())
    for seed in raw:
        assert seed.hex() not in stored
        assert repr(seed) not in stored
    assert not [key for key in keys.every(settings) if "private" in repr(key)]


# -- published ----------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("TOK-08")
def test_published_keys_have_only_their_public_part(app: Flask, settings: Settings, client: FlaskClient) -> None:
    with app.app_context():
        rotate(settings)
        private = [key.private for key in keys.every(settings)]
        assert published(client) == [key.published for key in keys.every(settings)]  # the view removes nothing
    found = published(client)
    assert len({key["kid"] for key in found}) == len(found) == 2
    for key in found:
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("OKP", "Ed25519", "sig", "EdDSA")
        thumbprint = JWKSet.from_json(json.dumps({"keys": [key]})).get_key(key["kid"]).thumbprint()
        assert key["kid"] == thumbprint
    text = json.dumps(found)
    for secret in private:
        pem = secret.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        assert pem.splitlines()[1] not in text


@pytest.mark.requirement("TOK-08")
def test_published_keys_may_be_cached_for_five_minutes_by_all(client: FlaskClient) -> None:
    answer = client.get("/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.mimetype == "application/json"
    assert not answer.headers.getlist("Set-Cookie")
    # The documentation proposes to publish a key ten minutes ahead: caches of the document know it before it signs.
    assert timedelta(seconds=KEYS_LIVE_SECONDS) + keys.RELOAD < timedelta(minutes=10)


@pytest.mark.requirement("TOK-08")
def test_another_library_checks_our_tokens_with_the_published_keys(app: Flask, settings: Settings, clock: Traveller) -> None:
    program = Program(app)
    program.sign_in(ANNA)
    old = program.tokens["access_token"]
    with app.app_context():
        rotate(settings)
    clock.shift(keys.RELOAD)
    program.tokens |= program.result("POST", "/auth/refresh/", {"refresh_token": program.tokens["refresh_token"]})
    new = program.tokens["access_token"]
    document = app.test_client().get("/.well-known/jwks.json").text

    assert kid_of(old) != kid_of(new)
    for token in (old, new):
        claims = checked_elsewhere(token, document)
        assert claims["iss"] == settings.public_url
        assert program.call("GET", "/users/me/", Authorization=f"Bearer {token}").status_code == 200
    content, _, signature = new.rpartition(".")
    with pytest.raises(JWException):
        checked_elsewhere(f"{content}.{signature[:-6]}AAAAAA", document)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_keys_are_read_only(client: FlaskClient, method: str) -> None:
    answer = client.open("/.well-known/jwks.json", method=method)
    assert answer.status_code == 405
    assert answer.mimetype == "application/problem+json"


# -- by hand ------------------------------------------------------------------------------------------------------------------


def say(app: Flask, *words: str) -> str:
    result = app.test_cli_runner().invoke(args=["keys", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_keys_are_listed_with_their_use(app: Flask, clock: Traveller) -> None:
    first = say(app, "list").splitlines()
    assert first[0].split() == ["KEY", "FOR", "ALGORITHM", "MADE", "(UTC)", "RETIRES"]
    assert first[1].split()[1:] == ["access-tokens", "EdDSA", "–", "–", "signs"]

    assert "signs from now on" in say(app, "rotate")
    clock.shift(timedelta(minutes=1))
    output = say(app, "rotate", "--ahead", "10")
    rows = [row.split() for row in say(app, "list").splitlines()[1:]]
    until = datetime.now(UTC) - timedelta(minutes=1) + TRUSTED_AFTER_RETIREMENT

    assert "UTC on" in output
    assert [row[-1] for row in rows[1:]] == ["signs", "next"]
    assert " ".join(rows[0]).endswith(f"trusted until {until:%Y-%m-%d %H:%M}")
    assert rows[0][0] == first[1].split()[0]
    assert rows[2][0] == output.split()[0]
    clock.shift(timedelta(minutes=30))
    assert [row.split()[-1] for row in say(app, "list").splitlines()[1:]] == ["over", "over", "signs"]


# -- several processes --------------------------------------------------------------------------------------------------------

PUBLIC = "http://127.0.0.1:5999"


@pytest.fixture(scope="module")
def three(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Servers that are started at the same moment on one database without keys."""
    url, logs = databases.new(), tmp_path_factory.mktemp("three")
    with ExitStack() as running:

        def start(n: int) -> Server:
            return running.enter_context(serving.serve(url, logs / str(n), HAMMER_PUBLIC_URL=PUBLIC))

        yield at_once([partial(start, n) for n in range(3)])


def by_hand(server: Server, *words: str) -> str:
    environment = serving.surroundings() | {
        "HAMMER_PUBLIC_URL": PUBLIC,
        "DATABASE_URL": server.database_url,
        "SECRET_KEY": "only for the tests, 32 bytes and more of it",
    }
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "keys", *words]
    done = subprocess.run(command, cwd=Path(ROOT), env=environment, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def who(server: Server, token: str) -> Answer:
    return server.call("GET", "/users/me/", token=token)


@pytest.mark.processes
@pytest.mark.requirement("TOK-08")
def test_processes_that_start_together_trust_each_others_tokens(three: list[Server]) -> None:
    signed_in = at_once([partial(server.sign_in, f"+7932000000{n}") for n, server in enumerate(three * 2)])
    documents = {server.request("GET", "/.well-known/jwks.json").body for server in three}

    assert len(documents) == 1
    assert {kid_of(person["access_token"]) for person in signed_in} == {json.loads(documents.pop())["keys"][0]["kid"]}
    for person in signed_in:
        assert [who(server, person["access_token"]).status for server in three] == [200, 200, 200]


@pytest.mark.processes
@pytest.mark.requirement("TOK-08")
def test_a_rotation_reaches_every_process_without_a_restart(three: list[Server], databases: Databases, tmp_path: Path) -> None:
    before = three[0].sign_in("+79320000010")["access_token"]
    assert who(three[1], before).status == 200
    new = by_hand(three[0], "rotate").split()[0]
    with serving.serve(three[0].database_url, tmp_path / "log", HAMMER_PUBLIC_URL=PUBLIC) as fresh:
        after = fresh.sign_in("+79320000011")["access_token"]
        assert kid_of(after) == new != kid_of(before)
        for server in (*three, fresh):
            answers = [who(server, before).status, who(server, after).status]
            assert answers == [200, 200]
        assert kid_of(after) in by_hand(fresh, "list")


@pytest.mark.processes
@pytest.mark.requirement("TOK-06")
def test_a_session_ended_in_one_process_is_ended_in_the_others(three: list[Server]) -> None:
    person = three[0].sign_in("+79320000012")
    token = person["access_token"]
    assert [who(server, token).status for server in three * 2] == [200] * 6

    assert three[0].call("POST", "/auth/logout/", token=token).status == 204

    assert [who(server, token).status for server in three * 2] == [401] * 6


@pytest.mark.processes
@pytest.mark.requirement("TOK-04")
def test_twenty_refreshes_at_once_over_three_processes_have_one_successor(three: list[Server]) -> None:
    person = three[0].sign_in("+79320000013")
    body = {"refresh_token": person["refresh_token"]}
    calls = [partial(three[n % 3].call, "POST", "/auth/refresh/", body) for n in range(20)]

    answers = at_once(calls)

    assert {answer.status for answer in answers} == {200}
    [successor] = {answer.json["refresh_token"] for answer in answers}
    again = three[1].call("POST", "/auth/refresh/", {"refresh_token": successor})
    assert again.status == 200
    assert again.json["refresh_token"] != successor
    assert three[2].call("POST", "/auth/refresh/", body).status == 401
    assert {who(server, answer.json["access_token"]).status for server in three for answer in (again, *answers)} == {401}
