"""No post reaches an address that is not public, whatever the URL of an endpoint and whatever its name resolves to."""

import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from config import Settings
from hammer.outgoing import uris
from hammer.outgoing.post import Fault
from hammer.refusals import InvalidFields
from hammer.webhooks import deliveries, endpoints
from tests.outgoing.servers import OK, fixed, serving
from tests.outgoing.test_guard import INNER, LOOPBACK, MALFORMED, OWN
from tests.webhooks.steps import deliveries_of, note, stored

pytestmark = [pytest.mark.requirement("HOOK-04"), pytest.mark.usefixtures("context")]

PUBLIC, OTHER_PUBLIC = "8.8.8.8", "8.8.4.4"
Names = dict[str, list[str]]


@pytest.fixture
def production(settings: Settings) -> Settings:
    return replace(settings, env="production", public_url=f"https://{OWN}")


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Host -> its addresses at this moment. Other hosts are resolved as always."""
    addresses: Names = {}
    resolve: Callable[..., Any] = socket.getaddrinfo

    def answer(host: Any, *rest: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in addresses:
            return resolve(host, *rest, **options)
        return [each for address in addresses[name] for each in resolve(address, *rest, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return addresses


HOSTILE = [
    *(f"https://{host}/" for host in LOOPBACK + INNER),
    *MALFORMED,
    f"http://{PUBLIC}/",
    f"https://{OWN}/",
    f"https://{OWN}./",
]


@pytest.mark.parametrize("url", HOSTILE, ids=ascii)
def test_no_endpoint_has_a_url_that_may_not_be_posted_to(production: Settings, names: Names, url: str) -> None:
    names[OWN] = [OTHER_PUBLIC]
    endpoint = endpoints.add(production, f"https://{PUBLIC}/")
    for refused in (partial(endpoints.add, production, url), partial(endpoints.change, production, endpoint.id, url=url)):
        with pytest.raises(InvalidFields) as refusal:
            refused()
        [[sentence]] = refusal.value.errors.values()
        assert sentence in {uris.NOT_REACHED, uris.NO_SERVER, uris.NOT_AS_SENT, uris.HAS_USER, uris.HAS_FRAGMENT}
    assert [each.url for each in endpoints.every()] == [f"https://{PUBLIC}/"]


@pytest.mark.parametrize("later", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1"], [OTHER_PUBLIC]], ids=",".join)
def test_a_name_that_becomes_an_inner_address_is_not_reached(production: Settings, names: Names, later: list[str]) -> None:
    """The name is public when the endpoint is added (DNS rebinding). In the last case it becomes our own address."""
    names |= {"hook.test": [PUBLIC], OWN: [OTHER_PUBLIC]}
    with serving(fixed(OK)) as server:
        endpoint = endpoints.add(production, f"https://hook.test:{server.port}/")
        names["hook.test"] = later
        note()
        assert deliveries.deliver_next(production)
        assert deliveries.ping_now(production, endpoint.id).fault == Fault.REFUSED
    assert server.connections == 0
    assert [(attempt.status, attempt.fault) for attempt, _ in endpoints.attempts(endpoint.id).items] == [(None, Fault.REFUSED)] * 2
    assert stored(endpoint.id).failures == 1
    [delivery] = deliveries_of(endpoint.id)
    assert (delivery.ended_at, delivery.tries) == (None, 1)
