"""Makes one-time codes, invite codes, ids and proofs; reads the one-time codes that people type."""

import hmac
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from typing import Final

from hammer.parsing.characters import plain

INVITE_ALPHABET: Final = "23456789BCDFGHJKMNPQRSTVWXYZ"
"""The 28 characters of invite codes: no vowels, so no words; none of 0, 1, I, L, O, which look alike."""

INVITE_LENGTH: Final = 6

LONGEST_MESSAGE: Final = 1000
"""Characters that a one-time code is looked for in. A text of ours is never that long."""

_DRAWN_BYTES: Final = 12
_MARK_BYTES: Final = 4
"""By chance an id has the mark of another key once in 2^32. Its code is then refused, and the next one is good."""

_APART: Final = re.compile(r"[ -]*[0-9](?:[ -]*[0-9])*[ -]*")
_GROUPED: Final = re.compile(
    r"(?<![^\W_])(?<![0-9][ .,:/+-])(?<!\+)"
    r"(?:[0-9]{2}([ -])[0-9]{2}(?:\1[0-9]{2}){0,2}|[0-9]{3}[ -][0-9]{3}|[0-9]{4}[ -][0-9]{4})"
    r"(?![^\W_])(?![ .,:/+-][0-9])"
)
"""A code in groups of equal size, without other digits beside it."""


def random_id() -> str:
    """128 random bits of the operating system as 22 URL-safe characters: the id of a user, a session, a verification."""
    return secrets.token_urlsafe(16)


def marked_id(key: bytes) -> str:
    """An id like `random_id`, of 96 random bits, that a holder of this key can tell from ids of other keys (`key_of`)."""
    drawn = secrets.token_bytes(_DRAWN_BYTES)
    return base64url(drawn + _mark(key, drawn))


def key_of(keys: Sequence[bytes], marked: str) -> bytes:
    """Which of these keys marked this id; the first one if none did."""
    if len(keys) == 1 or not is_id(marked):
        return keys[0]
    whole = urlsafe_b64decode(marked + "==")
    drawn, mark = whole[:_DRAWN_BYTES], whole[_DRAWN_BYTES:]
    return next((key for key in keys if _mark(key, drawn) == mark), keys[0])


def _mark(key: bytes, drawn: bytes) -> bytes:
    return hmac.digest(key, b"id|" + drawn, "sha256")[:_MARK_BYTES]


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id."""
    return re.fullmatch(r"[\w-]{22}", text, re.ASCII) is not None


def short_id(long: str) -> str:
    """The beginning of an id, for logs and lists: enough to find a row by, too little to use the id, as the id of a verification is
    used to enter a code."""
    return long[:8]


def base64url(value: bytes) -> str:
    """Encodes bytes as base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(value).decode().rstrip("=")


def is_canonical(signed: str) -> bool:
    """Whether each part between dots is base64url as `base64url` writes it.

    Libraries also accept padding, unused bits that are set, and characters outside the alphabet. One token would have many
    spellings.
    """
    try:
        return all(base64url(urlsafe_b64decode(part + "=" * (-len(part) % 4))) == part for part in signed.split("."))
    except ValueError:
        return False


def one_time_code(key: bytes, *, verification_id: str, telephone_number: str, purpose: str, length: int) -> str:
    """The code of one verification, `length` digits with leading zeros. Computed each time, never stored.

    HMAC-SHA256 taken modulo 10^length. The 256 bits make the bias of the modulo smaller than 10^-68, so every code is equally
    likely without the key (NIST SP 800-63B-4 §3.1.3.2). The key is outside the database: a dump contains no code.
    """
    message = "|".join(("v1", verification_id, telephone_number, purpose, str(length)))
    number = int.from_bytes(hmac.digest(key, message.encode(), "sha256"))
    return str(number % 10**length).zfill(length)


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, compared in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def read_one_time_code(typed: str) -> str | None:
    """The 4 to 8 digits of `1234`, `12 34` or `12-34`, in any script, alone or in the whole text message.

    A message of ours says the code twice, the second time in its last line: `@example.com #1234`, with the hash of an app after it
    or none.

    None for anything else: for other digits beside the code (except in the host of the message's last line, `@127.0.0.1 #1234`),
    for a date, and for more than `LONGEST_MESSAGE` characters. What may mean something else must not cost a guess.
    """
    if len(typed) > LONGEST_MESSAGE:
        return None
    ours = re.fullmatch(r"(.*)@[^\s@]+ #([0-9]{4,8})(?: [A-Za-z0-9+/]{11})? *", plain(typed))
    if ours and re.search(rf"(?<![^\W_]){ours[2]}(?![^\W_])", ours[1]):
        return ours[2]
    text = re.sub(r"@\S+", "@", plain(typed))
    alone = _APART.fullmatch(text)
    if alone and not _is_date(text):
        text = re.sub("[ -]", "", text)
    text = _GROUPED.sub(lambda found: found[0] if _is_date(found[0]) else re.sub("[ -]", "", found[0]), text)
    found = {word for word in re.findall(r"(?:[^\W_]|\+)+", text) if any(sign.isnumeric() for sign in word)}
    code = found.pop() if len(found) == 1 else ""
    return code if re.fullmatch(r"[0-9]{4,8}", code) else None


def _is_date(text: str) -> bool:
    """Whether groups of digits may be a date, like `29-11-2026` or `11 2026`. Six digits in pairs may be one only with hyphens."""
    groups = re.findall(r"[0-9]+", text)
    years = [group for group in (groups[0], groups[-1]) if re.fullmatch(r"(?:19|20)[0-9]{2}", group)]
    if years:
        groups.remove(years[0])
    elif len(groups) == 3 and "-" in text and len(groups[-1]) == 2:
        groups.pop()
    else:
        return False
    days = sorted(int(group) for group in groups)
    return len(days) in (1, 2) and all(len(group) <= 2 for group in groups) and 1 <= days[0] <= 12 and days[-1] <= 31


def proof(key: bytes, kind: str, row_id: str, number: int = 0) -> str:
    """A proof that its holder was given the row `row_id`: `id.number.signature`. Computed each time, never stored."""
    signature = hmac.digest(key, f"{kind}|{row_id}|{number}".encode(), "sha256")
    return f"{row_id}.{number}.{base64url(signature)}"


def read_proof(keys: Iterable[bytes], kind: str, shown: str) -> tuple[str, int] | None:
    """The id and the number in a genuine proof of this kind, made with any of these keys; None for a forged one."""
    parts = re.fullmatch(r"([\w-]{22})\.(\d{1,9})\.[\w-]{43}", shown, re.ASCII)
    if parts is None or not any(same(shown, proof(key, kind, parts[1], int(parts[2]))) for key in keys):
        return None
    return parts[1], int(parts[2])


def new_invite_code() -> str:
    """A random code from `INVITE_ALPHABET`. The database decides whether it is free."""
    return "".join(secrets.choice(INVITE_ALPHABET) for _ in range(INVITE_LENGTH))
