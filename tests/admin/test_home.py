"""The service at a glance, the settings, and the check: right figures, plain words, and no secret."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Executable, case, insert, text, update
from time_machine import Traveller

import config
from config import Settings
from hammer import clock as clocks
from hammer.admin.doctor import _within
from hammer.db.database import transaction
from hammer.events import Kind
from hammer.models import Counter, Disabled, Event, Message, MessageState, Verification, WebhookEndpoint
from hammer.operations import daily, doctor, readiness
from hammer.refusals import WrongCode
from tests.actions import ask, confirm, number, wrong
from tests.cli.commands import CLOSED_PORT
from tests.operators import Operator
from tests.web.test_metrics import figures

STAFF = "+79290000001"
MOST_BYTES = 30_000
CANARY = "c4nary"
LONG = timedelta(minutes=12, seconds=5)


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, STAFF).open()


def rows(html: str) -> list[list[str]]:
    """The cells of every row of every table, without marks."""
    found = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [
        [unescape(re.sub(r"<.*?>", "", cell)).strip() for cell in re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)] for row in found
    ]


def home(operator: Operator) -> str:
    return operator.answer("/admin/").text


@pytest.mark.requirement("LOG-04", "THR-08")
def test_the_page_and_metrics_say_the_same(app: Flask, settings: Settings, operator: Operator, clock: Traveller) -> None:
    with app.app_context():
        mistyped = ask(settings, number(1))
        with pytest.raises(WrongCode):
            confirm(settings, mistyped, wrong(settings, mistyped))
        for n in range(2, 5):
            ask(settings, number(n))
        with transaction() as tx:
            sent = {"tries": 1, "created_at": clocks.now(), "due_at": clocks.now(), "ended_at": clocks.now()}
            tx.execute(insert(Message), [sent | {"state": MessageState.DELIVERED, "gateway": "twilio/1"}] * 7)
    clock.shift(90)

    shown, seen = rows(home(operator)), figures(app.test_client().get("/metrics").text)

    for digits in ("4", "6", "8"):
        used, most = seen["hammer_guess_budget_used", digits], seen["hammer_guess_budget", digits]
        assert [digits, f"{used:.0f}", f"{most - used:,.0f}"] in shown
    assert seen["hammer_guess_budget_used", "4"] == 1
    for span, name in (("hour", "this hour"), ("day", "today")):
        asked, most = seen["hammer_texts_asked", span], seen["hammer_texts_allowed", span]
        assert [name, f"{asked:.0f}", f"{most - asked:,.0f}"] in shown
    assert ["Texts", f"{seen[('hammer_texts_waiting',)]:.0f}", "2\N{NO-BREAK SPACE}minutes"] in shown
    assert seen[("hammer_texts_waiting_seconds",)] == 90
    assert ["twilio/1", "delivered", f"{seen['hammer_texts_newest', 'twilio/1', 'delivered']:.0f}"] in shown
    assert f"at most {seen[('hammer_expected_takeovers_per_year',)]:.2f} accounts a year" in home(operator)


def test_the_days_are_those_of_utc(app: Flask, clock: Traveller) -> None:
    clock.move_to(clocks.now().replace(hour=12))
    operator = Operator(app, STAFF).open()
    midnight = clocks.now().replace(hour=0, minute=0, second=0, microsecond=0)
    moments = [midnight - timedelta(microseconds=1)] * 3 + [midnight] * 2
    with app.app_context(), transaction() as tx:
        tx.execute(insert(Event), [{"at": at, "kind": Kind.INVITE_ACTIVATED} for at in moments])

    figure = home(operator).partition("Activations")[2].partition("</figure>")[0]

    assert [count for _, count in rows(figure)[1:3]] == ["2", "3"]
    assert ">2</strong> <small>today · yesterday 3" in figure


def test_an_empty_service_is_well_and_a_full_page_is_light(
    app: Flask,
    settings: Settings,
    operator: Operator,
    clock: Traveller,
    statements: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    with app.app_context():
        daily.count_hours(settings)
    empty = home(operator)
    assert "All is well" in empty
    _fill(app, 1)
    with statements() as of_few:
        home(operator)
    _fill(app, 500)
    with statements() as of_many:
        many = operator.client.get("/admin/").text
    assert len(of_few) == len(of_many) <= 30
    assert "<strong>501</strong>" in many  # activations
    for page in (empty, many, operator.client.get("/admin/settings/").text):
        assert 3_000 < len(page.encode()) < MOST_BYTES


def _fill(app: Flask, much: int) -> None:
    """Some of everything that the page shows."""
    now = clocks.now()
    with app.app_context(), transaction() as tx:
        tx.execute(insert(Event), [{"at": now, "kind": kind} for kind in Kind] * much)
        waits = {"tries": 1, "created_at": now, "due_at": now}
        states = [waits | {"state": state, "gateway": f"gateway/{n % 4}"} for n in range(much) for state in MessageState]
        tx.execute(insert(Message), states)
        endpoint = {
            "url": f"https://{'h' * 60}.example.com/",
            "created_at": now,
            "next_at": now,
            "failures": 9,
            "failing_since": now,
        }
        tx.execute(insert(WebhookEndpoint), [endpoint | {"id": f"{much + n:022d}"} for n in range(much // 10 + 1)])


def used(scope: str, units: int) -> Executable:
    """Counts so many units of a shared limit, all in one part."""
    return update(Counter).where(Counter.scope == scope).values(taken=case((Counter.part == 0, units), else_=0))


CHANGES: list[tuple[Callable[[datetime], Executable], str]] = [
    (
        lambda now: insert(Message).values(tries=2, state="waiting", created_at=now - LONG, due_at=now),
        "2 texts wait, the first one for 12\N{NO-BREAK SPACE}minutes.",
    ),
    (
        lambda now: insert(Message).values(tries=8, state="given up", created_at=now, due_at=now, ended_at=now),
        "No gateway took 1 text.",
    ),
    (lambda _: used("guesses/4", 20), "are being guessed: 20 of 20 wrong guesses"),
    (lambda _: used("texts/hour", 9000), "9000 of 10000 texts of this hour are used."),
    (
        lambda now: update(WebhookEndpoint).values(disabled_at=now, disabled_for=Disabled.FAILING),
        "hooks.example.com is disabled: it accepted nothing for days.",
    ),
    (
        lambda now: update(WebhookEndpoint).values(failures=4, failing_since=now),
        "hooks.example.com failed 4 times in a row.",
    ),
    (lambda now: update(Verification).values(expires_at=now - timedelta(days=9)), "are not deleted yet."),
    (lambda _: text("update alembic_version set version_num = '9999'"), "The tables are at step 9999"),
]


@pytest.mark.parametrize(("change", "sentence"), CHANGES, ids=[sentence for _, sentence in CHANGES])
def test_what_needs_attention_comes_first_in_words(
    app: Flask, settings: Settings, operator: Operator, change: Callable[[datetime], Executable], sentence: str
) -> None:
    now = clocks.now()
    with app.app_context():
        mistyped = ask(settings, number(1))
        with pytest.raises(WrongCode):
            confirm(settings, mistyped, wrong(settings, mistyped))
        url = "https://hooks.example.com/T0KEN"
        with transaction() as tx:
            tx.execute(insert(WebhookEndpoint).values(id="A" * 22, url=url, created_at=now, next_at=now))
            tx.execute(change(now))
    try:
        page = home(operator)
    finally:
        with app.app_context(), transaction() as tx:
            tx.execute(text(f"update alembic_version set version_num = '{readiness.NEWEST_MIGRATION}'"))
    assert sentence in page.partition('<div class="plots">')[0]
    assert "T0KEN" not in page
    assert "All is well" not in page


@pytest.mark.parametrize("table", ["texts", "event_counts", "webhook_endpoints"])
def test_a_database_without_a_table_leads_to_the_page_that_says_to_wait(app: Flask, operator: Operator, table: str) -> None:
    with app.app_context(), transaction() as tx:
        tx.execute(text(f"alter table {table} rename to elsewhere"))
    try:
        answers = [operator.answer("/admin/"), operator.client.post("/admin/doctor/", data=_sent(operator))]
    finally:
        with app.app_context(), transaction() as tx:
            tx.execute(text(f"alter table elsewhere rename to {table}"))
    assert answers[0].status_code == 503
    assert "We are busy right now" in answers[0].text
    assert answers[1].status_code in (200, 503)


def _sent(operator: Operator) -> dict[str, str]:
    form = next(form for form in operator.get("/admin/doctor/").forms if form.action.endswith("/doctor/"))
    return form.fields


def test_a_person_is_found_from_the_first_page(operator: Operator) -> None:
    form = operator.get("/admin/").form_with("q")
    assert form is not None
    operator.send(form, q=STAFF)
    assert operator.at == f"/admin/people/{operator.user_id}/"


# Settings, and the check


def test_the_settings_are_shown_as_they_are_and_of_secrets_only_that_they_are_set(
    app: Flask, settings: Settings, operator: Operator
) -> None:
    secrets: dict[str, Any] = {name: f"{CANARY}{name}" for name, declared in config.DECLARED.items() if declared.secret}
    secrets |= {
        "database_url": f"postgresql://u:{CANARY}@db.internal/{CANARY}",
        "redis_url": f"redis://:{CANARY}@127.0.0.1:{CLOSED_PORT}/0",
        "sms_url": f"http://u:{CANARY}@127.0.0.1:{CLOSED_PORT}/{CANARY}?to={{to}}&text={{text}}&key={CANARY}",
        "test_numbers": {"+79290000009": "48291507"},
    }
    del secrets["secret_key"]  # the session in this browser belongs to it
    shown = replace(settings, **secrets, name="Forge", test_numbers_until=clocks.now().date())
    app.config["SETTINGS"] = shown

    pages = {path: operator.answer(path).text for path in ("/admin/", "/admin/settings/")}
    pages["/admin/doctor/"] = operator.client.post("/admin/doctor/", data=_sent(operator)).text

    for path, page in pages.items():
        for secret in (CANARY, "48291507", "+79290000009", "9290000009", settings.secret_key):
            assert secret not in page, path
    listed = pages["/admin/settings/"]
    for declared in config.DECLARED.values():
        assert f"<code>{declared.name}</code>" in listed
    assert listed.count("<dd>set</dd>") == len(secrets) + 1
    assert '<code>HAMMER_NAME</code> <span class="mark">changed</span>' in listed
    assert "<code>HAMMER_REGION</code></dt>" in listed
    assert "gateway" in pages["/admin/doctor/"]


def test_the_check_finds_what_the_command_finds_the_worst_first(app: Flask, operator: Operator) -> None:
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], redis_url=f"redis://127.0.0.1:{CLOSED_PORT}/0")
    with app.app_context():
        expected = list(doctor.examine(app.config["SETTINGS"]))

    page = operator.client.post("/admin/doctor/", data=_sent(operator), headers={"Accept-Language": "en"}).text

    assert "1 thing is wrong." in page
    found = rows(page)[1:]
    assert sorted(part for _, part, _ in found) == sorted(finding.part for finding in expected)
    assert [state for state, *_ in found] == sorted((state for state, *_ in found), key=["wrong", "advice", "fine"].index)
    assert found[0][1] == "redis"


def test_a_check_that_takes_too_long_is_cut_off() -> None:
    fine = doctor.Finding(doctor.FINE, "part", "")
    assert _within(60, [fine] * 3) == ([fine] * 3, True)
    assert _within(-1, [fine] * 3) == ([fine], False)
