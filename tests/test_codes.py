"""Drawing one-time codes and invite codes, and reading what people type for them."""

import re
import sys
import unicodedata
from base64 import urlsafe_b64decode
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hammer import codes

KEY = bytes(range(32))
DRAWS = 200_000
CHI_SQUARE_9 = 27.88
"""The bound of chi-square with 9 degrees of freedom: a uniform source stays below it in 999 of 1000 cases."""


def code(
    key: bytes = KEY, verification_id: str = "v", number: str = "+79290000001", purpose: str = "login", length: int = 4
) -> str:
    return codes.one_time_code(key, verification_id=verification_id, telephone_number=number, purpose=purpose, length=length)


def chi_square(counts: Counter[str], possible: int) -> float:
    expected = counts.total() / possible
    seen = sum((found - expected) ** 2 / expected for found in counts.values())
    return seen + (possible - len(counts)) * expected


@pytest.mark.requirement("OTP-01")
def test_one_time_codes_are_uniform() -> None:
    """The key and the ids are fixed, so that the result is the same each time."""
    drawn = [code(verification_id=str(n)) for n in range(DRAWS)]
    for position in range(4):
        assert chi_square(Counter(digits[position] for digits in drawn), 10) < CHI_SQUARE_9
    assert len(set(drawn)) == 10_000
    assert chi_square(Counter(drawn), 10_000) < 9999 + 4 * (2 * 9999) ** 0.5


@pytest.mark.parametrize("length", [4, 6, 8])
@pytest.mark.requirement("OTP-01", "OTP-06")
def test_a_one_time_code_has_all_its_digits(length: int) -> None:
    drawn = [code(verification_id=str(n), length=length) for n in range(500)]
    assert all(re.fullmatch(rf"[0-9]{{{length}}}", digits) for digits in drawn)
    assert any(digits.startswith("0") for digits in drawn)


def test_a_one_time_code_is_the_same_each_time() -> None:
    assert code(length=8) == code(length=8)


@pytest.mark.parametrize(("length", "digits"), [(4, "6868"), (6, "063166"), (8, "75574853")])
def test_a_one_time_code_is_computed_as_in_earlier_versions(length: int, digits: str) -> None:
    """HMAC-SHA256 of `v1|v|+79290000001|login|length`, as other programs compute it. Otherwise codes that are pending during an
    upgrade would not be accepted."""
    assert code(length=length) == digits


@pytest.mark.requirement("OTP-03")
def test_a_code_depends_on_each_of_its_inputs() -> None:
    eight = code(length=8)
    others = [
        code(length=8, key=bytes(32)),
        code(length=8, verification_id="w"),
        code(length=8, number="+79290000002"),
        code(length=8, purpose="change"),
        code(length=6) + "00",
    ]
    assert len({eight, *others}) == 6


@pytest.mark.parametrize(
    "typed",
    ["1234", " 1234 ", "12 34", "12-34", "1 2 3 4", "12\u201134", "12\u00a034\n", "12  34", "12\u200934", "12\u221234",
     "12\u200b34", "\u202a1234\u202c", "1\ufe0f\u20e32\ufe0f\u20e33\ufe0f\u20e34\ufe0f\u20e3"],
)  # fmt: skip
@pytest.mark.requirement("OTP-07")
def test_a_code_may_be_typed_with_spaces_hyphens_and_invisible_characters(typed: str) -> None:
    assert codes.read_one_time_code(typed) == "1234"


@pytest.mark.parametrize("zero", [sign for sign in map(chr, range(sys.maxunicode + 1)) if unicodedata.decimal(sign, None) == 0])
@pytest.mark.requirement("OTP-07")
def test_digits_of_every_script_are_digits(zero: str) -> None:
    assert codes.read_one_time_code("".join(chr(ord(zero) + digit) for digit in (2, 4, 6, 3))) == "2463"
    assert codes.read_one_time_code(f"Hammer: 2{chr(ord(zero) + 4)}63.") == "2463"


@given(st.text() | st.text("0123456789 -.@#+a\uff11\u0661\u200b\n"))
@pytest.mark.requirement("OTP-07")
def test_a_code_is_read_as_four_to_eight_digits_of_the_input_in_their_order(typed: str) -> None:
    read = codes.read_one_time_code(typed)
    digits = "".join(str(unicodedata.decimal(sign)) for sign in typed if unicodedata.decimal(sign, None) is not None)
    assert read is None or (re.fullmatch(r"[0-9]{4,8}", read) and read in digits)


@pytest.mark.parametrize(
    "typed",
    ["", "123", "123456789", "+1234", "1234.0", "1e10", "1" * 100, "\u00b9\u00b2\u00b3\u2074", "\u2460\u2461\u2462\u2463",
     "一二三四", "1\u03362\u03363\u03364\u0336", "\u202e1234", "12\x0034", "1 " * 8000],
)  # fmt: skip
@pytest.mark.requirement("OTP-07")
def test_input_that_is_not_a_code_is_not_read(typed: str) -> None:
    assert codes.read_one_time_code(typed) is None


@pytest.mark.parametrize(
    "pasted",
    ["Hammer: 2463 — код для входа. Никому не говорите его.", "Hammer: 2463 — код для входа.\n@localhost #2463",
     "Hammer: 2463 — код для входа.@localhost #2463", "Hammer: 2463@localhost #2463", "2463.", "#2463", "G-2463", "«2463»",
     "\u200e2463", "Код: 2463", "24 63", "24-63", "Код: 24 63", "Код 24-63, никому", "Код: \uff12\uff14\uff16\uff13", "24\u200b63",
     "*2463*", "_2463_", "2463, 2463"],
)  # fmt: skip
@pytest.mark.requirement("OTP-07")
def test_a_code_is_found_in_the_text_that_it_came_in(pasted: str) -> None:
    assert codes.read_one_time_code(pasted) == "2463"


@pytest.mark.parametrize(
    "pasted",
    ["2463 или 2464", "Hammer: 2463\n@localhost #2464", "Код: 2463, живёт 5 минут", "+7 929 828-43-01", "24:63", "2463.0", "+2463",
     "#24631357901", "код2463", "2463р", "Код: 24 63, живёт 5 минут", "Код: 24 631", "@2463", "12 @x 34", "2463 ①", "",
     "a" * 16_000],
)  # fmt: skip
@pytest.mark.requirement("OTP-07")
def test_no_code_is_read_from_ambiguous_input(pasted: str) -> None:
    assert codes.read_one_time_code(pasted) is None


@pytest.mark.parametrize(
    "date",
    ["29-11-2026", "29 11 2026", "2026-11-29", "29.11.2026", "29/11/2026", "29-11-26", "1-1-26", "1 1 2026", "11 2026", "11-2026",
     "29 ноября 2026", "Сегодня 29-11-2026", "29-11-26, Hammer", "11/29/26", "29\u201311\u20132026"],
)  # fmt: skip
@pytest.mark.requirement("OTP-07")
def test_a_date_is_no_code(date: str) -> None:
    assert codes.read_one_time_code(date) is None


@pytest.mark.parametrize("date", ["31-12-26", "12-12-26", "1-31-26", "31 12 2026", "12 2026", "2026 1", "01 2000", "1999-12"])
def test_the_last_day_and_the_last_month_make_a_date(date: str) -> None:
    assert codes.read_one_time_code(date) is None


@pytest.mark.parametrize(
    "typed", ["32-12-26", "13-13-26", "0-12-26", "13 2026", "0 2026", "012 2026", "1-1-1-26", "12 1899", "12 2100"]
)
def test_an_impossible_date_is_a_code(typed: str) -> None:
    assert codes.read_one_time_code(typed) == re.sub("[ -]", "", typed)


def test_a_code_beside_a_date_is_not_read() -> None:
    """It is ambiguous which of them is the code."""
    assert codes.read_one_time_code("29-11-26, код 2463") is None


@pytest.mark.parametrize("typed", ["12 34 56", "12-34-56", "123 456", "123-456", "1 2 3 4 5 6", "Код: 123 456", "Код 12-34-56"])
def test_groups_that_are_not_a_date_are_a_code(typed: str) -> None:
    assert codes.read_one_time_code(typed) == "123456"


@given(st.integers(0, 10**8 - 1), st.sampled_from([" ", "-", ""]))
def test_leading_zeros_are_kept(number: int, between: str) -> None:
    digits = f"{number:08d}"
    assert codes.read_one_time_code(between.join(digits)) == digits


@pytest.mark.requirement("INV-01")
def test_invite_codes_have_six_characters_without_vowels_and_look_alikes() -> None:
    drawn = [codes.new_invite_code() for _ in range(5000)]
    assert len(set(drawn)) > 4990
    assert all(re.fullmatch(r"[2-9BCDFGHJKMNP-TV-Z]{6}", invite) for invite in drawn)
    assert {c for invite in drawn for c in invite} == set(codes.INVITE_ALPHABET)
    assert not set("AEIOU01L") & set(codes.INVITE_ALPHABET)


@pytest.mark.requirement("SES-02", "OTP-03")
def test_ids_are_128_random_bits_for_urls() -> None:
    drawn = {codes.random_id() for _ in range(2000)}
    assert len(drawn) == 2000
    assert all(re.fullmatch(r"[\w-]{22}", made, re.ASCII) for made in drawn)


def test_only_equal_secrets_are_the_same() -> None:
    assert codes.same("é1", "é1")
    assert not codes.same("é1", "é2")
    assert not codes.same("1", "11")


@given(st.lists(st.binary(), min_size=1, max_size=3))
def test_base64url_that_we_write_is_canonical(values: list[bytes]) -> None:
    parts = [codes.base64url(value) for value in values]
    assert [urlsafe_b64decode(part + "==") for part in parts] == values
    assert not any("=" in part for part in parts)
    assert codes.is_canonical(".".join(parts))


@pytest.mark.parametrize(
    "signed", ["YQ==", "YQ=", "YR", "YWJ", "Y", "YQ\n", " YQ", "Y!Q", "a+b_", "a/b-", "é", "YQ.YR", "YR.YQ", "YQ.Y"]
)
def test_any_other_spelling_of_the_same_is_not_canonical(signed: str) -> None:
    assert not codes.is_canonical(signed)


PROOF = f"{'A' * 22}.7.e3LFhGY92PjICNbAvsiXDvt5VSwtoFNQ09ykbC7IRJU"


def test_a_proof_is_computed_as_in_earlier_versions() -> None:
    """HMAC-SHA256 of `device|id|7`, as other programs compute it. Otherwise an upgrade would sign all users out."""
    assert codes.proof(KEY, "device", "A" * 22, 7) == PROOF
    assert codes.proof(KEY, "device", "A" * 22) == codes.proof(KEY, "device", "A" * 22, 0)


def test_a_genuine_proof_is_read() -> None:
    assert codes.read_proof([KEY], "device", PROOF) == ("A" * 22, 7)


@pytest.mark.parametrize(
    "shown",
    ["", PROOF[:-1], f"{PROOF}A", PROOF.replace("A.7", "B.7"), PROOF.replace(".7.", ".8."), PROOF.replace(".7.", ".07."),
     PROOF.replace(".7.", ".\u0667."), f"{PROOF[:-1]}{'A' if PROOF[-1] != 'A' else 'B'}", f" {PROOF}", f"{PROOF}\n", "x"],
)  # fmt: skip
def test_a_proof_that_was_changed_is_not_read(shown: str) -> None:
    assert codes.read_proof([KEY], "device", shown) is None


def test_a_proof_made_for_something_else_is_not_read() -> None:
    assert codes.read_proof([KEY], "browser", PROOF) is None
    assert codes.read_proof([bytes(32)], "device", PROOF) is None


@pytest.mark.parametrize(("row_id", "number"), [("é" * 22, 1), ("A" * 21, 1), ("A" * 23, 1), ("A" * 22, 10**9)])
def test_only_ids_in_our_format_and_numbers_of_at_most_nine_digits_are_read(row_id: str, number: int) -> None:
    """They are sent to the database, which does not accept longer ones."""
    assert codes.read_proof([KEY], "device", codes.proof(KEY, "device", row_id, number)) is None
    assert codes.read_proof([KEY], "device", codes.proof(KEY, "device", "A" * 22, 10**9 - 1)) == ("A" * 22, 10**9 - 1)


@pytest.mark.parametrize(
    ("pasted", "code"),
    [
        ("Acme: 1234 is your login code.\n@a.ru #1234 FA+9qCX9VSu", "1234"),
        ("Acme 24: 1234 is your login code.@a.ru #1234 ", "1234"),  # as a field of one line gives it
        ("Acme 24: код 123456.\n@127.0.0.1 #123456 1A/92C12345", "123456"),
        ("Acme 24: 1234 is your login code.\n@a.ru #5678", None),
        ("Acme 24: 12345 is your login code.\n@a.ru #1234", None),
        ("@a.ru #1234 FA+9qCX9VSu", None),
    ],
)
def test_a_whole_message_is_read_also_with_a_number_in_the_name_and_the_hash_of_an_app(pasted: str, code: str | None) -> None:
    assert codes.read_one_time_code(pasted) == code


@pytest.mark.parametrize(
    "typed", ["2020 " + "1" * 5000, "@" * 5000, "1234" + " " * codes.LONGEST_MESSAGE], ids=lambda typed: typed[:9]
)
def test_what_is_longer_than_any_text_is_no_one_time_code(typed: str) -> None:
    """Python converts at most 4300 digits to a number."""
    assert codes.read_one_time_code(typed) is None
