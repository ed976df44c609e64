"""Names in every script are accepted; line ends and piles of marks are refused, wherever a name is read."""

import unicodedata
from collections.abc import Callable
from typing import Final

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from hammer.refusals import InvalidFields
from hammer.users import names
from tests.actions import ANNA, BORIS
from tests.people import Browser, Program

REAL: Final = [
    name
    for line in (
        "Nguyễn Thị Phượng|Đặng Thùy Trâm|Ọlámidé Ọ̀ṣun",
        "Ẹ̀kọ́ Adébáyọ̀|Žydrūnas Šarūnaitė̃|İbrahim Çağrı|Łukasz Żółć",
        "José-María Ñíguez|O’Neil|Юлія Ґалаґан|Ёжиков Йод|Хрїсто́съ",
        "Հովհաննես|გიორგი|אָבִינֹעַם שָׂרָה־לֵאָה|שָּׁ֣לוֹם",
        "יִשְׂרָאֵל|مُحَمَّد عَبْدُ ٱللَّه|فَاطِمَةُ ٱلزَّهْرَاءِ",
        "رحمٰن|علی‌رضا|ܝܘܚܢܢ ܒܪ|สมชาย น้ำฝน|กฤษณ์ ศักดิ์สิทธิ์",
        "ຈັນທະລາ ນ້ຳ|श्रीकृष्णः लक्ष्मी|ज़फ़र ख़ाँ|राजेंद्र कुँवर",
        "শ্রীকৃষ্ণ|ਗੁਰਪ੍ਰੀਤ ਸਿੰਘ|કૃષ્ણા|சுப்பிரமணியன்|శ్రీనివాస్",
        "ಕೃಷ್ಣಮೂರ್ತಿ|ശ്രീകുമാർ|ශ්‍රී ලංකා|ရွှေဖြိုး|မျိုးမြင့်",
        "လျှို့ဝှက်|ញ្ញា ស្រីពៅ|བསྟན་འཛིན་རྒྱ་མཚོ|བསྒྲུབས|ཧཱུྃ|ᨡᩢᨭᩥᨿ᩶",
        "ᬓᬺᬱ᭄ᬡ|ꦏꦿꦶꦱ꧀|ዮሐንስ|ߞߊ߬ߘߌ߲߬|ᠮᠤᠩᠭᠣᠯ|王小明|葛󠄀城|たろう ガ|김철수|👨‍👩‍👧 1️⃣",
    )
    for name in line.split("|")
]
LINE_ENDS: Final = [chr(n) for n in range(0x110000) if len(f"a{chr(n)}b".splitlines()) > 1]
"""Every character that some program reads as a line end."""
PILES: Final = {
    "a hundred and forty marks": "a" + "\u0301" * 140,
    "one more than are needed": "Анна" + "\u0300\u0316\u0323\u0359\u0489",
    "joined": "a" + "\u0301\u0302\u0303\u0304\u200d\u0305\u0306\u0307\u0308",
    "with marks between that take room": "क" + "\u0941\u0902\u0951\u0903\u0952\u0953",
    "in the middle of a name": "Z" + "\u0323\u0324\u0325\u0326\u0327\u0328" + "algo",
    "on an emoji": "👍" + "\u20dd\u20de\u20df\u20e0\u20e2",
}
marks = st.text(st.characters(categories=("Mn", "Me")), min_size=1, max_size=40)


def kept(name: str) -> str | None:
    return names.read({"first_name": name})["first_name"]


def said(name: str) -> list[str]:
    """The sentences of the refusal; empty if the name is accepted."""
    try:
        kept(name)
    except InvalidFields as no:
        return list(no.errors["first_name"])
    return []


@pytest.mark.parametrize("name", REAL, ids=ascii)
def test_a_real_name_is_accepted_composed_or_not(name: str) -> None:
    composed = unicodedata.normalize("NFC", name)
    assert kept(composed) == kept(unicodedata.normalize("NFD", name)) == composed


@given(st.lists(st.sampled_from(REAL), min_size=1, max_size=5).map(" ".join))
def test_several_real_names_in_a_row_are_accepted(name: str) -> None:
    assert said(name) in ([], [names.TOO_LONG])


@pytest.mark.parametrize("sign", LINE_ENDS, ids=ascii)
def test_a_name_contains_no_line_end(sign: str) -> None:
    assert said(f"Anna{sign}Karenina") == [names.NOT_TEXT]


@pytest.mark.parametrize("name", PILES.values(), ids=PILES)
def test_a_pile_of_marks_is_refused(name: str) -> None:
    assert said(name) == [names.PILED_UP]


@given(st.sampled_from(REAL), marks, st.sampled_from(["", "Anna", "ский"]))
def test_no_accepted_name_has_a_pile_of_marks(name: str, piled: str, rest: str) -> None:
    """Whatever NFC composes, the stored name has no longer row of marks than is allowed."""
    taken = name + piled + rest
    if said(taken) == []:
        signs = unicodedata.normalize("NFC", taken)
        pile = names.MOST_MARKS + 1
        runs = [signs[n : n + pile] for n in range(len(signs) - pile + 1)]
        assert not [run for run in runs if all(unicodedata.category(sign) in ("Mn", "Me") for sign in run)]


@pytest.mark.parametrize("bad", ["Anna\u2028Karenina", "Anna\u2029Karenina", PILES["a hundred and forty marks"]], ids=ascii)
def test_pages_and_api_refuse_such_names_in_both_languages(app: Flask, bad: str, code_for: Callable[[str], str]) -> None:
    program, browser = Program(app), Browser(app)
    program.sign_in(ANNA)
    for field in ("first_name", "last_name", "username"):
        answers = {
            language: program.call("PATCH", "/users/me/", {field: bad}, **{"Accept-Language": language})
            for language in ("en", "ru")
        }
        assert {answer.status_code for answer in answers.values()} == {422}
        sentences = {answer.get_json()["errors"][field][0] for answer in answers.values()}
        assert len(sentences) == 2
    browser.sign_in(BORIS)
    form = browser.get("/profile/").form_with("first_name")
    assert form is not None
    answer = browser.client.post(form.action or "/profile/", data=form.fields | {"first_name": bad})
    assert answer.status_code == 422
    assert program.result("GET", "/users/me/")["first_name"] == ""
