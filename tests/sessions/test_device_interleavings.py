"""A device is ended while its user signs in on it. In every order of their steps, a device whose sessions were ended does not
stay known, and there is no deadlock."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from hammer.db.database import db
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.models import Device, Session, SessionKind
from hammer.refusals import NotAllowed, NotFound, NotSignedIn, Unavailable, WrongCode
from hammer.sessions import sessions
from hammer.users import accounts
from tests import actions
from tests.interleaving import Verb, at_every_step
from tests.test_interleavings import Cast, fresh_number, hold_together, number_of, raised


@pytest.fixture
def cast(app: Flask) -> Cast:
    return Cast(replace(app.config["SETTINGS"], resend_wait=timedelta(0), sends_per_number_day=1000), long_here=False)


def end(cast: Cast, mine: SignedIn, theirs: SignedIn) -> Verb:
    return lambda: sessions.end(mine.user.id, theirs.session.id, asked_in=mine.session.id)


def end_others(cast: Cast, mine: SignedIn, theirs: SignedIn) -> Verb:
    return lambda: sessions.end_others(mine.user.id, mine.session.id)


def change_number(cast: Cast, mine: SignedIn, theirs: SignedIn) -> Verb:
    mine_now = mine.user.id, mine.session.id
    asked = accounts.ask_number(cast.settings, *mine_now, fresh_number(), actions.HOME).verification
    code = actions.right(cast.settings, asked)
    return lambda: accounts.change_number(cast.settings, *mine_now, asked.id, code, end_other_sessions=True)


def block(cast: Cast, mine: SignedIn, theirs: SignedIn) -> Verb:
    return lambda: accounts.set_blocked(mine.user.id, True)


def reuse(cast: Cast, mine: SignedIn, theirs: SignedIn) -> Verb:
    """Uses a refresh token again after two refreshes."""
    token, session = sessions.refresh_token(cast.settings, theirs.session), theirs.session
    for _ in range(2):
        session = sessions.refresh(cast.settings, sessions.refresh_token(cast.settings, session))

    def show_it_again() -> None:
        with pytest.raises(NotSignedIn):
            sessions.refresh(cast.settings, token)

    return show_it_again


Ending = Callable[[Cast, SignedIn, SignedIn], Verb]


@pytest.mark.requirement("THR-06")
@pytest.mark.parametrize("turned", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("on", ["theirs", "mine", "a new one"])
@pytest.mark.parametrize("end_sessions", [end, end_others, change_number, block, reuse])
def test_no_device_stays_known_whose_sessions_were_ended(
    app: Flask, cast: Cast, end_sessions: Ending, on: str, turned: bool
) -> None:
    people: list[SignedIn] = []

    def scene() -> tuple[Verb, Verb]:
        theirs = cast.person()
        mine = actions.sign_in(cast.settings, number_of(theirs), kind=SessionKind.BROWSER)
        people.append(mine)
        ending = end_sessions(cast, mine, theirs)
        signing_in = cast.signs_in(number_of(theirs), on={"theirs": theirs, "mine": mine}.get(on))
        return (signing_in, ending) if turned else (ending, signing_in)

    for first, second, step in at_every_step(app, scene):
        ended, signed_in = raised(first, second)[:: -1 if turned else 1]
        assert Unavailable not in (ended, signed_in), f"They waited for each other at: {step}"
        assert ended is None
        assert signed_in in (None, WrongCode, NotAllowed)
        with app.app_context():
            hold_together()
            user_id = people[-1].user.id
            known = set(db.session.scalars(select(Device.id).where(Device.user_id == user_id)))
            live = select(Session.device_id).where(Session.user_id == user_id, Session.ended_at.is_(None))
            assert known <= set(db.session.scalars(live)), step


@pytest.mark.parametrize("turned", [False, True], ids=["first", "second"])
def test_a_sign_in_that_replaces_a_session_does_not_deadlock_with_its_end(app: Flask, cast: Cast, turned: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        phone = cast.person()
        mine = actions.sign_in(cast.settings, number_of(phone), kind=SessionKind.PROGRAM)
        asked = cast._asks(number_of(phone), phone)
        code = actions.right(cast.settings, asked)

        def prove() -> SignedIn:
            how: dict[str, Any] = {
                "kind": SessionKind.PROGRAM,
                "device": "",
                "address": actions.HOME.address,
                "instead_of": phone.session.id,
            }
            return by_code.confirm_code(cast.settings, asked.id, code, **how)

        verbs: tuple[Verb, Verb] = end(cast, mine, phone), prove
        return verbs[::-1] if turned else verbs

    for first, second, step in at_every_step(app, scene):
        ended, proved = raised(first, second)[:: -1 if turned else 1]
        assert Unavailable not in (ended, proved), f"They waited for each other at: {step}"
        assert ended in (None, NotFound)
        assert proved in (None, WrongCode)
