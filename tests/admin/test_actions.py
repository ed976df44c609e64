"""What staff do to a person on the operator's pages: a page says what will happen, its form does it, and the next page says so."""

import re

import pytest
from flask import Flask

from hammer import events
from hammer.db.database import db
from hammer.models import Event, User
from hammer.sessions import sessions
from hammer.users import accounts, people
from tests import routes
from tests.actions import everything_stored
from tests.operators import Operator
from tests.people import Form, Page, Program

ANNA, BORIS, CLARA, DORA = "+79290000001", "+79290000002", "+79290000003", "+79290000004"
WHY = "Asked by mail"


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, ANNA).open()


@pytest.fixture
def boris(app: Flask) -> Program:
    """A person who is signed in."""
    person = Program(app)
    person.sign_in(BORIS)
    return person


def id_of(app: Flask, number: str) -> str:
    with app.app_context():
        return people.find(app.config["SETTINGS"], number)


def form_on(page: Page) -> Form:
    return next(form for form in page.forms if form.name == "form")


def do(operator: Operator, person: str, action: str, **typed: str) -> Page:
    """Opens the page of an action, fills in its form and sends it."""
    return operator.send(form_on(operator.get(f"/admin/people/{person}/{action}/")), **typed)


def stored(app: Flask) -> list[str]:
    with app.app_context():
        return everything_stored()


def newest(app: Flask, kind: events.Kind) -> Event:
    with app.app_context():
        found = db.session.query(Event).filter_by(kind=kind).order_by(Event.id.desc()).first()
        assert found is not None
        return found


def test_staff_rename_a_person_and_read_the_names_before(app: Flask, operator: Operator, boris: Program) -> None:
    person = id_of(app, BORIS)
    do(operator, person, "rename", first_name="Борис", username="boris")
    page = do(operator, person, "rename", first_name="Bob")

    assert "Before: Борис (boris)." in page.words
    assert boris.result("GET", "/users/me/")["first_name"] == "Bob"
    assert newest(app, events.Kind.USER_RENAMED).actor_id == operator.user_id
    assert "Nothing was changed" in do(operator, person, "rename").words
    refused = do(operator, person, "rename", username="7")
    assert form_on(refused).fields["username"] == "7"
    assert operator.last is not None
    assert operator.last.status_code == 422


def test_staff_block_and_the_answer_leads_to_the_way_back(app: Flask, operator: Operator, boris: Program) -> None:
    person = id_of(app, BORIS)
    do(operator, person, "block")
    assert operator.last is not None
    undo = re.search(r'href="(/admin/people/[^"]+/unblock/)">Undo', operator.last.text)
    assert undo is not None
    assert not boris.is_signed_in()

    page = operator.send(form_on(operator.get(undo[1])))
    assert "can sign in again" in page.words
    boris.tokens = {}
    boris.sign_in(BORIS)


def test_staff_move_a_person_to_another_number(app: Flask, operator: Operator, boris: Program) -> None:
    person = id_of(app, BORIS)
    Program(app).sign_in(CLARA)
    for typed in ("8 929 000-00-03", "hello"):
        page = do(operator, person, "move", telephone_number=typed)
        assert form_on(page).fields["telephone_number"] == typed
    assert BORIS[2:] not in re.sub(r"\D", "", page.words)

    page = do(operator, person, "move", telephone_number="8 929 000-00-04", end_sessions="y")
    assert "another number" in page.words
    assert id_of(app, DORA) == person
    assert not boris.is_signed_in()
    assert newest(app, events.Kind.NUMBER_CHANGED).actor_id == operator.user_id


def test_staff_delete_a_person_and_a_second_post_finds_nothing(app: Flask, operator: Operator, boris: Program) -> None:
    person = id_of(app, BORIS)
    form = form_on(operator.get(f"/admin/people/{person}/delete/"))
    operator.send(form)
    before = stored(app)
    operator.client.post(f"/admin/people/{person}/delete/", data=form.fields)

    assert stored(app) == before
    assert not boris.is_signed_in()
    assert newest(app, events.Kind.USER_DELETED).actor_id == operator.user_id


@pytest.mark.requirement("AZN-03")
def test_new_staff_get_a_link_that_is_shown_once_and_opens_the_pages(app: Flask, operator: Operator) -> None:
    second = Operator(app, BORIS)
    second.sign_in(BORIS)
    person = id_of(app, BORIS)
    page = do(operator, person, "make-staff")
    link = re.search(r"http://localhost:5000(/admin/enrol/[^/\s]+/)", page.words)
    assert link is not None
    assert operator.last is not None
    assert "lang=ru" not in operator.last.text  # in another language it could not be shown
    assert link[1] not in operator.get(f"/admin/people/{person}/make-staff/").words
    assert second.get(link[1]).form_with("code") is not None

    do(operator, person, "take-staff")
    with app.app_context():
        assert db.session.get_one(User, person).is_staff is False
    assert second.answer("/admin/").status_code == 403


def test_staff_end_one_session_of_a_person_or_all(app: Flask, operator: Operator, boris: Program) -> None:
    person, other = id_of(app, BORIS), Program(app)
    other.sign_in(BORIS)
    with app.app_context():
        newest_session = sessions.devices(person)[0].id
    at = f"sessions/{newest_session}"
    form = form_on(operator.get(f"/admin/people/{person}/{at}/"))
    assert "The session has ended" in operator.send(form).words
    before = stored(app)
    assert "has ended already" in operator.send(Form(f"/admin/people/{person}/{at}/", "post", form.fields)).words
    assert stored(app) == before
    assert sum(each.is_signed_in() for each in (boris, other)) == 1
    assert operator.answer(f"/admin/people/{operator.user_id}/{at}/").status_code == 404

    do(operator, person, "sign-out")
    assert not boris.is_signed_in()
    assert newest(app, events.Kind.SESSIONS_ENDED).actor_id == operator.user_id


def test_staff_attach_and_detach_a_referral_with_a_reason(app: Flask, operator: Operator, boris: Program) -> None:
    person, clara = id_of(app, BORIS), Program(app)
    clara.sign_in(CLARA)
    code = clara.tokens["invite_code"]
    page = do(operator, person, "attach", referrer="AAAAAA", reason=WHY)
    assert "No person has this invite code" in page.words
    assert form_on(page).fields["reason"] == WHY
    assert "is required" in do(operator, person, "attach", referrer=code).words

    assert "is attached" in do(operator, person, "attach", referrer=code, reason=WHY).words
    assert clara.profile().invite_count == 1
    assert newest(app, events.Kind.REFERRAL_ATTACHED).reason == WHY
    form = form_on(operator.get(f"/admin/people/{person}/detach/"))
    del form.fields["may_activate"]  # a box that is not ticked
    assert "is detached" in operator.send(form, reason=WHY).words
    assert "has no referral" in operator.send(Form(f"/admin/people/{person}/detach/", "post", form.fields), reason=WHY).words
    assert clara.profile().invite_count == 0
    assert "already" in (boris.activate(code) or "")


ACTIONS = ("rename", "move", "block", "unblock", "delete", "make-staff", "take-staff", "sign-out", "attach", "detach")
TYPED = {"telephone_number": DORA, "first_name": "B", "referrer": CLARA, "reason": WHY}


@pytest.mark.requirement("AZN-01", "AZN-02")
def test_unknown_people_are_not_found_and_nothing_is_done(app: Flask, operator: Operator) -> None:
    sent = {"csrf_token": routes.form_token(operator.client)} | TYPED
    before = stored(app)
    for person in ("A" * 22, "me", "x", "%00", ANNA):
        for action in (*ACTIONS, f"sessions/{'A' * 22}"):
            at = f"/admin/people/{person}/{action}/"
            for answer in (operator.client.get(at), operator.client.post(at, data=sent)):
                assert answer.status_code == 404, at
    assert stored(app) == before


def test_on_ones_own_account_only_names_and_sessions_change_here(app: Flask, operator: Operator) -> None:
    sent = {"csrf_token": routes.form_token(operator.client)} | TYPED
    before = stored(app)
    for action in set(ACTIONS) - {"rename", "sign-out"}:
        at = f"/admin/people/{operator.user_id}/{action}/"
        for answer in (operator.client.get(at), operator.client.post(at, data=sent)):
            assert answer.status_code == 303, action
    assert stored(app) == before


@pytest.mark.requirement("AZN-02")
def test_a_role_that_is_lost_between_the_page_and_its_form_changes_nothing(app: Flask, operator: Operator, boris: Program) -> None:
    person = id_of(app, BORIS)
    forms = {action: form_on(operator.get(f"/admin/people/{person}/{action}/")) for action in ACTIONS if action != "detach"}
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], operator.user_id, False)
    before = stored(app)
    for action, form in forms.items():
        answer = operator.client.post(f"/admin/people/{person}/{action}/", data=form.fields | TYPED)
        assert answer.status_code == 403, action
    assert stored(app) == before


def test_a_form_of_another_staff_member_or_of_none_changes_nothing(app: Flask, operator: Operator, boris: Program) -> None:
    person, other = id_of(app, BORIS), Operator(app, CLARA).open()
    foreign = form_on(other.get(f"/admin/people/{person}/block/")).fields
    mine = form_on(operator.get(f"/admin/people/{person}/block/")).fields
    before = stored(app)
    for fields, status in ((foreign, 403), ({}, 403), (mine | {"whose": foreign["whose"]}, 303)):
        answer = operator.client.post(f"/admin/people/{person}/block/", data=fields)
        assert answer.status_code == status
    assert stored(app) == before
    assert boris.is_signed_in()
