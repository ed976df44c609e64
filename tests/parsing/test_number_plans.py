"""When a numbering plan changes, no account is lost: `users move`, `users unreadable`, and the report of `doctor`."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import insert, select, update
from time_machine import Traveller

from config import Settings
from hammer import codes, events
from hammer.clock import now
from hammer.db.database import db, transaction
from hammer.invites import tombstones
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.models import Device, Event, User, Verification
from hammer.operations import doctor
from hammer.refusals import AlreadyActivated, InvalidFields, NotFound, RegionNotServed, TelephoneNumberTaken, WrongCode
from hammer.sessions import sessions
from hammer.sms import gateways
from hammer.users import accounts, people
from tests import delivery
from tests.actions import ANNA, BORIS, HOME, activate, ask, chain, confirm, right, sign_in, user
from tests.people import Browser
from tests.serving import at_once

OLD, NEW = "+22997123456", "+2290197123456"
"""The number of one telephone in Benin, before and after the end of 2024."""
in_context = pytest.mark.usefixtures("context")
Run = Callable[..., Result]


@pytest.fixture
def run(app: Flask) -> Run:
    return lambda *words, typed=None: app.test_cli_runner().invoke(args=words, input=typed)


@pytest.fixture
def owner(app: Flask, settings: Settings) -> SignedIn:
    """A user who signed up with `OLD` while it was a valid number."""
    with app.app_context():
        return sign_in(old_plan(settings), OLD)


def old_plan(settings: Settings) -> Settings:
    return replace(settings, extra_ranges=("+2299xxxxxxx",))


def many(n: int) -> None:
    """Creates n users. One in ten has a number of Benin's old plan."""
    rows = [
        {
            "id": codes.random_id(),
            "telephone_number": f"+2299{place:07d}" if place % 10 == 0 else f"+7929{place:07d}",
            "invite_code": f"{place:06d}",
            "date_joined": now(),
        }
        for place in range(n)
    ]
    with transaction() as session:
        session.execute(insert(User), rows)


def move(settings: Settings, user_id: str, number: str = NEW, *, end_sessions: bool = False) -> None:
    accounts.move(settings, user_id, number, language="en", end_sessions=end_sessions)


# The rule


@in_context
def test_an_account_keeps_all_its_data_with_the_new_number(settings: Settings, owner: SignedIn) -> None:
    before = people.profile(settings, owner.user.id)

    move(settings, owner.user.id)

    assert people.profile(settings, owner.user.id) == replace(before, telephone_number=NEW)
    again = sign_in(settings, NEW)
    assert (again.user.id, again.created) == (owner.user.id, False)


@in_context
def test_the_old_number_is_notified_and_the_event_log_says_so(
    settings: Settings, owner: SignedIn, memory: list[gateways.Sent]
) -> None:
    move(settings, owner.user.id)
    delivery.deliver(settings)

    assert memory[-1].telephone_number == OLD
    assert "another number opens your account now" in memory[-1].text
    noted = db.session.scalars(select(Event).where(Event.user_id == owner.user.id).order_by(Event.id.desc())).first()
    assert noted is not None
    assert (noted.kind, noted.actor_id) == (events.Kind.NUMBER_CHANGED, None)


@in_context
def test_sessions_stay_unless_they_are_ended_too(settings: Settings, owner: SignedIn) -> None:
    move(settings, owner.user.id)
    assert len(sessions.devices(owner.user.id)) == 1

    move(settings, owner.user.id, ANNA, end_sessions=True)
    assert sessions.devices(owner.user.id) == []


@in_context
def test_pending_codes_and_known_devices_of_the_old_number_are_deleted(settings: Settings, owner: SignedIn) -> None:
    old = old_plan(settings)
    to_old = ask(replace(old, resend_wait=timedelta(0)), OLD)
    to_another = accounts.ask_number(settings, owner.user.id, owner.session.id, ANNA, HOME).verification

    move(settings, owner.user.id)

    db.session.expire_all()
    assert db.session.query(Verification).count() == 0
    assert db.session.query(Device).where(Device.user_id == owner.user.id).count() == 0
    with pytest.raises(WrongCode):
        confirm(settings, to_old, right(settings, to_old))
    with pytest.raises(WrongCode):
        accounts.change_number(settings, owner.user.id, owner.session.id, to_another.id, right(settings, to_another))


@in_context
def test_an_abandoned_number_activates_no_second_invite(settings: Settings) -> None:
    anna, boris = chain(settings, 2)
    left = people.profile(settings, boris.id).telephone_number

    move(settings, boris.id)

    with transaction() as session:
        assert tombstones.is_marked(session, settings, left, now())
    again = user(settings, left)
    with pytest.raises(AlreadyActivated):
        activate(settings, again.id, anna.invite_code)


@in_context
def test_a_number_that_is_taken_or_cannot_sign_up_is_refused(settings: Settings, owner: SignedIn) -> None:
    user(settings, ANNA)

    with pytest.raises(TelephoneNumberTaken):
        move(settings, owner.user.id, ANNA)
    with pytest.raises(InvalidFields):
        move(settings, owner.user.id, "+22997123457")
    with pytest.raises(RegionNotServed):
        move(settings, owner.user.id, "+870 773 111 632")
    with pytest.raises(NotFound):
        move(settings, "A" * 22)

    assert people.profile(settings, owner.user.id).telephone_number == OLD
    assert db.session.query(Device).where(Device.user_id == owner.user.id).count() == 1


def test_of_many_users_moved_to_one_number_in_parallel_one_gets_it(app: Flask, settings: Settings) -> None:
    with app.app_context():
        ids = [user(settings, f"+7929111000{n}").id for n in range(5)]

    def go(n: int) -> str:
        with app.app_context():
            try:
                move(settings, ids[n])
            except TelephoneNumberTaken:
                return "taken"
            return "moved"

    assert sorted(at_once([lambda n=n: go(n) for n in range(5)])) == ["moved", *["taken"] * 4]  # type: ignore[misc]


def test_a_login_by_the_old_number_at_the_same_moment_never_leaves_two_accounts_with_one_number(
    app: Flask, settings: Settings
) -> None:
    for _ in range(5):
        with app.app_context():
            number = f"+7929222{db.session.query(User).count():04d}"
            them = user(settings, number)
            asked = ask(settings, number)
            code = right(settings, asked)

        def enter(asked: Verification = asked, code: str = code) -> str:
            with app.app_context():
                try:
                    return confirm(settings, asked, code).user.id
                except WrongCode:
                    return "refused"

        def leave(user_id: str = them.id, new: str = f"+7929333{number[-4:]}") -> str:
            with app.app_context():
                move(settings, user_id, new)
                return "moved"

        calls: list[Callable[[], str]] = [enter, leave]
        entered, moved = at_once(calls)

        assert moved == "moved"
        with app.app_context():
            if entered in (them.id, "refused"):
                assert people.profile(settings, them.id).telephone_number == f"+7929333{number[-4:]}"
                assert db.session.scalar(select(User.id).where(User.telephone_number == number)) is None
            else:  # the number was moved before the login looked for its user: it was free, so the login created a user
                assert db.session.scalar(select(User.id).where(User.telephone_number == number)) == entered


# Before the number is moved


def test_a_signed_in_user_with_a_number_of_an_old_plan_gets_codes_for_it(
    app: Flask, settings: Settings, browser: Browser, memory: list[gateways.Sent], clock: Traveller
) -> None:
    """Otherwise they could neither change their number nor delete their account."""
    browser.sign_in(ANNA)
    with app.app_context(), transaction() as session:
        session.execute(update(User).values(telephone_number=OLD))
    clock.shift(timedelta(minutes=10))

    form = next(form for form in browser.get("/profile/delete/").forms if form.action.startswith("/profile/proof/send"))
    code_form = browser.send(form).form_with("code")
    assert code_form is not None
    with app.app_context():
        code = delivery.code_for(settings, OLD)
    browser.send(code_form, code=code)

    assert memory[-1].telephone_number == OLD
    assert browser.at == "/profile/delete/"


@in_context
def test_a_stored_number_gets_codes_whatever_its_plan_says(settings: Settings, owner: SignedIn) -> None:
    sent = by_code.send_code_to_stored(settings, OLD, HOME)
    assert confirm(settings, sent.verification, right(settings, sent.verification)).user.id == owner.user.id


@pytest.mark.parametrize("typed", [OLD, "+229 97-12-34-56", "00229 97123456", "+229 97 12 34 56 (Иван)", "tel:+22997123456"])
def test_staff_find_a_number_of_an_old_plan_in_any_spelling(
    run: Run, app: Flask, settings: Settings, owner: SignedIn, typed: str
) -> None:
    with app.app_context():
        assert people.find(settings, typed) == owner.user.id
        assert [found.telephone_number for found in people.everyone(settings, q=typed).items] == [OLD]
    assert "+229 97123456" in run("users", "show", typed).stdout


@in_context
def test_a_number_is_found_digit_for_digit_before_its_normalised_form(settings: Settings) -> None:
    """Mexico removed the `1` from its numbers: the two forms may belong to two people."""
    before = accounts.create(replace(settings, extra_ranges=("+521xxxxxxxxxx",)), "+52 1 55 1234 5678", {})
    today = accounts.create(settings, "+52 55 1234 5678", {})

    assert people.find(settings, "+52 1 55 1234 5678") == before
    assert people.find(settings, "+52 55 1234 5678") == today


# The commands


def test_move_reports_what_it_did(run: Run, owner: SignedIn) -> None:
    result = run("users", "move", "+229 97 12 34 56", "+229 01 97 12 34 56", "--yes")

    assert result.exit_code == 0, result.output
    assert f"{NEW} is the number of {OLD} now" in result.stdout
    assert "They stay signed in" in result.stdout
    assert run("users", "show", NEW).exit_code == 0
    assert "no user" in run("users", "show", OLD).stderr


def test_move_asks_first_and_may_sign_out(run: Run, owner: SignedIn) -> None:
    asked = run("users", "move", OLD, NEW, typed="n\n")
    assert "Aborted" in asked.output
    assert run("users", "show", OLD).exit_code == 0

    result = run("users", "move", OLD, NEW, "--sign-out", typed="y\n")
    assert "stay signed in" not in result.stdout
    assert "Signed in nowhere" in run("users", "show", NEW).stdout


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (OLD, "is too short"),
        (ANNA, f"There is a user with {ANNA} already"),
        ("447911123456", "begin with a plus"),
        ("+74951234567", "cannot send texts"),
    ],
)
def test_move_reports_an_error_in_one_line(run: Run, app: Flask, settings: Settings, owner: SignedIn, new: str, why: str) -> None:
    with app.app_context():
        user(settings, ANNA)

    result = run("users", "move", OLD, new, "--yes")

    assert result.exit_code == 1
    assert why in result.stderr
    assert "There is no user" in run("users", "move", "+229 97 00 00 00", NEW).stderr
    assert "already" in run("users", "move", ANNA, ANNA).stderr


def test_the_notice_is_in_a_language_of_the_numbers_country(
    run: Run, app: Flask, settings: Settings, memory: list[gateways.Sent]
) -> None:
    with app.app_context():
        user(settings, ANNA)
    run("users", "move", ANNA, BORIS, "--yes")
    run("users", "move", BORIS, NEW, "--yes", "--language", "en")
    run("users", "move", NEW, ANNA, "--yes")
    with app.app_context():
        delivery.deliver(settings)

    russian, chosen, english = memory[-3:]
    assert "another number" not in russian.text
    assert "another number" in chosen.text
    assert "another number" in english.text  # the language of Benin is French, which is not supported


def test_unreadable_lists_numbers_that_are_not_valid_any_more(run: Run, app: Flask, settings: Settings) -> None:
    with app.app_context():
        many(40)

    result, whole = run("users", "unreadable"), run("users", "unreadable", "--full")

    assert len(result.stdout.splitlines()) == 4
    assert result.stdout.startswith("+2········00 ")
    assert "+2299" not in result.stdout
    assert [line.split()[0] for line in whole.stdout.splitlines()] == [f"+2299{place:07d}" for place in range(0, 40, 10)]
    assert "+229 and 8 digits: 4" in result.stderr
    assert "4 of 40 stored numbers are no mobile numbers any more." in result.stderr


@in_context
def test_every_stored_number_is_checked_once_in_many_batches(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    many(25)
    monkeypatch.setattr(people, "_BATCH", 5)

    seen = list(people.unreadable(settings))

    assert len(seen) == 25
    assert [found.telephone_number for found in seen if found] == [f"+2299{place:07d}" for place in (0, 10, 20)]


def test_doctor_reports_how_many_numbers_cannot_sign_in(app: Flask, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> str:
        with app.app_context():
            [finding] = [finding for finding in doctor.examine(settings) if finding.part == "numbers"]
            return f"{finding.state}: {finding.how} {finding.remedy}"

    assert said().startswith("fine: of 0 that are stored none")
    with app.app_context():
        many(30)
    assert said().startswith("advice: 3 of 30 that are stored are no mobile numbers any more")
    assert "users unreadable" in said()
    monkeypatch.setattr(doctor, "NUMBERS_SEEN", 28)  # of 30, so that at least one of the three is drawn
    assert " of 28 that are stored, taken at random, are" in said()
