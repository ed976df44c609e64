"""The worth of a copied device token: at most ten guesses, and nothing after its owner has signed in again or ended the device."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from hypothesis import settings as played
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import func
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import Device, Event, Session, SessionKind, Verification
from hammer.refusals import NotFound, NotSignedIn, WrongCode
from hammer.sessions import devices, sessions
from hammer.users import accounts
from tests.actions import ANNA, BORIS, HOME, ask, confirm, right, sign_in, wrong
from tests.attacker import Attacker
from tests.examples import examples
from tests.machines import Machine
from tests.people import Browser, Program

START = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
DAY = 24 * 3600


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings without limits on texts."""
    return replace(settings, resend_wait=timedelta(0), sends_per_number_day=1000)


def showing(token: str) -> Asker:
    return replace(HOME, device_token=token)


def again(settings: Settings, shown: SignedIn | str, *, kind: SessionKind = SessionKind.PROGRAM) -> SignedIn:
    """Signs in again on the same device, with the token of the sign-in before."""
    token = shown if isinstance(shown, str) else devices.token(settings, shown.device)
    asked = ask(settings, asker=showing(token))
    return confirm(settings, asked, right(settings, asked), kind=kind)


def is_known(settings: Settings, token: str, number: str = ANNA) -> bool:
    return devices.known(db.session(), settings, token, number, datetime.now(UTC)) is not None


def compared(attacker: Attacker) -> Counter[str]:
    """Known device -> how many compared guesses, without those given back by a success, count for it."""
    made: Counter[str] = Counter()
    for name, moments in attacker.ledger.compared.items():
        device_id = attacker.ledger.verifications[name].device_id
        if name not in attacker.ledger.proven and device_id is not None:
            made[device_id] += len(moments)
    return made


# -- guesses with a copy --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steals_daily", [False, True], ids=["copied once", "copied each day"])
@pytest.mark.parametrize("a_day", [1, 3, 9, 10])
@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_a_copied_token_gives_ten_guesses_while_its_owner_signs_in_daily(
    app: Flask, patient: Settings, clock: Traveller, a_day: int, steals_daily: bool
) -> None:
    """The thief makes guesses before and after the owner's sign-in of each day, for ten days. A thief who copies the token each day
    has no more than ten guesses for one device either."""
    attacker = Attacker(app, patient, clock)
    owner = sign_in(patient)
    stolen = devices.token(patient, owner.device)

    def guess(many: int) -> None:
        for _ in range(many):
            asked = attacker.open(ANNA, stolen)
            if asked is not None and asked.device_id is not None:
                attacker.guess(asked)

    with attacker.ledger.watching():
        for _ in range(10):
            guess(a_day)
            asked = attacker.open(ANNA, devices.token(patient, owner.device))
            assert asked is not None
            came = attacker.prove(asked)
            assert came is not None
            owner = came
            if steals_daily:
                stolen = devices.token(patient, owner.device)
            guess(a_day)
            clock.shift(DAY)
    if steals_daily:
        assert max(compared(attacker).values()) <= 10
    else:
        assert compared(attacker).total() == min(2 * a_day, 10)
    assert db.session.query(func.max(Device.guesses)).scalar() <= 10


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_parallel_guesses_with_a_copied_token_are_ten_at_most(app: Flask, patient: Settings, clock: Traveller) -> None:
    attacker = Attacker(app, patient, clock)
    stolen = devices.token(patient, sign_in(patient).device)
    opened = [asked for _ in range(15) if (asked := attacker.open(ANNA, stolen)) is not None]
    db.session.remove()
    with attacker.ledger.watching():
        attacker.at_once([lambda asked=asked: attacker.exhaust([asked]) for asked in opened])  # type: ignore[misc]
    assert len(opened) == 15
    assert compared(attacker).total() == 10


# -- the token is rotated -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_the_previous_token_is_known_for_thirty_seconds(patient: Settings, clock: Traveller) -> None:
    """The answer with the new token may have been lost, and another tab may still send the old one."""
    owner = sign_in(patient)
    before = devices.token(patient, owner.device)
    after = devices.token(patient, again(patient, before).device)
    assert after != before
    clock.shift(29)
    assert is_known(patient, before)
    assert is_known(patient, after)
    clock.shift(1)
    assert not is_known(patient, before)
    assert is_known(patient, after)


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_a_second_sign_in_within_the_thirty_seconds_ends_the_first_token(patient: Settings, clock: Traveller) -> None:
    owner = sign_in(patient)
    first = devices.token(patient, owner.device)
    second = devices.token(patient, again(patient, first).device)
    third = devices.token(patient, again(patient, second).device)
    assert [is_known(patient, token) for token in (first, second, third)] == [False, True, True]


@pytest.mark.usefixtures("context")
def test_a_clock_that_was_ahead_does_not_keep_the_previous_token_valid(patient: Settings, clock: Traveller) -> None:
    before = devices.token(patient, sign_in(patient).device)
    clock.shift(5 * 3600)
    after = devices.token(patient, again(patient, before).device)
    clock.shift(-5 * 3600)
    assert [is_known(patient, token) for token in (before, after)] == [False, True]


@pytest.mark.usefixtures("context")
def test_two_tabs_sign_in_one_after_the_other(patient: Settings) -> None:
    """Both ask for a code before either is signed in. Their shared cookie is that of the second sign-in."""
    owner = sign_in(patient)
    asker = showing(devices.token(patient, owner.device))
    one, other = ask(patient, asker=asker), ask(patient, asker=asker)
    confirm(patient, one, right(patient, one))
    last = confirm(patient, other, right(patient, other))
    assert last.device.id == owner.device.id
    assert is_known(patient, devices.token(patient, last.device))


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_codes_asked_for_with_a_copy_count_for_the_same_device_after_its_token_was_rotated(patient: Settings) -> None:
    owner = sign_in(patient)
    stolen = showing(devices.token(patient, owner.device))
    *opened, unused = [ask(patient, asker=stolen) for _ in range(7)]
    owner = again(patient, owner)
    left = 10
    for asked in opened:
        for _ in range(3):
            with pytest.raises(WrongCode) as refused:
                confirm(patient, asked, wrong(patient, asked))
            left -= refused.value.attempts_left > 0 or left in (8, 5, 2)
    assert db.session.get_one(Device, owner.device.id, populate_existing=True).guesses == 10
    assert not is_known(patient, devices.token(patient, owner.device))
    with pytest.raises(NotFound):  # that code cannot be accepted any more, so it is not sent again
        by_code.resend_code(patient, unused.id, HOME)


@pytest.mark.usefixtures("context")
def test_a_device_of_an_older_version_is_known_once_by_its_old_token(patient: Settings, clock: Traveller) -> None:
    """The migration does not change its row; its token has always contained the number 0."""
    owner = sign_in(patient)
    row = db.session.get_one(Device, owner.device.id, populate_existing=True)
    assert (row.turns, row.turned_at) == (0, None)
    old = devices.token(patient, owner.device)
    clock.shift(300 * DAY)
    assert again(patient, old).device.id == owner.device.id
    clock.shift(30)
    assert not is_known(patient, old)


@pytest.mark.requirement("THR-06")
def test_api_and_pages_give_the_rotated_token(app: Flask, clock: Traveller) -> None:
    program = Program(app)
    program.sign_in(ANNA)
    browser = Browser(app)
    browser.sign_in(BORIS)

    def cookie() -> str:
        kept = browser.client.get_cookie("hammer_device")
        assert kept is not None
        return kept.value

    for turn in (1, 2):
        clock.shift(3600)
        body = {"telephone_number": ANNA, "device_token": program.tokens["device_token"]}
        asked = program.result("POST", "/auth/signup/", body)
        with app.app_context():
            code = right(app.config["SETTINGS"], db.session.get_one(Verification, asked["verification_id"]))
        program.tokens = program.result("POST", "/auth/code/", {"verification_id": asked["verification_id"], "code": code})
        browser.sign_out()
        browser.sign_in(BORIS)
        assert [token.split(".")[1] for token in (program.tokens["device_token"], cookie())] == [str(turn)] * 2
    with app.app_context():
        assert db.session.query(Device).count() == 2


# -- a device is ended ----------------------------------------------------------------------------------------------------------


def _end(settings: Settings, mine: SignedIn, theirs: SignedIn) -> None:
    sessions.end(mine.user.id, theirs.session.id, asked_in=mine.session.id)


def _end_others(settings: Settings, mine: SignedIn, theirs: SignedIn) -> None:
    sessions.end_others(mine.user.id, mine.session.id)


def _change_number(settings: Settings, mine: SignedIn, theirs: SignedIn) -> None:
    asked = accounts.ask_number(settings, mine.user.id, mine.session.id, BORIS, HOME).verification
    code = right(settings, asked)
    accounts.change_number(settings, mine.user.id, mine.session.id, asked.id, code, end_other_sessions=True)


ENDINGS: dict[str, tuple[Callable[[Settings, SignedIn, SignedIn], None], str]] = {
    "its session in the list": (_end, ANNA),
    "all others": (_end_others, ANNA),
    "all others with a change of number": (_change_number, BORIS),
}


@pytest.mark.parametrize("how", ENDINGS)
@pytest.mark.requirement("THR-06", "SES-06")
@pytest.mark.usefixtures("context")
def test_ending_a_device_forgets_it_and_voids_the_codes_that_it_asked_for(patient: Settings, how: str) -> None:
    end_device, number = ENDINGS[how]
    theirs = sign_in(patient)
    stolen = devices.token(patient, theirs.device)
    mine = sign_in(patient, kind=SessionKind.BROWSER)
    pending = ask(patient, asker=showing(stolen))

    end_device(patient, mine, theirs)

    assert not is_known(patient, stolen, number)
    assert is_known(patient, devices.token(patient, mine.device), number)
    with pytest.raises(WrongCode):
        confirm(patient, pending, right(patient, pending))
    with pytest.raises(NotFound):
        by_code.resend_code(patient, pending.id, HOME)


@pytest.mark.usefixtures("context")
def test_a_taken_number_forgets_no_device(patient: Settings) -> None:
    mine, theirs = sign_in(patient), sign_in(patient)
    sign_in(patient, BORIS)
    with pytest.raises(Exception, match="telephone-number-taken"):
        _change_number(patient, mine, theirs)
    assert is_known(patient, devices.token(patient, theirs.device))


@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_ending_all_others_also_forgets_devices_whose_sessions_ended_long_ago(patient: Settings, clock: Traveller) -> None:
    stolen = devices.token(patient, sign_in(patient).device)
    clock.shift(40 * DAY)
    mine = sign_in(patient)
    sessions.end_others(mine.user.id, mine.session.id)
    assert not is_known(patient, stolen)


@pytest.mark.usefixtures("context")
def test_signing_out_leaves_the_device_known(patient: Settings) -> None:
    mine = sign_in(patient)
    sessions.sign_out(mine.user.id, mine.session.id)
    assert is_known(patient, devices.token(patient, mine.device))


@pytest.mark.usefixtures("context")
def test_ending_an_older_session_of_the_same_device_leaves_it_known(patient: Settings, clock: Traveller) -> None:
    older = sign_in(patient)
    clock.shift(60)
    mine = again(patient, older)
    assert mine.device.id == older.device.id
    sessions.end(mine.user.id, older.session.id, asked_in=mine.session.id)
    assert is_known(patient, devices.token(patient, mine.device))
    sessions.end_others(mine.user.id, mine.session.id)
    assert is_known(patient, devices.token(patient, mine.device))


@pytest.mark.parametrize("seconds", [60, -5])
@pytest.mark.parametrize("end_device", [_end, _end_others])
@pytest.mark.requirement("THR-06")
@pytest.mark.usefixtures("context")
def test_a_device_whose_token_a_thief_has_rotated_is_forgotten_with_the_thiefs_session(
    patient: Settings, clock: Traveller, end_device: Callable[[Settings, SignedIn, SignedIn], None], seconds: int
) -> None:
    """A thief with a copy of a token guessed right, at a server whose clock may be behind, so the valid token is the thief's."""
    mine = sign_in(patient)
    clock.shift(seconds)
    theirs = again(patient, mine)
    end_device(patient, mine, theirs)
    assert not is_known(patient, devices.token(patient, theirs.device))


@pytest.mark.requirement("AZN-01")
@pytest.mark.usefixtures("context")
def test_users_cannot_end_devices_of_others(patient: Settings) -> None:
    anna, boris = sign_in(patient, ANNA), sign_in(patient, BORIS)
    with pytest.raises(NotFound):
        sessions.end(anna.user.id, boris.session.id, asked_in=anna.session.id)
    sessions.end_others(anna.user.id, anna.session.id)
    assert is_known(patient, devices.token(patient, boris.device), BORIS)


@pytest.mark.requirement("TOK-04", "THR-06")
@pytest.mark.usefixtures("context")
def test_a_stolen_refresh_token_ends_the_device_as_well(patient: Settings, clock: Traveller) -> None:
    mine = sign_in(patient)
    stolen = sessions.refresh_token(patient, mine.session)
    sessions.refresh(patient, stolen)
    clock.shift(31)
    with pytest.raises(NotSignedIn):
        sessions.refresh(patient, stolen)
    assert not is_known(patient, devices.token(patient, mine.device))
    assert db.session.query(Event).filter_by(kind=events.Kind.REFRESH_REUSED).count() == 1


@pytest.mark.usefixtures("context")
def test_sessions_of_an_older_version_end_without_a_device(patient: Settings) -> None:
    """They have no device id. Ending all others therefore forgets every device, the user's own included."""
    mine, theirs = sign_in(patient), sign_in(patient)
    with transaction() as tx:
        tx.query(Session).update({"device_id": None})
    sessions.end(mine.user.id, theirs.session.id, asked_in=mine.session.id)
    assert is_known(patient, devices.token(patient, theirs.device))
    sessions.end_others(mine.user.id, mine.session.id)
    assert not is_known(patient, devices.token(patient, mine.device))


@pytest.mark.requirement("THR-06", "SES-06")
def test_api_and_pages_forget_a_device_that_is_ended_in_the_list(app: Flask) -> None:
    stolen, browser, program = Program(app), Browser(app), Program(app)
    for person in (stolen, browser, program):
        person.sign_in(ANNA)

    def known() -> int:
        with app.app_context():
            return db.session.query(Device).count()

    ids = {row["device_id"] for row in stolen.result("GET", "/users/me/export/")["sessions"]}
    assert len(ids) == known() == 3
    [theirs] = [row["id"] for row in stolen.result("GET", "/auth/sessions/") if row["current"]]
    assert program.call("DELETE", f"/auth/sessions/{theirs}/").status_code == 204
    assert known() == 2
    page = browser.get("/profile/")
    form = page.form_with("csrf_token")
    assert form is not None
    [other] = [row["id"] for row in program.result("GET", "/auth/sessions/") if row["current"]]
    browser.client.post(f"/profile/sessions/{other}/", data={"csrf_token": form.fields["csrf_token"]})
    assert known() == 1
    program.tokens = {}
    program.sign_in(ANNA)
    browser.client.post("/profile/sessions/", data={"csrf_token": form.fields["csrf_token"]})
    assert known() == 1
    browser.sign_out()
    assert known() == 1


# -- any order of events --------------------------------------------------------------------------------------------------------


@dataclass
class Known:
    """The expected state of one device."""

    turns: int = 0
    turned_at: datetime = START - timedelta(days=1)
    wrong: int = 0
    forgotten: bool = False


class Devices(Machine):
    """An owner who signs in, mistypes, loses answers and ends devices; and a thief with a copy of every token."""

    @initialize()
    def open_everything(self) -> None:
        self.begin(START)
        self.devices: dict[str, Known] = {}
        self.tokens: list[tuple[str, int, str]] = []
        self.asked: list[Verification] = []
        self.came: list[SignedIn] = []
        self._arrive(sign_in(self.settings))
        self.clock.shift(timedelta(milliseconds=1))  # no two sign-ins are at the same moment

    def _arrive(self, came: SignedIn) -> None:
        device = self.devices.setdefault(came.device.id, Known())
        assert (came.device.turns, came.device.guesses) == (device.turns, device.wrong)
        self.tokens.append((came.device.id, device.turns, devices.token(self.settings, came.device)))
        self.came.append(came)

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        device_id, turn, token = data.draw(st.sampled_from(self.tokens))
        device, now = self.devices[device_id], datetime.now(UTC)
        before = device.turns == turn + 1 and now < device.turned_at + timedelta(seconds=30)
        known = not device.forgotten and device.wrong < 10 and (device.turns == turn or before)
        asked = ask(self.settings, asker=showing(token))
        assert asked.device_id == (device_id if known else None)
        self.asked.append(asked)

    @precondition(lambda self: any(v.device_id for v in self.asked))
    @rule(data=st.data())
    def guess(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from([v for v in self.asked if v.device_id]))
        stored = db.session.get_one(Verification, asked.id, populate_existing=True)
        is_open = stored.guesses < 3 and stored.consumed_at is None and datetime.now(UTC) < stored.expires_at
        device = self.devices[str(asked.device_id)]
        with pytest.raises(WrongCode):
            confirm(self.settings, asked, wrong(self.settings, asked))
        device.wrong += is_open and not device.forgotten and device.wrong < 10

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def sign_in(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(self.asked))
        stored = db.session.get_one(Verification, asked.id, populate_existing=True)
        is_open = stored.guesses < 3 and stored.consumed_at is None and datetime.now(UTC) < stored.expires_at
        device = self.devices[asked.device_id] if asked.device_id else None
        if not is_open or (device is not None and (device.forgotten or device.wrong >= 10)):
            with pytest.raises(WrongCode):
                confirm(self.settings, asked, right(self.settings, asked))
            return
        if device is not None:
            device.turns, device.turned_at = device.turns + 1, datetime.now(UTC)
        self._arrive(confirm(self.settings, asked, right(self.settings, asked)))
        self.clock.shift(timedelta(milliseconds=1))  # no two sign-ins are at the same moment

    @rule(data=st.data(), all_others=st.booleans())
    def end(self, data: st.DataObject, all_others: bool) -> None:
        mine, theirs = data.draw(st.sampled_from(self.came)), data.draw(st.sampled_from(self.came))
        my_own = self.devices[mine.device.id].turns == mine.device.turns
        if all_others:
            sessions.end_others(mine.user.id, mine.session.id)
            meant = set(self.devices)
        else:
            try:
                sessions.end(mine.user.id, theirs.session.id, asked_in=mine.session.id)
            except NotFound:
                return
            meant = {theirs.device.id}
        for device_id in meant - ({mine.device.id} if my_own and (all_others or mine is not theirs) else set()):
            self.devices[device_id].forgotten = True

    @rule(seconds=st.sampled_from([1, 29, 30, 31, 299, 300, 3600, 86_400]))
    def wait(self, seconds: int) -> None:
        self.clock.shift(timedelta(seconds=seconds))

    @invariant()
    def what_is_stored_is_what_happened(self) -> None:
        if not hasattr(self, "came"):
            return
        db.session.rollback()
        stored = {row.id: row for row in db.session.query(Device).populate_existing()}
        assert set(stored) == {device_id for device_id, device in self.devices.items() if not device.forgotten}
        assert all(device.wrong <= 10 for device in self.devices.values())
        for device_id, row in stored.items():
            assert (row.turns, row.guesses) == (self.devices[device_id].turns, self.devices[device_id].wrong)


@pytest.mark.hypothesis
@pytest.mark.requirement("THR-06")
def test_no_device_gets_more_than_ten_wrong_guesses_in_any_order_of_events(app: Flask, patient: Settings) -> None:
    class Played(Devices):
        pass

    Played.app = app
    Played.settings = replace(patient, sends_per_prefix_hour=10_000, sends_per_number_day=10_000)
    run_state_machine_as_test(Played, settings=played(max_examples=examples(40), stateful_step_count=40))
