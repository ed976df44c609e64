"""The end of a client at the same time as a login through it, and rotations at the same time."""

from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask

from config import Settings
from hammer.clients import registry, secrets
from hammer.db.database import db
from hammer.login import by_code
from hammer.login.verifications import Asker
from hammer.models import Client, Session
from tests.actions import confirm, number, right
from tests.interleaving import Verb, at_every_step


@pytest.mark.requirement("TOK-06")
@pytest.mark.parametrize("end", [registry.disable, registry.remove])
@pytest.mark.parametrize("login_first", [True, False], ids=["end-in-a-login", "login-in-an-end"])
def test_no_session_of_a_client_outlives_it(app: Flask, settings: Settings, end: Callable[[str], None], login_first: bool) -> None:
    turn = 0

    def scene() -> tuple[Verb, Verb]:
        nonlocal turn
        turn += 1
        shop = registry.add(f"Shop {turn}", [])
        asked = by_code.send_code(settings, number(turn), Asker("192.0.2.7", "en", client=shop)).verification
        verbs = partial(confirm, settings, asked, right(settings, asked)), partial(end, shop.id)
        return verbs if login_first else verbs[::-1]

    for _ in at_every_step(app, scene):
        with app.app_context():
            assert db.session.query(Session).where(Session.ended_at.is_(None)).count() == 0
    assert turn > 4


def test_of_two_rotations_at_once_each_shows_a_secret_of_its_own(app: Flask, settings: Settings) -> None:
    turn = 0

    def scene() -> tuple[Verb, Verb]:
        nonlocal turn
        turn += 1
        rotate = partial(secrets.rotate, settings, registry.add(f"Shop {turn}", []).id)
        return rotate, rotate

    for first, second, _ in at_every_step(app, scene):
        shown = [str(first.value), str(second.value)]
        with app.app_context():
            shop = registry.find(f"Shop {turn}")
            before = secrets.secret(settings, Client(id=shop.id, generation=0))
            right_ones = [secrets.authenticate(settings, shop.id, one, address="192.0.2.1") for one in (*shown, before)]
        assert [one is not None for one in right_ones] == [True, True, False]
        assert shown[0] != shown[1]
    assert turn > 1
