"""Normalizes what people type and paste: digits of every script become ASCII, and invisible characters are removed."""

import unicodedata
from functools import lru_cache
from typing import Final

_REVERSED: Final = "\u202e"
"""RIGHT-TO-LEFT OVERRIDE: the characters that follow are displayed in reverse order."""
_IGNORABLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u20e3\u2065\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9), *range(0xE0000, 0xE1000))))
)
"""Invisible characters outside category Cf (Unicode's Default_Ignorable_Code_Point), and the frame of a keycap."""
_VISIBLE: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Visible characters of category Cf."""
_BLANK: Final = "\u2800"
"""BRAILLE PATTERN BLANK, which is not a space in Unicode."""
_HYPHENS: Final = "\u2043\u2212\u30fc"
"""Hyphens that are not in category Pd: the hyphen bullet, the minus sign, the Japanese long vowel mark."""
_PLUSES: Final = "\u207a\ufb29\ufe62\uff0b\u2795"
_DOT: Final = "\u2024"


def plain(text: str) -> str:
    """The text with decimal digits of every script as `0` to `9`, every space as ` `, every dash as `-`, every plus as `+`,
    brackets of every kind as `(` and `)`, full-width characters as ASCII, and without invisible characters.

    Empty if the text is displayed in another order than it is stored.
    """
    return "" if _REVERSED in text else "".join(map(_plain, visible(text)))


def visible(text: str) -> str:
    """The text with decimal digits of every script as `0` to `9`, full-width and small characters as ASCII, and without invisible
    characters."""
    return "".join(map(_visible, text))


@lru_cache(maxsize=4096)
def _visible(sign: str) -> str:
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    if sign in _IGNORABLE or (unicodedata.category(sign) == "Cf" and sign not in _VISIBLE):
        return ""
    return unicodedata.normalize("NFKC", sign) if "\uff01" <= sign <= "\uff5e" or "\ufe50" <= sign <= "\ufe6b" else sign


@lru_cache(maxsize=4096)
def _plain(sign: str) -> str:
    kind = unicodedata.category(sign)
    if sign.isspace() or sign == _BLANK:
        return " "
    if sign in _PLUSES:
        return "+"
    if kind == "Pd" or sign in _HYPHENS:
        return "-"
    if kind in ("Ps", "Pe"):
        return "(" if kind == "Ps" else ")"
    return "." if sign == _DOT else sign
