"""Drawing one-time codes and invite codes, and reading what people type for them."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hammer import codes

KEY = bytes(range(32))
DRAWS = 200_000
CHI_SQUARE_9 = 27.88
"""With 9 degrees of freedom a uniform source stays below this 999 times of 1000."""


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
    """The key and the ids are fixed, so that this comes out the same each time."""
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


@pytest.mark.requirement("OTP-03")
def test_everything_that_a_code_is_made_of_changes_it() -> None:
    eight = code(length=8)
    others = [
        code(length=8, key=bytes(32)),
        code(length=8, verification_id="w"),
        code(length=8, number="+79290000002"),
        code(length=8, purpose="change"),
        code(length=6) + "00",
    ]
    assert len({eight, *others}) == 6


@pytest.mark.parametrize("typed", ["1234", " 1234 ", "12 34", "12-34", "1 2 3 4", "12\u201134", "12\u00a034\n"])
def test_a_code_may_be_typed_with_spaces_and_hyphens(typed: str) -> None:
    assert codes.read_one_time_code(typed) == "1234"


@given(st.text(max_size=80))
@pytest.mark.requirement("OTP-07")
def test_what_is_read_as_a_code_is_four_to_eight_ascii_digits(typed: str) -> None:
    read = codes.read_one_time_code(typed)
    assert read is None or re.fullmatch(r"[0-9]{4,8}", read)


@pytest.mark.parametrize("typed", ["", "123", "123456789", "+1234", "1234.0", "1e10", "\uff11\uff12\uff13\uff14", "1" * 100])
@pytest.mark.requirement("OTP-07")
def test_what_is_no_code_is_not_read(typed: str) -> None:
    assert codes.read_one_time_code(typed) is None


@pytest.mark.parametrize(
    "pasted",
    ["Hammer: 2463 — код для входа. Никому не говорите его.", "Hammer: 2463 — код для входа.\n@127.0.0.1:5000 #2463",
     "Hammer: 2463 — код для входа.@127.0.0.1:5000 #2463", "Hammer: 2463@localhost #2463", "2463.", "#2463", "G-2463", "«2463»",
     "\u200e2463", "Код: 2463", "24 63", "24-63"],
)  # fmt: skip
def test_a_code_is_found_in_the_text_that_it_came_in(pasted: str) -> None:
    assert codes.one_time_code_in(pasted) == "2463"


@pytest.mark.parametrize(
    "pasted",
    ["2463 или 2464", "Hammer: 2463\n@localhost #2464", "Код: 2463, живёт 5 минут", "+7 929 828-43-01", "24:63", "2463.0", "+2463",
     "#24631357901", "код2463", "2463р", "Код: 24 63", "Код: \uff12\uff14\uff16\uff13", "24\u200b63", "@2463", "", "a" * 16_000],
)  # fmt: skip
@pytest.mark.requirement("OTP-07")
def test_no_code_is_made_of_what_may_mean_something_else(pasted: str) -> None:
    assert codes.one_time_code_in(pasted) is None


@given(st.text() | st.text("0123456789 -.@#+a"))
@pytest.mark.requirement("OTP-07")
def test_what_is_read_as_a_code_alone_is_the_same_within_a_text(typed: str) -> None:
    alone = codes.read_one_time_code(typed)
    found = codes.one_time_code_in(typed)
    assert alone in (found, None)
    assert found is None or re.fullmatch(r"[0-9]{4,8}", found)


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


invites = st.text(codes.INVITE_ALPHABET, min_size=6, max_size=6)
signs = st.text(".,)(»«!…*_'\"\u200b\u200e🔨 ", max_size=5)


@given(
    invites,
    st.sampled_from(["{}", " {} ", "https://x.example/i/{}", "https://x.example/i/{}/", "http://x/i/{}?a=b", "x.example/i/{} !"]),
    st.booleans(),
)
@pytest.mark.requirement("INV-01")
def test_an_invite_code_is_read_from_what_people_paste(invite: str, around: str, lower: bool) -> None:
    typed = around.format(invite.lower() if lower else invite)
    assert codes.read_invite_code(typed) == invite


@given(invites, st.sampled_from([" ", "-", "\u2013", "\u2011", "\u00a0"]))
@pytest.mark.requirement("INV-01")
def test_an_invite_code_may_have_spaces_and_hyphens(invite: str, between: str) -> None:
    assert codes.read_invite_code(invite[:3] + between + invite[3:]) == invite
    assert codes.read_invite_code(between.join(invite)) == invite


@pytest.mark.parametrize(
    "pasted",
    ["Мой код приглашения в Hammer: HQ5 C3V", "My invite code for Hammer: HQ5\u00a0C3V", "Код: HQ5C3V", "HQ5C3V, заходи",
     "i/HQ5C3V", "\u200ehq5 c3v", "HQ5\u200bC3V", "https://x.example/i/hq5c3v.", "(https://x.example/i/HQ5C3V)",
     "x.example/i/HQ5C3V,заходи", "https://t.me/share/url?url=https%3A%2F%2Fx.example%2Fi%2FHQ5C3V&text=ABCDEF",
     "https://x.example/i/HQ5%20C3V", "HQ5 C3V https://x.example/i/HQ5C3V", "По тел. 929 828 дам код HQ5C3V"],
)  # fmt: skip
@pytest.mark.requirement("INV-01")
def test_an_invite_code_is_found_in_a_whole_message(pasted: str) -> None:
    assert codes.read_invite_code(pasted) == "HQ5C3V"


@given(invites, signs, signs, st.booleans())
@pytest.mark.requirement("INV-01")
def test_an_invite_code_may_have_any_signs_around_it(invite: str, before: str, after: str, linked: bool) -> None:
    assert codes.read_invite_code(f"{before}{'x.example/i/' * linked}{invite.lower()}{after}") == invite


@pytest.mark.parametrize(
    "pasted",
    ["HQ5C3V или HQ5C3W", "x.example/i/HQ5C3V x.example/i/HQ5C3W", "MY APP HQ5 C3V", "код: hq5c3v", "Мой код в Hammer: скажу",
     "Звони: 929 828 43 01", "Код: HQ5C3V1", "Код: HQ5C3Vя", "HQ5 C3", ". " * 2000 + "HQ5C3V"],
)  # fmt: skip
def test_no_invite_code_is_guessed_at(pasted: str) -> None:
    assert codes.read_invite_code(pasted) is None


@given(st.text(max_size=300))
def test_what_is_read_as_an_invite_code_is_six_ascii_letters_or_digits(typed: str) -> None:
    read = codes.read_invite_code(typed)
    assert read is None or re.fullmatch(r"[A-Z0-9]{6}", read)


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "АВСЕНК", "\uff11" * 6, "123456\x00", "straße", "ſſſſſſ"])
def test_what_is_no_invite_code_is_not_read(typed: str) -> None:
    assert codes.read_invite_code(typed) is None


@pytest.mark.requirement("SES-02", "OTP-03")
def test_ids_are_128_random_bits_for_urls() -> None:
    drawn = {codes.random_id() for _ in range(2000)}
    assert len(drawn) == 2000
    assert all(re.fullmatch(r"[\w-]{22}", made, re.ASCII) for made in drawn)


def test_equal_secrets_are_the_same_and_no_others() -> None:
    assert codes.same("é1", "é1")
    assert not codes.same("é1", "é2")
    assert not codes.same("1", "11")
