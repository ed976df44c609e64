"""What a change of number leaves: other sessions and their devices, and the language of the notice to the old number."""

from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.sessions import devices, sessions
from hammer.sms import gateways, messages
from hammer.users import accounts
from tests import delivery
from tests.actions import ANNA, BORIS, HOME, ask, confirm, right, sign_in

pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def patient(settings: Settings) -> Settings:
    return replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)


def change(settings: Settings, them: SignedIn, *, language: str = "en", end_others: bool | None = None) -> None:
    asker = Asker(HOME.address, language)
    asked = accounts.ask_number(settings, them.user.id, them.session.id, BORIS, asker).verification
    proof = asked.id, right(settings, asked)
    if end_others is None:
        accounts.change_number(settings, them.user.id, them.session.id, *proof)
    else:
        accounts.change_number(settings, them.user.id, them.session.id, *proof, end_other_sessions=end_others)


def is_known(settings: Settings, them: SignedIn) -> bool:
    return ask(settings, BORIS, asker=Asker(HOME.address, "en", devices.token(settings, them.device))).device_id is not None


def test_other_sessions_and_devices_stay_unless_they_are_ended_too(patient: Settings) -> None:
    mine, other = sign_in(patient, ANNA), sign_in(patient, ANNA)
    change(patient, mine)
    assert {device.id for device in sessions.devices(mine.user.id)} == {mine.session.id, other.session.id}
    assert (is_known(patient, mine), is_known(patient, other)) == (True, True)


def test_other_sessions_and_their_devices_end_where_that_is_asked_for(patient: Settings) -> None:
    mine, other = sign_in(patient, ANNA), sign_in(patient, ANNA)
    change(patient, mine, end_others=True)
    assert [device.id for device in sessions.devices(mine.user.id)] == [mine.session.id]
    assert (is_known(patient, mine), is_known(patient, other)) == (True, False)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_old_number_is_told_in_the_language_of_the_change(
    patient: Settings, memory: list[gateways.Sent], language: str
) -> None:
    change(patient, sign_in(patient, ANNA), language=language)
    delivery.deliver(patient)
    assert memory[-1] == (ANNA, messages.notice(patient, language))
    assert messages.notice(patient, "en") != messages.notice(patient, "ru")


def test_a_number_was_proved_lately_for_its_own_session_alone(patient: Settings, clock: Traveller) -> None:
    old = sign_in(patient, ANNA)
    clock.shift(accounts.PROOF_STAYS_FRESH)
    new = sign_in(patient, ANNA)
    assert [accounts.proved_lately(one.session.id) for one in (old, new)] == [False, True]


def test_the_token_before_is_known_by_servers_whose_clocks_differ_by_what_is_allowed(patient: Settings, clock: Traveller) -> None:
    them = sign_in(patient, ANNA)
    token = devices.token(patient, them.device)
    clock.shift(time_of_day.APART)
    again = ask(patient, ANNA, asker=Asker(HOME.address, "en", token))
    confirm(patient, again, right(patient, again))
    now = time_of_day.now() - time_of_day.APART
    assert devices.known(db.session(), patient, token, ANNA, now) == them.device.id
    assert devices.known(db.session(), patient, token, ANNA, now - timedelta(microseconds=1)) is None
    last = time_of_day.now() + devices.GRACE - timedelta(microseconds=1)
    assert devices.known(db.session(), patient, token, ANNA, last) == them.device.id
    assert devices.known(db.session(), patient, token, ANNA, last + timedelta(microseconds=1)) is None
