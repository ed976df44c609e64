"""The secrets of clients: computed, never stored, two generations at most, and few wrong ones."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer.clients import registry, secrets
from hammer.db.database import db
from hammer.models import Client, Counter, Scope
from hammer.quotas import idempotency
from hammer.refusals import NotFound, TooManyRequests
from tests.actions import STRANGER_ID, everything_stored

HOME, AWAY = "192.0.2.1", "192.0.2.2"
pytestmark = pytest.mark.usefixtures("context")


@pytest.fixture
def shop() -> Client:
    return registry.add("Shop", [Scope.USERS_READ])


def is_right(settings: Settings, client: Client, shown: str, address: str = HOME) -> bool:
    return secrets.authenticate(settings, client.id, shown, address=address) is not None


def wrong(settings: Settings, client: Client, times: int = secrets.WRONG_PER_HOUR, address: str = HOME) -> None:
    for _ in range(times):
        assert not is_right(settings, client, "wrong", address)


def test_no_secret_is_in_the_database(settings: Settings, shop: Client) -> None:
    shown = [secrets.secret(settings, shop), *(secrets.rotate(settings, shop.id) for _ in range(2))]
    assert is_right(settings, shop, shown[-1])

    signatures = [secret.rpartition(".")[2] for secret in shown]
    assert len(set(signatures)) == 3
    assert not [value for value in everything_stored() for signature in signatures if signature in value]


def test_a_secret_depends_on_a_key_outside_the_database(settings: Settings, shop: Client) -> None:
    elsewhere = replace(settings, secret_key="another key, also of 32 bytes and more")
    assert not is_right(settings, shop, secrets.secret(elsewhere, shop))


def test_a_secret_is_that_of_one_client(settings: Settings, shop: Client) -> None:
    other = registry.add("Other", [])
    assert not is_right(settings, shop, secrets.secret(settings, other))
    assert not is_right(settings, other, secrets.secret(settings, shop))


def test_the_previous_secret_is_valid_for_a_day(settings: Settings, shop: Client, clock: Traveller) -> None:
    first = secrets.secret(settings, shop)
    second = secrets.rotate(settings, shop.id)
    clock.shift(secrets.OVERLAP - timedelta(seconds=1))
    assert is_right(settings, shop, first)

    clock.shift(1)

    assert not is_right(settings, shop, first)
    assert is_right(settings, shop, second)
    assert timedelta(hours=24) == secrets.OVERLAP


def test_the_secret_before_the_previous_one_is_invalid_at_once(settings: Settings, shop: Client) -> None:
    first = secrets.secret(settings, shop)
    second, third = secrets.rotate(settings, shop.id), secrets.rotate(settings, shop.id)

    assert [is_right(settings, shop, secret) for secret in (first, second, third)] == [False, True, True]


def test_the_secret_of_a_generation_to_come_is_invalid(settings: Settings, shop: Client) -> None:
    to_come = replace_generation(settings, shop, 1)
    assert not is_right(settings, shop, to_come)


def replace_generation(settings: Settings, client: Client, generation: int) -> str:
    """The secret that this generation has, or will have."""
    return secrets.secret(settings, Client(id=client.id, generation=generation))


def test_each_rotation_shows_the_secret_of_its_own_generation(settings: Settings, shop: Client) -> None:
    """The row was read before, as by the command, and another process has rotated it since."""
    read_before = registry.find("Shop")
    with db.engine.begin() as other:
        other.execute(update(Client).where(Client.id == shop.id).values(generation=1, rotated_at=shop.created_at))

    shown = secrets.rotate(settings, read_before.id)

    assert shown == replace_generation(settings, shop, 2)
    assert is_right(settings, shop, shown)


def test_a_request_that_is_repeated_rotates_once_and_gets_the_same_secret(settings: Settings, shop: Client) -> None:
    key = idempotency.make_key(settings, "shown", call="rotate")
    shown = secrets.rotate(settings, shop.id, key=key)
    assert secrets.rotate(settings, shop.id, key=key) == shown
    secrets.rotate(settings, shop.id)
    assert secrets.rotate(settings, shop.id, key=key) == shown
    assert registry.get(shop.id).generation == 2
    assert secrets.first(settings, shop) == replace_generation(settings, shop, 0)


def test_only_a_registered_client_can_be_rotated(settings: Settings) -> None:
    with pytest.raises(NotFound):
        secrets.rotate(settings, STRANGER_ID)


@pytest.mark.parametrize("client_id", ["", "\0", "я" * 22, STRANGER_ID, "A" * 4000])
def test_an_unknown_client_costs_nothing(settings: Settings, shop: Client, client_id: str) -> None:
    for _ in range(secrets.WRONG_PER_HOUR + 5):
        assert secrets.authenticate(settings, client_id, secrets.secret(settings, shop), address=HOME) is None
    assert db.session.query(Counter).count() == 0


def test_after_twenty_wrong_secrets_the_right_one_is_refused_for_an_hour(
    settings: Settings, shop: Client, clock: Traveller
) -> None:
    wrong(settings, shop)

    with pytest.raises(TooManyRequests) as refused:
        is_right(settings, shop, secrets.secret(settings, shop))
    assert 1 <= refused.value.retry_after <= 3600
    clock.shift(refused.value.retry_after)
    assert is_right(settings, shop, secrets.secret(settings, shop))


def test_another_address_and_another_client_are_not_locked_out(settings: Settings, shop: Client) -> None:
    other = registry.add("Other", [])
    wrong(settings, shop)

    assert is_right(settings, shop, secrets.secret(settings, shop), AWAY)
    assert is_right(settings, other, secrets.secret(settings, other))


@pytest.mark.requirement("THR-07")
def test_a_wide_network_has_four_times_as_many_wrong_secrets_as_one_address(
    settings: Settings, shop: Client, clock: Traveller
) -> None:
    for n in range(4):
        wrong(settings, shop, address=f"2001:db8:0:{n:x}00::/64")

    with pytest.raises(TooManyRequests):
        is_right(settings, shop, secrets.secret(settings, shop), "2001:db8:0:400::/64")
    assert is_right(settings, shop, secrets.secret(settings, shop), "2001:db8:1::/64")


def test_right_secrets_cost_nothing(settings: Settings, shop: Client) -> None:
    wrong(settings, shop, secrets.WRONG_PER_HOUR - 1)
    for _ in range(secrets.WRONG_PER_HOUR * 2):
        assert is_right(settings, shop, secrets.secret(settings, shop))
    wrong(settings, shop, 1)
    with pytest.raises(TooManyRequests):
        is_right(settings, shop, "wrong")


def test_the_counter_holds_no_address(settings: Settings, shop: Client) -> None:
    wrong(settings, shop, 1)
    assert not [value for value in everything_stored() if HOME in value]


def test_a_disabled_client_has_no_right_secret(settings: Settings, shop: Client) -> None:
    shown = secrets.secret(settings, shop)
    registry.disable(shop.id)
    assert not is_right(settings, shop, shown)

    registry.enable(shop.id)

    assert is_right(settings, shop, shown)
