"""What is wrong with an address of an app: one that browsers are sent to, or one that we post to.

An address is stored as it was typed, because apps send theirs with each request, and the two must be equal. So one that browsers
read as another address is refused: after `/../`, a backslash or the host `127.1` people would arrive elsewhere.
"""

import ipaddress
import re
from contextlib import suppress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from config import Settings, fault_of_origin
from hammer.outgoing.guard import Guard, Refused
from hammer.refusals import N_, InvalidFields

LONGEST: Final = 2000
MOST: Final = 20
"""Addresses of one kind that a client may have."""
RESOLVE_SECONDS: Final = 3
"""How long the caller waits for the addresses of its host."""
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

TOO_MANY: Final = N_("Type at most 20 addresses.")
TOO_LONG: Final = N_("Type an address of at most 2000 characters.")
NO_ADDRESS: Final = N_(
    "Type a whole address, like https://app.example.com/callback; for a public client also com.example.app:/callback."
)
NO_SERVER: Final = N_("Type the whole address of a server, like https://app.example.com/notify.")
NOT_REACHED: Final = N_(
    "Type an address with https:// and a public host, or name its host in HAMMER_WEBHOOK_HOSTS: Hammer may not post to this one."
)
NEEDS_HTTPS: Final = N_("Type an address that begins with https://. http:// is for localhost, 127.0.0.1 and [::1] only.")
NOT_AS_SENT: Final = N_("Type the address as browsers send it: in ASCII, without spaces and backslashes, and without /./ and /../.")
HAS_FRAGMENT: Final = N_("Type the address without # and what follows it.")
HAS_WILDCARD: Final = N_("Type each address by itself: there are no wildcards.")
HAS_USER: Final = N_("Type the address without a user and a password before its host.")

_SENT: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
"""The characters of an address (RFC 3986 §2)."""
_OF_AN_APP: Final = re.compile(r"[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)+:/")
"""A scheme made of a domain, which belongs to the owner of the domain (RFC 8252 §7.1)."""
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def fault_of_redirect_uri(uri: str, *, public: bool) -> str:
    """What is wrong with an address that people are sent to; empty if nothing is."""
    if public and _OF_AN_APP.match(uri):
        return _fault_of_text(uri) or ("" if split(uri).scheme else NO_ADDRESS)
    if fault := fault_of_server(uri):
        return NO_ADDRESS if fault == NO_SERVER else fault
    return "" if uri.startswith("https:") or urlsplit(uri).hostname in LOOPBACK else NEEDS_HTTPS


def fault_of_server(uri: str) -> str:
    """What is wrong with an address that begins with https:// or http://; empty if nothing is."""
    if fault := _fault_of_text(uri):
        return fault
    scheme, _, rest = uri.partition("://")
    host = re.split(r"[/?]", rest)[0]
    if "@" in host:
        return HAS_USER
    is_one = scheme in ("https", "http") and not fault_of_origin(f"{scheme}://{host}") and _is_read_as_written(host)
    return "" if is_one else NO_SERVER


def split(uri: str) -> SplitResult:
    """The parts of an address; all of them are empty if it cannot be read."""
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018  # raises if it is none
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def check_server(settings: Settings, field: str, uri: str) -> None:
    """Refuses with `InvalidFields` an address that Hammer may not post to. A host that has no address now may have one later.

    :param field: what the caller calls the address.
    """
    fault = fault_of_server(uri)
    try:
        with suppress(OSError):
            Guard.of(settings).check(uri, RESOLVE_SECONDS)
    except Refused:
        fault = fault or NOT_REACHED
    if fault:
        raise InvalidFields({field: [fault]})


def _fault_of_text(uri: str) -> str:
    if len(uri) > LONGEST:
        return TOO_LONG
    steps = {step.lower().replace("%2e", ".") for step in uri.partition("?")[0].split("/")}
    if uri and (not _SENT.fullmatch(uri) or steps & {".", ".."}):
        return NOT_AS_SENT
    return HAS_FRAGMENT if "#" in uri else HAS_WILDCARD if "*" in uri else ""


def _is_read_as_written(host: str) -> bool:
    """Whether browsers read no other address in the host: a last part that is a number makes it one of IPv4 (WHATWG URL §3.5)."""
    name = urlsplit(f"//{host}").hostname or ""
    last = name.removesuffix(".").rpartition(".")[2]
    return ":" in name or not _NUMBER.fullmatch(last) or _is_ipv4(name)


def _is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True
