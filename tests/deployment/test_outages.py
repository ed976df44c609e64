"""PostgreSQL or Redis goes away and comes back: callers are told within about two seconds, nothing is lost, and nobody has to
restart anything.

Both are stopped at once, as in a crash, idle and under load; and frozen, so that they take connections and say nothing.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import psycopg
import pytest
from flask import Flask

from config import Settings
from hammer.db.database import BUSY_SECONDS
from tests.deployment.peers import Postgres, Redis, wait_until
from tests.serving import Server, at_once, gunicorn, serve

pytestmark = pytest.mark.needs("postgres", "redis-server")

PATIENCE_SECONDS = 30.0
"""After which callers hang up. What is away never answers by itself: whoever waits for it waits in vain."""
numbers = (f"+7929{n:07d}" for n in range(1, 1_000_000))


@pytest.fixture(params=["stopped", "frozen"])
def gone(request: pytest.FixtureRequest, web: Server, postgres: Postgres) -> Iterator[Callable[[], None]]:
    """PostgreSQL is away; what is handed over brings it back."""
    wait_until(lambda: _all_ready(web), "all threads of both processes to have served")
    back = ExitStack()
    if request.param == "stopped":
        postgres.stop()
        back.callback(postgres.start)
    else:
        postgres.freeze()
        back.callback(postgres.thaw)
    yield back.close
    back.close()
    wait_until(lambda: _all_ready(web), "both processes to recover")


def _all_ready(web: Server) -> bool:
    return {answer.status for answer in at_once([lambda: web.request("GET", "/readyz")] * 16)} == {200}


def test_programs_are_told_soon_to_come_back_and_are_served_once_it_is_back(web: Server, gone: Callable[[], None]) -> None:
    for _ in range(3):
        refused = web.call_once("POST", "/auth/signup/", {"telephone_number": next(numbers)}, timeout=PATIENCE_SECONDS)
        assert refused.status == 503, refused.body
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json["type"].endswith("/unavailable")
        assert int(refused.headers["Retry-After"]) == refused.json["retry_after"] >= 1

    gone()

    wait_until(lambda: web.call_once("POST", "/auth/signup/", {"telephone_number": next(numbers)}).status == 200, "a signup")


def test_people_see_a_page_that_says_so(web: Server, gone: Callable[[], None]) -> None:
    page = web.request("GET", "/login/", headers={"Accept-Language": "en"}, timeout=PATIENCE_SECONDS)

    assert page.status == 503
    assert page.headers["Content-Type"].startswith("text/html")
    assert int(page.headers["Retry-After"]) >= 1
    assert "You can try again" in page.body.decode()


def test_a_restart_that_nobody_noticed_costs_nobody_a_refusal(postgres: Postgres, tmp_path: Path) -> None:
    """Without carriers of texts, who would notice."""
    with serve(postgres.url, tmp_path / "log", gunicorn, HAMMER_SMS_THREADS="0") as web:
        wait_until(lambda: _all_ready(web), "all threads of both processes to have connections")

        postgres.stop()
        postgres.start()

        assert _all_ready(web)


def test_many_at_once_do_not_queue_up_behind_each_others_waits(web: Server, gone: Callable[[], None]) -> None:
    deeds = [("/auth/refresh/", {"refresh_token": "x" * 22})] * 4
    deeds += [("/auth/signup/", {"telephone_number": next(numbers)}) for _ in range(60)]

    told, shed = web.log.read_text(), _shed(web)

    refused = at_once([partial(web.call_once, "POST", path, body, timeout=PATIENCE_SECONDS) for path, body in deeds])

    assert {answer.status for answer in refused} <= {401, 503}
    took = [float(ms) for ms in re.findall(r"503 duration_ms=([\d.]+)", web.log.read_text()[len(told) :])]
    assert len(took) + _shed(web) - shed >= 60  # those that waited for a thread meanwhile are refused without a line
    assert len([ms for ms in took if ms > BUSY_SECONDS * 900]) < len(took) / 2  # a thread each, of 16; else all would


def _shed(web: Server) -> int:
    """How many requests the server has refused because they waited too long for a thread."""
    metrics = web.request("GET", "/metrics", timeout=PATIENCE_SECONDS).body.decode()
    return int(float(metrics.partition('hammer_request_wait_seconds_count{fate="refused"} ')[2].partition("\n")[0]))


def test_those_who_watch_learn_that_it_is_not_ready_but_lives(web: Server, gone: Callable[[], None]) -> None:
    ready = web.request("GET", "/readyz", timeout=PATIENCE_SECONDS)

    assert ready.status == 503
    assert "Retry-After" in ready.headers
    assert web.request("GET", "/healthz").status == 200
    asking = [lambda: web.request("GET", "/metrics", timeout=PATIENCE_SECONDS)] * 8  # so that connections of before are used too
    for figures in [answer.body.decode() for answer in at_once(asking)]:
        assert "hammer_database_answers 0.0" in figures
        assert "hammer_request_seconds_count" in figures


def test_a_crash_under_load_loses_nothing_that_was_answered(web: Server, postgres: Postgres) -> None:
    signed_in: dict[str, str] = {}
    statuses: list[int] = []
    over = threading.Event()

    def live() -> None:
        while not over.is_set():
            number = next(numbers)
            asked = web.call_once("POST", "/auth/signup/", {"telephone_number": number})
            statuses.append(asked.status)
            if asked.status == 200:
                code = asked.json["Ваш код активации"]
                entered = web.call_once("POST", "/auth/code/", {"verification_id": asked.json["verification_id"], "code": code})
                statuses.append(entered.status)
                if entered.status == 200:
                    signed_in[number] = entered.json["invite_code"]

    people = [threading.Thread(target=live, daemon=True) for _ in range(6)]
    for person in people:
        person.start()
    wait_until(lambda: len(signed_in) > 10, "logins")
    postgres.stop()
    wait_until(lambda: 503 in statuses, "a refusal")
    postgres.start()
    before = len(signed_in)
    wait_until(lambda: len(signed_in) > before + 10, "logins after the crash")
    over.set()
    for person in people:
        person.join(timeout=30)

    assert set(statuses) == {200, 503}
    with psycopg.connect(postgres.url) as connection:
        rows = connection.execute("select telephone_number, invite_code from users").fetchall()
        assert signed_in.items() <= {(number, code) for number, code in rows}
        wait_until(lambda: _waiting(connection) == 0, "all texts to leave")


def _waiting(connection: "psycopg.Connection[tuple[int]]") -> int:
    row = connection.execute("select count(*) from texts where ended_at is null").fetchone()
    connection.rollback()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_without_redis_everything_works_and_says_so_once(web: Server, redis: Redis, how: str) -> None:
    assert web.request("GET", "/readyz").body == b"ready\nredis: answers\n"
    warned = web.log.read_text().count("Redis is away")
    redis.stop() if how == "stopped" else redis.freeze()
    try:
        for _ in range(20):
            signup = {"telephone_number": next(numbers)}
            assert web.call_once("POST", "/auth/signup/", signup, timeout=PATIENCE_SECONDS).status == 200
        wait_until(lambda: b"redis: away" in web.request("GET", "/readyz").body, "a word about Redis")
        assert web.request("GET", "/readyz").status == 200
    finally:
        redis.start() if how == "stopped" else redis.thaw()

    wait_until(
        lambda: {web.request("GET", "/readyz").body for _ in range(8)} == {b"ready\nredis: answers\n"}, "Redis to be used again"
    )
    assert 1 <= web.log.read_text().count("Redis is away") - warned <= 2  # once for each of two processes
    assert web.log.read_text().count("Redis is back") >= 1


def test_the_doctor_knows_whether_redis_answers(redis: Redis, settings: Settings, app_with: Callable[[Settings], Flask]) -> None:
    run = app_with(replace(settings, redis_url=redis.url)).test_cli_runner()
    assert "redis: Redis " in run.invoke(args=["doctor"]).output
    redis.freeze()
    try:
        told = run.invoke(args=["doctor"])
    finally:
        redis.thaw()

    assert told.exit_code == 1
    assert "REDIS_URL" in told.output
    assert redis.url not in told.output


def test_processes_count_requests_of_an_address_together(
    postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = {"REDIS_URL": f"{redis.url[:-1]}1", "HAMMER_REQUESTS_PER_ADDRESS_MINUTE": "30"}
    log = tmp_path_factory.mktemp("limited") / "log"
    with (
        serve(postgres.url, log, gunicorn, **limits) as one,
        serve(postgres.url, log.with_name("other"), gunicorn, **limits) as other,
    ):
        wait_until(lambda: time.time() % 60 < 40, "a minute with room in it", 60)
        answers = at_once([partial(site.call_once, "GET", "/users/me/") for site in (one, other) for _ in range(30)])

        refused = [answer for answer in answers if answer.status == 429]
        assert [answer.status for answer in answers].count(401) == 30
        assert len(refused) == 30
        assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in refused)
        assert json.loads(refused[0].body)["type"].endswith("/too-many-requests")
        assert one.request("GET", "/healthz").status == 200
