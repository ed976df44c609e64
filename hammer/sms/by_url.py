"""Gateways that are called by URL, like Kannel: placeholders, what a good answer is, and connections that are kept.

A URL may end with what the body of a good answer contains, as `#body=OK`. Nothing of that is sent.
"""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from config import MOST_GATEWAYS

if TYPE_CHECKING:
    from requests import Response, Session

MOST_OF_BODY: Final = 4096
"""Bytes of the body of an answer that are read."""
MOST_CONNECTIONS: Final = 64
"""To one gateway: as many as a worker may have threads. More are opened and not kept."""
IDLE_SECONDS: Final = 30.0
"""Connections that none used for so long are not used again. Firewalls forget idle connections without a word, and a text that is
sent into one of those waits for its whole time limit."""


def fill(url: str, values: Mapping[str, str]) -> str:
    """The URL with these values in place of its placeholders."""
    for name, value in values.items():
        url = url.replace(f"{{{name}}}", quote(value, safe=""))
    return url


def ask(url: str, values: Mapping[str, str], seconds: float, headers: Mapping[str, str], tell: Callable[[str], None]) -> None:
    """Calls the URL, with the prefix `post+` with its query as a form, and tells the kind of fault: an empty one if the gateway
    took the message.

    Then reads the rest of the answer, so that the connection can be kept. Raises the exceptions of requests.
    """
    until = time.monotonic() + seconds
    template, _, rule = url.partition("#")
    wanted = good_answer(rule)
    parts = urlsplit(fill(template.removeprefix("post+"), values))
    session = _kept.session()
    if template.startswith("post+"):
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        call = partial(session.post, urlunsplit(parts._replace(query="")), data=parts.query, headers={**headers, **form})
    else:
        call = partial(session.get, urlunsplit(parts), headers=headers)
    # The caller stops waiting after `seconds`. This limit only ends a thread that nobody waits for: were it the same, chance would
    # decide which of the two is named as the fault.
    with call(timeout=2 * seconds, allow_redirects=False, stream=True) as answer:
        status = answer.raw.status
        if status // 100 != 2:
            tell(f"answered {status}")
        elif not wanted:
            tell("")
        body = _read(answer, until)
        if status // 100 == 2 and wanted:
            tell("" if _without_spaces(wanted) in _without_spaces(body) else f"answered {status} with another body")


def good_answer(rule: str) -> str:
    """What a good answer contains, from the part of a gateway's URL after `#`; empty if the status alone counts."""
    return unquote(rule.removeprefix("body="))


def _read(answer: "Response", until: float) -> bytes:
    """The beginning of the body, as far as it comes until this moment."""
    body = b""
    while len(body) < MOST_OF_BODY and time.monotonic() < until and (more := answer.raw.read1(MOST_OF_BODY - len(body))):
        body += more
    return body


def _without_spaces(text: str | bytes) -> bytes:
    """Two spellings of the same JSON become the same."""
    return b"".join((text.encode() if isinstance(text, str) else text).split())


class _Kept:
    """The connections of this process to its gateways."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._used_at = 0.0

    def session(self) -> "Session":
        """A session whose connections were used lately, or are new. Threads may share it: it keeps no cookies.

        A kept connection that the gateway has closed is replaced before anything is sent. One that ends later gives an exception:
        nobody knows whether the gateway took the text.
        """
        with self._lock:
            now = time.monotonic()
            if self._session is None or now - self._used_at > IDLE_SECONDS:
                if self._session is not None:
                    self._session.close()
                self._session = _new_session()
            self._used_at = now
            return self._session


def _new_session() -> "Session":
    import requests  # noqa: PLC0415  # only processes that send texts load it
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=MOST_GATEWAYS, pool_maxsize=MOST_CONNECTIONS))
    return session


_kept: Final = _Kept()
