"""The guarantees of a session, its cookie and its refresh tokens."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from flask import current_app
from sqlalchemy import text
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db import database
from hammer.db.database import db
from hammer.login import by_code
from hammer.models import Event, Session, SessionKind
from hammer.refusals import NotFound, NotSignedIn
from hammer.sessions import sessions
from hammer.users import accounts, people
from tests.actions import ANNA, BORIS, HOME, ask, everything_stored, right, sign_in

pytestmark = pytest.mark.usefixtures("context")

HOUR = 3600
DAY = 24 * HOUR


def is_live(session_id: str, kind: SessionKind = SessionKind.PROGRAM) -> bool:
    return sessions.caller(session_id, kind) is not None


def noted(kind: events.Kind) -> list[str | None]:
    """The subjects of the events of this kind."""
    return list(db.session.scalars(db.select(Event.user_id).where(Event.kind == kind)))


def test_a_session_says_who_is_calling(settings: Settings) -> None:
    signed_in = sign_in(settings)
    assert sessions.caller(signed_in.session.id, SessionKind.PROGRAM) == sessions.Caller(
        signed_in.user.id, signed_in.session.id, False
    )


@pytest.mark.requirement("SES-01", "TOK-06")
def test_a_session_is_invalid_as_soon_as_it_is_ended(settings: Settings) -> None:
    signed_in = sign_in(settings)
    token = sessions.refresh_token(settings, signed_in.session)
    sessions.end(signed_in.user.id, signed_in.session.id)
    assert not is_live(signed_in.session.id)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, token)


@pytest.mark.parametrize(("kind", "days"), [(SessionKind.BROWSER, 14), (SessionKind.PROGRAM, 30)])
@pytest.mark.requirement("SES-04")
def test_a_session_ends_however_much_it_is_used(settings: Settings, clock: Traveller, kind: SessionKind, days: int) -> None:
    session = sign_in(settings, kind=kind).session
    for _ in range(days - 1):
        clock.shift(DAY)
        assert is_live(session.id, kind)
    clock.shift(DAY - 1)
    assert is_live(session.id, kind)
    clock.shift(1)
    assert not is_live(session.id, kind)


@pytest.mark.parametrize(("kind", "days"), [(SessionKind.BROWSER, 3), (SessionKind.PROGRAM, 14)])
@pytest.mark.requirement("SES-04", "TOK-05")
def test_a_session_ends_when_it_is_not_used(settings: Settings, clock: Traveller, kind: SessionKind, days: int) -> None:
    signed_in = sign_in(settings, kind=kind)
    clock.shift(days * DAY - 1)
    assert [device.id for device in sessions.devices(signed_in.user.id)] == [signed_in.session.id]
    clock.shift(1)
    assert sessions.devices(signed_in.user.id) == []
    assert not is_live(signed_in.session.id, kind)
    with pytest.raises(NotFound):
        sessions.end(signed_in.user.id, signed_in.session.id)


@pytest.mark.parametrize(("kind", "days"), [(SessionKind.BROWSER, 3), (SessionKind.PROGRAM, 14)])
@pytest.mark.requirement("SES-04")
def test_use_extends_a_session_up_to_its_maximum_age(settings: Settings, clock: Traveller, kind: SessionKind, days: int) -> None:
    """The time of the last use is stored to within an hour: a session ends at most an hour early, and never late."""
    session = sign_in(settings, kind=kind).session
    clock.shift(2 * DAY)
    assert is_live(session.id, kind)
    clock.shift(HOUR - 1)
    assert is_live(session.id, kind)  # the use is not stored this time
    clock.shift(days * DAY - HOUR)
    assert is_live(session.id, kind)
    clock.shift(days * DAY)
    assert not is_live(session.id, kind)


@pytest.mark.requirement("TOK-05")
def test_an_unused_refresh_token_is_invalid_after_fourteen_days(settings: Settings, clock: Traveller) -> None:
    session = sign_in(settings).session
    clock.shift(14 * DAY - 1)
    session = sessions.refresh(settings, sessions.refresh_token(settings, session))
    token = sessions.refresh_token(settings, session)
    clock.shift(14 * DAY)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, token)


@pytest.mark.requirement("TOK-05")
def test_refreshing_does_not_make_a_session_live_longer(settings: Settings, clock: Traveller) -> None:
    session = sign_in(settings).session
    for days in (13, 13, 3):
        clock.shift(days * DAY)
        session = sessions.refresh(settings, sessions.refresh_token(settings, session))
    token = sessions.refresh_token(settings, session)
    clock.shift(DAY)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, token)


def test_finding_the_caller_is_one_statement_and_once_an_hour_another(
    settings: Settings, clock: Traveller, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    session_id = sign_in(settings).session.id
    for shift, writes in ((HOUR - 1, []), (1, ["UPDATE"]), (HOUR - 1, []), (1, ["UPDATE"])):
        clock.shift(shift)
        for expected in (writes, []):
            with statements() as seen:
                assert is_live(session_id)
            assert [sql.split()[0] for sql in seen if not sql.startswith("begin")] == ["SELECT", *expected]


def test_sessions_are_valid_while_the_database_cannot_write(
    settings: Settings, clock: Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sign_in(settings).session
    clock.shift(HOUR)
    monkeypatch.setattr(database, "_SQLITE_WAIT_SECONDS", 0.01)
    with database.transaction() as tx, ThreadPoolExecutor() as elsewhere:
        tx.get_one(Session, session.id, with_for_update=True)
        app = current_app._get_current_object()  # type: ignore[attr-defined]

        def ask() -> bool:
            with app.app_context():
                db.session.execute(text("set lock_timeout = 10")) if db.engine.dialect.name == "postgresql" else None
                return is_live(session.id)

        assert elsewhere.submit(ask).result(timeout=30)


@pytest.mark.requirement("SES-06")
def test_devices_show_when_they_were_last_used(settings: Settings, clock: Traveller) -> None:
    signed_in = sign_in(settings)
    clock.shift(2 * HOUR)
    assert is_live(signed_in.session.id)
    [device] = sessions.devices(signed_in.user.id)
    assert (device.device, device.seen_at - device.created_at) == ("Firefox", timedelta(hours=2))


@pytest.mark.requirement("TOK-02")
def test_browser_and_program_sessions_do_not_accept_each_others_credentials(settings: Settings) -> None:
    browser, program = sign_in(settings, kind=SessionKind.BROWSER).session, sign_in(settings, kind=SessionKind.PROGRAM).session
    cookie, token = sessions.cookie(settings, browser), sessions.refresh_token(settings, program)
    assert sessions.by_cookie(settings, cookie) is not None
    assert sessions.by_cookie(settings, token) is None
    assert sessions.by_cookie(settings, sessions.cookie(settings, program)) is None
    assert not is_live(browser.id, SessionKind.PROGRAM)
    assert not is_live(program.id, SessionKind.BROWSER)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, cookie)
    assert is_live(browser.id, SessionKind.BROWSER)


def test_a_refresh_token_is_exchanged_for_another(settings: Settings) -> None:
    session = sign_in(settings).session
    first = sessions.refresh_token(settings, session)
    second = sessions.refresh_token(settings, sessions.refresh(settings, first))
    third = sessions.refresh_token(settings, sessions.refresh(settings, second))
    assert len({first, second, third}) == 3
    assert is_live(session.id)


@pytest.mark.requirement("TOK-04")
def test_a_lost_answer_is_given_again_for_thirty_seconds(settings: Settings, clock: Traveller) -> None:
    session = sign_in(settings).session
    spent = sessions.refresh_token(settings, session)
    successor = sessions.refresh_token(settings, sessions.refresh(settings, spent))
    for _ in range(2):
        clock.shift(14)
        assert sessions.refresh_token(settings, sessions.refresh(settings, spent)) == successor
    clock.shift(1)
    assert sessions.refresh_token(settings, sessions.refresh(settings, spent)) == successor
    assert is_live(session.id)


@pytest.mark.requirement("TOK-04")
def test_the_thirty_seconds_do_not_restart_when_they_are_used(settings: Settings, clock: Traveller) -> None:
    session = sign_in(settings).session
    spent = sessions.refresh_token(settings, session)
    sessions.refresh(settings, spent)
    clock.shift(20)
    sessions.refresh(settings, spent)
    clock.shift(11)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, spent)
    assert not is_live(session.id)


@pytest.mark.requirement("TOK-04")
def test_a_late_use_of_a_used_refresh_token_ends_the_session(settings: Settings, clock: Traveller) -> None:
    session = sign_in(settings).session
    spent = sessions.refresh_token(settings, session)
    successor = sessions.refresh_token(settings, sessions.refresh(settings, spent))
    clock.shift(31)
    for shown in (spent, successor):
        with pytest.raises(NotSignedIn):
            sessions.refresh(settings, shown)
    assert not is_live(session.id)
    assert noted(events.Kind.REFRESH_REUSED) == [session.user_id]


@pytest.mark.requirement("TOK-04")
def test_a_used_refresh_token_ends_the_session_after_its_successor_was_used(settings: Settings) -> None:
    session = sign_in(settings).session
    spent = sessions.refresh_token(settings, session)
    second = sessions.refresh_token(settings, sessions.refresh(settings, spent))
    sessions.refresh(settings, second)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, spent)
    assert not is_live(session.id)


@pytest.mark.requirement("TOK-04", "LOG-01")
def test_a_used_refresh_token_ends_the_session_after_an_access_token_of_the_answer_was_used(settings: Settings) -> None:
    session = sign_in(settings).session
    spent = sessions.refresh_token(settings, session)
    sessions.refresh(settings, spent)
    assert sessions.caller(session.id, SessionKind.PROGRAM, issued_at_refresh=1) is not None
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, spent)
    assert not is_live(session.id)
    assert noted(events.Kind.REFRESH_REUSED) == [session.user_id]


@pytest.mark.parametrize("older", [0, None])
@pytest.mark.requirement("TOK-04")
def test_an_older_access_token_does_not_show_that_the_answer_arrived(settings: Settings, older: int | None) -> None:
    """A program whose answer was lost uses one. A token of an older version of Hammer contains no count of refreshes."""
    session = sign_in(settings).session
    spent = sessions.refresh_token(settings, session)
    successor = sessions.refresh_token(settings, sessions.refresh(settings, spent))
    assert sessions.caller(session.id, SessionKind.PROGRAM, issued_at_refresh=older) is not None
    assert sessions.refresh_token(settings, sessions.refresh(settings, spent)) == successor


@pytest.mark.requirement("TOK-04")
def test_the_arrival_of_one_answer_does_not_count_for_the_next(settings: Settings) -> None:
    session = sign_in(settings).session
    for number in (1, 2, 3):
        spent = sessions.refresh_token(settings, session)
        session = sessions.refresh(settings, spent)
        assert sessions.refresh(settings, spent).refreshes == number
        assert sessions.caller(session.id, SessionKind.PROGRAM, issued_at_refresh=number) is not None
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, spent)


def test_the_arrival_of_an_answer_is_stored_once_and_only_while_it_matters(
    settings: Settings, clock: Traveller, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    session = sign_in(settings).session

    def writes(number: int) -> list[str]:
        with statements() as seen:
            assert sessions.caller(session.id, SessionKind.PROGRAM, issued_at_refresh=number) is not None
        return [sql.split()[0] for sql in seen if not sql.startswith("begin")][1:]

    assert writes(0) == []
    session = sessions.refresh(settings, sessions.refresh_token(settings, session))
    assert [writes(0), writes(1), writes(1)] == [[], ["UPDATE"], []]
    session = sessions.refresh(settings, sessions.refresh_token(settings, session))
    clock.shift(30)
    assert [writes(1), writes(2)] == [[], []]


@pytest.mark.requirement("TOK-04")
def test_a_clock_that_was_ahead_does_not_lengthen_the_thirty_seconds(settings: Settings, clock: Traveller) -> None:
    session = sign_in(settings).session
    spent = sessions.refresh_token(settings, session)
    clock.shift(5 * HOUR)
    sessions.refresh(settings, spent)
    clock.shift(-5 * HOUR)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, spent)


FORGERIES: list[Callable[[str], str]] = [
    lambda _: "",
    lambda _: "x",
    lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
    lambda token: token.replace(".0.", ".1."),
    lambda token: token.replace(".0.", ".00."),
    lambda token: "A" * 22 + token[22:],
    lambda token: token + "\n",
    lambda token: token + "\x00",
    lambda token: token * 100,
]


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_forged_refresh_token_neither_works_nor_ends_anything(settings: Settings, forge: Callable[[str], str]) -> None:
    session = sign_in(settings).session
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, forge(sessions.refresh_token(settings, session)))
    assert is_live(session.id)


@pytest.mark.parametrize("forge", FORGERIES)
def test_a_forged_cookie_costs_no_query(
    settings: Settings, forge: Callable[[str], str], statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    session = sign_in(settings, kind=SessionKind.BROWSER).session
    with statements() as seen:
        assert sessions.by_cookie(settings, forge(sessions.cookie(settings, session))) is None
    assert seen == []


@pytest.mark.requirement("TOK-06")
def test_blocking_ends_access_at_once(settings: Settings) -> None:
    signed_in = sign_in(settings)
    token = sessions.refresh_token(settings, signed_in.session)
    accounts.set_blocked(signed_in.user.id, True)
    assert not is_live(signed_in.session.id)
    with pytest.raises(NotSignedIn):
        sessions.refresh(settings, token)
    accounts.set_blocked(signed_in.user.id, False)
    assert not is_live(signed_in.session.id)


def test_staff_permissions_apply_from_the_next_request(settings: Settings) -> None:
    signed_in = sign_in(settings)
    for is_staff in (True, False):
        accounts.set_staff(settings, signed_in.user.id, is_staff)
        caller = sessions.caller(signed_in.session.id, SessionKind.PROGRAM)
        assert caller is not None
        assert caller.is_staff is is_staff


@pytest.mark.requirement("AZN-01")
def test_users_cannot_end_sessions_of_others(settings: Settings) -> None:
    anna, boris = sign_in(settings, ANNA), sign_in(settings, BORIS)
    with pytest.raises(NotFound):
        sessions.end(boris.user.id, anna.session.id)
    assert is_live(anna.session.id)


@pytest.mark.requirement("LOG-01")
def test_a_session_ends_once(settings: Settings) -> None:
    anna = sign_in(settings)
    sessions.end(anna.user.id, anna.session.id)
    with pytest.raises(NotFound):
        sessions.end(anna.user.id, anna.session.id)
    assert noted(events.Kind.SESSION_ENDED) == [anna.user.id]


@pytest.mark.requirement("TOK-06", "SES-06", "LOG-01")
def test_ending_the_others_leaves_this_one_and_other_people(settings: Settings) -> None:
    first, second, third = sign_in(settings), sign_in(settings, kind=SessionKind.BROWSER), sign_in(settings)
    boris = sign_in(settings, BORIS)
    sessions.end_others(first.user.id, second.session.id)
    assert [is_live(first.session.id), is_live(second.session.id, SessionKind.BROWSER), is_live(third.session.id)] == [
        False,
        True,
        False,
    ]
    assert is_live(boris.session.id)
    assert noted(events.Kind.SESSIONS_ENDED) == [first.user.id]


def count_events(kind: events.Kind) -> int:
    return db.session.query(Event).filter_by(kind=kind).count()


def test_each_end_of_a_session_is_recorded_once(settings: Settings) -> None:
    here, there, beyond = sign_in(settings), sign_in(settings), sign_in(settings)
    sessions.end(here.user.id, there.session.id)
    sessions.end_others(here.user.id, here.session.id)
    assert (count_events(events.Kind.SESSION_ENDED), count_events(events.Kind.SESSIONS_ENDED)) == (1, 1)
    sessions.end_others(here.user.id, here.session.id)
    assert (count_events(events.Kind.SESSION_ENDED), count_events(events.Kind.SESSIONS_ENDED)) == (1, 1)
    assert not is_live(beyond.session.id)


def verify_again(settings: Settings, session_id: str) -> None:
    code = right(settings, asked := ask(settings))
    by_code.confirm_code(
        settings, asked.id, code, kind=SessionKind.PROGRAM, device="Firefox", address=HOME.address, instead_of=session_id
    )


def test_a_new_session_replaces_the_old_one(settings: Settings) -> None:
    """Only the sign-in is recorded: no session was ended by a person."""
    old = sign_in(settings)
    verify_again(settings, old.session.id)
    assert not is_live(old.session.id)
    assert len(sessions.devices(old.user.id)) == 1
    assert (
        count_events(events.Kind.SIGNED_IN),
        count_events(events.Kind.SESSION_ENDED),
        count_events(events.Kind.SESSIONS_ENDED),
    ) == (1, 0, 0)


def test_an_ended_session_keeps_the_time_of_its_end(settings: Settings, clock: Traveller) -> None:
    old = sign_in(settings)
    sessions.end(old.user.id, old.session.id)
    ended_at = db.session.get_one(Session, old.session.id).ended_at
    clock.shift(60)
    verify_again(settings, old.session.id)
    db.session.expire_all()
    assert db.session.get_one(Session, old.session.id).ended_at == ended_at


def test_a_sign_in_does_not_replace_a_session_of_another_user(settings: Settings) -> None:
    boris = sign_in(settings, BORIS)
    verify_again(settings, boris.session.id)
    assert is_live(boris.session.id)


def test_only_live_devices_are_listed_newest_first(settings: Settings, clock: Traveller) -> None:
    ids = []
    for _ in range(3):
        ids.append(sign_in(settings).session.id)
        clock.shift(1)
    user_id = people.find(settings, ANNA)
    sessions.end(user_id, ids[1])
    assert [session.id for session in sessions.devices(user_id)] == [ids[2], ids[0]]


@pytest.mark.requirement("SES-02", "TOK-05")
def test_nothing_in_the_database_opens_a_session(settings: Settings) -> None:
    browser, program = sign_in(settings, kind=SessionKind.BROWSER).session, sign_in(settings).session
    proofs = (sessions.cookie(settings, browser), sessions.refresh_token(settings, program))
    stored = "\n".join(everything_stored())
    for proof in proofs:
        assert proof not in stored
        assert proof.rsplit(".", 1)[1] not in stored
