"""A confirmation that is repeated with its idempotency key: which session it gets, and when it gets none."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import Session, SessionKind, User, Verification
from hammer.quotas import idempotency
from hammer.refusals import WrongCode
from hammer.sessions import devices, sessions
from tests.actions import ANNA, BORIS, HOME, ask, confirm, right, wrong

pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def patient(settings: Settings) -> Settings:
    return replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)


def key_of(settings: Settings, verification: Verification) -> idempotency.Key:
    return idempotency.make_key(settings, "key", call="code", body=verification.id)


def confirm_with_key(settings: Settings, verification: Verification, code: str) -> SignedIn:
    return by_code.confirm_code(
        settings,
        verification.id,
        code,
        kind=SessionKind.PROGRAM,
        device="",
        address=HOME.address,
        key=key_of(settings, verification),
    )


def opens_nothing(settings: Settings, verification: Verification) -> bool:
    """Whether the repeated request gets no session, and the same refusal as a wrong code."""
    with pytest.raises(WrongCode) as refused:
        confirm_with_key(settings, verification, right(settings, verification))
    assert refused.value.details == {"attempts_left": 0}
    return by_code.signed_in_before(key_of(settings, verification)) is None


@pytest.fixture
def confirmed(patient: Settings) -> tuple[Verification, SignedIn]:
    """A verification that was confirmed with a key, and the result. Another user has a session, too."""
    other = ask(patient, BORIS)
    confirm(patient, other, right(patient, other))
    asked = ask(patient, ANNA)
    return asked, confirm_with_key(patient, asked, right(patient, asked))


def test_a_repeated_confirmation_gets_the_session_that_it_opened(
    patient: Settings, confirmed: tuple[Verification, SignedIn]
) -> None:
    asked, first = confirmed
    for again in (
        confirm_with_key(patient, asked, right(patient, asked)),
        by_code.signed_in_before(key_of(patient, asked)),
    ):
        assert again is not None
        assert (again.session.id, again.user.id, again.device.id, again.created) == (
            first.session.id,
            first.user.id,
            first.device.id,
            True,
        )


def test_a_key_that_opened_no_session_gets_none(patient: Settings) -> None:
    asked = ask(patient)
    assert by_code.signed_in_before(key_of(patient, asked)) is None
    with pytest.raises(WrongCode):
        confirm_with_key(patient, asked, wrong(patient, asked))
    assert by_code.signed_in_before(key_of(patient, asked)) is None
    other = idempotency.make_key(patient, "key", call="signup", body=ANNA)
    by_code.send_code(patient, ANNA, HOME, key=other)
    assert by_code.signed_in_before(other) is None


@pytest.mark.parametrize("column", [User.blocked_at, User.deleted_at], ids=["blocked", "deleted"])
def test_a_repeated_confirmation_opens_nothing_for_a_deleted_or_blocked_user_with_a_live_session(
    patient: Settings, confirmed: tuple[Verification, SignedIn], column: Any
) -> None:
    asked, first = confirmed
    with transaction() as tx:
        tx.execute(update(User).where(User.id == first.user.id).values({column: time_of_day.now()}))
    assert opens_nothing(patient, asked)


@pytest.mark.parametrize(("left", "opens"), [(timedelta(microseconds=1), True), (timedelta(0), False)])
def test_a_repeated_confirmation_opens_nothing_once_the_session_has_expired(
    patient: Settings, clock: Traveller, confirmed: tuple[Verification, SignedIn], left: timedelta, opens: bool
) -> None:
    asked, first = confirmed
    with transaction() as tx:
        tx.execute(update(Session).where(Session.id == first.session.id).values(expires_at=time_of_day.now() + left))
    if opens:
        assert confirm_with_key(patient, asked, right(patient, asked)).session.id == first.session.id
    else:
        assert opens_nothing(patient, asked)


def after_a_sign_in_on_the_same_device(settings: Settings, them: SignedIn) -> None:
    """It gives the device another token, so the token of the first answer is not valid any more."""
    again = ask(settings, ANNA, asker=Asker(HOME.address, "en", devices.token(settings, them.device)))
    assert again.device_id == them.device.id
    confirm(settings, again, right(settings, again))


def after_a_sign_out(_: Settings, them: SignedIn) -> None:
    sessions.sign_out(them.user.id, them.session.id)


def after_a_refresh(settings: Settings, them: SignedIn) -> None:
    sessions.refresh(settings, sessions.refresh_token(settings, them.session))


@pytest.mark.parametrize(
    "since", [after_a_sign_in_on_the_same_device, after_a_sign_out, after_a_refresh], ids=lambda one: one.__name__
)
def test_a_repeated_confirmation_opens_nothing(
    patient: Settings, confirmed: tuple[Verification, SignedIn], since: Callable[[Settings, SignedIn], None]
) -> None:
    asked, first = confirmed
    since(patient, first)
    assert opens_nothing(patient, asked)


def test_a_repeated_confirmation_shows_the_user_as_stored_now(patient: Settings, confirmed: tuple[Verification, SignedIn]) -> None:
    """Not as an earlier query of the same request has read them."""
    asked, first = confirmed
    read_before = db.session.get_one(User, first.user.id)
    assert read_before.first_name == ""
    with transaction() as tx:
        tx.execute(update(User).where(User.id == first.user.id).values(first_name="Anna"))
    again = by_code.signed_in_before(key_of(patient, asked))
    assert again is not None
    assert again.user.first_name == "Anna"


def test_a_confirmation_instead_of_a_session_ends_that_session_alone(patient: Settings) -> None:
    old, other = (confirm(patient, asked, right(patient, asked)) for asked in (ask(patient, ANNA), ask(patient, ANNA)))
    asked = ask(patient, ANNA)
    new = by_code.confirm_code(
        patient,
        asked.id,
        right(patient, asked),
        kind=SessionKind.BROWSER,
        device="",
        address=HOME.address,
        instead_of=old.session.id,
    )
    assert {device.id for device in sessions.devices(new.user.id)} == {new.session.id, other.session.id}
    assert not new.created
