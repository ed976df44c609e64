"""Reading an invite code from what people paste: the code that they mean, or none."""

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hammer import codes
from hammer.invites import invite_codes
from hammer.refusals import InvalidFields
from tests.examples import examples

URL = "https://login.example.com"
LINK = f"{URL}/i/HQ5C3V"


def read(typed: str) -> str | None:
    return invite_codes.read(typed, URL)


def why_not(typed: str) -> list[str]:
    with pytest.raises(InvalidFields) as refused:
        invite_codes.meant(typed, URL)
    return list(refused.value.errors["invite_code"])


issued = st.text(codes.INVITE_ALPHABET, min_size=6, max_size=6)
elsewhere = st.from_regex(r"[A-Z0-9]{6}", fullmatch=True)
signs = st.text(".,)(»«!…*_'\"\u200b\u200e🔨 ", max_size=5)
gaps = st.sampled_from([" ", "-", "\u2013", "\u2011", "\u00a0", " - "])
links = st.sampled_from(
    [
        "https://login.example.com/i/{}", "http://login.example.com/i/{}/", "login.example.com/i/{}", "LOGIN.EXAMPLE.COM/I/{}",
        "//login.example.com/i/{}", "https://login.example.com:8443/i/{}?lang=ru&K7M2QX", "https://login.example.com//i//{}#K7M2QX",
        "https://login.example.com./i/{}.", "(https://login.example.com/i/{})", "Сюда:https://login.example.com/i/{},заходи",
        "https://login.example.com%2Fi%2F{}", "https://t.me/share/url?url=https%3A%2F%2Flogin.example.com%2Fi%2F{}&text=K7M2QX",
        "https://vk.com/away.php?to=https%253A%252F%252Flogin.example.com%252Fi%252F{}", "[HAMMER](https://login.example.com/i/{})",
        "https://login.example.com/login/?invite={}", "login.example.com/login?lang=ru&invite={}&invite=K7M2QX#K7M2QX",
        "https://t.me/share/url?url=https%3A%2F%2Flogin.example.com%2Flogin%2F%3Finvite%3D{}",
        "<https://login.example.com/i/{}>", "/login/?invite={}", "login?lang=ru&invite={}", "/i/{}", "i/{}", "/I/{}", "Смотри, https://login.example.com/i/{}!",
    ]
)  # fmt: skip


@given(issued | elsewhere, st.booleans(), signs, signs)
@pytest.mark.requirement("INV-01")
def test_a_code_alone_is_read_in_any_case_and_with_punctuation_around_it(code: str, lower: bool, before: str, after: str) -> None:
    assert read(f"{before}{code.lower() if lower else code}{after}") == code


@given(issued, gaps, st.booleans())
@pytest.mark.requirement("INV-01")
def test_a_code_alone_may_have_spaces_and_hyphens(code: str, between: str, lower: bool) -> None:
    typed = code.lower() if lower else code
    assert read(typed[:3] + between + typed[3:]) == code
    assert code.isdigit() or read(between.join(typed)) == code


@given(elsewhere, gaps)
@pytest.mark.requirement("INV-01")
def test_a_code_of_another_system_is_read_as_it_is_printed(code: str, between: str) -> None:
    assert read(code[:3] + between + code[3:]) == (None if code.isdigit() and set(code) & set("01") else code)


@given(links, issued | elsewhere, st.booleans())
@pytest.mark.requirement("INV-01")
def test_a_link_of_ours_is_read(link: str, code: str, lower: bool) -> None:
    assert read(link.format(code.lower() if lower else code)) == code


@pytest.mark.parametrize(
    "pasted",
    [
        "Мой код приглашения в Hammer: HQ5 C3V", "My invite code for Hammer: HQ5\u00a0C3V", "Код: HQ5C3V", "HQ5C3V, заходи",
        "HAMMER: HQ5C3V", "МОЙ КОД В HAMMER HQ5C3V", "SMS HQ5\u00a0C3V", "MY APP HQ5 C3V", "PROMO1 HQ5C3V", "СКИДКА! HQ5C3V",
        "По тел. 929 828 дам код HQ5C3V", "Звони +7 929 828-43-01, код HQ5C3V", "12.05.2026 за 100 000 ₽: HQ5C3V",
        "Код — HQ5C3V — от anna@mail.ru", "https://shop.example/i/K7M2QX и код HQ5C3V", "#СКИДКА HQ5C3V", "2GB 4GB, HQ5C3V",
        f"HQ5 C3V {LINK}", f"{LINK} (HQ5C3V)", f"HAMMER: {LINK}", f"{LINK} PROMO1", f"{URL}/ HQ5C3V", "код HQ5-C3V.",
        f"https://shop.example/i/K7M2QX {LINK}", f"K7M2QX@mail.ru {LINK}", "Код HQWCXV", f"{URL}/login/ код: HQ5C3V",
        "\u200ehq5 c3v", "HQ5\u200bC3V", "HQ\u31645C3\U000e0021V", "HQ5\u180eC3V",
        "ＨＱ５Ｃ３Ｖ", "HQ٥C٣V", "login.example.com/i/HQ5%20C3V", f"{LINK}заходи", f"{LINK}and",
    ],
)  # fmt: skip
@pytest.mark.requirement("INV-01")
def test_a_code_is_found_in_a_whole_message(pasted: str) -> None:
    assert read(pasted) in ("HQ5C3V", "HQWCXV")


@pytest.mark.parametrize(
    "pasted",
    [
        "HQ5C3V или HQ5C3W", f"{LINK} {URL}/i/HQ5C3W", f"{LINK},{URL}/i/HQ5C3W", f"{LINK} или HQ5C3W", "HQ5 C3V или K7M 2QX",
        "HQ5C3V или KMT 2QX",
        "login.example.com/i/HQ5C3V,login.example.com/i/HQ5C3W", f"{LINK}/K7M2QX", f"{LINK}1", f"{LINK}-2", f"{URL}/i/hq5c3va",
        f"HQ5C3V {URL}/i/HQ5C3W1",
        # other sites
        "https://shop.example/i/HQ5C3V", "shop.example/i/HQ5C3V", "Заходи https://shop.example/i/HQ5C3V", "x.ru/HQ5C3V",
        "https://login.example.com.evil.example/i/HQ5C3V", "https://evil-login.example.com/i/HQ5C3V", "www.HQ5C3V.com",
        "https://evil.example/login.example.com/i/HQ5C3V", "https://evil.example/https://login.example.com/i/HQ5C3V",
        "https://login.example.com@evil.example/i/HQ5C3V", "https://evil@login.example.com/i/HQ5C3V",
        "https://www.login.example.com/i/HQ5C3V", "login.example.com/x/HQ5C3V", "login.example.com/login/?invited=HQ5C3V",
        "https://evil.example/login/?invite=HQ5C3V", "login.example.com/?next=//evil.example/login/?invite=HQ5C3V",
        "login.example.com/login/?next=/evil/?invite=HQ5C3V", "https://login.example.com/login/?invite=HQ5C3V1",
        "login.example.com/i/x/HQ5C3V",
        "https://shop.example/p/ HQ5C3V", "смотри shop.example/x?c= HQ5C3V", "https:\\\\shop.example\\i\\HQ5C3V",
        # pieces of addresses, tags, numbers, prices, dates
        "HQ5C3V@mail.ru", "anna@HQ5C3V.ru", "HQ5C3V.RU", "#HQ5C3V", "Привет #HQ5C3V", "@HQ5C3V", "+7 929 82",
        "Звони: 929 828 43 01",
        "100 000", "100 000 ₽", "25 999р", "25999р", "12-05-24", "12 05 24", "$234567", "№ 100-200", "+234567", "20% 234567",
        "929828 звони", "ORD-HQ5C3V-1", "HQ5C3V-заходи", "snake_HQ5C3V", "23456-789",
        # words
        "МОЙ КОД В HAMMER", "приходи в HAMMER", "the cat", "cat X5M", "go home", "Buy PROMO1 now", "PROMO1 WINTER", "RHYTHM of it",
        "Send SMS PDF", "SMS HQ5 C3V", "HSB J8C 4GB", "VV4 MM3 X5M",
        "HQ5\nC3V", "для SMS 2GB 4GB", "с 7PM 9PM", "код: hq5c3v", "Мой код в Hammer: скажу", "Код: Q9UK59 тут",
        "Код: HQ5C3V1", "Код: HQ5C3Vя", "HQ5 C3", ". " * 2000 + "HQ5C3V", "Код: HQ5C3V\x00", "HQ5C3V\x00",
        # Cyrillic
        "МОСКВА", "АВСЕНК", "СКИДКА", "ПРИВЕТ", "привет", "HQ5C3V или НQ5С3W", "Код: НQ5С3V", f"{URL}/i/АВСЕНК",
    ],
)  # fmt: skip
@pytest.mark.requirement("INV-04")
def test_what_is_not_clearly_a_code_is_not_read(pasted: str) -> None:
    assert read(pasted) is None


@pytest.mark.parametrize(
    "typed",
    ["НQ5С3V", "нq5с3v", "HQ5С3V", "НQ5-С3V", "«НQ5 С3V»", f"{URL}/i/НQ5С3V", f"{URL}/i/%D0%9DQ5%D0%A13V", "/i/НQ5С3V."],
)
def test_cyrillic_letters_are_read_as_latin_ones_alone_and_in_links(typed: str) -> None:
    assert read(typed) == "HQ5C3V"


def test_a_code_in_cyrillic_letters_is_read_where_it_cannot_be_a_word() -> None:
    assert read("ВСН 2КТ") == "BCH2KT"
    assert read("q9uк59") == "Q9UK59"
    assert read("РОСА59") is None


@pytest.mark.parametrize("typed", ["АВСЕНК", "Ж23456", "скидка", "Код: НQ5С3V", "СКИ-ДКА", f"{URL}/i/АВСЕНК"])
def test_cyrillic_letters_are_answered_with_a_hint_at_latin_ones(typed: str) -> None:
    assert why_not(typed) == [invite_codes.NOT_LATIN]


@pytest.mark.parametrize(
    "typed",
    [
        "HQ5C3V или HQ5C3W",
        "Заходи https://shop.example/i/HQ5C3V",
        "Мой код в Hammer: скажу",
        "код q9uk59",
        "код hq5 c3v",
        "hq5c3v код",
        "Code: q9uk59",
        "#Q9UK59",
    ],
)
def test_ambiguous_text_is_answered_with_what_to_do(typed: str) -> None:
    assert why_not(typed) == [invite_codes.UNSURE]


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "123456\x00", "straße", "ſſſſſſ", "!"])
def test_another_length_is_answered_with_the_form_of_a_code(typed: str) -> None:
    assert read(typed) is None
    if typed.isascii():
        assert why_not(typed) == [invite_codes.NOT_AN_INVITE]


@pytest.mark.parametrize(
    ("url", "link"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/i/HQ5C3V"), ("http://127.0.0.1:5000", "127.0.0.1/i/HQ5C3V"),
        ("http://[::1]:5000", "http://[::1]:5000/i/HQ5C3V"), ("https://xn--80adxhks.example", "https://москва.example/i/HQ5C3V"),
        ("http://localhost:5000", "localhost:5000/i/hq5c3v"),
    ],
)  # fmt: skip
def test_links_of_ours_have_the_host_of_the_public_url(url: str, link: str) -> None:
    assert invite_codes.read(f"Сюда: {link}", url) == "HQ5C3V"
    assert invite_codes.read(f"Сюда: {link}", URL) is None


PROSE = """
    Привет заходи мой код в HAMMER Hammer: СКИДКА PROMO1 WINTER SMS PDF 2GB 4GB RHYTHM the cat go home 929 828 43 01 +7 100 000 ₽
    12.05.24 12-05-24 $234567 25999р ₽2500 #HQ5C3W #winter @anna HQ5C3W@mail.ru anna@HQ5C3W.ru HQ5C3W.RU www.HQ5C3W.com COVID-19
    https://shop.example/i/HQ5C3W shop.example/HQ5C3W shop.example/?code=HQ5C3W https://evil.example/login.example.com/i/HQ5C3W
    https://login.example.com.evil.example/i/HQ5C3W https://login.example.com/login/ hq5c3w Q9UK59 — – : ! МОСКВА 22:45 Т9 А4 (см.
    ИНН 7707083893 ORD-HQ5C3W-1 wifi и/или 50% https://t.me/share/url?url=https%3A%2F%2Fshop.example%2Fi%2FHQ5C3W
"""
prose = st.sampled_from(PROSE.split())
mentions: list[Callable[[str], str]] = [
    str,
    lambda code: f"{code[:3]}\u00a0{code[3:]}",
    lambda code: f"{URL}/i/{code}",
    lambda code: f"login.example.com/I/{code.lower()}.",
]


@given(st.lists(prose, min_size=1, max_size=8), issued, st.sampled_from(mentions), st.integers(0, 8), st.booleans())
@example(["929"], "HQ5C3V", mentions[1], 1, True)
@settings(max_examples=examples(400))
@pytest.mark.requirement("INV-01", "INV-04")
def test_no_text_gives_another_code_than_the_one_in_it(
    words: list[str], code: str, mention: Callable[[str], str], place: int, held: bool
) -> None:
    text = [*words[:place], *([mention(code)] if held else []), *words[place:]]
    found = {read(between.join(text)) for between in (" ", "\n", ", ")}
    whole = re.sub(r"\W", "", "".join(text)).upper()
    # One word may be a code of another system, and two of three letters may be a code of ours.
    alone = {whole} if not held and re.fullmatch("[A-Z0-9]{6}", whole) else set()
    assert found <= {None, code if held else None} | alone


@given(st.lists(prose, max_size=4), issued, st.lists(prose, max_size=4))
@settings(max_examples=examples(150))
@pytest.mark.requirement("INV-01")
def test_a_link_of_ours_is_found_among_any_words(before: list[str], code: str, after: list[str]) -> None:
    assert read(" ".join([*before, f"{URL}/i/{code}", *after])) == code


@given(st.text(max_size=300))
def test_what_is_read_is_six_ascii_letters_or_digits(typed: str) -> None:
    found = read(typed)
    assert found is None or re.fullmatch(r"[A-Z0-9]{6}", found)


@given(st.text(max_size=60), st.text(max_size=60))
def test_the_path_of_another_site_contains_no_code(before: str, after: str) -> None:
    for host in ("shop.example", "login.example.com.evil.example", "evil.login.example.com"):
        assert (
            read(f"https://{host}/{re.sub('[^a-zA-Z0-9/._-]', '', before)}/i/HQ5C3V{re.sub('[^a-zA-Z0-9/._-]', '', after)}") is None
        )


@pytest.mark.parametrize(
    "rest", ["Q9UK59", "q9uk59", "Q9UK59.", "Q9UK59/)", "Q9UK59/", "/Q9UK59", "//Q9UK59///", " Q9UK59", "Q9U-K59", "Q9UK59заходи",
             "Q9UK59and", "q9uk59заходи", "Q9UK59,заходи", "Q9UК59", "Q9UK59\u200b", "Q9UK59_", "Q9UK59/more/words", "Q9UK59»…"],
)  # fmt: skip
def test_the_path_of_a_link_gives_the_code_that_it_clearly_means(rest: str) -> None:
    assert invite_codes.read_path(rest) == "Q9UK59"


@pytest.mark.parametrize(
    "rest", ["", "!", "Q9UK5", "Q9UK591", "Q9UK59A", "q9uk59a", "Q9UK59-2", "Q9UK59/K7M2QX", "x/Q9UK59", "A" * 5000]
)
def test_the_path_of_a_link_that_may_mean_something_else_gives_none(rest: str) -> None:
    assert invite_codes.read_path(rest) is None
