"""Clients: what an operator may call them, what a change does at once, and what ends with them."""

from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.acting import CHANGED_SINCE
from hammer.clients import registry, secrets
from hammer.db.database import db
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import Client, Device, Event, Scope, Session, Verification
from hammer.quotas import idempotency
from hammer.refusals import InvalidFields, NotAllowed, NotFound, WrongCode
from hammer.sessions import devices, sessions
from hammer.users import accounts
from hammer.webhooks import endpoints
from hammer.webhooks.endpoints import Manager
from tests.actions import ANNA, BORIS, CLARA, STRANGER_ID, confirm, everything_stored, no_wait, right, sign_in
from tests.backends import Backend
from tests.people import Program


@pytest.fixture
def shop(context: None) -> Client:
    return registry.add("Shop", [Scope.CODES_SEND])


def ask_through(settings: Settings, client: Client | None, number: str = ANNA, device: Device | None = None) -> Verification:
    asker = Asker("192.0.2.7", "en", devices.token(settings, device) if device else None, client=client)
    return by_code.send_code(settings, number, asker).verification


def sign_in_through(settings: Settings, client: Client | None, number: str = ANNA, device: Device | None = None) -> SignedIn:
    verification = ask_through(settings, client, number, device)
    return confirm(settings, verification, right(settings, verification))


def is_live(session: Session) -> bool:
    db.session.expire_all()
    return db.session.get_one(Session, session.id).ended_at is None


def kinds() -> list[str]:
    return list(db.session.scalars(select(Event.kind).where(Event.client_id.is_not(None)).order_by(Event.id)))


def faults(**given: object) -> dict[str, object]:
    with pytest.raises(InvalidFields) as refused:
        registry.add(**({"name": "Shop", "scopes": []} | given))  # type: ignore[arg-type]
    return dict(refused.value.errors)


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("name", ["Shop", "The shop of Anna & sons", "Магазин", "🦔", "a" * 80, "  Shop\t"])
def test_a_name_is_one_line(name: str) -> None:
    assert registry.find(registry.add(name, []).id).name == name.strip()


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("name", ["", " ", "a" * 81, "a\nb", "a\0b", "a\x1b[31mb", "\u202eShop", "Shop\u200b"])
def test_what_is_no_line_is_no_name(name: str) -> None:
    assert faults(name=name) == {"name": [registry.NOT_A_NAME]}


@pytest.mark.usefixtures("shop")
def test_a_name_is_given_once() -> None:
    other = registry.add("Other", [])

    assert faults(name="Shop") == {"name": [registry.NAME_TAKEN]}
    with pytest.raises(InvalidFields):
        registry.change(other.id, name="Shop")
    assert registry.find("Other").id == other.id


@pytest.mark.usefixtures("context")
def test_every_fault_is_reported_at_once() -> None:
    assert set(faults(name="", scopes=["admin"], origins=["ftp://x"], sends_per_hour=-1)) == {
        "name", "scopes", "origins", "sends_per_hour",
    }  # fmt: skip


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize("most", [-1, registry.MOST_SENDS_PER_HOUR + 1])
def test_a_limit_out_of_range_is_refused(most: int) -> None:
    assert faults(sends_per_hour=most) == {"sends_per_hour": [registry.NOT_A_LIMIT]}


@pytest.mark.usefixtures("context")
def test_scopes_are_kept_once_and_in_one_order() -> None:
    assert registry.add("Shop", ["users:read", "codes:send", "users:read"]).scopes == "codes:send users:read"


@pytest.mark.usefixtures("context")
def test_all_scopes_fit() -> None:
    added = registry.add("Shop", list(Scope))
    assert registry.allowed(registry.find(added.id)) == set(Scope)


def test_a_client_is_found_by_its_id_before_a_name_that_looks_like_it(shop: Client) -> None:
    registry.add(shop.id, [])
    assert registry.find(shop.id).name == "Shop"


@pytest.mark.usefixtures("context")
def test_what_is_not_registered_is_not_found() -> None:
    with pytest.raises(NotFound):
        registry.find("Shop")
    for act in (registry.disable, registry.enable, registry.remove, partial(registry.change, name="Shop")):
        with pytest.raises(NotFound):
            act(STRANGER_ID)


@pytest.mark.requirement("LOG-01")
def test_each_change_is_an_event_of_the_client(settings: Settings, shop: Client) -> None:
    secrets.rotate(settings, shop.id)
    registry.change(shop.id, name="Market")
    registry.disable(shop.id)
    registry.enable(shop.id)
    registry.remove(shop.id)

    assert kinds() == [
        "client-added", "client-secret-rotated", "client-changed", "client-disabled", "client-enabled", "client-removed",
    ]  # fmt: skip


@pytest.mark.requirement("LOG-01", "AZN-02")
def test_each_act_of_staff_names_them_and_is_refused_when_they_are_staff_no_more(settings: Settings, shop: Client) -> None:
    actor = sign_in(settings).user.id
    acts: dict[str, Callable[..., object]] = {
        "client-added": partial(registry.add, "New", pkce_required=False),
        "client-changed": partial(registry.change, shop.id, name="Market"),
        "client-secret-rotated": partial(secrets.rotate, settings, shop.id),
        "client-disabled": partial(registry.disable, shop.id),
        "client-enabled": partial(registry.enable, shop.id),
        "client-removed": partial(registry.remove, shop.id),
    }
    endpoints.add(settings, "https://app.example.com/events", by=Manager(client_id=shop.id))
    before = everything_stored()
    for act in acts.values():
        with pytest.raises(NotAllowed):
            act(actor_id=actor)
    assert everything_stored() == before

    accounts.set_staff(settings, actor, True)
    for act in acts.values():
        act(actor_id=actor)
    noted = db.session.scalars(select(Event.kind).where(Event.actor_id == actor).order_by(Event.id)).all()
    assert set(noted) == {*acts, "client-pkce-off", "endpoint-removed"}
    assert len(noted) == len(acts) + 2


def test_a_request_that_is_repeated_adds_one_client(settings: Settings, context: None) -> None:
    key = idempotency.make_key(settings, "shown", call="add")
    first = registry.add("Shop", key=key).id
    assert registry.add("Shop", key=key).id == first
    registry.remove(first)
    assert registry.add("Shop", key=key).id != first
    assert len(registry.every()) == 1


def test_a_change_of_what_was_not_seen_is_refused(shop: Client) -> None:
    seen = registry.edition(shop)
    registry.change(shop.id, origins=["https://app.example.com"], seen=seen)
    with pytest.raises(InvalidFields) as refused:
        registry.change(shop.id, origins=[], seen=seen)
    assert refused.value.errors == {"seen": [CHANGED_SINCE]}
    registry.change(shop.id, origins=[], seen=registry.edition(registry.get(shop.id)))
    assert registry.get(shop.id).origins == ""


def test_a_refused_change_leaves_no_event(shop: Client) -> None:
    registry.add("Other", [])
    with pytest.raises(InvalidFields):
        registry.change(shop.id, name="Other")
    assert kinds() == ["client-added", "client-added"]


def test_a_session_names_the_client_through_which_its_code_was_asked_for(settings: Settings, shop: Client) -> None:
    session = sign_in_through(settings, shop).session

    assert session.client_id == shop.id
    assert [device.client for device in sessions.devices(session.user_id)] == ["Shop"]
    assert db.session.scalars(select(Event.client_id).where(Event.kind == events.Kind.SIGNED_UP)).all() == [shop.id]


def test_a_client_that_was_removed_has_no_name_in_the_list_of_devices(settings: Settings, shop: Client) -> None:
    registry.remove(shop.id)
    registry.add("Shop", [])
    assert [device.client for device in sessions.devices(sign_in(settings).user.id)] == [None]


@pytest.mark.requirement("TOK-06")
@pytest.mark.parametrize("end", [registry.disable, registry.remove])
def test_the_sessions_of_a_client_end_with_it_and_no_others(settings: Settings, shop: Client, end: Callable[[str], None]) -> None:
    theirs, own = sign_in_through(settings, shop).session, sign_in(settings).session
    of_other = sign_in_through(settings, registry.add("Other", []), BORIS).session

    end(shop.id)

    assert [is_live(session) for session in (theirs, own, of_other)] == [False, True, True]


@pytest.mark.requirement("THR-06")
@pytest.mark.parametrize("end", [registry.disable, registry.remove])
def test_devices_are_forgotten_with_the_client_that_they_signed_in_through_last(
    settings: Settings, shop: Client, end: Callable[[str], None]
) -> None:
    new, left = sign_in_through(settings, shop), sign_in_through(settings, shop, BORIS)
    sign_in_through(settings, None, BORIS, left.device)
    never = sign_in_through(settings, None, CLARA)
    came = sign_in_through(settings, None)
    sign_in_through(settings, shop, ANNA, came.device)

    end(shop.id)

    known = db.session.scalars(select(Device.id)).all()
    assert set(known) == {left.device.id, never.device.id}
    assert new.device.id != came.device.id


@pytest.mark.requirement("THR-06")
def test_who_keeps_the_token_of_a_device_is_a_stranger_when_the_client_is_disabled(settings: Settings, shop: Client) -> None:
    device = sign_in_through(settings, shop).device
    asked = ask_through(settings, None, ANNA, device)
    assert asked.device_id == device.id

    registry.disable(shop.id)

    with pytest.raises(WrongCode):
        confirm(settings, asked, right(settings, asked))
    no_wait()
    assert ask_through(settings, None, ANNA, device).device_id is None


@pytest.mark.requirement("TOK-06")
def test_enabling_a_client_brings_no_session_back(settings: Settings, shop: Client) -> None:
    theirs = sign_in_through(settings, shop).session
    registry.disable(shop.id)

    registry.enable(shop.id)

    assert not is_live(theirs)
    assert is_live(sign_in_through(settings, shop, BORIS).session)


@pytest.mark.requirement("TOK-06")
@pytest.mark.parametrize("end", [registry.disable, registry.remove])
def test_a_code_that_a_client_asked_for_signs_nobody_in_after_its_end(
    settings: Settings, shop: Client, end: Callable[[str], None]
) -> None:
    asked = ask_through(settings, shop)

    end(shop.id)

    with pytest.raises(NotAllowed):
        confirm(settings, asked, right(settings, asked))
    assert db.session.query(Session).count() == 0
    assert sign_in(settings, BORIS).created


def test_a_removed_client_is_gone_and_its_events_stay(shop: Client) -> None:
    registry.remove(shop.id)

    assert registry.every() == []
    assert set(kinds()) == {"client-added", "client-removed"}


def test_scopes_are_given_and_taken_away_at_once(app: Flask) -> None:
    shop = Backend(app, Scope.USERS_READ, Scope.CODES_SEND)
    with app.app_context():
        registry.change(shop.client_id, scopes=[Scope.CODES_SEND])
    assert shop.call("GET", "/users/").status_code == 403

    with app.app_context():
        registry.change(shop.client_id, scopes=[Scope.USERS_READ])

    assert shop.call("GET", "/users/").status_code == 200
    assert shop.call("POST", "/auth/signup/", {"telephone_number": ANNA}).status_code == 403


def test_a_token_has_no_scopes_that_were_given_after_it(app: Flask) -> None:
    shop = Backend(app, Scope.CODES_SEND)
    with app.app_context():
        registry.change(shop.client_id, scopes=list(Scope))

    assert shop.call("GET", "/users/").status_code == 403
    shop.authenticate()
    assert shop.call("GET", "/users/").status_code == 200


@pytest.mark.requirement("TOK-06")
def test_tokens_from_before_a_client_was_disabled_stay_invalid(app: Flask) -> None:
    shop = Backend(app, Scope.USERS_READ)
    with app.app_context():
        registry.disable(shop.client_id)
    assert shop.call("GET", "/users/").status_code == 401
    assert shop.ask_token().status_code == 401

    with app.app_context():
        registry.enable(shop.client_id)

    assert shop.call("GET", "/users/").status_code == 401
    shop.authenticate()
    assert shop.call("GET", "/users/").status_code == 200


def test_a_client_that_was_not_disabled_keeps_its_tokens_when_it_is_enabled(app: Flask) -> None:
    shop = Backend(app, Scope.USERS_READ)
    with app.app_context():
        registry.enable(shop.client_id)
    assert shop.call("GET", "/users/").status_code == 200


def test_a_client_that_is_disabled_again_stays_disabled_since_the_first_time(shop: Client, clock: Traveller) -> None:
    registry.disable(shop.id)
    since = registry.find(shop.id).disabled_at
    clock.shift(5)

    registry.disable(shop.id)

    db.session.expire_all()
    assert registry.find(shop.id).disabled_at == since


def test_a_person_who_signed_in_through_a_client_is_signed_out_with_it(app: Flask) -> None:
    shop, anna = Backend(app, Scope.CODES_SEND), Program(app)
    anna.tokens = {"access_token": shop.tokens["access_token"]}  # the backend asks for the code and shows it
    anna.sign_in(ANNA)
    assert anna.is_signed_in()

    with app.app_context():
        registry.disable(shop.client_id)

    assert not anna.is_signed_in()
    assert anna.call("POST", "/auth/refresh/", {"refresh_token": anna.tokens["refresh_token"]}).status_code == 401
