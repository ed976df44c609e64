"""What `prune` deletes, and what it must keep."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select
from time_machine import Traveller

from config import Settings
from hammer.db.database import db
from hammer.login import by_code
from hammer.models import SESSION_LIFETIME, Message, SendAllowance, Session, SessionKind, User, Verification
from hammer.operations import retention
from hammer.quotas import counters
from hammer.refusals import NotSignedIn, TooManyRequests
from hammer.sessions import sessions
from hammer.users import people
from tests import apps
from tests.actions import ANNA, BORIS, HOME, ask, confirm, right, sign_in, user

pytestmark = pytest.mark.usefixtures("context")

SECOND = timedelta(seconds=1)


def left(table: type) -> int:
    db.session.expire_all()
    return db.session.scalars(select(func.count()).select_from(table)).one()


@pytest.mark.requirement("PRV-04")
def test_a_verification_and_its_texts_go_a_day_after_it_expired(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    clock.shift(settings.code_ttl + timedelta(hours=24) - SECOND)
    assert retention.prune()["verifications"] == 0
    clock.shift(SECOND)
    gone = retention.prune()
    assert (gone["verifications"], gone["texts"]) == (1, 1)
    assert (left(Verification), left(Message)) == (0, 0)


def test_a_verification_goes_a_day_after_it_was_used_although_it_expired_later(settings: Settings, clock: Traveller) -> None:
    sign_in(settings)
    clock.shift(timedelta(hours=24))
    assert retention.prune()["verifications"] == 1


def test_every_text_of_a_verification_is_counted(settings: Settings, clock: Traveller) -> None:
    verification = ask(settings)
    clock.shift(settings.resend_wait)
    by_code.resend_code(settings, verification.id, HOME)
    clock.shift(timedelta(days=2))
    assert retention.prune()["texts"] == 2


def test_a_code_that_still_works_survives(settings: Settings, clock: Traveller) -> None:
    ask(settings, BORIS)
    clock.shift(timedelta(hours=25))
    fresh = ask(settings, ANNA)
    retention.prune()
    assert confirm(settings, fresh, right(settings, fresh)).created
    assert left(Message) == 1


@pytest.mark.requirement("PRV-04")
def test_a_session_goes_thirty_days_after_it_was_ended(settings: Settings, clock: Traveller) -> None:
    signed_in = sign_in(settings)
    sessions.end(signed_in.user.id, signed_in.session.id)
    clock.shift(timedelta(days=30) - SECOND)
    assert retention.prune()["sessions"] == 0
    clock.shift(SECOND)
    assert retention.prune()["sessions"] == 1
    assert left(Session) == 0


def test_a_session_goes_thirty_days_after_it_expired(settings: Settings, clock: Traveller) -> None:
    sign_in(settings, kind=SessionKind.BROWSER)
    clock.shift(SESSION_LIFETIME[SessionKind.BROWSER] + timedelta(days=30) - SECOND)
    assert retention.prune()["sessions"] == 0
    clock.shift(SECOND)
    assert retention.prune()["sessions"] == 1


def test_a_device_that_is_signed_in_stays_so(settings: Settings, clock: Traveller) -> None:
    signed_in = sign_in(settings)
    shown = sessions.refresh_token(settings, signed_in.session)
    for _ in range(2):
        clock.shift(timedelta(days=13))
        retention.prune()
        session = sessions.refresh(settings, shown)
        assert session.id == signed_in.session.id
        shown = sessions.refresh_token(settings, session)


def test_a_spent_refresh_token_is_still_refused_when_its_session_is_gone(settings: Settings, clock: Traveller) -> None:
    signed_in = sign_in(settings)
    shown = sessions.refresh_token(settings, signed_in.session)
    clock.shift(timedelta(days=61))
    retention.prune()
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, shown)


@pytest.mark.requirement("PRV-04")
def test_an_allowance_goes_when_its_day_is_over(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    clock.shift(timedelta(hours=24) - SECOND)
    assert retention.prune()["send allowances"] == 0
    clock.shift(SECOND)
    assert retention.prune()["send allowances"] == 1
    assert left(SendAllowance) == 0


def test_an_allowance_whose_wait_goes_on_into_the_next_day_stays(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    waits = [settings.resend_wait * 2**n for n in range(3)]
    clock.shift(timedelta(hours=24) - sum(waits[:2], timedelta(0)))
    ask(settings)
    clock.shift(waits[1])
    ask(settings)
    clock.shift(waits[0])
    retention.prune()
    with pytest.raises(TooManyRequests):
        ask(settings)


def test_pruning_allows_no_further_text(settings: Settings, clock: Traveller) -> None:
    for n in range(settings.sends_per_number_day):
        ask(settings)
        clock.shift(settings.resend_wait * 2**n)
    retention.prune()
    with pytest.raises(TooManyRequests):
        ask(settings)


def test_allowances_are_kept_for_as_long_as_the_limit_counts() -> None:
    assert retention.ALLOWANCES_KEPT >= counters.DAY


@pytest.mark.requirement("PRV-04")
def test_people_and_their_counts_are_never_pruned(settings: Settings, clock: Traveller) -> None:
    anna = user(settings, ANNA)
    sign_in(settings, BORIS, invite_code=anna.invite_code)
    clock.shift(timedelta(days=1000))
    retention.prune()
    assert left(User) == 2
    assert people.profile(settings, anna.id).invite_code_list == [BORIS]


def test_more_rows_than_one_transaction_takes_are_all_deleted(
    settings: Settings, clock: Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_AT_ONCE", 3)
    for n in range(7):
        ask(settings, f"+7929000010{n}")
    clock.shift(timedelta(days=2))
    gone = retention.prune()
    assert (gone["texts"], gone["verifications"], gone["send allowances"]) == (7, 7, 7)
    assert (left(Message), left(Verification), left(SendAllowance)) == (0, 0, 0)


def test_pruning_twice_finds_nothing_the_second_time(settings: Settings, clock: Traveller) -> None:
    sign_in(settings)
    clock.shift(timedelta(days=1000))
    gone = retention.prune()
    assert min(gone[kind] for kind in ("texts", "sessions", "counters", "devices", "events")) >= 1
    assert sum(retention.prune().values()) == 0


def test_a_request_of_an_app_goes_an_hour_after_its_end_and_a_day_after_if_its_code_was_exchanged(
    settings: Settings, clock: Traveller
) -> None:
    shop, home = apps.add_app(), sign_in(settings, kind=SessionKind.BROWSER).session
    apps.ask(shop)  # can be answered for 30 minutes
    apps.code(settings, shop, home)  # can be exchanged for one
    apps.sign_in(settings, shop, home)
    clock.shift(timedelta(minutes=61) - SECOND)
    assert retention.prune()["authorizations"] == 0
    clock.shift(SECOND)
    assert retention.prune()["authorizations"] == 1
    clock.shift(timedelta(minutes=29))
    assert retention.prune()["authorizations"] == 1
    clock.shift(timedelta(hours=22, minutes=31) - SECOND)
    assert retention.prune()["authorizations"] == 0
    clock.shift(SECOND)
    assert retention.prune()["authorizations"] == 1
