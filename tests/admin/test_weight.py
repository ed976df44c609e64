"""Every page of operators stays small with the longest values that there can be, in the language with the longest words."""

import json
import re
from datetime import datetime, timedelta
from functools import partial
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import insert, select, update

from hammer import clock, codes
from hammer.admin.people import TOGETHER
from hammer.db.database import transaction
from hammer.events import Kind
from hammer.models import Client, Event, Message, MessageState, Referral, Scope, Session, SessionKind, User, Verification
from hammer.refusals import InviteLoop
from hammer.users import metadata
from tests import routes
from tests.actions import number
from tests.operators import Operator

MOST_BYTES = 30_000
LONGEST = {"first_name": "Ш" * 150, "last_name": "Щ" * 150, "username": "w" * 30}
REASON = "Ю" * 200
MANY = 60
EVENTS = 3 * MANY


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, "+79290000099").open()


@pytest.fixture
def longest(app: Flask, operator: Operator) -> str:
    """The id of a person with as much of everything as there can be, among many people with the longest names."""
    now, staff_id = clock.now(), operator.user_id
    ids = [codes.random_id() for _ in range(MANY)]
    client: dict[str, Any] = {"id": codes.random_id(), "name": "Ж" * 80, "scopes": Scope.USERS_READ, "sends_per_hour": 1}
    with app.app_context(), transaction() as tx:
        tx.execute(update(User).values(LONGEST | {"username": "staff" * 6}))
        rows = [
            LONGEST
            | {"id": one, "username": f"{n:030d}", "telephone_number": number(n), "invite_code": codes.new_invite_code()}
            | {"date_joined": now - timedelta(days=400, minutes=n), "invite_count": MANY, "blocked_at": now, "is_staff": True}
            for n, one in enumerate(ids)
        ]
        tx.execute(insert(User), rows)
        tx.execute(insert(Client).values(client | {"created_at": now}))
        me = ids[0]
        tx.execute(update(User).where(User.id == me).values(app_metadata=json.dumps({"a": "&" * 4000})))
        for referrer, referees in [(ids[1], [me]), (me, ids[2:]), (ids[2], [ids[1]])]:
            tx.execute(insert(Referral), [{"referee_id": one, "referrer_id": referrer, "activated_at": now} for one in referees])
        old = now - timedelta(days=300)
        tx.execute(insert(Event), [event(me, staff_id, client["id"], old - timedelta(minutes=n)) for n in range(EVENTS)])
        opening = partial(Session.opening, User(id=me), kind=SessionKind.BROWSER, device="Я" * 80, now=now)
        tx.execute(insert(Session), [opening(client_id=client["id"]) for _ in range(MANY)])
        for _ in range(MANY):
            code = {"id": codes.random_id(), "telephone_number": number(MANY), "purpose": "change-number", "code_length": 8}
            code |= {"language": "ru", "user_id": me, "created_at": now, "expires_at": now, "guesses": 3, "client_id": client["id"]}
            tx.execute(insert(Verification).values(code | {"device": "Я" * 80}))
            text = {"verification_id": code["id"], "state": MessageState.FAILED, "gateway": "g" * 24, "tries": 8}
            tx.execute(insert(Message).values(text | {"created_at": now, "due_at": now, "ended_at": now}))
    return me


def event(user_id: str, actor_id: str, client_id: str, at: datetime) -> dict[str, Any]:
    who = {"user_id": user_id, "actor_id": actor_id, "referrer_id": actor_id, "client_id": client_id}
    kind = Kind.CODE_REPLAYED  # the longest sentence
    return who | {"at": at, "kind": kind, "detail": InviteLoop.slug, "reason": REASON, "endpoint_id": "E" * 22}


def get(operator: Operator, at: str) -> str:
    answer = operator.client.get(at, headers={"Accept-Language": "ru"})
    assert answer.status_code == 200, at
    return answer.text


def every_page(operator: Operator, at: str) -> list[str]:
    """The page at this address and all that its links to older entries or further people lead to."""
    pages = [get(operator, at)]
    while link := re.search(r'rel="next" href="([^"]*)"', pages[-1]):
        pages.append(get(operator, unescape(link[1])))
    return pages


def test_every_page_is_small(app: Flask, operator: Operator, longest: str) -> None:
    at = {routes.path(rule, user_id=longest) for rule in routes.rules(app, "/admin/") if "GET" in (rule.methods or ())}
    answers = {each: operator.client.get(each, headers={"Accept-Language": "ru"}) for each in sorted(at)}
    shown = {each: len(answer.data) for each, answer in answers.items() if answer.status_code == 200}
    assert len(shown) > 20
    assert {each: size for each, size in shown.items() if size > MOST_BYTES} == {}


@pytest.mark.parametrize(
    ("at", "entry", "many"),
    [
        ("/admin/people/?only=blocked", "<bdi>Ш", MANY),
        ("/admin/audit/?kind=authorization-code-replayed", REASON, EVENTS),
        ("/admin/people/{}/", REASON, EVENTS),
    ],
)
def test_heavy_pages_have_fewer_entries_and_lead_to_the_others(
    operator: Operator, longest: str, at: str, entry: str, many: int
) -> None:
    pages = every_page(operator, at.format(longest))
    assert sum(page.count(entry) for page in pages) == many
    assert max(len(page.encode()) for page in pages) <= MOST_BYTES


def test_a_page_about_fifty_people_is_small_with_names_that_are_long_in_html(app: Flask, operator: Operator, longest: str) -> None:
    with app.app_context(), transaction() as tx:
        tx.execute(update(User).where(User.id != operator.user_id).values(first_name="&" * 150, last_name="'" * 150))
        ids = tx.scalars(select(User.id).where(User.id != operator.user_id).limit(50)).all()
        tx.execute(update(User).where(User.id.in_(ids[:2])).values(is_staff=False))  # the others are left out, and marked so
        tx.execute(update(User).where(User.id == ids[0]).values(blocked_at=None))
    for action in TOGETHER:
        page = get(operator, f"/admin/people/bulk/?{urlencode({'action': action, 'ids': ids}, doseq=True)}")
        assert page.count(f"<bdi>{'&amp;' * 35}…</bdi>") == 50
        assert len(page.encode()) <= MOST_BYTES, action


@pytest.mark.parametrize("value", [{"a": [0] * 2040}, {"a": "&" * 4086}, {"<": [""] * 1360}, {"a": [[]] * 1360}])
def test_the_largest_metadata_fits_on_its_page(app: Flask, operator: Operator, longest: str, value: dict[str, object]) -> None:
    with app.app_context(), transaction() as tx:
        tx.execute(update(User).where(User.id == longest).values(app_metadata=metadata.read(value)))
    page = get(operator, f"/admin/people/{longest}/metadata/")
    assert len(page.encode()) <= MOST_BYTES
    written = re.search("<pre>(.*)</pre>", page, re.DOTALL)
    assert written
    assert json.loads(unescape(written[1])) == value
