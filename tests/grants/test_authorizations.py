"""What a person has to do before they are signed in to an app, and what is remembered of it."""

from typing import Any

import pytest
from sqlalchemy import func, select
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.clients import registry
from hammer.db.database import db
from hammer.grants import apps as of_person
from hammer.grants import authorizations
from hammer.grants.authorizations import PER_ADDRESS_PER_HOUR, Step
from hammer.models import Authorization, Client, Consent, Event, Session, SessionKind
from hammer.refusals import NotFound, TooManyRequests
from hammer.users import accounts
from tests import apps
from tests.actions import BORIS, STRANGER_ID, no_wait, sign_in
from tests.apps import SCOPES


def next_step(client: Client, session: Session | None, scopes: str = SCOPES, **asked: object) -> Step | None:
    request = apps.request(client, scopes, **asked)
    return authorizations.next_step(request, client, apps.caller(session) if session else None)


def consents() -> list[str]:
    return sorted(db.session.scalars(select(Consent.scopes)))


@pytest.fixture
def allowed(settings: Settings, shop: Client, home: Session) -> None:
    """The person has allowed the app the usual scopes."""
    apps.code(settings, shop, home)


@pytest.fixture
def own(context: None) -> Client:
    """The operator's own app."""
    return apps.add_app("Own", first_party=True)


# The next step


@pytest.mark.parametrize("prompt", [(), ("login",), ("consent",)])
def test_one_who_is_signed_out_signs_in_first(shop: Client, own: Client, prompt: tuple[str, ...]) -> None:
    assert next_step(shop, None, prompt=prompt) == next_step(own, None, prompt=prompt) == Step.SIGN_IN


def test_a_person_who_was_deleted_just_now_signs_in_first(settings: Settings, shop: Client, home: Session) -> None:
    accounts.delete(settings, home.user_id)
    assert next_step(shop, home) == Step.SIGN_IN


def test_a_person_is_asked_once_for_the_same_scopes_or_fewer(settings: Settings, shop: Client, home: Session) -> None:
    assert next_step(shop, home) == Step.CONSENT
    apps.code(settings, shop, home)
    assert next_step(shop, home) is None
    assert next_step(shop, home, "openid") is None


@pytest.mark.usefixtures("allowed")
def test_a_wider_request_asks_again_and_is_remembered_with_what_was_allowed_before(
    settings: Settings, shop: Client, home: Session
) -> None:
    assert next_step(shop, home, "openid profile") == Step.CONSENT
    apps.code(settings, shop, home, "openid profile")
    assert consents() == ["openid profile phone"]
    assert next_step(shop, home, "openid phone profile") is None
    assert next_step(shop, home, "openid offline_access") == Step.CONSENT


@pytest.mark.usefixtures("allowed")
def test_a_consent_is_one_of_this_person_for_this_app(settings: Settings, shop: Client) -> None:
    boris = sign_in(settings, BORIS, kind=SessionKind.BROWSER).session
    assert next_step(shop, boris) == Step.CONSENT


@pytest.mark.usefixtures("allowed")
def test_another_app_asks_for_itself(home: Session, shop: Client) -> None:
    assert next_step(apps.add_app("Other"), home) == Step.CONSENT


def test_a_consent_holds_in_another_browser_of_the_person(settings: Settings, shop: Client, home: Session, allowed: None) -> None:
    no_wait()
    assert next_step(shop, sign_in(settings, kind=SessionKind.BROWSER).session) is None


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("prompt", ["consent", "select_account"])
def test_an_app_can_have_the_page_shown_again(own: Client, shop: Client, home: Session, prompt: str) -> None:
    assert next_step(shop, home, prompt=[prompt]) == next_step(own, home, prompt=[prompt]) == Step.CONSENT


def test_the_operators_own_app_asks_nothing_and_nothing_is_remembered(settings: Settings, own: Client, home: Session) -> None:
    assert next_step(own, home, "openid phone profile invites offline_access") is None
    apps.code(settings, own, home)
    assert consents() == []


@pytest.mark.parametrize("asked", [{"prompt": ["login"]}, {"max_age": 0}, {"max_age": 59}, {"prompt": ["login", "consent"]}])
def test_a_newer_login_is_wanted_once(
    settings: Settings, own: Client, clock: Traveller, home: Session, asked: dict[str, Any]
) -> None:
    clock.shift(60)
    request = apps.ask(own, **asked)
    assert authorizations.next_step(request, own, apps.caller(home)) == Step.PROVE
    clock.shift(1)
    no_wait()
    newer = sign_in(settings, kind=SessionKind.BROWSER).session
    clock.shift(600)
    after = authorizations.next_step(request, own, apps.caller(newer))
    assert after == (Step.CONSENT if "consent" in request.prompt else None)


def test_a_login_that_is_young_enough_is_enough(own: Client, clock: Traveller, home: Session) -> None:
    clock.shift(60)
    assert next_step(own, home, max_age=60) is None
    assert next_step(own, home, max_age=None) is None
    assert next_step(own, home, max_age=59) == Step.PROVE


# The answer


def test_the_same_answer_has_the_same_code_until_that_is_exchanged(settings: Settings, shop: Client, home: Session) -> None:
    asked = apps.ask(shop)
    once, again = (authorizations.approve(settings, asked.id, apps.caller(home)) for _ in range(2))
    assert once == again
    assert apps.exchange(settings, shop, again)
    with pytest.raises(NotFound):
        authorizations.approve(settings, asked.id, apps.caller(home))


def test_an_answer_that_is_sent_again_does_not_extend_the_code(
    settings: Settings, shop: Client, clock: Traveller, home: Session
) -> None:
    asked = apps.ask(shop)
    code = authorizations.approve(settings, asked.id, apps.caller(home))
    clock.shift(59)
    assert authorizations.approve(settings, asked.id, apps.caller(home)) == code
    clock.shift(1)
    with pytest.raises(NotFound):
        authorizations.approve(settings, asked.id, apps.caller(home))
    assert apps.exchange(settings, shop, code) is None


def test_a_request_is_answered_in_one_session(settings: Settings, shop: Client, home: Session) -> None:
    asked = apps.ask(shop)
    authorizations.approve(settings, asked.id, apps.caller(home))
    boris = sign_in(settings, BORIS, kind=SessionKind.BROWSER).session
    with pytest.raises(NotFound):
        authorizations.approve(settings, asked.id, apps.caller(boris))
    assert db.session.scalars(select(Consent.user_id)).all() == [home.user_id]


@pytest.mark.parametrize(("minutes", "is_open"), [(29, True), (30, False)])
def test_a_request_can_be_answered_for_half_an_hour(
    settings: Settings, shop: Client, clock: Traveller, home: Session, minutes: int, is_open: bool
) -> None:
    asked = apps.ask(shop)
    clock.shift(minutes * 60)
    found = authorizations.find(asked.id)
    assert found is not None
    assert authorizations.is_open(found[0]) is is_open
    if is_open:
        authorizations.approve(settings, asked.id, apps.caller(home))
        db.session.rollback()
        assert not authorizations.is_open(found[0])
    else:
        with pytest.raises(NotFound):
            authorizations.approve(settings, asked.id, apps.caller(home))


def test_an_unknown_request_is_not_found(settings: Settings, home: Session) -> None:
    for name in (STRANGER_ID, "", "\0", "A" * 21 + "\0"):
        assert authorizations.find(name) is None
    with pytest.raises(NotFound):
        authorizations.approve(settings, STRANGER_ID, apps.caller(home))


def test_the_request_of_a_disabled_or_removed_client_is_not_found(shop: Client) -> None:
    registry.disable(shop.id)
    assert authorizations.find(apps.ask(shop).id) is None
    registry.enable(shop.id)
    asked_id = apps.ask(shop).id
    assert authorizations.find(asked_id) is not None
    registry.remove(shop.id)
    assert authorizations.find(asked_id) is None


def test_scopes_are_stored_in_our_order_and_once(shop: Client) -> None:
    assert apps.request(shop, "phone openid phone").scopes == "openid phone"


def test_a_consent_is_noted_when_something_is_added_to_it(settings: Settings, shop: Client, home: Session) -> None:
    for scopes in ("openid", "openid", "openid phone", "openid"):
        apps.code(settings, shop, home, scopes)
    kinds = db.session.scalars(select(Event.kind).where(Event.client_id == shop.id, Event.user_id == home.user_id)).all()
    assert kinds == [events.Kind.CONSENT_GIVEN] * 2


# What ends a consent


@pytest.mark.usefixtures("allowed")
def test_a_consent_that_is_forgotten_is_asked_for_again(shop: Client, home: Session) -> None:
    of_person.forget(home.user_id, shop.id)
    assert next_step(shop, home) == Step.CONSENT


@pytest.mark.usefixtures("allowed")
def test_a_deletion_and_the_removal_of_the_client_delete_consents(settings: Settings, shop: Client, home: Session) -> None:
    boris = sign_in(settings, BORIS, kind=SessionKind.BROWSER).session
    apps.code(settings, shop, boris, "openid")
    accounts.delete(settings, home.user_id)
    assert consents() == ["openid"]
    assert db.session.scalars(select(Authorization.session_id)).all() == [boris.id]
    registry.remove(shop.id)
    assert consents() == []


@pytest.mark.usefixtures("allowed")
def test_consents_stay_when_the_client_is_disabled_for_a_time(shop: Client, home: Session) -> None:
    registry.disable(shop.id)
    registry.enable(shop.id)
    assert next_step(shop, home) is None


def test_a_request_that_was_stored_just_after_its_address_was_taken_away_leads_nowhere(settings: Settings, shop: Client) -> None:
    asked = apps.request(shop, SCOPES)
    registry.change(shop.id, redirect_uris=["https://elsewhere.example/callback"])
    authorizations.store(settings, asked)

    assert authorizations.find(asked.id) is None


def test_one_address_leaves_so_many_requests_an_hour_and_a_network_some_more(
    settings: Settings, shop: Client, home: Session, clock: Traveller
) -> None:
    def leave(address: str | None) -> None:
        authorizations.store(settings, apps.request(shop), address=address)

    def stored() -> int:
        return db.session.scalars(select(func.count()).select_from(Authorization)).one()

    for _ in range(PER_ADDRESS_PER_HOUR):
        leave("192.0.2.1")
        leave("2001:db8:0:1::/64")
        leave("2001:db8:0:2::/64")
    before = stored()
    for spent in ("192.0.2.1", "2001:db8:0:1::/64", "2001:db8:0:3::/64"):
        with pytest.raises(TooManyRequests) as refused:
            leave(spent)
        assert 0 < refused.value.retry_after <= 3600
    assert stored() == before
    for other in ("192.0.2.2", "2001:db8:0:100::/64", None):
        leave(other)
    authorizations.store(settings, apps.request(shop), allowed_in=home.id)
    clock.shift(3600)
    leave("192.0.2.1")
