"""How a text leaves: through the first of the gateways in `HAMMER_SMS_URL` that takes it.

Each has a few seconds, and all together a few more. What is told of them names a gateway by its kind and place, and a fault by its
kind alone: their addresses hold passwords, and what libraries say of a fault holds numbers. Their libraries are loaded where a text
leaves, since they are large.
"""

import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from config import SMS_SERVICES, Misconfigured, Settings
from hammer.sms import messages

if TYPE_CHECKING:
    from collections.abc import Mapping

GATEWAY_SECONDS: Final = 4.0
ALL_SECONDS: Final = 10.0
"""For all gateways of one text together."""
REST_SECONDS: Final = 30.0
"""How long a gateway that failed slowly is asked last."""
SOMEBODY: Final = "+79290000000"
"""A number to read addresses with; no text goes there."""

log = logging.getLogger(__name__)


class Sent(NamedTuple):
    telephone_number: str
    words: str


memory: list[Sent] = []
"""What the memory gateway took, oldest first."""


class Try(NamedTuple):
    """One gateway's turn with a text."""

    gateway: str
    """Its kind and its place in `HAMMER_SMS_URL`, like `twilio/1`."""
    fault: str
    """What kind of fault it was; empty if the gateway took the text."""
    seconds: float


def send(settings: Settings, telephone_number: str, text: str, receipt_url: str = "") -> str | None:
    """The name of the gateway that took the text; None when none did. May block for `ALL_SECONDS`: never call it in a request."""
    for turn in tries(settings, telephone_number, text, receipt_url):
        if not turn.fault:
            return turn.gateway
        log.warning("Gateway %s did not take a text: %s.", turn.gateway, turn.fault)
    return None


def tries(settings: Settings, telephone_number: str, text: str, receipt_url: str = "") -> Iterator[Try]:
    """Hands the text to one gateway after the other, until one takes it or the time is over."""
    until = time.monotonic() + ALL_SECONDS
    for place, url in sorted(enumerate(settings.gateways, 1), key=lambda gateway: gateway[1] in _resting()):
        began = time.monotonic()
        if began >= until:
            return
        fault = _fault(settings, url, Sent(telephone_number, text), receipt_url, min(GATEWAY_SECONDS, until - began))
        took = time.monotonic() - began
        if fault and took > GATEWAY_SECONDS / 2:
            _rests_until[url] = time.monotonic() + REST_SECONDS
        yield Try(_name(place, url), fault, took)
        if not fault:
            return


_rests_until: dict[str, float] = {}


def _resting() -> set[str]:
    """Gateways that failed slowly just now: others are asked first, lest every text waits for them."""
    now = time.monotonic()
    return {url for url, over in _rests_until.items() if over > now}


def _name(place: int, url: str) -> str:
    return f"{_kind(url)}/{place}"


def _kind(url: str) -> str:
    return url.partition("://")[0].removeprefix("post+")


def _fault(settings: Settings, url: str, sent: Sent, receipt_url: str, seconds: float) -> str:
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
    return _within(seconds, partial(_http, url, sent, receipt_url))


def _within(seconds: float, deed: Callable[[], str]) -> str:
    """What the deed says, or what kind of fault it ended in. Time limits of libraries count each step anew, and a name that nobody
    resolves is under none of them: so the deed has a thread of its own, which is left behind when the time is over. No process
    waits for it in order to end, as it would for a `ThreadPoolExecutor`."""
    said: SimpleQueue[str] = SimpleQueue()

    def tell() -> None:
        try:
            said.put(deed())
        except BaseException as fault:  # noqa: BLE001  # nobody stands above a thread but whoever waits for it
            said.put(type(fault).__name__)

    try:
        Thread(target=tell, name="gateway", daemon=True).start()
        return said.get(timeout=seconds)
    except RuntimeError:
        return "this process is ending"
    except Empty:
        return f"no answer in {seconds:.0f} seconds"


def _console(settings: Settings, sent: Sent) -> str:
    time.sleep(settings.sms_delay.total_seconds())
    try:
        print(f"Text to {sent.telephone_number}:\n{sent.words}\n", file=sys.stderr, flush=True)
    except OSError as fault:  # nobody reads it any more
        return type(fault).__name__
    return ""


def _http(url: str, sent: Sent, receipt_url: str) -> str:
    """A gateway that takes texts by a URL with place-holders, like Kannel. With `post+` before it, its query is sent as a form."""
    import requests  # noqa: PLC0415

    _hush()
    values = {"to": sent.telephone_number, "text": sent.words, "coding": messages.kannel_coding(sent.words), "dlr": receipt_url}
    parts = urlsplit(_filled(url.removeprefix("post+"), values))
    if url.startswith("post+"):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        ask = partial(requests.post, urlunsplit(parts._replace(query="")), data=parts.query, headers=form)
    else:
        ask = partial(requests.get, urlunsplit(parts))
    with ask(timeout=GATEWAY_SECONDS, allow_redirects=False, stream=True) as answer:
        status = answer.raw.status
    return "" if status // 100 == 2 else f"answered {status}"


def _filled(url: str, values: "Mapping[str, str]") -> str:
    for name, value in values.items():
        url = url.replace(f"{{{name}}}", quote(value, safe=""))
    return url


def _apprise(url: str, sent: Sent) -> str:
    import apprise  # noqa: PLC0415

    _hush("apprise")
    services = apprise.Apprise()
    if not services.add(_of_apprise(url, sent.telephone_number)):
        return "malformed address"
    return "" if services.notify(body=sent.words) else "refused or away"


def _of_apprise(url: str, telephone_number: str) -> str:
    limits = f"cto={GATEWAY_SECONDS / 2:g}&rto={GATEWAY_SECONDS:g}"
    return f"{_filled(url, {'phone': telephone_number})}{'&' if '?' in url else '?'}{limits}"


def _sns(url: str, sent: Sent) -> str:
    client = _sns_client(url)
    kind = {"AWS.SNS.SMS.SMSType": {"DataType": "String", "StringValue": "Transactional"}}
    client.publish(PhoneNumber=sent.telephone_number, Message=sent.words, MessageAttributes=kind)
    return ""


@cache
def _sns_client(url: str) -> Any:
    """Made once: it takes longer to make than a text takes to leave. Threads may share it."""
    return _aws("sns", url)


def _aws(service: str, url: str) -> Any:  # boto3 makes its clients while it runs
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    _hush("boto3", "botocore")
    limits = Config(connect_timeout=GATEWAY_SECONDS / 2, read_timeout=GATEWAY_SECONDS, retries={"total_max_attempts": 1})
    return boto3.session.Session().client(service, region_name=url.partition("://")[2], config=limits)


def _hush(*libraries: str) -> None:
    """Numbers and parts of passwords stand in what these log."""
    for library in (*libraries, "urllib3"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)


def check(settings: Settings) -> None:
    """Whether every gateway could be used, as far as its library can tell. Raises `Misconfigured`; asks nobody."""
    problems = []
    for place, url in enumerate(settings.gateways, 1):
        kind = _kind(url)
        if kind == "sns" and (fault := _fault_of_boto3(url)):
            problems.append(f"HAMMER_SMS_URL: Gateway {place} (sns) {fault}.")
        elif kind in SMS_SERVICES and not _apprise_reads(url):
            problems.append(f"HAMMER_SMS_URL: Gateway {place} ({kind}) is no address that apprise understands; see docs/texts.md.")
    if problems:
        raise Misconfigured(problems)


def _fault_of_boto3(url: str) -> str:
    try:
        import boto3  # noqa: PLC0415, F401
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
    except ImportError:
        return "needs boto3: pip install boto3"
    try:
        _sns_client(url)  # now, lest the first text waits for it
    except BotoCoreError as fault:
        return f"does not suit what AWS_… says: {type(fault).__name__}"
    return ""


def _apprise_reads(url: str) -> bool:
    import apprise  # noqa: PLC0415

    _hush("apprise")
    return apprise.Apprise.instantiate(_of_apprise(url, SOMEBODY)) is not None


class Standing(NamedTuple):
    """How things are with a gateway."""

    how: str
    remedy: str = ""
    works: bool = True


TO_TRY: Final = "To send one: flask --app wsgi texts try PHONE"


def examine(settings: Settings) -> Iterator[Standing]:
    """What can be told of each gateway without a text."""
    for place, url in enumerate(settings.gateways, 1):
        yield from (standing._replace(how=f"{_name(place, url)}: {standing.how}") for standing in _examine(settings, url))


def _examine(settings: Settings, url: str) -> Iterator[Standing]:
    kind = _kind(url)
    if kind in ("console", "memory"):
        where = {"console": "printed by the server", "memory": "kept in memory"}
        yield Standing(f"texts are {where[kind]}, none leaves")
        return
    try:
        check(settings)
    except Misconfigured as no:
        yield Standing("cannot be used", " ".join(no.problems), works=False)
        return
    if kind in SMS_SERVICES:
        yield Standing(f"apprise understands the address. {TO_TRY}")
    elif kind == "sns":
        fault = _within(GATEWAY_SECONDS, lambda: str(_aws("sts", url).get_caller_identity() and ""))
        remedy = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role that may sns:Publish."
        yield Standing(f"AWS does not know us: {fault}", remedy, works=False) if fault else Standing(f"AWS knows us. {TO_TRY}")
    else:
        yield from _examine_http(url.removeprefix("post+"))


def _examine_http(url: str) -> Iterator[Standing]:
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    fault = _within(GATEWAY_SECONDS, partial(_connect, host, port, parts.scheme == "https"))
    if fault:
        yield Standing(f"{host}:{port} does not answer: {fault}", "Start it, or mend host and port in HAMMER_SMS_URL.", works=False)
    else:
        yield Standing(f"{host}:{port} answers. {TO_TRY}")
    if parts.scheme == "http" and host not in ("127.0.0.1", "::1", "localhost"):
        yield Standing(f"codes go to {host} in the clear", "Use https:// there, or a network that is yours alone.")


def _connect(host: str, port: int, tls: bool) -> str:
    with socket.create_connection((host, port), GATEWAY_SECONDS) as connection:
        if tls:
            ssl.create_default_context().wrap_socket(connection, server_hostname=host).close()
    return ""
