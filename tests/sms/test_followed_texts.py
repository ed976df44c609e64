"""A text is followed from the request that asked for it to the telephone: by the ids in the log, and by a number."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import Result
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.models import CodeState, Message, Verification
from hammer.quotas import guesses
from hammer.refusals import WrongCode
from hammer.sms import outbox
from hammer.web import logs
from tests import delivery
from tests.actions import ANNA, BORIS, ask, confirm, no_wait, right, wrong
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.people import Program

in_context = pytest.mark.usefixtures("context")


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The log as machines read it."""
    caplog.set_level(logging.INFO, "hammer")
    caplog.handler.setFormatter(logs.ForMachines())
    return caplog


def read(log: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.text.splitlines()]


def only_text() -> Message:
    db.session.expire_all()
    return db.session.query(Message).one()


def signed_up(program: Program, number: str = ANNA) -> tuple[str, str]:
    """The ids of the request that asked for a code, and of its verification, shortened."""
    answer = program.call("POST", "/auth/signup/", {"telephone_number": number})
    assert answer.json is not None
    return answer.headers["X-Request-ID"], str(answer.json["verification_id"])


@pytest.mark.requirement("LOG-01", "LOG-02")
def test_each_step_of_a_text_is_a_line_with_the_ids_of_its_request_and_of_its_verification(
    app: Flask, settings: Settings, program: Program, gateway: FakeGateway, clock: Traveller, log: pytest.LogCaptureFixture
) -> None:
    request_id, verification_id = signed_up(program)
    with app.app_context():
        through = replace(settings, sms_url=gateway.template)
        gateway.status = 500
        outbox.deliver_next(through)
        gateway.status = 200
        clock.shift(3)
        outbox.deliver_next(through)
        receipt, text_id = outbox.receipt_url(settings, only_text()), only_text().id
        code = right(settings, db.session.get_one(Verification, verification_id))
    app.test_client().get(urlsplit(receipt).path, query_string={"status": "1"})
    program.call("POST", "/auth/code/", {"verification_id": verification_id, "code": code})

    ids = {"verification": verification_id[:8], "request_id": request_id}
    about = [line for line in read(log) if line.get("text_id") == text_id]
    assert [line["message"].partition(" after")[0] for line in about] == [
        "Gateway http/1 did not take a text: answered 500.",
        "Gateway http/1 took a text",
        "A receipt of gateway http/1 says that a text was delivered.",
    ]
    for line in about:
        assert (ids.items() | {("gateway", "http/1")}) <= line.items()
    assert all(line["seconds"] >= 0 for line in about[:2])
    requests = {line["route"]: line for line in read(log) if "route" in line}
    assert ids.items() <= requests["/api/v1/auth/signup/"].items()
    assert requests["/api/v1/auth/code/"]["verification"] == verification_id[:8]
    assert requests["/receipts/<receipt>/"]["verification"] is None
    for secret in (ANNA[1:], verification_id, code):
        assert secret not in log.text, secret


@pytest.mark.requirement("LOG-02")
def test_an_id_that_a_caller_made_up_is_in_no_line(program: Program, log: pytest.LogCaptureFixture) -> None:
    program.call("POST", "/auth/code/", {"verification_id": ANNA, "code": "1234"})
    assert {line["verification"] for line in read(log) if "route" in line} == {None}


def test_a_request_says_nothing_of_the_verification_of_the_one_before(
    app: Flask, program: Program, log: pytest.LogCaptureFixture
) -> None:
    _, verification_id = signed_up(program)
    app.test_client().get("/healthz")
    app.test_client().get("/login/")
    seen = [line["verification"] for line in read(log) if "route" in line]
    assert seen == [verification_id[:8], None, None]


@in_context
def test_a_text_that_is_not_sent_says_why(settings: Settings, clock: Traveller, log: pytest.LogCaptureFixture) -> None:
    used, expired = ask(settings, ANNA), ask(settings, BORIS)
    confirm(settings, used, right(settings, used))
    clock.move_to(expired.expires_at)
    delivery.deliver(settings)
    about = {line["verification"]: (line["level"], line["message"]) for line in read(log) if "text_id" in line}
    assert about == {
        used.id[:8]: ("INFO", "Text 1 is not needed: its code was entered before."),
        expired.id[:8]: ("ERROR", "Text 2 was given up: it was not sent in time."),
    }


@in_context
def test_a_text_stores_the_request_that_asked_for_it(settings: Settings) -> None:
    events.request_id.set("abcdefgh-1234")
    try:
        ask(settings)
    finally:
        events.request_id.set(None)
    assert only_text().request_id == "abcdefgh-1234"


@in_context
def test_what_became_of_a_code_is_said_with_its_text(settings: Settings, clock: Traveller) -> None:
    def became() -> CodeState | None:
        [text, *_] = outbox.newest(settings, numbers=[ANNA]).items
        return text.code

    first = ask(settings)
    assert became() == CodeState.VALID
    clock.move_to(first.expires_at)
    assert became() == CodeState.EXPIRED
    guessed = ask(settings)
    for _ in range(settings.guesses_per_code):
        with pytest.raises(WrongCode):
            confirm(settings, guessed, wrong(settings, guessed))
    assert became() == CodeState.VOID
    no_wait()
    entered = ask(settings)
    confirm(settings, entered, right(settings, entered))
    clock.move_to(entered.expires_at)
    assert became() == CodeState.ENTERED
    with transaction() as tx:
        outbox.add_notice(tx, BORIS, "en")
    assert outbox.newest(settings).items[0].code is None


def listed(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["texts", "list", *arguments])


@pytest.mark.requirement("LOG-02")
def test_the_command_answers_why_a_number_got_no_code(
    app: Flask, settings: Settings, program: Program, clock: Traveller, gateway: FakeGateway
) -> None:
    request_id, verification_id = signed_up(program)
    signed_up(program, BORIS)
    gateway.status = 503
    with app.app_context():
        code = right(settings, db.session.get_one(Verification, verification_id))
        outbox.deliver_next(replace(settings, sms_url=gateway.template))
        asked_at = f"{db.session.get_one(Verification, verification_id).created_at:%Y-%m-%d %H:%M:%S}"

    answer = listed(app, "--number", "8 929 000-00-01")

    heads, row = answer.stdout.splitlines()
    assert heads.split()[0] == "ID"
    assert row.split("  ")[0] == "1"
    for shown in ("waiting", asked_at, "valid", verification_id[:8], request_id):
        assert shown in row, row
    assert "An unknown device may ask for 4 more today, the next one in 60 s." in answer.stderr
    for secret in (ANNA[1:], verification_id, f" {code} "):
        assert secret not in answer.output


def test_the_command_says_of_a_number_without_texts_what_stops_them(app: Flask, settings: Settings) -> None:
    answer = listed(app, "--number", ANNA)
    assert (answer.exit_code, answer.stdout) == (0, "")
    assert "No text with a code was asked for." in answer.stderr
    assert "An unknown device may ask for 5 more today.\n" in answer.stderr
    app.config["SETTINGS"] = replace(settings, regions=frozenset({"KZ"}))
    assert "No code is sent to this number: its country is not in HAMMER_REGIONS" in listed(app, "--number", ANNA).stderr
    assert "No code is sent to this number: it does not exist." in listed(app, "--number", "+7 000 000-00-00").stderr
    app.config["SETTINGS"] = replace(settings, test_numbers={ANNA: "482915"}, test_numbers_until=date.max)
    assert "This is a test number: no text leaves for it." in listed(app, "--number", ANNA).stderr
    assert listed(app, "--number", "Anna").stderr == "Error: This is no telephone number.\n"


def test_the_command_says_that_too_many_wrong_codes_were_entered(
    app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guesses, "LADDER", dict.fromkeys(guesses.LADDER, 1))
    with app.app_context():
        asked = ask(settings)
        with pytest.raises(WrongCode):
            confirm(settings, asked, wrong(settings, asked))
    assert "Too many wrong codes were entered: only known devices get codes." in listed(app, "--number", ANNA).stderr
