"""Devices that signed in before have limits of their own: a stranger cannot lock the owner out."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask

from config import Settings
from hammer import clock, codes
from hammer.db.database import db
from hammer.login import by_code
from hammer.login.verifications import Asker
from hammer.models import Counter, Device, User, Verification
from hammer.refusals import NotAllowed, TooManyRequests, Unavailable, WrongCode
from hammer.sessions import devices
from hammer.users import accounts
from tests.actions import ANNA, BORIS, HOME, ask, confirm, number, right, sign_in, wrong
from tests.people import Browser, Program


def known(settings: Settings, device: Device) -> Asker:
    """A caller who sends the token of this device."""
    return replace(HOME, device_token=devices.token(settings, device))


def fail(settings: Settings, verification: Verification) -> int:
    with pytest.raises(WrongCode) as refused:
        confirm(settings, verification, wrong(settings, verification))
    return refused.value.attempts_left


def attack(app: Flask, telephone_number: str) -> None:
    """Does what a stranger can do to a number: uses up its texts of the day and all hundred guesses of its ladder."""
    with app.app_context():
        settings = app.config["SETTINGS"]
        unlimited = replace(settings, resend_wait=timedelta(0), guesses_per_code=100, guess_budgets={4: 1000, 6: 1000, 8: 1000})
        ask(unlimited, telephone_number)  # with the owner's one and three more, all texts of the day
        for length in (4, 6, 8):
            verification = ask(unlimited, telephone_number)
            assert verification.code_length == length
            while fail(unlimited, verification):
                pass
        with pytest.raises(TooManyRequests):
            ask(replace(unlimited, sends_per_number_day=1000), telephone_number)


# Through the API and the pages


@pytest.mark.requirement("THR-06", "THR-01")
def test_after_an_attack_the_owners_program_still_signs_in(app: Flask) -> None:
    owner, stranger = Program(app), Program(app)
    owner.sign_in(ANNA)
    device_token = owner.tokens["device_token"]
    attack(app, ANNA)
    assert stranger.call("POST", "/auth/signup/", {"telephone_number": ANNA}).status_code == 429
    asked = owner.result("POST", "/auth/signup/", {"telephone_number": ANNA, "device_token": device_token})
    assert asked["code_length"] == 4
    with app.app_context():
        code = right(app.config["SETTINGS"], db.session.get_one(Verification, asked["verification_id"]))
    back = owner.result("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code})
    assert back["device_token"] != device_token
    assert not back["created"]


@pytest.mark.requirement("THR-06", "THR-01")
def test_after_an_attack_the_owners_browser_still_signs_in(app: Flask) -> None:
    owner, stranger = Browser(app), Browser(app)
    owner.sign_in(ANNA)
    owner.sign_out()
    attack(app, ANNA)
    form = stranger.get("/login/").form_with("telephone_number")
    assert form is not None
    refused = stranger.send(form, telephone_number=ANNA)
    assert refused.form_with("code") is None
    assert "a device where you have signed in before" in refused.words
    owner.sign_in(ANNA)
    assert owner.is_signed_in()


@pytest.mark.requirement("THR-06")
def test_the_token_of_one_user_is_useless_for_another(app: Flask) -> None:
    anna, boris = Program(app), Program(app)
    anna.sign_in(ANNA)
    boris.sign_in(BORIS)
    attack(app, BORIS)
    for token in (anna.tokens["device_token"], "nonsense", boris.tokens["refresh_token"], boris.tokens["device_token"][:-1] + "_"):
        answer = anna.call("POST", "/auth/signup/", {"telephone_number": BORIS, "device_token": token})
        assert answer.status_code == 429


@pytest.mark.requirement("THR-06", "SES-02")
def test_the_device_cookie_is_bound_to_the_host_and_hidden_from_scripts(
    settings: Settings, app_with: Callable[[Settings], Flask]
) -> None:
    secure = replace(settings, public_url="https://login.example.com")
    app = app_with(secure)
    with app.app_context():
        verification = ask(secure)
        code = right(secure, verification)
    client = app.test_client()
    with client.session_transaction(base_url=secure.public_url) as form:
        form["verification"] = verification.id
    page = client.get("/login/code/", base_url=secure.public_url).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    answer = client.post(
        "/login/code/",
        data={"csrf_token": token[1], "code": code},
        base_url=secure.public_url,
        headers={"Referer": f"{secure.public_url}/login/code/"},
    )
    cookies = [c for c in answer.headers.getlist("Set-Cookie") if "device" in c.partition("=")[0]]
    assert len(cookies) == 1
    name, _, rest = cookies[0].partition("=")
    assert name == "__Host-hammer_device"
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= {part.strip() for part in rest.split(";")}
    assert "Domain" not in rest


# The rules


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_a_device_is_unknown_after_ten_wrong_guesses(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=100)
    asker = known(patient, sign_in(patient).device)
    opened = [ask(patient, asker=asker) for _ in range(5)]
    assert [fail(patient, opened[n // 3]) for n in range(10)] == [2, 1, 0] * 3 + [2]
    with pytest.raises(WrongCode):
        confirm(patient, opened[4], right(patient, opened[4]))
    assert ask(patient, asker=asker).device_id is None
    assert db.session.query(Counter).filter(Counter.scope.like("guesses/%"), Counter.taken > 0).count() == 0


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_a_login_gives_only_the_right_guess_back_to_a_device(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=100)
    mine = sign_in(patient)
    for spent in (2, 4, 6, 8):
        verification = ask(patient, asker=known(patient, mine.device))
        assert verification.device_id == mine.device.id
        fail(patient, verification)
        fail(patient, verification)
        mine = confirm(patient, verification, right(patient, verification))
        assert mine.device.guesses == spent
    assert db.session.query(Device).count() == 1


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_after_ten_wrong_guesses_the_next_sign_in_creates_another_device(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0), sends_per_number_day=100)
    old = sign_in(patient)
    for _ in range(10):
        fail(patient, ask(patient, asker=known(patient, old.device)))
    asked = ask(patient, asker=known(patient, old.device))
    assert asked.device_id is None
    new = confirm(patient, asked, right(patient, asked))
    assert new.device.id != old.device.id
    assert ask(patient, asker=known(patient, new.device)).device_id == new.device.id


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_known_devices_sign_in_while_all_other_limits_are_used_up(settings: Settings) -> None:
    poor = replace(settings, resend_wait=timedelta(0), guess_budgets={4: 1, 6: 1, 8: 1})
    asker = known(poor, sign_in(poor).device)
    for n in range(3):
        fail(poor, ask(poor, f"+7929111000{n}"))
    with pytest.raises(Unavailable):
        ask(poor, BORIS)
    verification = ask(poor, asker=asker)
    assert verification.code_length == 4
    fail(poor, verification)
    assert not confirm(poor, verification, right(poor, verification)).created


@pytest.mark.usefixtures("context")
def test_guesses_of_a_known_device_and_of_strangers_are_counted_separately(settings: Settings) -> None:
    """Of two codes at the same time, one was asked for by a stranger and one by the owner's device."""
    patient = replace(settings, resend_wait=timedelta(0))
    asker = known(patient, sign_in(patient).device)
    strangers, mine = ask(patient), ask(patient, asker=asker)
    fail(patient, strangers)
    number_hash = patient.number_hash(ANNA)
    of_number = db.session.query(Counter).filter_by(scope=f"guesses/{number_hash}")
    assert of_number.one().taken == 1
    confirm(patient, mine, right(patient, mine))
    db.session.expire_all()
    assert of_number.one().taken == 1


@pytest.mark.usefixtures("context")
def test_devices_of_the_former_owner_of_a_number_are_unknown(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    old = sign_in(patient)
    asker = known(patient, old.device)
    accounts.delete(settings, old.user.id)
    assert ask(patient, asker=asker).device_id is None
    new = sign_in(patient)
    assert new.user.id != old.user.id
    assert ask(patient, asker=asker).device_id is None
    assert ask(patient, asker=known(patient, new.device)).device_id == new.device.id


@pytest.mark.usefixtures("context")
def test_a_device_follows_its_user_to_another_number(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    mine = sign_in(patient)
    pending = ask(patient, asker=known(patient, mine.device))
    db.session.query(User).filter_by(id=mine.user.id).update({"telephone_number": BORIS})
    db.session.commit()
    assert ask(patient, asker=known(patient, mine.device)).device_id is None
    assert ask(patient, BORIS, asker=known(patient, mine.device)).device_id == mine.device.id
    other = confirm(patient, pending, right(patient, pending))  # the number is verified, and belongs to no account any more
    assert (other.created, other.device.id == mine.device.id) == (True, False)


@pytest.mark.usefixtures("context")
def test_no_device_of_a_blocked_user_is_known(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    mine = sign_in(patient)
    pending = ask(patient, asker=known(patient, mine.device))
    accounts.set_blocked(mine.user.id, True)
    verification = ask(patient, asker=known(patient, mine.device))
    assert verification.device_id is None
    with pytest.raises(NotAllowed):
        confirm(patient, verification, right(patient, verification))
    accounts.set_blocked(mine.user.id, False)
    with pytest.raises(WrongCode):
        confirm(patient, pending, right(patient, pending))
    assert db.session.query(Device).count() == 0


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_accounts_at_one_address_cannot_use_up_the_texts_reserved_for_known_devices(settings: Settings) -> None:
    wide = replace(settings, sends_per_prefix_hour=100, sends_per_address_hour=100)
    crowd = [(number(n), known(wide, sign_in(wide, number(n)).device)) for n in range(11)]
    tight = replace(wide, sends_per_address_hour=3)
    for telephone_number, asker in crowd[:9]:
        assert ask(tight, telephone_number, asker=asker).device_id is not None
    telephone_number, asker = crowd[-1]
    with pytest.raises(TooManyRequests) as refused:
        ask(tight, telephone_number, asker=asker)
    assert 1 <= refused.value.retry_after <= 3600
    assert ask(tight, telephone_number, asker=replace(asker, address="192.0.2.2")).device_id is not None


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_strangers_cannot_use_up_the_texts_of_a_known_device(settings: Settings) -> None:
    mine = sign_in(settings)
    for _ in range(4):
        sign_in(settings)
    with pytest.raises(TooManyRequests):
        ask(settings)
    for _ in range(5):
        verification = ask(settings, asker=known(settings, mine.device))
        mine = confirm(settings, verification, right(settings, verification))
    with pytest.raises(TooManyRequests):
        ask(settings, asker=known(settings, mine.device))


@pytest.mark.usefixtures("context")
def test_a_token_has_128_bits_and_contains_no_data(settings: Settings) -> None:
    mine = sign_in(settings)
    token = devices.token(settings, mine.device)
    assert codes.read_proof(settings.keys("devices"), "device", token) == (mine.device.id, 0)
    assert len(mine.device.id) == 22
    assert ANNA[1:] not in token
    assert mine.user.id not in token
    other = replace(settings, secret_key="another secret, as long as it must be")
    assert devices.known(db.session(), settings, token, ANNA, clock.now()) == mine.device.id
    assert devices.known(db.session(), other, token, ANNA, clock.now()) is None


@pytest.mark.usefixtures("context")
def test_a_verification_keeps_the_limits_of_its_device_when_it_is_sent_again(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    verification = ask(patient, asker=known(patient, sign_in(patient).device))
    by_code.resend_code(patient, verification.id, HOME)
    assert db.session.query(Counter).filter(Counter.scope.like("texts/address/h/%")).one().taken == 1  # of the first sign-in
