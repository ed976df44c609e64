"""The page of the audit trail: what it shows, what it finds, and that it says how far the trail is sealed."""

import re
from datetime import timedelta
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import insert

from hammer import clock, events
from hammer.admin import sentences
from hammer.db.database import transaction
from hammer.events import Kind
from hammer.models import Event
from hammer.operations import seals, trail
from hammer.users import accounts
from tests.actions import ANNA, STRANGER_ID, user
from tests.operators import Operator

STAFF = "+79290000099"
MOST_BYTES = 30_000


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, STAFF).open()


def page(operator: Operator, status: int = 200, language: str = "en", **query: str | int) -> str:
    answer = operator.client.get("/admin/audit/", query_string=query, headers={"Accept-Language": language})
    assert answer.status_code == status
    return answer.text


def shown(html: str) -> list[str]:
    """The words of each entry, without the moment."""
    entries = re.findall(r"<li><time.*?</time>(.*?)</li>", html, re.DOTALL)
    return [" ".join(unescape(re.sub("<[^>]*>", " ", entry)).split()) for entry in entries]


@pytest.mark.requirement("AZN-04", "AZN-05")
def test_it_shows_who_did_what_to_whom_and_why_and_how_far_it_is_sealed(app: Flask, operator: Operator) -> None:
    settings = app.config["SETTINGS"]
    with app.app_context():
        anna = user(settings, ANNA)
        accounts.change(anna.id, {"first_name": "Анна"}, actor_id=operator.user_id)
        with transaction() as tx:
            events.note(tx, Kind.USER_BLOCKED, anna.id, actor_id=operator.user_id, reason="Asked <for> it")
        waiting = page(operator)
        seals.seal_all(settings)
        newest = seals.newest()
        assert newest is not None
        head = seals.described(newest)
        with transaction() as tx:
            events.note(tx, Kind.FACTOR_WRONG, STRANGER_ID, detail="recovery")
    assert "Nothing is sealed yet." in waiting
    html = page(operator)
    first, second, third, *_ = shown(html)
    assert first == f"{sentences.EVENTS[Kind.FACTOR_WRONG]}: recovery code about deleted account"
    by = re.fullmatch(f"{sentences.EVENTS[Kind.USER_BLOCKED]} by (.*) · about Анна · “Asked <for> it”", second)
    assert by
    assert re.sub(r"\D", "", by[1]) == STAFF[1:2] + STAFF[-4:]
    assert third.startswith(sentences.EVENTS[Kind.USER_RENAMED])
    assert head in html
    assert "1 event waits for its seal." in html
    assert ANNA not in html
    assert STAFF not in html


def test_filters_find_what_they_say_and_pages_go_on_where_the_last_one_ended(app: Flask, operator: Operator) -> None:
    now, old = clock.now(), clock.now() - timedelta(days=3)
    with app.app_context(), transaction() as tx:
        rows = [{"at": old, "kind": Kind.KEY_ROTATED}, {"at": old, "kind": Kind.PING, "user_id": STRANGER_ID}]
        rows += [{"at": now, "kind": Kind.SIGNED_IN}] * (trail.A_PAGE + 10)
        for row in [*rows, {"at": now, "kind": Kind.USER_RENAMED, "actor_id": STRANGER_ID}]:
            tx.execute(insert(Event).values(row))

    def found(**query: str) -> list[str]:
        return shown(operator.client.get("/admin/audit/", query_string=query, headers={"Accept-Language": "en"}).text)

    ping, rotated = sentences.EVENTS[Kind.PING], sentences.EVENTS[Kind.KEY_ROTATED]
    assert [len(found(by_staff="1")), len(found(person=STRANGER_ID))] == [1, 2]
    assert found(kind="key-rotated") == [rotated]
    assert found(until=f"{old:%F}") == [f"{ping} about deleted account", rotated]
    assert found(since=f"{old:%F}", until=f"{old:%F}", kind="ping") == [f"{ping} about deleted account"]
    assert found(since=f"{old:%F}", until=f"{old:%F}", kind="user-deleted") == []
    first = page(operator, kind="signed-in")
    [older] = re.findall(r'href="([^"]*before=[^"]*)"', first)
    rest = shown(operator.client.get(unescape(older), headers={"Accept-Language": "en"}).text)
    assert (len(shown(first)), len(rest)) == (trail.A_PAGE, 10)
    assert "before=" not in page(operator, until=f"{old:%F}")


def test_an_event_that_is_far_back_is_found_by_going_on(app: Flask, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "READ_AT_ONCE", 10)
    with app.app_context(), transaction() as tx:
        for kind in (Kind.KEY_ROTATED, *[Kind.SIGNED_IN] * 25):
            events.note(tx, kind)
    html, presses = page(operator, kind="key-rotated"), 0
    while not shown(html):
        assert "Look further back." in html
        [older] = re.findall(r'href="([^"]*before=[^"]*)"', html)
        html, presses = operator.client.get(unescape(older), headers={"Accept-Language": "en"}).text, presses + 1
    assert presses == 2


@pytest.mark.parametrize("field", ["since", "until", "kind", "person"])
def test_a_filter_that_cannot_be_read_is_refused_at_its_field(operator: Operator, field: str) -> None:
    html = page(operator, status=422, **{field: "<x>"})
    assert 'role="alert"' in html
    assert shown(html) == []
    assert shown(page(operator, before="9" * 30)) != []


def test_days_at_the_ends_of_the_calendar_are_days(operator: Operator) -> None:
    assert shown(page(operator, since="0001-01-01", until="9999-12-31")) == shown(page(operator)) != []
    assert shown(page(operator, since="9999-12-31")) == shown(page(operator, until="0001-01-01")) == []


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_full_page_is_small(app: Flask, operator: Operator, language: str) -> None:
    with app.app_context(), transaction() as tx:
        for _ in range(trail.A_PAGE):
            events.note(tx, Kind.USER_RENAMED, operator.user_id, actor_id=STRANGER_ID, reason="A reason of a usual length")
    assert len(page(operator, language=language).encode()) <= MOST_BYTES
