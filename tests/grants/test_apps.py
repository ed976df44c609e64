"""The apps that a person signed in to, as the person sees them."""

from collections.abc import Callable

import pytest
from sqlalchemy import select
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.clients import registry
from hammer.db.database import db
from hammer.grants import apps as of_person
from hammer.grants import authorizations
from hammer.models import Authorization, Client, Event, Session, SessionKind
from hammer.refusals import NotFound
from hammer.sessions import sessions
from tests import apps
from tests.actions import BORIS, STRANGER_ID, sign_in


def seen(session: Session) -> list[tuple[str, str, bool]]:
    """The name of each app, its scopes, and whether the person is signed in to it."""
    listed = of_person.apps(session.user_id)
    return [(app.name, " ".join(app.scopes), app.signed_in_at is not None) for app in listed]


def test_one_who_never_used_an_app_sees_none(shop: Client, home: Session) -> None:
    assert seen(home) == []


def test_people_see_their_own_apps_by_name(settings: Settings, shop: Client, home: Session) -> None:
    apps.sign_in(settings, shop, home, "openid phone")
    apps.sign_in(settings, apps.add_app("Bakery"), home, "openid")
    boris = sign_in(settings, BORIS, kind=SessionKind.BROWSER).session
    apps.sign_in(settings, shop, boris, "openid profile")
    assert seen(home) == [("Bakery", "openid", True), ("Shop", "openid phone", True)]
    assert seen(boris) == [("Shop", "openid profile", True)]


def test_an_app_with_several_sessions_is_one_with_all_its_scopes(settings: Settings, shop: Client, home: Session) -> None:
    for scopes in ("openid profile", "openid phone", "openid"):
        apps.sign_in(settings, shop, home, scopes)
    assert seen(home) == [("Shop", "openid profile phone", True)]


def test_the_operators_own_app_shows_what_it_knows_while_the_person_is_signed_in(settings: Settings, home: Session) -> None:
    own = apps.add_app("Own", first_party=True)
    for scopes in ("openid phone", "openid profile"):
        apps.sign_in(settings, own, home, scopes)
    assert [app.first_party for app in of_person.apps(home.user_id)] == [True]
    assert seen(home) == [("Own", "openid profile phone", True)]
    of_person.end(home.user_id, own.id)
    assert seen(home) == []


def test_an_app_is_listed_without_a_sign_in_until_it_is_forgotten(settings: Settings, shop: Client, home: Session) -> None:
    apps.sign_in(settings, shop, home)
    of_person.end(home.user_id, shop.id)
    assert seen(home) == [("Shop", "openid phone", False)]
    with pytest.raises(NotFound):
        of_person.end(home.user_id, shop.id)
    of_person.forget(home.user_id, shop.id)
    assert seen(home) == []
    with pytest.raises(NotFound):
        of_person.forget(home.user_id, shop.id)


def test_forgetting_also_signs_out(settings: Settings, shop: Client, home: Session) -> None:
    opened = apps.sign_in(settings, shop, home)
    of_person.forget(home.user_id, shop.id)
    assert apps.is_over(opened)
    assert seen(home) == []
    kinds = [row.kind for row in db.session.query(Event).filter_by(client_id=shop.id, user_id=home.user_id).order_by(Event.id)]
    assert kinds[-2:] == [events.Kind.APP_SIGNED_OUT, events.Kind.CONSENT_WITHDRAWN]


@pytest.mark.parametrize("act", [of_person.end, of_person.forget])
def test_a_code_from_before_is_worth_nothing_after(
    settings: Settings, shop: Client, home: Session, act: Callable[[str, str], None]
) -> None:
    there = sign_in(settings, kind=SessionKind.BROWSER).session
    pending = [apps.code(settings, shop, session) for session in (home, there)]  # no session of the app is open
    act(home.user_id, shop.id)
    assert [apps.exchange(settings, shop, code) for code in pending] == [None, None]
    assert apps.exchange(settings, shop, apps.code(settings, shop, home)) is not None


def test_the_end_of_an_app_leaves_codes_of_others_and_open_requests(settings: Settings, shop: Client, home: Session) -> None:
    boris = sign_in(settings, BORIS, kind=SessionKind.BROWSER).session
    bakery = apps.add_app("Bakery")
    of_others = [(shop, apps.code(settings, shop, boris)), (bakery, apps.code(settings, bakery, home))]
    asked = apps.ask(shop)
    apps.sign_in(settings, shop, home)
    of_person.forget(home.user_id, shop.id)
    assert all(apps.exchange(settings, client, code) for client, code in of_others)
    assert authorizations.approve(settings, asked.id, apps.caller(home))


def test_a_replay_is_still_noticed_after_the_app_was_forgotten(settings: Settings, shop: Client, home: Session) -> None:
    code = apps.code(settings, shop, home)
    apps.exchange(settings, shop, code)
    of_person.forget(home.user_id, shop.id)
    assert db.session.scalars(select(Authorization.consumed_at)).one() is not None


def test_people_end_and_forget_only_their_own(settings: Settings, shop: Client, home: Session) -> None:
    opened = apps.sign_in(settings, shop, home)
    boris = sign_in(settings, BORIS).user
    for act in (of_person.end, of_person.forget):
        for name in (shop.id, STRANGER_ID, "", "\0"):
            with pytest.raises(NotFound):
                act(boris.id, name)
    assert not apps.is_over(opened)
    assert seen(home) == [("Shop", "openid phone", True)]


def test_a_program_that_signed_in_through_a_client_is_no_app_of_this_list(settings: Settings, shop: Client, home: Session) -> None:
    db.session.get_one(Session, home.id).client_id = shop.id
    db.session.commit()
    assert seen(home) == []
    with pytest.raises(NotFound):
        of_person.end(home.user_id, shop.id)
    assert not apps.is_over(home)


def test_a_disabled_app_is_not_listed(settings: Settings, shop: Client, home: Session) -> None:
    apps.sign_in(settings, shop, home)
    registry.disable(shop.id)
    assert seen(home) == []


def test_a_session_that_is_over_does_not_count(settings: Settings, shop: Client, home: Session, clock: Traveller) -> None:
    apps.sign_in(settings, shop, home)
    clock.move_to(home.expires_at)
    assert seen(home) == [("Shop", "openid phone", False)]


def test_apps_are_not_among_the_devices(settings: Settings, shop: Client, home: Session) -> None:
    opened = apps.sign_in(settings, shop, home)
    assert [device.id for device in sessions.devices(home.user_id)] == [home.id]
    for end in (sessions.end, sessions.sign_out):
        with pytest.raises(NotFound):
            end(home.user_id, opened.id)
