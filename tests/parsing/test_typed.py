"""Numbers and codes as people type them, in the pages and in the JSON API."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from config import Settings
from hammer.db.database import db
from hammer.models import Message, Verification
from hammer.parsing import phones
from hammer.users import accounts, people
from tests import routes
from tests.actions import ANNA, wrong_code
from tests.people import Person, Program

WRITTEN = ("{}", " {} ", "Hammer: {}. Do not tell it to anybody.\n@localhost #{}", "\u202a{}\u202c", "«{}»", "*{}*")


@pytest.mark.parametrize("written", WRITTEN, ids=ascii)
@pytest.mark.requirement("OTP-07")
def test_a_code_is_read_however_it_is_pasted(person: Person, written: str) -> None:
    person.sign_in(ANNA, lambda code: written.replace("{}", code))
    assert person.is_signed_in()


@pytest.mark.parametrize("zero", ["\uff10", "\u0660", "\u06f0", "\u0966", "\U0001d7ce"], ids=ascii)
@pytest.mark.requirement("OTP-07")
def test_a_code_may_be_typed_in_any_script(person: Person, zero: str) -> None:
    person.sign_in(ANNA, lambda code: "".join(chr(ord(zero) + int(digit)) for digit in code))
    assert person.is_signed_in()


@pytest.mark.parametrize("between", [" ", "-", "\u00a0", "\u2009", "\u200b", "\u2212"], ids=ascii)
@pytest.mark.requirement("OTP-07")
def test_a_code_may_be_typed_in_groups(person: Person, between: str) -> None:
    person.sign_in(ANNA, lambda code: f"Code: {code[:2]}{between}{code[2:]}")
    assert person.is_signed_in()


@pytest.mark.parametrize("typed", ["{}, {other}", "29.11.2026", "29-11-2026", "{}, 5 minutes", "+{}", "\u202e{}"], ids=ascii)
@pytest.mark.requirement("OTP-07")
def test_ambiguous_input_costs_no_guess_in_the_pages_and_the_api(
    app: Flask, client: FlaskClient, program: Program, code_for: Callable[[str], str], typed: str
) -> None:
    asked = program.result("POST", "/auth/signup/", {"telephone_number": "+79290000002"})
    form = {"csrf_token": routes.form_token(client)}
    client.post("/login/", data=form | {"telephone_number": ANNA})
    spelled = [typed.format(code, other=wrong_code(code)) for code in map(code_for, (ANNA, "+79290000002"))]

    answers = [
        client.post("/login/code/", data={"csrf_token": routes.form_token(client), "code": spelled[0]}),
        program.call("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": spelled[1]}),
    ]

    assert [answer.status_code for answer in answers] == [422, 422]
    with app.app_context():
        assert {verification.guesses for verification in db.session.query(Verification)} == {0}


@pytest.mark.parametrize(
    "typed", ["[+7 929 000-00-01](tel:+79290000001)", "+7 +7 929 000 00 01", "+8 929 000 00 01", "%2B79290000001", "٨٩٢٩٠٠٠٠٠٠١"]
)
@pytest.mark.requirement("PHN-01")
def test_a_number_is_read_however_it_is_pasted(app: Flask, client: FlaskClient, program: Program, typed: str) -> None:
    answer = program.result("POST", "/auth/signup/", {"telephone_number": typed})
    again = client.post("/login/", data={"csrf_token": routes.form_token(client), "telephone_number": typed})

    assert answer["telephone_number"] == ANNA
    assert again.status_code == 429  # it is the same number, so the same wait
    with app.app_context():
        assert db.session.query(Message).count() == 1


@pytest.mark.parametrize(
    ("typed", "sentence", "in_russian"),
    [
        ("447911123456", phones.NO_PLUS, "начните с плюса и кода страны"),
        ("8 929 000-00-01/02", phones.SEVERAL, "только один номер, без добавочного"),
    ],
)
@pytest.mark.requirement("PHN-01")
def test_pages_and_api_show_the_error_of_a_number(
    client: FlaskClient, program: Program, typed: str, sentence: str, in_russian: str
) -> None:
    answer = program.call("POST", "/auth/signup/", {"telephone_number": typed})
    shown = client.post("/login/", data={"csrf_token": routes.form_token(client), "telephone_number": typed})

    assert answer.json is not None
    assert answer.json["errors"] == {"telephone_number": [sentence]}
    assert in_russian in shown.text


def test_a_number_of_an_old_plan_signs_in_if_its_range_is_allowed(
    settings: Settings, app_with: Callable[[Settings], Flask], app: Flask
) -> None:
    """Benin had numbers of eight digits until 2024. Known and unknown numbers get the same answers, as everywhere."""
    let_in = replace(settings, extra_ranges=("+2299xxxxxxx",))
    with app.app_context():
        user_id = accounts.create(let_in, "+22997123456", {})
        code = people.profile(settings, user_id).invite_code
    refused = [Program(app).call("POST", "/auth/signup/", {"telephone_number": f"+229 97 12 34 {n}"}) for n in (56, 57)]
    lenient = app_with(let_in)
    owner, stranger = Program(lenient), Program(lenient)

    owner.sign_in("+229 97 12 34 56")
    stranger.sign_in("+229 97 12 34 57")

    assert [answer.status_code for answer in refused] == [422, 422]
    assert owner.profile().invite_code == code
    assert stranger.profile().invite_code != code
