"""Wrong types and strange strings in any field or path are refused with a problem, and are never a server error."""

import json

import pytest
from flask.testing import FlaskClient

from tests.actions import wrong_code
from tests.api.contract import ANNA, ask, problem
from tests.people import Program

WRONG_TYPES = [1, 1.5, True, None, [], {}, ["x"], {"x": 1}, 10**30]
STRANGE_TEXTS = {
    "nothing": "",
    "blank": "  ",
    "nul": "\x00",
    "nul inside": "+7929828\x004301",
    "full-width digits": "１２３４",
    "full-width number": "＋７９２９８２８４３０１",
    "arabic digits": "١٢٣٤",
    "emoji": "😀",
    "10 kB": "9" * 10_000,
    "brackets": "(" * 4000,
    "path": "../../etc/passwd",
    "me": "me",
    "markup": "<script>alert(1)</script>",
    "sql": "' or 1=1 --",
    "rtl": "\u202e1234",
    "format": "%(x)s {x} %s",
    "extension": "+79298284301;ext=5",
}
OTHER_DIGITS = ("full-width digits", "arabic digits")
"""These are digits too, so a wrong code written with them is a guess."""
BODIES = [
    ("POST", "/auth/signup/", ("telephone_number", "username", "phone", "invite_code")),
    ("POST", "/auth/resend/", ("verification_id",)),
    ("POST", "/auth/code/", ("verification_id", "code", "telephone_number")),
    ("POST", "/auth/refresh/", ("refresh_token",)),
    ("POST", "/users/", ("telephone_number", "username", "first_name", "last_name")),
    ("POST", "/users/me/", ("username", "first_name", "last_name")),
    ("PATCH", "/users/me/", ("username", "first_name", "last_name")),
    ("PUT", "/users/me/", ("username", "first_name", "last_name")),
    ("POST", "/users/me/invite/", ("invite_code",)),
    ("POST", "/webhooks/", ("url",)),
    ("PATCH", f"/webhooks/{'A' * 22}/", ("url",)),
    ("POST", f"/webhooks/{'A' * 22}/replay/", ("message_id",)),
]
GOOD = {
    "telephone_number": "+79298284399",
    "username": "ivan",
    "phone": "+79298284399",
    "code": "1234",
    "verification_id": "A" * 22,
    "refresh_token": "x",
    "invite_code": "Q9UK59",
    "first_name": "Иван",
    "last_name": "Петров",
    "url": "https://app.example.com/hammer",
    "message_id": "msg_1_1",
}
FIELDS = [(method, path, field, fields) for method, path, fields in BODIES for field in fields]


def body_with(field: str, fields: tuple[str, ...], value: object) -> dict[str, object]:
    names = {"telephone_number", "username", "phone"} if "phone" in fields and field != "invite_code" else {"username", "phone"}
    return {name: GOOD[name] for name in fields if name not in names} | {field: value}


@pytest.mark.parametrize(("method", "path", "field", "fields"), FIELDS)
def test_a_wrong_type_in_any_field_is_an_invalid_field(
    staff: Program, method: str, path: str, field: str, fields: tuple[str, ...]
) -> None:
    shown = "telephone_number" if "phone" in fields and field in ("username", "phone") else field
    for value in WRONG_TYPES:
        answer = staff.call(method, path, body_with(field, fields, value))
        assert set(problem(answer, 422, "invalid-fields")["errors"]) == {shown}, value


@pytest.mark.parametrize(("method", "path", "field", "fields"), FIELDS)
def test_strange_text_in_any_field_is_never_a_server_error(
    staff: Program, demo: Program, method: str, path: str, field: str, fields: tuple[str, ...]
) -> None:
    for name, value in STRANGE_TEXTS.items():
        for person in (staff, demo):
            answer = person.call(method, path, body_with(field, fields, value))
            assert answer.status_code < 500, name
            if answer.status_code >= 400:
                problem(answer, answer.status_code, answer.json["type"].rpartition("/")[2])  # type: ignore[index]
            elif field not in ("first_name", "last_name"):
                assert value in ("", "  ", "me", "+79298284301;ext=5", "＋７９２９８２８４３０１"), (name, answer.text)


@pytest.mark.parametrize(("method", "path", "field", "fields"), [*FIELDS, ("POST", "/auth/signup/", "\ud800", ("invite_code",))])
def test_half_a_surrogate_pair_is_an_invalid_request(
    staff: Program, method: str, path: str, field: str, fields: tuple[str, ...]
) -> None:
    body = json.dumps(body_with(field, fields, "\ud800"))
    headers = {"Authorization": f"Bearer {staff.tokens['access_token']}"}
    answer = staff.client.open(f"/api/v1{path}", method=method, data=body, content_type="application/json", headers=headers)
    problem(answer, 400, "invalid-request")


@pytest.mark.parametrize("text", [name for name in STRANGE_TEXTS if name not in ("nothing", "blank", *OTHER_DIGITS)])
def test_a_code_without_digits_takes_no_guess(program: Program, text: str) -> None:
    verification, code = ask(program, ANNA)
    for _ in range(4):
        answer = program.call("POST", "/auth/code/", {"verification_id": verification, "code": STRANGE_TEXTS[text]})
        assert set(problem(answer, 422, "invalid-fields")["errors"]) == {"code"}
    program.result("POST", "/auth/code/", {"verification_id": verification, "code": f"{code[:2]} {code[2:]}"})


def test_a_repeated_json_key_is_at_most_one_guess(client: FlaskClient, program: Program) -> None:
    verification, code = ask(program, ANNA)
    wrong = wrong_code(code)
    raw = f'{{"verification_id": "{verification}", "code": "{code}", "code": "{wrong}"}}'
    answer = client.post("/api/v1/auth/code/", data=raw, content_type="application/json")
    if answer.status_code == 401:
        assert problem(answer, 401, "wrong-code")["attempts_left"] == 2
    else:
        problem(answer, 400, "invalid-request")


@pytest.mark.parametrize(
    "part", ["%00", "%ff", "%F0%9F%98%80", "a" * 5000, "9" * 5000, "+", "%2B", "..", "%2e%2e", "a%2fb", "'", "%0a"]
)
def test_a_strange_path_is_never_a_server_error(anna: Program, staff: Program, part: str) -> None:
    for person in (anna, staff):
        for method, end in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "invitees/"), ("POST", "invite/")):
            body = {"invite_code": "Q9UK59"} if end == "invite/" else {} if method == "PATCH" else None
            problem(person.call(method, f"/users/{part}/{end}", body), 404, "not-found")
        problem(person.call("DELETE", f"/auth/sessions/{part}/"), 404, "not-found")


def test_deep_nesting_is_an_invalid_field(program: Program) -> None:
    raw = '{"telephone_number": ' + "[" * 900 + "]" * 900 + "}"
    answer = program.client.post("/api/v1/auth/signup/", data=raw, content_type="application/json")
    problem(answer, 422, "invalid-fields")
