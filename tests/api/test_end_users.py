"""A client that calls for its users: it states their address and device, and its texts have a limit of their own."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from time_machine import Traveller
from werkzeug.test import TestResponse

from config import Settings
from hammer.db.database import db
from hammer.models import Counter as Limit
from hammer.models import Event, Scope, Session, Verification
from tests.actions import number, wrong_code
from tests.api.contract import ANNA, BORIS, problem, signed_in
from tests.backends import Backend
from tests.people import Program

HOME, AWAY = "203.0.113.7", "203.0.113.8"
PHONE = "Mozilla/5.0 (Android 16; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0"


@pytest.fixture
def shop(app: Flask) -> Backend:
    return Backend(app, Scope.CODES_SEND)


@pytest.fixture
def narrow(settings: Settings, app_with: Callable[[Settings], Flask]) -> Flask:
    """An application with two texts an hour for each address."""
    return app_with(replace(settings, sends_per_address_hour=2))


def signup(caller: Program, n: int, **more: str) -> TestResponse:
    return caller.call("POST", "/auth/signup/", {"telephone_number": number(n)} | more)


def limits(answer: TestResponse) -> dict[str, int]:
    """What is left of each limit that an answer states."""
    return {name: int(left) for name, left in re.findall(r'"([\w-]+)";r=(\d+)', answer.headers["RateLimit"])}


def code_of(app: Flask, verification_id: str) -> str:
    with app.app_context():
        return db.session.get_one(Verification, verification_id).code(app.config["SETTINGS"].key("codes"))


def confirm(caller: Program, asked: Any, **more: str) -> TestResponse:
    code = code_of(caller.app, asked["verification_id"])
    return caller.call("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code} | more)


@pytest.mark.requirement("THR-07")
def test_the_limit_of_an_address_counts_the_one_that_the_client_states(narrow: Flask) -> None:
    shop, stranger = Backend(narrow, Scope.CODES_SEND), Program(narrow)
    statuses = [signup(shop, n, end_user_address=HOME).status_code for n in range(3)]
    elsewhere = [signup(shop, n, end_user_address=AWAY).status_code for n in range(3, 6)]
    own = [signup(stranger, n).status_code for n in range(6, 9)]

    assert statuses == elsewhere == own == [200, 200, 429]


@pytest.mark.requirement("THR-07")
def test_an_address_has_one_limit_for_all_clients_and_for_people_who_come_by_themselves(narrow: Flask, clock: Traveller) -> None:
    callers = [Backend(narrow, Scope.CODES_SEND, name=name) for name in ("Shop", "Other")]
    at_home, known = Program(narrow), Program(narrow)
    device = confirm(known, signup(known, 0).get_json()).get_json()["device_token"]
    for person in (at_home, known):
        person.client.environ_base["REMOTE_ADDR"] = HOME
    statuses = [signup(caller, n, end_user_address=HOME).status_code for n, caller in enumerate(callers, 1)]

    assert (statuses, signup(at_home, 3).status_code) == ([200, 200], 429)
    assert signup(known, 0, device_token=device).status_code == 200  # who signed in here before does not wait


@pytest.mark.requirement("THR-07")
def test_a_client_that_states_no_address_is_counted_by_its_own(narrow: Flask) -> None:
    shop, stranger = Backend(narrow, Scope.CODES_SEND), Program(narrow)
    assert [signup(shop, 0).status_code, signup(stranger, 1).status_code, signup(shop, 2).status_code] == [200, 200, 429]


@pytest.mark.requirement("THR-07")
def test_addresses_of_one_ipv6_network_share_its_limit(narrow: Flask) -> None:
    shop = Backend(narrow, Scope.CODES_SEND)
    answers = [signup(shop, n, end_user_address=f"2001:db8:0:1::{n + 1:x}") for n in range(3)]
    wider = [signup(shop, n, end_user_address=f"2001:db8:0:{n:x}::1").status_code for n in range(3, 20)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert wider.count(200) == 2  # of the four texts of the network of 56 bits around it


@pytest.mark.requirement("THR-07")
def test_one_address_has_one_limit_however_it_is_written(narrow: Flask) -> None:
    shop = Backend(narrow, Scope.CODES_SEND)
    written = (HOME, f" {HOME}\t", f"::ffff:{HOME}", f"{HOME}:443", f"[::ffff:{HOME}]:443")
    assert [signup(shop, n, end_user_address=address).status_code for n, address in enumerate(written)] == [200, 200, 429, 429, 429]


@pytest.mark.parametrize(
    "address", ["", " ", "localhost", "203.0.113", "203.0.113.256", "203.0.113.7, 10.0.0.1", "1", "::g", "\x1b", "я", "a" * 4096]
)
def test_what_is_no_address_is_refused(shop: Backend, address: str) -> None:
    for path, body in (
        ("/auth/signup/", {"telephone_number": ANNA}),
        ("/auth/resend/", {"verification_id": "A" * 22}),
        ("/auth/code/", {"verification_id": "A" * 22, "code": "1234"}),
    ):
        answer = shop.call("POST", path, body | {"end_user_address": address})
        assert list(problem(answer, 422, "invalid-fields")["errors"]) == ["end_user_address"]


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.7", "127.0.0.1", "::1", "fe80::1%eth0", "fd00::1", "0.0.0.0"])  # noqa: S104
def test_private_addresses_are_addresses(shop: Backend, address: str) -> None:
    assert signup(shop, 0, end_user_address=address).status_code == 200


@pytest.mark.requirement("THR-07")
@pytest.mark.parametrize("stated", [{"end_user_address": HOME}, {"end_user_agent": PHONE}])
def test_nobody_else_may_state_an_address(app: Flask, shop: Backend, stated: dict[str, str]) -> None:
    verification_id = signup(shop, 0).get_json()["verification_id"]
    stranger, user, other = Program(app), signed_in(app, ANNA), Backend(app, Scope.USERS_READ, name="Other")

    for caller in (stranger, user, other):
        for path, body in (
            ("/auth/signup/", {"telephone_number": BORIS}),
            ("/auth/resend/", {"verification_id": verification_id}),
            ("/auth/code/", {"verification_id": verification_id, "code": "1234"}),
        ):
            problem(caller.call("POST", path, body | stated), 403, "not-allowed")
    body = {"telephone_number": BORIS} | stated
    assert user.call("POST", "/users/me/telephone_number/", body).status_code == 422  # there it is no field at all
    with app.app_context():
        assert db.session.scalar(select(Verification.guesses).where(Verification.id == verification_id)) == 0


def test_a_client_has_a_limit_of_its_own_which_it_is_told(app: Flask) -> None:
    shop = Backend(app, Scope.CODES_SEND, sends_per_hour=2)
    first, second, third = (signup(shop, n, end_user_address=f"203.0.113.{n}") for n in range(3))

    assert (limits(first)["client"], limits(second)["client"]) == (1, 0)
    assert '"client";q=2;w=3600' in first.headers["RateLimit-Policy"]
    assert problem(third, 429, "too-many-requests")["detail"] == "This app cannot ask for more texts in this hour."
    assert limits(third) == {"client": 0}
    assert 1 <= int(third.headers["Retry-After"]) <= 3600


def test_texts_to_known_devices_count_for_the_client_too(app: Flask) -> None:
    shop = Backend(app, Scope.CODES_SEND, sends_per_hour=2)
    device = confirm(shop, signup(shop, 0).get_json()).get_json()["device_token"]

    assert limits(signup(shop, 0, device_token=device)) == {"number": 4, "client": 0}
    assert signup(shop, 0, device_token=device).status_code == 429


def test_a_text_that_is_refused_costs_the_client_nothing(shop: Backend) -> None:
    assert [signup(shop, 0).status_code for _ in range(3)] == [200, 429, 429]
    assert limits(signup(shop, 1))["client"] == 98


def test_a_client_may_be_allowed_no_text(app: Flask) -> None:
    assert signup(Backend(app, Scope.CODES_SEND, sends_per_hour=0), 0).status_code == 429


@pytest.mark.requirement("THR-07")
def test_a_client_that_lies_about_addresses_is_bound_by_its_own_limit(app: Flask) -> None:
    liar, honest = Backend(app, Scope.CODES_SEND, sends_per_hour=5), Backend(app, Scope.CODES_SEND, name="Honest")
    statuses = [signup(liar, n, end_user_address=f"198.51.100.{n}").status_code for n in range(8)]

    assert statuses == [200] * 5 + [429] * 3
    assert signup(honest, 8, end_user_address=HOME).status_code == 200
    assert signup(Program(app), 9).status_code == 200


def test_a_client_that_lies_is_bound_by_the_limits_of_numbers(settings: Settings, app_with: Callable[[Settings], Flask]) -> None:
    liar = Backend(app_with(replace(settings, sends_per_prefix_hour=3)), Scope.CODES_SEND)

    assert [signup(liar, 1, end_user_address=f"198.51.100.{n}").status_code for n in range(2)] == [200, 429]
    assert [signup(liar, n, end_user_address=f"198.51.100.{n}").status_code for n in range(2, 5)] == [200, 200, 429]


def test_a_client_that_lies_is_bound_by_the_limit_of_the_system(settings: Settings, app_with: Callable[[Settings], Flask]) -> None:
    liar = Backend(app_with(replace(settings, sends_per_hour=10)), Scope.CODES_SEND)
    assert [signup(liar, n, end_user_address=f"198.51.100.{n}").status_code for n in range(9)] == [200] * 7 + [429] * 2


@pytest.mark.requirement("THR-03")
def test_guesses_through_a_client_count_for_the_whole_system(settings: Settings, app_with: Callable[[Settings], Flask]) -> None:
    app = app_with(replace(settings, guess_budgets={4: 2, 6: 250, 8: 10_000}))
    shop = Backend(app, Scope.CODES_SEND)
    asked = [signup(shop, n, end_user_address=f"203.0.113.{n}").get_json() for n in range(3)]
    for one in asked[:2]:
        wrong = wrong_code(code_of(app, one["verification_id"]))
        body = {"verification_id": one["verification_id"], "code": wrong, "end_user_address": HOME}
        assert shop.call("POST", "/auth/code/", body).status_code == 401

    assert confirm(shop, asked[2], end_user_address=AWAY).status_code == 401
    assert signup(shop, 4).get_json()["code_length"] == 6


def test_a_thousand_signups_an_hour_from_one_address_are_no_attack(
    settings: Settings, app_with: Callable[[Settings], Flask], clock: Traveller
) -> None:
    raised = replace(settings, sends_per_address_hour=10, sends_per_prefix_hour=10, sends_per_hour=2000)
    shop = Backend(app_with(raised), Scope.CODES_SEND, sends_per_hour=1000)
    answers = (signup(shop, n * 9999, end_user_address=f"10.0.{n // 250}.{n % 250}") for n in range(1000))

    assert Counter(answer.status_code for answer in answers) == {200: 1000}
    assert limits(signup(shop, 9_999_999, end_user_address="10.1.0.0")) == {"client": 0}


def test_attempts_at_invite_codes_count_for_the_address_that_comes_with_the_code(app: Flask, shop: Backend) -> None:
    asked = signup(shop, 0, end_user_address=HOME, invite_code="BCDFGH").get_json()
    assert confirm(shop, asked, end_user_address=AWAY).status_code == 200

    with app.app_context():
        places = [scope for scope in db.session.scalars(select(Limit.scope)) if scope.startswith("invites/address")]
    assert places == [f"invites/address/{app.config['SETTINGS'].keyed_hash('addresses', AWAY)}"]


def test_a_key_of_one_client_is_not_that_of_another(app: Flask, shop: Backend) -> None:
    other, stranger, key = Backend(app, Scope.CODES_SEND, name="Other"), Program(app), '"0123456789abcdef"'
    body = {"telephone_number": ANNA}
    first = shop.call("POST", "/auth/signup/", body, **{"Idempotency-Key": key})
    again = shop.call("POST", "/auth/signup/", body, **{"Idempotency-Key": key})

    assert first.get_json()["verification_id"] == again.get_json()["verification_id"]
    for caller in (other, stranger):  # theirs is a request of its own, and the number has to wait
        problem(caller.call("POST", "/auth/signup/", body, **{"Idempotency-Key": key}), 429, "too-many-requests")


def test_a_session_says_the_device_and_the_client_that_it_came_by(app: Flask, shop: Backend) -> None:
    asked = signup(shop, 0, end_user_address=HOME, end_user_agent=PHONE).get_json()
    person = Program(app)
    person.tokens = confirm(shop, asked).get_json()
    [session] = person.result("GET", "/auth/sessions/")

    assert (session["device"], session["client"]) == ("Firefox · Android", "Shop")
    assert person.result("GET", "/users/me/export/")["sessions"][0]["client_id"] == shop.client_id
    with app.app_context():
        events = db.session.execute(select(Event.kind, Event.client_id).where(Event.kind.in_(["code-sent", "signed-up"])))
        assert list(events) == [("code-sent", shop.client_id), ("signed-up", shop.client_id)]


def test_a_device_may_be_stated_with_the_code(app: Flask, shop: Backend) -> None:
    asked = signup(shop, 0).get_json()
    assert confirm(shop, asked, end_user_agent=PHONE).status_code == 200
    with app.app_context():
        assert db.session.scalars(select(Session.device)).all() == ["Firefox · Android"]


@pytest.mark.parametrize("agent", ["", " ", "\x1b[31m", "я" * 100, "curl/8.0", "a" * 4096])
def test_no_agent_is_too_strange(app: Flask, shop: Backend, agent: str) -> None:
    asked = signup(shop, 0, end_user_agent=agent)
    assert confirm(shop, asked.get_json()).status_code == 200
    with app.app_context():
        device = db.session.scalars(select(Session.device)).one()
    assert len(device) <= 80
    assert device.isprintable()


def test_the_person_of_a_session_came_by_the_client_that_asked_whoever_enters_the_code(app: Flask, shop: Backend) -> None:
    others = Program(app), Backend(app, Scope.CODES_SEND, name="Other")
    for n, caller in enumerate(others):
        assert confirm(caller, signup(shop, n).get_json()).status_code == 200
    assert confirm(shop, signup(others[0], 2).get_json()).status_code == 200
    with app.app_context():
        clients = db.session.scalars(select(Session.client_id).order_by(Session.created_at)).all()
    assert list(clients) == [shop.client_id, shop.client_id, None]


def test_who_holds_the_id_of_a_verification_may_resend_at_the_cost_of_their_own_limits(
    settings: Settings, app_with: Callable[[Settings], Flask], clock: Traveller
) -> None:
    clock.move_to(datetime.now(UTC).replace(minute=30))  # within one hour of the limits
    app = app_with(replace(settings, sends_per_address_hour=2, resend_wait=timedelta(seconds=1)))
    shop, other = Backend(app, Scope.CODES_SEND, sends_per_hour=2), Backend(app, Scope.CODES_SEND, name="Other")
    asked = signup(shop, 0, end_user_address=HOME).get_json()
    body = {"verification_id": asked["verification_id"]}
    left = []
    for caller, stated in ((other, {"end_user_address": AWAY}), (Program(app), {}), (shop, {"end_user_address": AWAY})):
        clock.shift(10)
        left.append(limits(caller.call("POST", "/auth/resend/", body | stated)))

    assert [one.get("client") for one in left] == [99, None, 0]
    assert [one["address"] for one in left] == [1, 1, 0]


def test_an_expired_token_of_a_client_is_said_and_not_ignored(app: Flask, shop: Backend, clock: Traveller) -> None:
    clock.shift(1000)
    for path, body in (
        ("/auth/signup/", {"telephone_number": ANNA}),
        ("/auth/resend/", {"verification_id": "A" * 22}),
        ("/auth/code/", {"verification_id": "A" * 22, "code": "1234"}),
    ):
        problem(shop.call("POST", path, body), 401, "not-signed-in")
    with app.app_context():
        assert db.session.query(Verification).count() == 0


def test_a_token_of_a_user_is_ignored_where_everyone_may_call(app: Flask, clock: Traveller) -> None:
    anna = signed_in(app, ANNA)
    clock.shift(1000)
    assert anna.call("GET", "/users/me/").status_code == 401

    asked = signup(anna, 7)

    assert asked.status_code == 200
    assert "client" not in limits(asked)
