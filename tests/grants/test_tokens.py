"""The tokens of apps: refresh tokens, access tokens, and their end."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from time_machine import Traveller

from config import ACCESS_TOKEN_LIFETIME, Settings
from hammer import events
from hammer.clients import registry
from hammer.db.database import db
from hammer.grants import exchanges
from hammer.models import SESSION_IDLE, SESSION_LIFETIME, Client, Event, Session, SessionKind, SignInScope
from hammer.refusals import NotSignedIn
from hammer.sessions import sessions
from hammer.sessions.sessions import GRACE
from hammer.users import accounts
from tests import apps
from tests.apps import OFFLINE


@pytest.fixture
def opened(settings: Settings, shop: Client, home: Session, clock: Traveller) -> Session:
    """The session of the app, with offline access, at a time that stands still."""
    return apps.sign_in(settings, shop, home, OFFLINE)


def numbered(session: Session, refreshes: int) -> Session:
    """The session as it was after so many refreshes."""
    return Session(id=session.id, kind=SessionKind.APP, refreshes=refreshes)


def refresh(settings: Settings, client: Client, session: Session, number: int) -> int:
    """How often the session was refreshed, once the client has exchanged the refresh token with this number."""
    return exchanges.refresh(settings, client.id, sessions.refresh_token(settings, numbered(session, number))).refreshes


def is_refused(settings: Settings, client: Client, session: Session, number: int) -> bool:
    try:
        refresh(settings, client, session, number)
    except NotSignedIn:
        return True
    return False


def opens(settings: Settings, session: Session, number: int) -> bool:
    """Whether the access token with this number is accepted."""
    db.session.rollback()
    try:
        exchanges.holder(settings, exchanges.access_token(settings, numbered(session, number)))
    except NotSignedIn:
        return False
    return True


# Refresh tokens


def test_each_refresh_token_is_exchanged_for_the_next(settings: Settings, shop: Client, opened: Session) -> None:
    assert [refresh(settings, shop, opened, number) for number in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(("seconds", "again"), [(29, True), (30, False)])
def test_a_lost_answer_is_given_again_for_half_a_minute(
    settings: Settings, shop: Client, clock: Traveller, opened: Session, seconds: int, again: bool
) -> None:
    assert refresh(settings, shop, opened, 0) == 1
    clock.shift(seconds)
    assert is_refused(settings, shop, opened, 0) is not again
    assert apps.is_over(opened) is not again


def test_a_used_refresh_token_ends_the_session_after_an_access_token_of_the_answer_was_used(
    settings: Settings, shop: Client, opened: Session
) -> None:
    refresh(settings, shop, opened, 0)
    assert opens(settings, opened, 1)
    assert is_refused(settings, shop, opened, 0)
    assert apps.is_over(opened)
    assert apps.notified() == [(shop.id, opened.id)]


def test_reuse_ends_the_newest_token_too_and_is_noted_once(settings: Settings, shop: Client, opened: Session) -> None:
    for number in range(2):
        refresh(settings, shop, opened, number)
    assert [is_refused(settings, shop, opened, number) for number in (0, 2, 1)] == [True] * 3
    assert not opens(settings, opened, 2)
    kinds = db.session.scalars(select(Event.kind).where(Event.user_id == opened.user_id)).all()
    assert kinds.count(events.Kind.REFRESH_REUSED) == 1
    assert apps.notified() == [(shop.id, opened.id)]


def test_a_refresh_token_that_another_client_shows_ends_the_session(settings: Settings, shop: Client, opened: Session) -> None:
    thief = apps.add_app("Thief")
    assert is_refused(settings, thief, opened, 0)
    assert apps.is_over(opened)
    assert is_refused(settings, shop, opened, 0)
    assert apps.notified() == [(shop.id, opened.id)]


def test_refresh_tokens_of_programs_and_of_apps_are_different(settings: Settings, shop: Client, opened: Session) -> None:
    for kind in (SessionKind.PROGRAM, SessionKind.BROWSER):
        other = sessions.refresh_token(settings, Session(id=opened.id, kind=kind, refreshes=0))
        with pytest.raises(NotSignedIn):
            exchanges.refresh(settings, shop.id, other)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, sessions.refresh_token(settings, opened))
    with pytest.raises(NotSignedIn):
        exchanges.refresh(settings, shop.id, exchanges.access_token(settings, opened))
    assert not apps.is_over(opened)


def test_an_app_stays_signed_in_while_it_refreshes_but_not_for_ever(
    settings: Settings, shop: Client, clock: Traveller, opened: Session, home: Session
) -> None:
    idle, lifetime = SESSION_IDLE[SessionKind.APP], SESSION_LIFETIME[SessionKind.APP]
    clock.shift(idle - timedelta(seconds=1))
    assert refresh(settings, shop, opened, 0) == 1
    assert sessions.caller(home.id, SessionKind.BROWSER) is None
    clock.move_to(opened.created_at + lifetime - timedelta(days=3))
    assert refresh(settings, shop, opened, 1) == 2
    clock.move_to(opened.created_at + lifetime)
    assert is_refused(settings, shop, opened, 2)


def test_an_app_that_does_not_refresh_is_signed_out(settings: Settings, shop: Client, clock: Traveller, opened: Session) -> None:
    clock.shift(SESSION_IDLE[SessionKind.APP])
    assert is_refused(settings, shop, opened, 0)


@pytest.mark.parametrize("deleted", [False, True], ids=["blocked", "deleted"])
def test_a_person_who_is_blocked_or_deleted_is_signed_out_of_apps(
    settings: Settings, shop: Client, opened: Session, deleted: bool
) -> None:
    if deleted:
        accounts.delete(settings, opened.user_id)
    else:
        accounts.set_blocked(opened.user_id, True)
    assert not opens(settings, opened, 0)
    assert is_refused(settings, shop, opened, 0)


@pytest.mark.parametrize("end", [registry.disable, registry.remove])
def test_a_client_that_is_disabled_or_removed_loses_its_tokens_for_ever(
    settings: Settings, shop: Client, opened: Session, end: object
) -> None:
    assert callable(end)
    end(shop.id)
    assert not opens(settings, opened, 0)
    if end == registry.disable:
        registry.enable(shop.id)
    assert not opens(settings, opened, 0)
    assert is_refused(settings, shop, opened, 0)
    assert apps.notified() == []


# Access tokens


def test_an_access_token_is_about_a_person_a_client_and_scopes(settings: Settings, shop: Client, opened: Session) -> None:
    holder = exchanges.holder(settings, exchanges.access_token(settings, opened))
    assert (holder.user_id, holder.client_id) == (opened.user_id, shop.id)
    assert holder.scopes == frozenset({SignInScope.OPENID, SignInScope.OFFLINE_ACCESS})


def test_an_access_token_lives_for_fifteen_minutes(settings: Settings, clock: Traveller, opened: Session) -> None:
    clock.shift(ACCESS_TOKEN_LIFETIME - timedelta(seconds=1))
    assert opens(settings, opened, 0)
    clock.shift(1)
    assert not opens(settings, opened, 0)


def test_a_refresh_gives_an_access_token_that_lives_as_long(
    settings: Settings, shop: Client, clock: Traveller, opened: Session
) -> None:
    clock.shift(3600)
    assert not opens(settings, opened, 0)
    refresh(settings, shop, opened, 0)
    clock.shift(ACCESS_TOKEN_LIFETIME - timedelta(seconds=1))
    assert opens(settings, opened, 1)
    clock.shift(1)
    assert not opens(settings, opened, 1)


def test_the_access_token_before_is_accepted_for_half_a_minute_and_older_ones_are_not(
    settings: Settings, shop: Client, clock: Traveller, opened: Session
) -> None:
    for number in range(2):
        refresh(settings, shop, opened, number)
    assert [opens(settings, opened, number) for number in range(4)] == [False, True, True, False]
    clock.shift(GRACE)
    assert [opens(settings, opened, number) for number in range(4)] == [False, False, True, False]


def test_no_other_token_is_an_access_token(settings: Settings, opened: Session, home: Session) -> None:
    others = (sessions.refresh_token(settings, opened), sessions.cookie(settings, home))
    access = exchanges.access_token(settings, opened)
    for shown in (*others, "", "\0", access[:-1], access + "A", exchanges.access_token(settings, numbered(home, 0))):
        with pytest.raises(NotSignedIn):
            exchanges.holder(settings, shown)


# Revocation by the app


@pytest.mark.parametrize("kind", ["refresh token", "access token"])
def test_an_app_can_revoke_either_token_and_both_are_over(settings: Settings, shop: Client, opened: Session, kind: str) -> None:
    token = (sessions.refresh_token if kind == "refresh token" else exchanges.access_token)(settings, opened)
    exchanges.revoke(settings, shop.id, token)
    assert not opens(settings, opened, 0)
    assert is_refused(settings, shop, opened, 0)
    exchanges.revoke(settings, shop.id, token)
    kinds = db.session.scalars(select(Event.kind).where(Event.client_id == shop.id)).all()
    assert kinds.count(events.Kind.APP_SIGNED_OUT) == 1
    assert apps.notified() == []


def test_an_old_token_revokes_too(settings: Settings, shop: Client, opened: Session) -> None:
    refresh(settings, shop, opened, 0)
    exchanges.revoke(settings, shop.id, sessions.refresh_token(settings, opened))
    assert apps.is_over(opened)


def test_a_token_of_another_client_or_a_made_up_one_revokes_nothing(
    settings: Settings, shop: Client, opened: Session, home: Session
) -> None:
    thief = apps.add_app("Thief")
    exchanges.revoke(settings, thief.id, exchanges.access_token(settings, opened))
    for shown in ("", "\0", "x" * 500, sessions.cookie(settings, home)):
        exchanges.revoke(settings, shop.id, shown)
    assert opens(settings, opened, 0)
    assert not apps.is_over(home)
