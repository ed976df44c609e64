"""A change of `SECRET_KEY`: what was made with a key in `SECRET_KEY_PREVIOUS` is accepted; without, nothing is."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from standardwebhooks import Webhook, WebhookVerificationError
from time_machine import Traveller

import config
import hammer
from config import Settings
from hammer import clock as our_clock
from hammer import codes, events
from hammer.clients import registry, secrets
from hammer.db.database import db, transaction
from hammer.factors import passkeys, recovery, staff, totp
from hammer.grants import authorizations, exchanges
from hammer.invites import tombstones
from hammer.login import verifications
from hammer.login.verifications import Asker
from hammer.models import Message, SendAllowance, SessionKind, SigningAlgorithm, Verification, WebhookEndpoint
from hammer.operations import audit, seals
from hammer.quotas import guesses, idempotency, invite_attempts, texts
from hammer.refusals import NotSignedIn, Refusal, TooManyRequests, WrongCode
from hammer.sessions import devices, keys, sessions
from hammer.sessions.keys import Purpose
from hammer.sms import outbox
from hammer.users import accounts
from hammer.web.request_limits import RequestLimiter
from hammer.webhooks import signing
from tests import actions, apps
from tests.actions import ANNA, BORIS, CLARA, HOME
from tests.operators import app_code
from tests.people import Browser, Program

NEW_KEY = "a-new-secret-key-for-the-tests-0123456789"
LONG_AGO = "a-key-of-long-ago-for-the-tests-0123456789"
Accepted = Callable[[Settings, Settings], bool]
"""Makes something with the first settings; whether it is accepted with the second."""

pytestmark = pytest.mark.usefixtures("context")


def changed(settings: Settings, *, previous: bool = True) -> Settings:
    """The same settings after a change of the key."""
    return replace(settings, secret_key=NEW_KEY, secret_key_previous=(LONG_AGO, settings.secret_key) if previous else ())


def refuses(act: Callable[[], object]) -> bool:
    try:
        act()
    except Refusal:
        return True
    return False


# What is shown


def cookie(old: Settings, new: Settings) -> bool:
    shown = sessions.cookie(old, actions.sign_in(old, kind=SessionKind.BROWSER).session)
    return sessions.by_cookie(new, shown) is not None


def refresh_token(old: Settings, new: Settings) -> bool:
    shown = sessions.refresh_token(old, actions.sign_in(old).session)
    try:
        successor = sessions.refresh(new, shown)
    except NotSignedIn:
        return False
    return not refuses(lambda: sessions.refresh(changed(old, previous=False), sessions.refresh_token(new, successor)))


def device_token(old: Settings, new: Settings) -> bool:
    shown = devices.token(old, actions.sign_in(old).device)
    return devices.known(db.session(), new, shown, ANNA, our_clock.now()) is not None


def one_time_code(old: Settings, new: Settings) -> bool:
    asked = actions.ask(old)
    return not refuses(lambda: actions.confirm(new, asked, actions.right(old, asked)))


def access_token(old: Settings, new: Settings) -> bool:
    made = keys.signing(keys.every(old))
    ring = keys.KeyRing(new)
    return ring.trusted(made.kid) is not None and made.kid in {key.kid for key in ring.published()}


def id_token(old: Settings, new: Settings) -> bool:
    made = [keys.IdTokenKeys(old).signing(algorithm) for algorithm in SigningAlgorithm]
    return {key.kid for key in made} <= {key.kid for key in keys.IdTokenKeys(new).published()}


def code_of_an_app(old: Settings, new: Settings) -> bool:
    shop, home = apps.add_app(), actions.sign_in(old, kind=SessionKind.BROWSER).session
    code = apps.code(old, shop, home)
    return apps.exchange(new, shop, code) is not None


def tokens_of_an_app(old: Settings, new: Settings) -> bool:
    shop, home = apps.add_app(), actions.sign_in(old, kind=SessionKind.BROWSER).session
    shown = sessions.refresh_token(old, apps.sign_in(old, shop, home, apps.OFFLINE))
    return not refuses(lambda: exchanges.refresh(new, shop.id, shown))


def client_secret(old: Settings, new: Settings) -> bool:
    client = registry.add("Shop", [])
    return secrets.authenticate(new, client.id, secrets.secret(old, client), address=HOME.address) is not None


def receipt(old: Settings, new: Settings) -> bool:
    actions.ask(old)
    shown = outbox.receipt_url(old, db.session.query(Message).one()).strip("/").rpartition("/")[2]
    return not refuses(lambda: outbox.record_receipt(new, shown, "queued"))


def webhook(old: Settings, new: Settings) -> bool:
    endpoint = WebhookEndpoint(id="A" * 22, generation=0)
    try:
        Webhook(signing.secret(old, endpoint.id, 0)).verify(b"{}", signing.headers(new, endpoint, "msg_1", b"{}"))
    except WebhookVerificationError:
        return False
    return True


def enrolled(settings: Settings) -> str:
    """A staff member with the app of an authenticator and recovery codes, made with these settings."""
    them = actions.staff_member(settings)
    with transaction() as tx:
        row = staff.make_link.value(tx, user=them.id, ends_at=our_clock.now() + timedelta(hours=1))
        assert row
        staff.enrol_app(tx, settings, them.id, app_code(staff.next_secret(settings, them.id), -1), our_clock.now())
    return them.id


def authenticator_app(old: Settings, new: Settings) -> bool:
    user_id = enrolled(old)
    code = app_code(totp.secret(old, user_id, 1))
    with transaction() as tx:
        return not isinstance(staff._prove_code(tx, new, user_id, code, our_clock.now()), Refusal)


def recovery_code(old: Settings, new: Settings) -> bool:
    user_id = enrolled(old)
    [first, *_] = staff.make_recovery_codes(old, user_id)
    with transaction() as tx:
        return not isinstance(staff._prove_code(tx, new, user_id, first, our_clock.now()), Refusal)


def enrolment_link(old: Settings, new: Settings) -> bool:
    user_id = actions.staff_member(old).id
    return staff.is_good(new, staff.allow_enrolment(old, user_id), user_id)


def challenge_of_a_passkey(old: Settings, new: Settings) -> bool:
    shown = codes.proof(old.key("second-factors"), passkeys._kind(passkeys.Purpose.ADD, "s"), codes.random_id(), 1)
    return codes.read_proof(new.keys("second-factors"), passkeys._kind(passkeys.Purpose.ADD, "s"), shown) is not None


def seal(old: Settings, new: Settings) -> bool:
    with transaction() as tx:
        events.note(tx, events.Kind.PING)
    seals.seal_all(old)
    with transaction() as tx:
        events.note(tx, events.Kind.PING)
    seals.seal_all(new)
    return not audit.verify(new).flaws


SHOWN: dict[str, list[Accepted]] = {
    "sessions": [cookie, refresh_token, tokens_of_an_app],
    "devices": [device_token],
    "codes": [one_time_code],
    "tokens": [access_token],
    "id-tokens": [id_token],
    "id-tokens-rsa": [id_token],
    "authorizations": [code_of_an_app],
    "clients": [client_secret],
    "receipts": [receipt],
    "webhooks": [webhook],
    "second-factors": [authenticator_app, recovery_code, enrolment_link, challenge_of_a_passkey],
    "seals": [seal],
}


# What is counted or found under a hash


def tombstone(old: Settings, new: Settings) -> bool:
    owner = actions.user(old, BORIS)
    them = actions.sign_in(old, invite_code=owner.invite_code)
    accounts.delete(old, them.user.id)
    return tombstones.is_marked(db.session(), new, ANNA, our_clock.now()) and bool(tombstones.expires_at(db.session(), new, ANNA))


def wait_of_a_number(old: Settings, new: Settings) -> bool:
    actions.ask(old)
    return refuses(lambda: actions.ask(new, asker=Asker("192.0.2.9", "en")))


def texts_of_a_day(old: Settings, new: Settings) -> bool:
    for _ in range(2):
        actions.ask(replace(old, sends_per_number_day=2))
        actions.no_wait()
    return refuses(lambda: actions.ask(replace(new, sends_per_number_day=2), asker=Asker("192.0.2.9", "en")))


def wait_of_a_known_device(old: Settings, new: Settings) -> bool:
    them = actions.sign_in(old)
    actions.ask(old, asker=Asker(HOME.address, "en", devices.token(old, them.device)))
    return refuses(lambda: actions.ask(new, asker=Asker(HOME.address, "en", devices.token(new, them.device))))


def end_of_a_wait(old: Settings, new: Settings) -> bool:
    """A right code ends the wait that was stored under the old key."""
    asked = actions.ask(old)
    if refuses(lambda: actions.confirm(new, asked, asked.code(*new.keys("codes")))):
        return False
    return not refuses(lambda: actions.ask(old))


def ladder(old: Settings, new: Settings) -> bool:
    for n in range(2):
        asked = actions.ask(old, asker=Asker(f"192.0.2.{n}", "en"))
        for _ in range(3 - n):
            with suppress(Refusal):
                actions.confirm(old, asked, actions.wrong(old, asked))
        actions.no_wait()
    shown = guesses.of_number(db.session(), new, new.number_hashes(ANNA), our_clock.now())
    return actions.ask(new).code_length == 6 and shown.wrong == guesses.LADDER[4]


def limit_of_an_address(old: Settings, new: Settings) -> bool:
    for n in range(2):
        actions.ask(replace(old, sends_per_address_hour=2), actions.number(n))
    return refuses(lambda: actions.ask(replace(new, sends_per_address_hour=2), actions.number(9)))


def limit_of_neighbouring_numbers(old: Settings, new: Settings) -> bool:
    for n in range(2):
        actions.ask(replace(old, sends_per_prefix_hour=2), actions.number(n), asker=Asker(f"192.0.2.{n}", "en"))
    return refuses(lambda: actions.ask(replace(new, sends_per_prefix_hour=2), actions.number(9), asker=Asker("192.0.2.9", "en")))


def invite_attempts_of_a_number(old: Settings, new: Settings) -> bool:
    them = actions.user(old)
    for _ in range(invite_attempts.PER_NUMBER_PER_DAY):
        with suppress(Refusal):
            actions.activate(old, them.id, "AAAAAA")
    left, _ = invite_attempts.left(db.session(), new, them.id, ANNA, our_clock.now())
    try:
        actions.activate(new, them.id, "AAAAAA", address="192.0.2.9")
    except TooManyRequests:
        return left == 0
    except Refusal:
        return False
    return False


def invite_attempts_of_an_address(old: Settings, new: Settings) -> bool:
    limits = invite_attempts._of_address(old, HOME.address)
    return {limit.scope for limit in limits} <= {limit.scope for limit in invite_attempts._of_address(new, HOME.address)}


def wrong_client_secrets(old: Settings, new: Settings) -> bool:
    client = registry.add("Shop", [])
    for _ in range(secrets.WRONG_PER_HOUR):
        secrets.authenticate(old, client.id, "wrong", address=HOME.address)
    return refuses(lambda: secrets.authenticate(new, client.id, "wrong", address=HOME.address))


def requests_of_apps(old: Settings, new: Settings) -> bool:
    scopes = {limit.scope for limit in authorizations._limits(old, HOME.address)}
    return scopes <= {limit.scope for limit in authorizations._limits(new, HOME.address)}


def requests_a_minute(old: Settings, new: Settings) -> bool:
    asked: list[str] = []

    class Windows:
        def take(self, limits: list[tuple[str, int]]) -> int:
            asked.extend(key for key, _ in limits)
            return 0

    for settings in (old, new):
        limiter = RequestLimiter(settings)
        limiter.redis = Windows()  # type: ignore[assignment]
        limiter.take(HOME.address)
    return asked[0] in asked[1:]


def repeated_request(old: Settings, new: Settings) -> bool:
    made = [idempotency.make_key(settings, "again", call="sign", body="{}") for settings in (old, new)]
    with transaction() as tx:
        assert idempotency.claim(tx, made[0]) is None
        idempotency.keep(tx, made[0], answer=1)
    peeked = idempotency.peek(db.session(), made[1]) == {"answer": 1}
    with transaction() as tx:
        found = idempotency.claim(tx, made[1])
    with transaction() as tx:
        return peeked and found == {"answer": 1} == idempotency.claim(tx, made[1])


def mark_of_a_form(old: Settings, new: Settings) -> bool:
    return old.keyed_hash("forms", "A" * 22) in new.keyed_hashes("forms", "A" * 22)


HASHED: dict[str, list[Accepted]] = {
    "numbers": [tombstone, wait_of_a_number, texts_of_a_day, end_of_a_wait, ladder, invite_attempts_of_a_number],
    "numbers of known devices": [wait_of_a_known_device],
    "addresses": [limit_of_an_address, invite_attempts_of_an_address, requests_of_apps],
    "prefixes": [limit_of_neighbouring_numbers],
    "client secrets": [wrong_client_secrets],
    "requests": [requests_a_minute],
    "idempotency": [repeated_request],
    "forms": [mark_of_a_form],
}
PAGES = {"pages"}
"""Tested by a browser, below."""


@pytest.mark.parametrize("accepted", dict.fromkeys(each for rules in (SHOWN, HASHED) for many in rules.values() for each in many))
@pytest.mark.parametrize("previous", [True, False], ids=["with-the-previous-key", "without"])
def test_what_an_old_key_made_counts_only_while_it_is_set(settings: Settings, accepted: Accepted, previous: bool) -> None:
    settings = replace(settings, resend_wait=timedelta(minutes=1))
    assert accepted(settings, changed(settings, previous=previous)) == previous


def test_every_purpose_that_the_code_names_has_a_rule_here() -> None:
    """A new purpose of a key is missing in the tables above, and so is one whose name is not written where it is used."""
    named = re.compile(r"""\b(?:keys?|keyed_hash(?:es)?)\(\s*(?:"([^"]+)"|'([^']+)'|([^)\s]))""")
    found: set[str] = set()
    folder = Path(hammer.__file__).parent
    for file in [*folder.rglob("*.py"), Path(config.__file__)]:
        calls = re.findall(rf"settings(?:\(\))?\.{named.pattern}|self\.{named.pattern}", file.read_text())
        found |= {purpose for call in calls for purpose in call if len(purpose) > 1}
    assert found | {"id-tokens"} == SHOWN.keys() | HASHED.keys() | PAGES


# One code, one row


def test_a_code_that_is_on_its_way_is_the_only_right_one(settings: Settings) -> None:
    new = changed(settings)
    asked = actions.ask(settings)
    of_old, of_new = asked.code(settings.key("codes")), asked.code(new.key("codes"))
    assert asked.code(*new.keys("codes")) == of_old
    if of_old != of_new:
        with pytest.raises(WrongCode):
            actions.confirm(new, asked, of_new)
    fresh = actions.ask(new, BORIS)
    assert fresh.code(*replace(settings, secret_key_previous=(NEW_KEY,)).keys("codes")) == fresh.code(new.key("codes"))


def test_an_id_without_a_mark_has_the_code_of_the_present_key(settings: Settings) -> None:
    drawn = Verification(id="A" * 22, telephone_number=ANNA, purpose=verifications.LOGIN, code_length=8)
    new = changed(settings)
    assert drawn.code(*new.keys("codes")) == drawn.code(new.key("codes"))
    marked = {codes.marked_id(settings.key("codes")) for _ in range(100)}
    assert len(marked) == 100
    assert all(map(codes.is_id, marked))


def test_nothing_new_is_made_with_a_previous_key(settings: Settings, clock: Traveller) -> None:
    new, alone = changed(settings), changed(settings, previous=False)
    them = actions.sign_in(new)
    assert sessions.refresh_token(new, them.session) == sessions.refresh_token(alone, them.session)
    assert keys.signing(keys.every(new)) == keys.signing(keys.every(alone))
    assert keys.newest(keys.every(new)) == keys.newest(keys.every(alone))
    rotated = keys.rotate(new)
    assert rotated == [key for key in keys.every(alone) if key.retired_at is None]
    keys.IdTokenKeys(settings).signing(SigningAlgorithm.RS256)
    keys.rotate(new, Purpose.ID)
    assert keys.every(alone, Purpose.ID)[-1].retired_at is None
    assert recovery.all_codes(new, them.user.id, 1) == recovery.all_codes(alone, them.user.id, 1)


def test_what_is_counted_during_a_change_counts_after_it(settings: Settings) -> None:
    settings = replace(settings, sends_per_number_day=3)
    actions.ask(settings)
    for _ in range(2):
        actions.no_wait()
        actions.ask(changed(settings), asker=Asker("192.0.2.9", "en"))
    for later in (changed(settings), settings):
        assert texts.of_number(db.session(), later, ANNA, our_clock.now())[False].left == 0
    assert texts.of_number(db.session(), changed(settings, previous=False), ANNA, our_clock.now())[False].left == 1


def test_without_a_previous_key_there_is_one_row_for_each_limit(
    settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    actions.sign_in(settings, CLARA, address="192.0.2.8")  # makes the rows of the limits that all share
    with statements() as alone:
        actions.sign_in(settings)
    assert db.session.scalar(select(func.count()).select_from(SendAllowance)) == 2
    new = changed(settings)
    with statements() as with_previous:
        actions.sign_in(new, BORIS, address="192.0.2.9")
    # For each previous key, the row of the number: at the text, and at the end of its wait.
    assert len(with_previous) == len(alone) + 2 * len(new.secret_key_previous)


# Pages


def test_a_page_that_was_opened_before_the_change_can_be_sent_after_it(
    settings: Settings, app: Flask, app_with: Callable[[Settings], Flask]
) -> None:
    new = Browser(app_with(changed(settings)))
    browser = Browser(app)
    form = browser.get("/login/").form_with("telephone_number")
    assert form
    for each in browser.client._cookies.values():  # type: ignore[union-attr]
        new.client.set_cookie(each.key, each.value, domain=each.domain, path=each.path)
    new.at = browser.at
    new.send(form, telephone_number=ANNA)
    assert new.at.startswith("/login/code")


def test_nobody_is_signed_out_by_a_change(settings: Settings, app: Flask, app_with: Callable[[Settings], Flask]) -> None:
    program = Program(app)
    program.sign_in(ANNA)
    program.client = app_with(changed(settings)).test_client(use_cookies=False)
    assert program.is_signed_in()
    program.client = app_with(changed(settings, previous=False)).test_client(use_cookies=False)
    assert not program.is_signed_in()
