"""Input is converted to one canonical telephone number, and is never read as a different number."""

import sys
import unicodedata
from dataclasses import dataclass

import hypothesis
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hammer.parsing import phones
from hammer.refusals import InvalidFields, Refusal, RegionNotServed
from tests.actions import ANNA
from tests.examples import examples

separators = st.sampled_from(["", " ", "-", "  ", ".", "\u00a0", "\u2011", "\u2013"])
national = st.integers(0, 9_999_999).map(lambda n: f"929{n:07d}")


@dataclass(frozen=True)
class Plan:
    region: str = "RU"
    regions: frozenset[str] = frozenset()
    extra_ranges: tuple[str, ...] = ()


RUSSIA = Plan()
ALL_CHARACTERS = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
DIGITS = [
    "".join(signs)
    for zero in ALL_CHARACTERS
    if unicodedata.decimal(zero, None) == 0
    for signs in [[chr(ord(zero) + n) for n in range(10)]]
]
"""The ten digits of each script that has its own digits."""
SPACES = [sign for sign in ALL_CHARACTERS if unicodedata.category(sign) in ("Zs", "Zl", "Zp")] + list("\t\n\r\u2800")
UNSEEN = [*"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d"]
UNSEEN += [*"\u2060\u2063\u2066\u2067\u2068\u2069\u206f\u3164\ufe0f\ufeff\uffa0\U000e0001\U000e0030\U000e0100"]
DASHES = [sign for sign in ALL_CHARACTERS if unicodedata.category(sign) == "Pd"] + ["\u2212"]


def read(typed: str, *, region: str = "RU", regions: frozenset[str] = frozenset(), extra: tuple[str, ...] = ()) -> str:
    return phones.read(Plan(region, regions, extra), typed)


def fault(typed: str, **plan: str) -> str:
    """The error message for an input with no number, or with more than one."""
    with pytest.raises(InvalidFields) as refused:
        read(typed, **plan)  # type: ignore[arg-type]
    [said] = refused.value.errors["telephone_number"]
    return said


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """A number as a person may write it, and the canonical number."""
    digits = draw(national)
    prefix = draw(st.sampled_from(["+7", "8", "+ 7", "8 ", "+7 ", "", "7", "8-", "\uff0b7"]))
    if draw(st.booleans()):
        groups = [f"({digits[:3]})", digits[3:6], digits[6:8], digits[8:]]
    else:
        groups = [digits[:3], digits[3:6], digits[6:]]
    between = draw(separators)
    return f"{draw(separators)}{prefix}{between.join(groups)}{draw(st.sampled_from(['', ' ', chr(10)]))}", f"+7{digits}"


@given(spellings())
@pytest.mark.requirement("PHN-01")
def test_every_spelling_of_a_number_is_one_number(spelling: tuple[str, str]) -> None:
    typed, meant = spelling
    assert read(typed) == meant
    assert phones.canonical(RUSSIA, typed) == meant


@given(st.text(max_size=80) | st.text("0123456789+-() .;ext#*,", max_size=80))
@pytest.mark.requirement("PHN-01")
def test_any_input_is_a_number_or_a_refusal(typed: str) -> None:
    try:
        number = read(typed)
    except Refusal:
        return
    assert read(number) == number
    assert number.startswith("+")
    assert number[1:].isascii()
    assert number[1:].isdigit()
    assert 8 <= len(number) <= 16
    assert phones.canonical(RUSSIA, typed) == number


@pytest.mark.parametrize("digits", ["８９２９００００００１", "٨٩٢٩٠٠٠٠٠٠١", "８（９２９）０００－００－０１"])
@pytest.mark.requirement("PHN-01")
def test_digits_of_other_scripts_are_the_same_number(digits: str) -> None:
    assert read(digits) == ANNA


@pytest.mark.parametrize(
    "typed",
    ["8 929 000-00-01, звони", "+7 929 000 00 01 (Иван)", "Иван: +7 929 000 00 01, мобильный", "8 929 000-00-01, call me",
     "9290000001 — это я", "«8 (929) 000-00-01»."],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_words_around_a_number_do_not_matter(typed: str) -> None:
    assert read(typed) == ANNA
    assert phones.canonical(RUSSIA, typed) == ANNA


@pytest.mark.parametrize(
    "typed",
    ["8 929 000-00-01, 8 929 000-00-02", "8 929 000-00-01/02", "8 929 000-00-01 доб. 5", "8 929 000-00-01 (доб. 5), Иван",
     "8 929 000-00-01, внутренний 5, Иван", "8 929 000-00-01 ext. 5, call me", "8 929 000-00-01, звони до 18",
     "+79290000001000000, звони", "8 929 000 mama", "8 929 000 4 and"],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_a_number_beside_other_digits_is_not_guessed(typed: str) -> None:
    assert fault(typed) in (phones.SEVERAL, phones.INVALID, phones.TOO_SHORT, phones.TOO_LONG)


@pytest.mark.parametrize(
    "typed",
    ["8 929 000-00-01, 8 929 000-00-02", "8 929 000-00-01/02", "8 929 000-00-01 (02)", "8 929 000-00-01 доб. 5",
     "+7 929 000 00 01 ext. 5", "+79290000001;ext=1", "tel:+79290000001;ext=5", "8 929 000-00-01\n8 929 000-00-02",
     "[8 929 000-00-01](tel:+79290000002)", "+79290000001 +79290000002", "8 929 000-00-01, до 18", "8 929 000 00 01 ①"],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_the_error_for_other_digits_beside_a_number_asks_for_one_number(typed: str) -> None:
    assert fault(typed) == phones.SEVERAL


@pytest.mark.parametrize(
    "typed",
    ["", " ", "abc", "😀", "../../etc", "me", "\x00", "+", "12", "8" * 65,
     "+79290000001" + " " * 256, "+999290000001", "' or 1=1 --", "+7929000\x0000001",
     "\u202e+79290000001", "79290000001+", "79290000001@s.whatsapp.net"],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_the_error_for_an_invalid_number_is_on_its_field(typed: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        read(typed)
    assert refused.value.errors == {"telephone_number": [phones.INVALID if typed.strip() else phones.MISSING]}


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        ("+7 495 123-45-67", "fixed line"),
        ("+7 800 555-35-35", "free of charge"),
        ("+7 809 123-45-67", "at a premium"),
        ("+44 909 879 0000", "at a premium"),
        ("+44 845 123 4567", "at shared cost"),
    ],
)
@pytest.mark.requirement("SMS-04")
def test_a_number_that_gets_no_texts_is_not_served(typed: str, kind: str) -> None:
    with pytest.raises(RegionNotServed):
        read(typed)


def test_all_countries_are_served_if_none_is_named() -> None:
    assert read("+44 7911 123456") == "+447911123456"
    assert read("+1 201 555 0123") == "+12015550123"


@pytest.mark.requirement("SMS-04")
def test_only_the_countries_that_are_named_are_served() -> None:
    served = frozenset({"RU", "KZ"})
    assert read("8 929 000 00 01", regions=served) == ANNA
    assert read("+7 701 123 45 67", regions=served) == "+77011234567"
    with pytest.raises(RegionNotServed):
        read("+7 701 123 45 67", regions=frozenset({"RU"}))
    with pytest.raises(RegionNotServed):
        read("+44 7911 123456", regions=served)


def test_a_number_without_a_plus_is_read_by_the_region() -> None:
    assert read("07911 123456", region="GB") == "+447911123456"


@given(national)
def test_a_masked_number_shows_its_country_and_the_last_two_digits(digits: str) -> None:
    masked = phones.masked(f"+7{digits}")
    assert masked == "+7········" + digits[-2:]


@pytest.mark.parametrize(
    ("number", "seen"),
    [("+79298284301", "+7 ··· ···-43-01"), ("+447911123456", "+44 ···· ··3456"), ("+22997123456", "+229 ····3456"), ("", "")],
)
def test_staff_see_the_country_code_and_the_last_four_digits(number: str, seen: str) -> None:
    assert phones.last_four(number) == seen


def test_a_number_is_shown_as_people_read_it() -> None:
    assert phones.pretty("+79298284301") == "+7 929 828-43-01"


# -- as people really write them ------------------------------------------------------------------------------------------------

MEANT = "+79298284301"


@pytest.mark.parametrize(
    "typed",
    [
        # by hand
        "9298284301", "89298284301", "79298284301", "+79298284301", "8-929-828-43-01", "8 (929) 828-43-01", "8(929)8284301",
        "+7(929)828-43-01", "(+7) 929 828 43 01", "+(7) 929 828 43 01", "8.929.828.43.01", "8/929/828/43/01", "+7_929_828_43_01",
        "8 9 2 9 8 2 8 4 3 0 1", "929-828 43 01", "+ 7 929 828 43 01", "++79298284301", "＋７９２９８２８４３０１",
        "8 ９２９ 828 43 01",
        # a plus before the 8, and the ways to call abroad
        "+89298284301", "+8 (929) 828-43-01", "0079298284301", "00 7 929 828-43-01", "+00 7 929 828 43 01", "8 10 7 929 828 43 01",
        "8~10 7 929 828 43 01",
        # prefixes that forms add
        "+7 +7 929 828 43 01", "+7 (+7 929) 828-43-01", "+7 8 929 828 43 01", "+7 (8929) 828-43-01", "8 +7 929 828 43 01",
        "7 +79298284301", "+7 (892) 982-84-30-1",
        # copied out of address books, messengers, pages and links
        "\u202a+7 929 828\u201143\u201101\u202c", "\u202d+7 929 828-43-01\u202c", "\u2066+7 929 828 43 01\u2069",
        "+7\u00a0929\u00a0828\u201143\u201101", "+7\u2009929\u2009828\u200943\u200901", "+7\u202f(929)\u202f828\u201243\u201201",
        "+7 929 828–43–01", "+7 929 828—43—01", "8\u00ad929\u00ad828\u00ad43\u00ad01", "\ufeff89298284301", "8929\u200b8284301",
        "tel:+79298284301", "TEL:+7-929-828-43-01", "tel:+7(929)828.43.01", "tel:929-828-43-01;phone-context=+7",
        "tel:8-929-828-43-01;phone-context=+7", "tel:8284301;phone-context=+7929", "%2B79298284301",
        "tel:%2B7%20929%20828%2043%2001",
        "[+7 929 828-43-01](tel:+79298284301)", "[8 (929) 828-43-01](tel:89298284301)", "<tel:+79298284301>",
        '<a href="tel:+79298284301">+7 929 828-43-01</a>', "*+7 929 828-43-01*", "**8 929 828-43-01**", "_+7 929 828-43-01_",
        "https://wa.me/79298284301", "wa.me/79298284301?text=привет", "https://t.me/+79298284301", "sms:+79298284301",
        "whatsapp://send?phone=79298284301", "https://api.whatsapp.com/send?phone=%2B79298284301&text=%D0%BF%D1%80",
        "«+7 929 828-43-01»",
        "8️⃣9️⃣2️⃣9️⃣8️⃣2️⃣8️⃣4️⃣3️⃣0️⃣1️⃣",
        # with words around it
        "т. 8 929 828-43-01", "тел.: +7 929 828 43 01", "моб.89298284301", "Мой номер: +7 929 828-43-01.", "☎89298284301",
        "📞 8 929 828 43 01", "№ 89298284301", "Иван +7 929 828-43-01 (моб.)", "+7 929 828 43 01 — Иван", "8 929 828-43-01;",
        # twice
        "+7 929 828-43-01, 8 (929) 828-43-01", "8 929 828-43-01 8 929 828-43-01", "+79298284301\n+79298284301",
        "8 929 828-43-01 / +7 929 828 43 01", "8 929 828-43-01 (+7 929 828-43-01)", "89298284301 (89298284301)",
        # in digits of other scripts
        "٨٩٢٩٨٢٨٤٣٠١", "۸۹۲۹۸۲۸۴۳۰۱", "८९२९८२८४३०१", "৮৯২৯৮২৮৪৩০১", "๘๙๒๙๘๒๘๔๓๐๑", "+٧ ٩٢٩ ٨٢٨ ٤٣ ٠١", "𝟖𝟗𝟐𝟗𝟖𝟐𝟖𝟒𝟑𝟎𝟏",
    ],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_a_number_is_read_as_people_really_write_it(typed: str) -> None:
    assert read(typed) == MEANT
    assert phones.canonical(RUSSIA, typed) == MEANT
    assert MEANT in phones.meant(RUSSIA, typed)


@pytest.mark.parametrize(
    ("region", "typed", "meant"),
    [
        ("DE", "0151 12345678", "+4915112345678"),
        ("DE", "+49 (0)151/12345678", "+4915112345678"),
        ("DE", "+0151 12345678", "+4915112345678"),
        ("GB", "07911 123456", "+447911123456"),
        ("GB", "0 +44 7911 123456", "+447911123456"),
        ("US", "(201) 555-0123", "+12015550123"),
        ("US", "011 7 929 828 43 01", MEANT),
        ("US", "00 7 929 828 43 01", MEANT),
        ("AT", "0664/1234567", "+436641234567"),
        ("AR", "011 15-2345-6789", "+5491123456789"),
        ("KZ", "8 701 234 56 78", "+77012345678"),
        ("KZ", "+8 777 234 56 78", "+77772345678"),
        ("BR", "00 55 11 98765-4321", "+5511987654321"),
        ("RU", "8 10 44 7911 123456", "+447911123456"),
        ("RU", "+84 912 345 678", "+84912345678"),  # also begins with 8, and has its country code
        ("RU", "+81 90 1234 5678", "+819012345678"),
    ],
)
@pytest.mark.requirement("PHN-01")
def test_each_region_has_its_own_prefixes(region: str, typed: str, meant: str) -> None:
    assert read(typed, region=region) == meant


@pytest.mark.parametrize(
    "typed",
    ["+43 664 1234567/89", "+43 664 1234567 (89)", "+43 664 1234567/8",
     "+43 664 1234567 (8)", "+43 664 1234567 8", "+43 664 1234567-8", "+43 664 1234567O", "+43 664 1234567 O",
     "+43 664 1234567_", "+43 664 1234567…", "+43 664 1234567...", "+43 664 1234567*", "+43 664 1234567#8", "+43 664 1234567;8",
     "+43 664 1234567,8", "+43 664 1234567x", "+43 664 123__567", "+43 664 12·34567", "+43 664 1234567⁸", "+43 664 12x34567",
     "0664 1*2*4567", "+43 664 1234567%38"],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_part_of_a_number_is_not_read_as_a_number_where_lengths_vary(typed: str) -> None:
    """In Austria `+43 664 1234567` is a number, and so is one with another digit at its end."""
    fault(typed, region="AT")
    assert phones.canonical(Plan("AT"), typed) is None


@pytest.mark.parametrize(
    "typed", ["+7 770 123 45 67 8", "+77701234567 8", "+7 7 929 828 43 01", "+779298284301", "+8 701 234 56 78"]
)
@pytest.mark.requirement("PHN-01")
def test_an_extra_digit_is_not_read_as_a_repeated_country_code(typed: str) -> None:
    """`+7` before `7701234567 8` would be the number of another person, `+7 701 234 56 78`; `+870` is a satellite network."""
    assert fault(typed) in (phones.TOO_LONG, phones.INVALID)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("8 929 828-43-0", phones.TOO_SHORT), ("+7 929 828-43-0", phones.TOO_SHORT), ("929 828 43", phones.TOO_SHORT),
        ("+44 7911 1234", phones.TOO_SHORT), ("тел. 8 929 828-43-0", phones.TOO_SHORT),
        ("8 929 828-43-011", phones.TOO_LONG), ("+7 929 828-43-011", phones.TOO_LONG), ("+79298284301000000", phones.TOO_LONG),
        ("112", phones.INVALID), ("+7 929", phones.INVALID), ("+7 229 828-43-01", phones.INVALID),
        ("+999 929 828-43-01", phones.INVALID), ("+7 (929) 828-43-0_", phones.TOO_SHORT), ("8929828430О", phones.LETTER),
        ("8 929 828-43-0¹", phones.TOO_SHORT), ("8929828430①", phones.TOO_SHORT),
        ("8 929 828-4з-01", phones.LETTER), ("код89298284301", phones.LETTER),
        ("8-929-OOO-43-01", phones.LETTER), ("8 (929) ООО-43-01", phones.LETTER), ("+7 929 828 4З 0 l", phones.LETTER),
        ("abc1", phones.INVALID),
    ],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_the_error_names_a_missing_digit_an_extra_digit_or_a_letter(typed: str, said: str) -> None:
    assert fault(typed) == said


@pytest.mark.parametrize(
    "typed",
    [
        "447911123456", "380671234567", "44 7911 123456", "Call 447911123456", "wa.me/447911123456",
        "07911 123456", "0151 23456789", "06 12 34 56 78",  # national format in Britain, Germany and France
    ],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_the_error_for_a_foreign_number_without_a_plus_asks_for_the_plus(typed: str) -> None:
    assert fault(typed) == phones.NO_PLUS


DECORATION = st.sampled_from([*SPACES, *UNSEEN, *DASHES, *".()[]_/~*#,;:'\"«»…·x+%"])
decorations = st.lists(DECORATION, min_size=1, max_size=2).map("".join)


@st.composite
def decorated(draw: st.DrawFn) -> tuple[str, str]:
    """A number in digits of any script, with any characters between and around them, and the canonical number."""
    digits = draw(national)
    spelled = draw(st.sampled_from(["+7", "8", "7", ""])) + digits
    scripts = draw(st.sampled_from(DIGITS) | st.just("0123456789"))
    signs = [scripts[int(sign)] if sign.isdigit() else sign for sign in spelled]
    for _ in range(draw(st.integers(0, 5))):
        signs.insert(draw(st.integers(0, len(signs))), draw(decorations))
    return "".join(signs), f"+7{digits}"


@given(decorated())
@hypothesis.settings(max_examples=examples(500))
@pytest.mark.requirement("PHN-01")
def test_with_any_characters_between_its_digits_a_number_is_itself_or_refused(number: tuple[str, str]) -> None:
    typed, meant = number
    try:
        assert read(typed) == meant
    except InvalidFields:
        assert phones.canonical(RUSSIA, typed) in (meant, None)
    except RegionNotServed:
        assert "+" in typed  # which makes it a number of another country


@pytest.mark.parametrize("sign", [*SPACES, *UNSEEN, *DASHES], ids=ascii)
@pytest.mark.requirement("PHN-01")
def test_every_space_dash_and_invisible_character_is_allowed_between_digits(sign: str) -> None:
    assert read(sign.join(["+7", "929", "828", "43", "01"])) == MEANT
    assert read(f"{sign}8 929 828 43 01{sign}") == MEANT


@pytest.mark.parametrize("digits", DIGITS)
@pytest.mark.requirement("PHN-01")
def test_digits_of_every_script_are_digits(digits: str) -> None:
    assert read("".join(digits[int(digit)] for digit in "89298284301")) == MEANT


@given(st.sampled_from([sign for sign in ALL_CHARACTERS if not sign.isascii()]), st.integers(0, 11))
@pytest.mark.requirement("PHN-01")
def test_no_other_character_is_a_digit_or_hides_one(sign: str, place: int) -> None:
    typed = "+43 664 1234"[:place] + sign + "+43 664 1234"[place:]
    try:
        number = read(typed, region="AT")
    except Refusal:  # a digit of another script may make a number that is not served
        return
    digit = unicodedata.decimal(sign, None)
    spelled = typed if digit is None else typed.replace(sign, str(digit))
    assert number[1:] == "".join(c for c in spelled if c.isascii() and c.isdigit())


@given(national, st.integers(1, 9), st.integers(1, 9), separators)
@pytest.mark.requirement("PHN-01")
def test_another_digit_is_another_number_or_none(digits: str, place: int, more: int, between: str) -> None:
    other = digits[:place] + str((int(digits[place]) + more) % 10) + digits[place + 1 :]
    try:
        assert read(between.join(["8", other[:3], other[3:6], other[6:]])) == f"+7{other}"
    except Refusal:
        return


@given(national, national, st.sampled_from([" ", ", ", "\n", " / ", " и ", "; ", " (", "](tel:", " +7", "\u200b "]), st.booleans())
@pytest.mark.requirement("PHN-01")
def test_two_numbers_in_one_text_are_refused(one: str, other: str, between: str, plus: bool) -> None:
    assume(one != other)
    before = "+7" if plus else "8"
    fault(f"{before}{one}{between}{'' if between == ' +7' else before}{other}")


@given(
    national, st.sampled_from([" ", ", ", "\n", " / ", " и ", "; ", " (", "](tel:"]), st.sampled_from("78+"), st.sampled_from("78+")
)
@pytest.mark.requirement("PHN-01")
def test_a_repeated_number_is_one_number(digits: str, between: str, first: str, second: str) -> None:
    spelled = {"7": f"7{digits}", "8": f"8{digits}", "+": f"+7{digits}"}
    assert read(f"{spelled[first]}{between}{spelled[second]}") == f"+7{digits}"


# -- networks without a country, and missing metadata ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    ["+870 773 111 632", "+881 612 345 678", "+882 16 12345678", "+883 510 000 000", "+979 123 456 789", "+800 1234 5678",
     "+808 1234 5678", "+878 10 1234567890", "+888 123 456 789 01", "00 870 773 111 632", "+870 123 456 789"],
)  # fmt: skip
@pytest.mark.requirement("SMS-04")
def test_satellites_and_other_networks_without_a_country_are_not_served(typed: str) -> None:
    with pytest.raises(RegionNotServed):
        read(typed)


@pytest.mark.requirement("PHN-01")
def test_an_extra_range_from_the_settings_is_read_like_any_other() -> None:
    old_benin, new_russia = ("+2299xxxxxxx", "+7100xxxxxxx"), frozenset({"RU", "BJ"})
    assert read("+229 97 12 34 56", extra=old_benin) == "+22997123456"
    assert read("97 12 34 56", region="BJ", extra=old_benin) == "+22997123456"
    assert read("8 100 123-45-67", extra=old_benin, regions=new_russia) == "+71001234567"
    with pytest.raises(RegionNotServed):
        read("+229 97 12 34 56", extra=old_benin, regions=frozenset({"RU"}))
    for typed in ("+229 97 12 34 5", "+229 97 12 34 567", "+229 87 12 34 56"):
        with pytest.raises(InvalidFields):
            read(typed, extra=old_benin)


def test_a_number_of_an_old_plan_is_found_and_shown_as_it_is_stored() -> None:
    """Benin added `01` before its numbers, and Mexico removed a `1` from them."""
    assert phones.meant(RUSSIA, "+229 97-12-34-56") == ["+22997123456"]
    assert phones.meant(Plan("BJ"), "97 12 34 56") == ["+22997123456"]
    assert phones.meant(RUSSIA, "+52 1 55 1234 5678")[0] == "+5215512345678"
    assert phones.pretty("+5215512345678").replace(" ", "") == "+5215512345678"
    assert phones.pretty("+22997123456") == "+229 97123456"
    assert phones.pretty("+789298284301") == "+789298284301"
    assert phones.meant(RUSSIA, "+7 8 929 828 43 01") == ["+789298284301", MEANT]
    assert phones.country("+22997123456") == "BJ"


@pytest.mark.parametrize(
    ("stored", "readable"),
    [
        (MEANT, True),
        ("+2290197123456", True),
        ("+22997123456", False),
        ("+5215512345678", False),
        ("+74951234567", False),
        ("+789298284301", False),
    ],
)
def test_a_stored_number_is_readable_if_typing_it_gives_this_number(stored: str, readable: bool) -> None:
    assert phones.is_readable(Plan(regions=frozenset({"RU"})), stored) == readable
    assert phones.is_readable(Plan(extra_ranges=(stored[:5] + "x" * (len(stored) - 5),)), stored)
