"""Staff add people from a file: a dry run says what would happen, and its form adds them."""

import io
import json
import random
import re
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from flask import Flask
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Connection, event, func, select, update
from werkzeug.test import TestResponse

from config import Settings
from hammer import clock, events
from hammer.admin.files import CHOOSE_AGAIN, MOST_BYTES, NO_FILE, NOBODY, TOO_LARGE, TOO_MANY
from hammer.db.database import db, transaction
from hammer.models import Event, User
from hammer.quotas import staff_limits
from hammer.refusals import NotAllowed
from hammer.users import accounts, people, transfers
from hammer.users.files import EMPTY, NO_HEADER, NOT_UTF_8_FILE
from hammer.users.people import Profile
from tests.actions import ANNA, BORIS, CLARA, number, user
from tests.databases import Databases
from tests.interleaving import Verb, at_every_step
from tests.operators import Operator
from tests.people import Form, Page

AT = "/admin/people/import/"
STAFF = "+79290000099"
GOOD = """number;username;first_name;metadata;joined_at;blocked_at;invite_code;is_staff
8 (929) 000-00-01;anna;'=Анна;"{""plan"":""pro""}";2024-01-05T10:00:00+03:00;;abc123;true
+79290000002;;;;;2024-02-01;;
"""
BAD = """number,username,joined_at,metadata
+79290000001,sesame 1,,
+79290000002,boris,,
+79290000003,BORIS,,
sesame,,,
+74951234567,,,
+79290000005,,sesame,
+79290000006,,,sesame
+79290000007
+79290000099,,,
"""


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, STAFF).open()


def send(operator: Operator, content: str | bytes, **fields: str) -> TestResponse:
    """The answer to the form with this file."""
    form = operator.get(AT).form_with("file")
    assert form is not None
    raw = content.encode() if isinstance(content, str) else content
    sent: dict[str, Any] = form.fields | fields | {"file": (io.BytesIO(raw), "people.csv")}
    return operator.client.post(AT, data=sent, headers={"Accept-Language": "en"})


def check(operator: Operator, content: str | bytes) -> tuple[str, Form]:
    """The words of the page that says what would happen, and its form."""
    answer = send(operator, content)
    assert answer.status_code == 200, answer.text
    page = Page(answer.text)
    form = page.form_with("packed")
    assert form is not None
    return " ".join(page.words.split()), Form(AT, "post", form.fields)


def stored(app: Flask) -> dict[str, Profile]:
    """Everyone but the operator, by number."""
    with app.app_context():
        everyone = people.everyone(app.config["SETTINGS"]).items
    return {each.telephone_number: each for each in everyone if each.telephone_number != STAFF}


def noted(app: Flask) -> list[tuple[str, str | None, str | None]]:
    """The kind, the person and the detail of what the operator did to others."""
    with app.app_context():
        found = db.session.query(Event).filter(Event.actor_id.is_not(None)).order_by(Event.id)
        return [(event.kind, event.user_id, event.detail) for event in found]


def test_a_dry_run_says_what_would_happen_and_its_form_does_it(app: Flask, operator: Operator) -> None:
    words, form = check(operator, GOOD)
    assert "Would be added2 Skipped, because their number has a user0 Failed0" in words.replace(" 2", "2").replace(" 0", "0")
    assert "Columns that are not imported: is_staff." in words
    assert stored(app) == {}
    assert noted(app) == [(events.Kind.IMPORT_CHECKED, None, "2")]

    page = operator.send(form)
    assert operator.at == "/admin/people/"
    assert "2 people were added." in page.words
    found = stored(app)
    anna, boris = found[ANNA], found[BORIS]
    assert (anna.username, anna.first_name, anna.metadata, anna.invite_code) == ("anna", "=Анна", {"plan": "pro"}, "ABC123")
    assert anna.date_joined.isoformat() == "2024-01-05T07:00:00+00:00"
    assert str(boris.blocked_at) == "2024-02-01 00:00:00+00:00"
    assert not anna.is_staff
    assert noted(app)[1:] == [
        (events.Kind.USER_CREATED, anna.id, None),
        (events.Kind.USER_CREATED, boris.id, None),
        (events.Kind.USERS_IMPORTED, None, "2"),
    ]


def test_the_form_sent_twice_adds_nobody_twice(app: Flask, operator: Operator) -> None:
    _, form = check(operator, GOOD)
    operator.send(form)
    before, acts = stored(app), noted(app)
    page = operator.send(form)

    assert "0 people were added. Skipped, because their number has a user: 2." in page.words
    assert stored(app) == before
    assert noted(app) == [*acts, (events.Kind.USERS_IMPORTED, None, "0")]


def use_up(app: Flask, operator: Operator, asking: Any, left: int) -> None:
    with app.app_context(), transaction() as tx:
        for _ in range(asking.per_hour - left):
            staff_limits.take(tx, asking, operator.user_id, clock.now())


@pytest.mark.requirement("AZN-04")
@pytest.mark.database
def test_a_file_is_checked_twenty_times_an_hour_and_kept_by_the_page_that_refuses_more(app: Flask, operator: Operator) -> None:
    assert staff_limits.CHECKS.per_hour == 20
    use_up(app, operator, staff_limits.CHECKS, left=1)
    check(operator, GOOD)
    answer = send(operator, GOOD)
    assert (answer.status_code, "Would be added" in answer.text) == (429, False)
    assert staff_limits.CHECKS.spent in answer.text
    assert [kind for kind, *_ in noted(app)] == [events.Kind.IMPORT_CHECKED]
    kept = Page(answer.text).form_with("packed")
    assert kept is not None
    with time_machine.travel(clock.now() + timedelta(hours=1)):
        operator.confirm()
        assert "Would be added" in operator.send(Form(AT, "post", kept.fields)).words
    assert stored(app) == {}


@pytest.mark.requirement("AZN-02", "AZN-04")
@pytest.mark.database
@pytest.mark.parametrize("why", ["role", "limit"])
def test_an_import_adds_a_hundred_at_once_and_says_how_many_when_it_ends_early(app: Flask, operator: Operator, why: str) -> None:
    _, form = check(operator, "number\n" + "".join(f"{number(n)}\n" for n in range(1000, 1250)))

    def loses_the_role(connection: Connection) -> None:
        """In the transaction of the second batch, after its check."""
        if connection.scalar(select(func.count()).where(User.telephone_number != STAFF)) == 200:
            connection.execute(update(User).where(User.id == operator.user_id).values(is_staff=False))

    if why == "limit":
        use_up(app, operator, staff_limits.IMPORTS, left=2)
        answer = operator.client.post(AT, data=form.fields, headers={"Accept-Language": "en"})
    else:
        with app.app_context():
            engine = db.engine
        event.listen(engine, "commit", loses_the_role)
        try:
            answer = operator.client.post(AT, data=form.fields, headers={"Accept-Language": "en"})
        finally:
            event.remove(engine, "commit", loses_the_role)
    assert answer.status_code == {"role": 403, "limit": 429}[why]
    assert "200 people were added before." in answer.text
    with app.app_context():
        assert db.session.scalar(select(func.count()).where(User.telephone_number != STAFF)) == 200
    assert [detail for kind, _, detail in noted(app) if kind == events.Kind.USERS_IMPORTED] == ["100", "100"]


@pytest.mark.requirement("AZN-04")
def test_every_bad_line_is_named_with_its_column_and_without_its_values(app: Flask, operator: Operator) -> None:
    with app.app_context():
        user(app.config["SETTINGS"], CLARA)
    words, form = check(operator, BAD)
    rows = re.findall(r"\n {4}<tr>(.*?)</tr>", send(operator, BAD).text)
    named = [re.sub(r"\W+", " ", re.sub("<[^>]*>", " ", row)).split()[:4] for row in rows]
    assert [line for line, *_ in named] == ["2", "4", "5", "6", "7", "8", "9"]
    assert "username" in rows[0]
    assert "Line 3 has the same." in rows[1]
    assert "···‑00‑03" in rows[1]
    assert "sesame" not in words
    assert "9290000" not in re.sub(r"\D", "", words)

    page = operator.send(form)
    assert "1 person was added. Skipped, because their number has a user: 1. Failed: 7." in page.words
    assert set(stored(app)) == {BORIS, CLARA}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", str(EMPTY)),
        ("number,first_name\n", NOBODY),
        ("hello\n", str(NO_HEADER)),
        ("number,foo\n1,2\n", "There is no column “foo”."),
        ("number\n1\n".encode("utf-16"), str(NOT_UTF_8_FILE)),
        ("number;first_name\r\n+79290000001;Анна\r\n".encode("cp1251"), str(NOT_UTF_8_FILE)),
        (b"PK\x03\x04\x14\0", str(NOT_UTF_8_FILE)),
        (b"\x89PNG\r\n\x1a\n", str(NOT_UTF_8_FILE)),
        ('[{"number": "1"}]', "one JSON array"),
        ("number\n" + "1\n" * 1001, TOO_MANY),
        ("number,first_name\n" + "1," + "a" * MOST_BYTES, TOO_LARGE),
    ],
    ids=ascii,
)
def test_a_file_that_cannot_be_read_is_refused_in_words(
    app: Flask, operator: Operator, content: str | bytes, sentence: str
) -> None:
    answer = send(operator, content)
    assert answer.status_code == 422
    assert sentence.partition(":")[0] in Page(answer.text).words
    assert Page(answer.text).form_with("file") is not None
    assert stored(app) == {}


def test_bad_cells_of_a_file_are_lines_that_fail(operator: Operator) -> None:
    for content, sentence in (
        ("number,first_name\n+79290000001,a\0b\n", "not text"),
        ("number,first_name\n+79290000001," + "a" * 100_000 + "\n", "This is longer than 100,000 characters."),
        ('number,first_name\n+79290000001,"Anna\n', "This is not CSV"),
    ):
        answer = send(operator, content)
        assert answer.status_code == 200
        assert sentence in answer.text
        assert Page(answer.text).form_with("packed") is None


def test_without_a_file_the_form_asks_for_one_and_a_changed_one_asks_again(app: Flask, operator: Operator) -> None:
    form = operator.get(AT).form_with("file")
    assert form is not None
    assert NO_FILE in operator.send(Form(AT, "post", {"csrf_token": form.fields["csrf_token"]})).words
    _, sure = check(operator, GOOD)
    bomb = urlsafe_b64encode(zlib.compress(b"number\n" * 1_000_000)).decode()
    for packed, sentence in (("?", CHOOSE_AGAIN), ("AAAA", CHOOSE_AGAIN), ("я", CHOOSE_AGAIN), (bomb, TOO_LARGE)):
        assert sentence in operator.send(sure, packed=packed).words
    assert stored(app) == {}


def test_another_language_shows_the_same_dry_run_and_adds_nobody(app: Flask, operator: Operator) -> None:
    _, form = check(operator, GOOD)
    page = operator.send(form, lang="ru")
    again = page.form_with("packed")
    assert "Добавить 2" in page.words
    assert again is not None
    assert again.fields["packed"] == form.fields["packed"]
    assert stored(app) == {}


@pytest.mark.requirement("AZN-05")
def test_with_an_old_proof_nothing_is_added_however_large_the_file_is(app: Flask, operator: Operator) -> None:
    _, form = check(operator, GOOD)
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        token = form.fields["csrf_token"]
        large: dict[str, Any] = {"csrf_token": token, "file": (io.BytesIO(b"a" * MOST_BYTES), "people.csv")}
        for sent in (form.fields, large):
            answer = operator.client.post(AT, data=sent)
            assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/confirm/")
    assert stored(app) == {}


@pytest.mark.requirement("AZN-02", "WEB-01")
def test_a_forged_form_and_a_role_that_was_lost_add_nobody(app: Flask, operator: Operator) -> None:
    _, form = check(operator, GOOD)
    without_token = {name: value for name, value in form.fields.items() if name != "csrf_token"}
    for sent, site in ((form.fields, "cross-site"), (without_token, None)):
        answer = operator.client.post(AT, data=sent, headers={"Sec-Fetch-Site": site} if site else {})
        assert answer.status_code == 403
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], operator.user_id, False)
    assert operator.client.post(AT, data=form.fields).status_code == 403
    assert stored(app) == {}


@pytest.mark.requirement("AZN-02")
def test_staff_who_lose_their_rights_during_an_import_add_all_or_nobody(app: Flask, settings: Settings) -> None:
    fresh = iter(range(100, 10_000))
    rows: list[str] = []
    verbs: list[Verb] = []

    def scene() -> tuple[Verb, Verb]:
        staff = user(settings, number(next(fresh)))
        accounts.set_staff(settings, staff.id, True)
        rows[:] = [number(next(fresh)), number(next(fresh))]
        new = [transfers.read(settings, {"number": row}) for row in rows]
        verbs[:] = partial(transfers.add, new, actor_id=staff.id), partial(accounts.set_staff, settings, staff.id, False)
        return verbs[0], verbs[1]

    for first, second, step in at_every_step(app, scene):
        assert second.raised is None, step
        with app.app_context():
            found = set(rows) & {each.telephone_number for each in people.everyone(settings).items}
        assert found == (set() if first.raised else set(rows)), step
        assert first.raised is None or isinstance(first.raised, NotAllowed), (step, first.raised)
    with app.app_context():
        verbs[1]()
        with pytest.raises(NotAllowed):
            verbs[0]()


@pytest.mark.parametrize("size", [10_000_000, MOST_BYTES * 2])
def test_a_body_that_is_too_large_is_refused_in_words(operator: Operator, size: int) -> None:
    kind = "multipart/form-data; boundary=x"
    answer = operator.client.post(AT, data=b"1" * size, content_type=kind, headers={"Accept-Language": "en"})
    assert answer.status_code == 413
    assert "This file is too large" in answer.text
    assert "256 kB" in answer.text
    assert f'href="{AT}"' in answer.text


def test_only_staff_on_these_pages_and_only_this_page_take_large_bodies(app: Flask, operator: Operator) -> None:
    token = operator.get(AT).forms[0].fields["csrf_token"]

    def status(client: Any, at: str) -> int:
        sent = {"csrf_token": token, "file": (io.BytesIO(b"number\n" + b"1" * 20_000), "people.csv")}
        return int(client.post(at, data=sent).status_code)

    assert status(operator.client, AT) == 200
    assert status(operator.client, "/admin/people/") == 413
    assert status(app.test_client(), AT) == 413
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], operator.user_id, False)
    assert status(operator.client, AT) == 413


def test_a_dry_run_of_many_bad_lines_lists_the_first_hundred_on_a_small_page(operator: Operator) -> None:
    answer = send(operator, "number,first_name\n" + "".join(f"{number(n)},\0\n" for n in range(300)))
    assert len(re.findall("<tr>", answer.text)) == 1 + 100
    assert "Only the first hundred faults are listed." in answer.text
    assert len(answer.data) < 30_000


def test_the_largest_file_is_taken_and_added(app: Flask, operator: Operator) -> None:
    drawn = random.Random(1)  # noqa: S311  # text that cannot be made shorter, so that the second form is as long as it can be
    rows = [f"{number(1000 + n)},{''.join(chr(drawn.randrange(0x4E00, 0x9FA5)) for _ in range(80))}\n" for n in range(1000)]
    content = "number,first_name\n" + "".join(rows)
    assert MOST_BYTES - 20_000 < len(content.encode()) <= MOST_BYTES
    _, form = check(operator, content)
    assert "1000 people were added.\n" in operator.send(form).words


@pytest.mark.requirement("AZN-05")
@pytest.mark.database
def test_people_who_are_downloaded_and_imported_elsewhere_are_the_same(
    app: Flask, operator: Operator, app_with: Callable[[Settings], Flask], databases: Databases
) -> None:
    settings = app.config["SETTINGS"]
    with app.app_context():
        anna, boris = user(settings, ANNA), user(settings, BORIS)
        names = {"username": "anna", "first_name": "=1+1", "last_name": "'-–О'Нил, \"мл.\";"}
        accounts.change(anna.id, names, {"я": ["=", "\n", 1.5]})
        accounts.set_blocked(boris.id, True)
    asking = next(form for form in operator.get("/admin/people/export/").forms if form.name == "form")
    content = operator.client.post("/admin/people/export/", data=asking.fields).data
    other = app_with(replace(settings, database_url=databases.new()))
    elsewhere = Operator(other, STAFF).open()

    _, form = check(elsewhere, content)
    assert "2 people were added. Skipped, because their number has a user: 1." in elsewhere.send(form).words
    lost: dict[str, Any] = {"id": ""}
    assert {n: replace(p, **lost) for n, p in stored(other).items()} == {n: replace(p, **lost) for n, p in stored(app).items()}


JSON = st.dictionaries(st.sampled_from(["number", "username", "metadata", "x"]), st.text(max_size=9) | st.integers()).map(
    json.dumps
)


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
@examples(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=60)
    | st.text('1+,;"\n\0аa', max_size=60).map(lambda text: f"number,metadata\n{text}".encode())
    | st.lists(JSON, max_size=3).map(lambda lines: "\n".join(lines).encode())
)
def test_rubbish_is_refused_or_adds_nobody(app: Flask, operator: Operator, content: bytes) -> None:
    with app.app_context(), transaction() as tx:
        staff_limits.forget(tx, operator.user_id)
    answer = send(operator, content)
    assert answer.status_code in (200, 422)
