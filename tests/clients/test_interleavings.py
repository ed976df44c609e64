"""The end of a client at the same time as a login through it, and rotations at the same time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import NoneType

import pytest
from flask import Flask
from sqlalchemy import select

from config import Settings
from hammer.clients import registry, secrets
from hammer.db.database import db
from hammer.login import by_code
from hammer.login.verifications import Asker
from hammer.models import Client, Device, Session, Verification
from hammer.refusals import NotAllowed, WrongCode
from hammer.sessions import devices
from tests.actions import confirm, number, right
from tests.interleaving import Verb, at_every_step


@pytest.mark.requirement("TOK-06", "THR-06")
@pytest.mark.parametrize("on", [None, "theirs", "another"], ids=["new-device", "device-of-the-client", "other-device"])
@pytest.mark.parametrize("end", [registry.disable, registry.remove])
@pytest.mark.parametrize("login_first", [True, False], ids=["end-in-a-login", "login-in-an-end"])
def test_no_session_and_no_device_of_a_client_outlives_it(
    app: Flask, settings: Settings, end: Callable[[str], None], login_first: bool, on: str | None
) -> None:
    turn = 0
    settings = replace(settings, resend_wait=timedelta(0))

    def scene() -> tuple[Verb, Verb]:
        nonlocal turn
        turn += 1
        shop = registry.add(f"Shop {turn}", [])

        def ask(token: str | None, client: Client | None = shop) -> Verification:
            return by_code.send_code(settings, number(turn), Asker("192.0.2.7", "en", token, client=client)).verification

        token = None
        if on is not None:
            before = ask(None, shop if on == "theirs" else None)
            token = devices.token(settings, confirm(settings, before, right(settings, before)).device)
        asked = ask(token)
        assert (asked.device_id is None) == (on is None)
        verbs = partial(confirm, settings, asked, right(settings, asked)), partial(end, shop.id)
        return verbs if login_first else verbs[::-1]

    for first, second, step in at_every_step(app, scene):
        ended, login = (second, first) if login_first else (first, second)
        assert ended.raised is None, step
        assert type(login.raised) in (NoneType, NotAllowed, WrongCode), step
        with app.app_context():
            live = select(Session.id).where(Session.client_id.is_not(None), Session.ended_at.is_(None))
            assert not db.session.scalars(live).all()
            assert not db.session.scalars(select(Device.id).where(Device.client_id.is_not(None))).all(), step
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
