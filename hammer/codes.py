"""Drawing one-time codes, invite codes and ids, and reading what people type for them."""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Final

INVITE_ALPHABET: Final = "23456789BCDFGHJKMNPQRSTVWXYZ"
"""28 characters for codes that we issue: no vowels, so no words; no look-alikes of 0, 1, I, L, O."""

INVITE_LENGTH: Final = 6


def random_id() -> str:
    """128 bits of the operating system's randomness as 22 letters for URLs: the id of a user, a session, a verification."""
    return secrets.token_urlsafe(16)


def one_time_code(key: bytes, *, verification_id: str, telephone_number: str, purpose: str, length: int) -> str:
    """The `length` digits of one verification, leading zeros included: computed each time, never stored.

    HMAC-SHA256 taken modulo 10^length. The 256 bits make the bias of the modulo smaller than 10^-68, so every code is equally
    likely to whoever lacks the key (NIST SP 800-63B-4 §3.1.3.2). The key lives outside the database: a dump holds no code.
    """
    message = "|".join(("v1", verification_id, telephone_number, purpose, str(length)))
    number = int.from_bytes(hmac.digest(key, message.encode(), "sha256"))
    return str(number % 10**length).zfill(length)


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that tells nothing about where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def read_one_time_code(typed: str) -> str | None:
    """The digits of `1234`, `12 34` or `12-34`; None for what is not 4 to 8 ASCII digits. Full-width and Arabic digits are not."""
    digits = re.sub(r"[\s\-\u2010-\u2015]", "", typed[:64])
    return digits if re.fullmatch(r"[0-9]{4,8}", digits) else None


def proof(key: bytes, kind: str, row_id: str, number: int = 0) -> str:
    """What shows that its holder was given the row `row_id`: `id.number.signature`, computed each time and never stored."""
    signature = hmac.digest(key, f"{kind}|{row_id}|{number}".encode(), "sha256")
    return f"{row_id}.{number}.{urlsafe_b64encode(signature).decode().rstrip('=')}"


def read_proof(key: bytes, kind: str, shown: str) -> tuple[str, int] | None:
    """The id and the number that a genuine proof of this kind is about; None for a forged one."""
    parts = re.fullmatch(r"([\w-]{22})\.(\d{1,9})\.[\w-]{43}", shown, re.ASCII)
    if parts is None or not same(shown, proof(key, kind, parts[1], int(parts[2]))):
        return None
    return parts[1], int(parts[2])


def new_invite_code() -> str:
    """Six characters from `INVITE_ALPHABET`, uniformly; whether they are free is for the database to say."""
    return "".join(secrets.choice(INVITE_ALPHABET) for _ in range(INVITE_LENGTH))


def read_invite_code(typed: str) -> str | None:
    """The code in what people paste: `q9uk59`, `Q9U K59`, `Q9U-K59` or a link that ends in it. None where there is none.

    Codes made elsewhere from A-Z and 0-9 are understood too, beyond the characters that we issue ourselves.
    """
    text = typed.strip()[:2048]
    link = re.search(r"/i/([^/?#\s]+)", text)
    code = re.sub(r"[\s\-\u2010-\u2015]", "", link.group(1) if link else text)
    return code.upper() if re.fullmatch(r"[A-Za-z0-9]{6}", code) else None
