"""Traces of requests and texts, as a collector of OpenTelemetry gets them (`HAMMER_TRACING`)."""

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask

import config
from config import Misconfigured, Settings
from hammer.db.database import db
from hammer.models import Message
from hammer.operations import doctor
from hammer.sms import outbox
from hammer.tracing import spans
from tests import delivery, serving
from tests.actions import ANNA
from tests.databases import Databases
from tests.delivery import wait_until
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.people import Program
from tests.tracing.collector import Collector, collector
from tests.workers import ask

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "canary79290000009"
SIGNUP = "POST /api/v1/auth/signup/"
NEVER = "600000"
"""Milliseconds between two batches: only the end of the process sends one."""


@pytest.fixture
def spans_to() -> Iterator[Collector]:
    with collector() as one:
        yield one


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    with fake_gateway() as one:
        yield one


@pytest.fixture
def traced(
    settings: Settings, app_with: Callable[[Settings], Flask], spans_to: Collector, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Program]]:
    """Makes an application with tracing."""
    loggers = [logging.getLogger(name) for name in ("opentelemetry", "urllib3")]
    levels = [logger.level for logger in loggers]

    def make(milliseconds: str = NEVER, **changed: object) -> Program:
        monkeypatch.setenv(ENDPOINT, spans_to.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", milliseconds)
        return Program(app_with(replace(settings, tracing=True, **changed)))  # type: ignore[arg-type]

    yield make
    spans.stop()
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def signed_up(program: Program, **headers: str) -> str:
    """The id of a request for a code."""
    body = {"telephone_number": ANNA}
    return program.client.post("/api/v1/auth/signup/", json=body, headers=headers).headers["X-Request-ID"]


@pytest.mark.processes
@pytest.mark.requirement("LOG-02")
def test_one_trace_leads_from_the_proxy_through_web_server_and_worker_to_the_gateway(
    databases: Databases, spans_to: Collector, gateway: FakeGateway, tmp_path: Path
) -> None:
    tracing = {"HAMMER_TRACING": "on", ENDPOINT: spans_to.url, "OTEL_BSP_SCHEDULE_DELAY": NEVER}
    environment = tracing | {"HAMMER_SMS_THREADS": "0", "HAMMER_PROXY_HOPS": "1"}
    given = {"Content-Type": "application/json", "X-Forwarded-For": "10.77.0.77", "traceparent": f"00-{TRACE}-{CALLER}-01"}
    body = f'{{"telephone_number": "{ANNA}"}}'.encode()

    with serving.serve(databases.new(), tmp_path / "web", serving.gunicorn, **environment) as server:
        answer = server.request("POST", "/api/v1/auth/signup/", body, given)
        assert answer.status == 200, answer.body
        server.request("GET", f"/i/{CANARY}/?q={CANARY}", headers={"Cookie": CANARY, "User-Agent": CANARY})
        of_worker = serving.development(server.database_url, server.port) | tracing | {"HAMMER_SMS_URL": gateway.template}
        command = ["python", "-m", "flask", "--app", "wsgi", "worker"]  # no fork, which would end without `atexit`
        worker = serving.begin(command, serving.surroundings() | of_worker, tmp_path / "worker")
        try:
            wait_until(lambda: ask(server.database_url, "select state from texts") == ["sent"])
            worker.terminate()
            assert worker.wait(timeout=30) == 0
        finally:
            worker.kill()
        server.stop()

    request, text, asked = map(spans_to.named, (SIGNUP, "deliver text", "gateway http/1"))
    assert [span.kind for span in (request, text, asked)] == ["SPAN_KIND_SERVER", "SPAN_KIND_CONSUMER", "SPAN_KIND_CLIENT"]
    assert {span.trace_id for span in (request, text, asked)} == {TRACE}
    assert (request.parent, text.parent, asked.parent) == (CALLER, request.id, text.id)
    assert gateway.asked[0].headers["traceparent"] == f"00-{TRACE}-{asked.id}-01"
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/api/v1/auth/signup/",
        "http.response.status_code": 200,
        "hammer.request_id": answer.headers["X-Request-ID"],
    }
    assert text.attributes["hammer.request_id"] == answer.headers["X-Request-ID"]
    assert text.attributes["hammer.outcome"] == "sent"
    assert asked.attributes == {"hammer.gateway": "http/1", "hammer.outcome": "took"}
    code, verification_id = answer.json["Ваш код активации"], answer.json["verification_id"]
    sent = b"".join(spans_to.bodies)
    for secret in (ANNA, ANNA[1:], "10.77.0.77", verification_id, CANARY, "to=", "telephone_number"):
        assert secret.encode() not in sent
    assert not any(code == str(value) for span in spans_to.spans for value in span.attributes.values())


@pytest.mark.requirement("LOG-02")
@pytest.mark.parametrize("flag", ["00", "01"])
def test_a_stranger_chooses_neither_the_trace_nor_whether_it_is_recorded(
    traced: Callable[..., Program], spans_to: Collector, flag: str
) -> None:
    signed_up(traced(), traceparent=f"00-{TRACE}-{CALLER}-{flag}", tracestate="theirs=79290000001")
    spans.stop()

    request = spans_to.named(SIGNUP)
    assert (request.trace_id != TRACE, request.parent) == (True, "")
    assert b"theirs" not in b"".join(spans_to.bodies)


def test_the_trace_of_a_proxy_that_is_not_recorded_stays_so(traced: Callable[..., Program], spans_to: Collector) -> None:
    signed_up(traced(proxy_hops=1), traceparent=f"00-{TRACE}-{CALLER}-00", X_Forwarded_For="192.0.2.1")
    spans.stop()

    assert not spans_to.spans


def test_faults_are_spans_that_failed(traced: Callable[..., Program], spans_to: Collector, gateway: FakeGateway) -> None:
    program, gateway.status = traced(), 500
    program.app.config["PROPAGATE_EXCEPTIONS"] = False
    program.app.add_url_rule("/broken/<name>", view_func=lambda name: str(int(name) // 0))
    signed_up(program)
    program.client.get(f"/broken/{ANNA}")
    with program.app.app_context():
        outbox.deliver_next(replace(program.app.config["SETTINGS"], sms_url=gateway.template))
    spans.stop()

    broken, asked, text = map(spans_to.named, ("GET /broken/<name>", "gateway http/1", "deliver text"))
    assert (broken.failed, broken.attributes["error.type"]) == (True, "500")
    assert (asked.failed, asked.attributes["error.type"]) == (True, "answered 500")
    assert (text.failed, text.attributes["hammer.outcome"]) == (False, "tried later")
    assert ANNA[1:].encode() not in b"".join(spans_to.bodies)


def test_a_collector_that_is_away_is_one_line_in_the_log_and_fails_no_request(
    traced: Callable[..., Program], spans_to: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    program, spans_to.status = traced("10"), 400

    def until_posted(posts: int) -> None:
        def was_posted() -> bool:
            assert program.client.get("/healthz").status_code == 200
            return spans_to.posts >= posts

        wait_until(was_posted)

    until_posted(3)
    spans_to.status = 200
    until_posted(5)
    spans.stop()

    said = [record.getMessage() for record in caplog.records if record.name != "hammer.web.logs"]
    assert said == ["The collector does not take our spans. They are lost until it does.", "The collector takes our spans again."]


@pytest.mark.processes
def test_without_the_setting_nothing_of_it_is_loaded_and_nothing_is_stored(app: Flask, settings: Settings) -> None:
    script = (
        "import sys, hammer; app = hammer.create_app(); "
        f"print(app.test_client().post('/api/v1/auth/signup/', json={{'telephone_number': '{ANNA}'}}).status_code, "
        "[name for name in sys.modules if name.startswith(('opentelemetry', 'google'))])"
    )
    environment = serving.surroundings() | serving.development(settings.database_url, 5000) | {ENDPOINT: "http://127.0.0.1:9"}

    printed = subprocess.check_output([sys.executable, "-c", script], cwd=serving.ROOT, env=environment, text=True)

    assert printed == "200 []\n"
    with app.app_context():
        delivery.deliver(settings)
        assert db.session.query(Message).one().traceparent is None


@pytest.mark.parametrize(
    ("environment", "remedy"),
    [
        ({}, "Set OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({ENDPOINT: "collector"}, "Set OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({ENDPOINT: "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
    ],
)
def test_it_starts_with_a_collector_that_the_operator_named_and_not_without(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], remedy: str
) -> None:
    monkeypatch.setenv("HAMMER_TRACING", "on")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(Misconfigured, match=f"HAMMER_TRACING: .*{remedy}"):
        config.read()


def test_it_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMMER_TRACING", "on")
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    assert config.read().tracing

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)  # as if it were not installed

    with pytest.raises(Misconfigured, match=r"pip install -r requirements-tracing\.txt"):
        config.read()


@pytest.mark.usefixtures("context")
@pytest.mark.parametrize(("on", "said"), [(False, "off"), (True, "spans go to https://collector.internal:4318")], ids=["off", "on"])
def test_doctor_says_where_spans_go(settings: Settings, monkeypatch: pytest.MonkeyPatch, on: bool, said: str) -> None:
    monkeypatch.setenv(ENDPOINT, "https://hammer:secret@collector.internal:4318/path")

    found = doctor.examine(replace(settings, tracing=on))

    assert [finding.how for finding in found if finding.part == "tracing"] == [said]
