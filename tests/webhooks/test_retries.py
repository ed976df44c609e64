"""Which answers count as a success, how often an event is posted, and when an endpoint is disabled."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime

import pytest
from flask import Flask
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import transaction
from hammer.models import Disabled, WebhookDelivery, WebhookEndpoint
from hammer.outgoing.post import Fault, Outcome
from hammer.webhooks import deliveries, endpoints, feed
from hammer.webhooks.deliveries import DISABLED_AFTER, JITTER, PAUSE, WAITS, deliver_next
from tests.webhooks.receivers import Post, Receiver, receiving
from tests.webhooks.steps import deliver, deliveries_of, next_post_at, note, stored

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def other(settings: Settings, context: None) -> Iterator[Receiver]:
    """The server of another app that gets all types of events."""
    with receiving() as one:
        endpoints.add(settings, one.url)
        yield one


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == deliveries.__name__]


def fail_until(settings: Settings, clock: Traveller, endpoint: WebhookEndpoint, moment: timedelta) -> list[timedelta]:
    """Makes each post when it is due, until `moment` after now: how long after now each was made."""
    feed.publish()
    began, made = time_of_day.now(), []
    while (due := next_post_at(endpoint.id)) is not None and due <= began + moment and stored(endpoint.id).disabled_at is None:
        clock.move_to(max(due, time_of_day.now()))
        assert deliver_next(settings)
        made.append(time_of_day.now() - began)
    if stored(endpoint.id).disabled_at is None:
        clock.move_to(began + moment)
    return made


# Success


@pytest.mark.requirement("HOOK-03")
@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_status_of_success_ends_a_delivery(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller, status: int
) -> None:
    receiver.status = status
    note()
    deliver(settings)
    clock.shift(DAY)
    deliver(settings)
    assert len(receiver.posts) == 1
    assert [(delivery.delivered, delivery.tries) for delivery in deliveries_of(endpoint.id)] == [(True, 1)]
    assert [(attempt.status, attempt.fault) for attempt, _ in endpoints.attempts(endpoint.id).items] == [(status, None)]


@pytest.mark.requirement("HOOK-03")
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308, 400, 401, 404, 409, 429, 500, 503])
def test_any_other_status_is_a_failure_and_a_redirect_is_not_followed(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller, status: int
) -> None:
    with receiving() as elsewhere:
        receiver.status, receiver.headers = status, {"Location": elsewhere.url}
        note()
        deliver(settings)
        assert len(receiver.posts) == 1
        receiver.status = 200
        clock.shift(PAUSE * (1 + JITTER))
        deliver(settings)
        assert len(receiver.posts) == 2
        assert elsewhere.posts == []
    assert [attempt.status for attempt, _ in endpoints.attempts(endpoint.id).items] == [200, status]


@pytest.mark.requirement("HOOK-03")
def test_a_server_that_is_away_or_refused_is_a_failure(settings: Settings, context: None, clock: Traveller) -> None:
    with receiving() as receiver:
        endpoint = endpoints.add(settings, receiver.url)
    note()
    assert deliver_next(settings)
    clock.shift(PAUSE * (1 + JITTER))
    assert deliver_next(replace(settings, env="production", public_url="https://login.example.com"))
    assert [attempt.fault for attempt, _ in endpoints.attempts(endpoint.id).items] == [Fault.REFUSED, Fault.CONNECT]


# Tries


@pytest.mark.requirement("HOOK-03")
def test_an_event_is_posted_eleven_times_in_three_days_and_given_up_when_only_others_are_accepted(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.refuse(lambda body: body["sequence"] == 1)
    note()
    assert deliver_next(settings)
    waits, planned = [], [timedelta(seconds=each) for each in (5, 60, 300, 1800)]
    planned += [HOUR * each for each in (2, 5, 10, 14, 20, 24)]
    for tries, plan in enumerate(planned, 1):
        first = deliveries_of(endpoint.id)[0]
        waits.append(first.due_at - time_of_day.now())
        assert plan <= waits[-1] <= plan * 1.25
        assert (first.tries, first.ended_at) == (tries, None)
        clock.move_to(stored(endpoint.id).next_at)
        note()  # this one it accepts
        deliver(settings)
        clock.move_to(first.due_at)
        assert (deliver_next(settings), deliver_next(settings)) == (True, False)
    assert len({wait / plan for wait, plan in zip(waits, planned, strict=True)}) > 1
    first, *others = deliveries_of(endpoint.id)
    assert (first.delivered, first.tries, first.ended_at is None) == (False, 11, False)
    assert {each.delivered for each in others} == {True}
    assert receiver.ids.count(receiver.ids[0]) == 11
    clock.shift(30 * DAY)
    assert deliver_next(settings) is False
    assert (stored(endpoint.id).disabled_at, logged(caplog)) == (None, [])


@pytest.mark.requirement("HOOK-03")
def test_an_event_is_not_posted_before_its_time(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    deliver(settings)
    for _ in WAITS[:4]:
        due = next_post_at(endpoint.id)
        assert due is not None
        clock.move_to(due - timedelta(milliseconds=1))
        assert deliver_next(settings) is False
        clock.shift(timedelta(milliseconds=1))
        assert deliver_next(settings)


def test_a_failed_post_pauses_the_endpoint_longer_each_time(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note(12)
    pauses = []
    for _ in range(9):
        assert (deliver_next(settings), deliver_next(settings)) == (True, False)
        pauses.append((stored(endpoint.id).next_at - time_of_day.now()).total_seconds())
        clock.shift(pauses[-1])
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    receiver.status = 200
    deliver(settings)
    assert {delivery.delivered for delivery in deliveries_of(endpoint.id)} <= {True, None}
    assert (stored(endpoint.id).failures, stored(endpoint.id).failing_since) == (0, None)


# Retry-After


@pytest.mark.requirement("HOOK-03")
@pytest.mark.parametrize(
    ("asked", "least"),
    [
        ("120", 120),
        ("3600", 3600),
        ("172800", 86_400),
        ("999999999", 86_400),
        ("0", 5),
        ("-5", 5),
        ("soon", 5),
        ("1.5", 5),
        ("", 5),
    ],
)
def test_an_endpoint_can_ask_for_a_wait_of_up_to_a_day(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller, asked: str, least: int
) -> None:
    receiver.status, receiver.headers = 429, {"Retry-After": asked}
    note()
    deliver(settings)
    assert_waits(endpoint, least)


@pytest.mark.requirement("HOOK-03")
@pytest.mark.parametrize(("ahead", "least"), [(HOUR, 3600), (2 * DAY, 86_400), (-HOUR, 5)])
def test_an_endpoint_can_ask_for_a_moment(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller, ahead: timedelta, least: int
) -> None:
    clock.move_to(time_of_day.now().replace(microsecond=0) + timedelta(seconds=1))
    receiver.status, receiver.headers = 503, {"Retry-After": format_datetime(time_of_day.now() + ahead, usegmt=True)}
    note()
    deliver(settings)
    assert_waits(endpoint, least)


def assert_waits(endpoint: WebhookEndpoint, seconds: int) -> None:
    """Neither this event nor another one is posted for so long."""
    wait = timedelta(seconds=seconds)
    assert stored(endpoint.id).next_at - time_of_day.now() == wait
    [delivery] = deliveries_of(endpoint.id)
    assert wait <= delivery.due_at - time_of_day.now() <= max(wait, timedelta(seconds=6.25))


def test_an_endpoint_that_asks_for_no_wait_does_not_shorten_one(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": "1"}
    note()
    deliver(settings)
    assert_waits(endpoint, 5)


def test_what_an_endpoint_asks_for_when_it_accepts_is_ignored(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.headers = {"Retry-After": "3600"}
    note(2)
    deliver(settings)
    assert len(receiver.posts) == 2


# Disabled


@pytest.mark.requirement("HOOK-03")
def test_an_endpoint_that_is_gone_is_disabled_at_once(
    settings: Settings,
    receiver: Receiver,
    endpoint: WebhookEndpoint,
    other: Receiver,
    clock: Traveller,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.status = 410
    note(2)
    deliver(settings)
    assert len(receiver.posts) == 1
    assert (stored(endpoint.id).disabled_for, stored(endpoint.id).disabled_at) == (Disabled.GONE, time_of_day.now())
    assert logged(caplog) == [f"The webhook endpoint {endpoint.id} was disabled: {Disabled.GONE}."]
    assert receiver.url not in caplog.text
    assert other.types == ["user.created", "user.created", "endpoint.disabled"]
    assert other.posts[-1].json["data"] == {"endpoint_id": endpoint.id}
    assert [message.type for message in feed.read().items] == other.types
    clock.shift(DAY)
    note()
    deliver(settings)
    assert len(receiver.posts) == 1


@pytest.mark.requirement("HOOK-03")
@pytest.mark.parametrize("events", [1, 5])
def test_an_endpoint_that_accepts_nothing_for_three_days_is_disabled_and_never_earlier(
    settings: Settings,
    receiver: Receiver,
    endpoint: WebhookEndpoint,
    other: Receiver,
    clock: Traveller,
    caplog: pytest.LogCaptureFixture,
    events: int,
) -> None:
    receiver.status = 500
    note(events)
    made = fail_until(settings, clock, endpoint, 5 * DAY)
    assert made[-2] < DISABLED_AFTER <= made[-1]
    assert (stored(endpoint.id).disabled_for, stored(endpoint.id).disabled_at) == (Disabled.FAILING, time_of_day.now())
    assert logged(caplog) == [f"The webhook endpoint {endpoint.id} was disabled: {Disabled.FAILING}."]
    assert receiver.url not in caplog.text
    deliver(settings)
    assert other.types == ["user.created"] * events + ["endpoint.disabled"]


@pytest.mark.requirement("HOOK-03")
def test_an_endpoint_that_accepts_one_event_of_many_stays_enabled(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.refuse(lambda body: body["sequence"] % 5 > 0)
    for _ in range(8):
        note(5)
        fail_until(settings, clock, endpoint, DAY / 2)
    assert stored(endpoint.id).disabled_at is None
    assert {delivery.delivered for delivery in deliveries_of(endpoint.id)} == {True, False, None}


def test_an_endpoint_with_one_event_in_a_month_that_fails_once_stays_enabled(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    for _ in range(4):
        receiver.status = 500
        note()
        deliver(settings)
        receiver.status = 200
        clock.shift(PAUSE * (1 + JITTER))
        deliver(settings)
        clock.shift(30 * DAY)
    assert stored(endpoint.id).disabled_at is None
    assert {delivery.delivered for delivery in deliveries_of(endpoint.id)} == {True}


def test_a_failure_long_ago_does_not_disable_with_the_next_one(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    """An event is given up soon after the endpoint accepted another one. A month later one post fails."""
    receiver.refuse(lambda body: body["sequence"] != 2)
    note()
    fail_until(settings, clock, endpoint, DISABLED_AFTER - HOUR)
    note()
    deliver(settings)
    assert stored(endpoint.id).failing_since is None
    fail_until(settings, clock, endpoint, 2 * DAY)
    given_up, accepted = deliveries_of(endpoint.id)
    assert (given_up.delivered, accepted.delivered) == (False, True)
    assert stored(endpoint.id).failing_since is not None
    clock.shift(30 * DAY)
    note()
    deliver(settings)
    assert len(deliveries_of(endpoint.id)) == 3
    assert (stored(endpoint.id).disabled_at, stored(endpoint.id).failing_since) == (None, time_of_day.now())


def test_days_without_workers_do_not_disable_an_endpoint(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    deliver(settings)
    clock.shift(4 * DAY)
    deliver(settings)
    assert len(receiver.posts) == 2
    assert stored(endpoint.id).disabled_at is None


# Claims


def test_a_slow_post_that_another_worker_repeated_counts_if_it_was_accepted_and_not_if_it_failed(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    note()
    feed.publish()
    for status, delivered in ((500, None), (200, True)):
        with transaction() as tx:
            claimed = deliveries.QUEUE.claim(tx, time_of_day.now())
            assert claimed is not None
            slow = deliveries._oldest_due(tx, claimed, time_of_day.now())
            assert slow is not None
        clock.shift(deliveries.QUEUE.policy.lease)
        with transaction() as tx:
            again = deliveries.QUEUE.claim(tx, time_of_day.now())
            assert again is not None
            lease_ends_at, claims = again.next_at, again.claims
        deliveries._record(slow, time_of_day.now(), Outcome(status=status), timedelta(seconds=31))
        now = stored(endpoint.id)
        assert (now.next_at, now.claims, now.failures, now.failing_since) == (lease_ends_at, claims, 0, None)
        [delivery] = deliveries_of(endpoint.id)
        assert (delivery.delivered, delivery.tries) == (delivered, 1 if delivered else 0)
        clock.shift(deliveries.QUEUE.policy.lease)
    assert deliver_next(settings) is False


def test_a_failure_does_not_undo_the_success_of_a_slow_post(
    app: Flask, settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    note()
    feed.publish()
    with transaction() as tx:
        tx.execute(update(WebhookDelivery).values(tries=len(WAITS)))

    def accepted(_: Post) -> None:
        receiver.status = 500
        with app.app_context(), transaction() as tx:
            tx.execute(update(WebhookDelivery).values(ended_at=time_of_day.now(), delivered=True))

    receiver.on_post = accepted
    assert deliver_next(settings)
    assert [delivery.delivered for delivery in deliveries_of(endpoint.id)] == [True]
