"""Demo mode shows codes to everyone: it never starts by forgetting something, and it says that it is on."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from flask import Flask
from werkzeug.test import TestResponse

import config
from config import Settings
from hammer.operations import doctor
from hammer.web import logs
from tests import routes, serving
from tests.configuration.test_reading import nowhere_else, problems, read
from tests.delivery import wait_until
from tests.people import Browser, Page
from tests.serving import Server

__all__ = ["nowhere_else"]

SAID = "Demo mode: codes are shown to everyone."
LOGGED = "Demo mode is on"
LOCAL = (
    "http://127.0.0.1:5000", "http://127.9.9.9", "http://localhost:5000", "https://localhost", "http://LOCALHOST", "http://hammer.localhost:80",
    "http://10.0.0.5", "http://172.16.0.1", "http://172.31.255.255", "http://192.168.1.20:8000", "http://169.254.7.7", "http://[::1]:5000",
    "http://[fd12:3456::1]", "http://[fe80::1]", "http://[::ffff:127.0.0.1]",
)  # fmt: skip
PUBLIC = (
    "https://login.example.com", "http://login.example.com", "http://hammer", "http://hammer.local", "https://localhost.example.com",
    "http://127.0.0.1.example.com", "http://mylocalhost", "http://172.15.255.255", "http://172.32.0.1", "http://100.64.0.1", "http://192.0.2.1",
    "http://0.0.0.0:5000", "http://[::]", "http://[2001:db8::1]", "http://[::ffff:192.0.2.1]", "http://127.1", "http://0x7f000001",
)  # fmt: skip


@pytest.mark.parametrize("address", LOCAL)
def test_it_starts_by_itself_in_development_at_an_address_that_strangers_do_not_reach(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    assert read(monkeypatch, HAMMER_PUBLIC_URL=address).demo
    assert not read(monkeypatch, HAMMER_ENV="testing").demo
    assert not read(monkeypatch, HAMMER_ENV="development", HAMMER_DEMO="off").demo


@pytest.mark.parametrize("address", PUBLIC)
def test_at_a_public_address_it_starts_by_its_own_word_alone(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    there = {"HAMMER_PUBLIC_URL": address, "HAMMER_ENV": "development"}
    assert not read(monkeypatch, **there).demo
    assert read(monkeypatch, **there, HAMMER_DEMO="1").demo


@pytest.mark.parametrize("address", PUBLIC)
def test_who_forgets_the_environment_at_a_public_address_is_told_and_nothing_starts(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Else wide limits, an open /metrics and a gateway that prints codes would be open to strangers, in silence."""
    for forgotten in ({}, {"HAMMER_DEMO": "1"}, {"HAMMER_SMS_URL": "sns://eu-central-1", "SECRET_KEY": "x" * 40}):
        [problem] = problems(monkeypatch, HAMMER_PUBLIC_URL=address, **forgotten)
        assert problem.startswith("HAMMER_ENV: ")
        assert "production" in problem


def test_production_refuses_it_in_so_many_words(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(monkeypatch, HAMMER_ENV="production", HAMMER_PUBLIC_URL="http://localhost:5000", HAMMER_DEMO="1")
    assert any(problem.startswith("HAMMER_DEMO: ") for problem in found)


@pytest.fixture
def demo(app_with: Callable[[Settings], Flask], settings: Settings) -> Flask:
    return app_with(replace(settings, demo=True))


def pages(app: Flask) -> list[tuple[str, TestResponse]]:
    """Every page, first for a stranger and then for a person who is signed in."""
    person = Browser(app)
    person.sign_in("+79161234501")
    found = []
    for client in (app.test_client(), person.client):
        client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
        found += [
            (where, answer)
            for where, answer in routes.every_answer(app, client, "http://localhost:5000")
            if answer.mimetype == "text/html" and answer.data and not answer.location
        ]
    return found


def test_every_page_says_that_it_is_on(demo: Flask) -> None:
    seen = pages(demo)
    assert {answer.status_code for _, answer in seen} >= {200, 404}
    assert [where for where, answer in seen if SAID not in Page(answer.text).words] == []


def test_no_page_says_so_where_it_is_off(app: Flask) -> None:
    assert [where for where, answer in pages(app) if SAID in answer.text] == []


def has_said(server: Server, times: int) -> bool:
    return server.log.read_text().count(LOGGED) >= times


def test_each_process_that_serves_says_in_its_log_once_that_it_is_on(serve: Callable[..., Server]) -> None:
    for command, processes in ((serving.flask_run, 1), (serving.gunicorn, 2)):
        server = serve(command)
        server.sign_in("+79161234501")
        wait_until(partial(has_said, server, processes))
        server.stop()
        said = [line for line in server.log.read_text().splitlines() if LOGGED in line]
        assert len(said) == processes
        assert all("WARNING" in line for line in said)
    assert LOGGED not in serve(HAMMER_DEMO="off").log.read_text()


def test_a_process_that_makes_several_applications_says_it_once(
    app_with: Callable[[Settings], Flask], settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    logs._warn_of_demo_mode.cache_clear()
    for _ in range(3):
        app_with(replace(settings, demo=True))
    assert [record.levelname for record in caplog.records if LOGGED in record.message] == ["WARNING"]


def test_development_answers_for_no_host_that_strangers_could_have_come_by(server: Server) -> None:
    """A public site before it, whose operator forgot every setting, or one whose name leads a browser to 127.0.0.1."""
    body = b'{"telephone_number": "+79161234502"}'
    for host in ("login.example.com", "127.0.0.1.example.com", "192.0.2.1", "[::1", "[:::::]"):
        headers = {"Host": host, "Content-Type": "application/json"}
        refused = server.request("POST", "/api/v1/auth/signup/", body, headers)
        assert (refused.status, b"verification_id" in refused.body) == (400, False), host
    for host in ("localhost:5000", "127.0.0.1", "192.168.1.20:5000", "[::1]:5000"):
        headers = {"Host": host, "Content-Type": "application/json"}
        assert server.request("POST", "/api/v1/auth/signup/", body, headers).status == 200, host
    assert "Refused a request for a host" in server.log.read_text()


@pytest.mark.parametrize("caller", ["203.0.113.9", "2001:db8::1", "::ffff:203.0.113.9"])
def test_demo_mode_at_a_local_address_shows_no_codes_to_callers_from_elsewhere(
    app_with: Callable[[Settings], Flask], settings: Settings, caller: str
) -> None:
    """Callers choose the host that they name, and a proxy may name its own. Only the address of the caller is reliable."""
    app = app_with(replace(settings, env="development", demo=True, public_url="http://localhost:5000"))
    body = {"telephone_number": "+79161234503"}
    mistakes: list[tuple[str, dict[str, str]]] = [
        (caller, {}),
        ("127.0.0.1", {"X-Forwarded-For": f"10.0.0.1, {caller}"}),
        ("127.0.0.1", {"X-Real-IP": caller}),
        ("127.0.0.1", {"X-Forwarded-For": "unknown"}),
    ]
    for peer, headers in mistakes:
        there = {"REMOTE_ADDR": peer, "HTTP_HOST": "127.0.0.1:5000"}
        refused = app.test_client().post("/api/v1/auth/signup/", json=body, headers=headers, environ_overrides=there)
        assert (refused.status_code, "verification_id" in refused.text) == (400, False), (peer, headers)
    for near in ("127.0.0.1", "192.168.1.20", "::1", "fe80::1%eth0", "::ffff:10.0.0.1"):
        there = {"REMOTE_ADDR": near, "HTTP_HOST": "127.0.0.1:5000"}
        proxied = {"X-Forwarded-For": f"{near}, 10.0.0.1:4711"}
        assert app.test_client().get("/login/", headers=proxied, environ_overrides=there).status_code == 200, near
    public = replace(settings, env="development", demo=True, public_url="https://try.example.com")
    there = {"REMOTE_ADDR": caller, "HTTP_HOST": "try.example.com"}
    assert app_with(public).test_client().get("/login/", environ_overrides=there).status_code == 200


def test_doctor_says_what_is_open_to_strangers(app_with: Callable[[Settings], Flask], settings: Settings) -> None:
    def examined(**what: object) -> list[tuple[str, str]]:
        app = app_with(replace(settings, **what))  # type: ignore[arg-type]
        with app.app_context():
            found = doctor.examine(app.config["SETTINGS"])
            return [(finding.state, finding.how) for finding in found if finding.part == "configuration"]

    at = "https://login.example.com"
    assert examined(demo=True) == [(doctor.FINE, "testing; demo mode is on and shows everyone's codes")]
    assert [state for state, _ in examined(demo=True, public_url=at)] == [doctor.FINE, doctor.WRONG, doctor.ADVICE]
    assert [state for state, _ in examined(public_url=at)] == [doctor.FINE, doctor.ADVICE]
    assert [state for state, _ in examined(public_url=at, env="production")] == [doctor.FINE]


def test_the_settings_know_whether_their_address_is_local() -> None:
    assert all(config.is_local(address) for address in LOCAL)
    assert not any(config.is_local(address) for address in (*PUBLIC, "", "//", "https://[", "//[:::::]"))
