"""One host as `docs/deploy/` has it: gunicorn on a socket that systemd keeps, behind nginx with TLS, in production."""

import http.client
import json
import os
import re
import secrets
import signal
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deployment import peers
from tests.deployment.fronts import nginx, trusting
from tests.deployment.peers import Peer, wait_until
from tests.fake_gateway import FakeGateway, fake_gateway
from tests.serving import ROOT, surroundings

PROGRAMS = Path(sys.executable).parent
NUMBER = "+79298284301"
PATIENCE_SECONDS = 100
"""New workers are there within a second, unless the machine is busy with other tests."""


class Gunicorn(Peer):
    """Started as systemd starts it: with a socket that was there before and stays when it ends."""

    def __init__(self, log: Path, environment: dict[str, str], config: str = "gunicorn.conf.py") -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port: int = self.socket.getsockname()[1]
        self.socket.set_inheritable(True)
        begin = f"exec 3<&{self.socket.fileno()}; export LISTEN_FDS=1 LISTEN_PID=$$"
        run = f"{begin}; exec {PROGRAMS}/gunicorn --config {config}"
        super().__init__(["bash", "-c", run], log, environment=surroundings() | environment, kept=[self.socket.fileno()], at=ROOT)

    def call(self, path: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("GET", path)
            with connection.getresponse() as answer:
                return answer.status
        finally:
            connection.close()


@dataclass(frozen=True)
class Site:
    gunicorn: Gunicorn
    port: int
    gateway: FakeGateway
    trust: ssl.SSLContext

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Through nginx, as people reach it."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=30)
        said = None if body is None else json.dumps(body)
        headers = {"Host": "login.example.com", "Content-Type": "application/json", "Accept-Language": "en"} | headers
        connection.request(method, path, said, {name.replace("_", "-"): value for name, value in headers.items()})
        try:
            answer = connection.getresponse()
            told = answer.read()
        finally:
            connection.close()
        is_json = "json" in answer.headers.get("Content-Type", "")
        return answer.status, dict(answer.headers.items()), json.loads(told) if is_json else told.decode()


@pytest.fixture(scope="module")
def site(postgres: peers.Postgres, redis: peers.Redis) -> Iterator[Site]:
    with peers.home() as home, fake_gateway() as gateway, ExitStack() as stack:
        gateway.open.set()
        environment = {
            "HAMMER_ENV": "production", "HAMMER_PUBLIC_URL": "https://login.example.com", "SECRET_KEY": secrets.token_urlsafe(32),
            "DATABASE_URL": postgres.url, "REDIS_URL": redis.url, "HAMMER_SMS_URL": gateway.template, "HAMMER_PROXY_HOPS": "1",
            "HAMMER_METRICS_TOKEN": "only-for-the-tests-of-metrics", "WEB_CONCURRENCY": "2",
            "HAMMER_REQUESTS_PER_ADDRESS_MINUTE": "0",
        }  # fmt: skip
        gunicorn = Gunicorn(home / "web.log", environment)
        stack.callback(gunicorn.socket.close)
        gunicorn.start()
        stack.callback(gunicorn.stop)
        wait_until(lambda: gunicorn.call("/readyz") == 200, "gunicorn")
        port = stack.enter_context(nginx(home, gunicorn.port))
        yield Site(gunicorn, port, gateway, trusting())


pytestmark = [pytest.mark.needs("postgres", "redis-server", "nginx", "openssl")]


def test_somebody_signs_in_through_tls_by_a_text_that_left(site: Site) -> None:
    status, headers, asked = site.call("POST", "/api/v1/auth/signup/", {"telephone_number": NUMBER})
    assert status == 200, asked
    assert "Ваш код активации" not in asked
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    wait_until(lambda: bool(site.gateway.texts_to()[NUMBER]), "the text")
    code = re.search(r"#(\d{4,8})$", site.gateway.asked[-1].query["text"])
    assert code is not None

    status, _, tokens = site.call("POST", "/api/v1/auth/code/", {"verification_id": asked["verification_id"], "code": code[1]})
    assert status == 200, tokens

    status, _, me = site.call("GET", "/api/v1/users/me/", Authorization=f"Bearer {tokens['access_token']}")
    assert (status, me["telephone_number"]) == (200, NUMBER)


@pytest.mark.requirement("CRY-02")
def test_the_front_gives_away_no_figures_and_no_version(site: Site) -> None:
    assert site.call("GET", "/metrics")[0] == 404
    status, headers, told = site.call("GET", "/metrics", Authorization="Bearer only-for-the-tests-of-metrics")
    assert status == 200
    assert "hammer_request_seconds_count" in told
    assert headers["Server"] == "nginx"


def test_other_hosts_and_forged_addresses_are_not_believed(site: Site) -> None:
    assert site.call("GET", "/login/", Host="elsewhere.example.com")[0] in (400, 404, 444)
    status, _, _ = site.call("GET", "/api/v1/users/me/", X_Forwarded_Proto="http", X_Forwarded_For="192.0.2.1")
    assert status == 401  # not 403: nginx says https for itself


@pytest.mark.requirement("LOG-01")
def test_every_line_of_the_log_is_json_gunicorns_own_too(site: Site) -> None:
    site.call("GET", "/api/v1/users/me/", X_Request_ID="forged-by-somebody")
    with socket.create_connection(("127.0.0.1", site.gunicorn.port)) as rude:
        rude.sendall(b"GET / HTTP/9.9\r\n\r\n")
        rude.recv(1000)

    written = site.gunicorn.log.read_text()

    lines = [json.loads(line) for line in written.splitlines()]
    told = [line for line in lines if line["message"].startswith("GET /api/v1/users/")]
    assert re.fullmatch(r"[0-9a-f]{32}", told[-1]["request_id"])  # nginx's, not the caller's
    assert all({"at", "level", "logger", "message", "request_id"} <= line.keys() for line in lines)
    assert NUMBER not in written


@pytest.mark.parametrize("how", ["reload", "restart"])
def test_neither_a_reload_nor_a_restart_costs_anybody_an_answer(site: Site, how: str) -> None:
    statuses: Counter[int | str] = Counter()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                statuses[site.gunicorn.call("/readyz")] += 1
            except (OSError, http.client.HTTPException) as fault:
                statuses[repr(fault)] += 1

    people = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
    for person in people:
        person.start()
    try:
        wait_until(lambda: statuses[200] > 20, "requests")
        RENEW[how](site.gunicorn)
        before = statuses[200]
        wait_until(lambda: statuses[200] > before + 20, "requests to new workers", PATIENCE_SECONDS)
    finally:
        over.set()
    for person in people:
        person.join(timeout=PATIENCE_SECONDS)

    assert set(statuses) == {200}


SLOW = """\
import runpy, time
globals().update(runpy.run_path("{root}/gunicorn.conf.py"))
_begin = post_fork


def post_fork(server, worker):
    _begin(server, worker)
    while Path("{hold}").exists():
        time.sleep(0.05)
"""
"""Our own configuration, with workers that load only once they may."""


def test_at_a_reload_the_former_workers_serve_until_new_ones_can(tmp_path: Path) -> None:
    hold, config = tmp_path / "hold", tmp_path / "slow.conf.py"
    config.write_text(SLOW.format(root=ROOT, hold=hold))
    environment = {"DATABASE_URL": f"sqlite:///{tmp_path}/hammer.sqlite3", "SECRET_KEY": "sesame" * 6, "WEB_CONCURRENCY": "2"}
    gunicorn = Gunicorn(tmp_path / "log", environment, str(config)).start()
    try:
        wait_until(lambda: gunicorn.call("/healthz") == 200, "gunicorn", PATIENCE_SECONDS)
        former = _workers(gunicorn.pid)
        hold.touch()
        os.kill(gunicorn.pid, signal.SIGHUP)
        wait_until(lambda: len(_workers(gunicorn.pid) - former) == 2, "new workers", PATIENCE_SECONDS)
        assert [gunicorn.call("/healthz") for _ in range(20)] == [200] * 20
        assert former < _workers(gunicorn.pid)

        hold.unlink()

        wait_until(lambda: not former & _workers(gunicorn.pid), "the former workers to end", PATIENCE_SECONDS)
        assert [gunicorn.call("/healthz") for _ in range(20)] == [200] * 20
        killed = _workers(gunicorn.pid).pop()
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: killed not in _workers(gunicorn.pid), "its end", PATIENCE_SECONDS)
        wait_until(lambda: len(_workers(gunicorn.pid)) == 2, "another in its place", PATIENCE_SECONDS)
    finally:
        gunicorn.stop()
        gunicorn.socket.close()
    assert gunicorn.log.read_text().count("Several workers share one SQLite") == 1


def _restart(gunicorn: Gunicorn) -> None:
    gunicorn.stop()
    gunicorn.start()


def _reload(gunicorn: Gunicorn) -> None:
    former = _workers(gunicorn.pid)
    os.kill(gunicorn.pid, signal.SIGHUP)
    wait_until(lambda: not former & _workers(gunicorn.pid), "the former workers to end", PATIENCE_SECONDS)


RENEW = {"reload": _reload, "restart": _restart}


def _workers(pid: int) -> set[int]:
    return {int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()}
