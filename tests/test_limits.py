"""Where a request comes from: what is believed about it, and that no spelling of an address has an allowance of its own."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

from config import Settings

AppWith = Callable[[Settings], Flask]


def asked(app: Flask, n: int, *, remote: str = "192.0.2.1", headers: dict[str, str] | None = None) -> int:
    """The status of a signup of the n-th number."""
    body = {"telephone_number": f"+7929{n * 10_000:07d}"}
    client = app.test_client()
    return client.post("/api/v1/auth/signup/", json=body, headers=headers, environ_base={"REMOTE_ADDR": remote}).status_code


@pytest.mark.requirement("THR-07", "SMS-03")
def test_an_address_has_so_many_texts_an_hour_whatever_it_says_of_itself(app_with: AppWith, settings: Settings) -> None:
    app = app_with(replace(settings, sends_per_address_hour=3))

    statuses = [
        asked(
            app, n, headers={"X-Forwarded-For": f"203.0.113.{n}", "Forwarded": f"for=203.0.113.{n}", "X-Real-IP": f"203.0.113.{n}"}
        )
        for n in range(1, 6)
    ]

    assert statuses == [200, 200, 200, 429, 429]
    assert asked(app, 9, remote="192.0.2.2") == 200


@pytest.mark.requirement("THR-07")
def test_a_network_of_64_bits_counts_as_one_address(app_with: AppWith, settings: Settings) -> None:
    app = app_with(replace(settings, sends_per_address_hour=3))

    assert [asked(app, n, remote=f"2001:db8::{n:x}") for n in range(1, 6)] == [200, 200, 200, 429, 429]
    assert asked(app, 9, remote="2001:db8:0:1::1") == 200


@pytest.mark.requirement("THR-07")
def test_a_configured_proxy_is_believed_and_nobody_before_it(app_with: AppWith, settings: Settings) -> None:
    app = app_with(replace(settings, sends_per_address_hour=3, proxy_hops=1))

    forged = [asked(app, n, headers={"X-Forwarded-For": f"203.0.113.{n}, 198.51.100.7"}) for n in range(1, 6)]

    assert forged == [200, 200, 200, 429, 429]
    assert asked(app, 9, headers={"X-Forwarded-For": "198.51.100.8"}) == 200


@pytest.mark.requirement("SMS-03", "SMS-05")
def test_numbers_that_differ_in_the_last_digits_share_a_limit_and_so_does_everybody(app_with: AppWith, settings: Settings) -> None:
    near = app_with(replace(settings, sends_per_prefix_hour=2))
    body = [{"telephone_number": f"+7929123{n:04d}"} for n in range(3)]

    statuses = [near.test_client().post("/api/v1/auth/signup/", json=each).status_code for each in body]

    assert statuses == [200, 200, 429]


@pytest.mark.requirement("SMS-03")
def test_the_whole_system_has_a_limit_of_which_strangers_have_a_part(app_with: AppWith, settings: Settings) -> None:
    app = app_with(replace(settings, sends_per_hour=10))

    statuses = [asked(app, n, remote=f"192.0.2.{n}") for n in range(1, 10)]

    assert statuses == [200] * 7 + [429] * 2
