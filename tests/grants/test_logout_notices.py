"""Apps are notified of sessions that ended (OpenID Connect Back-Channel Logout): what is posted, how often, and what delays it."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from itertools import count, islice

import pytest
from flask import Flask
from jwcrypto.jwk import JWK
from jwcrypto.jwt import JWT
from sqlalchemy import update
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.clients import registry
from hammer.db.database import db, transaction
from hammer.grants import logout_notices
from hammer.grants.logout_notices import POLICY, NoticesStatus, deliver_next
from hammer.models import Client, LogoutNotice, SessionKind, SigningAlgorithm
from hammer.operations import doctor, gauges
from hammer.sessions import sessions
from hammer.sessions.keys import IdTokenKeys
from tests import apps
from tests.actions import number, sign_in
from tests.delivery import wait_until
from tests.fake_gateway import FakeGateway, fake_gateway

NUMBERS = count()

in_context = pytest.mark.usefixtures("context")


@pytest.fixture
def receiver() -> Iterator[FakeGateway]:
    """The server of an app."""
    with fake_gateway() as one:
        yield one


def app_at(receiver: FakeGateway, name: str = "Shop", **given: object) -> Client:
    return apps.add_app(name, backchannel_logout_uri=f"{receiver.url}/ended", **given)


def sign_out_of(settings: Settings, client: Client, *, people: int = 1) -> None:
    """So many new people sign in to the app and out of Hammer."""
    for n in islice(NUMBERS, people):
        session = sign_in(settings, number(n), kind=SessionKind.BROWSER).session
        apps.sign_in(settings, client, session)
        sessions.sign_out(session.user_id, session.id)


def stored() -> list[LogoutNotice]:
    db.session.expire_all()
    return db.session.query(LogoutNotice).order_by(LogoutNotice.created_at).all()


def only_notice() -> LogoutNotice:
    [notice] = stored()
    return notice


def deliver(settings: Settings) -> None:
    while deliver_next(settings):
        pass


# The token


@in_context
@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_an_app_gets_a_token_that_it_can_check_with_the_published_keys(
    settings: Settings, receiver: FakeGateway, algorithm: SigningAlgorithm, clock: Traveller
) -> None:
    client = app_at(receiver, algorithm=algorithm)
    browser = sign_in(settings, kind=SessionKind.BROWSER).session
    of_app = apps.sign_in(settings, client, browser)
    sessions.sign_out(browser.user_id, browser.id)
    assert receiver.asked == []
    assert (deliver_next(settings), deliver_next(settings)) == (True, False)

    [posted] = receiver.asked
    assert (posted.method, posted.path, set(posted.form)) == ("POST", "/ended", {"logout_token"})
    assert posted.headers["Content-Type"] == "application/x-www-form-urlencoded"
    [published] = IdTokenKeys(settings).published()
    token = JWT(jwt=posted.form["logout_token"], key=JWK(**published.published), algs=[algorithm], expected_type="JWS")
    assert json.loads(token.header) == {"alg": algorithm, "kid": published.kid, "typ": "logout+jwt"}
    now = int(time_of_day.now().timestamp())
    assert json.loads(token.claims) == {
        "iss": settings.public_url,
        "aud": client.id,
        "iat": now,
        "exp": now + 120,
        "jti": only_notice().id,
        "sub": browser.user_id,
        "sid": of_app.id,
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    }


@in_context
@pytest.mark.parametrize("status", [200, 204])
def test_a_notice_that_an_app_confirms_is_posted_once(settings: Settings, receiver: FakeGateway, status: int) -> None:
    receiver.status = status
    sign_out_of(settings, app_at(receiver), people=3)
    deliver(settings)
    assert [notice.delivered for notice in stored()] == [True] * 3
    assert sorted(jtis(receiver)) == sorted(notice.id for notice in stored())


def jtis(receiver: FakeGateway) -> list[str]:
    """The ids of the notices that came, in their order."""
    tokens = [JWT() for _ in receiver.asked]
    for token, posted in zip(tokens, receiver.asked, strict=True):
        token.deserialize(posted.form["logout_token"])
    return [str(json.loads(token.token.objects["payload"])["jti"]) for token in tokens]


# Tries


@in_context
def test_an_app_that_refuses_the_token_is_not_asked_again(
    settings: Settings, receiver: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 400
    client = app_at(receiver)
    sign_out_of(settings, client)
    assert (deliver_next(settings), deliver_next(settings)) == (True, False)
    assert (only_notice().delivered, only_notice().ended_at is not None) == (False, True)
    assert given_up(caplog) == [f"A logout notice for the client {client.id} was given up: 400."]


def given_up(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == logout_notices.__name__]


@in_context
@pytest.mark.parametrize("status", [302, 401, 404, 429, 500, 503])
def test_an_app_that_fails_is_asked_again_with_growing_waits_and_then_given_up(
    settings: Settings, receiver: FakeGateway, clock: Traveller, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    receiver.status = status
    client = app_at(receiver)
    sign_out_of(settings, client)
    waits = []
    for _ in POLICY.waits:
        assert (deliver_next(settings), deliver_next(settings)) == (True, False)
        waits.append((only_notice().due_at - time_of_day.now()).total_seconds())
        clock.shift(waits[-1])
    assert given_up(caplog) == []
    assert (deliver_next(settings), deliver_next(settings)) == (True, False)
    for wait, about in zip(waits, [5, 30, 120, 600, 3600], strict=True):
        assert 0.75 * about <= wait <= 1.25 * about
    assert (only_notice().delivered, only_notice().tries, len(set(jtis(receiver)))) == (False, 6, 1)
    assert given_up(caplog) == [f"A logout notice for the client {client.id} was given up: {status}."]


@in_context
def test_an_app_that_comes_back_gets_what_waited_for_it(settings: Settings, receiver: FakeGateway, clock: Traveller) -> None:
    receiver.status = 503
    sign_out_of(settings, app_at(receiver))
    deliver(settings)
    receiver.status = 200
    clock.shift(7)
    deliver(settings)
    assert (only_notice().delivered, only_notice().tries) == (True, 2)


@in_context
def test_an_address_inside_our_network_gets_nothing_unless_the_operator_names_it(
    settings: Settings, receiver: FakeGateway, clock: Traveller, caplog: pytest.LogCaptureFixture
) -> None:
    outside = replace(settings, env="production", public_url="https://login.example.com")
    client = app_at(receiver)
    sign_out_of(settings, client, people=2)
    for _ in range(POLICY.most_tries):
        assert deliver_next(outside)
        clock.shift(0)
        with transaction() as tx:
            tx.execute(update(LogoutNotice).where(LogoutNotice.tries > 0).values(due_at=time_of_day.now() - timedelta(hours=1)))
    assert receiver.asked == []
    assert given_up(caplog) == [f"A logout notice for the client {client.id} was given up: refused."]
    assert deliver_next(replace(outside, webhook_hosts=frozenset({"127.0.0.1"})))
    assert len(receiver.asked) == 1


@in_context
@pytest.mark.parametrize("change", ["removed", "disabled", "without an address"])
def test_an_app_that_wants_no_notices_any_more_gets_none(settings: Settings, receiver: FakeGateway, change: str) -> None:
    client = app_at(receiver)
    sign_out_of(settings, client)
    if change == "removed":
        registry.remove(client.id)
    elif change == "disabled":
        registry.disable(client.id)
    else:
        registry.change(client.id, backchannel_logout_uri=None)
    deliver(settings)
    assert receiver.asked == []
    assert [(notice.delivered, notice.ended_at is not None) for notice in stored()] in ([(None, True)], [])


@in_context
def test_a_notice_whose_workers_died_is_given_up_after_its_last_try(
    settings: Settings, receiver: FakeGateway, caplog: pytest.LogCaptureFixture
) -> None:
    client = app_at(receiver)
    sign_out_of(settings, client)
    with transaction() as tx:
        tx.execute(update(LogoutNotice).values(tries=POLICY.most_tries))
    assert (deliver_next(settings), deliver_next(settings)) == (True, False)
    assert (only_notice().delivered, receiver.asked) == (False, [])
    assert given_up(caplog) == [f"A logout notice for the client {client.id} was given up: no result."]


# Apps that hang


def test_an_app_that_does_not_answer_takes_one_thread_from_the_others(
    app: Flask, settings: Settings, receiver: FakeGateway
) -> None:
    receiver.open.clear()
    with fake_gateway() as other:
        with app.app_context():
            sign_out_of(settings, app_at(receiver, "Hangs"), people=4)
            sign_out_of(settings, app_at(other, "Answers"), people=4)
        workers = logout_notices.notice_threads(app)
        workers.start()
        try:
            wait_until(lambda: len(other.asked) == 4)
            assert len(receiver.asked) == 1
        finally:
            receiver.open.set()
            workers.stop()


@in_context
def test_apps_that_do_not_answer_are_left_alone_for_a_while(
    settings: Settings, clock: Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More such apps than there are threads, each with notices that are older than that of an app which answers."""
    monkeypatch.setattr(logout_notices, "POST_SECONDS", 0.3)
    with ExitStack() as running:
        hanging = [running.enter_context(fake_gateway()) for _ in range(3)]
        answering = running.enter_context(fake_gateway())
        for n, receiver in enumerate(hanging):
            receiver.open.clear()
            sign_out_of(settings, app_at(receiver, f"Hangs {n}"), people=3)
            clock.shift(1)
        sign_out_of(settings, app_at(answering, "Answers"))
        for _ in range(4):
            assert deliver_next(settings)
        assert [len(receiver.asked) for receiver in (*hanging, answering)] == [1, 1, 1, 1]
        assert deliver_next(settings) is False
        clock.shift(7)
        for receiver in hanging:
            receiver.open.set()
        deliver(settings)
        assert {notice.delivered for notice in stored()} == {True}


# Figures


@in_context
def test_waiting_notices_are_counted(settings: Settings, receiver: FakeGateway, clock: Traveller) -> None:
    assert logout_notices.status() == NoticesStatus(0, timedelta(0), timedelta(0))
    receiver.status = 503
    client = app_at(receiver)
    sign_out_of(settings, client)
    deliver(settings)
    clock.shift(3)
    sign_out_of(settings, client)
    clock.shift(0.5)
    half = timedelta(seconds=0.5)
    assert logout_notices.status() == NoticesStatus(2, timedelta(seconds=3) + half, half)
    values = {gauge.name: dict(gauge.values) for gauge in gauges.read(settings) if gauge.name.startswith("logout_notices")}
    assert values == {"logout_notices_waiting": {(): 2}, "logout_notices_waiting_seconds": {(): 3.5}}


def test_doctor_reports_notices_that_wait_or_were_given_up(
    app: Flask, settings: Settings, receiver: FakeGateway, clock: Traveller
) -> None:
    def of_notices() -> list[tuple[str, str]]:
        with app.app_context():
            return [(found.state, found.how) for found in doctor.examine(settings) if found.part == "logout notices"]

    assert of_notices() == []
    with app.app_context():
        sign_out_of(settings, app_at(receiver, "Shop"), people=2)
    assert of_notices() == []
    clock.shift(doctor.WAITS_LONG + timedelta(seconds=30))
    assert of_notices() == [(doctor.ADVICE, "one has been due for 2 minutes")]
    receiver.status = 400
    with app.app_context():
        deliver(settings)
    lost = "2 for Shop were given up in the last 24 hours: people may still be signed in"
    assert of_notices() == [(doctor.ADVICE, lost)]
    clock.shift(timedelta(days=1))
    assert of_notices() == []


@pytest.mark.usefixtures("memory")
def test_where_no_app_wants_notices_a_look_is_one_query(app: Flask, settings: Settings, statements: Callable[[], object]) -> None:
    with statements() as seen, app.app_context():  # type: ignore[attr-defined]
        assert deliver_next(settings) is False
    assert len(seen) == 1
