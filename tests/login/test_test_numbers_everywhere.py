"""Test numbers on pages and in the API, in the log, for monitoring, on the command line, and under many guesses at once."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import create_engine, text, update

from config import Settings
from hammer import clock
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.models import Message, SessionKind, User, Verification
from hammer.operations import doctor
from hammer.users import accounts
from tests.actions import ANNA, BORIS, CLARA, HOME, activate, ask, confirm, count_of, sign_in, wrong_code
from tests.cli.commands import refused, said
from tests.people import Browser, Person, Program
from tests.serving import Server, at_once
from tests.web.test_metrics import figures

CODE, LONG_CODE = "482915", "90715526"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()


@pytest.fixture
def listed(app: Flask) -> Settings:
    """The application's settings, with two test numbers."""
    settings: Settings = app.config["SETTINGS"]
    app.config["SETTINGS"] = replace(settings, test_numbers={ANNA: CODE, BORIS: LONG_CODE}, test_numbers_until=TOMORROW)
    listed: Settings = app.config["SETTINGS"]
    return listed


@pytest.fixture
def run(app: Flask) -> Callable[..., Result]:
    return lambda *args: app.test_cli_runner().invoke(args=args)


# Pages and API


def test_a_reviewer_signs_in_out_and_in_again(app: Flask, listed: Settings, person: Person) -> None:
    for _ in range(2):
        person.sign_in(ANNA, lambda code: f"{code[:3]} {code[3:]}", code=CODE)
        assert person.is_signed_in()
        assert person.profile().invite_count == 0
        person.sign_out()
    with app.app_context():
        assert db.session.query(Message).count() == 0


def test_the_page_asks_for_as_many_digits_as_the_fixed_code_has(app: Flask, listed: Settings, browser: Browser) -> None:
    app.config["SETTINGS"] = replace(listed, demo=True)
    form = browser.get("/login/").form_with("telephone_number")
    assert form is not None
    page = browser.send(form, telephone_number=BORIS)
    assert "This time the code has 8 digits" in page.words
    assert "Demo: code" not in page.words
    assert LONG_CODE not in page.words


def test_a_repeated_sign_in_is_one_use(app: Flask, listed: Settings, program: Program) -> None:
    asked = program.result("POST", "/auth/signup/", {"telephone_number": ANNA})
    assert asked["code_length"] == 6
    body, key = {"verification_id": asked["verification_id"], "code": CODE}, '"0123456789abcdef"'
    first, again = (program.call("POST", "/auth/code/", body, **{"Idempotency-Key": key}) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 200)
    assert figures(app.test_client().get("/metrics").text)["hammer_events_lately", "test-number-used"] == 1


def test_the_answer_of_demo_mode_has_no_code_of_a_test_number(app: Flask, listed: Settings, program: Program) -> None:
    app.config["SETTINGS"] = replace(listed, demo=True)
    answers = [program.result("POST", "/auth/signup/", {"telephone_number": number}) for number in (ANNA, CLARA)]
    assert ["Ваш код активации" in answer for answer in answers] == [False, True]
    assert CODE not in str(answers)


def test_a_change_to_a_test_number_is_refused_in_words(listed: Settings, program: Program) -> None:
    program.sign_in(CLARA)
    answer = program.call("POST", "/users/me/telephone_number/", {"telephone_number": ANNA})
    assert answer.status_code == 422
    assert "This number cannot be chosen." in answer.text


# The log


def test_nothing_of_a_test_number_is_logged(production: Flask, log: io.StringIO) -> None:
    before = production.config["SETTINGS"]
    production.config["SETTINGS"] = replace(before, test_numbers={ANNA: CODE}, test_numbers_until=TOMORROW)
    try:
        client = production.test_client()
        https = {"base_url": "https://login.example.com"}
        asked = client.post("/api/v1/auth/signup/", json={"telephone_number": ANNA}, **https).json or {}
        for code in (wrong_code(CODE), CODE):
            client.post("/api/v1/auth/code/", json={"verification_id": asked["verification_id"], "code": code}, **https)
    finally:
        production.config["SETTINGS"] = before
    lines = log.getvalue()
    assert lines.count("POST /api/v1/auth/code/") == 2
    assert not [secret for secret in (ANNA[1:], CODE, wrong_code(CODE)) if secret in lines]


# Monitoring


def test_metrics_count_test_numbers_and_their_uses_and_nothing_else_of_their_users(app: Flask, listed: Settings) -> None:
    with app.app_context():
        clara = sign_in(listed, CLARA).user
        anna = confirm(listed, by_code.send_code(listed, ANNA, HOME, invite_code=clara.invite_code).verification, CODE).user
        dora, eva = sign_in(listed, "+79290000004").user, sign_in(listed, "+79290000005").user
        activate(listed, dora.id, anna.invite_code)
        activate(listed, eva.id, dora.invite_code)
        assert count_of(clara.id) == count_of(anna.id) == 1
        accounts.delete(listed, anna.id)
        ask(listed, BORIS)
        with transaction() as tx:
            tx.execute(update(Verification).values(expires_at=clock.now()))

    seen = figures(app.test_client().get("/metrics").text)

    assert seen[("hammer_test_numbers",)] == 2
    expected = {"test-number-used": 1, "signed-up": 3, "invite-activated": 1, "code-sent": 3, "user-deleted": 0}
    assert {kind: seen["hammer_events_lately", kind] for kind in expected} == expected
    assert (seen["hammer_codes_ended", "7"], seen["hammer_codes_proved", "7"]) == (3, 3)


def test_metrics_say_that_there_are_no_test_numbers_after_their_last_day(app: Flask, listed: Settings) -> None:
    app.config["SETTINGS"] = replace(listed, test_numbers_until=TOMORROW - timedelta(days=2))
    assert figures(app.test_client().get("/metrics").text)[("hammer_test_numbers",)] == 0


def findings(app: Flask) -> list[doctor.Finding]:
    with app.app_context():
        found = [finding for finding in doctor.examine(app.config["SETTINGS"]) if finding.part == "test numbers"]
        db.session.remove()
    return found


def test_doctor_shows_how_many_until_when_and_no_code(app: Flask, listed: Settings, run: Callable[..., Result]) -> None:
    [found] = findings(app)
    assert (found.state, found.how) == (doctor.FINE, f"2 with fixed codes, until {TOMORROW} (UTC): +7········01, +7········02")
    shown = said(run("doctor")) + said(run("settings")) + repr(listed)
    assert not [secret for secret in (CODE, LONG_CODE, ANNA) if secret in shown]


def test_doctor_advises_after_the_last_day(app: Flask, listed: Settings) -> None:
    app.config["SETTINGS"] = replace(listed, test_numbers_until=TOMORROW - timedelta(days=2))
    [found] = findings(app)
    assert found.state == doctor.ADVICE
    assert "last day is over" in found.how


@pytest.mark.parametrize("code", ["123456", "87654321", "890123", "121212", "123123", "12341234"])
def test_doctor_advises_against_a_code_that_people_try_first(app: Flask, listed: Settings, code: str) -> None:
    app.config["SETTINGS"] = replace(listed, test_numbers={ANNA: code})
    _, found = findings(app)
    assert found.state == doctor.ADVICE
    assert "pattern" in found.how
    assert code not in found.how + found.remedy


@pytest.mark.parametrize("number", ["+79990", "+74951234567", "+12125550123"])
def test_doctor_says_that_nobody_can_sign_in_with_a_number(app: Flask, listed: Settings, number: str) -> None:
    app.config["SETTINGS"] = replace(listed, test_numbers={number: CODE}, regions=frozenset({"RU"}))
    _, found = findings(app)
    assert (found.state, "nobody can sign in" in found.how) == (doctor.WRONG, True)


def test_doctor_reports_users_who_are_not_of_the_fixed_code(app: Flask, settings: Settings, listed: Settings) -> None:
    with app.app_context():
        confirm(listed, ask(listed), CODE)
    assert [found.state for found in findings(app)] == [doctor.FINE]
    with app.app_context():
        boris = sign_in(settings, BORIS).user.id
    assert [found.state for found in findings(app)] == [doctor.FINE, doctor.ADVICE]
    with app.app_context():
        accounts.set_staff(settings, boris, True)
    assert [found.state for found in findings(app)] == [doctor.FINE, doctor.WRONG]
    app.config["SETTINGS"] = settings
    assert findings(app) == []


# Commands


def test_commands_make_no_staff_of_a_test_number(app: Flask, listed: Settings, run: Callable[..., Result]) -> None:
    for _ in range(2):  # without a user, and with one
        assert "cannot be staff" in refused(run("createsuperuser", ANNA))
        with app.app_context():
            confirm(listed, ask(listed), CODE)
    assert "cannot be staff" in refused(run("users", "make-staff", ANNA))
    said(run("users", "make-staff", "--undo", ANNA))
    with app.app_context():
        assert db.session.query(User).filter_by(is_staff=True).count() == 0


def test_commands_move_nobody_and_text_nothing_to_a_test_number(
    app: Flask, listed: Settings, run: Callable[..., Result], memory: list[object]
) -> None:
    with app.app_context():
        sign_in(listed, CLARA, kind=SessionKind.BROWSER)
    assert "cannot be chosen" in refused(run("users", "move", "--yes", CLARA, ANNA))
    assert "no text leaves for it" in refused(run("texts", "try", ANNA))
    assert memory == []


# At once


@pytest.mark.requirement("THR-01", "THR-03")
def test_of_many_parallel_guesses_at_a_fixed_code_twenty_are_compared(serve: Callable[..., Server]) -> None:
    server = serve(
        HAMMER_TEST_NUMBERS=f"{ANNA}={CODE}",
        HAMMER_TEST_NUMBERS_UNTIL=str(TOMORROW),
        HAMMER_SENDS_PER_NUMBER_DAY="10000",
        HAMMER_GUESS_BUDGETS="1000,1000,1000",
    )
    asked = [server.call("POST", "/auth/signup/", {"telephone_number": ANNA}).json["verification_id"] for _ in range(30)]
    answers = at_once([partial(server.confirm, one, wrong_code(CODE)) for one in asked])
    assert sum(answer.status == 401 and answer.json["attempts_left"] > 0 for answer in answers) == 20
    assert {answer.status for answer in at_once([partial(server.confirm, one, CODE) for one in asked])} == {401}
    engine = create_engine(server.database_url)
    with engine.connect() as connection:
        assert connection.scalar(text("select sum(taken) from counters where scope = 'guesses/6'")) == 20
        assert [connection.scalar(text(f"select count(*) from {table}")) for table in ("sessions", "texts")] == [0, 0]
    engine.dispose()
    assert not [secret for secret in (CODE, ANNA) if secret in server.log.read_text()]
