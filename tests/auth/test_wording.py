"""How pages write numbers, moments and waits, and what they say."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient

import config
from hammer.parsing import phones
from hammer.web.pages import filters
from tests.actions import wrong_code
from tests.auth.pages import ANNA, BORIS, CodeFor, Outline, invite_code, plain, send, sign_in, words


@pytest.mark.parametrize(
    ("seconds", "russian", "english"),
    [
        (1, "через 1 секунду", "in 1 second"),
        (48, "через 48 секунд", "in 48 seconds"),
        (60, "через 1 минуту", "in 1 minute"),
        (61, "через 2 минуты", "in 2 minutes"),
        (300, "через 5 минут", "in 5 minutes"),
        (3601, "через 2 часа", "in 2 hours"),
        (80_000, "через 23 часа", "in 23 hours"),
        (86_400, "через 1 день", "in 1 day"),
        (86_401, "через 2 дня", "in 2 days"),
        (7 * 86_400, "через 7 дней", "in 7 days"),
        (11 * 86_400 + 1, "через 12 дней", "in 12 days"),
        (30 * 86_400, "через 30 дней", "in 30 days"),
    ],
)
def test_waits_are_rounded_up(app: Flask, seconds: int, russian: str, english: str) -> None:
    written = []
    for language in ("ru", "en"):
        with app.test_request_context(headers={"Accept-Language": language}):
            written.append(plain(filters.wait(seconds)))

    assert written == [russian, english]


def test_a_number_is_shown_as_people_read_it() -> None:
    assert plain(filters.phone(ANNA)) == phones.pretty(ANNA)


def test_russian_counts_as_russians_do(app: Flask, client: FlaskClient, code_for: CodeFor) -> None:
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "ru"
    send(client, "/login/", telephone_number=ANNA)

    answer = send(client, "/login/code/", code=wrong_code(code_for(ANNA)))

    assert "Код не подошёл или устарел. Осталось попыток: 2." in words(answer)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("8 (929) 123-45-67", "+7 929 123-45-67, Russia."),
        ("8 701 123 45 67", "+7 701 123 4567, Kazakhstan."),
        ("+49 1512 3456789", "+49 1512 3456789, Germany."),
    ],
)
def test_the_next_page_says_what_number_was_understood_and_of_which_country(client: FlaskClient, typed: str, shown: str) -> None:
    send(client, "/login/", telephone_number=typed)

    assert f"Sent to {shown}" in words(client.get("/login/code/"))


def test_the_wait_for_another_text_is_a_sentence_that_scripts_count_down(
    client: FlaskClient, clock: time_machine.Traveller
) -> None:
    send(client, "/login/", telephone_number=ANNA)
    clock.shift(12)

    page = client.get("/login/code/")
    early = send(client, "/login/resend/")
    clock.shift(48)
    later = client.get("/login/code/")

    [button] = [button for button in Outline(page).all("button") if "data-wait" in button]
    assert (button["data-wait"], button["data-waiting"]) == ("48", "Send again in 0:00")
    assert "No text yet? You can send it again in 48 seconds: the same code comes once more." in words(page)
    assert (
        '<span data-wait="48" data-waiting="in 0:00" data-ready="now">in\N{NO-BREAK SPACE}48\N{NO-BREAK SPACE}seconds</span>'
        in early.text
    )
    assert "No text yet? Send it again: the same code comes once more." in words(later)
    assert "You can send it again" not in words(later)
    assert not [button for button in Outline(later).all("button") if "data-wait" in button]


def test_a_button_says_what_it_does(client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller) -> None:
    send(client, "/login/", telephone_number=ANNA)
    to_sign_in = words(client.get("/login/code/"))
    send(client, "/login/code/", code=code_for(ANNA))
    clock.shift(600)
    send(client, "/profile/proof/send/", then="auth.delete")
    to_prove = words(client.get("/profile/proof/"))

    assert ("Sign in" in to_sign_in, "Confirm" in to_sign_in) == (True, False)
    assert "Confirm" in to_prove


@pytest.mark.parametrize("typed", ["12345", "447911123456"])
def test_a_refused_number_meets_an_example_once(client: FlaskClient, typed: str) -> None:
    assert words(send(client, "/login/", telephone_number=typed)).count("+") == 1


def test_moments_are_marked_up_for_scripts_that_know_the_readers_time_zone(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    sign_in(other_client, code_for, BORIS)
    sign_in(client, code_for)
    send(client, "/profile/", invite_code=invite_code(other_client))
    clock.shift(timedelta(days=3))
    sign_in(other_client, code_for, BORIS)

    [moment] = re.findall(r'<li>.*?<time datetime="([^"]+)">([^<]+)</time>', other_client.get("/profile/").text, re.DOTALL)[:1]

    assert datetime.fromisoformat(moment[0]) == datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
    assert re.fullmatch(r"[A-Z][a-z]+ \d+(, \d{4})?", moment[1])  # a year where it is another one


def test_two_devices_of_a_kind_differ_in_the_minute_of_their_sign_in(
    client: FlaskClient, other_client: FlaskClient, code_for: CodeFor, clock: time_machine.Traveller
) -> None:
    clock.move_to(datetime(2026, 11, 20, 12, 5, tzinfo=UTC))
    sign_in(client, code_for)
    clock.shift(timedelta(minutes=3))
    sign_in(other_client, code_for)
    clock.shift(timedelta(days=2))
    client.get("/profile/")

    page = client.get("/profile/")
    [end] = [button for button in Outline(page).all("button") if (button.get("aria-label") or "").startswith("End ")]

    assert "Signed in November 20 at 12:05 UTC" in words(page)
    assert "Signed in November 20 at 12:08 UTC" in words(page)
    assert Outline(page).with_id(end["aria-describedby"])


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("full", "only the person whose invite code you activate sees it."),
        ("masked", "only the person whose invite code you activate sees a part of it."),
        ("count", "Nobody besides you sees it."),
    ],
)
def test_the_phone_form_says_who_will_see_the_number(
    app_with: Callable[[config.Settings], Flask], settings: config.Settings, how: str, expected: str
) -> None:
    client = app_with(replace(settings, invitee_numbers=how)).test_client()

    assert expected in words(client.get("/login/?lang=en"))
