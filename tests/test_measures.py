"""What is counted for Prometheus: each thing once, after its commit, and without personal data."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, make_url, text
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.models import Message, SessionKind
from hammer.quotas import idempotency
from hammer.refusals import Refusal, TooManyRequests, UnknownInvite, WrongCode
from hammer.sms import gateways, outbox
from tests import delivery
from tests.actions import ANNA, BORIS, CLARA, HOME, activate, ask, confirm, no_wait, number, right, sign_in, user, wrong
from tests.fake_gateway import fake_gateway
from tests.measured import Growth
from tests.people import Browser, Program
from tests.serving import at_once


@pytest.mark.usefixtures("context")
def test_a_login_is_counted_once(settings: Settings) -> None:
    grew = Growth()

    sign_in(settings, ANNA)
    no_wait()
    sign_in(settings, ANNA)

    assert grew("hammer_events_total", kind="signed-up") == 1
    assert grew("hammer_events_total", kind="signed-in") == 1
    assert grew("hammer_events_total", kind="code-sent") == 2
    assert grew("hammer_guesses_total", digits="4", fate="right") == 2


@pytest.mark.usefixtures("context")
def test_a_login_that_is_repeated_with_its_key_is_not_counted_again(settings: Settings) -> None:
    asked, grew = ask(settings), Growth()
    key = idempotency.make_key(settings, "key", call="code", body=asked.id)

    for _ in range(3):
        by_code.confirm_code(
            settings, asked.id, right(settings, asked), kind=SessionKind.PROGRAM, device="", address=HOME.address, key=key
        )

    assert grew("hammer_events_total", kind="signed-up") == 1
    assert grew("hammer_guesses_total", digits="4", fate="right") == 1


@pytest.mark.usefixtures("context")
def test_what_was_rolled_back_is_not_counted(settings: Settings) -> None:
    settings, grew = replace(settings, sends_per_hour=2), Growth()
    ask(settings, number(1))

    with pytest.raises(TooManyRequests):  # by the last limit: the text and its event were written before
        ask(settings, number(2))

    assert grew("hammer_events_total", kind="code-sent") == 1


@pytest.mark.usefixtures("context")
def test_what_one_transaction_did_not_commit_is_not_counted_by_the_next(settings: Settings) -> None:
    grew = Growth()

    def fails() -> None:
        with transaction() as tx:
            events.note(tx, events.Kind.SIGNED_UP)
            raise UnknownInvite

    with pytest.raises(UnknownInvite):
        fails()
    with transaction() as tx:
        events.note(tx, events.Kind.SIGNED_IN)

    assert grew("hammer_events_total", kind="signed-up") == 0
    assert grew("hammer_events_total", kind="signed-in") == 1


def test_logins_at_the_same_moment_are_all_counted(app: Flask, settings: Settings) -> None:
    grew = Growth()

    def signs_in(n: int) -> None:
        with app.app_context():
            sign_in(settings, number(n))

    at_once([lambda n=n: signs_in(n) for n in range(12)])  # type: ignore[misc]

    assert grew("hammer_events_total", kind="signed-up") == 12


@pytest.mark.usefixtures("context")
def test_an_activation_is_counted(settings: Settings) -> None:
    anna, boris, grew = user(settings, ANNA), user(settings, BORIS), Growth()

    activate(settings, boris.id, anna.invite_code)

    assert grew("hammer_events_total", kind="invite-activated") == 1


@pytest.mark.usefixtures("context")
def test_guesses_are_counted_by_length_and_by_what_became_of_them(settings: Settings) -> None:
    settings, grew = replace(settings, guess_budgets={4: 1, 6: 250, 8: 10_000}), Growth()
    first, second = ask(settings, ANNA), ask(settings, BORIS)
    for verification in (first, second, second):  # the budget has one guess; with it spent, the second code becomes void
        with pytest.raises(WrongCode):
            confirm(settings, verification, wrong(settings, verification))
    longer = ask(settings, CLARA)

    confirm(settings, longer, right(settings, longer))

    assert {fate: grew("hammer_guesses_total", digits="4", fate=fate) for fate in ("right", "wrong", "spent", "not-live")} == {
        "right": 0, "wrong": 1, "spent": 1, "not-live": 1,
    }  # fmt: skip
    assert grew("hammer_guesses_total", digits="6", fate="right") == 1


def test_refusals_are_counted_by_slug(program: Program) -> None:
    grew = Growth()

    program.call("GET", "/users/me/")
    program.call("POST", "/auth/signup/", {"telephone_number": "1"})
    program.call("POST", "/auth/code/", {"verification_id": "A" * 22, "code": "1234"})
    program.call("GET", "/nowhere/")

    assert grew("hammer_refusals_total", slug="not-signed-in") == 1
    assert grew("hammer_refusals_total", slug="invalid-fields") == 1
    assert grew("hammer_refusals_total", slug="wrong-code") == 1


def test_pages_count_refusals_like_the_api(browser: Browser) -> None:
    form = browser.get("/login/").form_with("telephone_number")
    assert form is not None
    grew = Growth()

    browser.send(form, telephone_number="1")

    assert grew("hammer_refusals_total", slug="invalid-fields") == 1


@pytest.mark.usefixtures("context")
def test_texts_are_counted_by_gateway_and_fate(settings: Settings, clock: Traveller) -> None:
    grew = Growth()
    ask(settings, ANNA)
    unneeded = ask(settings, BORIS)
    confirm(settings, unneeded, right(settings, unneeded))
    clock.shift(3)
    delivery.deliver(settings)
    ask(settings, CLARA)
    clock.shift(settings.code_ttl + timedelta(seconds=1))
    delivery.deliver(settings)

    assert grew("hammer_texts_total", gateway="memory/1", fate="sent") == 1
    assert grew("hammer_texts_total", gateway="", fate="unneeded") == 1
    assert grew("hammer_texts_total", gateway="", fate="given up") == 1
    assert grew("hammer_text_seconds_sum", gateway="memory/1") == pytest.approx(3)
    assert grew("hammer_text_seconds_count", gateway="memory/1") == 1


def test_receipts_are_counted_once(app: Flask, settings: Settings) -> None:
    with app.app_context():
        ask(settings, ANNA)
        delivery.deliver(settings)
        receipt = urlsplit(outbox.receipt_url(settings, db.session.query(Message).one())).path
    grew = Growth()

    for _ in range(3):
        app.test_client().get(receipt, query_string={"status": "delivered"})

    assert grew("hammer_texts_total", gateway="memory/1", fate="delivered") == 1


@pytest.mark.usefixtures("context")
def test_each_gateway_that_is_asked_is_timed(settings: Settings) -> None:
    with fake_gateway() as fails, fake_gateway() as takes:
        fails.open.set()
        takes.open.set()
        fails.status = 500
        settings, grew = replace(settings, sms_url=f"{fails.template} {takes.template}"), Growth()
        ask(settings, ANNA)
        outbox.deliver_next(settings)

    assert grew("hammer_gateway_seconds_count", gateway="http/1", outcome="failed") == 1
    assert grew("hammer_gateway_seconds_count", gateway="http/2", outcome="took") == 1
    assert 0 < grew("hammer_gateway_seconds_sum", gateway="http/2", outcome="took") < gateways.GATEWAY_SECONDS


def test_refusals_of_the_database_are_counted_by_cause(app: Flask, settings: Settings) -> None:
    grew, engine = Growth(), create_engine(settings.database_url, isolation_level="AUTOCOMMIT")
    on_sqlite = make_url(settings.database_url).get_backend_name() == "sqlite"
    with closing(engine.connect()) as other:
        other.execute(text("begin immediate" if on_sqlite else "begin"))
        if not on_sqlite:
            other.execute(text("lock table send_allowances in exclusive mode"))
        answer = app.test_client().post("/api/v1/auth/signup/", json={"telephone_number": ANNA})
        other.execute(text("rollback"))
    engine.dispose()

    assert answer.status_code == 503
    assert grew("hammer_database_refusals_total", cause="locked") == 1
    assert grew("hammer_refusals_total", slug="unavailable") == 1
    assert grew("hammer_events_total", kind="code-sent") == 0


def test_counters_are_zero_before_anything_happened(app: Flask) -> None:
    shown = exposed(app)

    slugs = {leaf.slug for group in Refusal.__subclasses__() for leaf in group.__subclasses__()}
    assert {("hammer_events_total", ("kind", kind)) for kind in events.Kind} <= shown
    assert {("hammer_refusals_total", ("slug", slug)) for slug in slugs} <= shown
    assert ("hammer_database_refusals_total", ("cause", "full")) in shown


def test_the_metrics_show_no_number_no_code_and_no_id(
    app: Flask, program: Program, settings: Settings, code_for: Callable[[str], str]
) -> None:
    program.sign_in(ANNA)
    asked = program.result("POST", "/auth/signup/", {"telephone_number": BORIS})
    code = code_for(BORIS)
    program.call("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": "00000000"})
    program.call("GET", f"/users/{BORIS}/")
    secrets = [ANNA[1:], BORIS[1:], code, asked["verification_id"], "00000000"]
    secrets += [program.tokens[name] for name in ("access_token", "refresh_token", "invite_code", "device_token")]

    words = {str(label[1]) for _, *labels in exposed(app) for label in labels}

    assert [secret for secret in secrets if any(secret in word for word in words)] == []


def exposed(app: Flask) -> set[tuple[Any, ...]]:
    """The name and the labels of each series at `/metrics`."""
    families = text_string_to_metric_families(app.test_client().get("/metrics").text)
    return {(sample.name, *sorted(sample.labels.items())) for family in families for sample in family.samples}
