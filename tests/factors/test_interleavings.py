"""No session of the operator's pages outlives what ends it, whichever of two verbs at the same moment is quicker."""

from collections.abc import Callable
from itertools import count

import pytest
from flask import Flask
from sqlalchemy import select

from config import Settings
from hammer.db.database import db
from hammer.factors import staff
from hammer.models import SecondFactor, Session, SessionKind
from hammer.refusals import Unavailable
from hammer.sessions import sessions
from hammer.users import accounts
from tests import actions
from tests.interleaving import Verb, at_every_step
from tests.operators import app_code

Ends = Callable[[Settings, str, str], Verb]
ENDS: dict[str, Ends] = {
    "sign-out": lambda _, user_id, browser_id: lambda: sessions.sign_out(user_id, browser_id),
    "no more staff": lambda settings, user_id, _: lambda: accounts.set_staff(settings, user_id, False),
    "block": lambda _, user_id, __: lambda: accounts.set_blocked(user_id, True),
    "reset": lambda settings, user_id, _: lambda: staff.reset(settings, user_id),
    "deletion": lambda settings, user_id, _: lambda: accounts.delete(settings, user_id),
}
_fresh = count(700)


@pytest.mark.requirement("AZN-03")
@pytest.mark.parametrize("renewed", [False, True], ids=["opened", "renewed"])
@pytest.mark.parametrize("how", ENDS)
def test_a_session_that_is_opened_at_the_same_moment_ends_too(app: Flask, settings: Settings, how: str, renewed: bool) -> None:
    user_id = ""

    def scene() -> tuple[Verb, Verb]:
        nonlocal user_id
        signed_in = actions.sign_in(settings, actions.number(next(_fresh)), kind=SessionKind.BROWSER)
        user_id, browser_id = signed_in.user.id, signed_in.session.id
        accounts.set_staff(settings, user_id, True)
        token, secret = staff.allow_enrolment(settings, user_id), staff.next_secret(settings, user_id)
        opened = staff.enrol_by_link(settings, user_id, browser_id, token, app_code(secret), device="")
        old = opened.session.id if renewed else None
        typed = opened.recovery_codes[0]

        def opens() -> Session:
            return staff.open_by_code(settings, user_id, typed, device="", browser_id=browser_id, instead_of=old)

        return opens, ENDS[how](settings, user_id, browser_id)

    for opening, ending, step in at_every_step(app, scene):
        assert ending.raised is None, step
        assert not isinstance(opening.raised, Unavailable), step
        with app.app_context():
            db.session.expire_all()
            live = select(Session.id).where(
                Session.user_id == user_id, Session.kind == SessionKind.ADMIN, Session.ended_at.is_(None)
            )
            assert db.session.scalars(live).all() == [], step
            if how == "deletion":
                assert db.session.get(SecondFactor, user_id) is None
