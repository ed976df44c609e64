"""Recovery codes: ten codes that work once each, for a person who lost their other second factors. Computed, never stored."""

import hmac
from typing import Final

from config import Settings
from hammer import codes
from hammer.parsing.characters import plain

COUNT: Final = 10
LENGTH: Final = 14
"""Letters of a code: 67 bits. NIST SP 800-63B-4 §3.1.2.1 asks for at least 64 where guesses are not limited otherwise."""
ALL_USED: Final = 2**COUNT - 1


def all_codes(settings: Settings, user_id: str, generation: int) -> list[str]:
    """The codes of one generation, each in two groups: `BCDFGHJ-KMNPQRS`."""
    key = settings.key("second-factors")
    return [_grouped(_code(key, user_id, generation, place)) for place in range(COUNT)]


def place_of(settings: Settings, user_id: str, generation: int, typed: str) -> int | None:
    """Which of the codes was typed, from 0, with or without the hyphen and in any case; None for a wrong one."""
    letters = "".join(filter(str.isalnum, plain(typed).upper()))
    keys, places = settings.keys("second-factors"), range(COUNT)
    right = [place for place in places for key in keys if codes.same(_code(key, user_id, generation, place), letters)]
    return right[0] if right and generation else None


def left(used: int) -> int:
    """How many codes are left. `used` has one bit for each used code."""
    return COUNT - used.bit_count()


def _code(key: bytes, user_id: str, generation: int, place: int) -> str:
    message = f"recovery|{user_id}|{generation}|{place}".encode()
    number, letters = int.from_bytes(hmac.digest(key, message, "sha256")), ""
    for _ in range(LENGTH):
        number, letter = divmod(number, len(codes.INVITE_ALPHABET))
        letters += codes.INVITE_ALPHABET[letter]
    return letters


def _grouped(code: str) -> str:
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"
