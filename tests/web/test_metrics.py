"""Metrics for monitoring, and who can read them."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask, url_for
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from werkzeug.test import TestResponse

from config import Settings
from hammer import clock, create_app, events
from hammer.db.database import transaction
from hammer.models import Verification
from hammer.refusals import TooManyRequests, WrongCode
from hammer.sms import outbox
from hammer.web.request_limits import RequestLimiter
from tests import serving
from tests.actions import ANNA, BORIS, ask, confirm, number, right, sign_in, wrong
from tests.conftest import SETTINGS, close
from tests.databases import Databases
from tests.people import Program
from tests.serving import at_once

TOKEN = "only-for-the-tests-of-metrics"
HOST = "https://login.example.com"


def figures(text: str) -> dict[tuple[str, ...], float]:
    """Name and label values -> how much, as Prometheus would read them."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def read(app: Flask) -> Callable[[], dict[tuple[str, ...], float]]:
    return lambda: figures(app.test_client().get("/metrics").text)


@pytest.mark.requirement("LOG-04")
def test_requests_are_counted_by_route_and_answer_and_never_by_path(
    program: Program, read: Callable[[], dict[tuple[str, ...], float]]
) -> None:
    counted = ("hammer_request_seconds_count", "GET", "/api/v1/users/<username>/")
    before = read()
    program.sign_in(ANNA)
    program.call("GET", "/users/me/")
    program.call("GET", f"/users/{ANNA}/")
    program.call("GET", "/users/nobody/")
    program.client.open("/nowhere", method="BREW")

    after = read()

    assert after[(*counted, "200")] - before.get((*counted, "200"), 0) == 2
    assert after[(*counted, "404")] - before.get((*counted, "404"), 0) == 1
    assert ("hammer_request_seconds_count", "other", "(none)", "404") in after
    assert not [name for name in after if ANNA in name or "nobody" in name or "BREW" in name]


@pytest.mark.requirement("LOG-04", "THR-08")
def test_metrics_show_budgets_of_guesses_and_expected_takeovers(
    app: Flask, settings: Settings, read: Callable[[], dict[tuple[str, ...], float]]
) -> None:
    with app.app_context():
        mistyped = ask(settings, ANNA)
        for _ in range(2):
            with pytest.raises(WrongCode):
                confirm(settings, mistyped, wrong(settings, mistyped))
        honest = ask(settings, BORIS)
        with pytest.raises(WrongCode):
            confirm(settings, honest, wrong(settings, honest))
        confirm(settings, honest, right(settings, honest))

    seen = read()

    assert seen["hammer_guess_budget_used", "4"] == 2  # what an honest person mistyped is returned
    assert [seen["hammer_guess_budget", digits] for digits in ("4", "6", "8")] == [20, 250, 10_000]
    assert seen[("hammer_expected_takeovers_per_year",)] == pytest.approx(0.858, abs=0.001)


@pytest.mark.requirement("LOG-04")
def test_metrics_show_logins_and_conversion_by_country(
    app: Flask, settings: Settings, read: Callable[[], dict[tuple[str, ...], float]]
) -> None:
    with app.app_context():
        sign_in(settings, ANNA)
        sign_in(settings, "+380501234567")
        for n in range(3):
            ask(settings, f"+38050123450{n}")
    _let_all_codes_end(app)

    seen = read()

    assert seen["hammer_events_lately", "signed-up"] == 2
    assert seen["hammer_events_lately", "code-sent"] == 5
    assert (seen["hammer_codes_ended", "7"], seen["hammer_codes_proved", "7"]) == (1, 1)
    assert (seen["hammer_codes_ended", "380"], seen["hammer_codes_proved", "380"]) == (4, 1)


@pytest.mark.requirement("LOG-04")
def test_events_that_never_happened_are_zero(read: Callable[[], dict[tuple[str, ...], float]]) -> None:
    kinds = set(events.Kind)

    seen = read()

    assert {labels[1]: value for labels, value in seen.items() if labels[0] == "hammer_events_lately"} == dict.fromkeys(kinds, 0)
    assert seen["hammer_texts_newest", "", "given up"] == 0


def _let_all_codes_end(app: Flask) -> None:
    with app.app_context(), transaction() as session:
        session.execute(update(Verification).values(expires_at=clock.now()))


@pytest.mark.requirement("LOG-04")
def test_metrics_show_waiting_and_sent_texts(
    app: Flask, settings: Settings, read: Callable[[], dict[tuple[str, ...], float]]
) -> None:
    with app.app_context():
        for n in range(3):
            ask(settings, number(n))
        outbox.deliver_next(settings)

    seen = read()

    assert seen[("hammer_texts_waiting",)] == 2
    assert seen[("hammer_texts_waiting_seconds",)] >= 0
    assert seen["hammer_texts_asked", "hour"] == seen["hammer_texts_asked", "day"] == 3
    assert seen["hammer_texts_allowed", "hour"] == settings.sends_per_hour
    assert sum(value for name, value in seen.items() if name[0] == "hammer_texts_newest") == 3


@pytest.mark.requirement("LOG-04")
def test_metrics_take_a_dozen_statements_for_any_number_of_people(
    app: Flask, settings: Settings, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with app.app_context():
        for n in range(20):
            sign_in(settings, number(n))
    with statements() as seen:
        assert app.test_client().get("/metrics").status_code == 200
    assert len(seen) <= 14  # one of them asks PostgreSQL for its clock


@pytest.fixture(scope="module")
def watched(databases: Databases) -> Iterator[Flask]:
    before = list(logging.getLogger().handlers)
    app = create_app(replace(SETTINGS, env="production", public_url=HOST, database_url=databases.new(), metrics_token=TOKEN))
    yield app
    close(app)
    logging.getLogger().handlers[:] = before


def shown(app: Flask, *headers: str) -> TestResponse:
    return app.test_client().get("/metrics", base_url=HOST, headers=[("Authorization", value) for value in headers])


@pytest.mark.requirement("CRY-02", "LOG-04")
def test_in_production_metrics_need_the_token(watched: Flask) -> None:
    assert "hammer_guess_budget" in shown(watched, f"Bearer {TOKEN}").text


@pytest.mark.requirement("CRY-02")
@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", "Bearer é"]
)
def test_without_the_right_token_the_page_does_not_exist(watched: Flask, header: str) -> None:
    refused = shown(watched, *([header] if header else []))

    nothing_there = watched.test_client().get("/metrical", base_url=HOST)
    assert refused.status_code == nothing_there.status_code == 404
    assert refused.text.replace('"/metrics?lang', '"/?lang') == nothing_there.text  # the same page, with a link to itself


@pytest.mark.requirement("CRY-02")
def test_production_without_a_token_shows_no_metrics(production: Flask) -> None:
    assert shown(production, "Bearer ").status_code == 404
    assert shown(production, "Bearer None").status_code == 404


def test_a_token_protects_metrics_in_development_too(settings: Settings, app_with: Callable[[Settings], Flask]) -> None:
    guarded = app_with(replace(settings, metrics_token=TOKEN))

    assert guarded.test_client().get("/metrics").status_code == 404
    assert guarded.test_client().get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.processes
@pytest.mark.requirement("LOG-04")
def test_processes_of_one_server_count_together(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> None:
    log = tmp_path_factory.mktemp("counted") / "log"
    with serving.serve(databases.new(), log, serving.gunicorn) as server:
        assert {answer.status for answer in at_once([lambda: server.call("GET", "/users/me/")] * 40)} == {401}
        answers = at_once([lambda: figures(server.request("GET", "/metrics").body.decode())] * 8)

    counted = ("hammer_request_seconds_count", "GET", "/api/v1/users/<username>/", "401")
    assert [seen[counted] for seen in answers] == [40.0] * 8


def test_the_empty_file_of_a_new_process_is_skipped(
    settings: Settings, app_with: Callable[[Settings], Flask], tmp_path: Path
) -> None:
    (tmp_path / "histogram_1.db").touch()

    answer = app_with(replace(settings, metrics_directory=str(tmp_path))).test_client().get("/metrics")

    assert answer.status_code == 200
    assert figures(answer.text)[("hammer_database_answers",)] == 1


def test_requests_of_an_address_are_limited_per_minute(settings: Settings) -> None:
    limiter = RequestLimiter(replace(settings, requests_per_address_minute=3))
    for _ in range(3):
        limiter.take("here")

    with pytest.raises(TooManyRequests) as refused:
        limiter.take("here")

    assert 1 <= refused.value.retry_after <= 60
    limiter.take("there")


def test_too_many_requests_are_refused_by_pages_and_api_but_not_to_monitoring(
    settings: Settings, app_with: Callable[[Settings], Flask]
) -> None:
    client = app_with(replace(settings, requests_per_address_minute=2)).test_client()
    for _ in range(2):
        assert client.get("/login/").status_code == 200

    page, document = client.get("/login/"), client.get("/api/v1/users/me/")

    assert (page.status_code, page.mimetype) == (429, "text/html")
    assert (document.status_code, document.mimetype) == (429, "application/problem+json")
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in (page, document))
    assert client.get("/readyz").status_code == client.get("/healthz").status_code == client.get("/metrics").status_code == 200


def test_requests_for_files_count(settings: Settings, app_with: Callable[[Settings], Flask]) -> None:
    client = app_with(replace(settings, requests_per_address_minute=2)).test_client()
    with client.application.test_request_context():
        file = url_for("static", filename="hammer.css")

    answers = [client.get(file, headers={"Accept-Encoding": "gzip"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "immutable" in answers[1].headers["Cache-Control"]
    assert answers[2].headers["Cache-Control"] == "no-store"


def test_requests_for_other_hosts_count(settings: Settings, app_with: Callable[[Settings], Flask]) -> None:
    app = app_with(replace(settings, env="production", public_url=HOST, requests_per_address_minute=2))

    answers = [app.test_client().get("/", base_url="https://elsewhere.example.com") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [400, 400, 429]
