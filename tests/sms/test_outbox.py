"""The outbox: how messages are claimed, tried again and counted, and what receipts change."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer import clock as clock_module
from hammer.db.database import db
from hammer.models import Message, MessageState, Verification
from hammer.operations import doctor, gauges, retention
from hammer.sms import gateways, outbox
from tests import delivery
from tests.actions import ANNA, BORIS, ask, confirm, everything_stored, number, right
from tests.delivery import states, wait_until
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.serving import Server, at_once


class Broken(list[gateways.Sent]):
    """A memory gateway that fails while it takes a message."""

    def append(self, _: gateways.Sent) -> None:
        raise ConnectionError


def waiting() -> int:
    db.session.expire_all()
    return db.session.query(Message).filter(Message.ended_at.is_(None)).count()


def only_text() -> Message:
    db.session.expire_all()
    return db.session.query(Message).one()


@pytest.fixture
def break_gateway(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(gateways, "memory", Broken())


@pytest.mark.usefixtures("context")
def test_a_code_is_sent_to_its_number_once(settings: Settings, memory: list[gateways.Sent]) -> None:
    verification = ask(settings)
    assert memory == []
    assert outbox.deliver_next(settings) is True
    assert outbox.deliver_next(settings) is False
    [sent] = memory
    assert sent.telephone_number == ANNA
    assert sent.text.splitlines()[-1] == f"@localhost #{right(settings, verification)}"
    assert waiting() == 0


@pytest.mark.usefixtures("context")
def test_texts_leave_in_the_order_they_came(settings: Settings, memory: list[gateways.Sent], clock: Traveller) -> None:
    for n in range(3):
        ask(settings, number(n))
        clock.shift(1)
    delivery.deliver(settings)
    assert [sent.telephone_number for sent in memory] == [number(n) for n in range(3)]


@pytest.mark.usefixtures("context")
def test_a_text_that_was_lost_on_the_way_is_tried_again(
    settings: Settings, clock: Traveller, break_gateway: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender died while sending; another one claims it when the lease has ended."""
    ask(settings)
    break_gateway()
    with pytest.raises(ConnectionError):
        outbox.deliver_next(settings)
    monkeypatch.undo()
    clock.shift(outbox.POLICY.lease - timedelta(seconds=1))
    assert outbox.deliver_next(settings) is False
    clock.shift(1)
    assert outbox.deliver_next(settings) is True
    assert [sent.telephone_number for sent in gateways.memory] == [ANNA]
    assert waiting() == 0


@pytest.mark.usefixtures("context")
def test_a_text_whose_code_has_expired_is_given_up(settings: Settings, clock: Traveller, memory: list[gateways.Sent]) -> None:
    ask(settings)
    clock.shift(300)
    delivery.deliver(settings)
    assert memory == []
    kept = only_text()
    assert (kept.state, kept.ended_at is not None) == (MessageState.GIVEN_UP, True)


@pytest.mark.usefixtures("context")
def test_a_text_whose_code_was_used_is_not_sent(settings: Settings, memory: list[gateways.Sent]) -> None:
    verification = ask(settings)
    confirm(settings, verification, right(settings, verification))
    delivery.deliver(settings)
    assert memory == []
    assert waiting() == 0


@pytest.mark.usefixtures("context")
def test_the_outbox_holds_no_words(settings: Settings) -> None:
    verification = ask(settings)
    stored = everything_stored()
    assert not any("Hammer" in value or value == right(settings, verification) for value in stored)


@pytest.mark.usefixtures("context")
def test_a_text_goes_with_its_verification(settings: Settings) -> None:
    ask(settings, ANNA)
    ask(settings, BORIS)
    db.session.query(Verification).filter_by(telephone_number=ANNA).delete()
    assert db.session.query(Message).count() == 1


def test_each_text_is_sent_once_however_many_threads_send(app: Flask, settings: Settings, memory: list[gateways.Sent]) -> None:
    with app.app_context():
        for n in range(20):
            ask(settings, number(n))

    def send_all() -> None:
        with app.app_context():
            delivery.deliver(settings)

    at_once([send_all] * 6)
    with app.app_context():
        delivery.deliver(settings)
        assert waiting() == 0
    assert sorted(sent.telephone_number for sent in memory) == [number(n) for n in range(20)]


def test_the_console_takes_its_time_and_prints(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert gateways.send(replace(settings, sms_url="console://", sms_delay=timedelta(seconds=0.01)), ANNA, "Hello")
    printed = capsys.readouterr()
    assert ANNA in printed.err
    assert "Hello" in printed.err
    assert printed.out == ""


@pytest.mark.usefixtures("context")
def test_a_text_whose_senders_died_is_given_up_after_its_last_try(
    settings: Settings,
    break_gateway: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    clock: Traveller,
    memory: list[gateways.Sent],
) -> None:
    ask(replace(settings, code_ttl=timedelta(hours=1)))
    for _ in range(outbox.POLICY.most_tries):
        break_gateway()
        with pytest.raises(ConnectionError):
            outbox.deliver_next(settings)
        clock.shift(outbox.POLICY.lease)
    monkeypatch.undo()

    assert outbox.deliver_next(settings)
    assert waiting() == 0
    assert memory == []


# Tries


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


@pytest.mark.usefixtures("context")
@pytest.mark.requirement("SMS-03")
def test_a_gateway_that_fails_is_tried_again_and_again_with_growing_waits(
    settings: Settings, gateway: FakeGateway, clock: Traveller, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(settings, sms_url=gateway.template, code_ttl=timedelta(minutes=10))
    gateway.status = 503
    ask(settings)
    waits = []
    for _ in range(outbox.POLICY.most_tries - 1):
        before = clock_module.now()
        assert outbox.deliver_next(settings)
        assert outbox.deliver_next(settings) is False, "It is not tried again at once."
        waits.append((only_text().due_at - before).total_seconds())
        clock.shift(waits[-1])
    assert outbox.deliver_next(settings)
    given_up = only_text()
    assert (given_up.state, given_up.tries, given_up.gateway) == (MessageState.GIVEN_UP, outbox.POLICY.most_tries, None)
    assert f"Text {given_up.id} was given up after 8 tries." in caplog.messages
    assert outbox.deliver_next(settings) is False
    for wait, about in zip(waits, [2, 4, 8, 16, 32, 60, 60], strict=True):
        assert 0.75 * about <= wait <= 1.25 * about
    assert len(gateway.asked) == outbox.POLICY.most_tries


@pytest.mark.usefixtures("context")
def test_a_gateway_that_comes_back_gets_what_waited_for_it(settings: Settings, gateway: FakeGateway, clock: Traveller) -> None:
    settings = replace(settings, sms_url=gateway.template)
    gateway.status = 503
    ask(settings)
    outbox.deliver_next(settings)
    gateway.status = 200
    clock.shift(3)
    outbox.deliver_next(settings)
    sent = only_text()
    assert (sent.state, sent.tries, sent.gateway) == (MessageState.SENT, 2, "http/1")
    assert sent.ended_at == clock_module.now()


@pytest.mark.usefixtures("context")
def test_texts_that_failed_together_are_not_retried_together(settings: Settings, gateway: FakeGateway, clock: Traveller) -> None:
    settings = replace(settings, sms_url=gateway.template)
    gateway.status = 503
    for n in range(5):
        ask(settings, number(n))
    delivery.deliver(settings)
    db.session.expire_all()
    assert len({text.due_at for text in db.session.query(Message)}) == 5


@pytest.mark.usefixtures("context")
def test_a_text_whose_code_was_used_is_needed_no_more_and_no_fault(settings: Settings, gateway: FakeGateway) -> None:
    verification = ask(settings)
    confirm(settings, verification, right(settings, verification))
    assert outbox.deliver_next(replace(settings, sms_url=gateway.template))
    assert (only_text().state, only_text().tries, gateway.asked) == (MessageState.UNNEEDED, 1, [])
    [finding] = [finding for finding in doctor.examine(settings) if finding.part == "texts"]
    assert finding.state == doctor.FINE


@pytest.mark.usefixtures("context")
def test_a_code_that_expires_between_two_tries_is_given_up(settings: Settings, gateway: FakeGateway, clock: Traveller) -> None:
    settings = replace(settings, sms_url=gateway.template)
    gateway.status = 503
    ask(settings)
    outbox.deliver_next(settings)
    clock.shift(settings.code_ttl)
    gateway.status = 200
    assert outbox.deliver_next(settings)
    assert (only_text().state, len(gateway.asked)) == (MessageState.GIVEN_UP, 1)


def test_a_sender_that_was_too_slow_changes_nothing(settings: Settings, app: Flask, gateway: FakeGateway, clock: Traveller) -> None:
    """Its lease ended while it waited for the gateway, and another sender sent the text. Its own failure must not count."""
    with app.app_context():
        ask(settings)
    gateway.open.clear()
    gateway.status = 503

    def send_slowly() -> None:
        with app.app_context():
            outbox.deliver_next(replace(settings, sms_url=gateway.template))

    slow = threading.Thread(target=send_slowly)
    slow.start()
    assert gateway.arrived.wait(30)
    clock.shift(outbox.POLICY.lease)
    with app.app_context():
        assert outbox.deliver_next(settings)
        due_at = only_text().due_at
        gateway.open.set()
        slow.join(30)
        assert only_text().due_at == due_at
        assert (only_text().state, only_text().gateway, only_text().tries) == (MessageState.SENT, "memory/1", 2)


@pytest.mark.requirement("SMS-03")
def test_a_request_is_answered_while_the_gateway_hangs(serve: Callable[..., Server], gateway: FakeGateway) -> None:
    """No request waits for the gateway, and no text is lost."""
    gateway.open.clear()
    server = serve(HAMMER_SMS_URL=gateway.template)
    for n in range(6):  # more than there are sender threads
        server.ask(number(n))
    assert gateway.arrived.wait(30)
    assert not gateway.open.is_set(), "The gateway has answered no request yet."
    assert states(server.database_url) == {MessageState.WAITING: 6}
    gateway.open.set()
    wait_until(lambda: set(states(server.database_url)) == {MessageState.SENT})
    assert set(gateway.texts_to()) == {number(n) for n in range(6)}


# Receipts


def reported(app: Flask, url: str, status: str) -> int:
    """The status with which the URL of a receipt answers."""
    answer = app.test_client().get(urlsplit(url).path, query_string={"status": status})
    return answer.status_code


@pytest.fixture
def receipt(app: Flask, settings: Settings) -> str:
    """The receipt URL of a text that a gateway took."""
    with app.app_context():
        ask(settings)
        outbox.deliver_next(settings)
        return outbox.receipt_url(settings, only_text())


def state(app: Flask) -> str:
    with app.app_context():
        return only_text().state


@pytest.mark.parametrize(
    ("reports", "becomes"),
    [
        (["8", "1"], MessageState.DELIVERED),
        (["DELIVRD"], MessageState.DELIVERED),
        (["delivered"] * 5, MessageState.DELIVERED),
        (["8"], MessageState.SENT),
        (["16"], MessageState.FAILED),
        (["undelivered"], MessageState.FAILED),
        (["2", "1"], MessageState.DELIVERED),
        (["1", "2"], MessageState.DELIVERED),
        (["queued", "", "🙂", "1" * 5000], MessageState.SENT),
    ],
)
def test_a_receipt_says_what_became_of_a_text(app: Flask, receipt: str, reports: list[str], becomes: str) -> None:
    assert {reported(app, receipt, report) for report in reports} == {204}
    assert state(app) == becomes


def test_a_receipt_changes_the_state_of_its_text_and_nothing_else(app: Flask, receipt: str, settings: Settings) -> None:
    with app.app_context():
        ask(settings, BORIS)
        before = everything_stored()
    reported(app, receipt, "1")
    with app.app_context():
        after = everything_stored()
    assert sorted(after) == sorted([MessageState.DELIVERED if value == MessageState.SENT else value for value in before])


def test_a_gateway_reports_as_often_as_it_likes(app_with: Callable[[Settings], Flask], settings: Settings) -> None:
    """All its reports come from one address, and are not limited."""
    app = app_with(replace(settings, requests_per_address_minute=2))
    with app.app_context():
        ask(settings)
        outbox.deliver_next(settings)
        url = outbox.receipt_url(settings, only_text())
    assert [reported(app, url, "8") for _ in range(5)] == [204] * 5


def test_a_receipt_that_we_did_not_make_costs_no_statement(
    app: Flask, receipt: str, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with statements() as seen:
        assert reported(app, receipt[:-3] + "x/", "1") == 404
    assert seen == []


def test_a_forged_receipt_is_unknown(app: Flask, receipt: str) -> None:
    path = urlsplit(receipt).path
    id_, moment, signature = path.removeprefix("/receipts/").rstrip("/").split(".")
    forged = [f"{id_}.{moment}.{signature[::-1]}", f"{int(id_) + 1}.{moment}.{signature}", f"{id_}.{int(moment) + 1}.{signature}"]
    forged += [
        f"{id_}.{moment}.{signature[:-1]}",
        f"{id_}.{moment}.",
        f"{id_}.{signature}",
        id_,
        f"²{path[10:-1]}",
        f"{'9' * 30}.1.{signature}",
    ]
    forged += [f"{id_}.{moment}.ключ"]
    for receipt_ in forged:
        assert reported(app, f"http://x/receipts/{receipt_}/", "1") == 404, receipt_
    assert state(app) == MessageState.SENT


def test_a_receipt_names_no_number_and_ends_with_its_text(app: Flask, receipt: str, settings: Settings, clock: Traveller) -> None:
    """SQLite reuses the ids of deleted texts. A receipt of the deleted text must not change the new one."""
    assert ANNA[1:] not in receipt
    with app.app_context():
        clock.shift(timedelta(days=2))
        retention.prune(settings)
        ask(settings, BORIS)
        outbox.deliver_next(settings)
        assert outbox.receipt_url(settings, only_text()) != receipt
    assert reported(app, receipt, "1") == 204
    assert state(app) == MessageState.SENT


@pytest.mark.parametrize("report", ["delivered", "failed"])
def test_a_receipt_may_come_before_the_text_is_recorded_as_sent(
    app: Flask, settings: Settings, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reporting(list[gateways.Sent]):
        def append(self, sent: gateways.Sent) -> None:
            super().append(sent)
            thread = threading.Thread(target=reported, args=(app, url, report))
            thread.start()
            thread.join(30)

    with app.app_context():
        ask(settings)
        url = outbox.receipt_url(settings, only_text())
        monkeypatch.setattr(gateways, "memory", Reporting())
        outbox.deliver_next(settings)
    assert state(app) == (MessageState.DELIVERED if report == "delivered" else MessageState.SENT)


def test_what_arrived_is_not_sent_again_though_its_sender_died(
    app: Flask, settings: Settings, clock: Traveller, break_gateway: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        ask(settings)
        url = outbox.receipt_url(settings, only_text())
        break_gateway()
        with pytest.raises(ConnectionError):
            outbox.deliver_next(settings)
        monkeypatch.undo()
        assert state(app) == MessageState.WAITING
        reported(app, url, "1")
        clock.shift(outbox.POLICY.lease)
        assert outbox.deliver_next(settings) is False
    assert state(app) == MessageState.DELIVERED
    assert gateways.memory == []


# Counts and lists


@pytest.mark.usefixtures("context")
def test_texts_are_counted_by_state_and_gateway(settings: Settings, gateway: FakeGateway, clock: Traveller) -> None:
    assert outbox.status() == outbox.OutboxStatus({}, 0, timedelta(0))
    for n in range(3):
        ask(settings, number(n))
    delivery.deliver(settings)
    ask(settings, number(3))
    clock.shift(7)
    ask(settings, number(4))
    assert outbox.status() == outbox.OutboxStatus(
        {(MessageState.SENT, "memory/1"): 3, (MessageState.WAITING, ""): 2}, 2, timedelta(seconds=7)
    )
    assert [text.id for text in outbox.newest(settings, 2).items] == [5, 4]
    [newest] = [gauge for gauge in gauges.read(settings) if gauge.name == "texts_newest"]
    assert dict(newest.values) == {
        (MessageState.SENT, "memory/1"): 3,
        (MessageState.WAITING, ""): 2,
        (MessageState.GIVEN_UP, ""): 0,
        (MessageState.UNNEEDED, ""): 0,
    }
    assert [text.state for text in outbox.newest(settings, 10, state=MessageState.SENT).items] == [MessageState.SENT] * 3


def test_the_command_lists_texts_without_whole_numbers_and_codes(app: Flask, settings: Settings) -> None:
    listed = app.test_cli_runner().invoke(args=["texts", "list"])
    assert (listed.stdout, listed.stderr) == ("", "There are no texts.\n")
    with app.app_context():
        code = right(settings, ask(replace(settings, code_length=8)))  # so many digits stand in no moment by chance
        delivery.deliver(settings)
        ask(settings, BORIS)
    listed = app.test_cli_runner().invoke(args=["texts", "list"])
    assert "+7········01  sent     memory/1  1" in listed.stdout
    assert "Of the newest 1000: 1 sent by memory/1, 1 waiting.\n1 waits, the oldest for 0 seconds." in listed.stderr
    assert code not in listed.output
    assert ANNA[1:] not in listed.output
    assert app.test_cli_runner().invoke(args=["texts", "list", "--state", "given up"]).stdout == ""


def test_the_command_sends_one_real_text_and_reports_each_gateway(
    app_with: Callable[[Settings], Flask], settings: Settings, gateway: FakeGateway
) -> None:
    with fake_gateway() as second:
        gateway.status = 500
        app = app_with(replace(settings, sms_url=f"{gateway.template} {second.template}"))
        tried = app.test_cli_runner().invoke(args=["texts", "try", "8 929 000-00-01"])
        assert tried.exit_code == 0
        assert "http/1: answered 500, after" in tried.stdout
        assert "http/2: took the text, after" in tried.stdout
        assert second.texts_to() == {ANNA: 1}
        second.status = 500
        tried = app.test_cli_runner().invoke(args=["texts", "try", ANNA])
        assert (tried.exit_code, tried.stderr) == (1, "No gateway took it. To see what is wrong: flask --app wsgi doctor\n")


def test_doctor_reports_texts_that_wait_or_were_given_up(app: Flask, settings: Settings, clock: Traveller) -> None:
    def of_texts() -> tuple[str, str]:
        with app.app_context():
            [finding] = [finding for finding in doctor.examine(settings) if finding.part == "texts"]
            return finding.state, finding.how

    assert of_texts()[0] == doctor.FINE
    with app.app_context():
        ask(settings)
    clock.shift(doctor.WAITS_LONG + timedelta(seconds=30))
    assert of_texts() == (doctor.ADVICE, "one has waited for 2 minutes")
    clock.shift(settings.code_ttl)
    with app.app_context():
        delivery.deliver(settings)
    assert of_texts() == (doctor.ADVICE, "1 of the newest 1000 were given up, or did not arrive")
