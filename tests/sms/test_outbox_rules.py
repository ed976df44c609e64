"""The outbox: when sender threads are woken, and what a receipt may change."""

import atexit
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import event, update
from time_machine import Traveller

from config import Settings
from hammer import clock as clock_module
from hammer.db import queue
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.models import Message, MessageState
from hammer.sms import gateways, messages, outbox
from hammer.users import accounts
from tests import delivery
from tests.actions import ANNA, BORIS, CLARA, HOME, ask, confirm, number, right, sign_in
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.interleaving import until

in_context = pytest.mark.usefixtures("context")


def ask_number(settings: Settings) -> Callable[[], object]:
    them = sign_in(settings)
    return lambda: accounts.ask_number(settings, them.user.id, them.session.id, BORIS, HOME)


def change_number(settings: Settings) -> Callable[[], object]:
    them = sign_in(settings)
    asked = accounts.ask_number(settings, them.user.id, them.session.id, BORIS, HOME).verification
    return lambda: accounts.change_number(settings, them.user.id, them.session.id, asked.id, right(settings, asked))


def send_code(settings: Settings) -> Callable[[], object]:
    return lambda: by_code.send_code(settings, ANNA, HOME)


def resend_code(settings: Settings) -> Callable[[], object]:
    asked = ask(settings)
    return lambda: by_code.resend_code(settings, asked.id, HOME)


every_verb_that_texts = pytest.mark.parametrize(
    "about_to", [send_code, resend_code, ask_number, change_number], ids=lambda verb: verb.__name__
)


@in_context
@every_verb_that_texts
def test_senders_are_woken_once_the_text_is_committed(
    settings: Settings, about_to: Callable[[Settings], Callable[[], object]]
) -> None:
    verb = about_to(replace(settings, resend_wait=timedelta(0)))
    woken_at_commits: list[bool] = []

    def committing(_connection: object) -> None:
        woken_at_commits.append(outbox.QUEUE.added.is_set())

    outbox.QUEUE.added.clear()
    event.listen(db.engine, "commit", committing)
    try:
        verb()
    finally:
        event.remove(db.engine, "commit", committing)
    assert woken_at_commits == [False]
    assert outbox.QUEUE.added.is_set()


@every_verb_that_texts
def test_a_sender_that_looks_only_when_it_is_woken_sends_the_text(
    app: Flask,
    settings: Settings,
    memory: list[gateways.Sent],
    monkeypatch: pytest.MonkeyPatch,
    about_to: Callable[[Settings], Callable[[], object]],
) -> None:
    monkeypatch.setattr(queue, "IDLE_SECONDS", 3600)
    with app.app_context():
        verb = about_to(replace(settings, resend_wait=timedelta(0)))
        delivery.deliver(settings)
        before = len(memory)
        outbox.QUEUE.added.clear()
        sender = outbox.sender_threads(app, 1)
        sender.start()
        try:
            verb()
            until(lambda: len(memory) > before)
        finally:
            sender.stop()
        assert not sender.alive
    assert len(memory) == before + 1


QUEUES = {"hammer.sms.outbox", "hammer.grants.logout_notices", "hammer.webhooks.deliveries", "hammer.operations.seals"}


def sender_names() -> list[str]:
    names = ("texts-", "notices-", "webhooks-", "seals-")
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(names))


@pytest.mark.parametrize("starts", ["at the first request", "by the server"])
def test_sender_threads_start_once_and_stop_at_the_end_of_the_process(
    settings: Settings,
    app_with: Callable[[Settings], Flask],
    memory: list[gateways.Sent],
    monkeypatch: pytest.MonkeyPatch,
    starts: str,
) -> None:
    at_the_end: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_the_end.append)
    app = app_with(replace(settings, env="development", sms_threads=2))
    with app.app_context():
        ask(settings)
    assert sender_names() == []
    for _ in range(2):
        if starts == "by the server":
            for queue_of in QUEUES:
                app.extensions[queue_of]()
        else:
            assert app.test_client().get("/healthz").status_code == 200
    try:
        assert len(at_the_end) == len(QUEUES)
        senders = ["texts-0", "texts-1", *(f"webhooks-{n}" for n in range(4))]
        assert sender_names() == ["notices-0", "notices-1", "seals-0", *senders]
        until(lambda: len(memory) == 1)
    finally:
        for stop in at_the_end:
            stop()
    assert sender_names() == []


@pytest.mark.parametrize(("env", "threads"), [("testing", 1), ("development", 0)])
def test_a_process_without_sender_threads_does_not_check_its_gateways(
    settings: Settings, app_with: Callable[[Settings], Flask], env: str, threads: int
) -> None:
    unusable = replace(settings, env=env, sms_threads=threads, sms_url="twilio://AC1:b@1/{phone}")
    assert not QUEUES & set(app_with(unusable).extensions)


# Reports


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


def only_text() -> Message:
    db.session.expire_all()
    return db.session.query(Message).one()


def report(app: Flask, url: str, said: str) -> None:
    assert app.test_client().get(urlsplit(url).path, query_string={"status": said}).status_code == 204


@pytest.mark.parametrize("said", ["2", "16", "undelivered", "rejected", "expired"])
def test_a_report_of_failure_does_not_end_a_text_that_waits_for_its_next_try(
    app: Flask, settings: Settings, gateway: FakeGateway, clock: Traveller, memory: list[gateways.Sent], said: str
) -> None:
    """A gateway may report the failure of a text that it refused before."""
    gateway.status = 503
    with app.app_context():
        ask(settings)
        outbox.deliver_next(replace(settings, sms_url=gateway.template))
        receipt = outbox.receipt_url(settings, only_text())
    report(app, receipt, said)
    clock.shift(3)
    with app.app_context():
        assert (only_text().state, only_text().ended_at) == (MessageState.WAITING, None)
        assert outbox.deliver_next(settings)
        assert only_text().state == MessageState.SENT
    assert [sent.telephone_number for sent in memory] == [ANNA]


def test_a_report_of_failure_does_not_change_a_text_that_was_given_up(app: Flask, settings: Settings, clock: Traveller) -> None:
    with app.app_context():
        ask(settings)
        clock.shift(settings.code_ttl)
        outbox.deliver_next(settings)
        receipt, ended_at = outbox.receipt_url(settings, only_text()), only_text().ended_at
    clock.shift(1)
    report(app, receipt, "undelivered")
    with app.app_context():
        assert (only_text().state, only_text().ended_at) == (MessageState.GIVEN_UP, ended_at)


def test_a_report_keeps_the_moment_at_which_the_text_left(app: Flask, settings: Settings, clock: Traveller) -> None:
    with app.app_context():
        ask(settings)
        outbox.deliver_next(settings)
        receipt, left_at = outbox.receipt_url(settings, only_text()), only_text().ended_at
    for said, becomes in (("undelivered", MessageState.FAILED), ("delivered", MessageState.DELIVERED)):
        clock.shift(60)
        report(app, receipt, said)
        with app.app_context():
            assert (only_text().state, only_text().ended_at) == (becomes, left_at)


def test_a_report_ends_its_own_text_alone(app: Flask, settings: Settings) -> None:
    with app.app_context():
        for number in (ANNA, BORIS):
            ask(settings, number)
        delivery.deliver(settings)
        first = db.session.query(Message).order_by(Message.id).first()
        assert first is not None
        receipt = outbox.receipt_url(settings, first)
    report(app, receipt, "delivered")
    with app.app_context():
        assert [text.state for text in db.session.query(Message).order_by(Message.id)] == [
            MessageState.DELIVERED,
            MessageState.SENT,
        ]


def test_a_receipt_of_an_older_text_with_the_same_id_ends_nothing(app: Flask, settings: Settings) -> None:
    """SQLite reuses the ids of deleted rows."""
    with app.app_context():
        ask(settings)
        delivery.deliver(settings)
        kept = only_text()
        older = Message(id=kept.id, created_at=kept.created_at - timedelta(days=2))
        receipt = outbox.receipt_url(settings, older)
    report(app, receipt, "undelivered")
    with app.app_context():
        assert only_text().state == MessageState.SENT


@in_context
def test_a_text_that_waits_for_its_next_try_is_not_taken_before(settings: Settings, gateway: FakeGateway, clock: Traveller) -> None:
    gateway.status = 503
    ask(settings)
    outbox.deliver_next(replace(settings, sms_url=gateway.template))
    due_at = only_text().due_at
    clock.move_to(due_at - timedelta(microseconds=1))
    assert outbox.deliver_next(settings) is False
    clock.move_to(due_at)
    assert outbox.deliver_next(settings) is True


@in_context
def test_a_code_that_expires_this_moment_is_not_sent(settings: Settings, clock: Traveller, memory: list[gateways.Sent]) -> None:
    asked = ask(settings)
    clock.move_to(asked.expires_at - timedelta(microseconds=1))
    ask(settings, BORIS)
    clock.move_to(asked.expires_at)
    delivery.deliver(settings)
    assert [sent.telephone_number for sent in memory] == [BORIS]


@in_context
def test_the_tally_counts_the_newest_and_how_long_the_oldest_has_waited(settings: Settings, clock: Traveller) -> None:
    assert outbox.status() == outbox.OutboxStatus({}, 0, timedelta(0))
    used = ask(settings)
    confirm(settings, used, right(settings, used))
    delivery.deliver(settings)
    ask(settings, BORIS)
    clock.shift(90)
    seen = outbox.status()
    assert (seen.waiting, seen.oldest_waiting) == (1, timedelta(seconds=90))
    assert seen.newest == {("unneeded", ""): 1, ("waiting", ""): 1}


@in_context
def test_only_the_newest_are_counted_by_state_and_by_gateway(
    settings: Settings, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "COUNTED", 3)
    for n in range(4):
        ask(settings, number(n))
        delivery.deliver(settings if n < 3 else replace(settings, sms_url=gateway.template))
    assert outbox.status().newest == {("sent", "memory/1"): 2, ("sent", "http/1"): 1}


@in_context
def test_a_gateway_gets_the_address_for_its_reports_along_with_each_message(settings: Settings, gateway: FakeGateway) -> None:
    ask(settings)
    receipt = outbox.receipt_url(settings, only_text())
    assert outbox.deliver_next(replace(settings, sms_url=f"{gateway.template}&dlr-url={{dlr}}"))
    assert [asked.query["dlr-url"] for asked in gateway.asked] == [receipt]


def sending(app: Flask, settings: Settings, gateway: FakeGateway) -> threading.Thread:
    """A sender that waits for the gateway, which will refuse the text as soon as `gateway.open` is set."""
    gateway.open.clear()
    gateway.status = 503

    def send() -> None:
        with app.app_context():
            outbox.deliver_next(replace(settings, sms_url=gateway.template))

    sender = threading.Thread(target=send)
    sender.start()
    assert gateway.arrived.wait(30)
    return sender


def test_a_sender_that_was_too_slow_does_not_shorten_the_claim_of_the_next(
    app: Flask, settings: Settings, gateway: FakeGateway, clock: Traveller
) -> None:
    with app.app_context():
        ask(settings)
    slow = sending(app, settings, gateway)
    clock.shift(outbox.POLICY.lease)
    claimed_until = clock_module.now() + outbox.POLICY.lease
    with app.app_context(), transaction() as tx:  # as a claim does
        tx.execute(update(Message).values(due_at=claimed_until, tries=Message.tries + 1))
    gateway.open.set()
    slow.join(30)
    with app.app_context():
        assert (only_text().due_at, only_text().tries) == (claimed_until, 2)


def test_what_has_arrived_is_not_given_up_though_its_last_try_was_refused(
    app: Flask, settings: Settings, gateway: FakeGateway, clock: Traveller
) -> None:
    with app.app_context():
        ask(settings)
        with transaction() as tx:
            tx.execute(update(Message).values(tries=outbox.POLICY.most_tries - 1))
        receipt = outbox.receipt_url(settings, only_text())
    last = sending(app, settings, gateway)
    report(app, receipt, "delivered")
    gateway.open.set()
    last.join(30)
    with app.app_context():
        assert (only_text().state, only_text().tries) == (MessageState.DELIVERED, outbox.POLICY.most_tries)


@in_context
def test_the_text_for_a_change_of_number_speaks_of_no_login(settings: Settings, memory: list[gateways.Sent]) -> None:
    """If it spoke of a login, a caller could persuade a person to read out the code that gives their account to another number."""
    them = sign_in(settings)
    accounts.ask_number(settings, them.user.id, them.session.id, BORIS, HOME)
    ask(settings, CLARA)
    delivery.deliver(settings)
    speaks_of_login = {sent.telephone_number: "login" in sent.text for sent in memory}
    assert speaks_of_login == {BORIS: False, CLARA: True}


@in_context
@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_notice_is_in_the_language_of_its_person(settings: Settings, memory: list[gateways.Sent], language: str) -> None:
    with transaction() as tx:
        outbox.add_notice(tx, ANNA, language)
    delivery.deliver(settings)
    assert [sent.text for sent in memory] == [messages.notice(settings, language)]
    assert messages.notice(settings, "en") != messages.notice(settings, "ru")
