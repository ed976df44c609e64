"""The page with the list of people, and the page that shows a number."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from hammer import clock
from hammer.admin.people import FORGOTTEN, MOST_SEARCHES, NOT_A_DATE, NOT_A_PERSON
from hammer.db.database import db, transaction
from hammer.events import Kind
from hammer.models import Event
from hammer.quotas import staff_limits
from hammer.users import accounts, oversight, people
from tests.operators import Operator
from tests.people import Page, Program

ANNA, BORIS = "+79291230456", "+79290000002"
CANARY = "9291230456"
AT = "/admin/people/"


@pytest.fixture
def operator(app: Flask) -> Operator:
    """Staff; Anna Ivanova and Boris are people whom they look after."""
    with app.app_context():
        for number, names in ((ANNA, {"first_name": "Анна", "last_name": "Иванова"}), (BORIS, {"username": "boris"})):
            accounts.create(app.config["SETTINGS"], number, names)
    return Operator(app, "+79290000001").open()


def id_of(app: Flask, number: str) -> str:
    with app.app_context():
        return people.find(app.config["SETTINGS"], number)


def search(operator: Operator, **fields: str) -> Page:
    form = operator.get(AT).form_with("q")
    assert form is not None
    return operator.send(form, **fields)


def said(page: Page) -> str:
    return " ".join(page.words.split())


def shown(operator: Operator) -> str:
    """The page that the operator sees, as HTML without what stands between digits."""
    assert operator.last is not None
    return re.sub(r"(?<=\d)[^\d\w]+(?=\d)", "", operator.last.text)


@pytest.mark.requirement("AZN-04")
def test_no_list_shows_more_of_a_number_than_its_country_and_last_four_digits(app: Flask, operator: Operator) -> None:
    for fields in ({}, {"q": "0456"}, {"q": "Анна"}, {"invited_by": id_of(app, BORIS)}):
        page = search(operator, **fields)
        assert CANARY[:-4] not in shown(operator)
        assert ("04‑56" in page.words) == ("invited_by" not in fields)


@pytest.mark.parametrize("typed", ["8 929 123-04-56", "id", "invite code"])
def test_what_means_one_person_leads_to_that_person(app: Flask, operator: Operator, typed: str) -> None:
    anna = id_of(app, ANNA)
    with app.app_context():
        code = people.profile(app.config["SETTINGS"], anna).invite_code

    form = operator.get(AT).form_with("q")
    assert form is not None
    sent = form.fields | {"q": {"id": anna, "invite code": code}.get(typed, typed)}
    answer = operator.client.post(AT, data=sent)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{AT}{anna}/")


@pytest.mark.requirement("AZN-04")
@pytest.mark.database
def test_the_pages_and_the_api_share_a_limit_on_searches_by_whole_numbers(app: Flask, operator: Operator) -> None:
    assert staff_limits.SEARCHES.per_hour == 300
    staff = Program(app)
    staff.sign_in(operator.number)
    with app.app_context(), transaction() as tx:
        for _ in range(300 - 4):
            staff_limits.take(tx, staff_limits.SEARCHES, operator.user_id, clock.now())
    for typed in ("0456", "Анна", "boris", id_of(app, ANNA)):  # not counted
        search(operator, q=typed)
        staff.result("GET", f"/users/?q={typed}")
    search(operator, q="8 929 123-04-57")
    search(operator, invited_by=ANNA)
    staff.result("GET", "/users/?q=89291230456")
    staff.result("GET", "/users/+79291230456/")

    for fields in ({"q": "8 929 123-04-56"}, {"invited_by": ANNA}):
        assert staff_limits.SEARCHES.spent in search(operator, **fields).words
        assert operator.last is not None
        assert operator.last.status_code == 429
        assert next(iter(fields.values())) in operator.last.text
    for path in ("/users/?q=89291230456", "/users/+79291230456/"):
        assert staff.call("GET", path).status_code == 429
    assert "Анна Иванова" in search(operator, q="0456").words


def test_no_address_and_no_log_holds_what_was_searched_for(operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    page = search(operator, q="Анна Ив", only="blocked")

    assert operator.last is not None
    query = parse_qs(urlsplit(operator.last.request.url).query)
    assert set(query) == {"search", "only"}
    assert re.fullmatch(r"[\w-]{8}", query["search"][0])
    assert "No person was found" in page.words
    search(operator, q="8 929 123-04-57")
    assert "Анна" not in caplog.text
    assert CANARY[:-1] not in caplog.text


def test_a_search_can_be_repeated_and_paged_by_its_address_until_it_is_forgotten(operator: Operator) -> None:
    assert "Анна Иванова" in search(operator, q="анна").words
    assert operator.last is not None
    address = operator.last.request.full_path
    for n in range(MOST_SEARCHES - 1):
        search(operator, q=f"other{n}")
    page = operator.get(address)
    assert "Анна Иванова" in page.words
    again = page.form_with("q")
    assert again is not None
    assert again.fields["q"] == "анна"
    search(operator, q="one more")

    answer = operator.answer(address)
    assert answer.status_code == 422
    assert FORGOTTEN in answer.text


def test_closing_the_pages_forgets_what_was_searched_for(operator: Operator) -> None:
    search(operator, q="анна")
    with operator.client.session_transaction() as cookie:
        assert list(cookie["searches"].values()) == ["анна"]
    page = operator.get(AT)
    operator.send(next(form for form in page.forms if form.action == "/admin/leave/"))
    with operator.client.session_transaction() as cookie:
        assert "searches" not in cookie


def test_another_language_shows_the_same_list(operator: Operator) -> None:
    form = search(operator, q="анна", only="").form_with("q")
    assert form is not None
    operator.send(form, lang="ru")

    assert operator.last is not None
    assert '<html lang="ru">' in operator.last.text
    assert "Анна Иванова" in operator.last.text
    assert "Люди" in operator.last.text


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"joined_from": "yesterday"}, NOT_A_DATE),
        ({"joined_to": "2026-02-30"}, NOT_A_DATE),
        ({"invited_by": "Q9UK59"}, NOT_A_PERSON),
        ({"only": "friends"}, "Choose one of these."),
        ({"q": "123"}, "its last four digits alone"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_field(operator: Operator, fields: dict[str, str], why: str) -> None:
    page = search(operator, **fields)

    assert operator.last is not None
    assert operator.last.status_code == 422
    assert why in page.words
    form = page.form_with("q")
    assert form is not None
    assert fields.items() <= (form.fields | {"only": "friends"}).items()


def test_pages_are_small_and_their_rows_name_their_columns_on_a_phone(app: Flask, operator: Operator) -> None:
    for at in (AT, f"{AT}?only=staff", f"{AT}?only=deleted", f"{AT}?only=x", f"{AT}{id_of(app, ANNA)}/number/"):
        answer = operator.answer(at)
        assert len(answer.data) < 30_000
        if at == AT:
            assert re.search(r'<input [^>]*\bautofocus\b[^>]*\bname="q"|name="q"[^>]*\bautofocus\b', answer.text)
            assert answer.text.count("data-label") >= 3


def test_a_number_without_a_person_shows_its_recent_texts(app: Flask, operator: Operator) -> None:
    newcomer = "+79290000007"
    assert "No code was asked for with this number. Texts and codes are kept for 24 hours." in said(search(operator, q=newcomer))
    Program(app).call("POST", "/auth/signup/", {"telephone_number": newcomer})

    page = search(operator, q=newcomer)
    assert "There is no person with this number." in page.words
    assert "Recent texts to this number" in page.words
    assert "its code can still be entered" in page.words
    assert "No code was asked for" not in page.words
    assert newcomer[:-4] not in shown(operator).replace(f'value="{newcomer}"', "")


@pytest.mark.requirement("AZN-04")
def test_a_number_is_shown_once_for_a_reason_and_leaves_an_event(app: Flask, operator: Operator) -> None:
    anna = id_of(app, ANNA)
    form = operator.get(f"{AT}{anna}/number/").form_with("reason")
    assert form is not None
    assert CANARY[:-4] not in shown(operator)
    for wrong in ("", "curiosity", "x" * 5000):
        page = operator.send(form, reason=wrong)
        assert oversight.CHOOSE_A_REASON in page.words
        assert CANARY[:-4] not in shown(operator)

    page = operator.send(form, reason="legal-request")

    assert CANARY in shown(operator)
    assert "a legal request" in page.words
    for after in (f"{AT}{anna}/number/", AT):
        operator.get(after)
        assert CANARY[:-4] not in shown(operator)
    with app.app_context():
        [event] = db.session.scalars(select(Event).where(Event.kind == Kind.NUMBER_SHOWN))
        assert (event.user_id, event.actor_id, event.detail, event.reason) == (anna, operator.user_id, "legal-request", None)


def test_a_person_who_is_gone_has_no_number_to_show(app: Flask, operator: Operator) -> None:
    anna = id_of(app, ANNA)
    form = operator.get(f"{AT}{anna}/number/").form_with("reason")
    assert form is not None
    with app.app_context():
        accounts.delete(app.config["SETTINGS"], anna)

    operator.send(form, reason="legal-request")
    assert operator.last is not None
    assert operator.last.status_code == 404
    page = operator.get(f"{AT}?only=deleted")
    assert "No number" in page.words
    assert "deleted" in said(page)


RUBBISH = st.text(max_size=40) | st.sampled_from(
    ["'", "\0", "%", "0." + "A" * 22, "9999-12-31", "0001-01-01", "A" * 22, "\u202e1234", "K" * 3000]
)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["q", "only", "joined_from", "joined_to", "invited_by", "search", "after"], RUBBISH)
    )
)
def test_rubbish_is_refused_or_finds_no_person(operator: Operator, fields: dict[str, str]) -> None:
    form = operator.get(AT).form_with("q")
    assert form is not None
    sent = operator.client.post(AT, data=form.fields | fields)
    got = operator.client.get(AT, query_string=fields)

    assert sent.status_code in (303, 422)
    assert got.status_code in (200, 422)
