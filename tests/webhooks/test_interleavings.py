"""Verbs of webhooks at the same time, in every order of their steps: the feed has no gap and no place twice, no delivery is left of
an endpoint that was removed, and no two transactions wait for each other."""

from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select

from config import Settings
from hammer.clients import registry
from hammer.db.database import db
from hammer.models import Event, WebhookDelivery, WebhookEndpoint
from hammer.refusals import NotAllowed, NotFound
from hammer.webhooks import deliveries, endpoints, feed
from hammer.webhooks.endpoints import Manager
from tests.actions import staff_member
from tests.interleaving import Verb, at_every_step
from tests.serving import at_once
from tests.webhooks.receivers import Receiver
from tests.webhooks.steps import note

either_way = pytest.mark.parametrize("turned", [False, True], ids=["first", "second"])


def places() -> list[int]:
    db.session.expire_all()
    return list(db.session.scalars(select(Event.sequence).where(Event.sequence.is_not(None)).order_by(Event.sequence)))


def play(app: Flask, scene: Callable[[], tuple[Verb, Verb]], turned: bool) -> None:
    """Plays both verbs at every step of the first one. They may refuse with `NotFound`."""
    plays = 0

    def in_turn() -> tuple[Verb, Verb]:
        first, second = scene()
        return (second, first) if turned else (first, second)

    for first, second, step in at_every_step(app, in_turn):
        for ended in (first, second):
            assert ended.raised is None or isinstance(ended.raised, NotFound), (step, ended.raised)
        with app.app_context():
            feed.publish()
            assert places() == list(range(1, len(places()) + 1)), step
        plays += 1
    assert plays > 1


def test_of_two_that_publish_at_once_each_event_gets_one_place_and_one_delivery(
    app: Flask, settings: Settings, receiver: Receiver
) -> None:
    def scene() -> tuple[Verb, Verb]:
        note(2)
        return feed.publish, feed.publish

    with app.app_context():
        endpoints.add(settings, receiver.url)
    play(app, scene, turned=False)
    with app.app_context():
        assert db.session.query(WebhookDelivery).count() == len(places())


@either_way
def test_an_event_that_is_committed_during_a_publication_is_in_the_next_one(app: Flask, settings: Settings, turned: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        note()
        return feed.publish, note

    play(app, scene, turned)


@either_way
@pytest.mark.parametrize("how", ["endpoint", "client"])
def test_an_endpoint_that_is_removed_while_events_are_published_leaves_no_delivery(
    app: Flask, settings: Settings, receiver: Receiver, how: str, turned: bool
) -> None:
    turn = 0

    def scene() -> tuple[Verb, Verb]:
        nonlocal turn
        turn += 1
        client = registry.add(f"Shop {turn}", []).id
        ids = [endpoints.add(settings, receiver.url, by=Manager(client)).id for _ in range(2)]
        note(2)
        return feed.publish, partial(endpoints.remove, ids[0]) if how == "endpoint" else partial(registry.remove, client)

    play(app, scene, turned)
    with app.app_context():
        known = select(WebhookEndpoint.id)
        assert not db.session.scalars(select(WebhookDelivery.id).where(WebhookDelivery.endpoint_id.not_in(known))).all()


@either_way
@pytest.mark.parametrize("change", ["enabled", "url", "replayed", "removed", "disabled", "rotated"])
@pytest.mark.parametrize("status", [200, 500])
def test_what_staff_do_to_an_endpoint_while_a_post_is_made_waits_for_no_one(
    app: Flask, settings: Settings, receiver: Receiver, change: str, status: int, turned: bool
) -> None:
    receiver.status = status
    made = ""
    with app.app_context():
        by = Manager(user_id=staff_member(settings).id)

    def again() -> None:
        endpoints.disable(made, by=by)
        endpoints.enable(made, by=by)

    def scene() -> tuple[Verb, Verb]:
        nonlocal made
        for endpoint in endpoints.every():
            endpoints.remove(endpoint.id)
        made = endpoints.add(settings, receiver.url, ["user.created"]).id
        note(2)
        feed.publish()
        shown = feed.read(limit=100).items[0].id
        verbs: dict[str, Verb] = {
            "enabled": again,
            "url": partial(endpoints.change, settings, made, by=by, url=f"{receiver.url}/new"),
            "replayed": partial(endpoints.replay, made, shown, by=by),
            "removed": partial(endpoints.remove, made, by=by),
            "disabled": partial(endpoints.disable, made, by=by),
            "rotated": partial(endpoints.rotate, settings, made, by=by),
        }
        return partial(deliveries.deliver_next, settings), verbs[change]

    play(app, scene, turned)


def test_of_endpoints_that_are_added_at_once_no_more_than_20_are_there(app: Flask, settings: Settings, receiver: Receiver) -> None:
    def add() -> bool:
        with app.app_context():
            try:
                endpoints.add(settings, receiver.url)
            except NotAllowed:
                return False
            return True

    with app.app_context():
        for _ in range(endpoints.MOST - 2):
            endpoints.add(settings, receiver.url)
    assert sum(at_once([add] * 6)) == 2
    with app.app_context():
        assert len(endpoints.every()) == endpoints.MOST


def test_many_rounds_of_posts_and_changes_at_once_end_without_waiting_for_each_other(
    app: Flask, settings: Settings, receiver: Receiver
) -> None:
    with app.app_context():
        ids = [endpoints.add(settings, receiver.url).id for _ in range(3)]

    def delivers() -> None:
        with app.app_context():
            for _ in range(20):
                deliveries.deliver_next(settings)

    def changes(endpoint_id: str) -> None:
        with app.app_context():
            for _ in range(8):
                note()
                endpoints.disable(endpoint_id)
                endpoints.enable(endpoint_id)
                endpoints.change(settings, endpoint_id, url=receiver.url)

    calls: list[Callable[[], None]] = [delivers, delivers, *(partial(changes, endpoint_id) for endpoint_id in ids)]
    at_once(calls)
    with app.app_context():
        feed.publish()
        assert places() == list(range(1, len(places()) + 1))
