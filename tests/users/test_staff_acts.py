"""What staff do to the accounts of others: the events of the audit trail, and what stays as it was."""

import pytest

from config import Settings
from hammer import events
from hammer.db.database import db
from hammer.models import User
from hammer.refusals import NotFound, TelephoneNumberTaken, Unavailable
from hammer.sessions import sessions
from hammer.users import accounts
from tests.actions import ANNA, BORIS, CLARA, STRANGER_ID, drawing, sign_in, staff_member, user
from tests.test_events import Noted, Trail, trail

__all__ = ["trail"]

pytestmark = pytest.mark.usefixtures("context")


def move(settings: Settings, user_id: str, number: str = CLARA, *, end_sessions: bool = False) -> None:
    accounts.move(settings, user_id, number, language="en", end_sessions=end_sessions)


def test_the_trail_says_who_created_a_user_and_who_gave_them_the_rights_of_staff(settings: Settings, trail: Trail) -> None:
    anna = staff_member(settings)
    trail.new()
    boris = accounts.create(settings, BORIS, {}, is_staff=True, actor_id=anna.id)
    assert trail.new() == [Noted(events.Kind.USER_CREATED, boris, anna.id), Noted(events.Kind.STAFF_GIVEN, boris, anna.id)]


def test_a_user_without_a_free_invite_code_may_be_created_a_second_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = user(settings).invite_code
    monkeypatch.setattr("secrets.choice", drawing(taken * 10))
    with pytest.raises(Unavailable) as refused:
        accounts.create(settings, BORIS, {})
    assert refused.value.retry_after == 1


def test_a_user_made_by_hand_is_staff_only_where_that_was_said(settings: Settings, trail: Trail) -> None:
    boris, clara = accounts.create(settings, BORIS, {}), accounts.create(settings, CLARA, {}, is_staff=True)
    assert trail.new() == [
        Noted(events.Kind.USER_CREATED, boris),
        Noted(events.Kind.USER_CREATED, clara),
        Noted(events.Kind.STAFF_GIVEN, clara),
    ]
    assert [db.session.get_one(User, user_id).is_staff for user_id in (boris, clara)] == [False, True]


def test_a_move_ends_no_session_unless_it_says_so(settings: Settings, trail: Trail) -> None:
    anna = sign_in(settings)
    trail.new()
    accounts.move(settings, anna.user.id, CLARA, language="en")
    assert trail.new() == [Noted(events.Kind.NUMBER_CHANGED, anna.user.id)]
    assert [device.id for device in sessions.devices(anna.user.id)] == [anna.session.id]


def test_the_trail_says_that_a_move_ended_sessions_if_there_were_any(settings: Settings, trail: Trail) -> None:
    anna, boris = sign_in(settings), sign_in(settings, BORIS)
    trail.new()
    move(settings, anna.user.id, end_sessions=True)
    assert trail.new() == [Noted(events.Kind.NUMBER_CHANGED, anna.user.id), Noted(events.Kind.SESSIONS_ENDED, anna.user.id)]
    move(settings, anna.user.id, ANNA, end_sessions=True)
    assert trail.new() == [Noted(events.Kind.NUMBER_CHANGED, anna.user.id)]
    assert [device.id for device in sessions.devices(boris.user.id)] == [boris.session.id]


def test_a_move_that_is_refused_changes_nothing(settings: Settings, trail: Trail) -> None:
    anna = sign_in(settings)
    user(settings, BORIS)
    trail.new()
    with pytest.raises(TelephoneNumberTaken):
        move(settings, anna.user.id, BORIS, end_sessions=True)
    with pytest.raises(NotFound):
        move(settings, STRANGER_ID, end_sessions=True)
    assert trail.new() == []
    assert [device.id for device in sessions.devices(anna.user.id)] == [anna.session.id]
    assert not sign_in(settings, ANNA).created
