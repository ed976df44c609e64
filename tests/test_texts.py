"""Texts and the outbox they wait in."""

import re
import string
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer import gateways, texts
from hammer.database import db
from hammer.models import Text, Verification
from hammer.verifications import Asker
from tests import outbox
from tests.deeds import ANNA, BORIS, ask, confirm, everything_stored, number, right
from tests.serving import at_once

GSM_7 = set("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./:;<=>?¡ÄÖÑÜ§¿äöñüà" + string.ascii_letters + string.digits)


class Cut(list[gateways.Sent]):
    """A line that breaks while a text is on it."""

    def append(self, _: gateways.Sent) -> None:
        raise ConnectionError


def waiting() -> int:
    db.session.expire_all()
    return db.session.query(Text).filter(Text.ended_at.is_(None)).count()


@pytest.fixture
def break_line(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(gateways, "memory", Cut())


@pytest.mark.usefixtures("context")
def test_a_text_carries_the_code_to_its_number_once(settings: Settings, memory: list[gateways.Sent]) -> None:
    verification = ask(settings)
    assert memory == []
    assert texts.deliver_next(settings) is True
    assert texts.deliver_next(settings) is False
    [sent] = memory
    assert sent.telephone_number == ANNA
    assert sent.words.splitlines()[-1] == f"@127.0.0.1 #{right(settings, verification)}"
    assert waiting() == 0


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(("language", "letters"), [("en", "[A-Za-z]"), ("ru", "[а-я]")])
@pytest.mark.parametrize("length", [4, 6, 8])
def test_a_text_speaks_the_persons_language_and_fits_in_one_segment(
    settings: Settings, memory: list[gateways.Sent], language: str, letters: str, length: int
) -> None:
    settings = replace(settings, code_length=length, public_url="https://login.example.com")
    ask(settings, asker=Asker("192.0.2.1", language))
    outbox.deliver(settings)
    words = memory[0].words
    assert re.search(letters, words.splitlines()[0].replace("Hammer", ""))
    assert words.endswith(f"\n@login.example.com #{words[-length:]}")
    assert len(words) <= (160 if set(words) <= GSM_7 else 70)


@pytest.mark.usefixtures("context")
def test_texts_leave_in_the_order_they_came(settings: Settings, memory: list[gateways.Sent], clock: Traveller) -> None:
    for n in range(3):
        ask(settings, number(n))
        clock.shift(1)
    outbox.deliver(settings)
    assert [sent.telephone_number for sent in memory] == [number(n) for n in range(3)]


@pytest.mark.usefixtures("context")
def test_a_text_that_was_lost_on_the_way_is_tried_again(
    settings: Settings, clock: Traveller, break_line: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender died with the text in its hands; after its lease another takes it up."""
    ask(settings)
    break_line()
    with pytest.raises(ConnectionError):
        texts.deliver_next(settings)
    monkeypatch.undo()
    clock.shift(29)
    assert texts.deliver_next(settings) is False
    clock.shift(1)
    assert texts.deliver_next(settings) is True
    assert [sent.telephone_number for sent in gateways.memory] == [ANNA]
    assert waiting() == 0


@pytest.mark.usefixtures("context")
def test_a_text_whose_code_has_expired_is_given_up(settings: Settings, clock: Traveller, memory: list[gateways.Sent]) -> None:
    ask(settings)
    clock.shift(300)
    outbox.deliver(settings)
    assert memory == []
    [kept] = db.session.query(Text)
    assert (kept.sent, kept.ended_at is not None) == (False, True)


@pytest.mark.usefixtures("context")
def test_a_text_whose_code_was_used_meanwhile_is_given_up(settings: Settings, memory: list[gateways.Sent]) -> None:
    verification = ask(settings)
    confirm(settings, verification, right(settings, verification))
    outbox.deliver(settings)
    assert memory == []
    assert waiting() == 0


@pytest.mark.usefixtures("context")
def test_the_outbox_holds_no_words(settings: Settings) -> None:
    verification = ask(settings)
    stored = everything_stored()
    assert not any("Hammer" in value or value == right(settings, verification) for value in stored)


@pytest.mark.usefixtures("context")
def test_a_text_goes_with_its_verification(settings: Settings) -> None:
    ask(settings, ANNA)
    ask(settings, BORIS)
    db.session.query(Verification).filter_by(telephone_number=ANNA).delete()
    assert db.session.query(Text).count() == 1


def test_each_text_leaves_once_however_many_carry_them(app: Flask, settings: Settings, memory: list[gateways.Sent]) -> None:
    with app.app_context():
        for n in range(20):
            ask(settings, number(n))

    def carry() -> None:
        with app.app_context():
            outbox.deliver(settings)

    at_once([carry] * 6)
    with app.app_context():
        outbox.deliver(settings)
        assert waiting() == 0
    assert sorted(sent.telephone_number for sent in memory) == [number(n) for n in range(20)]


def test_the_console_takes_its_time_and_prints(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert gateways.send(replace(settings, sms_url="console://", sms_delay=timedelta(seconds=0.01)), ANNA, "Hello")
    printed = capsys.readouterr()
    assert ANNA in printed.err
    assert "Hello" in printed.err
    assert printed.out == ""
