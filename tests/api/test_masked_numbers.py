"""Staff, and clients without `users:numbers`, see masked numbers of others, and cannot put them together from parts."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from config import Settings
from hammer.api.documents import document
from hammer.models import Scope
from hammer.parsing import phones
from tests.api.contract import ANNA, BORIS, STAFF, STRANGER, problem, signed_in
from tests.backends import Backend
from tests.people import Program

MADE = "+79298284399"
NUMBERS = (ANNA, BORIS, STRANGER, MADE)
WITHOUT = [scope for scope in Scope if scope != Scope.USERS_NUMBERS]


@pytest.fixture
def shop(app: Flask) -> Backend:
    return Backend(app, *WITHOUT)


@pytest.fixture(params=["shop", "staff"])
def onlooker(request: pytest.FixtureRequest) -> Program:
    """A client without the scope, or one of the staff."""
    who: Program = request.getfixturevalue(request.param)
    return who


@pytest.fixture
def two(anna: Program, boris: Program) -> tuple[Program, Program]:
    """Anna, and Boris who activated her code."""
    assert boris.activate(anna.tokens["invite_code"]) is None
    return anna, boris


def holds_no_number(answer: TestResponse) -> bool:
    """Whether no part of an answer has a whole number, with or without its plus."""
    everything = answer.text + str(answer.headers)
    return not [number for number in NUMBERS if number[2:] in everything]


@pytest.mark.requirement("AZN-04")
def test_others_are_shown_with_masked_numbers_in_every_answer(onlooker: Program, two: tuple[Program, Program]) -> None:
    anna = two[0].result("GET", "/users/me/")
    at = f"/users/{anna['id']}/"
    answers = [
        onlooker.call("GET", at),
        onlooker.call("GET", "/users/"),
        onlooker.call("GET", "/users/?limit=1"),
        onlooker.call("GET", f"{at}invitees/"),
        onlooker.call("GET", f"{at}invitees/?limit=1"),
        onlooker.call("PATCH", at, {"first_name": "Anna"}),
        onlooker.call("POST", at, {"last_name": "Smith"}),
        onlooker.call("PUT", at, {"username": "anna"}),
        onlooker.call("POST", f"{at}block/", {}),
        onlooker.call("POST", f"{at}unblock/", {}),
        onlooker.call("POST", "/users/", {"telephone_number": MADE}),
        onlooker.call("POST", "/users/", {"telephone_number": ANNA}),
        onlooker.call("PATCH", at, {"username": ANNA}),
        onlooker.call("PATCH", at, {"username": "x" * 40}),
        onlooker.call("GET", f"/users/{STRANGER[1:]}1/"),
        onlooker.call("DELETE", at),
    ]

    assert [answer.status_code for answer in answers] == [200] * 10 + [201, 409, 422, 422, 404, 204]
    assert [answer.text for answer in answers if not holds_no_number(answer)] == []
    assert answers[0].get_json()["telephone_number"] == phones.masked(ANNA)
    assert answers[0].get_json()["invite_code_list"] == [phones.masked(BORIS)]
    assert answers[3].get_json()[0]["telephone_number"] == phones.masked(BORIS)


@pytest.mark.usefixtures("two")
def test_a_client_with_the_scope_sees_whole_numbers(app: Flask) -> None:
    shop = Backend(app, *Scope)
    anna = shop.result("GET", f"/users/{ANNA}/")

    assert (anna["telephone_number"], anna["invite_code_list"]) == (ANNA, [BORIS])
    assert [user["telephone_number"] for user in shop.result("GET", "/users/")] == [ANNA, BORIS]
    assert shop.result("GET", f"/users/{ANNA}/invitees/")[0]["telephone_number"] == BORIS
    assert shop.result("POST", "/users/", {"telephone_number": MADE})["telephone_number"] == MADE
    assert shop.result("PATCH", f"/users/{ANNA}/", {"first_name": "A"})["telephone_number"] == ANNA


def test_the_scope_to_see_numbers_is_none_to_read_users(app: Flask, anna: Program) -> None:
    shop = Backend(app, Scope.USERS_NUMBERS)
    assert shop.call("GET", "/users/").status_code == shop.call("GET", f"/users/{ANNA}/").status_code == 403
    assert anna.result("GET", "/users/me/")["telephone_number"] == ANNA


@pytest.mark.parametrize(("how", "seen"), [("masked", [phones.masked(BORIS)]), ("none", [])])
def test_the_scope_shows_no_more_of_invitees_than_the_operator_shows_to_anyone(
    settings: Settings, app_with: Callable[[Settings], Flask], how: str, seen: list[str]
) -> None:
    app = app_with(replace(settings, invitee_numbers=how))
    anna, boris = signed_in(app, ANNA), signed_in(app, BORIS)
    assert boris.activate(anna.tokens["invite_code"]) is None

    for scopes in (WITHOUT, list(Scope)):
        shop = Backend(app, *scopes, name=str(len(scopes)))
        assert shop.result("GET", f"/users/{ANNA}/")["invite_code_list"] == seen
        listed = shop.result("GET", f"/users/{ANNA}/invitees/")
        assert [one["telephone_number"] for one in listed if one["telephone_number"]] == seen


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("q", [ANNA, "8 929 828 43 01", "9298284301", "+7 (929) 828-43-01"])
def test_a_user_is_found_by_a_whole_number(onlooker: Program, q: str) -> None:
    assert [user["telephone_number"] for user in found(onlooker, q)] == [phones.masked(ANNA)]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("q", ["929828430", "8284301", "4301", "+7929", "79298", "+7 929 828 43 0", "01", "·01", "%", "_"])
@pytest.mark.requirement("AZN-04")
def test_no_user_is_found_by_a_part_of_a_number(onlooker: Program, q: str) -> None:
    assert found(onlooker, q) == []


@pytest.mark.requirement("AZN-04")
def test_staff_see_their_own_number_and_those_of_their_invitees(anna: Program, boris: Program, staff: Program) -> None:
    assert anna.activate(staff.tokens["invite_code"]) is None
    assert boris.activate(anna.tokens["invite_code"]) is None

    for me in (staff.result("GET", "/users/me/"), staff.result("GET", f"/users/{STAFF}/"), staff.result("GET", "/users/")[-1]):
        assert (me["telephone_number"], me["invite_code_list"]) == (STAFF, [ANNA])
    assert staff.result("GET", "/users/me/invitees/")[0]["telephone_number"] == ANNA
    assert anna.result("GET", "/users/me/")["invite_code_list"] == [BORIS]


@pytest.mark.usefixtures("two")
def test_a_client_with_the_scope_finds_users_by_a_part_of_a_number(app: Flask) -> None:
    assert len(found(Backend(app, *Scope), "929828")) == 2


def test_pages_are_in_the_order_of_joining_which_says_nothing_of_numbers(shop: Backend, boris: Program, anna: Program) -> None:
    first = shop.call("GET", "/users/?limit=1")
    following = first.headers["Link"].partition(">")[0].removeprefix("</api/v1")

    assert first.get_json()[0]["telephone_number"] == phones.masked(BORIS)
    assert shop.result("GET", following)[0]["telephone_number"] == phones.masked(ANNA)
    problem(shop.call("GET", f"/users/?after={ANNA[1:]}"), 422, "invalid-fields")


def found(person: Program, q: str) -> list[dict[str, str]]:
    answer = person.client.get(
        "/api/v1/users/", query_string={"q": q}, headers={"Authorization": f"Bearer {person.tokens['access_token']}"}
    )
    assert answer.status_code == 200, answer.text
    users: list[dict[str, str]] = answer.get_json()
    return users


def test_the_document_allows_masked_numbers(app: Flask, shop: Backend, anna: Program) -> None:
    masked = shop.result("GET", "/users/")[0]["telephone_number"]
    pattern = document(app)["components"]["schemas"]["UserOut"]["properties"]["telephone_number"]["pattern"]

    assert "·" in masked
    assert re.fullmatch(pattern, masked)
