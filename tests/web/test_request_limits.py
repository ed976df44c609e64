"""The address of a caller, the limits of requests per address, and requests that try to avoid being counted."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from flask import Flask, request
from werkzeug.test import TestResponse

from config import Settings
from hammer.db.database import db
from hammer.models import Verification
from hammer.refusals import TooManyRequests
from hammer.web import request_limits
from hammer.web.request_limits import RequestLimiter
from tests.actions import ANNA, right, wrong
from tests.people import Browser, Program

Made = Callable[[Settings], Flask]
HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP", "X-Forwarded")


@pytest.fixture
def tight(settings: Settings) -> Settings:
    """Ten texts an hour to one address."""
    return replace(settings, sends_per_address_hour=10)


def signup(app: Flask, n: int, headers: dict[str, str] | None = None, *, address: str = "192.0.2.1") -> TestResponse:
    """The n-th number asks for a text from this address."""
    body = {"telephone_number": f"+7929{n:07d}"}
    environment = {"REMOTE_ADDR": address}
    return app.test_client().post("/api/v1/auth/signup/", json=body, headers=headers, environ_base=environment)


def asked(app: Flask, telephone_number: str = ANNA) -> Verification:
    """A verification that was asked for at the API."""
    answer = Program(app).result("POST", "/auth/signup/", {"telephone_number": telephone_number})
    with app.app_context():
        return db.session.get_one(Verification, answer["verification_id"])


def guesses_of(app: Flask, verification: Verification) -> int:
    with app.app_context():
        return db.session.get_one(Verification, verification.id).guesses


@pytest.mark.requirement("THR-07")
def test_no_header_changes_the_address(tight: Settings, app_with: Made) -> None:
    app = app_with(tight)
    statuses = []
    for n in range(40):
        name = HEADERS[n % len(HEADERS)]
        claimed = f"for=198.51.100.{n}" if name == "Forwarded" else f"198.51.100.{n}"
        statuses.append(signup(app, n, {name: claimed}).status_code)
    assert statuses == [200] * 10 + [429] * 30


@pytest.mark.requirement("THR-07")
def test_addresses_of_one_ipv6_network_are_one(tight: Settings, app_with: Made) -> None:
    app = app_with(tight)
    statuses = [signup(app, n, address=f"2001:db8:0:7:{n:x}::{n:x}").status_code for n in range(40)]
    assert statuses == [200] * 10 + [429] * 30
    assert signup(app, 40, address="2001:db8:0:8::1").status_code == 200


@pytest.mark.requirement("THR-07")
@pytest.mark.parametrize(
    ("remote", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("192.0.2.1:50123", "192.0.2.1"),
        ("[2001:db8::1]:50123", "2001:db8::/64"),
        ("", ""),
        ("unix:", ""),
        ("192.0.2.1, 192.0.2.2", ""),
    ],
)
def test_an_address_is_counted_whole_or_by_its_network(app: Flask, remote: str, counted: str) -> None:
    with app.test_request_context(environ_base={"REMOTE_ADDR": remote}):
        assert request_limits.address() == counted


@pytest.mark.requirement("THR-07")
def test_behind_one_proxy_the_right_most_address_counts(tight: Settings, app_with: Made) -> None:
    app = app_with(replace(tight, proxy_hops=1))
    statuses = [signup(app, n, {"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.9"}).status_code for n in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    assert signup(app, 12, {"X-Forwarded-For": "203.0.113.9, 203.0.113.10"}).status_code == 200


@pytest.mark.requirement("THR-07")
def test_behind_two_proxies_the_second_from_the_right_counts(tight: Settings, app_with: Made) -> None:
    app = app_with(replace(tight, proxy_hops=2))
    statuses = [signup(app, n, {"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.9, 10.0.0.{n}"}).status_code for n in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    past_the_first = [signup(app, 20 + n, {"X-Forwarded-For": f"198.51.100.{n}"}).status_code for n in range(12)]
    assert past_the_first == [200] * 10 + [429] * 2  # too few for two: the connection's own address


@pytest.mark.requirement("THR-07")
def test_a_body_with_several_codes_is_refused(app: Flask) -> None:
    verification = asked(app)
    settings = app.config["SETTINGS"]
    no, yes = wrong(settings, verification), right(settings, verification)
    one_name = f'{{"verification_id": "{verification.id}", "code": "{no}", "code": "{no[::-1]}", "code": "{no}"}}'
    answer = app.test_client().post("/api/v1/auth/code/", data=one_name, content_type="application/json")
    assert answer.status_code == 400
    assert guesses_of(app, verification) == 0
    for list_of_codes in ([no, yes], [yes], {"0": yes}, [f"{n:04d}" for n in range(1000)]):
        body = json.dumps({"verification_id": verification.id, "code": list_of_codes})
        answer = app.test_client().post("/api/v1/auth/code/", data=body, content_type="application/json")
        assert answer.status_code == 422
    assert guesses_of(app, verification) == 0


@pytest.mark.requirement("THR-07")
@pytest.mark.parametrize("batch", ["[{}, {}]", "{}\n{}"], ids=["a list", "lines"])
def test_batches_of_guesses_are_refused(app: Flask, batch: str) -> None:
    verification = asked(app)
    one = json.dumps({"verification_id": verification.id, "code": wrong(app.config["SETTINGS"], verification)})
    body = batch.replace("{}", one)
    assert app.test_client().post("/api/v1/auth/code/", data=body, content_type="application/json").status_code == 400
    assert guesses_of(app, verification) == 0


@pytest.mark.requirement("THR-07")
def test_a_repeated_form_field_is_one_guess(app: Flask) -> None:
    browser = Browser(app)
    page = browser.get("/login/")
    phone = page.form_with("telephone_number")
    assert phone is not None
    form = browser.send(phone, telephone_number=ANNA).form_with("code")
    assert form is not None
    with app.app_context():
        verification = db.session.query(Verification).one()
    settings = app.config["SETTINGS"]
    no, yes = wrong(settings, verification), right(settings, verification)
    fields = {"csrf_token": form.fields["csrf_token"], "code": [no, yes, no]}
    answer = browser.client.post(f"/login/code/?code={yes}", data=fields)
    assert answer.status_code == 401
    assert guesses_of(app, verification) == 1
    assert not browser.is_signed_in()


@pytest.mark.requirement("THR-07")
def test_a_body_with_several_numbers_is_refused(app: Flask) -> None:
    body = '{"telephone_number": "+79290000001", "telephone_number": "+79290000002"}'
    answer = app.test_client().post("/api/v1/auth/signup/", data=body, content_type="application/json")
    assert answer.status_code == 400
    with app.app_context():
        assert db.session.query(Verification).count() == 0
    two_names = app.test_client().post("/api/v1/auth/signup/", json={"telephone_number": ANNA, "phone": "+79290000002"})
    assert two_names.status_code == 422


# Requests of one address, counted in this process


@dataclass
class Watch:
    """The clock that the limiter measures spans with. It moves only when the test moves it."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(request_limits, "time", watch)
    return watch


def refused_for(limiter: RequestLimiter, place: str = "192.0.2.1") -> int:
    """How many seconds the next request of this address must wait; 0 where it is let in."""
    try:
        limiter.take(place)
    except TooManyRequests as refusal:
        return refusal.retry_after
    return 0


def test_an_address_has_its_requests_again_a_minute_after_the_first_of_them(settings: Settings, watch: Watch) -> None:
    limiter = RequestLimiter(replace(settings, requests_per_address_minute=2))
    assert [refused_for(limiter) for _ in range(3)] == [0, 0, 60]
    watch.now += 30.5
    assert refused_for(limiter) == 30
    assert refused_for(limiter, "192.0.2.2") == 0
    watch.now += 29.25
    assert refused_for(limiter) == 1
    watch.now += 0.25
    assert [refused_for(limiter) for _ in range(3)] == [0, 0, 60]
    watch.now += 30.5  # a minute after the first request of the other address
    assert [refused_for(limiter), refused_for(limiter, "192.0.2.2"), refused_for(limiter, "192.0.2.2")] == [30, 0, 0]


def test_the_first_request_of_all_begins_a_minute_whatever_the_clock_of_the_machine_says(settings: Settings, watch: Watch) -> None:
    """A machine that has just started counts from 0."""
    watch.now = 0.0
    limiter = RequestLimiter(replace(settings, requests_per_address_minute=2))
    assert [refused_for(limiter) for _ in range(3)] == [0, 0, 60]
    watch.now = 59.0
    assert refused_for(limiter) == 1


def test_counts_of_minutes_that_are_over_take_no_memory(settings: Settings, watch: Watch) -> None:
    limiter = RequestLimiter(replace(settings, requests_per_address_minute=2))
    for n in range(100):
        limiter.take(f"192.0.2.{n}")
    watch.now += 59
    limiter.take("198.51.100.1")
    assert len(limiter.local._windows) == 101
    watch.now += 1  # when what is over is dropped, and what is not stays
    assert [refused_for(limiter, "198.51.100.1") for _ in range(2)] == [0, 59]
    assert len(limiter.local._windows) == 1


def test_an_address_beyond_its_requests_is_refused_before_the_database_is_asked(
    settings: Settings, app_with: Made, watch: Watch
) -> None:
    client = app_with(replace(settings, requests_per_address_minute=2)).test_client()

    def get(path: str, address: str = "192.0.2.1") -> TestResponse:
        return client.get(path, environ_base={"REMOTE_ADDR": address})

    assert [get("/login/").status_code for _ in range(3)] == [200, 200, 429]
    watch.now += 18
    refused = get("/login/")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "42")
    assert get("/login/", "192.0.2.2").status_code == 200
    assert [get("/healthz").status_code for _ in range(5)] == [200] * 5
    assert [get("/login/", "unix:").status_code for _ in range(5)] == [200] * 5


# Proxies, and what is said at the start


@pytest.mark.requirement("THR-07")
@pytest.mark.parametrize(
    ("hops", "proto", "scheme"),
    [(0, "https", "http"), (1, "https", "https"), (1, "http, https", "https"), (1, "https, http", "http"), (2, "https", "https")],
)
def test_only_the_nearest_proxy_says_whether_people_came_by_https_and_none_says_to_which_host(
    settings: Settings, app_with: Made, hops: int, proto: str, scheme: str
) -> None:
    app = app_with(replace(settings, proxy_hops=hops))
    app.add_url_rule("/seen", view_func=lambda: f"{request.scheme} {request.host} {request.script_root}")
    claimed = {"X-Forwarded-Proto": proto, "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "99", "X-Forwarded-Prefix": "/x"}
    assert app.test_client().get("/seen", headers=claimed).text == f"{scheme} localhost "


def test_settings_that_allow_more_guessing_than_they_say_are_warned_of(
    settings: Settings, app_with: Made, caplog: pytest.LogCaptureFixture
) -> None:
    expected = settings.expected_takeovers_per_year
    app_with(replace(settings, max_expected_takeovers=expected))
    assert caplog.messages == []
    app_with(replace(settings, max_expected_takeovers=expected / 2))
    assert caplog.messages == [f"Guessing may take over {expected:.2f} accounts a year, and {expected / 2:g} are allowed."]


# Bodies


class Broken(io.RawIOBase):
    """A body that breaks off, as one in pieces does whose pieces are wrong."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: object) -> int:
        raise OSError


def of_unknown_length(app: Flask, method: str, path: str, body: io.IOBase) -> int:
    in_pieces = {"wsgi.input": body, "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    headers = {"Content-Type": "application/json"}
    return app.test_client().open(path, method=method, headers=headers, environ_overrides=in_pieces).status_code


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/auth/signup/", 400),
        ("POST", "/api/v1/nowhere/", 404),
        ("GET", "/login/", 200),
        ("HEAD", "/login/", 200),
    ],
)
def test_a_body_that_breaks_off_is_a_bad_request_where_a_body_is_read(app: Flask, method: str, path: str, status: int) -> None:
    assert of_unknown_length(app, method, path, Broken()) == status


def test_a_body_of_unknown_length_is_taken_up_to_the_longest(app: Flask) -> None:
    most = app.config["MAX_CONTENT_LENGTH"]
    body = json.dumps({"telephone_number": ANNA}).encode()
    seen = [
        of_unknown_length(app, "POST", "/api/v1/auth/signup/", io.BytesIO(body.ljust(length)))
        for length in (most - 1, most, most + 1)
    ]
    assert seen == [200, 413, 413]
    known = app.test_client().post("/api/v1/auth/signup/", data=body.ljust(most), content_type="application/json")
    assert known.status_code == 429  # read, and refused because the number was texted just now


def test_of_too_many_counts_the_oldest_is_dropped_and_the_newest_still_counts(
    settings: Settings, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Callers that use a new address for each request take no memory, and are counted all the same."""
    monkeypatch.setattr(request_limits, "MOST_WINDOWS", 2)
    limiter = RequestLimiter(replace(settings, requests_per_address_minute=1))
    first, second, third = "192.0.2.1", "192.0.2.2", "192.0.2.3"
    assert [refused_for(limiter, place) for place in (first, second)] == [0, 0]
    assert [refused_for(limiter, place) for place in (first, second)] == [60, 60]
    assert [refused_for(limiter, place) for place in (third, third, second)] == [0, 60, 60]
    assert refused_for(limiter, first) == 0
