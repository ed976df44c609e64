"""What people type -> one canonical telephone number (E.164, like `+79298284301`).

Everything that counts, compares or stores a number sees only the canonical form, so that no spelling has an allowance or an
account of its own. A text is never read as another number than it names: what could be two numbers is refused.
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
"""Characters read: E.164 has 15 digits at most; the rest is spaces, the like, and words around the number."""

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
"""What phonenumbers calls the region of networks that belong to no country: satellites, international toll-free numbers."""
_CALLING_CODES: Final = {str(code) for code in COUNTRY_CODE_TO_REGION_CODE}
_FEWEST_DIGITS: Final = 7
"""With fewer it is not said that some are missing: it may be anything."""
_MOST_DIGITS: Final = 20
"""Of one number: 15 (E.164), and a prefix for calls abroad."""

_BETWEEN: Final = " ().-_~/"
"""What may stand between the digits of one number. `/` and `(` may also begin another one, see `_number`."""
_RUN: Final = re.compile(r"[+0-9][+0-9 ().\-_~/]*")
_QUOTES: Final = "\"'`«»“”„‘’"
_BEFORE_DIGITS: Final = re.compile(rf"(?:\A|[ ().\-~/,;:!?<>=&|{_QUOTES}☎☏✆✉№📞📱📲])\Z")
"""What may stand right before a number without `+`: a letter or another sign might be a digit that is not read."""
_AFTER_DIGITS: Final = re.compile(rf"\Z|[ ().\-~/,;:!?<>&|{_QUOTES}]")
_CUT_OFF: Final = re.compile(r"[ .\-]*(?:_|\.\.|--|…|[OoОоΟοlIІіı](?!\w))")
"""After a number: the mask of a digit that is missing, the dots of one that is cut off, a lone letter that looks like a digit."""
_LOOKS_LIKE_DIGITS: Final = re.compile(r"(?<=[0-9])[ ().-]+[OoОоΟοlIІіЗзBВБб]+[ ().-]+(?=[0-9])")
_LEFT_OUT: Final = re.compile(r"[._~-]{2}")
"""Within a number: two signs where digits seem to be left out."""
_EMPHASIS: Final = re.compile(r"([^0-9*_]*)([*_]{1,2})([^*_]+)\2([^0-9*_]*)")
_URL_ENCODED: Final = re.compile(r"\S*%2B\S*", re.IGNORECASE)
_LOCAL_URI: Final = re.compile(r"\s*tel:([^;+]*);phone-context=\+([0-9().\-]+)\s*", re.IGNORECASE)
"""RFC 3966 §5.1.5: a number that is whole only with what its context begins it with."""


class Plan(Protocol):
    """What a deployment says of numbers: `config.Settings` does."""

    @property
    def region(self) -> str:
        """Like `RU`: how a number without `+` is read."""

    @property
    def regions(self) -> frozenset[str]:
        """The countries that are served; empty: every country."""

    @property
    def extra_ranges(self) -> tuple[str, ...]:
        """Ranges beside those that phonenumbers knows, like `+22901xxxxxxxx`."""


def read(plan: Plan, typed: str) -> str:
    """The number that a new text may go to, in E.164.

    Refuses with `InvalidFields` what is no number, names more than one, has an extension, or does not exist, and with
    `RegionNotServed` what gets no texts. A stored number is never sent through here again: numbering plans change, and no
    account should be lost over it.
    """
    number, fault = _named(plan, typed)
    if number is None:
        raise InvalidFields({"telephone_number": [fault]})
    refusal = _refusal(plan, number)
    if refusal is not None:
        raise refusal
    return number


def canonical(plan: Plan, typed: str) -> str | None:
    """The E.164 form of any spelling, for looking a person up; None for what cannot be one. It need not exist."""
    number, fault = _named(plan, typed)
    return number or (None if fault == SEVERAL else _spelled_out(plan, typed))


def meant(plan: Plan, typed: str) -> list[str]:
    """The stored numbers that a spelling may mean, the likeliest first: digit for digit, and as it is read today.

    They differ where a numbering plan changed since the number was stored.
    """
    number = canonical(plan, typed)
    return list(dict.fromkeys([_spelled_out(plan, typed) or number, number])) if number else []


def is_readable(plan: Plan, e164: str) -> bool:
    """Whether a person who types this stored number still reaches it, whichever countries are served."""
    number = _parsed(e164)
    as_read = number and phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return (as_read == e164 and number is not None and _gets_texts(number)) or _is_let_in(plan, e164)


def plan_of(e164: str) -> str:
    """The country code and how many digits follow it, like `+229 and 8 digits`."""
    code = _calling_code(e164[1:])
    return f"+{code} and {len(e164) - 1 - len(code)} digits"


def pretty(e164: str) -> str:
    """As people read it: `+7 929 828-43-01`; unchanged where today's metadata would read another number."""
    number = _parsed(e164)
    shown = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL) if number else e164
    return shown if _digits(shown) == _digits(e164) else e164


def country(e164: str) -> str:
    """The region that a number belongs to, like `RU` (`+7` is not Russia alone); empty where it is none of a country."""
    number = _parsed(e164)
    if number is None:
        return ""
    region = phonenumbers.region_code_for_number(number) or COUNTRY_CODE_TO_REGION_CODE[number.country_code or 0][0]
    return region if region.isalpha() else ""


def example(region: str) -> str:
    """A mobile number of the region, to show how people write them; nobody's."""
    if region == "RU":
        return "+79291234567"
    number = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
    return phonenumbers.format_number(number, PhoneNumberFormat.E164) if number else "+79291234567"


def masked(e164: str) -> str:
    """As strangers may see it: the country's first digit and the last two, like `+7········01`."""
    return e164[:2] + "·" * (len(e164) - 4) + e164[-2:]


def shown(e164: str | None, how: str) -> str | None:
    """As whoever invited its owner may see it (`HAMMER_INVITEE_NUMBERS`): `full`, `masked`, else not at all."""
    return e164 if how == FULL or e164 is None else masked(e164) if how == MASKED else None


@dataclass(frozen=True)
class _Piece:
    """Part of a text that may be a number: its characters, plain, and whether a plus stands before it."""

    text: str
    plus: bool

    @property
    def digits(self) -> str:
        return _digits(self.text)


@dataclass(frozen=True)
class _Run:
    """A stretch of digits in a text, in pieces of which each begins at a plus or at the start."""

    whole: bool
    """Whether no sign beside it may be a digit that is not read."""
    pieces: Sequence[_Piece]


def _named(plan: Plan, typed: str) -> tuple[str | None, str]:
    """The one number that exists and that the text names, however often; or None, and what to say."""
    text = _prepared(typed)
    if text is None:
        return None, INVALID
    runs = list(_runs(text))
    numbers = {number for run in runs for number in _numbers_of_run(plan, run)}
    numbers |= {"" for sign in text if sign.isnumeric() and not sign.isascii()}  # `①`, `Ⅳ`, `一`: digits, and not read
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
    """The text in plain characters, without what wraps a number in links and messages; None for what is not read at all."""
    if len(typed) > LONGEST_SPELLING:
        return None
    text = plain(unquote(typed) if _URL_ENCODED.fullmatch(typed) else typed)
    local = _LOCAL_URI.fullmatch(text)
    if local:
        return f"+{local[2]} {local[1]}"
    emphasised = _EMPHASIS.fullmatch(text)
    return f"{emphasised[1]} {emphasised[3]} {emphasised[4]}" if emphasised else text


def _runs(text: str) -> Iterator[_Run]:
    """Every stretch of digits in the text, with what may stand between the digits of a number."""
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
    """The numbers that a run names, `""` for digits that name none. A country code or `8` may stand before a number once more, as
    forms put it there."""
    if not run.whole:
        return {""}
    *before, last = run.pieces
    named = _numbers(plan, last)
    again = _prefixes(next(iter(named))) if len(named) == 1 and "" not in named else set()
    for piece in before:
        named |= set() if piece.digits in again else _numbers(plan, piece)
    return named


def _numbers(plan: Plan, piece: _Piece) -> set[str]:
    """The numbers that a piece names or may name, `""` for digits that name none."""
    whole = _readings(plan, piece.digits, plus=piece.plus)
    for gap in re.finditer(r"[ ().\-_~/]+", piece.text):
        rest = _Piece(piece.text[gap.end() :], plus=False)
        if whole and not set(gap[0]) & set("(/") and len(rest.digits) > 1:
            continue
        first = _readings(plan, _digits(piece.text[: gap.start()]), plus=piece.plus)
        if first and rest.digits:  # an extension, another number's last digits, or a number once more
            return first | _numbers(plan, rest)
    return whole or {""}


def _readings(plan: Plan, digits: str, *, plus: bool) -> set[str]:
    """The numbers that exist and that these digits may mean."""
    if len(digits) > _MOST_DIGITS:
        return set()
    found = _existing(plan, f"+{digits}" if plus else digits)
    if digits.startswith("00"):  # how most of the world begins a call abroad
        found |= _existing(plan, f"+{digits[2:]}")
    home = _national_prefix(plan.region)
    if plus and home and digits.startswith(home) and not _calling_code(digits):  # `+8 929 …`: at home, with a plus before it
        found |= _existing(plan, digits)
    return found


def _existing(plan: Plan, spelled: str) -> set[str]:
    """The number that this is, digit for digit or as its numbering plan shortens it, if it exists."""
    read = {spelled} if spelled[0] == "+" and _is_let_in(plan, spelled) else set()
    with suppress(NumberParseException):
        number = phonenumbers.parse(spelled, plan.region)
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if phonenumbers.is_valid_number(number) or _is_of_no_country(number) or _is_let_in(plan, e164):
            read.add(e164)
    return read


def _spelled_out(plan: Plan, typed: str) -> str | None:
    """The E.164 form digit for digit, whether or not such a number exists; None for what is not one number alone."""
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
    """What is wrong with a number that does not exist."""
    piece = run.pieces[-1]
    if len(run.pieces) > 1 or len(piece.digits) < _FEWEST_DIGITS or (piece.plus and _existing(plan, piece.digits)):
        return INVALID
    home = _national_prefix(plan.region)
    if run.whole and not piece.plus and _is_foreign(plan, piece, home):
        return NO_PLUS
    digits = piece.digits.removeprefix(home) if home and not piece.plus else piece.digits  # or `8 929 123 45 6` is long enough
    try:
        number = phonenumbers.parse(f"{'+' * piece.plus}{digits}", plan.region)
    except NumberParseException:
        return INVALID
    reason = phonenumbers.is_possible_number_for_type_with_reason(number, PhoneNumberType.MOBILE)
    return {ValidationResult.TOO_SHORT: TOO_SHORT, ValidationResult.TOO_LONG: TOO_LONG}.get(reason, INVALID)


def _is_foreign(plan: Plan, piece: _Piece, home: str) -> bool:
    """Whether only the plus is missing; or the number begins with one `0`, as calls within most countries do, and those within this
    one with another `home`."""
    dialled_abroad = home[:1] not in ("", "0") and re.match("0[1-9]", piece.digits)
    return bool(dialled_abroad) or "" not in _numbers(plan, _Piece(piece.text, plus=True))


def _letter_among_digits(text: str) -> bool:
    """Whether a letter touches a digit, or stands between digits as one that it looks like (`929-OOO-00-01`)."""
    touches = any((one.isalpha() and other.isdecimal()) or (one.isdecimal() and other.isalpha()) for one, other in pairwise(text))
    return touches or _LOOKS_LIKE_DIGITS.search(text) is not None


def _refusal(plan: Plan, e164: str) -> Invalid | None:
    """Why an existing number gets no text from this deployment; None where it does."""
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
    """Whether it is of a satellite, or another network that belongs to no country; by its length it may exist."""
    code = number.country_code or 0
    return COUNTRY_CODE_TO_REGION_CODE.get(code) == (_NO_COUNTRY,) and phonenumbers.is_possible_number(number)


def _is_let_in(plan: Plan, e164: str) -> bool:
    return any(len(e164) == len(extra) and e164.startswith(extra.rstrip("x")) for extra in plan.extra_ranges)


def _prefixes(e164: str) -> set[str]:
    """What people and forms put before a number although it has its country code: that once more, or the country's own `8`."""
    code = _calling_code(e164[1:])
    return {code} | {_national_prefix(region) for region in COUNTRY_CODE_TO_REGION_CODE[int(code)]}


@cache
def _national_prefix(region: str) -> str:
    """What a call within the region begins with, like `8`; empty where there is no such thing."""
    return phonenumbers.ndd_prefix_for_region(region, True) or ""


def _calling_code(digits: str) -> str:
    """The calling code that these digits begin with, like `7` or `229`; empty where they begin with none."""
    return next((digits[:length] for length in (1, 2, 3) if digits[:length] in _CALLING_CODES), "")


def _parsed(e164: str) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(e164)
    except NumberParseException:
        return None


def _digits(text: str) -> str:
    return re.sub("[^0-9]", "", text)
