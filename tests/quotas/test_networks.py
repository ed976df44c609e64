"""One customer of an IPv6 provider has up to 65,536 /64 networks, so every limit by address also applies to wider networks."""

import ipaddress
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import http_sf
import pytest
import time_machine
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from time_machine import Traveller

from config import Settings
from hammer.db.database import db
from hammer.invites import activation
from hammer.login.verifications import Asker
from hammer.models import Counter
from hammer.quotas import addresses, invite_attempts, texts
from hammer.refusals import TooManyRequests, UnknownInvite
from hammer.sessions import devices
from hammer.web.request_limits import RequestLimiter
from tests.actions import ANNA, HOME, ask, confirm, number, right, sign_in, user
from tests.serving import Server, at_once

THR_07 = pytest.mark.requirement("THR-07")
SMS_03 = pytest.mark.requirement("SMS-03")
in_context = pytest.mark.usefixtures("context")


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


@pytest.fixture
def usual(settings: Settings) -> Settings:
    """The default limits of production."""
    return replace(settings, sends_per_address_hour=10, sends_per_hour=200)


def within_48(n: int) -> str:
    """The n-th /64 network of one customer's /48, each in a different /56."""
    return f"2001:db8:1:{n << 8:x}::/64"


def within_56(n: int) -> str:
    """The n-th /64 network of one customer's /56."""
    return f"2001:db8:1:{n:x}::/64"


def far_apart(n: int) -> str:
    return f"+792{n:04d}0001"


def granted(settings: Settings, places: list[str], each: int, *, first: int = 0) -> int:
    """How many texts are sent for `each` requests from each of these networks, each for another number."""
    got = 0
    for n, place in enumerate(place for place in places for _ in range(each)):
        try:
            ask(settings, far_apart(first + n), asker=Asker(place, "en"))
            got += 1
        except TooManyRequests:
            pass
    return got


# Which networks


@THR_07
@pytest.mark.parametrize(
    ("written", "counted"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2002:c000:201::1", "192.0.2.1"),
        ("2002:c000:201:ffff:1:2:3:4", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "192.0.2.1"),
        ("[64:ff9b::c000:201]:50123", "192.0.2.1"),
        ("2001:0:cb00:7108:8000:f227:3fff:fdfe", "192.0.2.1"),
        ("64:ff9b:0:1::1", "64:ff9b:0:1::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3:4:5:6]", "2001:db8:1:2::/64"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ("192.0.2.1:", "192.0.2.1"),
    ],
)
def test_an_address_that_contains_an_ipv4_address_counts_as_that(written: str, counted: str) -> None:
    assert addresses.counted(written) == counted


@THR_07
def test_an_ipv6_address_has_three_networks_and_an_ipv4_address_has_one() -> None:
    assert addresses.networks("2001:db8:1:2ff::/64") == ("2001:db8:1:2ff::/64", "2001:db8:1:200::/56", "2001:db8:1::/48")
    assert addresses.networks("192.0.2.1") == ("192.0.2.1",)
    assert addresses.networks("") == ("",)


@THR_07
@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_every_address_is_in_all_of_its_networks(there: ipaddress.IPv6Address) -> None:
    counted = addresses.counted(str(there))
    if ":" in counted:
        networks = [ipaddress.ip_network(network) for network in addresses.networks(counted)]
        assert [network.prefixlen for network in networks] == [64, 56, 48]
        assert all(there in network for network in networks)
    else:
        assert str(ipaddress.IPv4Address(counted)) == counted


# Texts


@SMS_03
@THR_07
@in_context
@pytest.mark.parametrize(("place", "most"), [(within_48, 40), (within_56, 20)])
def test_one_customer_cannot_use_most_of_the_texts_of_an_hour(
    usual: Settings, noon: Traveller, place: Callable[[int], str], most: int
) -> None:
    assert granted(usual, [place(n) for n in range(20)], 10) == most
    assert granted(usual, [f"198.51.100.{n}" for n in range(20)], 10, first=200) == 140 - most


@SMS_03
@in_context
def test_a_48_network_has_the_texts_of_three_hours_a_day(usual: Settings, noon: Traveller) -> None:
    got = []
    for hour in range(5):
        got.append(granted(usual, [within_48(n) for n in range(4)], 10, first=40 * hour))
        noon.shift(3600)
    assert got == [40, 40, 40, 0, 0]
    assert granted(usual, ["2001:db8:2::/64"], 10, first=200) == 10


@SMS_03
@THR_07
def test_all_forms_of_one_ipv4_address_share_its_texts(usual: Settings, app_with: Callable[[Settings], Flask]) -> None:
    client = app_with(usual).test_client()
    forms = ["192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::c000:201", "2002:c000:201::1"]
    answers = [
        client.post(
            "/api/v1/auth/signup/", json={"telephone_number": far_apart(n)}, environ_base={"REMOTE_ADDR": forms[n % len(forms)]}
        )
        for n in range(16)
    ]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 6


@SMS_03
@in_context
def test_no_network_gets_all_texts_reserved_for_known_devices(usual: Settings, noon: Traveller) -> None:
    """One person has many accounts, each on a known device, in one /48 network."""
    accounts = [sign_in(usual, far_apart(n)) for n in range(10)]
    with_more = replace(usual, sends_per_hour=10_000, sends_per_number_day=1000, resend_wait=usual.resend_wait * 0)
    got = 0
    for n in range(100):
        account = accounts[n % 10]
        assert account.user.telephone_number is not None
        asker = Asker(within_48(n), "en", devices.token(usual, account.device))
        try:
            verification = ask(with_more, account.user.telephone_number, asker=asker)
            accounts[n % 10] = confirm(with_more, verification, right(with_more, verification))
            got += 1
        except TooManyRequests:
            pass
    kept = usual.sends_per_hour - int(usual.sends_per_hour * texts.STRANGERS_SHARE)
    assert got == 50 < kept


@in_context
def test_wider_networks_cost_no_statement_and_no_round_trip_more(
    settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    ask(settings, number(1), asker=HOME)
    with statements() as by_ipv4:
        ask(settings, number(2), asker=HOME)
    with statements() as by_ipv6:
        ask(settings, number(3), asker=Asker(within_48(1), "en"))
    assert len(by_ipv6) == len(by_ipv4)


@in_context
def test_the_rows_of_all_networks_are_locked_in_one_order(
    settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    for n in range(4):
        ask(settings, number(n), asker=Asker(within_48(n), "en"))
    assert max(len(counter.scope) for counter in db.session.query(Counter)) <= 80
    limits = texts._limits(settings, ANNA, within_48(1), known=False)
    assert len(limits) == 7
    assert len({limit.scope for _, limit in limits}) == 7


@SMS_03
@THR_07
def test_many_parallel_sends_from_one_customer_do_not_exceed_the_networks_limit(serve: Callable[..., Server]) -> None:
    site = serve(HAMMER_DEMO="off", HAMMER_SENDS_PER_ADDRESS_HOUR="3", HAMMER_PROXY_HOPS="1")  # demo mode refuses these callers

    def ask_from(n: int) -> int:
        headers = {"Content-Type": "application/json", "X-Forwarded-For": f"2001:db8:1:{n << 8:x}::1"}
        for _ in range(40):
            answer = site.request("POST", "/api/v1/auth/signup/", f'{{"telephone_number": "{far_apart(n)}"}}'.encode(), headers)
            if answer.status != 503:
                return answer.status
        raise AssertionError("It stayed too busy.")

    statuses = Tally(at_once([partial(ask_from, n) for n in range(30)]))

    engine = create_engine(site.database_url)
    with engine.connect() as connection:
        most = connection.execute(text("select max(taken) from counters where scope like 'texts/address/h/%'")).scalar_one()
    engine.dispose()
    assert most == 12
    assert statuses[200] + statuses[429] == 30
    assert 12 <= statuses[200] <= 24  # the texts of two hours, if a new hour began during the test


# What the headers show


def members(field: str) -> dict[str, dict[str, int]]:
    parsed: Any = http_sf.parse(field.encode(), tltype="list")
    return dict(parsed)


@SMS_03
def test_the_headers_show_what_is_left_of_each_network(
    usual: Settings, app_with: Callable[[Settings], Flask], noon: Traveller
) -> None:
    client = app_with(usual).test_client()

    def signup(n: int, place: str) -> Any:
        body = {"telephone_number": far_apart(n)}
        return client.post("/api/v1/auth/signup/", json=body, environ_base={"REMOTE_ADDR": place})

    for n in range(18):
        assert signup(n, f"2001:db8:1:{n // 9:x}::1").status_code == 200
    answer = signup(18, "2001:db8:1:2::1")
    left, policies = members(answer.headers["RateLimit"]), members(answer.headers["RateLimit-Policy"])
    assert {name: (policies[name]["q"], left[name]["r"]) for name in left if name != "number"} == {
        "address": (10, 9),
        "address-day": (30, 29),
        "network-56": (20, 1),
        "network-56-day": (60, 41),
        "network-48": (40, 21),
        "network-48-day": (120, 101),
    }
    assert signup(19, "2001:db8:1:2::1").status_code == 200
    refused = signup(20, "2001:db8:1:2::1")
    assert refused.status_code == 429
    assert members(refused.headers["RateLimit"]) == {"network-56": {"r": 0, "t": 3600}}
    assert members(refused.headers["RateLimit-Policy"]) == {"network-56": {"q": 20, "w": 3600}}


# Invite codes and requests of any kind


@pytest.mark.requirement("INV-04", "THR-07")
@in_context
def test_one_customer_has_four_times_the_invite_attempts_of_one_address(settings: Settings, noon: Traveller) -> None:
    people = [user(settings, number(n)) for n in range(20)]
    looked_up = 0
    for n in range(100):
        try:
            activation.activate(settings, people[n // 5].id, "AAAAAA", address=within_48(n))
        except UnknownInvite:
            looked_up += 1
        except TooManyRequests:
            pass
    assert looked_up == invite_attempts.PER_ADDRESS_PER_DAY * 4


@THR_07
def test_one_customer_has_four_times_the_requests_of_one_address(settings: Settings) -> None:
    limiter = RequestLimiter(replace(settings, requests_per_address_minute=3))

    def let_in(place: str) -> bool:
        try:
            limiter.take(place)
        except TooManyRequests:
            return False
        return True

    assert sum(let_in(within_48(n)) for n in range(30)) == 12
    assert let_in("2001:db8:2::/64")
    assert sum(let_in("192.0.2.1") for _ in range(30)) == 3


@THR_07
def test_a_flood_from_one_network_does_not_block_its_neighbours(settings: Settings) -> None:
    """A mobile operator gives each phone a /64 of one /48: requests that are refused for one are not counted for the others."""
    limiter = RequestLimiter(replace(settings, requests_per_address_minute=3))
    for _ in range(100):
        with suppress(TooManyRequests):
            limiter.take(within_48(0))
    for n in range(1, 4):
        limiter.take(within_48(n))
