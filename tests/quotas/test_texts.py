"""How many texts the whole system, an address and a prefix get. The limits are independent. See also `login/test_by_code.py`."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import http_sf
import pytest
import time_machine
from flask import Flask
from time_machine import Traveller
from werkzeug.test import TestResponse

from config import Settings
from hammer.db.database import db
from hammer.login.verifications import Asker
from hammer.models import Counter, SendAllowance, SessionKind
from hammer.quotas import texts
from hammer.refusals import TooManyRequests
from hammer.sessions import devices
from hammer.sms import gateways
from tests.actions import ANNA, BORIS, HOME, ask, confirm, number, right, sign_in
from tests.people import Program

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> Iterator[Traveller]:
    """Ten minutes before the end of an hour, near noon."""
    with time_machine.travel(datetime(2026, 11, 23, 11, 50, tzinfo=UTC), tick=False) as standing:
        yield standing


def elsewhere(n: int) -> Asker:
    """The n-th address."""
    return Asker(f"198.51.{n // 250}.{n % 250}", "en")


def far_apart(n: int) -> str:
    """The n-th number. No two of them differ only in their last four digits."""
    return f"+792{n:04d}0001"


def refused(settings: Settings, telephone_number: str = ANNA, asker: Asker = HOME) -> TooManyRequests:
    with pytest.raises(TooManyRequests) as no:
        ask(settings, telephone_number, asker=asker)
    return no.value


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_an_address_has_a_limit_of_texts_an_hour(settings: Settings, clock: Traveller) -> None:
    tight = replace(settings, sends_per_address_hour=10)
    for n in range(10):
        ask(tight, far_apart(n))
    no = refused(tight, far_apart(10))
    assert (no.retry_after, no.limit) == (600, "address")
    assert ask(tight, far_apart(10), asker=elsewhere(1)).code_length == 4
    clock.shift(600)
    ask(tight, far_apart(11))


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_an_address_has_the_texts_of_three_hours_a_day(settings: Settings, clock: Traveller) -> None:
    tight = replace(settings, sends_per_address_hour=2)
    for n in range(6):
        ask(tight, far_apart(n))
        clock.shift(HOUR / 2)
    clock.shift(2 * HOUR)
    no = refused(tight, far_apart(6))
    assert (no.retry_after, no.limit) == (7 * 3600 + 600, "address-day")
    clock.shift(no.retry_after)
    ask(tight, far_apart(6))


@pytest.mark.requirement("SMS-05")
@pytest.mark.usefixtures("context")
def test_numbers_that_differ_in_four_digits_share_a_limit_an_hour(settings: Settings, clock: Traveller) -> None:
    """In SMS pumping, an attacker who is paid for texts to a block of numbers asks for one to each of them, from many addresses."""
    tight = replace(settings, sends_per_prefix_hour=10)
    for n in range(10):
        ask(tight, number(1000 * n), asker=elsewhere(n))
    no = refused(tight, number(9999), elsewhere(10))
    assert (no.retry_after, no.limit) == (600, "")
    ask(tight, number(10_000), asker=elsewhere(11))
    clock.shift(600)
    ask(tight, number(9999), asker=elsewhere(10))


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_the_system_has_a_limit_an_hour_and_reserves_a_part_for_known_devices(settings: Settings, clock: Traveller) -> None:
    tight = replace(settings, sends_per_hour=10)
    mine = sign_in(tight, far_apart(0), kind=SessionKind.PROGRAM)
    for n in range(1, 7):
        ask(tight, far_apart(n), asker=elsewhere(n))
    no = refused(tight, far_apart(7), elsewhere(7))
    assert (no.retry_after, no.limit) == (600, "")
    clock.shift(60)
    for _ in range(3):
        verification = ask(tight, far_apart(0), asker=replace(HOME, device_token=devices.token(tight, mine.device)))
        mine = confirm(tight, verification, right(tight, verification))
    asker = replace(HOME, device_token=devices.token(tight, mine.device))
    assert refused(tight, far_apart(0), asker).retry_after == 540
    clock.shift(540)
    ask(tight, far_apart(7), asker=elsewhere(7))


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_the_system_has_the_texts_of_ten_hours_a_day(settings: Settings, clock: Traveller) -> None:
    tight = replace(settings, sends_per_hour=2)  # one for strangers
    clock.move_to(datetime(2026, 11, 24, tzinfo=UTC))
    for n in range(10):
        ask(tight, far_apart(n), asker=elsewhere(n))
        clock.shift(HOUR)
    no = refused(tight, far_apart(10), elsewhere(10))
    assert (no.retry_after, no.limit) == (14 * 3600, "")
    clock.shift(14 * HOUR)
    ask(tight, far_apart(10), asker=elsewhere(10))


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_of_several_limits_that_are_used_up_the_one_with_the_longest_wait_is_named(settings: Settings, clock: Traveller) -> None:
    """Who waits only for the others is refused again."""
    tight = replace(settings, sends_per_address_hour=1, sends_per_prefix_hour=1)
    for n in range(3):
        ask(tight, far_apart(n))
        clock.shift(HOUR)
    clock.shift(-HOUR)
    no = refused(tight, far_apart(2)[:-1] + "2")
    assert (no.retry_after, no.limit) == (10 * 3600 + 600, "address-day")


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_a_sixth_text_of_a_day_is_not_sent(settings: Settings, clock: Traveller, memory: list[gateways.Sent]) -> None:
    for _ in range(5):
        ask(settings)
        no = refused(settings)
        assert (no.limit, no.retry_after > 49) == ("number", True)
        clock.shift(600)
    assert refused(settings).retry_after > 23 * 3600 - 600
    assert db.session.query(SendAllowance).one().sends == 5


@pytest.mark.requirement("SMS-03")
@pytest.mark.usefixtures("context")
def test_a_refused_text_is_counted_nowhere(settings: Settings, clock: Traveller) -> None:
    ask(settings)
    before = {(c.scope, c.taken) for c in db.session.query(Counter)}
    for _ in range(5):
        refused(settings)  # its own wait
        refused(replace(settings, sends_per_address_hour=1), BORIS)
        refused(replace(settings, sends_per_prefix_hour=1), BORIS)
        refused(replace(settings, sends_per_hour=2), BORIS)
    db.session.expire_all()
    assert {(c.scope, c.taken) for c in db.session.query(Counter)} == before


@pytest.mark.usefixtures("context")
def test_what_is_counted_names_neither_number_nor_address(settings: Settings) -> None:
    ask(settings)
    scopes = " ".join(c.scope for c in db.session.query(Counter))
    assert "929" not in re.sub(r"[0-9a-f]{64}", "", scopes)
    assert HOME.address not in scopes


@pytest.mark.usefixtures("context")
def test_waits_never_get_shorter_before_a_success(settings: Settings, clock: Traveller) -> None:
    waits = []
    for _ in range(5):
        waits.append(refused_wait(settings))
        clock.shift(waits[-1])
    assert all(before <= after for before, after in pairwise(waits))


def refused_wait(settings: Settings) -> int:
    ask(settings)
    return refused(settings).retry_after


# What the headers show

Items = dict[str, dict[str, int]]


def items(field: str) -> Items:
    """A list of strings with integer parameters, parsed as a structured field (RFC 9651)."""
    members: Any = http_sf.parse(field.encode(), tltype="list")
    assert all(type(name) is str and all(type(figure) is int for figure in figures.values()) for name, figures in members)
    return dict(members)


def shown(answer: TestResponse) -> tuple[Items, Items]:
    """The policies in the headers, and what is left of each."""
    policies, left = items(answer.headers["RateLimit-Policy"]), items(answer.headers["RateLimit"])
    assert set(policies) == set(left)
    assert all(set(policy) == {"q", "w"} for policy in policies.values())
    assert all(set(standing) == {"r", "t"} for standing in left.values())
    return policies, left


@pytest.mark.requirement("API-03")
def test_signup_and_resend_say_what_is_left_of_the_limits(app: Flask, clock: Traveller) -> None:
    program = Program(app)
    answer = program.call("POST", "/auth/signup/", {"telephone_number": ANNA})
    policies, left = shown(answer)
    assert policies == {
        "number": {"q": 5, "w": 86400},
        "address": {"q": 1000, "w": 3600},
        "address-day": {"q": 3000, "w": 86400},
    }
    assert left == {"number": {"r": 4, "t": 86400}, "address": {"r": 999, "t": 600}, "address-day": {"r": 2999, "t": 43800}}
    clock.shift(60)
    again = program.call("POST", "/auth/resend/", {"verification_id": answer.json["verification_id"]})  # type: ignore[index]
    assert shown(again)[1] == {
        "number": {"r": 3, "t": 86340},
        "address": {"r": 998, "t": 540},
        "address-day": {"r": 2998, "t": 43740},
    }


@pytest.mark.requirement("API-03", "API-02")
def test_a_refusal_names_the_limit_that_was_reached(app: Flask, clock: Traveller) -> None:
    program = Program(app)
    program.call("POST", "/auth/signup/", {"telephone_number": ANNA})
    clock.shift(10)
    answer = program.call("POST", "/auth/signup/", {"telephone_number": ANNA})
    assert answer.status_code == 429
    policies, left = shown(answer)
    assert (policies, left) == ({"number": {"q": 5, "w": 86400}}, {"number": {"r": 0, "t": 50}})
    assert int(answer.headers["Retry-After"]) >= left["number"]["t"]
    assert ANNA[1:] not in str(answer.headers)


@pytest.mark.requirement("API-03")
def test_a_known_device_sees_only_its_own_limit(app: Flask) -> None:
    program = Program(app)
    program.sign_in(ANNA)
    device_token = program.tokens["device_token"]
    answer = program.call("POST", "/auth/signup/", {"telephone_number": ANNA, "device_token": device_token})
    assert shown(answer)[0] == {"number": {"q": 5, "w": 86400}}


@pytest.mark.requirement("API-03")
def test_the_limits_of_the_whole_system_are_not_shown(app: Flask, settings: Settings, clock: Traveller) -> None:
    with app.app_context():
        for name in ("texts/hour", "texts/day"):
            ends_at = datetime(2026, 11, 24, tzinfo=UTC)
            period = int(datetime(2026, 11, 23, 11, tzinfo=UTC).timestamp() // (3600 if name == "texts/hour" else 86400))
            db.session.add(Counter(scope=name, period=period, taken=10**6, ends_at=ends_at))
        db.session.commit()
    answer = Program(app).call("POST", "/auth/signup/", {"telephone_number": ANNA})
    assert answer.status_code == 429
    assert not [name for name, _ in answer.headers if name.startswith("RateLimit")]
    assert not {"hour", "day", "prefix"} & set(texts.policies(settings))
