"""What `prune` deletes, and what it must keep."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from time_machine import Traveller

import config
from config import LEAST_EVENTS_KEPT, Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.events import Kind
from hammer.login import by_code
from hammer.models import (
    SESSION_LIFETIME,
    Event,
    Message,
    SendAllowance,
    Session,
    SessionKind,
    User,
    Verification,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from hammer.operations import audit, retention, seals
from hammer.quotas import counters
from hammer.refusals import InvalidFields, NotSignedIn, TooManyRequests
from hammer.sessions import sessions
from hammer.users import people
from hammer.webhooks import deliveries, endpoints, feed
from tests import apps
from tests.actions import ANNA, BORIS, HOME, STRANGER_ID, ask, confirm, right, sign_in, user
from tests.cli.commands import CLOSED_PORT
from tests.tampering import tamper

pytestmark = pytest.mark.usefixtures("context")

SECOND = timedelta(seconds=1)


def left(table: type) -> int:
    db.session.expire_all()
    return db.session.scalars(select(func.count()).select_from(table)).one()


@pytest.mark.requirement("PRV-04")
def test_a_verification_and_its_texts_go_a_day_after_it_expired(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    clock.shift(settings.code_ttl + timedelta(hours=24) - SECOND)
    assert retention.prune(settings)["verifications"] == 0
    clock.shift(SECOND)
    gone = retention.prune(settings)
    assert (gone["verifications"], gone["texts"]) == (1, 1)
    assert (left(Verification), left(Message)) == (0, 0)


def test_a_verification_goes_a_day_after_it_was_used_although_it_expired_later(settings: Settings, clock: Traveller) -> None:
    sign_in(settings)
    clock.shift(timedelta(hours=24))
    assert retention.prune(settings)["verifications"] == 1


def test_every_text_of_a_verification_is_counted(settings: Settings, clock: Traveller) -> None:
    verification = ask(settings)
    clock.shift(settings.resend_wait)
    by_code.resend_code(settings, verification.id, HOME)
    clock.shift(timedelta(days=2))
    assert retention.prune(settings)["texts"] == 2


def test_a_code_that_still_works_survives(settings: Settings, clock: Traveller) -> None:
    ask(settings, BORIS)
    clock.shift(timedelta(hours=25))
    fresh = ask(settings, ANNA)
    retention.prune(settings)
    assert confirm(settings, fresh, right(settings, fresh)).created
    assert left(Message) == 1


@pytest.mark.requirement("PRV-04")
def test_a_session_goes_thirty_days_after_it_was_ended(settings: Settings, clock: Traveller) -> None:
    signed_in = sign_in(settings)
    sessions.end(signed_in.user.id, signed_in.session.id)
    clock.shift(timedelta(days=30) - SECOND)
    assert retention.prune(settings)["sessions"] == 0
    clock.shift(SECOND)
    assert retention.prune(settings)["sessions"] == 1
    assert left(Session) == 0


def test_a_session_goes_thirty_days_after_it_expired(settings: Settings, clock: Traveller) -> None:
    sign_in(settings, kind=SessionKind.BROWSER)
    clock.shift(SESSION_LIFETIME[SessionKind.BROWSER] + timedelta(days=30) - SECOND)
    assert retention.prune(settings)["sessions"] == 0
    clock.shift(SECOND)
    assert retention.prune(settings)["sessions"] == 1


def test_a_device_that_is_signed_in_stays_so(settings: Settings, clock: Traveller) -> None:
    signed_in = sign_in(settings)
    shown = sessions.refresh_token(settings, signed_in.session)
    for _ in range(2):
        clock.shift(timedelta(days=13))
        retention.prune(settings)
        session = sessions.refresh(settings, shown)
        assert session.id == signed_in.session.id
        shown = sessions.refresh_token(settings, session)


def test_a_spent_refresh_token_is_still_refused_when_its_session_is_gone(settings: Settings, clock: Traveller) -> None:
    signed_in = sign_in(settings)
    shown = sessions.refresh_token(settings, signed_in.session)
    clock.shift(timedelta(days=61))
    retention.prune(settings)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, shown)


@pytest.mark.requirement("PRV-04")
def test_an_allowance_goes_when_its_day_is_over(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    clock.shift(timedelta(hours=24) - SECOND)
    assert retention.prune(settings)["send allowances"] == 0
    clock.shift(SECOND)
    assert retention.prune(settings)["send allowances"] == 1
    assert left(SendAllowance) == 0


def test_an_allowance_whose_wait_goes_on_into_the_next_day_stays(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    waits = [settings.resend_wait * 2**n for n in range(3)]
    clock.shift(timedelta(hours=24) - sum(waits[:2], timedelta(0)))
    ask(settings)
    clock.shift(waits[1])
    ask(settings)
    clock.shift(waits[0])
    retention.prune(settings)
    with pytest.raises(TooManyRequests):
        ask(settings)


def test_pruning_allows_no_further_text(settings: Settings, clock: Traveller) -> None:
    for n in range(settings.sends_per_number_day):
        ask(settings)
        clock.shift(settings.resend_wait * 2**n)
    retention.prune(settings)
    with pytest.raises(TooManyRequests):
        ask(settings)


def test_allowances_are_kept_for_as_long_as_the_limit_counts() -> None:
    assert retention.ALLOWANCES_KEPT >= counters.DAY


@pytest.mark.requirement("PRV-04")
def test_people_and_their_counts_are_never_pruned(settings: Settings, clock: Traveller) -> None:
    anna = user(settings, ANNA)
    sign_in(settings, BORIS, invite_code=anna.invite_code)
    clock.shift(timedelta(days=1000))
    retention.prune(settings)
    assert left(User) == 2
    assert people.profile(settings, anna.id).invite_code_list == [BORIS]


def test_more_rows_than_one_transaction_takes_are_all_deleted(
    settings: Settings, clock: Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_AT_ONCE", 3)
    for n in range(7):
        ask(settings, f"+7929000010{n}")
    clock.shift(timedelta(days=2))
    gone = retention.prune(settings)
    assert (gone["texts"], gone["verifications"], gone["send allowances"]) == (7, 7, 7)
    assert (left(Message), left(Verification), left(SendAllowance)) == (0, 0, 0)


def test_pruning_twice_finds_nothing_the_second_time(settings: Settings, clock: Traveller) -> None:
    sign_in(settings)
    seals.seal_all(settings)
    clock.shift(timedelta(days=1000))
    happen()
    feed.publish()
    seals.seal_all(settings)
    gone = retention.prune(settings)
    assert min(gone[kind] for kind in ("texts", "sessions", "counters", "devices", "events")) >= 1
    assert sum(retention.prune(settings).values()) == 0


def test_a_request_of_an_app_goes_an_hour_after_its_end_and_a_day_after_if_its_code_was_exchanged(
    settings: Settings, clock: Traveller
) -> None:
    shop, home = apps.add_app(), sign_in(settings, kind=SessionKind.BROWSER).session
    apps.ask(shop)  # can be answered for 30 minutes
    apps.code(settings, shop, home)  # can be exchanged for one
    apps.sign_in(settings, shop, home)
    clock.shift(timedelta(minutes=61) - SECOND)
    assert retention.prune(settings)["authorizations"] == 0
    clock.shift(SECOND)
    assert retention.prune(settings)["authorizations"] == 1
    clock.shift(timedelta(minutes=29))
    assert retention.prune(settings)["authorizations"] == 1
    clock.shift(timedelta(hours=22, minutes=31) - SECOND)
    assert retention.prune(settings)["authorizations"] == 0
    clock.shift(SECOND)
    assert retention.prune(settings)["authorizations"] == 1


# Times that the operator shortened


@pytest.mark.requirement("PRV-04")
def test_texts_go_when_the_operators_hours_are_over(settings: Settings, clock: Traveller) -> None:
    short = replace(settings, texts_kept=timedelta(hours=1))
    ask(settings)
    clock.shift(settings.code_ttl + timedelta(hours=1) - SECOND)
    assert retention.prune(short)["verifications"] == 0
    clock.shift(SECOND)
    gone = retention.prune(short)
    assert (gone["verifications"], gone["texts"]) == (1, 1)


def test_the_shortest_time_of_texts_lets_nobody_guess_more_often(settings: Settings, clock: Traveller) -> None:
    short = replace(settings, texts_kept=timedelta(hours=1))
    for n in range(settings.sends_per_number_day):
        ask(settings)
        clock.shift(settings.resend_wait * 2**n)
    clock.shift(timedelta(hours=2))
    assert retention.prune(short)["verifications"] == settings.sends_per_number_day
    with pytest.raises(TooManyRequests):
        ask(settings)


@pytest.mark.requirement("PRV-04")
def test_sessions_go_when_the_operators_days_are_over(settings: Settings, clock: Traveller) -> None:
    short = replace(settings, sessions_kept=timedelta(days=1))
    signed_in = sign_in(settings)
    sessions.end(signed_in.user.id, signed_in.session.id)
    clock.shift(timedelta(days=1) - SECOND)
    assert retention.prune(short)["sessions"] == 0
    clock.shift(SECOND)
    assert retention.prune(short)["sessions"] == 1


@pytest.mark.requirement("PRV-04")
def test_events_go_when_the_operators_days_are_over(settings: Settings, clock: Traveller) -> None:
    short = replace(settings, events_kept=LEAST_EVENTS_KEPT)
    happen(2)
    seals.seal_all(settings)
    happen()
    seals.seal_all(settings)
    clock.shift(short.events_kept - SECOND)
    assert retention.prune(short)["events"] == 0
    clock.shift(SECOND)
    assert retention.prune(short)["events"] == 2
    assert audit.verify(short).flaws == []
    [flaw] = audit.verify(settings).flaws
    assert flaw.startswith("Events 1 to 2 were deleted before their time")


def test_the_database_deletes_no_event_that_no_operator_may_delete(settings: Settings, clock: Traveller) -> None:
    happen(2)
    seals.seal_all(settings)
    happen()
    seals.seal_all(settings)
    clock.shift(timedelta(days=89) - SECOND)
    with pytest.raises(IntegrityError, match="cannot be changed"):
        retention.prune(replace(settings, events_kept=timedelta(days=30)))
    assert left(Event) == 3


# Webhooks and the event feed


def happen(count: int = 1) -> None:
    """Adds events that apps are told about."""
    with transaction() as tx:
        for _ in range(count):
            events.note(tx, Kind.USER_RENAMED, STRANGER_ID)


@pytest.fixture
def endpoint(context: None, settings: Settings) -> WebhookEndpoint:
    """An endpoint at which no server listens."""
    return endpoints.add(settings, f"http://127.0.0.1:{CLOSED_PORT}/hook")


@pytest.mark.requirement("PRV-04")
def test_deliveries_and_attempts_go_after_thirty_days(settings: Settings, endpoint: WebhookEndpoint, clock: Traveller) -> None:
    happen()
    feed.publish()
    endpoints.disable(endpoint.id)
    deliveries.ping_now(settings, endpoint.id)
    clock.shift(settings.webhook_log_kept - SECOND)
    gone = retention.prune(settings)
    assert (gone["webhook attempts"], gone["webhook deliveries"]) == (0, 0)
    clock.shift(SECOND)
    gone = retention.prune(settings)
    assert (gone["webhook attempts"], gone["webhook deliveries"], gone["events"]) == (1, 1, 0)
    assert (left(WebhookAttempt), left(WebhookDelivery), left(WebhookEndpoint)) == (0, 0, 1)


@pytest.mark.requirement("PRV-04")
def test_deliveries_and_attempts_go_when_the_operators_days_are_over(
    settings: Settings, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    short = replace(settings, webhook_log_kept=timedelta(days=7))
    happen()
    feed.publish()
    endpoints.disable(endpoint.id)
    deliveries.ping_now(settings, endpoint.id)
    clock.shift(timedelta(days=7) - SECOND)
    gone = retention.prune(short)
    assert (gone["webhook attempts"], gone["webhook deliveries"]) == (0, 0)
    clock.shift(SECOND)
    gone = retention.prune(short)
    assert (gone["webhook attempts"], gone["webhook deliveries"]) == (1, 1)


def test_the_shortest_log_of_posts_is_longer_than_posts_are_repeated() -> None:
    tries = sum(deliveries.WAITS, timedelta(0)) * (1 + deliveries.JITTER)
    assert timedelta(days=config.DECLARED["webhook_log_kept"].check.min) > tries


def test_a_delivery_that_waits_for_its_next_try_stays(settings: Settings, endpoint: WebhookEndpoint, clock: Traveller) -> None:
    happen()
    deliveries.deliver_next(settings)
    clock.shift(settings.webhook_log_kept)
    assert retention.prune(settings)["webhook deliveries"] == 0


def test_a_delivery_goes_with_its_event(settings: Settings, endpoint: WebhookEndpoint, clock: Traveller) -> None:
    began = datetime.now(UTC)
    happen()
    seals.seal_all(settings)
    happen()
    feed.publish()
    clock.shift(settings.events_kept - timedelta(days=1))
    endpoints.replay_span(endpoint.id, since=began)
    seals.seal_all(settings)
    clock.shift(timedelta(days=1))
    retention.prune(settings)
    assert (left(Event), left(WebhookDelivery)) == (2, 1)  # the newest of the feed, and the replay


@pytest.mark.requirement("PRV-04")
def test_the_newest_event_of_the_feed_stays_so_that_places_go_on(settings: Settings, clock: Traveller) -> None:
    happen(2)
    seals.seal_all(settings)
    happen()
    feed.publish()
    seals.seal_all(settings)
    with transaction() as tx:
        events.note(tx, Kind.SIGNED_IN, STRANGER_ID)
    seals.seal_all(settings)
    place = feed.read().after
    clock.shift(settings.events_kept)
    assert retention.prune(settings)["events"] == 2
    happen()
    page = feed.read(place)
    assert [message.sequence for message in page.items] == [4]
    seals.seal_all(settings)
    assert retention.prune(settings)["events"] == 2


def test_events_go_after_a_year_if_they_are_sealed_and_newer_ones_are_there(settings: Settings, clock: Traveller) -> None:
    happen(2)
    seals.seal_all(settings)
    clock.shift(settings.events_kept)
    assert retention.prune(settings)["events"] == 0  # or their ids would be used again
    happen()
    assert retention.prune(settings)["events"] == 0
    seals.seal_all(settings)
    assert retention.prune(settings)["events"] == 2


def test_a_delivery_that_was_added_while_a_clock_was_ahead_does_not_wait_until_then(
    settings: Settings, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    happen()
    clock.shift(timedelta(days=300))
    feed.publish()
    clock.shift(-timedelta(days=300))
    retention.prune(settings)
    clock.shift(deliveries.LONGEST_WAIT)
    deliveries.deliver_next(settings)
    assert left(WebhookAttempt) == 1


@pytest.mark.usefixtures("clock", "endpoint")
def test_a_delivery_that_waits_as_long_as_one_can_is_not_changed(settings: Settings) -> None:
    happen()
    feed.publish()
    latest = datetime.now(UTC) + deliveries.LONGEST_WAIT
    with transaction() as tx:
        tx.execute(update(WebhookDelivery).values(due_at=latest))
    retention.prune(settings)
    assert db.session.scalars(select(WebhookDelivery.due_at)).one() == latest


def test_after_a_restore_no_event_gets_a_place_that_apps_may_have_seen() -> None:
    """And an app that reads on from a place that the backup has misses nothing."""
    happen(2)
    of_backup = feed.read(limit=1).after
    happen()
    newest = feed.read()
    tamper("delete from events where sequence = 3")  # as if the backup had been made before the third

    retention.restored()
    happen()

    with pytest.raises(InvalidFields):
        feed.read(newest.after)
    [second, new] = feed.read(of_backup).items
    assert second.id == newest.items[1].id
    assert new.sequence is not None
    assert new.sequence > feed.SKIPPED > 3
    assert [message.id for message in feed.read().items] == [newest.items[0].id, second.id, new.id]


def test_after_a_restore_an_empty_feed_begins_with_the_first_place() -> None:
    retention.restored()
    happen()
    assert [message.sequence for message in feed.read().items] == [1]
