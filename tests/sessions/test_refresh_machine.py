"""A state machine of a session's refresh tokens, in any order of events: an owner whose answers get lost, a thief with copies of
the owner's tokens, and a clock. Its rules and invariants check what must always hold."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from hypothesis import settings as played
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from config import Settings
from hammer import events
from hammer.db.database import db
from hammer.models import Event, Session, SessionKind
from hammer.refusals import NotSignedIn
from hammer.sessions import sessions
from tests.actions import sign_in
from tests.examples import examples
from tests.machines import Machine

START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


class Client:
    """A program with a pair of tokens: the refresh token of this number, and the access token issued with it."""

    def __init__(self, number: int = 0) -> None:
        self.number = number


class Refreshing(Machine):
    @initialize()
    def sign_in(self) -> None:
        self.begin(START)
        self.session = sign_in(self.settings).session
        self.owner, self.thief = Client(), Client()
        self.newest, self.issued_at, self.arrived, self.dead = 0, START - timedelta(days=1), True, False

    @rule(who=st.sampled_from(["owner", "thief"]), lost=st.booleans())
    def refresh(self, who: str, lost: bool) -> None:
        client: Client = getattr(self, who)
        now = datetime.now(UTC)
        was_lost = client.number == self.newest - 1 and not self.arrived and now < self.issued_at + timedelta(seconds=30)
        shown = sessions.refresh_token(
            self.settings, Session(id=self.session.id, kind=SessionKind.PROGRAM, refreshes=client.number)
        )
        if self.dead or (client.number != self.newest and not was_lost):
            with pytest.raises(NotSignedIn):
                sessions.refresh(self.settings, shown)
            self.dead = True
            return
        if client.number == self.newest:
            self.newest, self.issued_at, self.arrived = self.newest + 1, now, False
        assert sessions.refresh(self.settings, shown).refreshes == self.newest
        if not lost:
            client.number = self.newest

    @rule(who=st.sampled_from(["owner", "thief"]))
    def use(self, who: str) -> None:
        client: Client = getattr(self, who)
        caller = sessions.caller(self.session.id, SessionKind.PROGRAM, issued_at_refresh=client.number)
        assert (caller is None) == self.dead
        self.arrived |= client.number == self.newest

    @rule()
    def steal(self) -> None:
        self.thief.number = self.owner.number

    @rule(seconds=st.sampled_from([1, 14, 15, 29, 30, 31, 3600]))
    def wait(self, seconds: int) -> None:
        self.clock.shift(timedelta(seconds=seconds))

    @invariant()
    def a_theft_ends_the_session_and_is_recorded_once(self) -> None:
        if not hasattr(self, "session"):
            return
        db.session.rollback()
        assert db.session.get_one(Session, self.session.id, populate_existing=True).refreshes == self.newest
        assert db.session.query(Event).filter_by(kind=events.Kind.REFRESH_REUSED).count() == int(self.dead)


@pytest.mark.hypothesis
@pytest.mark.requirement("TOK-04")
def test_a_used_refresh_token_is_a_lost_answer_or_a_theft_in_any_order_of_events(app: Flask, settings: Settings) -> None:
    class Played(Refreshing):
        pass

    Played.app = app
    Played.settings = settings
    run_state_machine_as_test(Played, settings=played(max_examples=examples(60), stateful_step_count=30))
