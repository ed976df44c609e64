"""What a deletion removes, whatever the user did before; and who may delete a user."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer import clock, events
from hammer.db.database import db, transaction
from hammer.factors import staff
from hammer.invites import activation, tombstones
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import Event, Message, SendAllowance, SessionKind, User, Verification
from hammer.quotas import idempotency, invite_attempts
from hammer.refusals import UnknownInvite, WrongCode
from hammer.sessions import devices, sessions
from hammer.users import accounts, exports, search, transfers
from tests import apps, delivery
from tests.actions import ANNA, BORIS, CLARA, HOME, activate, ask, confirm, count_of, referrals, right, sign_in, wrong
from tests.operators import add_passkey
from tests.people import Browser, Program

OTHER, PENDING = "+79290000004", "+79290000005"
NAMES = {"username": "karenina", "first_name": "Анна", "last_name": "Каренина"}
STAYS = {
    "users.id",
    "referrals.referee_id",
    "referrals.referrer_id",
    "events.user_id",
    "events.actor_id",
    "events.referrer_id",
    "logout_notices.user_id",
}
"""Tables where the id of a deleted user stays, as docs/privacy.md says."""
IMPERSONAL = {
    "event_counts",
    "seals",
    "token_keys",
    "clients",
    "webhook_endpoints",
    "webhook_deliveries",
    "webhook_attempts",
    "spent_challenges",
}
"""Tables without data about users."""
in_context = pytest.mark.usefixtures("context")


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


def soon() -> None:
    """Ends the waits, so that the next message to any number may be asked for at once."""
    with transaction() as tx:
        tx.execute(update(SendAllowance).values(next_send_at=SendAllowance.day_began_at, sends=1))


def attempt_an_unknown_code(settings: Settings, user_id: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(UnknownInvite):
            activate(settings, user_id, "AAAAAA")


@pytest.fixture
def anna(context: None, settings: Settings, noon: Traveller) -> SignedIn:
    """A user with rows in every table, who has changed her number and changed it back."""
    them = sign_in(settings, ANNA)
    boris, clara = sign_in(settings, BORIS).user, sign_in(settings, CLARA).user
    accounts.change(them.user.id, NAMES)
    activate(settings, boris.id, them.user.invite_code)
    attempt_an_unknown_code(settings, them.user.id, invite_attempts.PER_NUMBER_PER_DAY)
    noon.shift(timedelta(days=1))
    attempt_an_unknown_code(settings, them.user.id, invite_attempts.PER_ACCOUNT - invite_attempts.PER_NUMBER_PER_DAY)
    noon.shift(timedelta(days=1))
    attempt_an_unknown_code(settings, them.user.id, 1)  # the attempt of the week
    noon.shift(timedelta(days=7))
    activate(settings, them.user.id, clara.invite_code)
    accounts.set_staff(settings, boris.id, True)
    accounts.set_staff(settings, them.user.id, True, actor_id=boris.id)
    accounts.change(clara.id, {"first_name": "Клара"}, actor_id=them.user.id)
    them = sign_in(settings, ANNA)
    for number in (OTHER, ANNA):
        soon()
        asked = accounts.ask_number(settings, them.user.id, them.session.id, number, HOME).verification
        accounts.change_number(settings, them.user.id, them.session.id, asked.id, right(settings, asked))
    soon()
    asked = ask(settings, ANNA, asker=Asker(HOME.address, "en", devices.token(settings, them.device)))
    at_home = confirm(settings, asked, right(settings, asked), kind=SessionKind.BROWSER)
    soon()
    key = idempotency.make_key(settings, "key", call="signup", body=ANNA)
    attacked = by_code.send_code(settings, ANNA, HOME, invite_code=boris.invite_code, key=key).verification
    with pytest.raises(WrongCode):
        confirm(settings, attacked, wrong(settings, attacked))
    delivery.deliver(settings)  # the notices to her old numbers are sent
    accounts.ask_number(settings, them.user.id, them.session.id, PENDING, HOME)
    exports.export(settings, them.user.id)
    shop = apps.add_app()
    apps.sign_in(settings, shop, at_home.session)
    apps.ask(shop, login_hint=ANNA)
    apps.ask(shop, login_hint=BORIS)
    sessions.sign_out(them.user.id, at_home.session.id)
    staff.allow_enrolment(settings, them.user.id)
    with pytest.raises(WrongCode):
        staff.open_by_code(settings, them.user.id, "000000", device="")
    add_passkey(them.user.id)
    search.count_number(settings, OTHER, them.user.id)
    transfers.check([], actor_id=them.user.id)
    transfers.add([], actor_id=them.user.id)
    return them


def mentions(*marks: str) -> set[str]:
    """The columns (`table.column`) of any table that contain one of these values."""
    db.session.expire_all()
    return {
        f"{table.name}.{column}"
        for table in db.metadata.sorted_tables
        for row in db.session.execute(table.select()).mappings()
        for column, value in row.items()
        if any(mark in str(value) for mark in marks)
    }


def tables(columns: set[str]) -> set[str]:
    return {column.partition(".")[0] for column in columns}


@pytest.mark.requirement("PRV-03")
def test_after_a_deletion_no_table_contains_the_id_name_or_number(settings: Settings, anna: SignedIn) -> None:
    clear = (ANNA[1:], OTHER[1:], PENDING[1:], *NAMES.values())
    hashed = [settings.keyed_hash(purpose, ANNA) for purpose in ("numbers", "numbers of known devices")]
    keys = [idempotency.make_key(settings, "key", call="signup", body=ANNA).name]
    there = mentions(anna.user.id, *clear, *hashed, *keys)
    assert set(db.metadata.tables) - tables(there) == IMPERSONAL | {"texts"}, "Her life left no row there."
    assert {row.verification_id for row in db.session.query(Message)} & {row.id for row in db.session.query(Verification)}
    accounts.delete(settings, anna.user.id, actor_id=anna.user.id, session_id=anna.session.id)
    assert mentions(*clear) == set()
    assert mentions(anna.user.id) == STAYS
    assert mentions(anna.session.id, anna.device.id) == set()


@pytest.mark.requirement("PRV-03")
def test_after_a_deletion_counters_contain_only_the_hash_of_the_number(settings: Settings, anna: SignedIn) -> None:
    counted = {scope for scope in _counted() if anna.user.id in scope}
    assert {scope.rpartition("/")[0] for scope in counted} == {
        "invites/life",
        "invites/week",
        "factors",
        "whole-numbers",
        "import-checks",
        "imports",
    }
    accounts.delete(settings, anna.user.id)
    assert {scope for scope in _counted() if anna.user.id in scope} == set()


def _counted() -> list[str]:
    return [row.scope for row in db.session.execute(db.metadata.tables["counters"].select())]


def test_a_deletion_removes_nothing_of_other_users(settings: Settings, anna: SignedIn) -> None:
    boris = db.session.query(User).filter_by(telephone_number=BORIS).one().id
    before = _rows_about(boris, BORIS)
    accounts.delete(settings, anna.user.id)
    assert _rows_about(boris, BORIS) == before
    assert any("Клара" in row for row in _rows_about("Клара"))


def _rows_about(*marks: str) -> list[str]:
    db.session.expire_all()
    rows = [str(dict(row)) for table in db.metadata.sorted_tables for row in db.session.execute(table.select()).mappings()]
    return sorted(row for row in rows if any(mark in row for mark in marks))


@in_context
def test_a_waiting_notice_is_sent_to_the_old_number_and_then_forgets_it(settings: Settings, noon: Traveller) -> None:
    """Also after a deletion of its user. Otherwise a thief of the account could suppress it."""
    them = sign_in(settings, ANNA)
    asked = accounts.ask_number(settings, them.user.id, them.session.id, OTHER, HOME).verification
    accounts.change_number(settings, them.user.id, them.session.id, asked.id, right(settings, asked))
    accounts.delete(settings, them.user.id)
    assert mentions(ANNA[1:], OTHER[1:]) == {"texts.telephone_number"}
    delivery.deliver(settings)
    assert mentions(ANNA[1:], OTHER[1:]) == set()


@in_context
def test_a_tombstone_is_extended_when_the_number_is_left_again(settings: Settings, noon: Traveller) -> None:
    owner = sign_in(settings, BORIS).user
    them = sign_in(settings, ANNA, invite_code=owner.invite_code)
    for number in (OTHER, ANNA):
        soon()
        asked = accounts.ask_number(settings, them.user.id, them.session.id, number, HOME).verification
        accounts.change_number(settings, them.user.id, them.session.id, asked.id, right(settings, asked))
    noon.shift(timedelta(days=60))
    accounts.delete(settings, them.user.id)
    noon.shift(timedelta(days=60))
    assert tombstones.is_marked(db.session(), settings, ANNA, clock.now())
    noon.shift(timedelta(days=30))
    assert not tombstones.is_marked(db.session(), settings, ANNA, clock.now())


@in_context
def test_a_number_that_a_referee_left_activates_no_code_at_a_first_login_before_its_tombstone_ends(
    settings: Settings, noon: Traveller
) -> None:
    owner = sign_in(settings, BORIS).user
    for number in (ANNA, CLARA):
        accounts.delete(settings, sign_in(settings, number, invite_code=owner.invite_code).user.id)
    noon.shift(tombstones.LIFETIME - timedelta(microseconds=1))
    assert activation.activated(sign_in(settings, ANNA, invite_code=owner.invite_code).user.id) is None
    noon.shift(timedelta(microseconds=1))
    assert activation.activated(sign_in(settings, CLARA, invite_code=owner.invite_code).user.id) is not None


@in_context
def test_a_deletion_that_is_repeated_with_its_key_is_done_once(settings: Settings, noon: Traveller) -> None:
    them = sign_in(settings)
    key = idempotency.make_key(settings, "A" * 16, call="delete")
    assert not accounts.was_deleted(key)
    for _ in range(2):
        accounts.delete(settings, them.user.id, actor_id=them.user.id, session_id=them.session.id, key=key)
        assert accounts.was_deleted(key)
    assert db.session.query(Event).filter_by(kind=events.Kind.USER_DELETED).count() == 1


# Who may delete


@pytest.mark.parametrize("name", ["me", "ME", ANNA, "8 929 000-00-01", "anna"])
def test_staff_delete_themselves_only_with_a_fresh_code(app: Flask, program: Program, noon: Traveller, name: str) -> None:
    program.sign_in(ANNA)
    assert program.call("PATCH", "/users/me/", {"username": "anna"}).status_code == 200
    make_staff(app, ANNA)
    noon.shift(timedelta(minutes=5))
    answer = program.call("DELETE", f"/users/{name}/")
    assert (answer.status_code, (answer.json or {}).get("type")) == (403, "/problems/not-allowed")
    assert program.is_signed_in()


def test_staff_delete_others_without_a_fresh_code(app: Flask, noon: Traveller) -> None:
    staff, other = Program(app), Program(app)
    staff.sign_in(ANNA)
    other.sign_in(BORIS)
    make_staff(app, ANNA)
    noon.shift(timedelta(minutes=5))
    assert staff.call("DELETE", f"/users/{BORIS}/").status_code == 204
    assert not other.is_signed_in()


def test_staff_delete_themselves_on_the_pages_only_with_a_fresh_code(app: Flask, browser: Browser, noon: Traveller) -> None:
    browser.sign_in(ANNA)
    make_staff(app, ANNA)
    confirmation = next(form for form in browser.get("/profile/delete/").forms if not form.action.startswith("/logout"))
    noon.shift(timedelta(minutes=5))
    browser.send(confirmation)
    assert browser.is_signed_in()


def make_staff(app: Flask, telephone_number: str) -> None:
    with app.app_context():
        accounts.set_staff(
            app.config["SETTINGS"], db.session.query(User).filter_by(telephone_number=telephone_number).one().id, True
        )


# Invite codes of deleted users


@in_context
@pytest.mark.requirement("INV-04")
def test_an_invite_code_of_a_deleted_user_is_not_activated_at_a_first_login(settings: Settings) -> None:
    owner = sign_in(settings, BORIS).user
    accounts.delete(settings, owner.id)
    came = sign_in(settings, ANNA, invite_code=owner.invite_code)
    assert came.created
    assert referrals() == set()
    assert count_of(owner.id) == 0
    kinds: Any = [event.kind for event in db.session.query(Event).filter_by(user_id=came.user.id)]
    assert "invite-activated" not in kinds


@in_context
def test_an_invite_code_is_not_activated_if_its_owner_was_deleted_before_the_login_ended(settings: Settings) -> None:
    owner = sign_in(settings, BORIS).user
    asked = ask(settings, ANNA, invite_code=owner.invite_code)
    accounts.delete(settings, owner.id)
    came = confirm(settings, asked, right(settings, asked))
    assert (came.created, referrals(), count_of(owner.id)) == (True, set(), 0)
    clara = sign_in(settings, CLARA).user
    activate(settings, came.user.id, clara.invite_code)
    assert count_of(clara.id) == 1


@in_context
def test_the_tombstone_of_one_number_is_in_no_other_export(settings: Settings, noon: Traveller) -> None:
    owner = sign_in(settings, BORIS).user
    marked, other = sign_in(settings, ANNA, invite_code=owner.invite_code), sign_in(settings, CLARA)
    accounts.delete(settings, marked.user.id)
    soon()
    again = sign_in(settings, ANNA)
    assert exports.export(settings, other.user.id)["left_before"] is None
    assert exports.export(settings, again.user.id)["left_before"] == clock.now() + tombstones.LIFETIME
