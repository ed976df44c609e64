"""Three database machines with etcd, Patroni and PostgreSQL, and two web hosts with a delivery worker each, in network namespaces
and with the files of `docs/deploy/`: what is replaced in them are addresses, passwords and places."""

import json
import os
import pwd
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import parts, serving
from tests.deployment import peers
from tests.deployment.fronts import with_replaced
from tests.deployment.hosts import Host, hosts
from tests.deployment.peers import Peer, wait_until

DATABASES = ("db1", "db2", "db3")
WEBS = ("web1", "web2")
NAMES = (*DATABASES, *WEBS, "people")
AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
PROGRAMS = Path(sys.executable).parent
PLAIN = {"PATH": os.environ["PATH"], "HOME": "/", "LC_ALL": "C.UTF-8"}
"""The environment of the programs of others."""
SECONDS = 90


@dataclass
class Machine:
    """One of the three."""

    name: str
    host: Host
    home: Path
    etcd: Peer
    patroni: Peer

    def start(self) -> None:
        self.etcd.start()
        self.patroni.start()

    def kill(self) -> None:
        """All programs at once, as when its power fails."""
        self.host.tell(signal.SIGKILL)
        for program in (self.etcd, self.patroni):
            program.stop()

    def freeze(self) -> None:
        self.host.tell(signal.SIGSTOP)

    def thaw(self) -> None:
        self.host.tell(signal.SIGCONT)


@dataclass
class Cluster:
    hosts: Mapping[str, Host]
    home: Path
    machines: Mapping[str, Machine]
    webs: list[Peer] = field(default_factory=list)

    def members(self) -> dict[str, tuple[str, str]]:
        """Name -> role and state, as `patronictl list` shows them."""
        listed = self.patronictl("list", "--format", "json")
        return {member["Member"]: (member["Role"], member["State"]) for member in json.loads(listed or "[]")}

    def patronictl(self, *words: str) -> str:
        """Run where the people are: no fault reaches that host."""
        settings = str(self.machines["db1"].home / "patroni.yml")
        command = [*self.hosts["people"].prefix, *AS_POSTGRES, "patronictl", "-c", settings, *words]
        return subprocess.run(command, cwd="/", env=PLAIN, capture_output=True, text=True, check=False, timeout=60).stdout

    def of_role(self, role: str) -> str:
        """The name of the first machine that has it, or nothing."""
        return next((name for name, (its, _) in self.members().items() if its == role), "")

    def is_whole(self) -> bool:
        """One leader, one synchronous standby, one further standby, and all of them run."""
        members = self.members().values()
        return sorted(role for role, _ in members) == ["Leader", "Replica", "Sync Standby"] and all(
            state in ("running", "streaming") for _, state in members
        )

    def ask(self, sql: str, database: str = "hammer") -> list[list[Any]]:
        """A query on the leader, as its superuser by its socket. Each row has to be one value of JSON."""
        home = self.machines[self.of_role("Leader")].home
        psql = [*AS_POSTGRES, "psql", "-XAt", "-v", "ON_ERROR_STOP=1", "-h", str(home), "-d", database, "-c", sql]
        done = subprocess.run(psql, cwd="/", env=PLAIN, capture_output=True, text=True, check=True, timeout=60)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]

    def wait_for_logins(self) -> None:
        """Until the crowd has signed in some times more, and the new people are to be seen in the database of the leader."""
        before = self._users()
        wait_until(lambda: self._users() >= before + 20, "logins", SECONDS)

    def _users(self) -> int:
        try:
            return int(self.ask("select json_build_array(count(*)) from users")[0][0])
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired, KeyError):  # no leader at this moment
            return 0

    def texted(self) -> set[str]:
        """To whom texts left, by what the console gateway printed on each host."""
        return {number for log in self.home.glob("worker*.log") for number in re.findall(r"Text to (\+\d+):", log.read_text())}

    def errors(self) -> list[str]:
        """What the web servers logged as errors of the program, with their tracebacks."""
        lines = [line for log in self.home.glob("web*.log") for line in log.read_text().splitlines()]
        return [line for line in lines if '"ERROR"' in line or "Traceback" in line]

    @contextmanager
    def crowd(self, turn: int) -> Iterator[list[dict[str, Any]]]:
        """Four people at each web host, as long as the block lasts: others in each turn. What they were answered is in the list
        after it."""
        told: list[dict[str, Any]] = []
        with ExitStack() as stack:
            crowds = []
            for n, web in enumerate(WEBS):
                first = str(1 + 4 * (len(WEBS) * turn + n))
                program = [sys.executable, "-m", "tests.deployment.crowd", self.hosts[web].address, "8000", "4", first]
                started = subprocess.Popen(
                    [*self.hosts["people"].prefix, *program], cwd=serving.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
                )
                stack.callback(started.wait)
                stack.callback(started.kill)
                crowds.append(started)
            yield told
            told += [json.loads(started.communicate(timeout=60)[0]) for started in crowds]


@contextmanager
def cluster() -> Iterator[Cluster]:
    if os.getuid() != 0:
        pytest.skip("Network namespaces are made by root.")
    with peers.home() as home, hosts(NAMES) as there, ExitStack() as stack:
        if not there["db1"].space:
            pytest.skip("Network namespaces cannot be made here.")
        password = secrets.token_hex(16)
        machines = {name: _machine(name, there, home, password) for name in DATABASES}
        made = Cluster(there, home, machines)
        for machine in machines.values():
            stack.callback(machine.kill)
            machine.etcd.start()
        machines["db1"].patroni.start()
        wait_until(lambda: made.of_role("Leader") == "db1", "the first leader", SECONDS)
        for name in ("db2", "db3"):
            machines[name].patroni.start()
        wait_until(made.is_whole, "three members", SECONDS)
        made.ask(f"create role hammer login password '{password}'", "postgres")
        made.ask("create database hammer owner hammer encoding 'UTF8' template template0", "postgres")
        for web in WEBS:
            _web(made, web, password, stack)
        yield made


def _machine(name: str, there: Mapping[str, Host], home: Path, password: str) -> Machine:
    place = home / name
    place.mkdir()
    os.chown(place, pwd.getpwnam("postgres").pw_uid, -1)
    addresses = {f"10.0.0.2{n}": there[f"db{n}"].address for n in (1, 2, 3)}
    own = {"MACHINE": name, "ADDRESS": there[name].address}
    etcd = with_replaced("etcd.env", own | addresses)
    settings = dict(re.findall(r"^(\w+)=(.*)$", etcd, re.MULTILINE)) | {"ETCD_DATA_DIR": str(place / "etcd")}
    swapped = own | addresses | {
        "PATRONI_PASSWORD": password, "REPLICATION_PASSWORD": password, "REWIND_PASSWORD": password,
        "/var/lib/postgresql/15/hammer": str(place / "data"),
        "/usr/lib/postgresql/15/bin": str(Path(parts.program("postgres")).resolve().parent),
        "/var/lib/postgresql/patroni.pgpass": str(place / "pgpass"), "/var/run/postgresql": str(place),
        "10.0.0.0/24": "10.213.7.0/24",
    }  # fmt: skip
    (place / "patroni.yml").write_text(with_replaced("patroni.yml", swapped))
    return Machine(
        name, there[name], place,
        Peer(["etcd"], home / f"etcd-{name}.log", there[name].prefix, PLAIN | settings),
        Peer([*AS_POSTGRES, "patroni", str(place / "patroni.yml")], home / f"patroni-{name}.log", there[name].prefix, PLAIN),
    )  # fmt: skip


def _pgbouncer(place: Path, password: str) -> Path:
    """Its settings, in a directory of its user."""
    place.mkdir()
    os.chown(place, pwd.getpwnam("postgres").pw_uid, -1)
    swapped = {"/var/run/postgresql": str(place), "/var/log/postgresql": str(place), "/etc/pgbouncer": str(place)}
    (place / "userlist.txt").write_text(f'"hammer" "{password}"\n')
    settings = place / "pgbouncer.ini"
    settings.write_text(with_replaced("pgbouncer.ini", swapped))
    return settings


def _web(made: Cluster, name: str, password: str, stack: ExitStack) -> None:
    """HAProxy and PgBouncer for the database, gunicorn and a delivery worker on one host."""
    host = made.hosts[name]
    addresses = {f"10.0.0.2{n}": made.hosts[f"db{n}"].address for n in (1, 2, 3)}
    (made.home / f"{name}.cfg").write_text(with_replaced("haproxy-database.cfg", addresses))
    settings = {
        "DATABASE_URL": f"postgresql://hammer:{password}@127.0.0.1:6432/hammer",
        "HAMMER_DATABASE_POOLER": "on",
        "SECRET_KEY": "only for the tests, 32 bytes and more",
        "HAMMER_DEMO": "on", "HAMMER_RESEND_SECONDS": "0", "HAMMER_SMS_DELAY_SECONDS": "0.05",
        "HAMMER_PUBLIC_URL": f"http://{host.address}:8000",
        "HAMMER_SENDS_PER_ADDRESS_HOUR": "100000", "HAMMER_SENDS_PER_HOUR": "1000000", "HAMMER_SENDS_PER_PREFIX_HOUR": "100000",
        "HAMMER_SMS_THREADS": "0",
    }  # fmt: skip
    ours = serving.surroundings() | settings

    def start(log: str, *command: str) -> Peer:
        program = Peer(command, made.home / f"{log}{name.removeprefix('web')}.log", host.prefix, ours, at=serving.ROOT).start()
        stack.callback(program.stop)
        return program

    start("haproxy", "haproxy", "-db", "-f", str(made.home / f"{name}.cfg"))
    start("pgbouncer", *AS_POSTGRES, parts.program("pgbouncer"), str(_pgbouncer(made.home / name, password)))
    flask = (str(PROGRAMS / "flask"), "--app", "wsgi")
    upgrade = [*host.prefix, *flask, "db", "upgrade"]
    wait_until(
        lambda: subprocess.run(upgrade, cwd=serving.ROOT, env=ours, capture_output=True, check=False).returncode == 0, "the tables"
    )
    gunicorn = (str(PROGRAMS / "gunicorn"), "--config", "gunicorn.conf.py", "--workers", "1")
    made.webs.append(start("web", *gunicorn, "--bind", f"{host.address}:8000"))
    start("worker", *flask, "worker")
