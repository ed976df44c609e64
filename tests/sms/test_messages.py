"""What a text says: in one part, in every language, at every length, and readable by phones."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask

import config
from config import CODE_LENGTHS, Settings
from hammer import codes
from hammer.login.verifications import Asker
from hammer.models import Message
from hammer.sms import messages
from tests import delivery
from tests.actions import ask
from tests.conftest import SETTINGS
from tests.people import Program

LANGUAGES = messages.languages()
LONGEST_HOST = "a" * 25
"""In characters; doctor advises against longer ones."""
WORD_FOR_CODE = {"ru": "код", "en": "code"}
IN_ONE_PART = {"ru": {4: 54, 6: 50, 8: 46}, "en": {4: 123, 6: 119, 8: 115}}
"""Letters of the longest host, by the length of the code."""
every_text = pytest.mark.parametrize(
    ("language", "length", "for_login"),
    [(lang, length, why) for lang in LANGUAGES for length in CODE_LENGTHS for why in (True, False)],
)


def at(host: str) -> Settings:
    return replace(SETTINGS, public_url=f"https://{host}")


def offered_by(text: str) -> tuple[str, str] | None:
    """Host and code that a phone takes from a text, by the steps of the WICG's "Origin-bound one-time codes", §3.2 and §4."""
    last = text.rsplit("\n", maxsplit=1)[-1]
    if not last.startswith("@"):
        return None
    host, space, rest = last[1:].partition(" ")
    code = rest.partition(" ")[0]
    return (host, code[1:]) if host and space and code.startswith("#") and len(code) > 1 else None


def parts(text: str) -> int:
    """In how many parts a text travels, counted apart from the program (3GPP TS 23.038, TS 23.040)."""
    try:
        encoded = text.encode("ascii").decode()
    except UnicodeEncodeError:
        length, one, of_many = len(text.encode("utf-16-be")) // 2, 70, 67
    else:
        assert not set(encoded) & set("`"), "This letter does not exist in seven bits."
        length, one, of_many = sum(2 if letter in "^{}\\[~]|" else 1 for letter in encoded), 160, 153
    return 1 if length <= one else -(-length // of_many)


def test_every_folder_of_translations_is_a_language() -> None:
    assert {"en", "ru"} <= set(LANGUAGES)


@every_text
@pytest.mark.parametrize("host", ["a.ru", "127.0.0.1", "login.example.com", LONGEST_HOST])
@pytest.mark.requirement("SMS-01")
def test_a_phone_reads_the_code_and_for_whom_it_is(language: str, length: int, for_login: bool, host: str) -> None:
    code = "0123456789"[:length]
    text = messages.of_code(at(host), code, language, for_login=for_login)
    assert offered_by(text) == (host, code)
    assert 4 <= len(code) <= 10
    assert text.count("\n") == 1
    assert text.count(code) == 2


@every_text
@pytest.mark.requirement("SMS-01")
def test_a_text_travels_in_one_part_or_doctor_warns(language: str, length: int, for_login: bool) -> None:
    in_two = 0
    for letters in range(1, config.LONGEST_HOST + 1):
        settings = at("a" * letters)
        text = messages.of_code(settings, "8" * length, language, for_login=for_login)
        if letters <= len(LONGEST_HOST):
            assert messages.shortcomings(settings) == {}
        if parts(text) > 1 or len(text) > 140:
            assert messages.shortcomings(settings)[language].endswith("need two parts, and cost twice")
            in_two += 1
    assert in_two == config.LONGEST_HOST - IN_ONE_PART[language][length]


@every_text
@pytest.mark.requirement("SMS-01")
def test_a_text_says_that_this_is_a_code_at_every_length_of_host(language: str, length: int, for_login: bool) -> None:
    code = "0123456789"[:length]
    for letters in range(1, config.LONGEST_HOST + 1):
        text = messages.of_code(at("a" * letters), code, language, for_login=for_login)
        assert re.search(rf"\b{WORD_FOR_CODE[language]}\b", text, re.IGNORECASE)
        assert offered_by(text) == ("a" * letters, code)


def test_a_host_with_which_texts_cost_twice_is_told_of_at_the_start(
    settings: Settings, app_with: Callable[[Settings], Flask], caplog: pytest.LogCaptureFixture
) -> None:
    app_with(replace(settings, public_url=f"https://{'a' * 46}"))
    assert "HAMMER_PUBLIC_URL" not in caplog.text
    app_with(replace(settings, public_url=f"https://{'a' * 47}"))
    assert (
        "HAMMER_PUBLIC_URL or HAMMER_NAME is so long that in ru texts with 8 digits need two parts, and cost twice." in caplog.text
    )
    assert "in en" not in caplog.text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.requirement("SMS-01")
def test_a_text_says_as_much_as_the_host_leaves_room_for(language: str) -> None:
    lengths = [len(messages.of_code(at("a" * letters), "1234", language)) - letters for letters in range(1, 121)]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == len(messages.SENTENCES)


@pytest.mark.parametrize(
    ("letters", "said"),
    [
        (25, {}),
        (26, {"ru": "texts with 8 digits have no space for the name"}),
        (34, {"ru": "texts with 8 digits have no space for the warning not to pass the code on"}),
        (42, {"ru": "texts with 4 digits or more have no space for the warning not to pass the code on"}),
        (
            96,
            {
                "en": "texts with 6 digits or more have no space for the name",
                "ru": "texts with 4 digits or more need two parts, and cost twice",
            },
        ),
    ],
)
def test_doctor_knows_what_a_long_host_leaves_no_space_for(letters: int, said: dict[str, str]) -> None:
    assert messages.shortcomings(at("a" * letters)) == said


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("ru", "Hammer: 1234 — код для входа. Никому не говорите его.\n@a.ru #1234"),
        ("en", "Hammer: 1234 is your login code. Do not tell it to anybody.\n@a.ru #1234"),
    ],
)
def test_a_login_is_called_by_its_name(language: str, text: str) -> None:
    assert messages.of_code(at("a.ru"), "1234", language) == text
    assert "вход" not in messages.of_code(at("a.ru"), "1234", language, for_login=False)


NAMES = ("Acme", "Кофейня", "W" * config.LONGEST_NAME, "Ы" * config.LONGEST_NAME)
HASH = "FA+9qCX9VSu"


@every_text
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("app_hash", ["", HASH])
@pytest.mark.requirement("SMS-01", "SMS-02")
def test_a_text_says_the_operators_name_and_the_warning_or_the_warning_alone(
    language: str, length: int, for_login: bool, name: str, app_hash: str
) -> None:
    settings = replace(at("login.example.com"), name=name, android_app_hash=app_hash)
    text = messages.of_code(settings, "0123456789"[:length], language, for_login=for_login)
    assert text.startswith(f"{name}: ") or not text.partition("\n")[0].count(name)
    assert any(warning in text for warning in ("Do not tell", "for you alone", "Никому", "только вам"))
    assert parts(text) == 1
    assert re.search(rf"\b{WORD_FOR_CODE[language]}\b", text, re.IGNORECASE)
    assert "Hammer" not in text


@every_text
@pytest.mark.parametrize("host", ["a.ru", "127.0.0.1", "login.example.com", LONGEST_HOST])
@pytest.mark.requirement("SMS-01")
def test_the_same_text_serves_browsers_and_the_operators_android_app(
    language: str, length: int, for_login: bool, host: str
) -> None:
    code = "0123456789"[:length]
    text = messages.of_code(replace(at(host), android_app_hash=HASH), code, language, for_login=for_login)
    assert offered_by(text) == (host, code)  # WICG: what follows the code in the last line is ignored
    assert re.search(r"(?:^|\s)@([a-zA-Z0-9.-]+) #([^#\s]+)", text).groups() == (host, code)  # type: ignore[union-attr]  # as Chromium reads it
    assert re.split(r"\s", text)[-1] == HASH  # SMS Retriever: it ends with the hash
    assert len(text.encode("ascii" if text.isascii() else "utf-16-be")) <= 140
    assert codes.read_one_time_code(text) == code


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("support", ["", "https://example.com/help", "mailto:help@example.com"])
@pytest.mark.requirement("SMS-02")
def test_a_notice_begins_with_the_operators_name_in_one_part(language: str, name: str, support: str) -> None:
    text = messages.notice(replace(SETTINGS, name=name, support=support, android_app_hash=HASH), language)
    assert text.startswith(f"{name}: ")
    assert parts(text) == 1
    assert "Hammer" not in text + messages.test_message(replace(SETTINGS, name=name))


def test_a_whole_message_can_be_pasted_also_when_the_name_has_digits() -> None:
    for name in ("Taxi 24", "Club 1234", "№1"):
        text = messages.of_code(replace(SETTINGS, name=name, android_app_hash=HASH), "5678", "en")
        assert codes.read_one_time_code(text) == "5678"


@pytest.mark.parametrize(
    ("text", "coding", "fits"),
    [
        ("a" * 140, "0", True),
        ("a" * 141, "0", False),
        ("@$_" + "é" * 137, "0", True),
        ("€" * 70, "0", True),
        ("€" * 71, "0", False),
        ("я" * 70, "2", True),
        ("я" * 71, "2", False),
        ("a — b", "2", True),
        ("`", "2", True),
    ],
)
def test_letters_are_counted_as_they_travel(text: str, coding: str, fits: bool) -> None:
    assert (messages.kannel_coding(text), messages.fits(text)) == (coding, fits)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.requirement("SMS-02")
def test_no_text_has_a_link_or_anybodys_words(language: str) -> None:
    for text in (messages.of_code(at("login.example.com"), "1234", language), messages.notice(SETTINGS, language)):
        assert not re.search(r"https?:|www\.|/", text)
        assert not re.search(r"[%{}]", text), "A place-holder is left."


@pytest.mark.parametrize(
    ("support", "english", "russian"),
    [
        ("", "account now.", "номеру."),
        ("https://example.com/help", "Was it not you? Contact our support.", "Это не вы? Пишите в поддержку."),
        ("mailto:a@b.example", "Was it not you? Write to a@b.example", "Это не вы? Пишите: a@b.example"),
        ("mailto:help@example.com", "Was it not you? Write to help@example.com", "Не вы? help@example.com"),
        (f"mailto:{'a' * 60}@b.example", "Not you? " + "a" * 60 + "@b.example", "Это не вы? Пишите в поддержку."),
        (f"mailto:{'a' * 99}@b.example", "Was it not you? Contact our support.", "Это не вы? Пишите в поддержку."),
    ],
)
@pytest.mark.requirement("SMS-02")
def test_a_notice_says_where_to_write_as_far_as_it_has_room_and_has_no_link(support: str, english: str, russian: str) -> None:
    for language, end in (("en", english), ("ru", russian)):
        text = messages.notice(replace(SETTINGS, support=support), language)
        assert text.endswith(end)
        assert messages.fits(text)
        assert parts(text) == 1
        assert not re.search(r"https?:|www\.|/", text)


@pytest.mark.requirement("SMS-02")
def test_no_header_puts_another_host_into_a_text(program: Program, memory: list[object]) -> None:
    evil = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "Origin": "https://evil.example",
    }
    for header, value in evil.items():
        program.client.post("/api/v1/auth/signup/", json={"telephone_number": f"+7929{len(header):07d}"}, headers={header: value})
    with program.app.app_context():
        delivery.deliver(program.app.config["SETTINGS"])
    assert memory
    assert not any("evil" in str(sent) for sent in memory)


@pytest.mark.usefixtures("context")
@pytest.mark.requirement("SMS-02")
def test_the_language_is_the_persons(settings: Settings, memory: list[object]) -> None:
    ask(settings, asker=Asker("192.0.2.1", "ru"))
    delivery.deliver(settings)
    assert "Никому" in str(memory[0])
    assert Message.__table__.columns.keys() == [
        "id", "verification_id", "telephone_number", "request_id", "traceparent", "language", "tries", "state", "gateway",
        "created_at", "due_at", "ended_at",
    ]  # fmt: skip  # no words, no code
