"""The page of one person: what an operator finds there, and what is not on it."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import insert, text

from hammer import clock, codes, events
from hammer.db.database import db, transaction
from hammer.invites import activation
from hammer.models import Event, Referral, User
from hammer.refusals import Refusal
from hammer.users import accounts, overview
from tests import delivery
from tests.actions import ANNA, BORIS, CLARA, ask, confirm, no_wait, number, sign_in, user, wrong
from tests.operators import Operator

STAFF = "+79290000099"
MOST_BYTES = 30_000


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, STAFF).open()


def invite(referrer: User, many: int, first: int = 1000) -> list[str]:
    """Makes this many people who activated the code of `referrer`; their ids, newest first."""
    now, ids = clock.now(), [codes.random_id() for _ in range(many)]
    joined = {"date_joined": now, "first_name": "Николай", "last_name": "Кавказов"}
    with transaction() as tx:
        them = [
            {"id": one, "invite_code": codes.new_invite_code(), "telephone_number": number(first + n)} | joined
            for n, one in enumerate(ids)
        ]
        tx.execute(insert(User), them)
        at = [now - timedelta(minutes=n) for n in range(many)]
        tx.execute(
            insert(Referral), [{"referee_id": one, "referrer_id": referrer.id, "activated_at": at[n]} for n, one in enumerate(ids)]
        )
        tx.get_one(User, referrer.id).invite_count += many
    return ids


def html(operator: Operator, user_id: str, language: str = "en", **query: str) -> str:
    at = f"/admin/people/{user_id}/"
    answer = operator.client.get(at, query_string=query, headers={"Accept-Language": language})
    assert answer.status_code == 200
    return answer.text


def text_of(page: str) -> str:
    """The words of a page, with single spaces between them."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", page)).split()).replace(" :", ":").replace(" ;", ";").replace(" ,", ",")


@pytest.mark.requirement("AZN-04")
def test_the_page_answers_what_operators_are_asked_and_shows_no_number(app: Flask, operator: Operator) -> None:
    settings = app.config["SETTINGS"]
    with app.app_context():
        anna, boris, clara = (user(settings, each) for each in (ANNA, BORIS, CLARA))
        accounts.change(anna.id, {"first_name": "Анна", "username": "anna"}, {"plan": "<gold>"}, actor_id=operator.user_id)
        activation.activate(settings, anna.id, boris.invite_code, address="192.0.2.1")
        activation.activate(settings, clara.id, anna.invite_code, address="192.0.2.1")
        with pytest.raises(Refusal):
            activation.activate(settings, anna.id, clara.invite_code, address="192.0.2.1")
        no_wait()
        asked = ask(settings, ANNA)
        for _ in range(settings.guesses_per_code):
            with pytest.raises(Refusal):
                confirm(settings, asked, wrong(settings, asked))
        delivery.deliver(settings)
        accounts.set_blocked(boris.id, True, actor_id=operator.user_id)
        ids = {"anna": anna.id, "boris": boris.id, "clara": clara.id}
    page = html(operator, ids["anna"])
    words = text_of(page)

    for sentence in (
        "Анна",
        "Wrong codes in 30 days 3; the next code has 4 digits",
        "Texts left today, unknown devices 3 of 5, the next one in",
        "accepted by the gateway, which has reported nothing since",
        "memory/1 · 1 try",
        "Metadata of apps",
        "Firefox · program",
        "Invited 1 person",
        "Names were changed by +7",
        "An invite code was not activated: they, or an earlier account of the number, had activated one before",
        "A code was asked for: to sign in 3 wrong codes · no guesses are left: the code is void",
        "First sign-in",
        "Codes and texts are kept for 24 hours after their end, sessions for 30 days, events for 365 days",
    ):
        assert sentence in words, sentence
    assert '"plan": "<gold>"' in text_of(html(operator, f"{ids['anna']}/metadata"))
    assert f"/admin/people/{ids['boris']}/" in page
    assert f"/admin/people/{ids['clara']}/" in page
    for shown in (page, html(operator, ids["boris"]), html(operator, operator.user_id), html(operator, ids["clara"], "ru")):
        digits = re.sub(r"[^0-9]", "", shown)
        assert not [each for each in (ANNA, BORIS, CLARA, STAFF) if each[2:] in digits]
    assert "Blocked since" in html(operator, ids["boris"])
    staff = text_of(html(operator, operator.user_id))
    assert "Authenticator app set up Passkeys 0 Recovery codes left 10" in staff
    assert "The account was blocked about" in staff


def test_what_is_left_of_a_deleted_person_is_shown_and_an_unknown_id_is_not_found(app: Flask, operator: Operator) -> None:
    with app.app_context():
        anna = user(app.config["SETTINGS"], ANNA)
        accounts.delete(app.config["SETTINGS"], anna.id, actor_id=operator.user_id)
        anna_id = anna.id
    words = operator.get(f"/admin/people/{anna_id}/").words

    assert "Deleted account" in words
    assert "The account was deleted" in words
    assert "Limits now" not in words
    for unknown in ("A" * 22, "x", "%00", "A" * 21 + "%00"):
        assert operator.answer(f"/admin/people/{unknown}/").status_code == 404


def test_the_tree_has_two_levels_and_a_limited_number_of_people(app: Flask, operator: Operator) -> None:
    with app.app_context():
        anna = user(app.config["SETTINGS"], ANNA)
        children = invite(anna, overview.MOST_CHILDREN + 7)
        famous, second, last = (db.session.get_one(User, children[n]) for n in (0, 1, 2))
        invite(famous, overview.MOST_BELOW - 10, 2000)
        grandchildren = invite(second, 60, 3000)
        invite(last, 5, 4000)
        invite(db.session.get_one(User, grandchildren[0]), 3, 5000)
        tree = overview.referees(anna.id)
        anna_id = anna.id

    assert [child.person.id for child in tree] == children[: overview.MOST_CHILDREN]
    shown = [(len(child.below), child.more) for child in tree[:4]]
    assert shown == [(overview.MOST_BELOW - 10, 0), (10, 50), (0, 5), (0, 0)]
    assert [one.person.id for one in tree[1].below] == grandchildren[:10]
    assert all(not one.below for child in tree for one in child.below)
    words = operator.get(f"/admin/people/{anna_id}/").words
    assert {int(more) for more in re.findall(r"\+ (\d+) more", words)} == {7, 50, 5}


def test_a_page_full_of_history_stays_small_and_costs_as_many_statements_as_an_empty_one(
    app: Flask, operator: Operator, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    settings, counts = app.config["SETTINGS"], []
    with app.app_context():
        anna = user(settings, ANNA)
        boris = invite(anna, 1)[0]
        invite(db.session.get_one(User, boris), 1, 100)
        anna_id = anna.id
    for many in (10, 1000):
        with app.app_context():
            for _ in range(12 if many > 10 else 0):
                db.session.execute(text("delete from send_allowances"))
                sign_in(settings, ANNA)
            at = clock.now() - timedelta(days=2)
            kinds = [events.Kind.USER_BLOCKED, events.Kind.INVITE_REFUSED, events.Kind.SIGNED_IN]
            rows = [
                {
                    "at": at - timedelta(seconds=n),
                    "kind": kinds[n % 3],
                    "user_id": anna_id,
                    "actor_id": boris if n % 3 == 0 else None,
                }
                for n in range(many)
            ]
            with transaction() as tx:
                tx.execute(insert(Event), rows)
            if many > 10:
                invite(db.session.get_one(User, anna_id), 70, 2000)
                invite(db.session.get_one(User, boris), 70, 3000)
        with statements() as seen:
            page = html(operator, anna_id)
        counts.append(sum(statement.lstrip().startswith("SELECT") for statement in seen))  # the use of the session is recorded too
    older = re.search(r"before=([\w.-]+)", page)
    assert older is not None
    assert counts[0] == counts[1]
    for language in ("en", "ru"):
        assert len(html(operator, anna_id, language).encode()) <= MOST_BYTES
        assert len(html(operator, anna_id, language, before=older[1]).encode()) <= MOST_BYTES


def test_older_pages_show_the_rest_of_the_timeline_and_a_forged_place_the_newest(app: Flask, operator: Operator) -> None:
    with app.app_context():
        anna = user(app.config["SETTINGS"], ANNA)
        with transaction() as tx:
            at = clock.now()
            tx.execute(
                insert(Event), [{"at": at - timedelta(hours=n), "kind": f"kind-{n}", "user_id": anna.id} for n in range(1, 100)]
            )
        anna_id = anna.id
    page, found = html(operator, anna_id), []
    assert "Limits now" in html(operator, anna_id, before="x")
    while True:
        found += re.findall(r"kind-\d+", page)
        older = re.search(r"before=([\w.-]+)", page)
        if older is None:
            break
        page = html(operator, anna_id, before=older[1])
        assert "Limits now" not in page
    assert found == [f"kind-{n}" for n in range(1, 100)]
