"""Measures Hammer beside the floor and prints the tables of docs/performance.md: `make bench`.

Each round loads Hammer, then the floor, then Hammer again and so on, on the same machine at the same time: what else the machine
does hits both. The CPU time of the server's processes is what counts; a ratio is made in each round, and the middle one is told,
with the smallest and the largest.
"""

import argparse
import itertools
import logging
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import event, make_url

from hammer import codes
from hammer.db.database import db
from hammer.login import verifications
from tests.actions import wrong_code
from tests.benchmarks import floor, hammer_app, servers
from tests.benchmarks.load import Connection, Deeds, Person, knock
from tests.databases import PostgresDatabases, SqliteFiles, migrate

FLOOR, HAMMER = "floor", "Hammer"
PEOPLE = 50
"""Of each application, before anything is measured; each has an invitee, and activated a code."""
DEEDS = {"profile": 1, "new login": 2, "returning login": 2, "refused code": 1, "activation": 1}
"""What is measured, and how many requests it is."""
TARGETS = {"profile": 2.0, "new login": 2.5, "returning login": 2.5, "refused code": 2.5}
GUESSES = 3


@dataclass
class Application:
    name: str
    server: servers.Server
    deeds: Deeds
    numbers: Iterator[str]
    people: list[Person] = field(default_factory=list)

    def newcomers(self, many: int) -> list[Person]:
        return [Person(next(self.numbers)) for _ in range(many)]

    def settle(self) -> None:
        """The first people, who invited each other in a row."""
        self.people = self.newcomers(PEOPLE)
        knock(self.server.port, 4, self.deeds.sign_in, self.people)
        for inviter, invitee in itertools.pairwise(self.people):
            self.invite([invitee], inviter, 1)

    def invite(self, people: Sequence[Person], inviter: Person, connections: int) -> Any:
        async def activate(at: Connection, person: Person) -> None:
            await self.deeds.activate(at, person, inviter.invite_code)

        return knock(self.server.port, connections, activate, people)


@dataclass(frozen=True)
class Sample:
    cpu: float
    """Milliseconds of a deed."""
    latencies: list[float]


def numbers() -> Iterator[str]:
    """Mobile numbers that nobody had before, spread over all prefixes."""
    begin = secrets.randbelow(10**7)
    for n in range(begin, begin + 10**7):
        yield f"+7929{n * 10_007 % 10**7:07d}"


def sample(app: Application, deed: str, connections: int, many: int) -> Sample:
    """Does the deed so many times; what leads up to it is not measured."""
    port, deeds = app.server.port, app.deeds
    people = app.newcomers(many)
    run: Callable[[], Any]
    if deed == "profile":
        people = [app.people[n % PEOPLE] for n in range(many)]
        run = partial(knock, port, connections, deeds.look, people)
    elif deed == "new login":
        run = partial(knock, port, connections, deeds.sign_in, people)
    elif deed == "returning login":
        people = [Person(app.people[n % PEOPLE].number) for n in range(many)]
        run = partial(knock, port, connections, deeds.sign_in, people)
    elif deed == "refused code":
        people = people[: -(-many // GUESSES)]
        knock(port, connections, deeds.sign_up, people)
        guesses = (people * GUESSES)[:many]
        run = partial(knock, port, connections, deeds.guess_wrong, guesses)
    else:
        knock(port, connections, deeds.sign_in, people)
        run = partial(app.invite, people, app.people[0], connections)
    before = app.server.cpu_seconds()
    knocks = run()
    return Sample((app.server.cpu_seconds() - before) / many * 1000, knocks.latencies)


@contextmanager
def applications(url: Callable[[], str]) -> Iterator[list[Application]]:
    """Hammer and the floor, each on a database of its own."""
    with ExitStack() as running:
        made = []
        for name, make in ((HAMMER, "tests.benchmarks.hammer_app:make()"), (FLOOR, "tests.benchmarks.floor:make()")):
            address = url()
            environment = hammer_app.ENVIRONMENT | {"DATABASE_URL": address if name == HAMMER else plain(address)}
            server = running.enter_context(servers.serve(make, environment))
            app = Application(name, server, Deeds(code_of(name)), numbers())
            app.settle()
            made.append(app)
        yield made


def plain(url: str) -> str:
    """As drivers read it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def code_of(name: str) -> Callable[[str, str], str]:
    """Computes codes as the application does: it shows none."""
    if name == FLOOR:
        return floor.one_time_code
    with environment():
        key = hammer_app.settings().key("codes")
    return lambda verification_id, number: codes.one_time_code(
        key, verification_id=verification_id, telephone_number=number, purpose=verifications.LOGIN, length=4
    )


@contextmanager
def environment(**more: str) -> Iterator[None]:
    """As the servers have it, in this process."""
    before = dict(os.environ)
    os.environ.update({"FLASK_SKIP_DOTENV": "1"} | hammer_app.ENVIRONMENT | more)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each start would compile the program anew
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(kind: str, url: Callable[[], str], options: argparse.Namespace) -> None:
    with applications(url) as apps:
        print(f"\n### {kind}\n")
        print("| operation | connections | Hammer, ms of CPU | floor, ms of CPU | ratio", end=" | ")
        print("Hammer p50 / p99, ms | floor p50 / p99, ms |")
        print("|---|---:|---:|---:|---|---:|---:|")
        for deed, connections in itertools.product(options.deeds or DEEDS, options.connections):
            for app in apps:
                sample(app, deed, connections, max(20, connections))
            rounds = [{app.name: sample(app, deed, connections, options.many) for app in apps} for _ in range(options.rounds)]
            print(row(deed, connections, rounds), flush=True)
        memory = ", ".join(f"{app.name} {app.server.worker_megabytes():.0f} MB" for app in apps)
        print(f"\nMemory of the worker afterwards: {memory}.")


def row(deed: str, connections: int, rounds: Sequence[Mapping[str, Sample]]) -> str:
    ratios = [of[HAMMER].cpu / of[FLOOR].cpu for of in rounds]
    cpu = {name: statistics.median(of[name].cpu for of in rounds) for name in (HAMMER, FLOOR)}
    waits = {name: sorted(latency for of in rounds for latency in of[name].latencies) for name in (HAMMER, FLOOR)}
    ends = {name: f"{of[len(of) // 2] * 1000:.1f} / {of[len(of) * 99 // 100] * 1000:.0f}" for name, of in waits.items()}
    target = f" (at most {TARGETS[deed]})" if deed in TARGETS else ""
    requests = f", {DEEDS[deed]} requests" if DEEDS[deed] > 1 else ""
    return (
        f"| {deed}{requests} | {connections} | {cpu[HAMMER]:.2f} | {cpu[FLOOR]:.2f} | **{statistics.median(ratios):.2f}** "
        f"({min(ratios):.2f} to {max(ratios):.2f}){target} | {ends[HAMMER]} | {ends[FLOOR]} |"
    )


def count_statements(url: Callable[[], str]) -> None:
    """Asks either application in this process for each deed once, and prints how many statements they sent."""
    logging.disable()
    counts: dict[str, dict[str, int]] = {}
    for name in (HAMMER, FLOOR):
        with environment(DATABASE_URL=url()):
            counts[name] = _statements(name)
    print("| request | Hammer | floor |\n|---|---:|---:|")
    for request in counts[HAMMER]:
        print(f"| {request} | {counts[HAMMER][request]} | {counts[FLOOR][request]} |")


def _statements(name: str) -> dict[str, int]:
    code = code_of(name)
    if name == FLOOR:
        os.environ["DATABASE_URL"] = plain(os.environ["DATABASE_URL"])
        floor._here.__dict__.clear()
        app, seen = floor.make(), floor.statements
    else:
        app = hammer_app.make()
        seen = _watched(app)
    client, counts, supply = app.test_client(), {}, numbers()

    def call(what: str, method: str, path: str, body: dict[str, str] | None, token: str = "", status: int = 200) -> Any:
        headers = {"X-Forwarded-For": "10.1.1.1", "X-Forwarded-Proto": "https", "Host": "login.example.com"}
        seen.clear()
        answer = client.open(
            f"/api/v1{path}", method=method, json=body, headers=headers | ({"Authorization": f"Bearer {token}"} if token else {})
        )
        assert answer.status_code == status, answer.data
        counts[what] = len(seen)
        return answer.json

    def sign_in(number: str, what: str) -> tuple[str, str]:
        sent = call("signup", "POST", "/auth/signup/", {"telephone_number": number})
        body = {"verification_id": sent["verification_id"]}
        right = code(sent["verification_id"], number)
        call("refused code", "POST", "/auth/code/", body | {"code": wrong_code(right)}, status=401)
        came = call(f"code, {what}", "POST", "/auth/code/", body | {"code": right})
        return came["access_token"], came["invite_code"]

    anna, boris, clara = (sign_in(next(supply), "new") for _ in range(3))
    number = next(supply)
    sign_in(number, "new")
    sign_in(number, "returning")
    call("activation", "POST", "/users/me/invite/", {"invite_code": anna[1]}, boris[0])
    call("activation", "POST", "/users/me/invite/", {"invite_code": boris[1]}, clara[0])
    call("profile, invited by somebody and inviting somebody", "GET", "/users/me/", None, boris[0])
    return counts


def _watched(app: Flask) -> list[str]:
    seen: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda _c, _u, statement, *_: seen.append(statement))
        event.listen(db.engine, "commit", lambda _: seen.append("COMMIT"))
    return seen


def start(rounds: int) -> None:
    """How long it takes to import the program and make the application, and from the start of a server to its first answer."""
    clock = "import time; t, c = time.perf_counter(), time.process_time(); import wsgi; "
    clock += "print(time.perf_counter() - t, time.process_time() - c)"
    imports = []
    for _ in range(rounds + 1):  # the first one may have to compile
        told = subprocess.run([sys.executable, "-c", clock], cwd=servers.ROOT, capture_output=True, text=True, check=True)
        imports.append([float(seconds) for seconds in told.stdout.split()])
    wall, cpu = (min(column) for column in zip(*imports, strict=True))
    print(f"Import, with the application: {wall:.2f} s, {cpu:.2f} s of CPU (the best of {len(imports)}; at most 0.7).")
    with tempfile.TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/start.sqlite3"
        first = []
        for _ in range(rounds):
            began = time.perf_counter()
            with servers.serve("wsgi:app", hammer_app.ENVIRONMENT | {"DATABASE_URL": url}) as server:
                first.append((time.perf_counter() - began, server.cpu_seconds(), server.worker_megabytes()))
    wall, cpu, memory = (min(column) for column in zip(*first, strict=True))
    print(f"First answer: {wall:.2f} s after the start of the server, {cpu:.2f} s of CPU (the best of {rounds}; at most 1).")
    print(f"Memory of the worker then: {memory:.0f} MB (at most 80).")


def told() -> None:
    model = next(
        line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    )
    tools = ("Flask", "SQLAlchemy", "psycopg", "gunicorn", "marshmallow", "flask-smorest")
    print(f"{model}, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} at the start.", end=" ")
    print(f"CPython {platform.python_version()}, {', '.join(f'{tool} {version(tool)}' for tool in tools)}. {servers.SERVER}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--many", type=int, default=300, help="deeds in a round of one application")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--deeds", nargs="+", choices=DEEDS)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    told()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as made, environment():
        kinds: dict[str, Callable[[], str]] = {}
        if options.only != "postgresql":
            files = SqliteFiles(Path(directory))
            migrate(hammer_app.settings_for(f"sqlite:///{files.template}"))
            kinds["SQLite"] = files.new
        if (server := os.environ.get("TEST_DATABASE_URL", "")) and options.only != "sqlite":
            on_server = PostgresDatabases(make_url(server))
            made.callback(on_server.close)
            migrate(hammer_app.settings_for(on_server.address(on_server.template)))
            kinds["PostgreSQL"] = on_server.new
        if not options.only and not options.deeds:
            start(options.rounds)
        for kind, new in kinds.items():
            measure(kind, new, options)
        for kind, new in kinds.items():
            print(f"\nStatements on {kind}, BEGIN and COMMIT among them:\n")
            count_statements(new)


if __name__ == "__main__":
    main()
