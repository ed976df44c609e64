"""Staff download the people of a list as CSV."""

import csv
import io
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import insert
from werkzeug.test import TestResponse

from config import Settings
from hammer import clock, codes, events
from hammer.db.database import db, transaction
from hammer.models import Event, User
from hammer.refusals import NotAllowed
from hammer.users import accounts, files, people, search, transfers
from tests.actions import ANNA, BORIS, CLARA, activate, number, user
from tests.operators import Operator
from tests.people import Form, Page

AT = "/admin/people/export/"
STAFF = "+79290000099"
ENGLISH = {"Accept-Language": "en"}
Statements = Callable[[], AbstractContextManager[list[str]]]


@pytest.fixture
def operator(app: Flask) -> Operator:
    """Staff; Anna, with a name that a spreadsheet would run, invited Boris, who is blocked; Clara came first."""
    settings = app.config["SETTINGS"]
    with app.app_context():
        user(settings, CLARA)
        anna, boris = user(settings, ANNA), user(settings, BORIS)
        accounts.change(anna.id, {"username": "anna", "first_name": "=1+1", "last_name": "Иванова;@a"}, {"a": ["\t=", 1.5]})
        activate(settings, boris.id, anna.invite_code)
        accounts.set_blocked(boris.id, True)
    return Operator(app, STAFF).open()


def form_on(page: Page) -> Form:
    return next(form for form in page.forms if form.name == "form")


def download(operator: Operator, query: str = "") -> TestResponse:
    """The answer to the form of the page that says what will be in the file."""
    form = form_on(operator.get(AT + query))
    return operator.client.post(AT + query, data=form.fields, headers=ENGLISH)


def rows(answer: TestResponse) -> list[dict[str, str]]:
    """The rows of a file as a spreadsheet reads them."""
    return list(csv.DictReader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))


def numbers(answer: TestResponse) -> list[str]:
    return [row["number"] for row in rows(answer)]


def exports(app: Flask) -> list[tuple[str | None, str | None]]:
    """Who exported how many, of each event."""
    with app.app_context():
        found = db.session.query(Event).filter_by(kind=events.Kind.USERS_EXPORTED).order_by(Event.id)
        return [(event.actor_id, event.detail) for event in found]


@pytest.mark.requirement("AZN-04", "AZN-05")
def test_the_file_is_one_of_spreadsheets_without_formulas_and_the_download_is_an_event(app: Flask, operator: Operator) -> None:
    answer = download(operator)

    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == f"attachment; filename=people-{clock.now():%Y-%m-%d}.csv"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.data.startswith(b"\xef\xbb\xbfid,number,username,")
    assert answer.data.count(b"\r\n") == answer.data.count(b"\n") == 5
    assert numbers(answer) == [STAFF, BORIS, ANNA, CLARA]
    cells = [cell for row in rows(answer) for name, cell in row.items() if name not in ("id", "number")]
    assert "'=1+1" in cells
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert exports(app) == [(operator.user_id, "4")]


def test_the_list_leads_to_the_page_that_says_whom_the_file_will_have(app: Flask, operator: Operator) -> None:
    found = operator.get("/admin/people/").form_with("q")
    assert found is not None
    operator.send(found, q="иванова", invited_by="")
    assert operator.last is not None
    link = re.search(r'href="(/admin/people/export/[^"]*)"', operator.last.text)
    assert link is not None
    query = link[1].removeprefix(AT)

    page = operator.get(AT + query)
    assert "иванова" in page.words
    assert "100,000" in page.words
    assert numbers(download(operator, query)) == [ANNA]
    assert numbers(download(operator, "?only=blocked")) == [BORIS]
    assert numbers(download(operator, f"?joined_from={clock.now():%Y-%m-%d}")) == [STAFF, BORIS, ANNA, CLARA]
    with app.app_context():
        anna = people.find(app.config["SETTINGS"], ANNA)
    assert numbers(download(operator, f"?invited_by={anna}")) == [BORIS]
    assert [count for _, count in exports(app)] == ["1", "1", "4", "1"]
    assert "The file has 1 person." in operator.get("/admin/people/").words


@pytest.mark.parametrize("query", ["?only=deleted", "?search=forgotten", "?joined_from=x", "?only=x"])
def test_what_has_no_list_is_refused_in_words_and_nothing_is_noted(app: Flask, operator: Operator, query: str) -> None:
    with operator.client:
        assert operator.client.get(AT + query).status_code == 303
    assert '<p role="alert">' in operator.answer("/admin/people/").text
    assert exports(app) == []


@pytest.mark.requirement("AZN-05")
def test_with_an_old_proof_nothing_is_sent_and_the_way_back_keeps_the_filters(app: Flask, operator: Operator) -> None:
    form = form_on(operator.get(f"{AT}?only=blocked"))
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        answer = operator.client.post(f"{AT}?only=blocked", data=form.fields)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/confirm/")
        page = operator.confirm()

    assert operator.at == AT
    assert "blocked people" in page.words
    assert exports(app) == []


def test_another_language_and_a_forged_form_send_no_file(app: Flask, operator: Operator) -> None:
    form = form_on(operator.get(f"{AT}?only=blocked"))
    page = operator.send(Form(f"{AT}?only=blocked", "post", form.fields), lang="ru")
    assert "заблокированных" in page.words
    forged = operator.client.post(AT, data=form.fields, headers={"Sec-Fetch-Site": "cross-site"})
    assert forged.status_code == 403
    assert exports(app) == []


@pytest.mark.requirement("AZN-02")
def test_the_verb_refuses_who_is_staff_no_more_and_notes_nothing(app: Flask, operator: Operator, settings: Settings) -> None:
    with app.app_context():
        accounts.set_staff(settings, operator.user_id, False)
        with pytest.raises(NotAllowed):
            transfers.choose("", search.Filters(), actor_id=operator.user_id)
    assert exports(app) == []


def test_the_first_of_the_list_are_chosen_and_who_is_deleted_meanwhile_is_left_out(app: Flask, operator: Operator) -> None:
    settings = app.config["SETTINGS"]
    with app.app_context():
        everyone, more = transfers.choose("", search.Filters(), actor_id=operator.user_id, most=4)
        assert (len(everyone), more) == (4, False)
        some, more = transfers.choose("", search.Filters(), actor_id=operator.user_id, most=3)
        assert (some, more) == (everyone[:3], True)
        accounts.delete(settings, people.find(settings, BORIS))
        assert [row["number"] for row in transfers.chosen(some)] == [STAFF, ANNA]
    assert [count for _, count in exports(app)] == ["4", "3"]


def many(count: int) -> list[dict[str, Any]]:
    return [
        {"id": codes.random_id(), "invite_code": f"{n:06d}", "telephone_number": number(n), "date_joined": clock.now()}
        for n in range(1000, 1000 + count)
    ]


@pytest.mark.database
def test_of_more_people_than_a_file_can_have_the_newest_are_sent_a_thousand_at_a_time(
    app: Flask, operator: Operator, statements: Statements
) -> None:
    most = transfers.MOST_EXPORTED
    with app.app_context(), transaction() as tx:
        tx.execute(insert(User), many(most))
    form = form_on(operator.get(AT))
    with statements() as chosen:
        answer = operator.client.post(AT, data=form.fields, headers=ENGLISH, buffered=False)
    with statements() as at_first:
        parts = answer.iter_encoded()
        first = b"".join(islice(parts, 2))
    with statements() as later:
        lines = first.count(b"\r\n") + sum(part.count(b"\r\n") for part in parts)

    assert (first.count(b"\r\n"), lines) == (1000, 1 + most)
    assert len(at_first) <= 1
    assert len(chosen) < 2.5 * most / 1000
    assert len(later) <= most / 1000
    assert exports(app) == [(operator.user_id, str(most))]
    assert "The file has 100,000 people. The list has more: these are its first ones." in operator.get("/admin/people/").words


def test_the_columns_are_those_of_the_command_line(operator: Operator) -> None:
    assert tuple(rows(download(operator))[0]) == files.EXPORTED
