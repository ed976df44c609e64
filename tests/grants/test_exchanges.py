"""Codes: what they are exchanged for, once, and by whom."""

import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import select
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer import codes, events
from hammer.clients import registry
from hammer.db.database import db
from hammer.grants import apps as of_person
from hammer.grants import authorizations
from hammer.models import SESSION_IDLE, SESSION_LIFETIME, Authorization, Client, Event, Session, SessionKind
from hammer.sessions import sessions
from hammer.users import accounts
from tests import apps
from tests.actions import BORIS, everything_stored, sign_in
from tests.apps import CHALLENGE, OFFLINE, VERIFIER

WRONG = {
    "another address": {"redirect_uri": "https://shop.example.com/callback/"},
    "no address": {"redirect_uri": ""},
    "another verifier": {"verifier": "w" * 43},
    "no verifier": {"verifier": None},
    "an empty verifier": {"verifier": ""},
    "the challenge as verifier": {"verifier": CHALLENGE},
    "a verifier and more": {"verifier": VERIFIER + "\n"},
}


def noted() -> list[str]:
    return list(db.session.scalars(select(Event.kind).where(Event.client_id.is_not(None)).order_by(Event.id)))


def test_a_code_opens_a_session_of_the_app_in_that_of_the_browser(settings: Settings, shop: Client, home: Session) -> None:
    grant = apps.exchange(settings, shop, apps.code(settings, shop, home, "openid phone", nonce="n-7"))
    assert grant is not None
    opened = db.session.get_one(Session, grant.session.id)
    assert (opened.kind, opened.client_id, opened.parent_id, opened.user_id) == (SessionKind.APP, shop.id, home.id, home.user_id)
    assert (opened.scopes, grant.nonce, opened.created_at) == ("openid phone", "n-7", home.created_at)
    assert noted()[-2:] == [events.Kind.CONSENT_GIVEN, events.Kind.APP_SIGNED_IN]


def test_a_code_is_exchanged_once_and_a_replay_ends_what_was_given(settings: Settings, shop: Client, home: Session) -> None:
    code = apps.code(settings, shop, home)
    grant = apps.exchange(settings, shop, code)
    assert grant is not None
    assert not apps.is_over(grant.session)
    for _ in range(2):
        assert apps.exchange(settings, shop, code) is None
        assert apps.is_over(grant.session)
    assert noted().count(events.Kind.CODE_REPLAYED) == 1
    assert apps.notified() == [(shop.id, grant.session.id)]
    assert not apps.is_over(home)


@pytest.mark.parametrize("shown", WRONG.values(), ids=WRONG)
def test_a_code_is_spent_before_it_is_compared(
    settings: Settings, shop: Client, home: Session, shown: dict[str, str | None]
) -> None:
    code = apps.code(settings, shop, home)
    assert apps.exchange(settings, shop, code, **shown) is None
    assert apps.exchange(settings, shop, code) is None
    assert db.session.query(Session).filter_by(kind=SessionKind.APP).count() == 0


@pytest.mark.parametrize("shown", WRONG.values(), ids=WRONG)
def test_a_wrong_replay_ends_what_was_given_too(
    settings: Settings, shop: Client, home: Session, shown: dict[str, str | None]
) -> None:
    code = apps.code(settings, shop, home)
    grant = apps.exchange(settings, shop, code)
    assert grant is not None
    assert apps.exchange(settings, shop, code, **shown) is None
    assert apps.is_over(grant.session)


def test_another_client_cannot_exchange_or_spend_a_code(settings: Settings, shop: Client, home: Session) -> None:
    thief = apps.add_app("Thief")
    code = apps.code(settings, shop, home)
    assert apps.exchange(settings, thief, code) is None
    grant = apps.exchange(settings, shop, code)
    assert grant is not None
    assert apps.exchange(settings, thief, code) is None
    assert not apps.is_over(grant.session)


def test_a_verifier_is_refused_where_the_request_had_no_challenge(settings: Settings, shop: Client, home: Session) -> None:
    for verifier in (VERIFIER, ""):
        assert apps.exchange(settings, shop, apps.code(settings, shop, home, code_challenge=None), verifier=verifier) is None
    assert apps.exchange(settings, shop, apps.code(settings, shop, home, code_challenge=None), verifier=None)


@pytest.mark.parametrize("length", [42, 129])
def test_a_verifier_has_43_to_128_characters(settings: Settings, shop: Client, home: Session, length: int) -> None:
    challenge = codes.base64url(hashlib.sha256(b"v" * length).digest())
    code = apps.code(settings, shop, home, code_challenge=challenge)
    assert apps.exchange(settings, shop, code, verifier="v" * length) is None


@pytest.mark.parametrize(("seconds", "works"), [(59, True), (60, False)])
def test_a_code_lives_for_a_minute_from_the_answer_on(
    settings: Settings, shop: Client, clock: Traveller, home: Session, seconds: int, works: bool
) -> None:
    asked = apps.ask(shop)
    clock.shift(1000)
    code = authorizations.approve(settings, asked.id, apps.caller(home))
    clock.shift(seconds)
    assert (apps.exchange(settings, shop, code) is not None) is works


def test_the_code_of_a_request_that_was_not_allowed_is_worth_nothing(settings: Settings, shop: Client, home: Session) -> None:
    asked = apps.ask(shop)
    code = authorizations.code(settings, asked)
    assert apps.exchange(settings, shop, code) is None
    authorizations.approve(settings, asked.id, apps.caller(home))
    assert apps.exchange(settings, shop, code)


def test_a_request_that_is_allowed_at_once_is_exchanged_in_a_minute_too(
    settings: Settings, shop: Client, clock: Traveller, home: Session
) -> None:
    apps.sign_in(settings, shop, home)
    in_time, late = apps.request(shop), apps.request(shop)
    for asked in (in_time, late):
        authorizations.store(settings, asked, allowed_in=home.id)
    clock.shift(59)
    assert apps.exchange(settings, shop, authorizations.code(settings, in_time))
    clock.shift(1)
    assert apps.exchange(settings, shop, authorizations.code(settings, late)) is None


@pytest.mark.parametrize("made_up", ["", "x", "\0", "A" * 22, "é", "A" * 22 + ".0." + "A" * 43])
def test_what_is_no_code_is_worth_nothing(settings: Settings, shop: Client, made_up: str) -> None:
    assert apps.exchange(settings, shop, made_up) is None


def test_a_code_is_no_token_and_no_token_is_a_code(settings: Settings, shop: Client, home: Session) -> None:
    opened = apps.sign_in(settings, shop, home)
    asked = apps.ask(shop)
    others = [codes.proof(settings.key("sessions"), kind, asked.id) for kind in (authorizations.KIND, "app", "browser")]
    for shown in (
        *others,
        sessions.refresh_token(settings, opened),
        codes.proof(settings.key("codes"), authorizations.KIND, asked.id),
    ):
        assert apps.exchange(settings, shop, shown) is None


def test_a_dump_of_the_database_contains_no_code(settings: Settings, shop: Client, home: Session) -> None:
    code = apps.code(settings, shop, home, state="s", nonce="n")
    for part in (code, code.rpartition(".")[2]):
        assert len(part) > 30
        assert not [value for value in everything_stored() if part in value]


@pytest.mark.parametrize("seconds_early", [1, 0])
def test_the_session_of_the_browser_must_be_live(
    settings: Settings, shop: Client, clock: Traveller, home: Session, seconds_early: int
) -> None:
    clock.shift(SESSION_IDLE[SessionKind.BROWSER] - timedelta(seconds=seconds_early))
    code = apps.code(settings, shop, home)
    assert (apps.exchange(settings, shop, code) is not None) is (seconds_early > 0)


def test_nothing_is_given_after_the_person_signed_out(settings: Settings, shop: Client, home: Session) -> None:
    code = apps.code(settings, shop, home)
    sessions.sign_out(home.user_id, home.id)
    assert apps.exchange(settings, shop, code) is None
    assert db.session.query(Session).filter_by(kind=SessionKind.APP).count() == 0


def test_nothing_is_given_about_a_person_who_is_blocked_or_deleted(settings: Settings, shop: Client, home: Session) -> None:
    code = apps.code(settings, shop, home)
    accounts.set_blocked(home.user_id, True)
    assert apps.exchange(settings, shop, code) is None
    boris = sign_in(settings, BORIS, kind=SessionKind.BROWSER).session
    code = apps.code(settings, shop, boris)
    accounts.delete(settings, boris.user_id)
    assert apps.exchange(settings, shop, code) is None


def test_nothing_is_given_for_a_code_that_was_allowed_at_once_while_the_consent_was_withdrawn(
    settings: Settings, shop: Client, home: Session
) -> None:
    apps.sign_in(settings, shop, home)
    asked = apps.request(shop)
    assert authorizations.next_step(asked, shop, apps.caller(home)) is None
    of_person.forget(home.user_id, shop.id)
    authorizations.store(settings, asked, allowed_in=home.id)
    assert apps.exchange(settings, shop, authorizations.code(settings, asked)) is None


def test_nothing_is_given_to_a_client_that_is_disabled_or_removed(settings: Settings, shop: Client, home: Session) -> None:
    code = apps.code(settings, shop, home)
    registry.disable(shop.id)
    assert apps.exchange(settings, shop, code) is None
    registry.remove(shop.id)
    assert apps.exchange(settings, shop, code) is None


@pytest.mark.parametrize(("scopes", "kind"), [("openid", SessionKind.BROWSER), (OFFLINE, SessionKind.APP)])
def test_only_offline_access_outlives_the_session_of_the_browser(
    settings: Settings, shop: Client, clock: Traveller, home: Session, scopes: str, kind: SessionKind
) -> None:
    clock.shift(3600)
    assert apps.sign_in(settings, shop, home, scopes).expires_at == home.created_at + SESSION_LIFETIME[kind]


def test_offline_access_ends_with_the_session_of_a_test_number(settings: Settings, shop: Client, home: Session) -> None:
    soon = time_of_day.now() + timedelta(days=1)
    db.session.get_one(Session, home.id).expires_at = soon
    db.session.commit()
    assert apps.sign_in(settings, shop, home, OFFLINE).expires_at == soon


def test_a_client_that_is_removed_leaves_no_request(settings: Settings, shop: Client, home: Session) -> None:
    apps.ask(shop)
    apps.code(settings, shop, home)
    registry.remove(shop.id)
    assert db.session.query(Authorization).count() == 0
