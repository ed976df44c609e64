"""Converts what people type to one canonical telephone number (E.164, like `+79298284301`).

Everything that counts, compares or stores a number sees only the canonical form. Otherwise each spelling would have its own
limits and its own account. Input is never read as a different number: what could mean two numbers is refused.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final, Protocol
from urllib.parse import unquote

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberType,
    ValidationResult,
)

from config import FULL, MASKED
from hammer.parsing.characters import plain
from hammer.refusals import N_, Invalid, InvalidFields, RegionNotServed

LONGEST_SPELLING: Final = 256
"""Maximum length of the input, in characters. E.164 has at most 15 digits; the rest is separators and words around the number."""

MISSING = N_("Enter your telephone number.")
INVALID = N_("This does not look like a telephone number. Example: +7 929 123-45-67.")
NO_PLUS = N_(
    "There is no such number here. If it is one of another country, begin with a plus and its country code: +44 7911 123456."
)
TOO_SHORT = N_("This number is too short. Please compare it digit by digit.")
TOO_LONG = N_("This number is too long. Please compare it digit by digit.")
LETTER = N_("There is a letter among the digits of this number. Please enter digits alone.")
SEVERAL = N_("Enter one number alone, without an extension or other digits.")

_GET_TEXTS: Final = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}
_NO_COUNTRY: Final = "001"
"""The region code of phonenumbers for networks that belong to no country: satellites, international toll-free numbers."""
_CALLING_CODES: Final = {str(code) for code in COUNTRY_CODE_TO_REGION_CODE}
_FEWEST_DIGITS: Final = 7
"""Minimum count of digits for the message "too short": with fewer, the input may be anything."""
_MOST_DIGITS: Final = 20
"""Maximum count of digits of one number: 15 (E.164), and a prefix for international calls."""

_BETWEEN: Final = " ().-_~/"
"""Characters allowed between the digits of one number. `/` and `(` may also begin another number, see `_numbers`."""
_RUN: Final = re.compile(r"[+0-9][+0-9 ().\-_~/]*")
_QUOTES: Final = "\"'`«»“”„‘’"
_BEFORE_DIGITS: Final = re.compile(rf"(?:\A|[ ().\-~/,;:!?<>=&|{_QUOTES}☎☏✆✉№📞📱📲])\Z")
"""What is allowed directly before a number without `+`. A letter or another character could be a digit that is not recognised."""
_AFTER_DIGITS: Final = re.compile(rf"\Z|[ ().\-~/,;:!?<>&|{_QUOTES}]")
_CUT_OFF: Final = re.compile(r"[ .\-]*(?:_|\.\.|--|…|[OoОоΟοlIІіı](?!\w))")
"""After a number: a placeholder for a missing digit, dots where it was truncated, a single letter that looks like a digit."""
_LOOKS_LIKE_DIGITS: Final = re.compile(r"(?<=[0-9])[ ().-]+[OoОоΟοlIІіЗзBВБб]+[ ().-]+(?=[0-9])")
_LEFT_OUT: Final = re.compile(r"[._~-]{2}")
"""Inside a number: two separators in a row, where digits seem to be left out."""
_EMPHASIS: Final = re.compile(r"([^0-9*_]*)([*_]{1,2})([^*_]+)\2([^0-9*_]*)")
_URL_ENCODED: Final = re.compile(r"\S*%2B\S*", re.IGNORECASE)
_LOCAL_URI: Final = re.compile(r"\s*tel:([^;+]*);phone-context=\+([0-9().\-]+)\s*", re.IGNORECASE)
"""RFC 3966 §5.1.5: a local number, which is complete only with the prefix in its context."""


class Plan(Protocol):
    """The settings of a deployment about numbers. `config.Settings` implements it."""

    @property
    def region(self) -> str:
        """The region by which a number without `+` is read, like `RU`."""

    @property
    def regions(self) -> frozenset[str]:
        """The countries that are served. Empty means every country."""

    @property
    def extra_ranges(self) -> tuple[str, ...]:
        """Number ranges that phonenumbers does not know, like `+22901xxxxxxxx`."""


def read(plan: Plan, typed: str) -> str:
    """Returns the number that a code may be sent to, in E.164.

    Raises `InvalidFields` if the input is not a number, contains more than one number, has an extension, or does not exist, and
    `RegionNotServed` if the number gets no texts. A stored number is never validated here again: numbering plans change, and
    no account may be lost because of that.
    """
    number, fault = _named(plan, typed)
    if number is None:
        raise InvalidFields({"telephone_number": [fault]})
    refusal = _refusal(plan, number)
    if refusal is not None:
        raise refusal
    return number


def canonical(plan: Plan, typed: str) -> str | None:
    """The E.164 form of any spelling, for finding a person. The number need not exist. None if the input cannot be a number."""
    number, fault = _named(plan, typed)
    return number or (None if fault == SEVERAL else _spelled_out(plan, typed))


def meant(plan: Plan, typed: str) -> list[str]:
    """The stored numbers that a spelling may mean, the most likely first: digit for digit, and as it is read today.

    The two differ if a numbering plan changed after the number was stored.
    """
    number = canonical(plan, typed)
    return list(dict.fromkeys([_spelled_out(plan, typed) or number, number])) if number else []


def is_readable(plan: Plan, e164: str) -> bool:
    """Whether a person who types this stored number still gets this number, whichever countries are served."""
    number = _parsed(e164)
    as_read = number and phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return (as_read == e164 and number is not None and _gets_texts(number)) or _is_let_in(plan, e164)


def plan_of(e164: str) -> str:
    """The country code and the count of digits after it, like `+229 and 8 digits`."""
    code = _calling_code(e164[1:])
    return f"+{code} and {len(e164) - 1 - len(code)} digits"


def pretty(e164: str) -> str:
    """The number in the usual format: `+7 929 828-43-01`. Unchanged if today's metadata would read it as another number."""
    number = _parsed(e164)
    shown = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL) if number else e164
    return shown if _digits(shown) == _digits(e164) else e164


def country(e164: str) -> str:
    """The region that a number belongs to, like `RU` (`+7` is not only Russia). Empty if it belongs to no country."""
    number = _parsed(e164)
    if number is None:
        return ""
    region = phonenumbers.region_code_for_number(number) or COUNTRY_CODE_TO_REGION_CODE[number.country_code or 0][0]
    return region if region.isalpha() else ""


def example(region: str) -> str:
    """An example of a mobile number of the region, to show the format."""
    if region == "RU":
        return "+79291234567"
    number = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if number else "+79291234567"


def masked(e164: str) -> str:
    """The number as strangers may see it: the first digit and the last two, like `+7········01`."""
    return e164[:2] + "·" * (len(e164) - 4) + e164[-2:]


def last_four(e164: str) -> str:
    """The number as staff see it in lists: its country code and its last four digits, like `+7 ··· ···-43-01`."""
    written, ahead = pretty(e164), len(_calling_code(e164[1:]))
    places = [place for place, character in enumerate(written) if character.isdecimal()]
    return "".join("·" if place in places[ahead:-4] else character for place, character in enumerate(written))


def shown(e164: str | None, how: str) -> str | None:
    """The number of an invitee as the inviter may see it (`HAMMER_INVITEE_NUMBERS`): `full`, `masked`, otherwise None."""
    return e164 if how == FULL or e164 is None else masked(e164) if how == MASKED else None


@dataclass(frozen=True)
class _Piece:
    """Part of the input that may be a number: its characters, normalised, and whether a plus is before it."""

    text: str
    plus: bool

    @property
    def digits(self) -> str:
        return _digits(self.text)


@dataclass(frozen=True)
class _Run:
    """A sequence of digits and separators in the input. It is split into pieces at each plus."""

    whole: bool
    """Whether no character next to it could be a digit that is not recognised."""
    pieces: Sequence[_Piece]


def _named(plan: Plan, typed: str) -> tuple[str | None, str]:
    """The one existing number in the input, which may be repeated; or None and the error message."""
    text = _prepared(typed)
    if text is None:
        return None, INVALID
    runs = list(_runs(text))
    numbers = {number for run in runs for number in _numbers_of_run(plan, run)}
    numbers |= {"" for sign in text if sign.isnumeric() and not sign.isascii()}  # `①`, `Ⅳ`, `一`: unread digits
    if len(numbers) == 1 and "" not in numbers:
        return numbers.pop(), ""
    if len(numbers) > 1:
        return None, SEVERAL
    if not typed.strip():
        return None, MISSING
    if len(_digits(text)) >= _FEWEST_DIGITS and _letter_among_digits(text):
        return None, LETTER
    return None, _fault(plan, runs[0]) if len(runs) == 1 else INVALID


def _prepared(typed: str) -> str | None:
    """The input in normalised characters, without the markup of links and messages. None if it is too long."""
    if len(typed) > LONGEST_SPELLING:
        return None
    text = plain(unquote(typed) if _URL_ENCODED.fullmatch(typed) else typed)
    local = _LOCAL_URI.fullmatch(text)
    if local:
        return f"+{local[2]} {local[1]}"
    emphasised = _EMPHASIS.fullmatch(text)
    return f"{emphasised[1]} {emphasised[3]} {emphasised[4]}" if emphasised else text


def _runs(text: str) -> Iterator[_Run]:
    """Every sequence of digits in the input, with the separators that are allowed inside a number."""
    for found in _RUN.finditer(text):
        run = found[0].rstrip(_BETWEEN)
        if not _digits(run):
            continue
        before, after = text[: found.start()], text[found.start() + len(run) :]
        whole = (run[0] == "+" or _BEFORE_DIGITS.search(before)) and _AFTER_DIGITS.match(after) and not _CUT_OFF.match(after)
        first, *others = run.split("+")
        pieces = [_Piece(first, plus=False), *(_Piece(other, plus=True) for other in others)]
        unread = _LEFT_OUT.search(run) or run[-1] == "+"
        yield _Run(bool(whole) and not unread, [piece for piece in pieces if piece.digits])


def _numbers_of_run(plan: Plan, run: _Run) -> set[str]:
    """The numbers in a run, `""` for digits that are not a number. A number may follow a second country code or `8`, because forms
    add it."""
    if not run.whole:
        return {""}
    *before, last = run.pieces
    named = _numbers(plan, last)
    again = _prefixes(next(iter(named))) if len(named) == 1 and "" not in named else set()
    for piece in before:
        named |= set() if piece.digits in again else _numbers(plan, piece)
    return named


def _numbers(plan: Plan, piece: _Piece) -> set[str]:
    """The numbers that a piece is or may be, `""` for digits that are not a number."""
    whole = _readings(plan, piece.digits, plus=piece.plus)
    for gap in re.finditer(r"[ ().\-_~/]+", piece.text):
        rest = _Piece(piece.text[gap.end() :], plus=False)
        if whole and not set(gap[0]) & set("(/") and len(rest.digits) > 1:
            continue
        first = _readings(plan, _digits(piece.text[: gap.start()]), plus=piece.plus)
        if first and rest.digits:  # an extension, the end of another number, or a repeated number
            return first | _numbers(plan, rest)
    return whole or {""}


def _readings(plan: Plan, digits: str, *, plus: bool) -> set[str]:
    """The existing numbers that these digits may mean."""
    if len(digits) > _MOST_DIGITS:
        return set()
    found = _existing(plan, f"+{digits}" if plus else digits)
    if digits.startswith("00"):  # the international prefix of most countries
        found |= _existing(plan, f"+{digits[2:]}")
    home = _national_prefix(plan.region)
    if plus and home and digits.startswith(home) and not _calling_code(digits):  # `+8 929 …`: national, with a plus
        found |= _existing(plan, digits)
    return found


def _existing(plan: Plan, spelled: str) -> set[str]:
    """The existing numbers of this spelling: digit for digit, and as its numbering plan normalises it."""
    read = {spelled} if spelled[0] == "+" and _is_let_in(plan, spelled) else set()
    with suppress(NumberParseException):
        number = phonenumbers.parse(spelled, plan.region)
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if phonenumbers.is_valid_number(number) or _is_of_no_country(number) or _is_let_in(plan, e164):
            read.add(e164)
    return read


def _spelled_out(plan: Plan, typed: str) -> str | None:
    """The E.164 form digit for digit, whether or not the number exists. None if the input is not exactly one number."""
    runs = list(_runs(_prepared(typed) or ""))
    if len(runs) != 1 or not runs[0].whole or len(runs[0].pieces) != 1:
        return None
    [piece] = runs[0].pieces
    digits = piece.digits
    if not piece.plus and not digits.startswith("00"):
        with suppress(NumberParseException):
            number = phonenumbers.parse(digits, plan.region)
            digits = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
    e164 = "+" + digits.removeprefix("00")
    return e164 if re.fullmatch(r"\+[1-9][0-9]{4,14}", e164) else None


def _fault(plan: Plan, run: _Run) -> str:
    """The error message for a number that does not exist."""
    piece = run.pieces[-1]
    if len(run.pieces) > 1 or len(piece.digits) < _FEWEST_DIGITS or (piece.plus and _existing(plan, piece.digits)):
        return INVALID
    home = _national_prefix(plan.region)
    if run.whole and not piece.plus and _is_foreign(plan, piece, home):
        return NO_PLUS
    digits = piece.digits.removeprefix(home) if home and not piece.plus else piece.digits  # else `8 929 123 45 6` is long enough
    try:
        number = phonenumbers.parse(f"{'+' * piece.plus}{digits}", plan.region)
    except NumberParseException:
        return INVALID
    reason = phonenumbers.is_possible_number_for_type_with_reason(number, PhoneNumberType.MOBILE)
    return {ValidationResult.TOO_SHORT: TOO_SHORT, ValidationResult.TOO_LONG: TOO_LONG}.get(reason, INVALID)


def _is_foreign(plan: Plan, piece: _Piece, home: str) -> bool:
    """Whether the number is foreign: it is valid with a plus, or it begins with one `0`, the national prefix of most countries but
    not of this one."""
    has_other_prefix = home[:1] not in ("", "0") and re.match("0[1-9]", piece.digits)
    return bool(has_other_prefix) or "" not in _numbers(plan, _Piece(piece.text, plus=True))


def _letter_among_digits(text: str) -> bool:
    """Whether a letter is next to a digit, or letters that look like digits are between digits (`929-OOO-00-01`)."""
    touches = any((one.isalpha() and other.isdecimal()) or (one.isdecimal() and other.isalpha()) for one, other in pairwise(text))
    return touches or _LOOKS_LIKE_DIGITS.search(text) is not None


def _refusal(plan: Plan, e164: str) -> Invalid | None:
    """The refusal if this deployment sends no texts to an existing number, otherwise None."""
    number = phonenumbers.parse(e164)
    countries = {phonenumbers.region_code_for_number(number) or ""}
    if _is_let_in(plan, e164):
        countries = set(COUNTRY_CODE_TO_REGION_CODE[int(_calling_code(e164[1:]))])
    elif not _gets_texts(number):
        return RegionNotServed()
    return None if not plan.regions or countries & plan.regions else RegionNotServed()


def _gets_texts(number: PhoneNumber) -> bool:
    return phonenumbers.number_type(number) in _GET_TEXTS and not _is_of_no_country(number)


def _is_of_no_country(number: PhoneNumber) -> bool:
    """Whether the number belongs to a satellite or another network without a country, and has a possible length."""
    code = number.country_code or 0
    return COUNTRY_CODE_TO_REGION_CODE.get(code) == (_NO_COUNTRY,) and phonenumbers.is_possible_number(number)


def _is_let_in(plan: Plan, e164: str) -> bool:
    return any(len(e164) == len(extra) and e164.startswith(extra.rstrip("x")) for extra in plan.extra_ranges)


def _prefixes(e164: str) -> set[str]:
    """Prefixes that people and forms add although the number has its country code: that code again, or the national prefix `8`."""
    code = _calling_code(e164[1:])
    return {code} | {_national_prefix(region) for region in COUNTRY_CODE_TO_REGION_CODE[int(code)]}


@cache
def _national_prefix(region: str) -> str:
    """The prefix of national calls in the region, like `8`. Empty if the region has none."""
    return phonenumbers.ndd_prefix_for_region(region, True) or ""


def _calling_code(digits: str) -> str:
    """The calling code at the start of these digits, like `7` or `229`. Empty if there is none."""
    return next((digits[:length] for length in (1, 2, 3) if digits[:length] in _CALLING_CODES), "")


def _parsed(e164: str) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(e164)
    except NumberParseException:
        return None


def _digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)
