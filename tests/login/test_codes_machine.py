"""No code works twice, whatever becomes of its row: pages, API, old forms, repeated requests, `prune`, deletions, number changes,
restored backups, and clocks that jump ahead and back are played in any order."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import settings as played
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import delete, select
from werkzeug.test import TestResponse

from config import Settings
from hammer.db.database import db, transaction
from hammer.models import SendAllowance, User, Verification
from hammer.operations import retention
from hammer.users import accounts
from hammer.web.tokens import SESSION_COOKIE
from tests.actions import ANNA, BORIS, HOME, right, sign_in
from tests.examples import examples
from tests.people import Page
from tests.tampering import empty_all_tables

SPARE = "+79290000009"
NUMBERS = st.sampled_from([ANNA, BORIS])
AppWith = Callable[[Settings], Flask]
START = datetime(2026, 11, 23, 23, 50, tzinfo=UTC)
FORM_COOKIE = "hammer_form"


@dataclass
class Form:
    """A page that was left open: what its form sends, and the cookie of its browser at that time."""

    cookie: str
    fields: dict[str, str]


@dataclass
class Code:
    """A code that was asked for, and the session that it opened."""

    verification_id: str
    digits: str
    session_id: str = ""
    forms: list[Form] = field(default_factory=list)


class Codes(RuleBasedStateMachine):
    app: Flask
    settings: Settings

    forms = Bundle("forms")

    @initialize()
    def open_everything(self) -> None:
        self.moved = time_machine.travel(START, tick=False)
        self.clock = self.moved.start()
        self.empty({})
        self.codes: dict[str, Code] = {}
        self.backup: dict[str, list[dict[str, Any]]] = {}

    def teardown(self) -> None:
        if hasattr(self, "moved"):
            self.moved.stop()

    def empty(self, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Replaces everything stored by these rows."""
        with self.app.app_context(), transaction() as tx:
            empty_all_tables(tx.connection())
            for table in db.metadata.sorted_tables:
                if rows.get(table.name):
                    tx.execute(table.insert(), rows[table.name])

    @rule(target=forms, number=NUMBERS, use=st.booleans())
    def ask_on_a_page(self, number: str, use: bool) -> Form:
        browser = self.app.test_client()
        fields = Page(browser.get("/login/").text).form_with("telephone_number")
        form = Form(cookie_of(browser), fields.fields if fields else {})
        self.send(form, number, use)
        return form

    @rule(form=forms, number=NUMBERS, use=st.booleans())
    def send_an_old_page(self, form: Form, number: str, use: bool) -> None:
        self.send(form, number, use)

    def send(self, form: Form, number: str, use: bool) -> None:
        self.send_messages()
        browser = self.app.test_client()
        browser.set_cookie(FORM_COOKIE, form.cookie)
        answer = browser.post("/login/", data=form.fields | {"telephone_number": number})
        if answer.status_code == 403:  # the clock was set back: its cookie is from the future
            return
        with browser.session_transaction() as kept:
            code = self.remember(kept["verification"])
        fields = Page(browser.get("/login/code/").text).form_with("code")
        if fields:
            code.forms.append(Form(cookie_of(browser), fields.fields))
        if use:
            self.back_up()
            self.enter(code, code)

    @rule(number=NUMBERS, key=st.sampled_from(["", "k" * 16, "l" * 16]), use=st.booleans())
    def ask_as_a_program(self, number: str, key: str, use: bool) -> None:
        self.send_messages()
        answer = self.call("/auth/signup/", {"telephone_number": number}, key)
        if answer.status_code == 422:  # the key was used with the other number
            return
        assert answer.json
        code = self.remember(answer.json["verification_id"])
        if use:
            self.back_up()
            self.enter(code, code)

    @rule(
        how=st.sampled_from(["prune", "delete", "change the number", "restore"]),
        number=NUMBERS,
        later=st.sampled_from([0, 119, 121, 299, 660, 172_800]),
        and_back=st.booleans(),
    )
    def lose_what_is_stored(self, how: str, number: str, later: int, and_back: bool) -> None:
        self.clock.shift(timedelta(seconds=later))
        with self.app.app_context():
            if how == "prune":
                retention.prune(self.settings)
            elif how == "delete":
                self.delete(number)
            elif how == "change the number":
                self.change(number)
            else:
                self.restore()
        self.clock.shift(timedelta(seconds=-later if and_back else 0))
        self.enter_all_again()

    @rule(seconds=st.sampled_from([1, 121, 299, 660, 86_400]), back=st.booleans())
    def move_the_clock(self, seconds: int, back: bool) -> None:
        self.clock.shift(timedelta(seconds=-seconds if back else seconds))
        self.enter_all_again()

    def back_up(self) -> None:
        with self.app.app_context():
            tables = db.metadata.sorted_tables
            self.backup = {t.name: [dict(row) for row in db.session.execute(t.select()).mappings()] for t in tables}

    def restore(self) -> None:
        """As in docs/deploy.md: the rows of the backup, then the command that voids codes, sessions and devices."""
        self.empty(self.backup)
        retention.restored()

    def delete(self, number: str) -> None:
        user_id = db.session.scalar(select(User.id).where(User.telephone_number == number))
        if user_id:
            accounts.delete(self.settings, user_id)

    def change(self, number: str) -> None:
        """The user of the number changes to another one, so others can use it."""
        self.send_messages()
        them = sign_in(self.settings, number)
        self.delete(SPARE)
        mine = self.settings, them.user.id, them.session.id
        asked = accounts.ask_number(*mine, SPARE, HOME).verification
        accounts.change_number(*mine, asked.id, right(self.settings, asked))

    def enter_all_again(self) -> None:
        for code in [code for code in self.codes.values() if code.session_id]:
            self.enter(code, code)

    def enter(self, code: Code, at: Code) -> None:
        """Enters a code at its own verification or at another: as a program with and without a key, and on every old page."""
        opened = []
        for key in (at.verification_id, ""):
            answer = self.call("/auth/code/", {"verification_id": at.verification_id, "code": code.digits}, key)
            if answer.status_code == 200 and answer.json:
                opened.append(answer.json["refresh_token"].partition(".")[0])
        opened += [session_id for form in at.forms if (session_id := self.type_on_a_page(code, form))]
        for session_id in opened:
            assert code is at, "A used code opened another verification."
            assert code.session_id in ("", session_id), "A used code opened a second session."
            code.session_id = session_id

    def type_on_a_page(self, code: Code, form: Form) -> str:
        browser = self.app.test_client()
        browser.set_cookie(FORM_COOKIE, form.cookie)
        browser.post("/login/code/", data=form.fields | {"code": code.digits})
        cookie = browser.get_cookie(SESSION_COOKIE)
        return cookie.value.partition(".")[0] if cookie else ""

    def send_messages(self) -> None:
        with self.app.app_context(), transaction() as tx:
            tx.execute(delete(SendAllowance))

    def remember(self, verification_id: str) -> Code:
        """Records a verification that was returned. A new one has a code that was never used."""
        if verification_id in self.codes:
            return self.codes[verification_id]
        with self.app.app_context():
            row = db.session.get_one(Verification, verification_id)
        code = self.codes[verification_id] = Code(verification_id, right(self.settings, row))
        for used in [used for used in self.codes.values() if used.session_id][-2:]:
            assert used.digits != code.digits
            self.enter(used, code)
        return code

    def call(self, path: str, body: dict[str, str], key: str = "") -> TestResponse:
        headers = {"Idempotency-Key": key} if key else {}
        return self.app.test_client(use_cookies=False).post(f"/api/v1{path}", json=body, headers=headers)


def cookie_of(browser: FlaskClient) -> str:
    cookie = browser.get_cookie(FORM_COOKIE)
    assert cookie
    return cookie.value


@pytest.mark.hypothesis
@pytest.mark.requirement("OTP-02", "OTP-03")
def test_no_code_works_twice_whatever_becomes_of_its_row(settings: Settings, app_with: AppWith) -> None:
    class Played(Codes):
        pass

    # Eight digits, so that no two codes are equal by chance; and no limits on messages and guesses.
    Played.settings = replace(
        settings,
        code_length=8,
        resend_wait=timedelta(0),
        sends_per_number_day=10_000,
        guess_budgets={4: 0, 6: 0, 8: 30_000},
    )
    Played.app = app_with(Played.settings)
    run_state_machine_as_test(Played, settings=played(max_examples=examples(20), stateful_step_count=25))
