"""Sign-ins to apps at the same time as what ends them, in every order of their steps: no session of an app is left that should be
over, none ends without its notice, and no two transactions wait for each other."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import or_, select, update
from sqlalchemy.orm import aliased

from config import Settings
from hammer.clients import registry
from hammer.db.database import db, transaction
from hammer.grants import apps as of_person
from hammer.grants import authorizations, exchanges
from hammer.login import by_code
from hammer.models import Authorization, Client, Consent, LogoutNotice, Session, SessionKind, User
from hammer.refusals import NotFound, Unavailable, WrongCode
from hammer.sessions import sessions
from hammer.users import accounts
from tests import actions, apps
from tests.actions import HOME
from tests.interleaving import Ended, Verb, at_every_step, while_held
from tests.serving import at_once

pytestmark = pytest.mark.filterwarnings("error")


class Stage:
    """New people and apps for each play. Needs an application context."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.turn = 0

    def new(self) -> None:
        self.turn += 1
        self.shop = Client(id=apps.add_app(f"Shop {self.turn}").id)
        self.home = self.opened(actions.number(self.turn))
        self.here = apps.sign_in(self.settings, self.shop, self.home)

    def opened(self, number: str) -> Session:
        return actions.sign_in(self.settings, number, kind=SessionKind.BROWSER).session

    def exchanges(self) -> Verb:
        code = apps.code(self.settings, self.shop, self.home)
        return partial(apps.exchange, self.settings, self.shop, code)

    def approves(self) -> Verb:
        asked = apps.ask(self.shop, "openid profile")
        return partial(authorizations.approve, self.settings, asked.id, apps.caller(self.home))

    def refreshes(self) -> Verb:
        token = sessions.refresh_token(self.settings, self.here)
        return partial(exchanges.refresh, self.settings, self.shop.id, token)

    def signs_out(self) -> Verb:
        return partial(sessions.sign_out, self.home.user_id, self.home.id)

    def ends_all_from_elsewhere(self) -> Verb:
        return partial(sessions.end_others, self.home.user_id, actions.STRANGER_ID)

    def ends_it(self) -> Verb:
        return partial(sessions.end, self.home.user_id, self.home.id)

    def forgets(self) -> Verb:
        return partial(of_person.forget, self.home.user_id, self.shop.id)

    def ends_the_app(self) -> Verb:
        return partial(of_person.end, self.home.user_id, self.shop.id)

    def is_blocked(self) -> Verb:
        return partial(accounts.set_blocked, self.home.user_id, True)

    def leaves(self) -> Verb:
        return partial(accounts.delete, self.settings, self.home.user_id)

    def moves(self) -> Verb:
        number = actions.number(100_000 + self.turn)
        return partial(accounts.move, self.settings, self.home.user_id, number, language="en", end_sessions=True)

    def is_disabled(self) -> Verb:
        return partial(registry.disable, self.shop.id)

    def is_removed(self) -> Verb:
        return partial(registry.remove, self.shop.id)

    def proves(self) -> Verb:
        actions.no_wait()
        asked = actions.ask(self.settings, actions.number(self.turn))
        how: dict[str, Any] = {"kind": SessionKind.BROWSER, "device": "", "address": HOME.address, "instead_of": self.home.id}
        return partial(by_code.confirm_code, self.settings, asked.id, actions.right(self.settings, asked), **how)


@pytest.fixture
def stage(app: Flask, settings: Settings) -> Stage:
    return Stage(settings)


Act = Callable[[Stage], Verb]
ENDS: list[Act] = [
    Stage.signs_out,
    Stage.ends_all_from_elsewhere,
    Stage.ends_it,
    Stage.forgets,
    Stage.ends_the_app,
    Stage.is_blocked,
    Stage.leaves,
    Stage.moves,
    Stage.is_disabled,
    Stage.is_removed,
]
either_way = pytest.mark.parametrize("turned", [False, True], ids=["first", "second"])


def play(app: Flask, stage: Stage, first: Act, second: Act, turned: bool, *, signs_out: bool = False) -> None:
    """Plays both at every step. Afterwards nothing may be left that does not belong together; if it `signs_out`, no session of the
    app."""
    plays = 0

    def scene() -> tuple[Verb, Verb]:
        stage.new()
        verbs = first(stage), second(stage)
        return verbs[::-1] if turned else verbs

    for one, other, step in at_every_step(app, scene):
        for ended in (one, other):
            assert not isinstance(ended.raised, Unavailable), f"They waited for each other at: {step}"
            assert ended.raised is None or isinstance(ended.raised, NotFound | WrongCode), (step, ended.raised)
        with app.app_context():
            hold_together(stage, step)
            if signs_out:
                mine = Session.client_id == stage.shop.id, Session.kind == SessionKind.APP, Session.ended_at.is_(None)
                assert db.session.scalars(select(Session.id).where(*mine)).all() == [], step
        plays += 1
    assert plays > 3


def hold_together(stage: Stage, step: str) -> None:
    """Checks what must be true at any time."""
    parent = aliased(Session)
    live = select(Session.id).where(Session.kind == SessionKind.APP, Session.ended_at.is_(None))
    orphans = live.outerjoin(parent, parent.id == Session.parent_id).where(or_(parent.id.is_(None), parent.ended_at.is_not(None)))
    assert db.session.scalars(orphans).all() == [], f"An app stays signed in: {step}"
    no_client = live.outerjoin(Client, Client.id == Session.client_id).where(
        or_(Client.id.is_(None), Client.disabled_at.is_not(None))
    )
    assert db.session.scalars(no_client).all() == [], step
    for table in (Session, Consent):
        gone = select(table.user_id).join(User, User.id == table.user_id).where(User.deleted_at.is_not(None))
        assert db.session.scalars(gone).all() == [], step
    without = select(Consent).outerjoin(Client, Client.id == Consent.client_id).where(Client.id.is_(None))
    assert db.session.scalars(without).all() == [], step
    noticed = list(db.session.scalars(select(LogoutNotice.session_id)))
    assert len(noticed) == len(set(noticed)), f"Notified twice: {step}"
    over = select(Session.id).join(Client, Client.id == Session.client_id)
    over = over.where(Session.kind == SessionKind.APP, Session.ended_at.is_not(None), Client.disabled_at.is_(None))
    assert set(db.session.scalars(over)) <= set(noticed), f"Not notified: {step}"


@either_way
@pytest.mark.parametrize("end", ENDS)
def test_an_exchange_at_the_same_time_as_an_end_leaves_no_session_behind(app: Flask, stage: Stage, end: Act, turned: bool) -> None:
    play(app, stage, Stage.exchanges, end, turned, signs_out=True)


@either_way
@pytest.mark.parametrize("end", [Stage.leaves, Stage.is_removed, Stage.forgets])
def test_an_approval_at_the_same_time_as_an_end_leaves_no_consent_behind(app: Flask, stage: Stage, end: Act, turned: bool) -> None:
    play(app, stage, Stage.approves, end, turned)


@either_way
@pytest.mark.parametrize("end", ENDS)
def test_a_refresh_at_the_same_time_as_an_end_opens_nothing_again(app: Flask, stage: Stage, end: Act, turned: bool) -> None:
    plays = 0

    def scene() -> tuple[Verb, Verb]:
        stage.new()
        verbs = stage.refreshes(), end(stage)
        return verbs[::-1] if turned else verbs

    for one, other, step in at_every_step(app, scene):
        plays += 1
        assert not {Unavailable} & {type(one.raised), type(other.raised)}, step
        with app.app_context():
            hold_together(stage, step)
            assert apps.is_over(stage.here), step
    assert plays > 1


@either_way
@pytest.mark.parametrize(
    ("end", "other"),
    [
        (Stage.signs_out, Stage.leaves),
        (Stage.signs_out, Stage.ends_all_from_elsewhere),
        (Stage.signs_out, Stage.is_disabled),
        (Stage.leaves, Stage.is_disabled),
        (Stage.leaves, Stage.is_removed),
        (Stage.leaves, Stage.is_blocked),
        (Stage.forgets, Stage.leaves),
        (Stage.proves, Stage.signs_out),
        (Stage.proves, Stage.exchanges),
    ],
)
def test_two_ends_at_the_same_time_do_not_wait_for_each_other(app: Flask, stage: Stage, end: Act, other: Act, turned: bool) -> None:
    """Also where the rows lie in the other order on the disk, so that one statement would lock the app before its browser."""

    def end_later_rows(stage: Stage) -> Verb:
        with transaction() as tx:
            later = stage.home.expires_at + timedelta(seconds=1)  # a value in an index: the row gets another place in that too
            tx.execute(update(Session).where(Session.id == stage.home.id).values(expires_at=later))
        return end(stage)

    play(app, stage, end_later_rows, other, turned)


@pytest.mark.parametrize(("one", "other"), [(Stage.forgets, Stage.is_disabled), (Stage.is_disabled, Stage.proves)])
def test_ends_that_meet_at_the_second_of_three_sessions_do_not_wait_for_each_other(
    app: Flask, stage: Stage, one: Act, other: Act
) -> None:
    """One of the two would lock the last session before the first, in the order of the rows on the disk."""
    with app.app_context():
        stage.new()
        opened = [stage.here, *(apps.sign_in(stage.settings, stage.shop, stage.home) for _ in range(2))]
        each = sorted(opened, key=lambda session: session.id)
        for session in reversed(each):
            with transaction() as tx:
                later = session.expires_at + timedelta(seconds=1)  # a value in an index: the row gets another place in that too
                tx.execute(update(Session).where(Session.id == session.id).values(expires_at=later))
        stage.here = each[1]
        verbs = stage.refreshes(), one(stage), other(stage)
    ended = while_held(app, *verbs)
    assert [verb.raised for verb in ended] == [None, None, None]


@either_way
def test_an_exchange_at_the_same_time_as_a_new_proof_stays_signed_in(app: Flask, stage: Stage, turned: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        stage.new()
        verbs = stage.proves(), stage.exchanges()
        return verbs[::-1] if turned else verbs

    for one, other, step in at_every_step(app, scene):
        exchanged = one if turned else other
        with app.app_context():
            assert not apps.is_over(stage.here)
            assert isinstance(exchanged.value, exchanges.Grant), step
            assert not apps.is_over(exchanged.value.session), step
            hold_together(stage, step)


def test_of_two_exchanges_one_gets_a_session_and_the_replay_ends_it(app: Flask, stage: Stage) -> None:
    def scene() -> tuple[Verb, Verb]:
        stage.new()
        exchange = stage.exchanges()
        return exchange, exchange

    for one, other, step in at_every_step(app, scene):
        assert _given(one) + _given(other) == 1, step
        with app.app_context():
            grant = one.value or other.value
            assert isinstance(grant, exchanges.Grant)
            assert apps.is_over(grant.session), step
            hold_together(stage, step)


def _given(ended: Ended) -> int:
    assert ended.raised is None
    return int(ended.value is not None)


@pytest.mark.parametrize("same_session", [True, False])
def test_two_answers_at_the_same_time_are_one(app: Flask, stage: Stage, same_session: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        stage.new()
        actions.no_wait()
        other = stage.home if same_session else stage.opened(actions.number(stage.turn))
        asked = apps.ask(stage.shop, "openid profile")
        first, second = (
            partial(authorizations.approve, stage.settings, asked.id, apps.caller(session)) for session in (stage.home, other)
        )
        return first, second

    for one, other, step in at_every_step(app, scene):
        if same_session:
            assert one.value == other.value is not None, step
        else:
            assert sorted(type(ended.raised).__name__ for ended in (one, other)) == ["NoneType", "NotFound"], step
        with app.app_context():
            scopes = db.session.scalars(select(Consent.scopes).where(Consent.client_id == stage.shop.id)).all()
            assert scopes == ["openid profile phone"], step


def test_of_two_answers_to_two_requests_both_are_remembered(app: Flask, stage: Stage) -> None:
    def scene() -> tuple[Verb, Verb]:
        stage.new()
        of_person.forget(stage.home.user_id, stage.shop.id)
        asked = [apps.ask(stage.shop, scopes).id for scopes in ("openid profile", "openid invites")]
        first, second = (partial(authorizations.approve, stage.settings, one, apps.caller(stage.home)) for one in asked)
        return first, second

    for one, other, step in at_every_step(app, scene):
        assert one.raised is other.raised is None, step
        with app.app_context():
            scopes = db.session.scalars(select(Consent.scopes).where(Consent.client_id == stage.shop.id)).all()
            assert scopes == ["openid profile invites"], step


def test_of_fifty_parallel_exchanges_one_gets_a_session_and_the_replays_end_it(app: Flask, stage: Stage) -> None:
    with app.app_context():
        stage.new()
        exchange = stage.exchanges()

    def in_context() -> object:
        with app.app_context(), suppress(Unavailable):  # a slow machine lets some of them wait for too long
            return exchange()
        return None

    grants = [grant for grant in at_once([in_context] * 50) if grant is not None]
    assert len(grants) == 1
    with app.app_context():
        assert isinstance(grants[0], exchanges.Grant)
        assert apps.is_over(grants[0].session)
        opened = select(Authorization.grant_id).where(Authorization.client_id == stage.shop.id)
        assert set(db.session.scalars(opened)) == {stage.here.id, grants[0].session.id}
        hold_together(stage, "fifty")
