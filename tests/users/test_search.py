"""How staff find people: by what a caller says of them, with filters, newest first, page by page."""

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from config import Settings
from hammer import codes
from hammer.db.database import transaction
from hammer.models import Referral, User
from hammer.parsing import phones
from hammer.refusals import InvalidFields
from hammer.users import search
from hammer.users.search import Filters, Only
from tests.actions import STRANGER_ID, number

pytestmark = pytest.mark.usefixtures("context")
BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
NUMBERS = itertools.count(1)
Statements = Callable[[], AbstractContextManager[list[str]]]


def add(count: int = 1, /, **values: object) -> list[str]:
    """The ids of new people, who joined one minute after the other."""
    first = next(NUMBERS)
    users = [
        {
            "id": codes.random_id(),
            "telephone_number": number(first + n),
            "invite_code": codes.new_invite_code(),
            "date_joined": BEGAN + timedelta(minutes=first + n),
        }
        | values
        for n in range(count)
    ]
    for _ in range(count - 1):
        next(NUMBERS)
    with transaction() as tx:
        tx.execute(insert(User), users)
    return [str(user["id"]) for user in users]


def found(text: str = "", filters: Filters = Filters(), before_each: Callable[[], object] = lambda: None) -> list[str]:  # noqa: B008
    """The ids of all pages."""
    ids, after = [], None
    while True:
        page = search.people(text, filters, after, search.PER_PAGE)
        assert len(page.items) <= search.PER_PAGE
        ids += [person.id for person in page.items]
        if page.after is None:
            return ids
        after = page.after
        before_each()


def invite(referrer: str, *referees: str) -> None:
    with transaction() as tx:
        tx.execute(insert(Referral), [{"referrer_id": referrer, "referee_id": one, "activated_at": BEGAN} for one in referees])


def change(user_id: str, **values: object) -> None:
    with transaction() as tx:
        tx.execute(update(User).where(User.id == user_id).values(**values))


@pytest.mark.parametrize(
    "typed",
    ["+7 929 828-43-01", "8 (929) 828 43 01", "tel:+79298284301", "q9uk59", "http://localhost:5000/i/Q9UK59", STRANGER_ID],
)
def test_a_number_in_any_spelling_an_invite_code_and_an_id_mean_one_person(settings: Settings, typed: str) -> None:
    add(3)
    assert search.person(settings, typed) is None
    [anna] = add(id=STRANGER_ID, telephone_number="+79298284301", invite_code="Q9UK59")

    assert search.person(settings, f" {typed} ") == anna


@pytest.mark.parametrize(
    "typed",
    ["4301", "43-01", "+7 ··· ···-43-01", "Ив", "иван", "ИВАНОВ", "иван ив", "Иванов Иван", "ivan.p", "@IVAN", "  Иванов   и"],
)
def test_the_last_digits_and_the_beginning_of_a_name_find_people(settings: Settings, typed: str) -> None:
    add(first_name="Мария", last_name="Петрова", username="maria")
    [ivan] = add(telephone_number="+79298284301", first_name="Иван", last_name="Иванов", username="Ivan.Petrov")

    assert found(search.text(settings, typed)) == [ivan]


@pytest.mark.parametrize("typed", ["ван", "петр", "Иван Петр", "van", "8430", "%", "__", "Иван_", "И*"])
def test_other_parts_find_no_person(settings: Settings, typed: str) -> None:
    add(telephone_number="+79298284301", first_name="Иван", last_name="Иванов", username="ivan.petrov")

    text = search.text(settings, typed) if len(typed) > 1 else typed
    assert found(text) == []


@pytest.mark.requirement("AZN-04")
@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("28-43-01", search.PART_OF_NUMBER),
        ("301", search.PART_OF_NUMBER),
        ("9298284301 4", search.PART_OF_NUMBER),
        ("+4301", search.PART_OF_NUMBER),
        ("٨٤٣٠١", search.PART_OF_NUMBER),
        ("8 929 828-43-02", search.UNKNOWN_NUMBER),
        ("a", search.TOO_SHORT),
        ("\0a\0", search.TOO_SHORT),
        ("a" * 101, search.TOO_LONG),
    ],
)
def test_other_parts_of_a_number_are_refused_with_a_hint(settings: Settings, typed: str, why: str) -> None:
    add(telephone_number="+79298284301")

    with pytest.raises(InvalidFields) as refused:
        search.text(settings, typed)
    assert refused.value.errors == {"q": [why]}


@pytest.mark.requirement("AZN-04")
def test_the_list_holds_masked_numbers_alone() -> None:
    add(telephone_number="+79298284301")

    [anna] = search.people().items
    assert anna.number == phones.last_four("+79298284301")


@pytest.mark.parametrize("text", ["", "7777", "иван"])
def test_filters_choose_among_those_who_are_found(text: str) -> None:
    shown: dict[str, object] = {"first_name": "Иван"}
    numbers = iter(f"+7929{n:03}7777" for n in range(9))
    referrer, staff, blocked, early, late = (add(telephone_number=next(numbers), **shown)[0] for _ in range(5))
    [deleted] = add(telephone_number=None, blocked_at=BEGAN, deleted_at=BEGAN)
    change(staff, is_staff=True)
    change(blocked, blocked_at=BEGAN)
    change(early, date_joined=datetime(2025, 5, 5, tzinfo=UTC))
    change(late, date_joined=datetime(2025, 5, 5, 23, 59, 59, 999_999, tzinfo=UTC))
    invite(referrer, late, blocked, deleted)

    day = date(2025, 5, 5)
    assert set(found(text)) == {referrer, staff, blocked, early, late}
    assert found(text, Filters(Only.STAFF)) == [staff]
    assert found(text, Filters(Only.BLOCKED)) == [blocked]
    assert found(text, Filters(Only.DELETED)) == ([] if text else [deleted])
    assert set(found(text, Filters(joined_from=day, joined_to=day))) == {early, late}
    assert set(found(text, Filters(joined_from=day + timedelta(days=1)))) == {referrer, staff, blocked}
    assert set(found(text, Filters(joined_to=day - timedelta(days=1)))) == set()
    assert set(found(text, Filters(invited_by=referrer))) == {late, blocked}
    assert found(text, Filters(Only.BLOCKED, invited_by=referrer)) == [blocked]
    assert found(text, Filters(joined_to=day, invited_by=referrer)) == [late]
    assert set(found(text, Filters(joined_from=date.min, joined_to=date.max))) == set(found(text))


def test_the_newest_come_first_and_names_in_their_order() -> None:
    people = add(3, first_name="Яна") + add(2, first_name="Аня")
    for name in ("Анна", "Ян"):
        people += add(first_name=name)

    assert found() == people[::-1]
    assert found("ян") == [people[6], *people[:3]]
    assert found("ан") == [people[5], *people[3:5]]


@pytest.mark.parametrize(("text", "scanned"), [("", 7), ("", 1000), ("1234", 7), ("ivan", 7), ("ivan", 1000)])
def test_pages_have_everyone_once_while_people_join(monkeypatch: pytest.MonkeyPatch, text: str, scanned: int) -> None:
    monkeypatch.setattr(search, "SCANNED", scanned)
    monkeypatch.setattr(search, "PER_PAGE", 5)
    numbers = iter(f"+79{n:05}1234" for n in range(10_000))

    def join() -> str:
        n = next(NUMBERS)
        names: list[dict[str, object]] = [
            {"username": f"ivan{n}"},
            {"first_name": "Ivan", "last_name": "Ivanov"},
            {"last_name": "Ivanson"},
            {},
        ]
        return add(telephone_number=next(numbers), **names[n % (4 if text == "" else 3)])[0]

    before = [join() for _ in range(2 * search.PER_PAGE + 20)]
    seen = found(text, before_each=join)

    assert len(seen) == len(set(seen))
    assert set(before) <= set(seen)


def test_the_ids_are_those_of_the_list_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SCANNED", 7)
    add(20)
    for n in range(20):
        add(username=f"ivan{n}", first_name=["Ivan", "Anna"][n % 2], blocked_at=[BEGAN, None][n % 2])

    for text in ("", "ivan"):
        for filters in (Filters(), Filters(Only.BLOCKED)):
            assert list(search.ids(text, filters)) == found(text, filters) != []


def test_a_place_holds_when_its_person_leaves_the_list() -> None:
    people = add(search.PER_PAGE + 1, blocked_at=BEGAN)[::-1]
    page = search.people(filters=Filters(Only.BLOCKED))
    change(people[search.PER_PAGE - 1], blocked_at=None)

    assert [one.id for one in search.people("", Filters(Only.BLOCKED), page.after).items] == [people[-1]]


@pytest.mark.parametrize("after", ["1.", "0", "x", "9." + "A" * 22, "0." + "A" * 22, "0." + "A" * 21 + "\0", "٠." + "A" * 22])
def test_a_place_that_is_not_in_the_list_is_refused(after: str) -> None:
    add()
    with pytest.raises(InvalidFields):
        search.people("", after=after)


@pytest.mark.parametrize("text", ["", "1234", "ivan"])
def test_a_page_sends_as_many_statements_with_many_people_as_with_few(statements: Statements, text: str) -> None:
    sent = []
    for count in (1, 60):
        add(count, username=None, first_name="Ivan", last_name="Ivanov")
        change(add()[0], telephone_number=f"+7929{count:03}1234")
        with statements() as seen:
            search.people(text)
        sent.append(len(seen))
    assert max(sent) == sent[0] <= 14  # two for each order of people


def test_other_programs_can_change_people_on_sqlite(on_sqlite: Path) -> None:
    person = add(username="ivan", first_name="Иван", last_name="Петров")[0]

    with closing(sqlite3.connect(on_sqlite)) as program, program:
        program.execute("UPDATE users SET date_joined = '2026-01-02 12:00:00.000000', first_name = 'Жанна' WHERE id = ?", [person])
        assert program.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    assert found("жанна") == [person]
