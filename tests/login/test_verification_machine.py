"""The life of verifications as a state machine: asking, resending, guessing, waiting, other users and purposes, in any order. Its
rules check what must always hold."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from hypothesis import settings as played
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, invariant, rule, run_state_machine_as_test

from config import Settings
from hammer.db.database import db, transaction
from hammer.login import by_code, verifications
from hammer.login.verifications import CHANGE_NUMBER, LOGIN
from hammer.models import Counter, Verification
from hammer.refusals import InvalidFields, NotFound, TooManyRequests, Unavailable, WrongCode
from tests.actions import ANNA, BORIS, HOME, confirm, right, wrong
from tests.examples import examples
from tests.machines import Machine

START = datetime(2026, 11, 23, 23, 50, tzinfo=UTC)
"""Ten minutes before midnight, so that many runs pass midnight."""
OWNERS = (None, "U" * 22, "W" * 22)
"""Users that a verification can belong to: a login belongs to none."""


@dataclass
class Life:
    """The expected state of one verification."""

    row: Verification
    user_id: str | None
    code: str
    expires_at: datetime
    compared: int = 0
    succeeded: bool = False

    def is_open(self, settings: Settings) -> bool:
        return not self.succeeded and self.compared < settings.guesses_per_code and datetime.now(UTC) < self.expires_at


class Verifications(Machine):
    lives = Bundle("lives")

    @initialize()
    def open_everything(self) -> None:
        self.begin(START)
        self.all: list[Life] = []

    @rule(target=lives, number=st.sampled_from([ANNA, BORIS]), user_id=st.sampled_from(OWNERS))
    def ask(self, number: str, user_id: str | None) -> Life | None:
        try:
            with transaction() as tx:
                purpose = CHANGE_NUMBER if user_id else LOGIN
                row = verifications.begin(tx, self.settings, number, HOME, purpose=purpose, user_id=user_id).verification
        except (TooManyRequests, Unavailable):
            return None
        life = Life(row, user_id, right(self.settings, row), datetime.now(UTC) + self.settings.code_ttl)
        self.all.append(life)
        return life

    @rule(life=lives)
    def send_again(self, life: Life | None) -> None:
        if life is None:
            return
        try:
            again = by_code.resend_code(self.settings, life.row.id, HOME)
        except (TooManyRequests, Unavailable):
            return
        except NotFound:
            assert not life.is_open(self.settings) or self.is_void(life)
            return
        assert life.is_open(self.settings)
        assert again.verification.id == life.row.id
        assert right(self.settings, again.verification) == life.code
        assert again.verification.expires_at == life.expires_at

    @rule(life=lives, hit=st.booleans())
    def guess(self, life: Life | None, hit: bool) -> None:
        if life is None:
            return
        was_open = life.is_open(self.settings)
        void = self.is_void(life)
        code = life.code if hit else wrong(self.settings, life.row)
        with transaction() as tx:
            purpose = CHANGE_NUMBER if life.user_id else LOGIN
            proved = verifications.guess(tx, self.settings, life.row.id, code, purpose=purpose, user_id=life.user_id)
        if void or not was_open:
            assert isinstance(proved, WrongCode)
            assert proved.attempts_left == 0
            life.compared = self.settings.guesses_per_code if was_open else life.compared  # the code is void from now on
            return
        life.compared += 1
        life.succeeded = hit
        if hit:
            assert isinstance(proved, Verification)
            assert proved.id == life.row.id
        else:
            assert isinstance(proved, WrongCode)
            assert proved.attempts_left == self.settings.guesses_per_code - life.compared

    @rule(
        life=lives,
        other=st.sampled_from([(LOGIN, None), (CHANGE_NUMBER, OWNERS[1]), (CHANGE_NUMBER, OWNERS[2]), (LOGIN, OWNERS[1])]),
    )
    def guess_for_another_purpose(self, life: Life | None, other: tuple[str, str | None]) -> None:
        if life is None or other == (CHANGE_NUMBER if life.user_id else LOGIN, life.user_id):
            return
        with transaction() as tx:
            proved = verifications.guess(tx, self.settings, life.row.id, life.code, purpose=other[0], user_id=other[1])
        assert isinstance(proved, WrongCode)
        assert proved.attempts_left == 0

    @rule(life=lives)
    def type_nonsense(self, life: Life | None) -> None:
        if life is None:
            return
        with pytest.raises(InvalidFields):
            confirm(self.settings, life.row, "not a code")
        with pytest.raises((InvalidFields, WrongCode)):
            confirm(self.settings, life.row, "0" * (4 if life.row.code_length == 8 else 8))

    @rule(life=consumes(lives), other=lives)
    def enter_the_code_of_another(self, life: Life | None, other: Life | None) -> None:
        if life is None or other is None or life.row.id == other.row.id or life.code == other.code or life.user_id:
            return
        was_open = life.is_open(self.settings)
        try:
            confirm(self.settings, life.row, other.code)
        except InvalidFields:
            return
        except WrongCode as no:
            life.compared = self.settings.guesses_per_code - no.attempts_left if was_open else life.compared
            return
        raise AssertionError("The code of another verification signed in.")

    @rule(seconds=st.sampled_from([1, 59, 60, 61, 240, 299, 300, 301, 3600, 86_400]))
    def wait(self, seconds: int) -> None:
        self.clock.shift(timedelta(seconds=seconds))

    @invariant()
    def what_is_stored_is_what_happened(self) -> None:
        if not hasattr(self, "all"):
            return
        db.session.rollback()
        stored = {row.id: row for row in db.session.query(Verification)}
        for life in self.all:
            assert life.compared <= self.settings.guesses_per_code
            assert stored[life.row.id].guesses == life.compared
            assert (stored[life.row.id].consumed_at is not None) == life.succeeded
        for counter in db.session.query(Counter).filter(Counter.scope.like("guesses/%")):
            length = counter.scope.removeprefix("guesses/")
            assert 0 <= counter.taken <= (self.settings.guess_budgets[int(length)] if len(length) == 1 else 100)

    def is_void(self, life: Life) -> bool:
        """Whether no guesses are left for codes of this length: in the whole system, or at this number."""
        number = self.settings.number_hash(life.row.telephone_number)
        now = datetime.now(UTC)
        counting = db.session.query(Counter).filter(Counter.ends_at > now)
        used = {
            scope: sum(c.taken for c in counting.filter_by(scope=scope))
            for scope in (f"guesses/{number}", f"guesses/{life.row.code_length}")
        }
        ladder = {4: 5, 6: 20, 8: 100}[life.row.code_length]
        budget = self.settings.guess_budgets[life.row.code_length]
        return used[f"guesses/{number}"] >= ladder or used[f"guesses/{life.row.code_length}"] >= budget


@pytest.mark.hypothesis
@pytest.mark.requirement("OTP-02", "OTP-03", "THR-02", "THR-04")
def test_a_verification_behaves_as_promised_in_any_order_of_events(app: Flask, settings: Settings) -> None:
    class Played(Verifications):
        pass

    Played.app = app
    Played.settings = replace(settings, resend_wait=timedelta(0), sends_per_number_day=50, guess_budgets={4: 12, 6: 12, 8: 12})
    run_state_machine_as_test(Played, settings=played(max_examples=examples(30), stateful_step_count=30))
