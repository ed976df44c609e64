"""Two acts of staff at the same moment: no deadlock, no actor who is staff no more, and always one staff member left."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import func, select

from config import Settings
from hammer.clients import registry
from hammer.db.database import db
from hammer.events import Kind
from hammer.factors import staff
from hammer.models import Event, SessionKind, SigningAlgorithm, User, WebhookEndpoint
from hammer.refusals import AlreadyActivated, InvalidFields, NotAllowed, Refusal, Unavailable
from hammer.sessions import keys, sessions
from hammer.users import accounts, oversight
from hammer.webhooks import endpoints
from tests.actions import activate, number, referrals, sign_in, user
from tests.interleaving import Verb, at_every_step
from tests.operators import app_code
from tests.serving import Answer, Server, at_once

_fresh = count(300)
WHY = "Asked by mail"
Pair = Callable[[Settings, User, User, User], tuple[Verb, Verb]]


def is_staff(user_id: str) -> bool:
    return bool(db.session.scalar(select(User.is_staff).where(User.id == user_id).execution_options(populate_existing=True)))


PAIRS: dict[str, Pair] = {
    "staff demote each other": lambda s, one, other, _: (
        partial(accounts.set_staff, s, other.id, False, actor_id=one.id),
        partial(accounts.set_staff, s, one.id, False, actor_id=other.id),
    ),
    "the actor is demoted by the command line": lambda s, one, _, person: (
        partial(accounts.delete, s, person.id, actor_id=one.id),
        partial(accounts.set_staff, s, one.id, False),
    ),
    "the person activates the code of the actor": lambda s, one, _, person: (
        partial(accounts.delete, s, person.id, actor_id=one.id),
        partial(activate, s, person.id, one.invite_code),
    ),
    "the person is attached and activates": lambda s, one, other, person: (
        partial(oversight.attach, s, person.id, other.id, WHY, actor_id=one.id),
        partial(activate, s, person.id, one.invite_code),
    ),
    "the person is made staff and blocked": lambda s, one, other, person: (
        partial(oversight.make_staff, s, person.id, actor_id=one.id),
        partial(accounts.set_blocked, person.id, True, actor_id=other.id),
    ),
}


@pytest.mark.requirement("AZN-02", "INV-02")
@pytest.mark.parametrize("what", PAIRS)
def test_acts_at_the_same_moment_are_done_one_after_the_other(app: Flask, settings: Settings, what: str) -> None:
    people: list[User] = []

    def scene() -> tuple[Verb, Verb]:
        people[:] = [user(settings, number(next(_fresh))) for _ in range(3)]
        for one in people[:2]:
            accounts.set_staff(settings, one.id, True)
        return PAIRS[what](settings, *people)

    for first, second, step in at_every_step(app, scene):
        raised = [ended.raised for ended in (first, second)]
        assert not any(isinstance(each, Unavailable) for each in raised), step
        assert all(each is None or isinstance(each, Refusal) for each in raised), (step, raised)
        with app.app_context():
            one, other, person = (db.session.get_one(User, each.id, populate_existing=True) for each in people)
            rows = referrals()
            assert [each.invite_count for each in (one, other)] == [sum(up == each.id for _, up in rows) for each in (one, other)]
            if what == "staff demote each other":
                assert one.is_staff + other.is_staff == 1, step
                assert [type(each) for each in raised if each] == [NotAllowed], step
            elif what == "the actor is demoted by the command line":
                assert (person.deleted_at is None) == isinstance(first.raised, NotAllowed), step
                assert not one.is_staff
            elif what == "the person is attached and activates":
                assert len(rows & {(person.id, one.id), (person.id, other.id)}) == 1, step
                assert {type(each) for each in raised if each} <= {AlreadyActivated, InvalidFields}, step
            elif what == "the person is made staff and blocked":
                assert person.is_staff != (person.blocked_at is not None), step


class Pages:
    """A staff member at the operator's pages of a server."""

    def __init__(self, settings: Settings, server: Server) -> None:
        self.server = server
        signed_in = sign_in(settings, number(next(_fresh)), kind=SessionKind.BROWSER)
        self.id = signed_in.user.id
        accounts.set_staff(settings, self.id, True)
        secret, token = staff.next_secret(settings, self.id), staff.allow_enrolment(settings, self.id)
        opened = staff.enrol_by_link(settings, self.id, signed_in.session.id, token, app_code(secret), device="")
        self.cookie = f"hammer_admin={sessions.cookie(settings, opened.session)}"

    def form(self, at: str, **typed: str) -> Callable[[], Answer]:
        """Opens a page of an action. Returns the call that sends its form, filled in."""
        page = self.server.request("GET", at, headers={"Cookie": self.cookie, "Accept-Language": "en"})
        assert page.status == 200, page.body
        fields = re.findall(
            r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.body.decode().rpartition('<form id="form"')[2]
        )
        kept = page.headers["Set-Cookie"].partition(";")[0]
        headers = {"Cookie": f"{self.cookie}; {kept}", "Content-Type": "application/x-www-form-urlencoded"}
        return partial(self.server.request, "POST", at, urlencode(dict(fields) | typed).encode(), headers)


@pytest.fixture
def theirs(server: Server, settings: Settings) -> Settings:
    """The settings of the server."""
    key = "only for the tests, 32 bytes and more of it"
    return replace(settings, database_url=server.database_url, secret_key=key, public_url=server.url)


@pytest.mark.requirement("AZN-02")
def test_of_two_staff_who_demote_each_other_at_once_one_stays(
    server: Server, theirs: Settings, app_with: Callable[[Settings], Flask]
) -> None:
    app = app_with(theirs)
    for _ in range(8):
        with app.app_context():
            one, other = Pages(theirs, server), Pages(theirs, server)
        answers = at_once([one.form(f"/admin/people/{other.id}/take-staff/"), other.form(f"/admin/people/{one.id}/take-staff/")])
        with app.app_context():
            assert is_staff(one.id) + is_staff(other.id) == 1
        assert {answer.status for answer in answers} <= {303, 403}


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("other", ["block", "delete", "make staff"])
@pytest.mark.parametrize("action", ["block", "delete"])
def test_of_two_who_act_on_the_same_people_at_once_each_person_is_changed_whole_and_once(
    server: Server, theirs: Settings, app_with: Callable[[Settings], Flask], action: str, other: str
) -> None:
    app = app_with(theirs)
    with app.app_context():
        one, two = Pages(theirs, server), Pages(theirs, server)
    for _ in range(4):
        with app.app_context():
            ids = [accounts.create(theirs, number(next(_fresh)), {}) for _ in range(5)]

        def bulk(what: str, ids: list[str]) -> str:
            return "/admin/people/bulk/?" + urlencode({"action": what, "ids": ids}, doseq=True)

        theirs_too = f"/admin/people/{ids[2]}/make-staff/" if other == "make staff" else bulk(other, ids[::-1])
        answers = at_once([one.form(bulk(action, ids), count="5"), two.form(theirs_too, count="5")])

        # 422: one of the five is staff by then, so the number that was typed is not that of the list any more
        assert {answer.status for answer in answers} <= {200, 303, 404, 422, 503}
        with app.app_context():
            rows = db.session.execute(select(Event.user_id, Event.kind).where(Event.user_id.in_(ids)))
            noted = Counter(tuple(row) for row in rows)
            found = db.session.scalars(select(User).where(User.id.in_(ids)).execution_options(populate_existing=True)).all()
            assert set(noted.values()) == {1}
            for each in found:
                blocked, deleted = each.blocked_at is not None, each.deleted_at is not None
                assert noted[each.id, Kind.USER_BLOCKED] == blocked
                assert noted[each.id, Kind.USER_DELETED] == deleted
                assert noted[each.id, Kind.STAFF_GIVEN] == each.is_staff
                assert not (each.is_staff and (blocked or deleted))


@pytest.mark.parametrize("what", ["client", "endpoint", "keys"])
def test_of_two_who_ask_for_a_new_secret_at_once_one_gets_it_and_the_other_is_told(
    server: Server, theirs: Settings, app_with: Callable[[Settings], Flask], what: str
) -> None:
    app = app_with(theirs)
    for _ in range(4):
        with app.app_context():
            one, two = Pages(theirs, server), Pages(theirs, server)
            client_id = registry.add(f"Shop {next(_fresh)}").id
            endpoint_id = endpoints.add(theirs, "https://shop.example.com/hook").id
            keys.IdTokenKeys(theirs).ensure(SigningAlgorithm.EDDSA)
            before = db.session.scalar(select(func.max(Event.id))) or 0
        at = {"client": f"/apps/{client_id}", "endpoint": f"/webhooks/{endpoint_id}", "keys": "/apps/provider"}[what]
        answers = at_once([each.form(f"/admin{at}/rotate/") for each in (one, two)])

        with app.app_context():
            noted = Counter(db.session.scalars(select(Event.kind).where(Event.id > before)))
            generations = {
                "client": registry.get(client_id).generation,
                "endpoint": db.session.get_one(WebhookEndpoint, endpoint_id, populate_existing=True).generation,
            }
        assert noted == {{"client": Kind.CLIENT_ROTATED, "endpoint": Kind.ENDPOINT_ROTATED, "keys": Kind.KEY_ROTATED}[what]: 1}
        assert generations.get(what, 1) == 1
        if what == "keys":
            assert [answer.status for answer in answers] == [303, 303]
        else:
            assert sorted(answer.status for answer in answers) == [200, 303]
