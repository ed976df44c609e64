"""What staff do to several people at once: a page says to whom, its form does it, and the list says how many were left out."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from urllib.parse import urlencode

import pytest
import time_machine
from flask import Flask
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from hammer import clock, codes, events
from hammer.admin.access import LONGEST_PLACE
from hammer.db.database import db
from hammer.models import Event, User
from hammer.users import accounts
from tests import routes
from tests.actions import everything_stored, number
from tests.operators import Operator
from tests.people import Form, Page, Program

ANNA, BORIS, CLARA = "+79290000001", "+79290000002", "+79290000003"
LIST, BULK = "/admin/people/", "/admin/people/bulk/"
ACTIONS = {"block": "Block", "unblock": "Unblock", "sign-out": "Sign out everywhere", "delete": "Delete for ever"}


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, ANNA).open()


def created(app: Flask, many: int, first: int = 100) -> list[str]:
    """The ids of so many new people."""
    with app.app_context():
        return [accounts.create(app.config["SETTINGS"], number(first + n), {"first_name": f"Name{first + n}"}) for n in range(many)]


def at(action: str, ids: list[str], **more: str) -> str:
    return f"{BULK}?{urlencode({'action': action, 'ids': ids} | more, doseq=True)}"


def asked(operator: Operator, action: str, ids: list[str], **more: str) -> Form:
    """The form of the page that asks."""
    address = at(action, ids, **more)
    form = next(form for form in operator.get(address).forms if form.name == "form")
    form.action = address  # the form has none: it is sent to the address of its page, with the query
    return form


def do(operator: Operator, action: str, ids: list[str], **typed: str) -> Page:
    if action == "delete":
        typed.setdefault("count", str(len(ids)))
    return operator.send(asked(operator, action, ids), **typed)


def said(page: Page) -> str:
    return " ".join(page.words.split())


def stored(app: Flask) -> list[str]:
    with app.app_context():
        return everything_stored()


def people_who_are(app: Flask, what: str) -> set[str]:
    """The ids of those who are blocked, deleted or staff."""
    conditions = {"blocked": User.blocked_at.is_not(None), "deleted": User.deleted_at.is_not(None), "staff": User.is_staff}
    with app.app_context():
        return set(db.session.scalars(select(User.id).where(conditions[what])))


def test_the_list_has_a_box_for_everyone_but_staff_and_deleted_people(app: Flask, operator: Operator) -> None:
    boris, clara = created(app, 2)
    with app.app_context():
        accounts.delete(app.config["SETTINGS"], clara)

    for address, ids in ((LIST, [boris]), (f"{LIST}?only=deleted", []), (f"{LIST}?only=staff", [])):
        operator.get(address)
        assert operator.last is not None
        assert re.findall(r'<input type="checkbox" name="ids" value="([^"]+)"', operator.last.text) == ids
    html = operator.answer(LIST).text
    [(_, where, who)] = re.findall(r'name="ids" value="([^"]+)" aria-labelledby="(a\d+) (b\d+)"', html)
    assert re.search(rf'id="{where}"><a href="{boris}/">\+7', html)
    assert re.search(rf'id="{who}"><bdi>Name100<', html)


def test_a_list_of_fifty_people_is_light(app: Flask, operator: Operator) -> None:
    with app.app_context():
        for n in range(55):
            names = {"first_name": "Александра", "last_name": "Константинова"} | ({} if n % 3 else {"username": f"alexandra{n}"})
            accounts.create(app.config["SETTINGS"], number(100 + n), names)

    answer = operator.client.get(LIST, headers={"Accept-Language": "ru"})
    assert answer.text.count('name="ids"') == 50
    assert len(answer.data) < 30_000


@pytest.mark.requirement("LOG-01")
@pytest.mark.parametrize("action", ACTIONS)
def test_each_selected_person_is_changed_and_has_an_event_that_names_the_actor(app: Flask, operator: Operator, action: str) -> None:
    ids, [other] = created(app, 3), created(app, 1, first=200)
    with app.app_context():
        for user_id in ids if action == "unblock" else ():
            accounts.set_blocked(user_id, True)
    persons = [Program(app) for _ in ids] if action == "sign-out" else []
    for n, person in enumerate(persons):
        person.sign_in(number(100 + n))

    page = operator.get(at(action, ids))
    assert "3 people" in said(page)
    assert all(f"Name{100 + n}" in page.words for n in range(3))
    assert "Name200" not in page.words
    page = do(operator, action, ids)

    assert operator.at == LIST
    assert ": 3." in said(page)
    assert "Left out" not in said(page)
    assert people_who_are(app, "blocked") == set(ids if action == "block" else ())
    assert people_who_are(app, "deleted") == set(ids if action == "delete" else ())
    assert not any(person.is_signed_in() for person in persons)
    kind = {
        "block": events.Kind.USER_BLOCKED,
        "unblock": events.Kind.USER_UNBLOCKED,
        "sign-out": events.Kind.SESSIONS_ENDED,
        "delete": events.Kind.USER_DELETED,
    }[action]
    with app.app_context():
        noted = db.session.execute(select(Event.user_id, Event.actor_id).where(Event.kind == kind)).all()
    assert sorted(noted) == sorted((user_id, operator.user_id) for user_id in ids)
    assert other not in {row.user_id for row in noted}


def test_undoing_a_block_unblocks_exactly_those_who_were_blocked_by_it(app: Flask, operator: Operator) -> None:
    ids = created(app, 3)
    with app.app_context():
        accounts.set_blocked(ids[0], True)

    page = do(operator, "block", ids)
    assert "everywhere: 2. Left out: blocked already (1)." in said(page)
    assert operator.last is not None
    undo = re.search(r'href="([^"]+)">Undo', operator.last.text)
    assert undo is not None
    address = undo[1].replace("&amp;", "&")
    form = next(form for form in operator.get(address).forms if form.name == "form")
    form.action = address
    assert "again: 2." in said(operator.send(form))
    assert people_who_are(app, "blocked") == {ids[0]}


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("action", ACTIONS)
def test_staff_oneself_and_people_who_are_gone_are_named_and_left_out(app: Flask, operator: Operator, action: str) -> None:
    ids = created(app, 4)
    person, colleague, gone, blocked = ids
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], colleague, True)
        accounts.delete(app.config["SETTINGS"], gone)
        accounts.set_blocked(blocked, True)
        for user_id in (person, colleague) if action == "unblock" else ():
            accounts.set_blocked(user_id, True)
    session_id = "A" * 22
    everyone = [person, colleague, gone, operator.user_id, session_id, "x", "\0", "%"]

    page = operator.get(at(action, everyone))
    assert "1 person" in said(page)
    for why in ("staff member", "deleted", "your own account"):
        assert f"left out: {why}" in said(page)
    before = stored(app)
    page = do(operator, action, everyone, count="1")
    assert "Left out: staff member (1), deleted (1), your own account (1), there is no such person (4)." in said(page)
    assert people_who_are(app, "staff") == {operator.user_id, colleague}
    assert people_who_are(app, "deleted") == {gone} | ({person} if action == "delete" else set())
    assert stored(app) != before or action == "sign-out"
    assert operator.has_open()


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("action", ACTIONS)
def test_who_becomes_staff_or_is_deleted_meanwhile_is_left_out_and_the_others_are_not(
    app: Flask, operator: Operator, action: str
) -> None:
    ids = created(app, 4)
    with app.app_context():
        for user_id in ids if action == "unblock" else ():
            accounts.set_blocked(user_id, True)
    form = asked(operator, action, ids)

    def meanwhile() -> None:
        accounts.set_staff(app.config["SETTINGS"], ids[1], True)
        accounts.delete(app.config["SETTINGS"], ids[2])

    with before_the_first_act(app, meanwhile):
        page = operator.send(form, **({"count": "4"} if action == "delete" else {}))
    assert ": 2. Left out: staff member (1), deleted (1)." in said(page)
    assert people_who_are(app, "staff") == {operator.user_id, ids[1]}
    assert people_who_are(app, "blocked") == {"block": {ids[0], ids[3]}, "unblock": {ids[1], ids[2]}}.get(action, set())
    assert people_who_are(app, "deleted") == {ids[2]} | ({ids[0], ids[3]} if action == "delete" else set())


@contextmanager
def before_the_first_act(app: Flask, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Once a view has read the people, and before it changes the first of them, `meanwhile` happens."""
    waiting = [meanwhile]

    def look(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if " IN (" in statement and "users.telephone_number" in statement and waiting:
            happens = waiting.pop()
            with app.app_context():
                happens()

    with listening(app, "after_cursor_execute", look):
        yield
    assert not waiting


@contextmanager
def listening(app: Flask, step: str, heard: Callable[..., None]) -> Iterator[None]:
    with app.app_context():
        engine = db.engine
    event.listen(engine, step, heard)
    try:
        yield
    finally:
        event.remove(engine, step, heard)


def test_who_was_not_reached_before_the_database_went_away_is_left_out(app: Flask, operator: Operator) -> None:
    ids, written = created(app, 4), count(1)

    def goes_away(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE users SET blocked_at") and next(written) == 3:
            raise OperationalError("UPDATE", {}, Exception("locked"))

    form = asked(operator, "block", ids)
    with listening(app, "before_cursor_execute", goes_away):
        page = operator.send(form)
    assert "everywhere: 2. Left out: the service was busy (2)." in said(page)
    assert people_who_are(app, "blocked") == set(ids[:2])
    assert "everywhere: 2. Left out: blocked already (2)." in said(operator.send(form))


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("action", ACTIONS)
def test_a_role_that_is_lost_before_the_form_or_in_its_midst_is_refused(app: Flask, operator: Operator, action: str) -> None:
    ids = created(app, 3)
    with app.app_context():
        for user_id in ids if action == "unblock" else ():
            accounts.set_blocked(user_id, True)
    form = asked(operator, action, ids)
    form.fields |= {"count": "3"}
    settings = app.config["SETTINGS"]
    with before_the_first_act(app, lambda: accounts.set_staff(settings, operator.user_id, False)):
        answer = operator.client.post(form.action, data=form.fields, headers={"Accept-Language": "en"})
    assert answer.status_code == 403
    assert "You cannot open this page" in answer.text
    assert people_who_are(app, "blocked") == (set(ids) if action == "unblock" else set())
    assert people_who_are(app, "deleted") == set()
    before = stored(app)
    assert operator.client.post(form.action, data=form.fields).status_code == 403
    assert stored(app) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_a_form_that_is_sent_twice_does_nothing_twice(app: Flask, operator: Operator, action: str) -> None:
    ids = created(app, 2)
    with app.app_context():
        for user_id in ids if action == "unblock" else ():
            accounts.set_blocked(user_id, True)
    form, person = asked(operator, action, ids), Program(app)
    fields = form.fields | {"count": "2"}
    operator.send(form, **fields)
    if action in ("unblock", "sign-out"):
        person.sign_in(number(100))
    before = stored(app)

    page = operator.send(form, **fields)
    assert stored(app) == before
    assert action == "sign-out" or "Nobody was changed. Left out" in said(page)
    assert person.is_signed_in() == (action in ("unblock", "sign-out"))


def test_to_delete_many_their_number_must_be_entered(app: Flask, operator: Operator) -> None:
    ids = created(app, 3)
    before = stored(app)
    for typed in ("", "2", "33", "many"):
        page = do(operator, "delete", ids, count=typed)
        assert operator.last is not None
        assert operator.last.status_code == 422
        assert "not the number of people" in said(page)
        assert next(form for form in page.forms if form.name == "form").fields["count"] == typed
    assert stored(app) == before

    form = asked(operator, "delete", ids)
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], ids[0], True)
    operator.send(form, count="3")  # it is two by now
    assert people_who_are(app, "deleted") == set()
    assert ": 3." in said(do(operator, "delete", [*created(app, 1, first=200), *ids], count=" 3 "))


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "Choose what to do."),
        (f"ids={'A' * 22}", "Choose what to do."),
        ("action=promote&ids=x", "Choose what to do."),
        ("action=block", "Select at least one person."),
        ("action=block&" + "&".join(f"ids={codes.random_id()}" for _ in range(51)), "Select 50 people at most."),
        ("action=block&ids=&ids=%00&ids=../..&ids=%FF", "Nobody was changed. Left out: there is no such person (4)."),
        ("action=delete&ids=" + "x" * 5000, "Left out: there is no such person (1)."),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(app: Flask, operator: Operator, method: str, query: str, why: str) -> None:
    before = stored(app)
    sent = {"csrf_token": routes.form_token(operator.client)} if method == "POST" else None
    answer = operator.client.open(f"{BULK}?{query}", method=method, data=sent, headers={"Accept-Language": "en"})
    assert (answer.status_code, answer.headers["Location"]) == (303, LIST)
    assert why in said(operator.get(LIST))
    assert stored(app) == before


def test_the_way_back_is_the_same_list_and_no_other_place(app: Flask, operator: Operator) -> None:
    [boris] = created(app, 1)
    filters = {"only": "blocked", "joined_from": "2026-01-01", "after": f"0.{boris}"}
    evil = {"back": "https://evil.example/", "next": "//evil.example", "endpoint": "x", "search": "\r\nLocation: //evil" * 9}
    form = asked(operator, "block", [boris], **filters, **evil)

    answer = operator.client.post(form.action, data=form.fields)
    assert answer.headers["Location"] == f"{LIST}?{urlencode(filters)}"


def test_the_list_passes_its_filters_on(operator: Operator, app: Flask) -> None:
    created(app, 1)
    found = operator.get(f"{LIST}?joined_from=2020-01-01&only=").form_with("action")
    form = next(form for form in operator.get(f"{LIST}?joined_from=2020-01-01&only=").forms if form.name == "bulk")
    assert (found, form.method, form.action, form.fields["joined_from"]) == (None, "get", BULK, "2020-01-01")


@pytest.mark.requirement("AZN-05")
def test_the_second_factor_leads_back_to_all_of_fifty_people(app: Flask, operator: Operator) -> None:
    ids, others = created(app, 50), created(app, 50, first=200)
    address = at("sign-out", ids, only="deleted", joined_from="2026-01-01", joined_to="2026-12-31", invited_by="A" * 22)
    address += f"&search=abcdefgh&after=0.{ids[0]}"
    assert len(address) <= LONGEST_PLACE
    form = asked(operator, "block", others)
    fields = form.fields
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        assert operator.client.post(address, data=fields).headers["Location"] == "/admin/confirm/"
        page = operator.confirm()
    assert "50 people" in said(page)


def test_the_cookie_of_the_longest_answer_is_one_that_browsers_keep(app: Flask, operator: Operator) -> None:
    names = ["".join(chr(ord("а") + (7 * n * n + place * place * 11 + place) % 32) for place in range(100)) for n in range(3)]
    for name in names:
        operator.send(next(form for form in operator.get(LIST).forms if "q" in form.fields), q=name)
    form = asked(operator, "block", created(app, 50), joined_from="2026-01-01", joined_to="2026-12-31")
    operator.client.post(form.action, data=form.fields)  # the answer with the way to undo it waits in the cookie
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        operator.client.get(at("delete", created(app, 50, first=200)))
        with operator.client.session_transaction() as kept:
            assert {"_flashes", "searches", "admin_place"} <= set(kept)
            assert len(kept["admin_place"]) > 1300
    cookie = operator.client.get_cookie("hammer_form")
    assert cookie is not None
    assert len(cookie.value) < 4000


def test_another_language_shows_the_same_people_and_does_nothing(app: Flask, operator: Operator) -> None:
    form = asked(operator, "delete", created(app, 2))
    before = stored(app)
    operator.send(form, lang="ru", count="2")
    assert operator.last is not None
    assert '<html lang="ru">' in operator.last.text
    assert "2 человека" in operator.last.text
    assert stored(app) == before


@pytest.mark.requirement("AZN-04")
def test_numbers_stay_masked(app: Flask, operator: Operator) -> None:
    ids = created(app, 2)
    for address in (LIST, at("block", ids)):
        assert "9290000" not in re.sub(r"(?<=\d)[^\d\w]+(?=\d)", "", operator.answer(address).text)
