"""What ends when a session ends: those of the apps that were signed in to there. Each app is notified once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from time_machine import Traveller

from config import Settings
from hammer.clients import registry
from hammer.db.database import db
from hammer.grants import apps as of_person
from hammer.grants import authorizations, exchanges
from hammer.login import by_code
from hammer.models import SESSION_LIFETIME, Client, Session, SessionKind
from hammer.operations import retention
from hammer.refusals import NotSignedIn
from hammer.sessions import sessions
from hammer.users import accounts
from tests import apps
from tests.actions import ANNA, BORIS, CLARA, HOME, ask, confirm, right, sign_in
from tests.apps import OFFLINE


@dataclass(frozen=True)
class Scene:
    """A person with two browsers and a program, who is signed in to apps: `here` and `far` (offline) in one browser, `there` in the
    other; and another person with `theirs`."""

    settings: Settings
    shop: Client
    home: Session
    work: Session
    phone: Session
    here: Session
    far: Session
    there: Session
    theirs: Session

    @property
    def ended(self) -> set[str]:
        """Which of the sessions are over."""
        each = ("home", "work", "phone", "here", "far", "there", "theirs")
        return {name for name in each if apps.is_over(getattr(self, name))}


IN_HOME = {"here", "far"}
ALL = {"home", "work", "phone", "here", "far", "there"}


@pytest.fixture
def scene(settings: Settings, shop: Client) -> Scene:
    settings = replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)
    home, work = (sign_in(settings, kind=SessionKind.BROWSER).session for _ in range(2))
    phone = sign_in(settings).session
    here, far = (apps.sign_in(settings, shop, home, scopes) for scopes in ("openid", OFFLINE))
    there = apps.sign_in(settings, shop, work)
    theirs = apps.sign_in(settings, shop, sign_in(settings, BORIS, kind=SessionKind.BROWSER).session)
    return Scene(settings, shop, home, work, phone, here, far, there, theirs)


def sign_out(of: Scene) -> None:
    sessions.sign_out(of.home.user_id, of.home.id)


def end_one(of: Scene) -> None:
    sessions.end(of.home.user_id, of.home.id, asked_in=of.work.id)


def end_others(of: Scene) -> None:
    sessions.end_others(of.home.user_id, of.home.id)


def block(of: Scene) -> None:
    accounts.set_blocked(of.home.user_id, True)


def unblock(of: Scene) -> None:
    accounts.set_blocked(of.home.user_id, False)


def delete(of: Scene) -> None:
    accounts.delete(of.settings, of.home.user_id)


def move(of: Scene) -> None:
    accounts.move(of.settings, of.home.user_id, CLARA, language="en")


def move_and_end(of: Scene) -> None:
    accounts.move(of.settings, of.home.user_id, CLARA, language="en", end_sessions=True)


def change_number(of: Scene, *, end_other_sessions: bool = False) -> None:
    asked = accounts.ask_number(of.settings, of.home.user_id, of.home.id, CLARA, HOME).verification
    proof = asked.id, right(of.settings, asked)
    accounts.change_number(of.settings, of.home.user_id, of.home.id, *proof, end_other_sessions=end_other_sessions)


def change_number_and_end_others(of: Scene) -> None:
    change_number(of, end_other_sessions=True)


def use_a_refresh_token_twice(of: Scene) -> None:
    token, number = sessions.refresh_token(of.settings, of.far), 0
    for number in range(2):
        shown = Session(id=of.far.id, kind=SessionKind.APP, refreshes=number)
        exchanges.refresh(of.settings, of.shop.id, sessions.refresh_token(of.settings, shown))
    with pytest.raises(NotSignedIn):
        exchanges.refresh(of.settings, of.shop.id, token)


def end_app(of: Scene) -> None:
    of_person.end(of.home.user_id, of.shop.id)


def forget_app(of: Scene) -> None:
    of_person.forget(of.home.user_id, of.shop.id)


def restore(of: Scene) -> None:
    live = db.session.query(Session).filter_by(ended_at=None).count()
    assert retention.restored()["sessions"] == live


@pytest.mark.parametrize(
    ("act", "ends"),
    [
        (sign_out, {"home"} | IN_HOME),
        (end_one, {"home"} | IN_HOME),
        (end_others, {"work", "phone", "there"}),
        (block, ALL),
        (unblock, set()),
        (delete, ALL),
        (move, set()),
        (move_and_end, ALL),
        (change_number, set()),
        (change_number_and_end_others, {"work", "phone", "there"}),
        (use_a_refresh_token_twice, {"far"}),
        (end_app, IN_HOME | {"there"}),
        (forget_app, IN_HOME | {"there"}),
        (restore, ALL | {"theirs"}),
    ],
)
def test_these_sessions_end_and_each_app_is_notified_once(scene: Scene, act: Callable[[Scene], None], ends: set[str]) -> None:
    act(scene)
    assert scene.ended == ends
    of_apps = sorted((scene.shop.id, getattr(scene, name).id) for name in ends - {"home", "work", "phone"})
    assert apps.notified() == of_apps
    accounts.set_blocked(scene.theirs.user_id, True)
    if act is not delete:
        accounts.set_blocked(scene.home.user_id, True)
    assert len(apps.notified()) == 4, "Each of the four sessions of apps ends once."


@pytest.mark.parametrize("end", [registry.disable, registry.remove])
def test_a_client_that_is_disabled_or_removed_is_not_notified(scene: Scene, end: Callable[[str], None]) -> None:
    end(scene.shop.id)
    assert scene.ended == IN_HOME | {"there", "theirs"}
    delete(scene)
    assert apps.notified() == []


def test_a_client_that_is_enabled_again_gets_nothing_for_what_was_asked_before(scene: Scene) -> None:
    code, asked = apps.code(scene.settings, scene.shop, scene.home), apps.ask(scene.shop)
    registry.disable(scene.shop.id)
    late = apps.ask(scene.shop)  # read the client just before
    registry.enable(scene.shop.id)
    assert apps.exchange(scene.settings, scene.shop, code) is None
    assert [authorizations.find(one.id) for one in (asked, late)] == [None, None]
    assert apps.exchange(scene.settings, scene.shop, apps.code(scene.settings, scene.shop, scene.home)) is not None


def test_from_an_app_that_is_first_party_no_more_everyone_is_signed_out(scene: Scene) -> None:
    own = apps.add_app("Own", first_party=True)
    opened = apps.sign_in(scene.settings, own, scene.home)
    code, asked = apps.code(scene.settings, own, scene.home), apps.ask(own)
    registry.change(own.id, first_party=True, name="Ours")
    assert not apps.is_over(opened)
    registry.change(own.id, first_party=False)
    assert apps.is_over(opened)
    assert apps.notified() == [(own.id, opened.id)]
    assert apps.exchange(scene.settings, own, code) is None
    assert authorizations.find(asked.id) is None
    asked_again = apps.sign_in(scene.settings, own, scene.home)
    registry.change(own.id, first_party=False)
    assert not apps.is_over(asked_again)
    assert scene.ended == set()


def test_a_client_with_more_sessions_than_one_statement_ends_ends_them_all(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MOST_AT_ONCE", 3)
    registry.disable(scene.shop.id)
    assert scene.ended == IN_HOME | {"there", "theirs"}


def test_a_client_that_was_disabled_gets_no_notice_of_a_session_from_before(scene: Scene) -> None:
    sign_out(scene)
    before = apps.notified()
    registry.disable(scene.shop.id)
    block(scene)
    assert apps.notified() == before


def test_only_clients_with_an_address_for_it_are_notified(settings: Settings, home: Session) -> None:
    quiet, shop = apps.add_app("Quiet", backchannel_logout_uri=None), apps.add_app()
    apps.sign_in(settings, quiet, home)
    notified = apps.sign_in(settings, shop, home)
    sessions.sign_out(home.user_id, home.id)
    assert apps.notified() == [(shop.id, notified.id)]


def test_a_new_proof_of_the_number_keeps_the_apps_and_the_new_session_ends_them(scene: Scene) -> None:
    asked = ask(scene.settings)
    how: dict[str, Any] = {"kind": SessionKind.BROWSER, "device": "", "address": HOME.address, "instead_of": scene.home.id}
    newer = by_code.confirm_code(scene.settings, asked.id, right(scene.settings, asked), **how).session
    assert scene.ended == {"home"}
    assert apps.notified() == []
    sessions.sign_out(newer.user_id, newer.id)
    assert scene.ended == {"home"} | IN_HOME


def test_a_code_that_was_allowed_before_a_new_proof_is_exchanged_after_it(scene: Scene) -> None:
    codes = [apps.code(scene.settings, scene.shop, session) for session in (scene.home, scene.work)]
    asked = ask(scene.settings)
    how: dict[str, Any] = {"kind": SessionKind.BROWSER, "device": "", "address": HOME.address, "instead_of": scene.home.id}
    newer = by_code.confirm_code(scene.settings, asked.id, right(scene.settings, asked), **how).session
    grants = [apps.exchange(scene.settings, scene.shop, code) for code in codes]
    assert [grant and grant.session.parent_id for grant in grants] == [newer.id, scene.work.id]


@pytest.mark.parametrize("instead_of", ["unknown", "of another person", "ended"])
def test_a_proof_moves_no_other_apps(scene: Scene, instead_of: str) -> None:
    if instead_of == "ended":
        sign_out(scene)
    old = {"unknown": "A" * 22, "of another person": str(scene.theirs.parent_id), "ended": scene.home.id}[instead_of]
    asked = ask(scene.settings)
    how: dict[str, Any] = {"kind": SessionKind.BROWSER, "device": "", "address": HOME.address, "instead_of": old}
    before = parents()
    newer = by_code.confirm_code(scene.settings, asked.id, right(scene.settings, asked), **how).session
    assert parents() == before | {newer.id: (None, None)}
    assert not apps.is_over(scene.theirs)


def parents() -> dict[str, tuple[str | None, datetime | None]]:
    """Session -> the session in which it was opened, and when it ended."""
    db.session.rollback()
    return {row.id: (row.parent_id, row.ended_at) for row in db.session.scalars(select(Session))}


def test_a_session_of_a_browser_that_expires_ends_no_offline_access(scene: Scene, clock: Traveller) -> None:
    exchanges.refresh(scene.settings, scene.shop.id, sessions.refresh_token(scene.settings, scene.far))
    clock.shift(SESSION_LIFETIME[SessionKind.BROWSER] - timedelta(hours=1))
    exchanges.refresh(
        scene.settings,
        scene.shop.id,
        sessions.refresh_token(scene.settings, Session(id=scene.far.id, kind=SessionKind.APP, refreshes=1)),
    )
    clock.shift(timedelta(hours=2))
    assert sessions.caller(scene.home.id, SessionKind.BROWSER) is None
    assert sessions.caller(scene.here.id, SessionKind.APP) is None
    assert sessions.caller(scene.far.id, SessionKind.APP) is not None
    assert apps.notified() == []


def test_one_who_signs_in_again_can_end_what_an_expired_browser_left(scene: Scene, clock: Traveller) -> None:
    clock.shift(timedelta(days=5))
    newer = sign_in(scene.settings, ANNA, kind=SessionKind.BROWSER).session
    sessions.end_others(newer.user_id, newer.id)
    assert scene.ended == ALL


def test_a_restored_backup_brings_back_no_consent(scene: Scene) -> None:
    assert retention.restored()["consents"] == 2
    assert of_person.apps(scene.home.user_id) == []


def test_confirming_a_code_without_a_session_before_ends_nothing(scene: Scene) -> None:
    asked = ask(scene.settings)
    confirm(scene.settings, asked, right(scene.settings, asked), kind=SessionKind.BROWSER)
    assert scene.ended == set()
