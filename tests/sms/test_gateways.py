"""Each kind of gateway, the order among several, and what logs and errors say about them."""

import logging
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import apprise
import pytest
from apprise.plugins.twilio import NotifyTwilio

import config
from config import Misconfigured, Settings
from hammer.sms import gateways, messages, outbox
from hammer.sms.gateways import ALL_SECONDS, GATEWAY_SECONDS, Outcome
from tests.actions import ANNA
from tests.conftest import SETTINGS
from tests.fake_gateway import FakeGateway, fake_gateway

TEXT = "Hammer: 1234 — код для входа.\n@a.ru #1234"
PASSWORD = "pa55word-of-the-gateway"
TWILIO = f"twilio://AC{'a' * 32}:{'b' * 32}@15551234567/{{phone}}"
DOCUMENT = (Path(__file__).parent.parent.parent / "docs" / "texts.md").read_text()


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


@pytest.fixture
def away() -> str:
    """A gateway that is away."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://user:{PASSWORD}@127.0.0.1:{probe.getsockname()[1]}/?to={{to}}&text={{text}}"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short time limit, so that the test is fast."""
    monkeypatch.setattr(gateways, "GATEWAY_SECONDS", 0.5)


def through(*urls: str) -> Settings:
    return replace(SETTINGS, sms_url=" ".join(urls))


def refused(value: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    for name, set_to in (environment | {"HAMMER_SMS_URL": value}).items():
        monkeypatch.setenv(name, set_to)
    with pytest.raises(Misconfigured) as no:
        config.read()
    return "\n".join(problem for problem in no.value.problems if problem.startswith("HAMMER_SMS_URL: "))


# By URL


def test_number_and_text_are_encoded_in_a_url(gateway: FakeGateway) -> None:
    assert gateways.send(through(gateway.template), ANNA, TEXT) == "http/1"
    [asked] = gateway.asked
    assert (asked.method, asked.path, asked.query) == ("GET", "/send", {"to": ANNA, "text": TEXT})
    assert "Authorization" not in asked.headers


def test_a_form_is_posted_where_the_url_says_so(gateway: FakeGateway) -> None:
    url = f"post+http://user:p%40ss@127.0.0.1:{gateway.port}/v1/messages?from=Hammer&to={{to}}&text={{text}}"
    assert gateways.send(through(url), ANNA, TEXT) == "http/1"
    [asked] = gateway.asked
    assert (asked.method, asked.path, asked.query) == ("POST", "/v1/messages", {})
    assert asked.form == {"from": "Hammer", "to": ANNA, "text": TEXT}
    assert asked.headers["Authorization"] == f"Basic {b64encode(b'user:p@ss').decode()}"


def test_the_receipts_address_and_the_coding_go_along(gateway: FakeGateway) -> None:
    url = f"{gateway.template}&coding={{coding}}&dlr-url={{dlr}}?status=%25d"
    gateways.send(through(url), ANNA, TEXT, "https://login.example.com/receipts/1.abc/")
    gateways.send(through(url), ANNA, "Hello")
    assert [asked.query["coding"] for asked in gateway.asked] == ["2", "0"]
    assert gateway.asked[0].query["dlr-url"] == "https://login.example.com/receipts/1.abc/?status=%d"


@pytest.mark.parametrize(
    ("status", "fault"), [(200, ""), (202, ""), (302, "answered 302"), (403, "answered 403"), (503, "answered 503")]
)
def test_an_answer_of_two_hundred_and_something_is_success(gateway: FakeGateway, status: int, fault: str) -> None:
    gateway.status = status
    [outcome] = gateways.outcomes(through(gateway.template), ANNA, TEXT)
    assert outcome.fault == fault
    assert [asked.path for asked in gateway.asked] == ["/send"], "It followed where it was sent."


# Several


@pytest.mark.requirement("SMS-03")
def test_the_next_gateway_takes_what_the_first_does_not(gateway: FakeGateway, away: str) -> None:
    gateway.status = 500
    with fake_gateway() as third:
        names = [
            (outcome.gateway, outcome.fault)
            for outcome in gateways.outcomes(through(away, gateway.template, third.template), ANNA, TEXT)
        ]
        assert names == [("http/1", "ConnectionError"), ("http/2", "answered 500"), ("http/3", "")]
        assert third.texts_to() == {ANNA: 1}


def test_the_second_is_not_asked_when_the_first_takes_a_text(gateway: FakeGateway) -> None:
    with fake_gateway() as second:
        assert gateways.send(through(gateway.template, second.template), ANNA, TEXT) == "http/1"
        assert second.asked == []


@pytest.mark.usefixtures("short")
@pytest.mark.requirement("SMS-03")
def test_a_gateway_that_hangs_is_left_for_the_next(gateway: FakeGateway) -> None:
    gateway.open.clear()
    with fake_gateway() as second:
        assert gateways.send(through(gateway.template, second.template), ANNA, TEXT) == "http/2"
    assert not gateway.open.is_set()


@pytest.mark.usefixtures("short")
def test_a_gateway_that_hung_is_asked_last_for_a_while(gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every text would wait for it first."""
    gateway.open.clear()
    with fake_gateway() as second:
        both = through(gateway.template, second.template)
        assert [gateways.send(both, ANNA, TEXT) for _ in range(5)] == ["http/2"] * 5
        assert len(gateway.asked) == 1
        gateway.open.set()
        second.status = 500
        assert [(outcome.gateway, outcome.fault) for outcome in gateways.outcomes(both, ANNA, TEXT)] == [
            ("http/2", "answered 500"),
            ("http/1", ""),
        ]
        monkeypatch.setattr(gateways, "_slow_until", dict.fromkeys(both.gateways, 0.0))
        assert gateways.send(both, ANNA, TEXT) == "http/1"


def test_a_gateway_that_refuses_a_text_at_once_is_asked_first_again(gateway: FakeGateway) -> None:
    """It may have been the number's fault."""
    gateway.status = 400
    with fake_gateway() as second:
        both = through(gateway.template, second.template)
        assert [gateways.send(both, ANNA, TEXT) for _ in range(2)] == ["http/2"] * 2
        assert len(gateway.asked) == 2


@pytest.mark.usefixtures("short")
@pytest.mark.requirement("SMS-03")
def test_a_gateway_that_answers_byte_by_byte_gets_no_more_time(away: str) -> None:
    """The time limits of libraries start again with every byte; ours does not."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        letters: list[bytes] = []

        def drip() -> str:
            connection, _ = listening.accept()
            with connection:
                for letter in b"HTTP/1.1 200 OK\r\nX-" + b"a" * 5:
                    connection.sendall(bytes([letter]))
                    letters.append(bytes([letter]))
                    time.sleep(0.05)
            return ""

        with ThreadPoolExecutor(1) as pool:
            pool.submit(drip)
            port = listening.getsockname()[1]
            [outcome] = gateways.outcomes(through(f"http://127.0.0.1:{port}/?to={{to}}&text={{text}}"), ANNA, TEXT)
            assert outcome.fault == "no answer in 0.5 seconds"
            assert b"200" not in b"".join(letters[-3:]) or len(letters) < 24


@pytest.mark.processes
def test_a_process_ends_while_a_gateway_hangs() -> None:
    """It hangs until its input is closed, which is when its process has ended."""
    program = "import os; from hammer.sms import gateways; print(gateways._within(0.1, lambda: str(os.read(0, 1))))"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.wait(60) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "no answer in 0.1 seconds\n"


def test_only_the_kind_of_a_fault_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> str:
        raise ZeroDivisionError(PASSWORD)

    assert gateways._within(60, fail) == "ZeroDivisionError"
    for thread in [thread for thread in threading.enumerate() if thread.name == "gateway"]:
        thread.join(60)
    assert capfd.readouterr() == ("", "")


@pytest.mark.requirement("SMS-03")
def test_all_gateways_together_take_less_than_a_claim_holds() -> None:
    assert GATEWAY_SECONDS <= 5
    assert outbox.POLICY.lease.total_seconds() - ALL_SECONDS >= GATEWAY_SECONDS


@pytest.mark.requirement("SMS-03")
def test_no_gateway_is_asked_when_the_time_is_over(gateway: FakeGateway, away: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "ALL_SECONDS", 0.0)
    assert list(gateways.outcomes(through(away, gateway.template), ANNA, TEXT)) == []
    assert gateways.send(through(away, gateway.template), ANNA, TEXT) is None


# Logs and errors


@pytest.mark.requirement("LOG-02")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_log_names_a_number_a_code_or_a_password(
    gateway: FakeGateway, away: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.status = 500
    monkeypatch.setattr(NotifyTwilio, "notify_sms_url", gateway.url + "/{}/Messages.json")
    caplog.set_level(logging.DEBUG)
    assert gateways.send(through(away, gateway.template, TWILIO), ANNA, TEXT) is None
    assert "Gateway http/1 did not take a text: ConnectionError." in caplog.messages
    assert "Gateway twilio/3 did not take a text: refused or away." in caplog.messages
    for secret in (ANNA[1:], "1234", PASSWORD, "b" * 32, "127.0.0.1"):
        assert secret not in caplog.text


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "Names no gateway."),
        (" ".join(["console://"] * 5), "Names more than 4 gateways."),
        (f"pigeon://user:{PASSWORD}@loft/{{phone}}", "Gateway 1 is of no kind"),
        (PASSWORD, "Gateway 1 is of no kind"),
        (f"console:// twilio://sid:{PASSWORD}@from/+79290000001", "Gateway 2 (twilio) does not say with {phone}"),
        (f"https://user:{PASSWORD}@host/?to={{to}}", "Gateway 1 needs the placeholders {to} and {text}"),
        (f"https://user:{PASSWORD}@host:port/?to={{to}}&text={{text}}", "Gateway 1 is no address"),
        (f"https://user:{PASSWORD}@[::/?to={{to}}&text={{text}}", "Gateway 1 is no address"),
        (f"https:///?to={{to}}&text={{text}}&p={PASSWORD}", "Gateway 1 is no address"),
        (f"https://{{to}}.example/?to={{to}}&text={{text}}&p={PASSWORD}", "Gateway 1 is no address"),
        (f"https://host/?to={{to}}&text={{text}}&id={{id}}&p={PASSWORD}", "Gateway 1 has 1 unknown placeholders"),
        (f"https://host/?to={{to}}&text={{text}}&p={PASSWORD}#ok", "Gateway 1 says after # something else than body="),
        (f"https://host/?to={{to}}&text={{text}}&p={PASSWORD}#body=", "Gateway 1 says after # something else than body="),
        (f"https://host/?to={{to}}&text={{text}}&p={PASSWORD}#body=%20%0A", "Gateway 1 says after # something else than body="),
        (f"https://host/?to={{to}}&text={{text}}#body={PASSWORD * 10}", "Gateway 1 says after # something else than body="),
        (f"https://host/?to={{to}}&p={PASSWORD}#body={{text}}", "Gateway 1 needs the placeholders {to} and {text}"),
        (f"sns://KEY/{PASSWORD}/eu-central-1", "Gateway 1 names a region alone"),
        (f"smpp://user:{PASSWORD}@host/from/{{phone}}", "Gateway 1 is of no kind"),
        (f"console://{PASSWORD}", "Gateway 1 is console:// alone."),
    ],
)
def test_nonsense_is_refused_by_its_place_and_never_repeated(url: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused(url, monkeypatch, SECRET_KEY="only for the tests, 32 bytes and more of it")
    assert problem in said
    assert PASSWORD not in said


@pytest.mark.parametrize("url", ["console://", "memory://", "https://h/?to={to}&text={text} console://"])
@pytest.mark.requirement("SMS-06")
def test_production_refuses_gateways_that_show_codes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Name a real gateway" in refused(url, monkeypatch, HAMMER_ENV="production")


@pytest.mark.requirement("SMS-06")
def test_production_takes_a_real_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        assert refused(f"{TWILIO} sns://eu-central-1", monkeypatch, HAMMER_ENV="production")


def test_what_a_library_cannot_read_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    gateways.check(through(TWILIO, "sns://eu-central-1", "console://"))
    with pytest.raises(Misconfigured, match=r"Gateway 2 \(twilio\)") as no:
        gateways.check(through("console://", f"twilio://AC1:{PASSWORD}@1/{{phone}}"))
    assert PASSWORD not in str(no.value)
    monkeypatch.setitem(sys.modules, "boto3", None)  # as if it were not installed
    gateways._sns_client.cache_clear()
    with pytest.raises(Misconfigured, match="pip install boto3"):
        gateways.check(through("sns://eu-central-1"))
    monkeypatch.undo()
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Misconfigured, match=r"Gateway 1 \(sns\) does not fit the AWS_… settings: ProfileNotFound"):
        gateways.check(through("sns://eu-central-1"))
    gateways._sns_client.cache_clear()


def test_a_server_that_sends_texts_does_not_start_with_what_a_library_cannot_read(app_with: Callable[..., object]) -> None:
    wrong = replace(
        through("twilio://AC1:b@1/{phone}"), env="development", sms_threads=1, database_url="sqlite:////nowhere/x.sqlite3"
    )
    with pytest.raises(Misconfigured, match="apprise"):
        app_with(wrong)


# The document


def example(url: str) -> str:
    """The address of the document, with values as the service has them."""
    values = {
        "ACCOUNT_SID": "AC" + "a" * 32, "AUTH_TOKEN": "b" * 32,
        "FROM": "15551234567", "SOURCE": "15551234567", "SENDER": "15551234567",
        "HOST": "gateway.example", "TEMPLATE": "t" * 20, "EMAIL": "user@example.com", "AUTH_ID": "A" * 25, "SPACE_ID": "1234",
        "PLAN_ID": "c" * 32,
        "PRODUCT_TOKEN": "01234567-89ab-cdef-0123-456789abcdef", "API_KEY": "k" * 25,
    }  # fmt: skip
    for name, value in values.items():
        url = url.replace(name, value)
    return url


def documented() -> dict[str, str]:
    """Kind of gateway -> its address in the document's table."""
    rows = [
        line.split("|")[2]
        for line in DOCUMENT.split("\n## Gateways\n")[1].split("\n### ")[0].splitlines()
        if "://" in line and line[0] == "|"
    ]
    return {row.split("`")[1].split("://")[0]: row.split("`")[1] for row in rows}


def test_every_kind_of_gateway_stands_in_the_document() -> None:
    first_cells = DOCUMENT.split("\n## Gateways\n")[1].split("\n### ")[0]
    named = {kind for kind in config.SMS_SERVICES | config.OWN_GATEWAYS if f"`{kind}" in first_cells}
    assert named | {"https", "post+http"} == config.SMS_SERVICES | config.OWN_GATEWAYS


def test_apprise_knows_every_service_that_we_name() -> None:
    services = apprise.Apprise().details()["schemas"]
    known = {name for service in services for names in ("protocols", "secure_protocols") for name in service[names] or ()}
    assert known >= config.SMS_SERVICES


@pytest.mark.parametrize(("kind", "url"), sorted(documented().items()))
def test_the_documents_addresses_are_understood(kind: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMMER_SMS_URL", url)
    assert config.read().gateways == [url]
    gateways.check(through(example(url)))


# Doctor


def examined(*urls: str) -> list[gateways.GatewayStatus]:
    return list(gateways.examine(through(*urls)))


def test_doctor_asks_whether_a_gateway_answers(gateway: FakeGateway, away: str) -> None:
    there, not_there = examined(gateway.template, away)
    assert there.works
    assert there.how.startswith(f"http/1: 127.0.0.1:{gateway.port} answers. ")
    assert "a status of 200 to 299 and any body" in there.how
    [strict] = examined(f"{gateway.template}#body=%22ok%22:%20true")
    assert "a status of 200 to 299 and a body that contains '\"ok\": true'" in strict.how
    assert not not_there.works
    assert "does not answer: ConnectionRefusedError" in not_there.how
    assert PASSWORD not in str(not_there)
    assert gateway.asked == []
    [in_the_clear] = examined(gateway.template.replace("http://", "https://"))
    assert not in_the_clear.works
    assert "does not answer: SSLError" in in_the_clear.how


def test_doctor_says_what_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found.works for found in examined("console://", "memory://", TWILIO)] == [True, True, True]
    [malformed] = examined(f"twilio://AC1:{PASSWORD}@1/{{phone}}")
    assert not malformed.works
    assert PASSWORD not in str(malformed)


def test_a_console_without_a_reader_is_a_gateway_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, _: str) -> None:
            raise BrokenPipeError

        def flush(self) -> None: ...

    monkeypatch.setattr("sys.stderr", Closed())
    [outcome] = gateways.outcomes(through("console://"), ANNA, TEXT)
    monkeypatch.undo()
    assert outcome == Outcome("console/1", "BrokenPipeError", outcome.seconds)
    assert messages.fits(TEXT)
