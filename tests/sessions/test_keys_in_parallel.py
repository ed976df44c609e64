"""Keys of id tokens that several processes need at the same moment: one is made, and no write waits for it."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from flask import Flask
from sqlalchemy import delete, select

from config import Settings
from hammer.db.database import db, transaction
from hammer.models import SigningAlgorithm, TokenKey
from hammer.sessions import keys
from hammer.sessions.keys import IdTokenKeys, Key, Purpose
from tests import serving
from tests.databases import Databases
from tests.interleaving import Verb, at_every_step
from tests.serving import ROOT, at_once

EACH = list(SigningAlgorithm)
ES256, EDDSA, RS256 = SigningAlgorithm.ES256, SigningAlgorithm.EDDSA, SigningAlgorithm.RS256
MAKE = """
from hammer import create_app
from hammer.models import SigningAlgorithm
from hammer.sessions.keys import IdTokenKeys
app = create_app()
input("ready")
with app.app_context():
    print(*(IdTokenKeys(app.config["SETTINGS"]).signing(each).kid for each in SigningAlgorithm))
"""


def signing(settings: Settings) -> list[Key]:
    """The keys of id tokens that do not retire."""
    return [key for key in keys.every(settings, Purpose.ID) if key.retired_at is None]


@pytest.mark.parametrize("algorithm", EACH)
@pytest.mark.parametrize("rings", [1, 6])
def test_parallel_requests_end_up_with_one_key(app: Flask, settings: Settings, algorithm: SigningAlgorithm, rings: int) -> None:
    """Of one process, with one ring, and of several."""
    each = [IdTokenKeys(settings) for _ in range(rings)]

    def sign(ring: IdTokenKeys) -> str:
        with app.app_context():
            return ring.signing(algorithm).kid

    made = at_once([partial(sign, each[n % rings]) for n in range(6)])
    with app.app_context():
        assert [key.kid for key in signing(settings)] == [made[0]]
    assert set(made) == {made[0]}


@pytest.mark.processes
def test_processes_that_start_together_end_up_with_one_key_of_each_algorithm(databases: Databases) -> None:
    environment = serving.surroundings() | serving.development(databases.new(), 5999)
    command = [sys.executable, "-c", MAKE]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.read(len("ready")) == "ready"
    printed = at_once([partial(process.communicate, "\n", timeout=60) for process in processes])
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len({output for output, _ in printed}) == 1
    assert len(printed[0][0].split()) == 3


def test_a_rotation_elsewhere_is_seen_also_where_the_rows_are_held(app: Flask, settings: Settings) -> None:
    def rotate_elsewhere() -> list[Key]:
        with app.app_context():
            return keys.rotate(settings, Purpose.ID)

    with app.app_context():
        IdTokenKeys(settings).ensure(ES256)
        held = list(db.session.scalars(select(TokenKey)))
        [[new]] = at_once([rotate_elsewhere])
        assert [key.kid for key in signing(settings)] == [new.kid]
    assert len(held) == 1


def ensure(settings: Settings, algorithm: SigningAlgorithm = ES256) -> Verb:
    return lambda: IdTokenKeys(settings).ensure(algorithm).kid


def rotate(settings: Settings) -> Verb:
    return lambda: [key.kid for key in keys.rotate(settings, Purpose.ID)]


@pytest.mark.parametrize("verbs", [(ensure, ensure), (ensure, rotate), (rotate, ensure), (rotate, rotate)])
@pytest.mark.parametrize("there", [[], [ES256], [EDDSA], [EDDSA, ES256]])
def test_in_every_order_of_their_steps_one_key_of_each_algorithm_signs(
    app: Flask, settings: Settings, verbs: tuple[Callable[[Settings], Verb], ...], there: list[SigningAlgorithm]
) -> None:
    def scene() -> tuple[Verb, Verb]:
        with transaction() as tx:
            tx.execute(delete(TokenKey))
        for algorithm in there:
            IdTokenKeys(settings).ensure(algorithm)
        return verbs[0](settings), verbs[1](settings)

    for one, two, _ in at_every_step(app, scene):
        assert (one.raised, two.raised) == (None, None)
        with app.app_context():
            now = signing(settings)
        asked_for = {ES256} if ensure in verbs else set()
        assert sorted(key.algorithm for key in now) == sorted({*there, *asked_for})


@pytest.mark.parametrize("rotates", [False, True])
def test_no_write_waits_while_an_rsa_key_is_made(
    app: Flask, settings: Settings, rotates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def write() -> None:
        with app.app_context(), transaction() as tx:
            written.append(len(tx.scalars(select(TokenKey.id)).all()))

    def make_slowly(**how: int) -> RSAPrivateKey:
        writer = Thread(target=write)
        writer.start()
        writer.join(timeout=30)
        return generate_private_key(**how)

    with app.app_context():
        if rotates:
            ensure(settings, RS256)()
        monkeypatch.setattr("hammer.sessions.keys.generate_private_key", make_slowly)
        (rotate(settings) if rotates else ensure(settings, RS256))()
        assert len(signing(settings)) == 1
    assert written == [int(rotates)]
