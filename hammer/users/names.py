"""Reading the names that people give themselves: username, first name and last name."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

from hammer.refusals import N_, InvalidFields

USERNAME: Final = "[A-Za-z][A-Za-z0-9_.-]{0,29}"
"""A username begins with a letter, so it cannot look like a telephone number. `me` is not a username: it means the caller."""
LONGEST_NAME: Final = 150
NOT_A_USERNAME = N_(
    "A username begins with a Latin letter and goes on with letters, digits, dots, hyphens or underscores, 30 at most."
)
RESERVED = N_("This name is reserved.")
TOO_LONG = N_("This is longer than 150 characters.")
NOT_TEXT = N_("This has a character that is not text.")
PILED_UP = N_("One letter here carries too many marks.")
MOST_MARKS: Final = 4
"""Combining marks that one letter may have. Four are needed: a Hebrew shin can have its dot, a dagesh, a vowel and an accent;
Burmese and Tibetan syllables have up to four."""
_NOT_TEXT: Final = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
"""Unicode categories that no name needs: control and format characters, surrogates, unassigned, line and paragraph separators."""
_JOINERS: Final = "\u200c\u200d"
"""Format characters that writing and emoji need. Others reverse a name or make it look empty."""
_BLANKS: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols that look empty: Hangul fillers, the Braille pattern without dots."""


def read(names: Mapping[str, str]) -> dict[str, str | None]:
    """Names as they are stored: trimmed and composed (NFC), an empty username as None.

    Refuses with `InvalidFields`, which reports every bad field.
    """
    stored = {field: _composed(value.strip()) for field, value in names.items()}
    errors = {field: [fault] for field, value in stored.items() if (fault := _fault(field, value))}
    if errors:
        raise InvalidFields(errors)
    return {field: (value or None) if field == "username" else value for field, value in stored.items()}


def _composed(value: str) -> str:
    """The name in NFC; one that is too long in any form unchanged, because the time to sort many marks grows with their square."""
    return value if len(value) > LONGEST_NAME * (1 + MOST_MARKS) else unicodedata.normalize("NFC", value)


def _fault(field: str, value: str) -> str | None:
    """What is wrong with a name, as a sentence; None if nothing is."""
    if field == "username" and value and not re.fullmatch(USERNAME, value):
        return NOT_A_USERNAME
    if field == "username" and value.lower() == "me":
        return RESERVED
    if len(value) > LONGEST_NAME:
        return TOO_LONG
    if any(unicodedata.category(character) in _NOT_TEXT and character not in _JOINERS for character in value):
        return NOT_TEXT
    if _has_piled_marks(value):
        return PILED_UP
    return NOT_TEXT if value and all(map(_is_invisible, value)) else None


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character)[0] in "MZ" or character in _JOINERS + _BLANKS


def _has_piled_marks(name: str) -> bool:
    """Whether a letter has more than `MOST_MARKS` combining marks. Spacing marks (`Mc`) and joiners do not start a new letter."""
    marks = 0
    for character in name:
        category = unicodedata.category(character)
        if category in ("Mn", "Me"):
            marks += 1
        elif category != "Mc" and character not in _JOINERS:
            marks = 0
        if marks > MOST_MARKS:
            return True
    return False
