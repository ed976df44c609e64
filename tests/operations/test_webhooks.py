"""What operators see of webhooks: the gauges of /metrics, and what `doctor` finds."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from queue import SimpleQueue
from typing import Any

import pytest
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer import clock as clocks
from hammer import events
from hammer.clients import registry
from hammer.db.database import db, transaction
from hammer.events import Kind
from hammer.models import Disabled, WebhookEndpoint
from hammer.operations import doctor, gauges
from hammer.operations.doctor_of_webhooks import examine
from hammer.operations.findings import ADVICE, FINE, WRONG
from hammer.webhooks import deliveries, endpoints, feed, status
from hammer.webhooks.endpoints import Manager
from tests.actions import STRANGER_ID
from tests.cli.commands import CLOSED_PORT
from tests.outgoing.servers import OK, Server, fixed, serving

pytestmark = pytest.mark.usefixtures("context")

URL = f"http://127.0.0.1:{CLOSED_PORT}/hook/of/T0KEN?key=sesame"


def happen(count: int = 1) -> None:
    with transaction() as tx:
        for _ in range(count):
            events.note(tx, Kind.USER_RENAMED, STRANGER_ID)


def values(settings: Settings) -> dict[str, dict[tuple[str, ...], float]]:
    """The gauges of webhooks."""
    return {gauge.name: dict(gauge.values) for gauge in gauges.read(settings) if gauge.name.startswith("webhook")}


def queue(settings: Settings) -> tuple[float, float]:
    """How many posts wait, and how long the first in line has been due."""
    found = values(settings)
    return found["webhook_deliveries_waiting"][()], found["webhook_deliveries_waiting_seconds"][()]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(fixed(OK)) as listening:
        yield listening


@pytest.fixture
def hook(settings: Settings, context: None) -> str:
    """The id of an endpoint at which no server listens."""
    return endpoints.add(settings, URL).id


# Gauges


@pytest.mark.requirement("LOG-04")
def test_the_queue_has_what_is_not_published_and_what_is_not_delivered(settings: Settings, hook: str, clock: Traveller) -> None:
    assert queue(settings) == (0, 0)
    happen(2)
    clock.shift(3)
    assert queue(settings) == (2, 3)
    feed.publish()
    clock.shift(4)
    assert queue(settings) == (2, 4)
    deliveries.deliver_next(settings)  # fails: one waits for its next try, the endpoint for the end of its pause
    clock.shift(0.5)
    assert queue(settings) == (2, 4.5)
    assert values(settings)["webhook_failures"] == {(hook,): 1}


def test_what_apps_accepted_waits_no_more(settings: Settings, server: Server, clock: Traveller) -> None:
    endpoint = endpoints.add(settings, f"http://127.0.0.1:{server.port}/hook")
    happen(2)
    while deliveries.deliver_next(settings):
        pass
    clock.shift(7)
    assert queue(settings) == (0, 0)
    assert values(settings)["webhook_failures"] == {(endpoint.id,): 0}


def test_without_an_endpoint_that_is_posted_to_nothing_waits(settings: Settings, clock: Traveller) -> None:
    happen()
    of_client = endpoints.add(settings, URL, by=Manager(client_id=registry.add("Shop").id))
    by_hand = endpoints.add(settings, URL)
    feed.publish()
    happen()
    clock.shift(3)
    assert queue(settings) == (3, 3)
    registry.disable(str(of_client.client_id))
    assert queue(settings) == (2, 3)
    endpoints.disable(by_hand.id)
    assert queue(settings) == (0, 0)
    assert values(settings)["webhook_failures"] == {}


def test_disabled_endpoints_are_counted_by_reason(settings: Settings) -> None:
    reasons = [Disabled.BY_HAND, Disabled.FAILING, Disabled.FAILING]
    for why in (*reasons, None):
        endpoint = endpoints.add(settings, URL)
        if why:
            with transaction() as tx:
                endpoints.disable_in(tx, endpoint.id, why)
    assert values(settings)["webhook_endpoints_disabled"] == {("by hand",): 1, ("gone",): 0, ("failing",): 2}


def test_a_longer_queue_is_counted_up_to_a_bound(settings: Settings, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "MOST_COUNTED", 3)
    happen(5)
    feed.publish()
    happen(2)
    assert queue(settings)[0] == 3 + 2
    assert status.waiting_for(hook) == 3


# What doctor finds


@pytest.fixture
def found(settings: Settings) -> Callable[..., list[tuple[str, str, str]]]:
    """State, sentence and remedy of what is found about webhooks, without what is fine."""

    def examined(**changed: Any) -> list[tuple[str, str, str]]:
        db.session.expire_all()
        findings = list(examine(replace(settings, **changed), waits_long=doctor.WAITS_LONG))
        assert all(part not in str(findings) for part in ("sesame", "T0KEN"))
        return [(finding.state, finding.how, finding.remedy) for finding in findings if finding.state != FINE]

    return examined


Found = Callable[..., list[tuple[str, str, str]]]


def test_an_endpoint_that_works_is_fine_and_is_sent_nothing(settings: Settings) -> None:
    heard = SimpleQueue[bytes]()
    with serving(lambda connection, _: heard.put(connection.recv(1)), reads=False) as server:
        endpoints.add(settings, f"http://127.0.0.1:{server.port}/hook")
        found = [(finding.state, finding.how) for finding in doctor.examine(settings) if "webhook" in finding.part]
        assert found == [(FINE, "1 endpoint is posted to")]
        assert heard.get(timeout=30) == b""


def test_nothing_is_said_without_an_endpoint(settings: Settings) -> None:
    happen()
    assert list(examine(settings, waits_long=timedelta(0))) == []


def test_a_server_that_cannot_be_reached_is_wrong(found: Found, hook: str) -> None:
    [(state, how, remedy)] = found()
    assert (state, how) == (WRONG, "127.0.0.1: it accepts no connection")
    assert "Start the app" in remedy


def test_a_url_that_is_refused_now_is_wrong(found: Found, hook: str) -> None:
    [(state, how, remedy)] = found(env="production", public_url="https://login.example.com")
    assert (state, how) == (WRONG, "127.0.0.1: Hammer may not post to it")
    assert "HAMMER_WEBHOOK_HOSTS" in remedy


def test_an_endpoint_that_fails_is_said_with_since_when(
    settings: Settings, found: Found, server: Server, hook: str, clock: Traveller
) -> None:
    happen()
    failing_since = f"{clocks.now():%Y-%m-%d %H:%M} UTC"
    deliveries.deliver_next(settings)
    clock.shift(timedelta(minutes=1))
    with transaction() as tx:
        tx.execute(update(WebhookEndpoint).values(url=f"http://127.0.0.1:{server.port}/hook"))
    [(state, how, remedy)] = found()
    assert (state, how) == (ADVICE, f"127.0.0.1: failed posts in a row: 1, since {failing_since}")
    assert remedy.startswith("To see why: flask --app wsgi webhooks test ")


@pytest.mark.parametrize(
    ("why", "state", "sentence"),
    [
        (Disabled.BY_HAND, FINE, "disabled by hand since"),
        (Disabled.GONE, ADVICE, "it answered that it is gone"),
        (Disabled.FAILING, WRONG, "it accepted nothing for days"),
    ],
)
def test_a_disabled_endpoint_is_a_finding_unless_it_was_disabled_by_hand(
    settings: Settings, hook: str, why: Disabled, state: str, sentence: str
) -> None:
    with transaction() as tx:
        endpoints.disable_in(tx, hook, why)
    [finding] = examine(settings, waits_long=doctor.WAITS_LONG)
    assert (finding.state, finding.part) == (state, f"webhook endpoint {hook}")
    assert sentence in finding.how
    assert bool(finding.remedy) == (state != FINE)


def test_what_a_worker_should_have_posted_or_published_is_reported(
    settings: Settings, found: Found, server: Server, clock: Traveller
) -> None:
    endpoints.add(settings, f"http://127.0.0.1:{server.port}/hook")
    happen()
    clock.shift(doctor.WAITS_LONG)
    assert found() == []
    clock.shift(30)
    assert [how for _, how, _ in found()] == ["a post has been due for 2 minutes"]
    feed.publish()
    assert found() == []
    clock.shift(timedelta(minutes=5))
    [(state, how, remedy)] = found()
    assert (state, how) == (ADVICE, "a post has been due for 5 minutes")
    assert "flask --app wsgi worker" in remedy
    while deliveries.deliver_next(settings):
        pass
    assert found() == []


def test_what_waits_because_its_endpoint_is_paused_is_not_overdue(settings: Settings, hook: str, clock: Traveller) -> None:
    happen(2)
    feed.publish()
    clock.shift(timedelta(minutes=4))
    deliveries.deliver_next(settings)
    assert (status.status().oldest_due, status.status().overdue) == (timedelta(minutes=4), timedelta(0))


def test_an_endpoint_of_a_disabled_client_is_not_examined(settings: Settings, found: Found) -> None:
    shop = registry.add("Shop")
    endpoints.add(settings, URL, by=Manager(client_id=shop.id))
    assert [state for state, *_ in found()] == [WRONG]
    registry.disable(shop.id)
    assert found() == []
