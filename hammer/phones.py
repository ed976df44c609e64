"""What people type -> one canonical telephone number (E.164, like `+79298284301`).

Everything that counts, compares or stores a number sees only the canonical form, so that no spelling has an allowance or an
account of its own.
"""

from collections.abc import Collection

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from config import FULL, MASKED
from hammer.refusals import N_, InvalidFields, RegionNotServed

LONGEST_SPELLING = 64
"""Characters read; E.164 has 15 digits at most, and the rest is brackets, spaces and the like."""

MISSING = N_("Enter your telephone number.")
INVALID = N_("This does not look like a telephone number. Example: +7 929 123-45-67.")

_GET_TEXTS = {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE}


def read(typed: str, *, region: str, regions: Collection[str]) -> str:
    """The number that a new text may go to, in E.164.

    `region` (like `RU`) reads a number typed without `+`; an empty `regions` serves every country. Refuses with `InvalidFields`
    what is no number, has an extension, or does not exist, and with `RegionNotServed` what gets no texts. A stored number is
    never sent through here again: numbering plans change, and nobody should lose an account over it.
    """
    number = _parse(typed, region)
    kind = PhoneNumberType.UNKNOWN if number is None or number.extension else phonenumbers.number_type(number)
    if number is None or kind == PhoneNumberType.UNKNOWN:  # of no kind: it does not exist
        raise InvalidFields({"telephone_number": [INVALID if typed.strip() else MISSING]})
    if kind not in _GET_TEXTS:
        raise RegionNotServed
    if regions and phonenumbers.region_code_for_number(number) not in regions:
        raise RegionNotServed
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def canonical(typed: str, *, region: str) -> str | None:
    """The E.164 form of any spelling, for looking somebody up; None for what cannot be one."""
    number = _parse(typed, region)
    if number is None or number.extension:
        return None
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def pretty(e164: str) -> str:
    """As people read it: `+7 929 828-43-01`."""
    return phonenumbers.format_number(phonenumbers.parse(e164), PhoneNumberFormat.INTERNATIONAL)


def country(e164: str) -> str:
    """The region that a number belongs to, like `RU` (`+7` is not Russia alone); empty where it is none of a country."""
    region = phonenumbers.region_code_for_number(phonenumbers.parse(e164)) or ""
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


def _parse(typed: str, region: str) -> PhoneNumber | None:
    """The number that was typed, alone or with words around it; one that does not exist, too."""
    if len(typed) > LONGEST_SPELLING:
        return None
    if any(sign.isalpha() for sign in typed):  # which would be dialled as digits, and be somebody's number
        return _among_words(typed, region)
    try:
        number = phonenumbers.parse(typed, region)
    except NumberParseException:
        number = None
    if number is not None and phonenumbers.is_valid_number(number):
        return number
    return _among_words(typed, region) or number


def _among_words(typed: str, region: str) -> PhoneNumber | None:
    """The number that a sentence names. None when it has other digits besides: another number, or somebody's extension."""
    found = list(phonenumbers.PhoneNumberMatcher(typed, region))
    if len(found) != 1 or any(sign.isdigit() for sign in typed[: found[0].start] + typed[found[0].end :]):
        return None
    return found[0].number
