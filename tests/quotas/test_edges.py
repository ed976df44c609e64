"""Edge cases: the last second of a day and the first of the next, the last unit of a limit, and NUL characters."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import time_machine
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db, transaction
from hammer.invites import activation
from hammer.login import verifications
from hammer.models import SESSION_IDLE, SESSION_LIFETIME, SessionKind, User
from hammer.quotas import counters, guesses, invite_attempts, texts
from hammer.refusals import InvalidFields, NotFound, NotSignedIn, TooManyRequests, Unavailable, UnknownInvite, WrongCode
from hammer.sessions import sessions
from hammer.users import accounts, people
from tests import routes
from tests.actions import ANNA, BORIS, CLARA, activate, ask, confirm, number, right, sign_in, user, wrong
from tests.operators import Operator
from tests.people import Browser, Program

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
in_context = pytest.mark.usefixtures("context")


@pytest.fixture
def before_midnight() -> Iterator[Traveller]:
    with time_machine.travel(MIDNIGHT - SECOND, tick=False) as standing:
        yield standing


@pytest.fixture
def patient(settings: Settings) -> Settings:
    return replace(settings, resend_wait=timedelta(0), sends_per_number_day=10_000)


def fail(settings: Settings, telephone_number: str) -> None:
    asked = ask(settings, telephone_number)
    with pytest.raises(WrongCode):
        confirm(settings, asked, wrong(settings, asked))


@pytest.fixture
def staff(app: Flask) -> Program:
    program = Program(app)
    program.sign_in(ANNA)
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], db.session.query(User.id).filter_by(telephone_number=ANNA).scalar(), True)
    return program


# Counters


@in_context
@pytest.mark.parametrize(("span", "begins"), [(counters.DAY, MIDNIGHT), (counters.HOUR, MIDNIGHT - timedelta(hours=3))])
def test_a_span_begins_at_its_first_microsecond(settings: Settings, span: timedelta, begins: datetime) -> None:
    """Days begin at midnight UTC, hours at the full hour."""
    limit = counters.Limit("edge", 1, span)
    last = begins - timedelta(microseconds=1)
    with transaction() as tx:
        assert counters.take(tx, [limit], begins - span) == {"edge": 1}
        assert counters.take(tx, [limit], last) == {}
        assert counters.used(tx, [limit], last) == {"edge": 1}
        assert counters.take(tx, [limit], begins) == {"edge": 1}
        assert counters.used(tx, [limit], begins) == {"edge": 1}
    assert counters.ends_at(span, last) == begins
    assert counters.ends_at(span, begins) == begins + span


@in_context
def test_a_limit_of_several_days_forgets_the_first_of_them_at_midnight(settings: Settings) -> None:
    limit = counters.Limit("edge", 3, counters.DAY, windows=3)
    with transaction() as tx:
        for days in (0, 0, 1):
            assert counters.take(tx, [limit], MIDNIGHT + DAY * days)
        almost = MIDNIGHT + 3 * DAY - SECOND
        assert counters.take(tx, [limit], almost) == {}
        assert counters.eases_at(tx, limit, almost) == MIDNIGHT + 3 * DAY
        assert counters.take(tx, [limit], MIDNIGHT + 3 * DAY) == {"edge": 2}
        assert counters.used(tx, [limit], MIDNIGHT + 3 * DAY) == {"edge": 2}
        later = MIDNIGHT + 3 * DAY + SECOND
        assert counters.eases_at(tx, limit, later) == later  # it is not used up any more


@in_context
def test_when_a_limit_eases_does_not_depend_on_others(settings: Settings) -> None:
    limit, other = (counters.Limit(name, 1, counters.DAY, windows=3) for name in ("edge", "other"))
    with transaction() as tx:
        counters.take(tx, [limit], MIDNIGHT)
        counters.take(tx, [other], MIDNIGHT + DAY)
        assert counters.eases_at(tx, limit, MIDNIGHT + DAY) == MIDNIGHT + 3 * DAY
        assert counters.eases_at(tx, other, MIDNIGHT + DAY) == MIDNIGHT + 4 * DAY


@in_context
def test_a_refusal_by_one_limit_takes_nothing_from_the_others(settings: Settings) -> None:
    free, spent = counters.Limit("free", 2, counters.DAY), counters.Limit("spent", 0, counters.DAY)
    with transaction() as tx:
        for _ in range(3):
            assert set(counters.take(tx, [free, spent], MIDNIGHT)) == {"free"}
        assert counters.take(tx, [free], MIDNIGHT) == {"free": 1}
        assert counters.take(tx, [free], MIDNIGHT) == {"free": 2}
        assert counters.take(tx, [free], MIDNIGHT) == {}


@in_context
def test_what_is_given_back_goes_to_the_current_span(settings: Settings) -> None:
    limit, other = counters.Limit("edge", 5, counters.DAY), counters.Limit("other", 5, counters.DAY)
    with transaction() as tx:
        for moment in (MIDNIGHT - SECOND, MIDNIGHT, MIDNIGHT):
            counters.take(tx, [limit, other], moment)
        counters.give_back(tx, [limit], 2, MIDNIGHT)
        assert counters.used(tx, [limit, other], MIDNIGHT) == {"edge": 0, "other": 2}
        assert counters.used(tx, [limit, other], MIDNIGHT - SECOND) == {"edge": 1, "other": 1}


# Guesses


@in_context
@pytest.mark.requirement("THR-03")
def test_a_used_up_budget_is_full_again_at_midnight(settings: Settings, before_midnight: Traveller) -> None:
    tight = replace(settings, guess_budgets={4: 1, 6: 0, 8: 0})
    waiting = ask(tight, BORIS)
    fail(tight, ANNA)
    assert guesses.budgets_used(db.session(), tight, time_of_day.now()) == {4: (1, 1), 6: (0, 0), 8: (0, 0)}
    with pytest.raises(Unavailable) as refused:
        ask(tight, number(7))
    assert refused.value.retry_after == 1
    before_midnight.shift(SECOND)
    assert guesses.budgets_used(db.session(), tight, time_of_day.now())[4] == (0, 1)
    assert ask(tight, number(7)).code_length == 4
    confirm(tight, waiting, right(tight, waiting))


@in_context
def test_guesses_of_the_day_before_stay_counted_when_the_code_is_right_after_midnight(
    settings: Settings, before_midnight: Traveller
) -> None:
    asked = ask(settings)
    with pytest.raises(WrongCode):
        confirm(settings, asked, wrong(settings, asked))
    before_midnight.shift(SECOND)
    with pytest.raises(WrongCode):
        confirm(settings, asked, wrong(settings, asked))
    confirm(settings, asked, right(settings, asked))
    used = {moment: guesses.budgets_used(db.session(), settings, moment)[4][0] for moment in (MIDNIGHT - SECOND, MIDNIGHT)}
    assert used[MIDNIGHT] == 1  # only the guess with the right code is given back
    before_midnight.shift(DAY)
    assert guesses.budgets_used(db.session(), settings, time_of_day.now())[4][0] == 0


@in_context
@pytest.mark.requirement("THR-01")
def test_the_ladder_forgets_a_day_with_its_thirtieth_midnight(
    settings: Settings, patient: Settings, before_midnight: Traveller
) -> None:
    """Today is the last of the thirty days."""
    for _ in range(guesses.LADDER[4]):
        fail(patient, ANNA)
    assert ask(patient).code_length == 6
    before_midnight.move_to(MIDNIGHT + (guesses.LADDER_DAYS - 1) * DAY - SECOND)
    assert ask(patient).code_length == 6
    before_midnight.shift(SECOND)
    assert ask(patient).code_length == 4


# Texts


@in_context
@pytest.mark.requirement("SMS-03")
def test_the_texts_of_a_number_are_counted_from_the_first_for_a_whole_day(patient: Settings, before_midnight: Traveller) -> None:
    few = replace(patient, sends_per_number_day=2)
    for _ in range(2):
        ask(few)
    for moment in (MIDNIGHT, MIDNIGHT + DAY - 2 * SECOND):
        before_midnight.move_to(moment)
        with pytest.raises(TooManyRequests) as refused:
            ask(few)
        assert refused.value.sentence == texts.NO_MORE_TODAY
    assert refused.value.retry_after == 1
    before_midnight.shift(SECOND)
    for _ in range(2):
        ask(few)
    with pytest.raises(TooManyRequests):
        ask(few)


@in_context
@pytest.mark.requirement("SMS-03")
def test_the_wait_between_two_texts_is_over_at_its_last_second(settings: Settings, before_midnight: Traveller) -> None:
    ask(settings)
    before_midnight.shift(settings.resend_wait - SECOND)
    with pytest.raises(TooManyRequests) as refused:
        ask(settings)
    assert (refused.value.sentence, refused.value.retry_after) == (texts.JUST_TEXTED, 1)
    before_midnight.shift(SECOND)
    ask(settings)


@in_context
@pytest.mark.requirement("SMS-03")
@pytest.mark.parametrize("limited", ["sends_per_prefix_hour", "sends_per_address_hour"])
def test_the_texts_of_an_hour_are_free_again_with_the_next(settings: Settings, before_midnight: Traveller, limited: str) -> None:
    few = replace(settings, **{limited: 1})  # type: ignore[arg-type]
    ask(few, number(1))
    with pytest.raises(TooManyRequests) as refused:
        ask(few, number(2))
    assert refused.value.retry_after == 1
    before_midnight.shift(SECOND)
    ask(few, number(2))


@in_context
@pytest.mark.requirement("SMS-03")
def test_the_texts_of_an_address_a_day_are_free_again_at_midnight(settings: Settings, before_midnight: Traveller) -> None:
    few = replace(settings, sends_per_address_hour=1)
    for n in range(texts.ADDRESS_HOURS_PER_DAY):
        before_midnight.move_to(MIDNIGHT - SECOND - timedelta(hours=texts.ADDRESS_HOURS_PER_DAY - n))
        ask(few, number(n))
    before_midnight.move_to(MIDNIGHT - SECOND)
    with pytest.raises(TooManyRequests) as refused:
        ask(few, number(20))
    assert (refused.value.retry_after, refused.value.limit) == (1, "address-day")
    before_midnight.shift(SECOND)
    ask(few, number(20))


# Invite codes


@in_context
@pytest.mark.requirement("INV-04")
def test_the_attempts_of_a_day_are_free_again_at_midnight(settings: Settings, before_midnight: Traveller) -> None:
    anna, owner = user(settings, ANNA), user(settings, BORIS)
    for _ in range(invite_attempts.PER_NUMBER_PER_DAY):
        with pytest.raises(UnknownInvite):
            activate(settings, anna.id, "AAAAAA")
    with pytest.raises(TooManyRequests) as refused:
        activate(settings, anna.id, owner.invite_code)
    assert refused.value.retry_after == 1
    before_midnight.shift(SECOND)
    activate(settings, anna.id, owner.invite_code)
    assert activation.activated(anna.id) is not None


# Sessions, codes and proofs


@in_context
@pytest.mark.parametrize("kind", [SessionKind.BROWSER, SessionKind.PROGRAM])
def test_a_session_that_is_not_used_ends_at_its_last_second(
    settings: Settings, before_midnight: Traveller, kind: SessionKind
) -> None:
    them = sign_in(settings, ANNA, kind=kind).session
    before_midnight.shift(SESSION_IDLE[kind] - SECOND)
    assert len(sessions.devices(them.user_id)) == 1
    before_midnight.shift(SECOND)
    assert sessions.devices(them.user_id) == []
    assert sessions.caller(them.id, kind) is None


@in_context
@pytest.mark.parametrize("kind", [SessionKind.BROWSER, SessionKind.PROGRAM])
def test_a_session_ends_at_its_last_second_however_much_it_is_used(
    settings: Settings, before_midnight: Traveller, kind: SessionKind
) -> None:
    them = sign_in(settings, ANNA, kind=kind).session
    step = SESSION_IDLE[kind] - timedelta(hours=2)
    while time_of_day.now() + step < them.expires_at - SECOND:
        before_midnight.shift(step)
        assert sessions.caller(them.id, kind)
    assert them.expires_at - them.created_at == SESSION_LIFETIME[kind]
    before_midnight.move_to(them.expires_at - SECOND)
    assert sessions.caller(them.id, kind)
    assert len(sessions.devices(them.user_id)) == 1
    before_midnight.shift(SECOND)
    assert sessions.caller(them.id, kind) is None
    assert sessions.devices(them.user_id) == []
    with pytest.raises((NotFound, NotSignedIn)):
        sessions.end(them.user_id, them.id)


@in_context
def test_a_code_works_in_its_last_second_and_not_after(settings: Settings, before_midnight: Traveller) -> None:
    for late, kind in ((-SECOND, True), (timedelta(0), False)):
        asked = ask(settings, BORIS)
        before_midnight.move_to(asked.expires_at + late)
        if kind:
            confirm(settings, asked, right(settings, asked))
        else:
            with pytest.raises(WrongCode):
                confirm(settings, asked, right(settings, asked))


@in_context
def test_a_proof_is_fresh_in_its_last_second_and_not_after(settings: Settings, before_midnight: Traveller) -> None:
    them = sign_in(settings).session
    before_midnight.shift(accounts.PROOF_STAYS_FRESH - SECOND)
    assert accounts.proved_lately(them.id)
    before_midnight.shift(SECOND)
    assert not accounts.proved_lately(them.id)


@in_context
def test_a_proof_from_a_clock_that_is_ahead_is_fresh_up_to_the_difference_that_is_allowed(
    settings: Settings, before_midnight: Traveller
) -> None:
    them = sign_in(settings).session
    before_midnight.shift(-time_of_day.APART)
    assert accounts.proved_lately(them.id)
    before_midnight.shift(-timedelta(microseconds=1))
    assert not accounts.proved_lately(them.id)


# Numbers with an extension


@in_context
@pytest.mark.parametrize("spelling", ["+7 929 000 00 01 ext. 5", "+79290000001;ext=5", "8 929 000-00-01 доб. 5", "+79290000001x5"])
def test_a_number_with_an_extension_belongs_to_no_user(settings: Settings, spelling: str) -> None:
    user(settings, ANNA)
    with pytest.raises(NotFound):
        people.find(settings, spelling)
    with pytest.raises(InvalidFields):
        ask(settings, spelling)
    with pytest.raises(InvalidFields):
        accounts.create(settings, spelling, {})


@pytest.mark.parametrize("spelling", [f"{BORIS};ext=5", f"{BORIS} ext. 5"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_staff_find_no_user_by_a_number_with_an_extension(app: Flask, staff: Program, method: str, spelling: str) -> None:
    with app.app_context():
        user(app.config["SETTINGS"], BORIS)
    assert staff.call(method, f"/users/{spelling}/").status_code == 404
    assert staff.call(method, f"/users/{BORIS}/").status_code in (200, 204)


# NUL


def with_nul(sample: str) -> list[str]:
    return ["\0", f"{sample}\0", f"\0{sample}", f"{sample[:3]}\0{sample[3:]}"]


def test_no_route_fails_for_a_nul_in_its_path(app: Flask, staff: Program) -> None:
    """PostgreSQL does not accept NUL in a text; SQLite does."""
    browser, operator = Browser(app), Operator(app, CLARA).open()
    browser.sign_in(BORIS)
    reached = 0
    for rule in routes.rules(app):
        for argument in sorted(rule.arguments):
            for value in with_nul(routes.SAMPLES[argument]):
                for method in sorted(set(rule.methods or ()) - {"OPTIONS"}):
                    at = routes.path(rule).replace(routes.SAMPLES[argument], quote(value))  # not every rule would build it
                    assert "%00" in at
                    if at.startswith("/api/"):
                        body: object = {} if method in ("POST", "PUT", "PATCH") else None
                        answer = staff.call(method, at.removeprefix("/api/v1"), body)
                    else:
                        client = (operator if at.startswith("/admin/") else browser).client
                        sent = {"csrf_token": routes.form_token(client)} if method == "POST" else None
                        answer = client.open(at, method=method, data=sent, headers={"Accept-Language": "en"})
                    fine = (404,) if at.startswith("/api/") else (200, 303, 404)
                    assert answer.status_code in fine, f"{method} {at}: {answer.status_code}"
                    reached += 1
    assert reached > 40


def fields_with_ids() -> list[tuple[str, str]]:
    return [("/login/", "verification"), ("/login/code/", "verification"), ("/login/resend/", "verification")]


@pytest.mark.parametrize(("at", "field"), fields_with_ids())
@pytest.mark.parametrize("is_in", [False, True], ids=["stranger", "signed-in"])
def test_no_form_fails_for_a_nul_in_an_id(app: Flask, browser: Browser, at: str, field: str, is_in: bool) -> None:
    token = next(form.fields["csrf_token"] for form in browser.get("/login/").forms if "csrf_token" in form.fields)
    if is_in:
        browser.sign_in(ANNA)
        token = next(form.fields["csrf_token"] for form in browser.get("/profile/").forms if "csrf_token" in form.fields)
    form = {"csrf_token": token, field: "A\0", "telephone_number": "8 929 000 00 02"}
    assert browser.client.post(at, data=form).status_code in (303, 403, 422)


@pytest.mark.parametrize(
    ("path", "field"),
    [("/auth/resend/", "verification_id"), ("/auth/code/", "verification_id"), ("/auth/refresh/", "refresh_token")],
)
def test_no_call_fails_for_a_nul_in_an_id(program: Program, path: str, field: str) -> None:
    answer = program.call("POST", path, {field: "A\0", "code": "1234"} if "code" in path else {field: "A\0"})
    assert answer.status_code in (401, 404, 422)


@in_context
def test_no_verb_fails_for_a_nul(settings: Settings) -> None:
    anna = user(settings)
    with pytest.raises(InvalidFields):
        ask(settings, "\0")
    with pytest.raises(NotFound):
        people.find(settings, "a\0")
    with pytest.raises(NotFound):
        sessions.end(anna.id, "\0")
    assert verifications.find("\0") is None
    assert sessions.by_cookie(settings, "\0") is None
