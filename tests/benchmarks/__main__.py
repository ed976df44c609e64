"""Measures Hammer and the floor, and prints the tables of docs/performance.md: `make bench`.

Each round loads Hammer, then the floor, then Hammer again and so on, so that other load on the machine affects both. The CPU time
of the server's processes counts. Each round has a ratio; the tables have the median, the smallest and the largest one.
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
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from flask import Flask
from sqlalchemy import event, make_url

from hammer import codes
from hammer.db.database import db
from hammer.login import verifications
from tests.actions import wrong_code
from tests.benchmarks import floor, hammer_app, servers
from tests.benchmarks.app_client import FORM, AppClient, register
from tests.benchmarks.load import Connection, Operations, Person, run
from tests.databases import PostgresDatabases, SqliteFiles, migrate

FLOOR, HAMMER = "floor", "Hammer"
PEOPLE = 50
"""The users of each application before the measurement. Each has an invitee and has activated a code."""
OPERATIONS = {
    "profile": 1,
    "new login": 2,
    "returning login": 2,
    "refused code": 1,
    "activation": 1,
    "authorize": 1,
    "token": 1,
}
"""The measured operations, and how many requests each takes."""
TARGETS = {"profile": 2.0, "new login": 2.5, "returning login": 2.5, "refused code": 2.5, "authorize": 2.5, "token": 2.5}
GUESSES = 3


@dataclass
class Application:
    name: str
    server: servers.Server
    operations: Operations
    numbers: Iterator[str]
    url: str
    people: list[Person] = field(default_factory=list)
    client: AppClient | None = None
    """The app that people sign in to."""

    def newcomers(self, many: int) -> list[Person]:
        return [Person(next(self.numbers)) for _ in range(many)]

    def settle(self) -> None:
        """Creates the first people. Each activates the code of the one before."""
        self.people = self.newcomers(PEOPLE)
        run(self.server.port, 4, self.operations.sign_in, self.people)
        for inviter, invitee in itertools.pairwise(self.people):
            self.invite([invitee], inviter, 1)
        self.client = register(self.url, self.people, of_floor=self.name == FLOOR)

    def invite(self, people: Sequence[Person], inviter: Person, connections: int) -> Any:
        async def activate(at: Connection, person: Person) -> None:
            await self.operations.activate(at, person, inviter.invite_code)

        return run(self.server.port, connections, activate, people)


@dataclass(frozen=True)
class Sample:
    cpu: float
    """Milliseconds of one operation."""
    latencies: list[float]


def numbers() -> Iterator[str]:
    """New mobile numbers, spread over all prefixes."""
    begin = secrets.randbelow(10**7)
    for n in range(begin, begin + 10**7):
        yield f"+7929{n * 10_007 % 10**7:07d}"


def sample(app: Application, operation: str, connections: int, many: int) -> Sample:
    """Measures `many` operations. Their preparation is not measured."""
    port, operations = app.server.port, app.operations
    people = app.newcomers(many)
    measured: Callable[[], Any]
    if operation == "profile":
        people = [app.people[n % PEOPLE] for n in range(many)]
        measured = partial(run, port, connections, operations.look, people)
    elif operation == "new login":
        measured = partial(run, port, connections, operations.sign_in, people)
    elif operation == "returning login":
        people = [Person(app.people[n % PEOPLE].number) for n in range(many)]
        measured = partial(run, port, connections, operations.sign_in, people)
    elif operation == "refused code":
        people = people[: -(-many // GUESSES)]
        run(port, connections, operations.sign_up, people)
        guesses = (people * GUESSES)[:many]
        measured = partial(run, port, connections, operations.guess_wrong, guesses)
    elif operation in ("authorize", "token") and app.client is not None:
        people = [replace(app.people[n % PEOPLE]) for n in range(many)]
        if operation == "token":
            run(port, connections, app.client.authorize, people)
        measured = partial(
            run, port, connections, app.client.authorize if operation == "authorize" else app.client.exchange, people
        )
    else:
        run(port, connections, operations.sign_in, people)
        measured = partial(app.invite, people, app.people[0], connections)
    before = app.server.cpu_seconds()
    result = measured()
    return Sample((app.server.cpu_seconds() - before) / many * 1000, result.latencies)


@contextmanager
def applications(url: Callable[[], str]) -> Iterator[list[Application]]:
    """Hammer and the floor, each with its own database."""
    with ExitStack() as running:
        made = []
        for name, make in ((HAMMER, "tests.benchmarks.hammer_app:make()"), (FLOOR, "tests.benchmarks.floor:make()")):
            address = url()
            environment = hammer_app.ENVIRONMENT | {"DATABASE_URL": address if name == HAMMER else plain(address)}
            server = running.enter_context(servers.serve(make, environment))
            app = Application(name, server, Operations(code_of(name)), numbers(), address)
            app.settle()
            made.append(app)
        yield made


def plain(url: str) -> str:
    """The URL in the form that drivers accept."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def code_of(name: str) -> Callable[[str, str], str]:
    """Computes codes as the application does, which does not show them."""
    if name == FLOOR:
        return floor.one_time_code
    with environment():
        key = hammer_app.settings().key("codes")
    return lambda verification_id, number: codes.one_time_code(
        key, verification_id=verification_id, telephone_number=number, purpose=verifications.LOGIN, length=4
    )


@contextmanager
def environment(**more: str) -> Iterator[None]:
    """Sets the environment of the servers in this process."""
    before = dict(os.environ)
    os.environ.update({"FLASK_SKIP_DOTENV": "1"} | hammer_app.ENVIRONMENT | more)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # otherwise each start would compile the program again
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
        for operation, connections in itertools.product(options.operations or OPERATIONS, options.connections):
            for app in apps:
                sample(app, operation, connections, max(20, connections))
            rounds = [{app.name: sample(app, operation, connections, options.many) for app in apps} for _ in range(options.rounds)]
            print(row(operation, connections, rounds), flush=True)
        memory = ", ".join(f"{app.name} {app.server.worker_megabytes():.0f} MB" for app in apps)
        print(f"\nMemory of the worker afterwards: {memory}.")


def row(operation: str, connections: int, rounds: Sequence[Mapping[str, Sample]]) -> str:
    ratios = [of[HAMMER].cpu / of[FLOOR].cpu for of in rounds]
    cpu = {name: statistics.median(of[name].cpu for of in rounds) for name in (HAMMER, FLOOR)}
    waits = {name: sorted(latency for of in rounds for latency in of[name].latencies) for name in (HAMMER, FLOOR)}
    ends = {name: f"{of[len(of) // 2] * 1000:.1f} / {of[len(of) * 99 // 100] * 1000:.0f}" for name, of in waits.items()}
    target = f" (at most {TARGETS[operation]})" if operation in TARGETS else ""
    requests = f", {OPERATIONS[operation]} requests" if OPERATIONS[operation] > 1 else ""
    return (
        f"| {operation}{requests} | {connections} | {cpu[HAMMER]:.2f} | {cpu[FLOOR]:.2f} | **{statistics.median(ratios):.2f}** "
        f"({min(ratios):.2f} to {max(ratios):.2f}){target} | {ends[HAMMER]} | {ends[FLOOR]} |"
    )


def count_statements(url: Callable[[], str]) -> None:
    """Runs each operation once on both applications in this process, and prints how many statements they sent."""
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
    client, counts, supply = app.test_client(use_cookies=False), {}, numbers()

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

    def sign_in_to_app(number: str) -> None:
        signed_in = Person(number)
        party = register(os.environ["DATABASE_URL"], [signed_in], of_floor=name == FLOOR)
        headers = {"X-Forwarded-For": "10.1.1.1", "X-Forwarded-Proto": "https", "Host": "login.example.com"}
        seen.clear()
        asked = client.get(party.address, headers=headers | {"Cookie": signed_in.cookie})
        counts["authorize"] = len(seen)
        given = dict(parse_qsl(urlsplit(asked.headers["Location"]).query))
        seen.clear()
        sent = {"data": party.body(given["code"]), "content_type": FORM}
        answer = client.post("/oauth/token", headers=headers | {"Authorization": party.credentials}, **sent)
        counts["token"] = len(seen)
        assert answer.status_code == 200, answer.data

    anna, boris, clara = (sign_in(next(supply), "new") for _ in range(3))
    number = next(supply)
    sign_in(number, "new")
    sign_in(number, "returning")
    call("activation", "POST", "/users/me/invite/", {"invite_code": anna[1]}, boris[0])
    call("activation", "POST", "/users/me/invite/", {"invite_code": boris[1]}, clara[0])
    call("profile, with an inviter and an invitee", "GET", "/users/me/", None, boris[0])
    sign_in_to_app(number)
    return counts


def _watched(app: Flask) -> list[str]:
    seen: list[str] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda _c, _u, statement, *_: seen.append(statement))
        event.listen(db.engine, "commit", lambda _: seen.append("COMMIT"))
    return seen


def start(rounds: int) -> None:
    """Prints how long it takes to import the program and create the application, and from a server's start to its first answer."""
    clock = "import time; t, c = time.perf_counter(), time.process_time(); import wsgi; "
    clock += "print(time.perf_counter() - t, time.process_time() - c)"
    imports = []
    for _ in range(rounds + 1):  # the first one may have to compile
        timed = subprocess.run([sys.executable, "-c", clock], cwd=servers.ROOT, capture_output=True, text=True, check=True)
        imports.append([float(seconds) for seconds in timed.stdout.split()])
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


def print_versions() -> None:
    model = next(
        line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    )
    tools = ("Flask", "SQLAlchemy", "psycopg", "gunicorn", "marshmallow", "flask-smorest")
    print(f"{model}, {os.cpu_count()} cores; load {os.getloadavg()[0]:.1f} at the start.", end=" ")
    print(f"CPython {platform.python_version()}, {', '.join(f'{tool} {version(tool)}' for tool in tools)}. {servers.SERVER}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--many", type=int, default=300, help="operations in a round of one application")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    print_versions()
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
        if not options.only and not options.operations:
            start(options.rounds)
        for kind, new in kinds.items():
            measure(kind, new, options)
        for kind, new in kinds.items():
            print(f"\nStatements on {kind}, BEGIN and COMMIT among them:\n")
            count_statements(new)


if __name__ == "__main__":
    main()
