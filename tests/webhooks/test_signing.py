"""Posts are signed by the rules of Standard Webhooks, with secrets that can be changed without a gap."""

from base64 import b64decode
from datetime import timedelta
from itertools import pairwise

import pytest
from sqlalchemy import select
from standardwebhooks import WebhookVerificationError
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db
from hammer.models import Event, WebhookEndpoint
from hammer.webhooks import deliveries, endpoints, signing
from hammer.webhooks.deliveries import WAITS, deliver_next
from tests.webhooks.receivers import Post, Receiver
from tests.webhooks.steps import deliver, note, stored

VECTOR = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The secret of the example in the tests of Standard Webhooks."""


def signs(secret: str, post: Post) -> bool:
    try:
        post.verify(secret)
    except WebhookVerificationError:
        return False
    return True


@pytest.mark.requirement("HOOK-01")
def test_the_example_of_standard_webhooks_gets_its_signature(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, clock: Traveller
) -> None:
    clock.move_to(time_of_day.EPOCH + timedelta(seconds=1614265330))
    monkeypatch.setattr(signing, "_secret", lambda *_: VECTOR)
    made = signing.headers(
        settings, WebhookEndpoint(id="A" * 22, generation=0), "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}'
    )
    assert made == {
        "Content-Type": "application/json",
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.requirement("HOOK-01")
def test_the_bytes_that_arrive_are_those_that_were_signed(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    note()
    deliver(settings)
    [post] = receiver.posts
    post.verify(signing.secret(settings, endpoint.id, 0))
    assert post.headers["content-type"] == "application/json"
    for changed in (
        Post(post.path, post.headers, post.body + b" "),
        Post(post.path, post.headers | {"webhook-id": "msg_1"}, post.body),
    ):
        assert not signs(signing.secret(settings, endpoint.id, 0), changed)


@pytest.mark.requirement("HOOK-02")
def test_a_post_that_is_301_seconds_old_is_refused(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    note()
    deliver(settings)
    secret = signing.secret(settings, endpoint.id, 0)
    clock.shift(299)
    assert signs(secret, receiver.posts[0])
    clock.shift(2)
    assert not signs(secret, receiver.posts[0])


@pytest.mark.requirement("HOOK-01")
def test_the_id_is_the_same_in_all_tries_and_the_timestamp_is_new(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    for wait in WAITS:
        deliver(settings)
        clock.shift(wait * 1.25)
    assert len(receiver.posts) == len(WAITS)
    [event] = db.session.scalars(select(Event).where(Event.sequence == 1))
    assert set(receiver.ids) == {f"msg_{event.id}_{time_of_day.microseconds(event.at)}"}
    assert "." not in receiver.ids[0]
    assert len({post.body for post in receiver.posts}) == 1
    times = [int(post.headers["webhook-timestamp"]) for post in receiver.posts]
    assert all(later > earlier for earlier, later in pairwise(times))


@pytest.mark.requirement("HOOK-01")
def test_two_events_have_two_ids(settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller) -> None:
    note(2)
    deliver(settings)
    assert len(set(receiver.ids)) == 2


@pytest.mark.requirement("HOOK-01", "HOOK-02")
def test_each_endpoint_has_a_secret_of_32_bytes_that_is_not_stored(settings: Settings, receiver: Receiver, context: None) -> None:
    made = [endpoints.add(settings, receiver.url) for _ in range(2)]
    secrets = [signing.secret(settings, endpoint.id, 0) for endpoint in made]
    assert len(set(secrets)) == 2
    assert [len(b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in secrets] == [32, 32]
    kept = [str(getattr(row, column.key)) for row in made for column in WebhookEndpoint.__table__.columns]
    assert not [value for value in kept for secret in secrets if secret[6:] in value]


@pytest.mark.requirement("HOOK-02")
def test_for_24_hours_after_a_rotation_both_secrets_sign(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    older = signing.secret(settings, endpoint.id, 0)
    newer = endpoints.rotate(settings, endpoint.id)
    assert newer != older
    for shift, of_older in ((timedelta(0), True), (signing.OVERLAP - timedelta(seconds=1), True), (timedelta(seconds=1), False)):
        clock.shift(shift)
        note()
        assert deliver_next(settings)
        post = receiver.posts[-1]
        assert (signs(newer, post), signs(older, post)) == (True, of_older), shift
        assert len(post.headers["webhook-signature"].split()) == 1 + of_older


@pytest.mark.requirement("HOOK-02")
def test_a_second_rotation_ends_the_oldest_secret_at_once(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    secrets = [signing.secret(settings, endpoint.id, 0), *(endpoints.rotate(settings, endpoint.id) for _ in range(2))]
    note()
    deliver(settings)
    assert [signs(secret, receiver.posts[0]) for secret in secrets] == [False, True, True]


@pytest.mark.requirement("HOOK-02")
def test_a_retry_is_signed_with_the_secret_of_its_moment(
    settings: Settings, receiver: Receiver, endpoint: WebhookEndpoint, clock: Traveller
) -> None:
    receiver.status = 500
    note()
    deliver(settings)
    newer = endpoints.rotate(settings, endpoint.id)
    clock.shift(deliveries.PAUSE * 1.25)
    deliver(settings)
    assert [signs(newer, post) for post in receiver.posts] == [False, True]


def test_older_secrets_are_shown_only_while_they_sign(settings: Settings, endpoint: WebhookEndpoint, clock: Traveller) -> None:
    assert signing.older_until(stored(endpoint.id)) is None
    endpoints.rotate(settings, endpoint.id)
    assert signing.older_until(stored(endpoint.id)) == time_of_day.now() + signing.OVERLAP
    clock.shift(signing.OVERLAP)
    assert signing.older_until(stored(endpoint.id)) is None
