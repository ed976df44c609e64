"""What an endpoint gets: its types of events, what waited while it was disabled, replays and pings, and nothing after its end."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer import events
from hammer.clients import registry
from hammer.db.database import db
from hammer.models import Disabled, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from hammer.refusals import InvalidFields, NotAllowed, NotFound
from hammer.webhooks import deliveries, endpoints, feed
from hammer.webhooks.deliveries import PAUSE, deliver_next
from hammer.webhooks.endpoints import Manager
from tests.webhooks.receivers import Post, Receiver, receiving
from tests.webhooks.steps import deliver, deliveries_of, note, stored

CREATED, RENAMED, BLOCKED = events.Kind.SIGNED_UP, events.Kind.USER_RENAMED, events.Kind.USER_BLOCKED


@pytest.fixture
def other(settings: Settings, context: None) -> Iterator[Receiver]:
    """The server of another app that gets all types of events."""
    with receiving() as one:
        endpoints.add(settings, one.url)
        yield one


def rows() -> tuple[int, ...]:
    """How many endpoints, deliveries and attempts are stored."""
    db.session.expire_all()
    tables = WebhookEndpoint, WebhookDelivery, WebhookAttempt
    return tuple(db.session.scalar(select(func.count()).select_from(table)) or 0 for table in tables)


# Types


def test_an_endpoint_gets_the_types_that_it_asks_for(settings: Settings, receiver: Receiver, other: Receiver) -> None:
    endpoint = endpoints.add(settings, receiver.url, ["user.renamed", "user.blocked"])
    for kind in (CREATED, RENAMED, BLOCKED, events.Kind.SIGNED_IN):
        note(kind=kind)
    deliver(settings)
    assert receiver.types == ["user.renamed", "user.blocked"]
    assert other.types == ["user.created", "user.renamed", "user.blocked"]
    endpoints.change(settings, endpoint.id, types=["user.created"])
    for kind in (CREATED, RENAMED):
        note(kind=kind)
    deliver(settings)
    assert receiver.types[2:] == ["user.created"]


def test_an_endpoint_gets_what_happens_after_it_was_added(settings: Settings, receiver: Receiver, context: None) -> None:
    note()
    feed.publish()
    endpoints.add(settings, receiver.url)
    note(kind=RENAMED)
    deliver(settings)
    assert receiver.types == ["user.renamed"]


def test_a_good_endpoint_gets_events_in_the_order_of_the_feed(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    for _ in range(5):
        note(10)
        deliver(settings)
    assert [post.json["sequence"] for post in receiver.posts] == list(range(1, 51))
    assert [message.sequence for message in feed.read().items] == list(range(1, 51))


# Disabled and enabled


def test_a_disabled_endpoint_gets_nothing_and_what_happens_meanwhile_is_not_kept_for_it(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, other: Receiver
) -> None:
    endpoints.disable(endpoint.id)
    assert stored(endpoint.id).disabled_for == Disabled.BY_HAND
    note(3)
    deliver(settings)
    assert (receiver.posts, deliveries_of(endpoint.id)) == ([], [])
    assert other.types == ["endpoint.disabled", *["user.created"] * 3]
    endpoints.enable(endpoint.id)
    deliver(settings)
    assert receiver.posts == []
    note(kind=RENAMED)
    deliver(settings)
    assert receiver.types == ["user.renamed"]


def test_disabling_twice_is_one_event(settings: Settings, endpoint: WebhookEndpoint, other: Receiver) -> None:
    for _ in range(2):
        endpoints.disable(endpoint.id)
    deliver(settings)
    assert other.types == ["endpoint.disabled"]


def test_an_endpoint_that_is_enabled_gets_what_waited_at_once_with_all_tries(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note(2)
    for _ in range(8):
        clock.shift(timedelta(hours=3))
        deliver(settings)
    assert {delivery.tries for delivery in deliveries_of(endpoint.id)} != {0}
    endpoints.disable(endpoint.id)
    clock.shift(timedelta(days=30))
    deliver(settings)
    came = len(receiver.posts)
    receiver.status = 200
    endpoints.enable(endpoint.id)
    now = stored(endpoint.id)
    assert (now.disabled_at, now.disabled_for, now.failures, now.failing_since) == (None, None, 0, None)
    assert {(delivery.tries, delivery.due_at) for delivery in deliveries_of(endpoint.id)} == {(0, time_of_day.now())}
    deliver(settings)
    assert [post.json["sequence"] for post in receiver.posts[came:]] == [1, 2]


def test_enabling_an_endpoint_that_failed_ends_its_pause(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    deliver(settings)
    assert deliver_next(settings) is False
    receiver.status = 200
    endpoints.enable(endpoint.id)
    assert deliver_next(settings) is True
    assert stored(endpoint.id).failures == 0


@pytest.mark.parametrize("asks", ["ping", "ping at once", "replay"])
def test_what_is_asked_for_ends_the_pause_of_an_endpoint_that_failed(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller, asks: str
) -> None:
    receiver.status, receiver.headers = 503, {"Retry-After": "86400"}
    note()
    deliver(settings)
    receiver.status = 200
    if asks == "ping":
        endpoints.ping(endpoint.id)
    elif asks == "replay":
        endpoints.replay(endpoint.id, receiver.ids[0])
    else:
        assert deliveries.ping_now(settings, endpoint.id).accepted
        note()
    came = len(receiver.posts)
    deliver(settings)
    assert len(receiver.posts) == came + 1


def test_an_endpoint_gets_what_happens_since_it_was_added(
    settings: Settings, receiver: Receiver, context: None, clock: Traveller
) -> None:
    """Not what was published later, but had happened before."""
    note()
    clock.shift(1)
    endpoints.add(settings, receiver.url)
    note()
    deliver(settings)
    assert [post.json["sequence"] for post in receiver.posts] == [2]


def test_what_happened_before_it_was_disabled_waits_for_it(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    """Also if it was published later. What happened since is replayed."""
    note()
    clock.shift(1)
    disabled_at = endpoints.disable(endpoint.id).disabled_at
    assert disabled_at is not None
    clock.shift(1)
    note()
    feed.publish()
    endpoints.enable(endpoint.id)
    deliver(settings)
    assert [post.json["sequence"] for post in receiver.posts] == [1]
    clock.shift(1)
    endpoints.replay_span(endpoint.id, disabled_at)
    deliver(settings)
    assert [post.json["sequence"] for post in receiver.posts] == [1, 2, 3]  # the second is that it was disabled


def test_another_url_is_posted_to_at_once_with_all_tries(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, other: Receiver, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    for _ in range(6):
        deliver(settings)
        clock.shift(timedelta(hours=3))
    assert deliveries_of(endpoint.id)[0].due_at > time_of_day.now()
    endpoints.change(settings, endpoint.id, url=f"{other.url}/new")
    deliver(settings)
    assert other.posts[-1].path == "/hook/new"
    assert (deliveries_of(endpoint.id)[0].delivered, deliveries_of(endpoint.id)[0].tries) == (True, 1)


def test_other_types_do_not_end_a_pause(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    deliver(settings)
    endpoints.change(settings, endpoint.id, types=["user.created"])
    assert deliver_next(settings) is False


@pytest.mark.parametrize("change", ["url", "enabled"])
def test_the_failure_of_a_post_under_way_does_not_count_against_another_url(
    app: Flask, settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller, change: str
) -> None:
    note()

    def changed(_: Post) -> None:
        receiver.status = 500
        with app.app_context():
            if change == "url":
                endpoints.change(settings, endpoint.id, url=f"{receiver.url}/new")
            else:
                endpoints.disable(endpoint.id)
                endpoints.enable(endpoint.id)

    receiver.on_post = changed
    assert deliver_next(settings)
    now = stored(endpoint.id)
    assert (now.failures, now.failing_since, now.next_at) == (0, None, time_of_day.now())
    assert [(delivery.tries, delivery.due_at) for delivery in deliveries_of(endpoint.id)] == [(0, time_of_day.now())]


# Replays


def test_an_event_is_replayed_with_the_same_id_and_body(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, other: Receiver, clock: Traveller
) -> None:
    note(3)
    deliver(settings)
    clock.shift(timedelta(days=10))
    assert endpoints.replay(endpoint.id, receiver.ids[1]) == 1
    deliver(settings)
    assert (len(receiver.posts), len(other.posts)) == (4, 3)
    assert (receiver.posts[3].id, receiver.posts[3].body) == (receiver.posts[1].id, receiver.posts[1].body)
    assert receiver.posts[3].headers["webhook-timestamp"] != receiver.posts[1].headers["webhook-timestamp"]


def test_a_time_is_replayed_by_types_from_its_start_to_before_its_end(
    settings: Settings, receiver: Receiver, context: None, clock: Traveller
) -> None:
    endpoint = endpoints.add(settings, receiver.url, ["user.created", "user.renamed"])
    moments = []
    for kind in (CREATED, RENAMED, BLOCKED, RENAMED, CREATED):
        clock.shift(60)
        moments.append(time_of_day.now())
        note(kind=kind)
    deliver(settings)
    came = receiver.ids
    assert len(came) == 4
    for since, until, again in (
        (moments[1], moments[3], came[1:2]),
        (moments[1], moments[4], came[1:3]),
        (moments[0], moments[2], came[:2]),
        (moments[0] - timedelta(days=1), None, came[:3]),  # the last event is not before now
        (moments[3] + timedelta(seconds=1), moments[4], []),
    ):
        before = len(receiver.posts)
        assert endpoints.replay_span(endpoint.id, since, until) == len(again)
        deliver(settings)
        assert receiver.ids[before:] == again


def test_an_event_that_never_had_a_delivery_is_replayed_too(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    endpoints.disable(endpoint.id)
    began = time_of_day.now()
    clock.shift(1)
    note(2)
    feed.publish()
    endpoints.enable(endpoint.id)
    clock.shift(1)
    assert endpoints.replay_span(endpoint.id, began + timedelta(seconds=1)) == 2
    deliver(settings)
    assert receiver.types == ["user.created"] * 2


def test_an_event_that_was_given_up_is_replayed_with_all_tries(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 410
    note()
    deliver(settings)
    assert deliveries_of(endpoint.id)[0].delivered is False
    endpoints.enable(endpoint.id)
    endpoints.replay(endpoint.id, receiver.ids[0])
    receiver.status = 500
    deliver(settings)
    assert (deliveries_of(endpoint.id)[0].tries, deliveries_of(endpoint.id)[0].ended_at) == (1, None)
    receiver.status = 200
    clock.shift(timedelta(seconds=10))
    deliver(settings)
    assert (deliveries_of(endpoint.id)[0].delivered, len(set(receiver.ids))) == (True, 1)


def test_a_disabled_endpoint_refuses_replays_and_pings(settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint) -> None:
    note()
    deliver(settings)
    endpoints.disable(endpoint.id)
    with pytest.raises(NotAllowed):
        endpoints.replay(endpoint.id, receiver.ids[0])
    with pytest.raises(NotAllowed):
        endpoints.replay_span(endpoint.id, time_of_day.EPOCH)
    with pytest.raises(NotAllowed):
        endpoints.ping(endpoint.id)
    feed.publish()
    endpoints.enable(endpoint.id)
    deliver(settings)
    assert len(receiver.posts) == 1


@pytest.mark.parametrize(
    "shown", ["", "msg_1", "msg_1_1", "msg_999999999_1", "msg_999999999999999999_1", "msg_1_99999999999999999", "x", "msg_1_1 "]
)
def test_only_events_of_the_feed_can_be_replayed(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, shown: str
) -> None:
    note()
    deliver(settings)
    with pytest.raises(InvalidFields):
        endpoints.replay(endpoint.id, shown)


def test_other_types_and_pings_are_not_replayed(settings: Settings, receiver: Receiver, other: Receiver) -> None:
    endpoint = endpoints.add(settings, receiver.url, ["user.renamed"])
    note(kind=BLOCKED)
    ping = endpoints.ping(endpoint.id)
    deliver(settings)
    for shown in (other.ids[0], ping):
        with pytest.raises(InvalidFields):
            endpoints.replay(endpoint.id, shown)


def test_too_long_a_time_is_refused_whole(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MOST_REPLAYED", 3)
    note(4)
    deliver(settings)
    with pytest.raises(InvalidFields):
        endpoints.replay_span(endpoint.id, time_of_day.EPOCH)
    assert deliver_next(settings) is False


# Pings


def test_a_ping_comes_to_one_endpoint_and_is_not_in_the_feed(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, other: Receiver
) -> None:
    shown = endpoints.ping(endpoint.id)
    deliver(settings)
    [post] = receiver.posts
    assert post.id == shown
    assert post.json == {"type": "ping", "timestamp": post.json["timestamp"], "data": {"endpoint_id": endpoint.id}}
    assert other.posts == []
    assert feed.read().items == []


def test_a_ping_at_once_reaches_a_disabled_endpoint_and_its_result_changes_nothing(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, other: Receiver
) -> None:
    endpoints.disable(endpoint.id)
    receiver.status = 410
    assert str(deliveries.ping_now(settings, endpoint.id)) == "410"
    assert (receiver.types, stored(endpoint.id).disabled_for) == (["ping"], Disabled.BY_HAND)
    assert [(attempt.status, event.kind) for attempt, event in endpoints.attempts(endpoint.id).items] == [(410, "ping")]
    endpoints.enable(endpoint.id)
    assert str(deliveries.ping_now(settings, endpoint.id)) == "410"
    assert (stored(endpoint.id).disabled_at, stored(endpoint.id).failures) == (None, 0)
    assert deliver_next(settings) is True  # what happened while it was disabled, to the other endpoint
    deliver(settings)
    assert "ping" not in other.types
    with pytest.raises(NotFound):
        deliveries.ping_now(settings, "A" * 22)


# Clients


def test_endpoints_of_a_disabled_client_get_nothing_until_it_is_enabled(
    settings: Settings, receiver: Receiver, context: None, clock: Traveller
) -> None:
    client = registry.add("Shop", [])
    endpoint = endpoints.add(settings, receiver.url, by=Manager(client.id))
    note()
    feed.publish()
    registry.disable(client.id)
    note()
    deliver(settings)
    clock.shift(timedelta(days=1))
    deliver(settings)
    assert receiver.posts == []
    registry.enable(client.id)
    deliver(settings)
    assert [post.json["sequence"] for post in receiver.posts] == [1]
    assert len(deliveries_of(endpoint.id)) == 1


def test_endpoints_of_a_removed_client_are_removed(settings: Settings, receiver: Receiver, other: Receiver) -> None:
    client = registry.add("Shop", [])
    for _ in range(2):
        endpoints.add(settings, receiver.url, by=Manager(client.id))
    note()
    deliver(settings)
    assert rows() == (3, 3, 3)
    registry.remove(client.id)
    assert rows() == (1, 1, 1)
    note()
    deliver(settings)
    assert (len(receiver.posts), len(other.posts)) == (2, 2)


def test_a_client_sees_only_its_own_endpoints(settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint) -> None:
    shop, desk = (Manager(registry.add(name, []).id) for name in ("Shop", "Desk"))
    own = endpoints.add(settings, receiver.url, by=shop)
    note()
    deliver(settings)
    assert [each.id for each in endpoints.every(shop)] == [own.id]
    assert endpoints.every(desk) == []
    assert {each.id for each in endpoints.every()} == {own.id, endpoint.id}
    for by in (desk,):
        for call in (
            lambda by: endpoints.find(own.id, by),
            lambda by: endpoints.change(settings, own.id, by=by, types=[]),
            lambda by: endpoints.rotate(settings, own.id, by=by),
            lambda by: endpoints.disable(own.id, by=by),
            lambda by: endpoints.enable(own.id, by=by),
            lambda by: endpoints.remove(own.id, by=by),
            lambda by: endpoints.ping(own.id, by=by),
            lambda by: endpoints.replay(own.id, receiver.ids[0], by=by),
            lambda by: endpoints.replay_span(own.id, time_of_day.EPOCH, by=by),
            lambda by: endpoints.attempts(own.id, by=by),
        ):
            with pytest.raises(NotFound):
                call(by)
    assert (stored(own.id).generation, stored(own.id).disabled_at) == (0, None)


def test_there_are_20_endpoints_of_each_client_and_20_of_staff(settings: Settings, receiver: Receiver, context: None) -> None:
    shop = Manager(registry.add("Shop", []).id)
    for by in (shop, endpoints.COMMAND_LINE):
        made = [endpoints.add(settings, receiver.url, by=by) for _ in range(endpoints.MOST)]
        with pytest.raises(NotAllowed):
            endpoints.add(settings, receiver.url, by=by)
        endpoints.remove(made[0].id, by=by)
        endpoints.add(settings, receiver.url, by=by)


# Removal


@pytest.mark.parametrize("status", [200, 410, 500])
def test_an_endpoint_that_is_removed_during_a_post_leaves_nothing(
    app: Flask, settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    def removed(_: Post) -> None:
        with app.app_context():
            endpoints.remove(endpoint.id)

    receiver.status, receiver.on_post = status, removed
    note(2)
    deliver(settings)
    assert len(receiver.posts) == 1
    assert rows() == (0, 0, 0)
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_an_endpoint_that_is_removed_during_a_ping_leaves_nothing(
    app: Flask, settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    def removed(_: Post) -> None:
        with app.app_context():
            endpoints.remove(endpoint.id)

    receiver.on_post = removed
    assert deliveries.ping_now(settings, endpoint.id).accepted
    assert rows() == (0, 0, 0)


def test_an_endpoint_that_is_disabled_during_a_post_keeps_its_success(
    app: Flask, settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint
) -> None:
    def disabled(_: Post) -> None:
        with app.app_context():
            endpoints.disable(endpoint.id)

    receiver.on_post = disabled
    note(2)
    deliver(settings)
    assert [delivery.delivered for delivery in deliveries_of(endpoint.id)] == [True, None]
    assert len(receiver.posts) == 1


def test_a_replay_during_the_last_try_keeps_all_its_tries(
    app: Flask, settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    deliver(settings)
    clock.shift(PAUSE * 1.25)

    def replayed(post: Post) -> None:
        with app.app_context():
            endpoints.replay(endpoint.id, post.id)

    receiver.on_post = replayed
    assert deliver_next(settings)
    assert (deliveries_of(endpoint.id)[0].tries, deliveries_of(endpoint.id)[0].due_at) == (0, time_of_day.now())
