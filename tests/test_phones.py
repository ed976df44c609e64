"""What people type -> one canonical telephone number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hammer import phones
from hammer.refusals import InvalidFields, Refusal, RegionNotServed
from tests.deeds import ANNA

separators = st.sampled_from(["", " ", "-", "  ", ".", "\u00a0", "\u2011", "\u2013"])
national = st.integers(0, 9_999_999).map(lambda n: f"929{n:07d}")


def read(typed: str, *, region: str = "RU", regions: frozenset[str] = frozenset()) -> str:
    return phones.read(typed, region=region, regions=regions)


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str]:
    """A number as somebody may write it, and the number that is meant."""
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
    assert phones.canonical(typed, region="RU") == meant


@given(st.text(max_size=80) | st.text("0123456789+-() .;ext#*,", max_size=80))
@pytest.mark.requirement("PHN-01")
def test_whatever_is_typed_is_a_number_or_a_refusal(typed: str) -> None:
    try:
        number = read(typed)
    except Refusal:
        return
    assert read(number) == number
    assert number.startswith("+")
    assert number[1:].isascii()
    assert number[1:].isdigit()
    assert 8 <= len(number) <= 16
    assert phones.canonical(typed, region="RU") == number


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
    assert phones.canonical(typed, region="RU") == ANNA


@pytest.mark.parametrize(
    "typed",
    ["8 929 000-00-01, 8 929 000-00-02", "8 929 000-00-01/02", "8 929 000-00-01 доб. 5", "8 929 000-00-01 (доб. 5), Иван",
     "8 929 000-00-01, внутренний 5, Иван", "8 929 000-00-01 ext. 5, call me", "8 929 000-00-01, звони до 18",
     "+79290000001000000, звони", "8 929 000 mama", "8 929 000 4 and"],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_words_with_other_digits_among_them_are_not_guessed_at(typed: str) -> None:
    with pytest.raises(InvalidFields):
        read(typed)


@pytest.mark.parametrize(
    "typed",
    ["", " ", "abc", "😀", "../../etc", "me", "\x00", "+", "12", "+79290000001000000", "8929000000", "+7 929 000 00 01 ext. 5",
     "+79290000001;ext=1", "8" * 65, "+79290000001" + " " * 64, "+999290000001", "' or 1=1 --"],
)  # fmt: skip
@pytest.mark.requirement("PHN-01")
def test_what_is_no_number_is_said_on_its_field(typed: str) -> None:
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


def test_other_countries_are_served_where_none_is_named() -> None:
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


def test_the_region_reads_what_has_no_plus() -> None:
    assert read("07911 123456", region="GB") == "+447911123456"


@given(national)
def test_a_masked_number_shows_its_country_and_the_last_two_digits(digits: str) -> None:
    masked = phones.masked(f"+7{digits}")
    assert masked == "+7········" + digits[-2:]


def test_a_number_is_shown_as_people_read_it() -> None:
    assert phones.pretty("+79298284301") == "+7 929 828-43-01"
