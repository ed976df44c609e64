"""Staff who manage endpoints: a role that is lost before the end of what they do undoes it."""

from collections.abc import Callable
from functools import partial

import pytest
from flask import Flask
from sqlalchemy import select

from config import Settings
from hammer import clock
from hammer.db.database import db
from hammer.models import Event
from hammer.refusals import NotAllowed
from hammer.users import accounts
from hammer.webhooks import deliveries, endpoints, feed
from hammer.webhooks.endpoints import Manager
from hammer.webhooks.messages import message_id
from tests.actions import everything_stored, user
from tests.api.contract import problem
from tests.interleaving import Verb, at_every_step, while_held
from tests.people import Program
from tests.webhooks.receivers import Receiver
from tests.webhooks.steps import note, stored

Act = Callable[[Settings, str, str, Manager], Verb]
"""From the settings, an endpoint, a message and a member of staff."""

ACTS: dict[str, Act] = {
    "add": lambda s, endpoint, _, by: partial(endpoints.add, s, stored(endpoint).url, by=by),
    "change": lambda s, endpoint, _, by: partial(endpoints.change, s, endpoint, by=by, types=["user.created"]),
    "move": lambda s, endpoint, _, by: partial(endpoints.change, s, endpoint, by=by, url=f"{stored(endpoint).url}/new"),
    "rotate": lambda s, endpoint, _, by: partial(endpoints.rotate, s, endpoint, by=by),
    "disable": lambda _s, endpoint, _, by: partial(endpoints.disable, endpoint, by=by),
    "enable": lambda _s, endpoint, _, by: partial(endpoints.enable, endpoint, by=by),
    "remove": lambda _s, endpoint, _, by: partial(endpoints.remove, endpoint, by=by),
    "ping soon": lambda _s, endpoint, _, by: partial(endpoints.ping, endpoint, by=by),
    "ping at once": lambda s, endpoint, _, by: partial(deliveries.ping_now, s, endpoint, by=by),
    "replay one": lambda _s, endpoint, message, by: partial(endpoints.replay, endpoint, message, by=by),
    "replay a time": lambda _s, endpoint, _, by: partial(endpoints.replay_span, endpoint, clock.EPOCH, by=by),
}


def prepared(settings: Settings, receiver: Receiver, what: str, me: str) -> Verb:
    """Makes this user staff. Returns what they then do to a new endpoint."""
    for each in endpoints.every():
        endpoints.remove(each.id)
    accounts.set_staff(settings, me, True)
    endpoint = endpoints.add(settings, receiver.url).id
    note()
    feed.publish()
    if what == "enable":
        endpoints.disable(endpoint)
    [*_, event] = db.session.scalars(select(Event).where(Event.sequence > 0).order_by(Event.sequence))
    return ACTS[what](settings, endpoint, message_id(event), Manager(user_id=me))


def acts_of(user_id: str) -> list[str]:
    return list(db.session.scalars(select(Event.kind).where(Event.actor_id == user_id)))


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("what", ACTS)
def test_staff_are_named_by_the_event_and_former_staff_are_refused(
    settings: Settings, context: None, receiver: Receiver, what: str
) -> None:
    me = user(settings).id
    prepared(settings, receiver, what, me)()
    assert len(acts_of(me)) == 1

    act = prepared(settings, receiver, what, me)
    accounts.set_staff(settings, me, False)
    before, posts = everything_stored(), len(receiver.posts)
    with pytest.raises(NotAllowed):
        act()
    assert (everything_stored(), len(receiver.posts)) == (before, posts)


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("what", ACTS)
def test_a_role_that_is_lost_in_the_midst_undoes_all(app: Flask, settings: Settings, receiver: Receiver, what: str) -> None:
    with app.app_context():
        me = user(settings).id
    done = 0

    def scene() -> tuple[Verb, Verb]:
        return prepared(settings, receiver, what, me), partial(accounts.set_staff, settings, me, False)

    undone = set()
    for act, demotion, step in at_every_step(app, scene):
        assert demotion.raised is None, step
        assert act.raised is None or isinstance(act.raised, NotAllowed), (step, act.raised)
        undone.add(act.raised is not None)
        done += act.raised is None
        with app.app_context():
            assert len(acts_of(me)) == done, step
            on_sqlite = db.engine.dialect.name == "sqlite"  # where no one else writes while they act
    assert undone == ({False} if on_sqlite else {True, False})


@pytest.mark.requirement("AZN-02")
def test_a_call_of_staff_who_lose_their_role_during_it_changes_nothing(
    app: Flask, settings: Settings, program: Program, receiver: Receiver
) -> None:
    with app.app_context():
        endpoint = endpoints.add(settings, receiver.url).id
    program.sign_in("+79290000001")
    me = program.result("GET", "/users/me/")["id"]
    for method, below, body in (
        ("POST", "", {"url": f"{receiver.url}/new"}),
        ("POST", "rotate/", None),
        ("POST", "disable/", None),
        ("POST", "test/", None),
        ("DELETE", "", None),
    ):
        with app.app_context():
            accounts.set_staff(settings, me, True)
            before = acts_of(me)

        def call(method: str = method, at: str = f"/webhooks/{endpoint}/{below}", body: object = body) -> object:
            return program.call(method, at, body)

        _, answer = while_held(app, partial(accounts.set_staff, settings, me, False), call)
        problem(answer.value, 403, "not-allowed")  # type: ignore[arg-type]
        with app.app_context():
            assert acts_of(me) == before
            assert (stored(endpoint).url, stored(endpoint).generation, stored(endpoint).disabled_at) == (receiver.url, 0, None)
