"""`/metrics` of a worker."""

import http.client
import socket
import struct
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from marshmallow import ValidationError

import config
from config import Settings
from hammer.web import metrics_server
from tests import serving
from tests.actions import ANNA, ask
from tests.databases import Databases
from tests.delivery import wait_until
from tests.serving import free_port

TOKEN = "only-for-the-tests-of-metrics"


def get(port: int, path: str = "/metrics", **headers: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_it_is_open_to_the_token_alone_and_only_while_it_is_served(
    settings: Settings, app_with: Callable[[Settings], Flask]
) -> None:
    app, port = app_with(replace(settings, metrics_token=TOKEN)), free_port()

    with metrics_server.serve(app, str(port)):
        status, shown = get(port, Authorization=f"Bearer {TOKEN}")
        refused = [get(port), get(port, Authorization="Bearer "), get(port, "/login/"), get(port, "/healthz")]

    assert status == 200
    assert "hammer_database_answers 1.0" in shown
    assert {status for status, _ in refused} == {404}
    with pytest.raises(ConnectionRefusedError):
        get(port)


def test_without_a_setting_it_takes_no_port(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "bind", lambda *_: pytest.fail("A port was taken."))

    with metrics_server.serve(app, ""):
        pass


def test_it_answers_on_loopback_unless_a_host_is_named(app: Flask) -> None:
    port = free_port()
    with metrics_server.serve(app, str(port)), closing(socket.socket()) as other:
        other.bind(("127.0.0.2", port))  # so it is not bound to every address

        assert get(port)[0] == 200


def test_a_caller_who_hangs_up_leaves_nothing_in_the_log(app: Flask, capfd: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    with metrics_server.serve(app, str(port)):
        with socket.create_connection(("127.0.0.1", port)) as caller:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # the end is a reset
            caller.send(b"GET /metrics")

        assert get(port)[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("place", ["0", "65536", "x", ":9101", "10.0.0.12:", "http://10.0.0.12:9101", "10.0.0.12:9101/"])
def test_what_is_no_port_and_no_host_is_refused(place: str) -> None:
    with pytest.raises(ValidationError):
        config._place(place)


@pytest.mark.processes
def test_a_worker_shows_what_it_sent(app: Flask, settings: Settings, databases: Databases, tmp_path: Path) -> None:
    with app.app_context():
        ask(settings, ANNA)
    port = free_port()
    environment = serving.surroundings() | serving.development(settings.database_url, 5000)
    environment |= {"HAMMER_WORKER_METRICS": str(port), "HAMMER_SMS_URL": "console://"}
    process = serving.begin(["flask", "--app", "wsgi", "worker"], environment, tmp_path / "log")
    try:
        wait_until(lambda: 'hammer_texts_total{fate="sent",gateway="console/1"} 1.0' in _shown(port))
        shown = _shown(port)
        again = serving.begin(["flask", "--app", "wsgi", "worker"], environment, tmp_path / "again")
        refused = again.wait(60)
    finally:
        process.terminate()
        ended = process.wait(60)

    assert 'hammer_gateway_seconds_count{gateway="console/1",outcome="took"} 1.0' in shown
    assert "hammer_processes 1.0" in shown
    assert refused == 1
    assert "HAMMER_WORKER_METRICS" in (tmp_path / "again").read_text()
    assert ended == 0
    assert ANNA not in shown


def _shown(port: int) -> str:
    try:
        return get(port)[1]
    except OSError:
        return ""
