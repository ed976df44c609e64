"""Two web hosts and two worker hosts on one PostgreSQL and one Redis, behind haproxy; each is restarted in turn under load: no
request fails, and no text is lost."""

import csv
import io
import json
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import serving
from tests.deployment import peers
from tests.deployment.hosts import Host, hosts
from tests.deployment.peers import Peer, wait_until

PROGRAMS = Path(sys.executable).parent
HAPROXY = """
global
    stats socket {socket} level admin
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    option forwardfor
    option redispatch
    retries 3
    timeout check 5s
    default-server check inter 200ms fall 2 rise 1
frontend people
    bind {front}:8080
    default_backend hammer
backend hammer
    option httpchk GET /readyz
    server web1 {web1}:8000
    server web2 {web2}:8000
"""


@dataclass(frozen=True)
class Site:
    hosts: Mapping[str, Host]
    programs: Mapping[str, Peer]
    socket: Path
    home: Path

    def tell_front(self, order: str) -> str:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.socket))
            line.sendall(f"{order}\n".encode())
            return b"".join(iter(lambda: line.recv(65536), b"")).decode()

    def standing(self, web: str) -> dict[str, str]:
        """What haproxy knows about one of its servers."""
        rows = csv.DictReader(io.StringIO(self.tell_front("show stat").removeprefix("# ")))
        return next(row for row in rows if row["pxname"] == "hammer" and row["svname"] == web)

    def restart_web(self, web: str) -> None:
        """As `docs/deploy.md` has it: no new requests, then the end, then all again."""
        self.tell_front(f"set server hammer/{web} state drain")
        wait_until(lambda: self.standing(web)["scur"] == "0", f"the last request at {web}")
        self.programs[web].stop()
        wait_until(lambda: self.standing(web)["status"].startswith("DOWN"), f"haproxy to see that {web} stopped")
        self.programs[web].start()
        self.tell_front(f"set server hammer/{web} state ready")
        wait_until(lambda: self.standing(web)["status"] == "UP", f"{web} to be ready")

    def restart_worker(self, worker: str) -> None:
        self.programs[worker].stop()
        self.programs[worker].start()

    def texted(self) -> set[str]:
        """To whom texts left, by what the console gateway printed on each host."""
        return {number for log in self.home.glob("*.log") for number in re.findall(r"Text to (\+\d+):", log.read_text())}


def _start(stack: ExitStack, program: Peer) -> Peer:
    stack.callback(program.stop)
    return program.start()


@pytest.fixture
def site() -> Iterator[Site]:
    with peers.home() as home, hosts() as there, ExitStack() as stack:
        (home / "base").mkdir()
        database = peers.Postgres(home / "base", there["base"].address, there["base"].prefix)
        redis = peers.Redis(home / "base", there["base"].address, there["base"].prefix)
        _start(stack, database)
        _start(stack, redis)
        settings = {
            "DATABASE_URL": database.url, "REDIS_URL": redis.url, "SECRET_KEY": secrets.token_urlsafe(32),
            "HAMMER_DEMO": "on", "HAMMER_RESEND_SECONDS": "0", "HAMMER_SMS_DELAY_SECONDS": "0.05", "HAMMER_PROXY_HOPS": "1",
            "HAMMER_SENDS_PER_ADDRESS_HOUR": "100000", "HAMMER_SENDS_PER_HOUR": "1000000", "HAMMER_SENDS_PER_PREFIX_HOUR": "100000",
            "HAMMER_SMS_THREADS": "0",
        }  # fmt: skip

        def ours_at(host: str, *command: str) -> Peer:
            variables = [f"{name}={value}" for name, value in settings.items()]
            program = [*there[host].prefix, "env", "-C", str(serving.ROOT), *variables, str(PROGRAMS / command[0]), *command[1:]]
            return Peer(program, home / f"{host}.log", environment=serving.surroundings())

        flask = ("flask", "--app", "wsgi")
        upgrade = ours_at("base", *flask, "db", "upgrade")
        wait_until(
            lambda: subprocess.run(upgrade.command, env=serving.surroundings(), check=False).returncode == 0, "the tables", 30
        )
        programs = {}
        for web in ("web1", "web2"):
            gunicorn = ("gunicorn", "--config", "gunicorn.conf.py", "--workers", "2", "--keep-alive", "1")
            programs[web] = _start(stack, ours_at(web, *gunicorn, "--bind", f"{there[web].address}:8000"))
        for worker in ("worker1", "worker2"):
            programs[worker] = _start(stack, ours_at(worker, *flask, "worker"))
        addresses = {name: host.address for name, host in there.items()}
        (home / "haproxy.cfg").write_text(HAPROXY.format(socket=home / "front.sock", **addresses))
        _start(stack, Peer(["haproxy", "-db", "-f", str(home / "haproxy.cfg")], home / "front", there["front"].prefix))
        made = Site(there, programs, home / "front.sock", home)
        wait_until(made.socket.exists, "haproxy")
        wait_until(lambda: {made.standing(web)["status"] for web in ("web1", "web2")} == {"UP"}, "both web hosts", 40)
        yield made


@pytest.mark.needs("postgres", "redis-server", "haproxy")
def test_a_rolling_restart_under_load_fails_no_request_and_loses_no_text(site: Site) -> None:
    crowd = [*site.hosts["people"].prefix, sys.executable, "-m", "tests.deployment.crowd", site.hosts["front"].address, "8080", "4"]
    with subprocess.Popen(crowd, cwd=serving.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as people:
        wait_until(lambda: len(site.texted()) > 5, "texts under load")

        for name in site.programs:
            site.restart_web(name) if name.startswith("web") else site.restart_worker(name)

        told, _ = people.communicate(timeout=60)
    seen: dict[str, Any] = json.loads(told)
    assert set(seen["answers"]) == {"fine"}, seen["answers"]
    assert seen["answers"]["fine"] > 50
    wait_until(lambda: set(seen["waiting"]) <= site.texted(), "every text to arrive")
    served = {web: int(site.standing(web)["stot"]) for web in ("web1", "web2")}
    assert min(served.values()) > 10, served
