"""Sending a message through the first gateway of `HAMMER_SMS_URL` that takes it.

Each gateway has a few seconds, and all together have a few more. Logs and errors name a gateway by its kind and its place in the
list, and a fault by its kind: gateway URLs contain passwords, and error texts of libraries contain numbers. The libraries are
large, so they are imported at the first use.
"""

import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache, partial
from queue import Empty, SimpleQueue
from threading import Thread
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from config import SMS_SERVICES, Misconfigured, Settings
from hammer import clock, measures
from hammer.sms import by_url, messages
from hammer.sms.by_url import good_answer
from hammer.tracing import spans

GATEWAY_SECONDS: Final = 4.0
"""Time limit of one gateway for one message."""
ALL_SECONDS: Final = 10.0
"""Time limit of all gateways together for one message."""
REST_SECONDS: Final = 30.0
"""How long a gateway that failed slowly is asked last."""
WITHOUT_CODE_VALID: Final = timedelta(days=1)
"""How long gateways may try to deliver a message that has no code."""
EXAMPLE_NUMBER: Final = "+79290000000"
"""A number for checking the URLs of gateways. Nothing is sent to it."""

ANSWERS: Final = measures.histogram("gateway_seconds", "How long gateways took to take a text, or to fail.", "gateway", "outcome")

log = logging.getLogger(__name__)


class Sent(NamedTuple):
    telephone_number: str
    text: str


memory: list[Sent] = []
"""What the memory gateway took, oldest first."""


class Outcome(NamedTuple):
    """What one gateway did with a message."""

    gateway: str
    """Its kind and its place in `HAMMER_SMS_URL`, like `twilio/1`."""
    fault: str
    """The kind of fault; empty if the gateway took the message."""
    seconds: float


def send(
    settings: Settings,
    telephone_number: str,
    text: str,
    receipt_url: str = "",
    *,
    expires_at: datetime | None = None,
    about: Mapping[str, object] = MappingProxyType({}),
) -> str | None:
    """The name of the gateway that took the message; None if none did. Can block for `ALL_SECONDS`: never call it in a request.

    :param expires_at: when the code of the message expires; None for a message without a code.
    :param about: the ids by which log lines name the message.
    """
    for outcome in outcomes(settings, telephone_number, text, receipt_url, expires_at):
        more = {"about": {**about, "gateway": outcome.gateway, "seconds": round(outcome.seconds, 3)}}
        if not outcome.fault:
            log.info("Gateway %s took a text after %.1f seconds.", outcome.gateway, outcome.seconds, extra=more)
            return outcome.gateway
        log.warning("Gateway %s did not take a text: %s.", outcome.gateway, outcome.fault, extra=more)
    return None


def outcomes(
    settings: Settings, telephone_number: str, text: str, receipt_url: str = "", expires_at: datetime | None = None
) -> Iterator[Outcome]:
    """Asks one gateway after the other until one takes the message or the time is over. Yields the outcome of each.

    Each has an equal share of the time that is left, so that each is asked, however many before it hang.
    """
    until = time.monotonic() + ALL_SECONDS
    slow = _slow_gateways()
    for asked, (place, url) in enumerate(sorted(enumerate(settings.gateways, 1), key=lambda gateway: gateway[1] in slow)):
        began = time.monotonic()
        if began >= until:
            return
        share = (until - began) / (len(settings.gateways) - asked)
        more = {"dlr": receipt_url, "validity": str(_minutes(expires_at))}
        with spans.span(f"gateway {_name(place, url)}", "CLIENT", {"hammer.gateway": _name(place, url)}) as span:
            fault = _fault(settings, url, Sent(telephone_number, text), more, min(GATEWAY_SECONDS, share))
            span.add({"hammer.outcome": "failed" if fault else "took"})
            if fault:
                span.fail(fault)
        took = time.monotonic() - began
        if fault and took > GATEWAY_SECONDS / 2:
            _slow_until[url] = time.monotonic() + REST_SECONDS
        ANSWERS.labels(_name(place, url), "failed" if fault else "took").observe(took)
        yield Outcome(_name(place, url), fault, took)
        if not fault:
            return


def _minutes(expires_at: datetime | None) -> int:
    """How many whole minutes are left of the code, at least one. Rounded down, so that no code arrives after its end; only in its
    last minute it can."""
    left = expires_at - clock.now() if expires_at else WITHOUT_CODE_VALID
    return max(1, left // timedelta(minutes=1))


_slow_until: dict[str, float] = {}


def _slow_gateways() -> set[str]:
    """Gateways that failed slowly in the last seconds. They are asked last, or every message would wait for them first."""
    now = time.monotonic()
    return {url for url, until in _slow_until.items() if until > now}


def _name(place: int, url: str) -> str:
    return f"{_kind(url)}/{place}"


def _kind(url: str) -> str:
    return url.partition("://")[0].removeprefix("post+")


def _fault(settings: Settings, url: str, sent: Sent, more: Mapping[str, str], seconds: float) -> str:
    kind = _kind(url)
    if kind == "memory":
        memory.append(sent)
        return ""
    if kind == "console":
        return _console(settings, sent)
    if kind in SMS_SERVICES:
        return _within(seconds, partial(_apprise, url, sent))
    if kind == "sns":
        return _within(seconds, partial(_sns, url, sent))
    _silence()
    values = {"to": sent.telephone_number, "text": sent.text, "coding": messages.kannel_coding(sent.text), **more}
    return _told_within(seconds, partial(by_url.ask, url, values, seconds, spans.headers()))


def _within(seconds: float, call: Callable[[], str]) -> str:
    """What `call` returns, or the kind of exception it raises, or that it did not answer in time."""
    return _told_within(seconds, lambda tell: tell(call()))


def _told_within(seconds: float, call: Callable[[Callable[[str], None]], None]) -> str:
    """The first that `call` tells, or the kind of exception it raises, or that it did not answer in time.

    The time limits of libraries apply to each step of a connection, and not to name resolution. So `call` runs in a thread of its
    own, which is abandoned when the time is over. It is a daemon thread: the process can end while it hangs, as it could not with a
    `ThreadPoolExecutor`.
    """
    result: SimpleQueue[str] = SimpleQueue()

    def run() -> None:
        try:
            call(result.put)
        except BaseException as fault:  # noqa: BLE001  # there is no caller above a thread: the waiting thread gets it
            result.put(type(fault).__name__)

    try:
        Thread(target=run, name="gateway", daemon=True).start()
        return result.get(timeout=seconds)
    except RuntimeError:
        return "this process is ending"
    except Empty:
        return f"no answer in {seconds:.1f} seconds"


def _console(settings: Settings, sent: Sent) -> str:
    time.sleep(settings.sms_delay.total_seconds())
    try:
        print(f"Text to {sent.telephone_number}:\n{sent.text}\n", file=sys.stderr, flush=True)
    except OSError as fault:  # the reader of stderr has gone
        return type(fault).__name__
    return ""


def _apprise(url: str, sent: Sent) -> str:
    import apprise  # noqa: PLC0415

    _silence("apprise")
    services = apprise.Apprise()
    if not services.add(_of_apprise(url, sent.telephone_number)):
        return "malformed address"
    return "" if services.notify(body=sent.text) else "refused or away"


def _of_apprise(url: str, telephone_number: str) -> str:
    limits = f"cto={GATEWAY_SECONDS / 2:g}&rto={GATEWAY_SECONDS:g}"
    return f"{by_url.fill(url, {'phone': telephone_number})}{'&' if '?' in url else '?'}{limits}"


def _sns(url: str, sent: Sent) -> str:
    client = _sns_client(url)
    kind = {"AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"}}
    client.publish(PhoneNumber=sent.telephone_number, Message=sent.text, MessageAttributes=kind)
    return ""


@cache
def _sns_client(url: str) -> Any:
    """Made once, since that takes longer than to send a message. Threads may share it."""
    return _aws("sns", url)


def _aws(service: str, url: str) -> Any:  # boto3 defines the classes of its clients at run time
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    _silence("boto3", "botocore")
    limits = Config(connect_timeout=GATEWAY_SECONDS / 2, read_timeout=GATEWAY_SECONDS, retries={"total_max_attempts": 1})
    return boto3.session.Session().client(service, region_name=url.partition("://")[2], config=limits)


def _silence(*libraries: str) -> None:
    """Turns off the logs of these libraries: they contain numbers and parts of passwords."""
    for library in (*libraries, "urllib3"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)


def check(settings: Settings) -> None:
    """Checks that the library of each gateway accepts its URL. Makes no network call. Raises `Misconfigured`."""
    problems = []
    for place, url in enumerate(settings.gateways, 1):
        kind = _kind(url)
        if kind == "sns" and (fault := _fault_of_boto3(url)):
            problems.append(f"HAMMER_SMS_URL: Gateway {place} (sns) {fault}.")
        elif kind in SMS_SERVICES and not _apprise_reads(url):
            problems.append(
                f"HAMMER_SMS_URL: Gateway {place} ({kind}) has a URL that apprise does not understand; see docs/texts.md."
            )
    if problems:
        raise Misconfigured(problems)


def _fault_of_boto3(url: str) -> str:
    try:
        import boto3  # noqa: PLC0415, F401
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ImportError:
        return "needs boto3: pip install boto3"
    try:
        _sns_client(url)  # now, so that the first message need not wait for it
    except BotoCoreError as fault:
        return f"does not fit the AWS_… settings: {type(fault).__name__}"
    return ""


def _apprise_reads(url: str) -> bool:
    import apprise  # noqa: PLC0415

    _silence("apprise")
    return apprise.Apprise.instantiate(_of_apprise(url, EXAMPLE_NUMBER)) is not None


class GatewayStatus(NamedTuple):
    """The result of checking one gateway, for the operator."""

    how: str
    remedy: str = ""
    works: bool = True


TO_TRY: Final = "To send a test text: flask --app wsgi texts try PHONE"


def examine(settings: Settings) -> Iterator[GatewayStatus]:
    """Checks each gateway without sending a message."""
    for place, url in enumerate(settings.gateways, 1):
        yield from (found._replace(how=f"{_name(place, url)}: {found.how}") for found in _examine(settings, url))


def _examine(settings: Settings, url: str) -> Iterator[GatewayStatus]:
    kind = _kind(url)
    if kind in ("console", "memory"):
        where = {"console": "printed by the server", "memory": "kept in memory"}
        yield GatewayStatus(f"texts are {where[kind]}, none is sent")
        return
    try:
        check(settings)
    except Misconfigured as no:
        yield GatewayStatus("cannot be used", " ".join(no.problems), works=False)
        return
    if kind in SMS_SERVICES:
        yield GatewayStatus(f"apprise understands its URL. {TO_TRY}")
    elif kind == "sns":
        fault = _within(GATEWAY_SECONDS, lambda: str(_aws("sts", url).get_caller_identity() and ""))
        remedy = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role that allows sns:Publish."
        if fault:
            yield GatewayStatus(f"AWS does not accept our credentials: {fault}", remedy, works=False)
        else:
            yield GatewayStatus(f"AWS accepts our credentials. {TO_TRY}")
    else:
        yield from _examine_http(url.removeprefix("post+"))


def _examine_http(url: str) -> Iterator[GatewayStatus]:
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    fault = _within(GATEWAY_SECONDS, partial(_connect, host, port, parts.scheme == "https"))
    if fault:
        yield GatewayStatus(
            f"{host}:{port} does not answer: {fault}", "Start it, or correct host and port in HAMMER_SMS_URL.", works=False
        )
    else:
        contains = good_answer(parts.fragment)
        good = f"a body that contains {contains!a}" if contains else "any body"
        yield GatewayStatus(f"{host}:{port} answers. A text counts as accepted after a status of 200 to 299 and {good}. {TO_TRY}")
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        yield GatewayStatus(f"codes are sent to {host} unencrypted", "Use https://, or a network that only you can use.")


def _connect(host: str, port: int, tls: bool) -> str:
    with socket.create_connection((host, port), GATEWAY_SECONDS) as connection:
        if tls:
            ssl.create_default_context().wrap_socket(connection, server_hostname=host).close()
    return ""
