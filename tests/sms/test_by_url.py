"""Gateways that are called by URL: how long a text is valid, what a good answer is, and connections that are kept."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import transaction
from hammer.sms import by_url, gateways, outbox
from tests.actions import ANNA, BORIS, ask
from tests.conftest import SETTINGS
from tests.fake_gateway import FakeGateway, fake_gateway

TEXT = "Hammer: 1234"


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


@pytest.fixture(autouse=True)
def no_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has none yet."""
    monkeypatch.setattr(by_url, "_kept", by_url._Kept())


def through(*urls: str) -> Settings:
    return replace(SETTINGS, sms_url=" ".join(urls))


def fault(url: str) -> str:
    [outcome] = gateways.outcomes(through(url), ANNA, TEXT)
    return outcome.fault


# Validity


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(("later", "minutes"), [(0, "5"), (1, "4"), (60, "4"), (181, "1"), (299, "1")])
def test_a_gateway_learns_how_many_minutes_the_code_is_valid(
    settings: Settings, gateway: FakeGateway, clock: Traveller, later: int, minutes: str
) -> None:
    ask(settings)
    clock.shift(later)
    assert outbox.deliver_next(replace(settings, sms_url=f"{gateway.template}&validity={{validity}}"))
    assert [asked.query["validity"] for asked in gateway.asked] == [minutes]


@pytest.mark.usefixtures("context")
def test_a_text_without_a_code_is_valid_for_a_day(settings: Settings, gateway: FakeGateway) -> None:
    with transaction() as tx:
        outbox.add_notice(tx, BORIS, "en")
    outbox.deliver_next(replace(settings, sms_url=f"{gateway.template}&validity={{validity}}"))
    assert [asked.query["validity"] for asked in gateway.asked] == ["1440"]


def test_the_next_gateway_gets_the_time_that_is_left(gateway: FakeGateway, clock: Traveller) -> None:
    expires_at, url = time_of_day.now() + timedelta(minutes=2), f"{gateway.template}&validity={{validity}}"
    gateway.status = 500
    for _ in gateways.outcomes(through(url, url), ANNA, TEXT, expires_at=expires_at):
        clock.shift(1)
    assert [asked.query["validity"] for asked in gateway.asked] == ["2", "1"]


# What a good answer is


@pytest.mark.parametrize(
    ("rule", "body", "taken"),
    [
        ("OK", b"OK 4711", True),
        ("OK", b"ERROR 3: no money", False),
        ("OK", b"ok 4711", False),
        ("%22error%22:0,", b'{ "error" : 0, "id": 7 }', True),
        ("%22error%22:%200,", b'{"error":0,"id":7}', True),
        ("%22error%22:0,", b'{"error":7,"id":0}', False),
        ('{"ok":true', b'{\n  "ok": true\n}', True),
        ("%D0%B4%D0%B0", "да".encode(), True),
        ("OK", b"", False),
        ("OK", b" " * by_url.MOST_OF_BODY + b"OK", False),
        ("OK", b"\xff\x00OK", True),
    ],
)
def test_a_text_is_taken_if_the_body_contains_what_the_url_names(gateway: FakeGateway, rule: str, body: bytes, taken: bool) -> None:
    gateway.body = body
    assert fault(f"{gateway.template}#body={rule}") == ("" if taken else "answered 200 with another body")
    assert gateway.asked[0].query == {"to": ANNA, "text": TEXT}, "The rule was sent along."


def test_the_next_gateway_is_asked_when_an_error_is_in_the_body(gateway: FakeGateway) -> None:
    gateway.body = b'{"status": "ERROR"}'
    with fake_gateway() as second:
        both = through(f'{gateway.template}#body="status":"OK"', second.template)
        assert gateways.send(both, ANNA, TEXT) == "http/2"


def test_a_good_body_does_not_make_a_bad_status_good(gateway: FakeGateway) -> None:
    gateway.status = 500
    assert fault(f"{gateway.template}#body=ok") == "answered 500"


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """The URL of a gateway that sends this at once, and then a letter now and then until its client has gone."""
    gone = threading.Event()

    def drip() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(head)
            while not gone.wait(0.05):
                try:
                    connection.sendall(b"a")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        listening.settimeout(30)
        pool.submit(drip)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/?to={{to}}&text={{text}}"
        finally:
            gone.set()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"


def test_the_status_counts_before_the_body_has_come() -> None:
    """Otherwise a text that was accepted would be sent by the next gateway too."""
    with dripping(HEAD) as url:
        assert fault(url) == ""


def test_a_body_that_never_ends_is_given_no_more_time_than_a_gateway_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "GATEWAY_SECONDS", 0.3)
    with dripping(HEAD) as url:
        assert fault(f"{url}#body=OK") in ("no answer in 0.3 seconds", "answered 200 with another body")


# Connections


def drained(gateway: FakeGateway, many: int) -> None:
    """Sends this many texts, each when the answer to the one before was read whole."""
    for _ in range(many):
        assert fault(gateway.template) == ""
        for thread in [thread for thread in threading.enumerate() if thread.name == "gateway"]:
            thread.join(30)


def test_texts_go_through_one_connection(gateway: FakeGateway) -> None:
    drained(gateway, 5)
    assert (gateway.connections, len(gateway.asked)) == (1, 5)


def test_texts_at_one_moment_have_connections_of_their_own(gateway: FakeGateway) -> None:
    gateway.open.clear()
    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(fault, gateway.template) for _ in range(4)]
        while len(gateway.asked) < 4:
            time.sleep(0.01)
        gateway.open.set()
        assert [each.result() for each in sent] == [""] * 4
    drained(gateway, 8)
    assert (gateway.connections, len(gateway.asked)) == (4, 12)


def test_a_connection_that_the_gateway_closed_is_replaced_without_a_doubled_text(gateway: FakeGateway) -> None:
    drained(gateway, 1)
    gateway.hang_up()
    drained(gateway, 1)
    assert (gateway.connections, len(gateway.asked)) == (2, 2)


def test_a_connection_that_ends_without_an_answer_is_a_fault_and_nothing_is_sent_again(gateway: FakeGateway) -> None:
    drained(gateway, 1)
    gateway.open.clear()
    gateway.arrived.clear()
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(fault, gateway.template)
        assert gateway.arrived.wait(30)
        gateway.hang_up()
        assert sent.result() == "ConnectionError"
    gateway.open.set()
    assert len(gateway.asked) == 2


def test_a_connection_that_was_idle_for_long_is_not_used_again(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    drained(gateway, 2)
    monkeypatch.setattr(by_url, "IDLE_SECONDS", -1.0)
    drained(gateway, 2)
    assert gateway.connections == 3


def test_no_cookie_of_a_gateway_is_kept(gateway: FakeGateway) -> None:
    gateway.headers["Set-Cookie"] = "id=1; Path=/"
    drained(gateway, 2)
    assert "Cookie" not in gateway.asked[-1].headers


# The time of each


def test_each_gateway_is_asked_though_all_before_it_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "ALL_SECONDS", 6.0)
    with ExitStack() as stack:
        hanging = [stack.enter_context(fake_gateway()) for _ in range(3)]
        last = stack.enter_context(fake_gateway())
        for one in hanging:
            one.open.clear()
        found = list(gateways.outcomes(through(*(one.template for one in [*hanging, last])), ANNA, TEXT))
        *faults, none = [outcome.fault for outcome in found]
        assert [fault.startswith("no answer in ") for fault in faults] == [True] * 3
        assert none == ""
        assert last.texts_to() == {ANNA: 1}


def test_time_that_one_gateway_did_not_need_is_left_to_the_others(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "ALL_SECONDS", 4.0)
    gateway.status = 500
    with fake_gateway() as hanging:
        hanging.open.clear()
        found = [outcome.fault for outcome in gateways.outcomes(through(gateway.template, hanging.template), ANNA, TEXT)]
    assert found[0] == "answered 500"
    assert float(found[1].split()[3]) > 2.0, "It had half of the time, as if the first one had used its own."
