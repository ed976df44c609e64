"""Lists of users, invitees and texts: pages, limits and search."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask
from sqlalchemy import select

from hammer import clock
from hammer.db.database import transaction
from hammer.models import Referral, Scope, User
from hammer.parsing.phones import masked
from hammer.quotas import staff_limits
from hammer.sms import outbox
from tests.api.contract import ANNA, BORIS, STAFF, STRANGER, USER, problem
from tests.backends import Backend
from tests.delivery import code_for
from tests.people import Program


def invite_many(app: Flask, owner: str, count: int) -> list[str]:
    """Makes people who activated the owner's code, some of them at the same moment; their numbers, newest first."""
    numbers = [f"+7930{place:07}" for place in range(count)]
    began = clock.now() - timedelta(days=1)
    with app.app_context(), transaction() as tx:
        referrer = tx.scalars(select(User).where(User.telephone_number == owner)).one()
        for place, number in enumerate(numbers):
            moment = began + timedelta(seconds=place // 3)
            referee = User(
                id=f"{place:022}",
                telephone_number=number,
                invite_code=f"{place:06}",
                first_name="",
                last_name="",
                date_joined=moment,
            )
            tx.add(referee)
            tx.flush()
            tx.add(Referral(referee_id=referee.id, referrer_id=referrer.id, activated_at=moment))
        referrer.invite_count += count
    return numbers[::-1]


def pages(person: Program, path: str) -> Iterator[list[Any]]:
    """Each page of a list, by the `Link` of the one before."""
    for _ in range(50):
        answer = person.call("GET", path)
        assert answer.status_code == 200, answer.text
        yield answer.json or []
        link = answer.headers.get("Link")
        if link is None:
            return
        found = re.fullmatch(r'<(.+)>; rel="next"', link)
        assert found is not None, link
        path = found[1].removeprefix("/api/v1")
    raise AssertionError("The list does not end.")


@pytest.mark.parametrize("limit", [1, 7, 12, 24, 25, 100])
def test_pages_of_invitees_have_no_gap_and_no_repetition(app: Flask, anna: Program, limit: int) -> None:
    numbers = invite_many(app, ANNA, 24)
    found = list(pages(anna, f"/users/me/invitees/?limit={limit}"))
    assert [invitee["telephone_number"] for page in found for invitee in page] == numbers
    assert all(len(page) == limit for page in found[:-1])
    assert found[-1]


def test_pages_of_users_have_no_gap_and_no_repetition(app: Flask, anna: Program, staff: Program) -> None:
    numbers = invite_many(app, ANNA, 24)[::-1]
    found = [user["telephone_number"] for page in pages(staff, "/users/?limit=7") for user in page]
    assert found == [*map(masked, [*numbers, ANNA]), STAFF]
    assert all(set(user) == USER for user in staff.result("GET", "/users/"))
    shop = Backend(app, Scope.USERS_READ, Scope.USERS_NUMBERS)
    searched = [user["telephone_number"] for page in pages(shop, "/users/?limit=5&q=7930") for user in page]
    assert searched == numbers


def test_staff_see_the_state_of_each_text_and_never_its_code(app: Flask, anna: Program, staff: Program) -> None:
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], code_length=8)  # eight digits do not occur in a timestamp by chance
    anna.result("POST", "/auth/signup/", {"telephone_number": BORIS})
    with app.app_context():
        code = code_for(app.config["SETTINGS"], BORIS)

    answer = staff.call("GET", "/texts/")

    newest, *_ = answer.json or []
    ids = {"id", "verification", "request_id"}
    assert newest.keys() == ids | {"telephone_number", "state", "gateway", "tries", "asked_at", "ended_at", "code"}
    assert newest["telephone_number"] == BORIS[:2] + "········" + BORIS[-2:]
    assert (newest["state"], newest["gateway"], newest["tries"]) == ("sent", "memory/1", 1)
    assert code not in answer.text
    problem(anna.call("GET", "/texts/"), 403, "not-allowed")


def test_staff_find_the_texts_to_one_number_by_a_body_and_not_by_an_address(app: Flask, anna: Program, staff: Program) -> None:
    asked = [anna.call("POST", "/auth/signup/", {"telephone_number": number}) for number in (BORIS, STRANGER)]
    body = {"telephone_number": BORIS.replace("+7", "8 ")}

    [found] = staff.result("POST", "/texts/search/", body)

    assert found["request_id"] == asked[0].headers["X-Request-ID"]
    assert asked[0].json is not None
    assert found["verification"] == asked[0].json["verification_id"][:8]
    assert (found["state"], found["code"]) == ("waiting", "valid")
    problem(anna.call("POST", "/texts/search/", body), 403, "not-allowed")
    problem(staff.call("POST", "/texts/search/", {"telephone_number": "Boris"}), 422, "invalid-fields")


def test_searches_for_texts_count_as_searches_by_whole_numbers(app: Flask, staff: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staff_limits, "SEARCHES", staff_limits.SEARCHES._replace(per_hour=1))
    assert staff.result("POST", "/texts/search/", {"telephone_number": BORIS}) == []
    problem(staff.call("POST", "/texts/search/", {"telephone_number": BORIS}), 429, "too-many-requests")


def test_pages_of_texts_have_no_gap_and_no_repetition(app: Flask, staff: Program) -> None:
    with app.app_context(), transaction() as session:
        for _ in range(24):
            outbox.add_notice(session, ANNA, "en")
    found = [text["id"] for page in pages(staff, "/texts/?limit=7") for text in page]
    assert found == sorted(set(found), reverse=True)
    assert len(found) == 25
    for after in ("banana", "-1", "1.5", "9" * 19, "٣"):
        problem(staff.call("GET", f"/texts/?after={quote(after)}"), 422, "invalid-fields")
    assert len(staff.call("GET", f"/texts/?after={'9' * 18}").get_json()) == 25


def test_a_page_holds_a_hundred_at_most(app: Flask, anna: Program, staff: Program) -> None:
    invite_many(app, ANNA, 110)
    assert len(anna.result("GET", "/users/me/invitees/")) == 100
    assert len(staff.result("GET", "/users/")) == 100
    me = anna.result("GET", "/users/me/")
    assert (len(me["invite_code_list"]), me["invite_count"]) == (100, 110)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", "", "1.5", "１", "1e1", "9" * 400, "%00", "1_0", " "])
def test_a_limit_is_a_whole_number_from_1_to_100(staff: Program, limit: str) -> None:
    for path in ("/users/", "/users/me/invitees/"):
        found = problem(staff.call("GET", f"{path}?limit={limit}"), 422, "invalid-fields")
        assert set(found["errors"]) == {"limit"}


@pytest.mark.parametrize("after", ["x", "0", "1.x", "1" * 18 + "." + "A" * 22, "%00", "%ff", "1." + "A" * 23, "-1." + "A" * 22])
def test_an_unknown_place_in_a_list_is_refused(staff: Program, after: str) -> None:
    for path in ("/users/", "/users/me/invitees/"):
        answer = staff.call("GET", f"{path}?after={after}")
        assert set(problem(answer, 422, "invalid-fields")["errors"]) == {"after"}


def test_staff_list_all_users_and_others_only_themselves(anna: Program, boris: Program, staff: Program) -> None:
    assert [user["telephone_number"] for user in anna.result("GET", "/users/")] == [ANNA]
    assert [user["telephone_number"] for user in anna.result("GET", f"/users/?q={quote(BORIS)}")] in ([], [ANNA])
    assert {user["telephone_number"] for user in staff.result("GET", "/users/")} == {masked(ANNA), masked(BORIS), STAFF}


@pytest.mark.parametrize(
    "q", ["+79298284301", "8 929 828-43-01", "9298284301", "АННА", "анна", "ивАн", "анна иван", "anna", "ANNA_"]
)
def test_staff_search_by_number_and_name_in_any_case(anna: Program, boris: Program, staff: Program, q: str) -> None:
    anna.result("PUT", "/users/me/", {"username": "Anna_1", "first_name": "Анна", "last_name": "Иванова"})
    assert [user["telephone_number"] for user in staff.result("GET", f"/users/?q={quote(q)}")] == [masked(ANNA)]


def test_staff_search_by_invite_code(anna: Program, boris: Program, staff: Program) -> None:
    code = anna.tokens["invite_code"].lower()
    assert [user["telephone_number"] for user in staff.result("GET", f"/users/?q={code[:3]}-{code[3:]}")] == [masked(ANNA)]


@pytest.mark.parametrize("q", ["нет такого", "%25", "_", "100%25", "%ff", "😀", "\\", "' or 1=1 --", "x" * 5000])
def test_a_search_without_results_answers_an_empty_list(anna: Program, staff: Program, q: str) -> None:
    assert staff.result("GET", f"/users/?q={q}") == []


def test_a_search_with_a_nul_character_is_refused(staff: Program) -> None:
    assert set(problem(staff.call("GET", "/users/?q=%00"), 422, "invalid-fields")["errors"]) == {"q"}
