"""The second factor of staff: enrolment by a link, codes that work once, five wrong ones a day, and the sessions that it opens."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db
from hammer.factors import recovery, staff
from hammer.models import Event, Session, SessionKind
from hammer.refusals import InvalidFields, NotAllowed, NotFound, NotSignedIn, Refusal, TooManyRequests, WrongCode
from hammer.sessions import sessions
from hammer.users import accounts
from tests.actions import ANNA, BORIS, sign_in
from tests.operators import app_code

pytestmark = pytest.mark.usefixtures("context")


def make_staff(settings: Settings, number: str = ANNA) -> tuple[str, str]:
    """A staff member without a second factor: the ids of the user, and of the session of their browser."""
    signed_in = sign_in(settings, number, kind=SessionKind.BROWSER)
    accounts.set_staff(settings, signed_in.user.id, True)
    return signed_in.user.id, signed_in.session.id


def enrol(settings: Settings, user_id: str, browser_id: str) -> tuple[str, staff.Opened]:
    """Enrols an authenticator app by a link; its secret, and the session that was opened."""
    token, secret = staff.allow_enrolment(settings, user_id), staff.next_secret(settings, user_id)
    opened = staff.enrol_by_link(settings, user_id, browser_id, token, app_code(secret, -1), device="Firefox")
    return secret, opened


def open_with(settings: Settings, user_id: str, browser_id: str, typed: str) -> Session:
    return staff.open_by_code(settings, user_id, typed, device="Firefox", browser_id=browser_id)


def kinds(user_id: str) -> list[str]:
    return list(db.session.scalars(select(Event.kind).where(Event.user_id == user_id).order_by(Event.id)))


def is_open(session: Session) -> bool:
    return sessions.caller(session.id, SessionKind.ADMIN) is not None


@pytest.mark.requirement("AZN-03")
def test_a_link_enrols_an_app_once_and_opens_the_pages(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    token, secret = staff.allow_enrolment(settings, user_id), staff.next_secret(settings, user_id)

    opened = staff.enrol_by_link(settings, user_id, browser_id, token, app_code(secret), device="Firefox")

    assert is_open(opened.session)
    assert len(opened.recovery_codes) == recovery.COUNT
    assert staff.factors(user_id) == staff.Factors(app=True, recovery_codes=recovery.COUNT, passkeys=0)
    again = app_code(staff.next_secret(settings, user_id))
    with pytest.raises(NotAllowed):
        staff.enrol_by_link(settings, user_id, browser_id, token, again, device="Firefox")


@pytest.mark.requirement("AZN-03")
def test_a_link_is_good_for_its_own_user_for_a_day_until_the_next_one(settings: Settings, clock: Traveller) -> None:
    anna, boris = make_staff(settings, ANNA)[0], make_staff(settings, BORIS)[0]
    older, newer = staff.allow_enrolment(settings, anna), staff.allow_enrolment(settings, anna)

    assert staff.is_good(settings, newer, anna)
    for token in (older, "", newer + "A", f"{anna}.2."):
        assert not staff.is_good(settings, token, anna)
    assert not staff.is_good(settings, newer, boris)
    clock.shift(staff.LINK_LIFETIME)
    assert not staff.is_good(settings, newer, anna)


@pytest.mark.requirement("AZN-03")
def test_a_wrong_code_leaves_the_link_good(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    token = staff.allow_enrolment(settings, user_id)

    with pytest.raises(InvalidFields):
        staff.enrol_by_link(settings, user_id, browser_id, token, "000000", device="Firefox")

    assert staff.is_good(settings, token, user_id)
    assert not staff.factors(user_id).enrolled


@pytest.mark.requirement("AZN-03")
def test_only_staff_enrol_or_open(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    secret, _ = enrol(settings, user_id, browser_id)
    accounts.set_staff(settings, user_id, False)

    for attempt in (
        lambda: staff.allow_enrolment(settings, user_id),
        lambda: staff.reset(settings, user_id),
        lambda: staff.make_recovery_codes(settings, user_id),
        lambda: open_with(settings, user_id, browser_id, app_code(secret)),
    ):
        with pytest.raises(NotFound):
            attempt()


@pytest.mark.requirement("AZN-03")
def test_a_code_works_once_also_in_any_script_and_with_a_space(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    secret, _ = enrol(settings, user_id, browser_id)
    now, next_one = app_code(secret), app_code(secret, 1)

    assert is_open(open_with(settings, user_id, browser_id, f"{now[:3]} {now[3:]}"))
    with pytest.raises(WrongCode):
        open_with(settings, user_id, browser_id, now)
    arabic = next_one.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))
    assert is_open(open_with(settings, user_id, browser_id, arabic))
    with pytest.raises(WrongCode):  # older than the newest that was accepted
        open_with(settings, user_id, browser_id, now)


@pytest.mark.requirement("AZN-03")
def test_a_recovery_code_works_once_and_not_after_new_ones(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    _, opened = enrol(settings, user_id, browser_id)
    first, second = opened.recovery_codes[:2]

    assert is_open(open_with(settings, user_id, browser_id, first.lower().replace("-", " ")))
    assert staff.factors(user_id).recovery_codes == recovery.COUNT - 1
    with pytest.raises(WrongCode):
        open_with(settings, user_id, browser_id, first)
    newer = staff.make_recovery_codes(settings, user_id)
    with pytest.raises(WrongCode):
        open_with(settings, user_id, browser_id, second)
    assert is_open(open_with(settings, user_id, browser_id, newer[0]))
    assert not set(newer) & set(opened.recovery_codes)


@pytest.mark.requirement("AZN-03")
def test_after_five_wrong_codes_a_day_the_right_one_is_refused_until_tomorrow(settings: Settings, clock: Traveller) -> None:
    user_id, browser_id = make_staff(settings)
    secret, _ = enrol(settings, user_id, browser_id)

    left = []
    for _ in range(staff.WRONG_PER_DAY):
        with pytest.raises(WrongCode) as refused:
            open_with(settings, user_id, browser_id, "AAAAAAA-AAAAAAA")
        with pytest.raises(InvalidFields):  # an empty field is not a wrong code
            open_with(settings, user_id, browser_id, " ")
        left.append(refused.value.attempts_left)
    assert left == [4, 3, 2, 1, 0]
    with pytest.raises(TooManyRequests):
        open_with(settings, user_id, browser_id, app_code(secret))
    assert kinds(user_id).count(events.Kind.FACTOR_WRONG) == staff.WRONG_PER_DAY
    clock.shift(timedelta(days=1))
    again = sign_in(settings, ANNA, kind=SessionKind.BROWSER)
    assert is_open(open_with(settings, user_id, again.session.id, app_code(secret)))


@pytest.mark.requirement("AZN-03")
@pytest.mark.parametrize("kind", ["app", "recovery"])
def test_of_parallel_requests_with_one_code_one_opens_the_pages(app: Flask, settings: Settings, kind: str) -> None:
    user_id, browser_id = make_staff(settings)
    secret, opened = enrol(settings, user_id, browser_id)
    typed = app_code(secret) if kind == "app" else opened.recovery_codes[0]
    db.session.rollback()

    def attempt(_: int) -> bool:
        with app.app_context():
            try:
                return is_open(open_with(settings, user_id, browser_id, typed))
            except Refusal:
                return False
            finally:
                db.session.remove()

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(8))) == 1


@pytest.mark.requirement("AZN-03", "SES-04")
def test_a_session_ends_after_half_an_hour_without_use_and_twelve_hours_with_it(settings: Settings, clock: Traveller) -> None:
    user_id, browser_id = make_staff(settings)
    _, opened = enrol(settings, user_id, browser_id)
    used, idle = open_with(settings, user_id, browser_id, opened.recovery_codes[0]), opened.session

    for _ in range(24):
        assert is_open(used)
        clock.shift(timedelta(minutes=29))
    assert is_open(used)
    assert not is_open(idle)
    clock.shift(timedelta(minutes=25))
    assert not is_open(used)


@pytest.mark.requirement("AZN-03")
def test_a_session_ends_with_the_one_that_opened_it(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    _, opened = enrol(settings, user_id, browser_id)

    sessions.sign_out(user_id, browser_id)

    assert not is_open(opened.session)
    with pytest.raises(NotSignedIn):
        open_with(settings, user_id, browser_id, opened.recovery_codes[0])


@pytest.mark.requirement("AZN-05", "SES-03")
def test_a_new_proof_opens_a_new_session_in_place_of_the_old_one_with_the_same_end(settings: Settings, clock: Traveller) -> None:
    user_id, browser_id = make_staff(settings)
    _, opened = enrol(settings, user_id, browser_id)
    clock.shift(accounts.PROOF_STAYS_FRESH)
    assert not accounts.proved_lately(opened.session.id)

    newer = staff.open_by_code(settings, user_id, opened.recovery_codes[0], device="Firefox", instead_of=opened.session.id)

    assert accounts.proved_lately(newer.id)
    assert is_open(newer)
    assert not is_open(opened.session)
    assert (newer.expires_at, newer.parent_id) == (opened.session.expires_at, browser_id)


@pytest.mark.requirement("AZN-03")
def test_a_reset_voids_every_factor_and_session_and_leaves_a_new_link(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    secret, opened = enrol(settings, user_id, browser_id)

    token = staff.reset(settings, user_id)

    assert not staff.factors(user_id).enrolled
    assert not is_open(opened.session)
    for typed in (app_code(secret), opened.recovery_codes[0]):
        with pytest.raises(WrongCode):
            open_with(settings, user_id, browser_id, typed)
    assert staff.next_secret(settings, user_id) != secret
    assert staff.is_good(settings, token, user_id)


@pytest.mark.requirement("AZN-03")
def test_who_loses_the_rights_of_staff_loses_the_factors_too(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    secret, opened = enrol(settings, user_id, browser_id)

    accounts.set_staff(settings, user_id, False)
    assert not is_open(opened.session)
    accounts.set_staff(settings, user_id, True)

    assert not staff.factors(user_id).enrolled
    with pytest.raises(WrongCode):
        open_with(settings, user_id, browser_id, app_code(secret))


@pytest.mark.requirement("AZN-03")
def test_the_only_factor_cannot_be_removed(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    enrol(settings, user_id, browser_id)

    with pytest.raises(NotAllowed):
        staff.remove_app(user_id)

    assert staff.factors(user_id).app
