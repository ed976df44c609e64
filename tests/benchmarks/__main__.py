"""Measures Hammer and two floors, and prints the tables of docs/performance.md: `make bench`; or compares this source with that of
another commit: `make bench-compare BASE=…`.

Each round loads the applications one after another, so that other load on the machine affects all. The CPU time of the server's
processes counts, and on PostgreSQL that of the processes that serve its connections. Each round has a ratio; the tables have the
median, the smallest and the largest one.
"""

import argparse
import itertools
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from flask import Flask
from sqlalchemy import event, make_url

from hammer.db.database import db
from tests.actions import wrong_code
from tests.benchmarks import applications, floor, hammer_app, lean, servers
from tests.benchmarks.app_client import FORM, register
from tests.benchmarks.applications import (
    BEFORE,
    FLOOR,
    HAMMER,
    LEAN,
    OF_HAMMER,
    OPERATIONS,
    WITH_REDIS,
    Application,
    Sample,
    code_of,
    environment,
    numbers,
    plain,
)
from tests.benchmarks.load import Person
from tests.databases import PostgresDatabases, SqliteFiles, migrate

A_PROFILE: Final = "a profile"
"""What is not in the floors is compared with a profile of Hammer."""
GOALS: Final = {
    FLOOR: {"profile": 2.0, "new login": 2.5, "returning login": 2.5, "refused code": 2.5, "authorize": 2.5, "token": 2.5},
    LEAN: {"profile": 1.4, "new login": 2.3, "returning login": 2.3, "refused code": 1.9},
    A_PROFILE: {"refresh": 1.5, "profile page": 3.0},
}
"""What Hammer may cost at most, as a multiple of each."""
Round = Mapping[str, Sample]


def measure(kind: str, apps: Sequence[Application], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures all operations. Prints a table of each thing that Hammer is compared with, and returns the results."""
    results = []
    others = [*(app.name for app in apps if app.name != HAMMER), A_PROFILE]
    for operation, connections in itertools.product(options.operations or OPERATIONS, options.connections):
        results.append(_result(kind, operation, connections, list(_rounds(apps, operation, connections, options))))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for other in others:
        rows = [_row(of, other) for of in results if other in of["ratios"]]
        if rows:
            print(f"\n### {kind}: {HAMMER} and {other}\n")
            print(f"| operation | connections | {HAMMER}, ms of CPU | {other}, ms | ratio | {HAMMER}, p50 / p99, ms | 503 |")
            print("|---|---:|---:|---:|---|---:|---:|")
            print("\n".join(rows), flush=True)
    memory = ", ".join(f"{app.name} {app.server.worker_megabytes():.0f} MB" for app in apps)
    print(f"\nMemory of the worker afterwards: {memory}.")
    return results


def _rounds(apps: Sequence[Application], operation: str, connections: int, options: argparse.Namespace) -> Iterator[Round]:
    """The samples of each round, by application. The first round warms up."""
    able = [app for app in apps if app.does(operation)]
    for app in able:
        app.sample(operation, connections, max(20, connections))
    for _ in range(options.rounds):
        of_round = {app.name: app.sample(operation, connections, options.many) for app in able}
        if operation in OF_HAMMER and BEFORE not in of_round:
            of_round[A_PROFILE] = able[0].sample("profile", connections, options.many)
        yield of_round


def _result(kind: str, operation: str, connections: int, rounds: Sequence[Round]) -> dict[str, Any]:
    latencies = sorted(latency * 1000 for of in rounds for latency in of[HAMMER].latencies)
    ratios = {other: [of[HAMMER].cpu / of[other].cpu for of in rounds] for other in rounds[0] if other != HAMMER}
    return {
        "kind": kind,
        "operation": operation,
        "connections": connections,
        "cpu_ms": {name: round(statistics.median(of[name].cpu for of in rounds), 3) for name in rounds[0]},
        "ratios": {other: [round(each, 3) for each in ratio] for other, ratio in ratios.items()},
        "p50_ms": round(latencies[len(latencies) // 2], 1),
        "p99_ms": round(latencies[len(latencies) * 99 // 100], 1),
        "unavailable": sum(of[HAMMER].unavailable for of in rounds),
    }


def _row(result: Mapping[str, Any], other: str) -> str:
    operation, ratios, cpu = result["operation"], result["ratios"][other], result["cpu_ms"]
    goal = GOALS.get(other, {}).get(operation)
    ratio = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})" + (f" (at most {goal})" if goal else "")
    return (
        f"| {applications.requests(operation)} | {result['connections']} | {cpu[HAMMER]:.2f} | {cpu[other]:.2f} | {ratio} | "
        f"{result['p50_ms']} / {result['p99_ms']:.0f} | {result['unavailable']} |"
    )


def count_statements(url: Callable[[], str]) -> None:
    """Runs each operation once on both applications in this process, and prints how many statements they sent."""
    logging.disable()
    counts: dict[str, dict[str, int]] = {}
    for name in (HAMMER, FLOOR, LEAN):
        with environment(DATABASE_URL=url()):
            counts[name] = _statements(name)
    print(f"| request | {' | '.join(counts)} |\n|---|---:|---:|---:|")
    for request in counts[HAMMER]:
        print(f"| {request} | {' | '.join(str(counts[name].get(request, '')) for name in counts)} |")


def _statements(name: str) -> dict[str, int]:
    code = code_of(name)
    if name in (FLOOR, LEAN):
        os.environ["DATABASE_URL"] = plain(os.environ["DATABASE_URL"])
        module = floor if name == FLOOR else lean
        module._here.__dict__.clear()
        app, seen = module.make(), module.statements
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
    if name == LEAN:
        call("profile, with an inviter and an invitee", "GET", "/users/me/", None, boris[0])
        return counts
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


@contextmanager
def source_of(revision: str) -> Iterator[Path]:
    """The source of another commit, in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        at = ["git", "-C", str(servers.ROOT), "worktree"]
        subprocess.run([*at, "add", "--quiet", "--detach", f"{directory}/source", revision], check=True)
        try:
            yield Path(directory) / "source"
        finally:
            subprocess.run([*at, "remove", "--force", f"{directory}/source"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--many", type=int, default=300, help="operations in a round of one application")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 50])
    parser.add_argument("--operations", nargs="+", choices=OPERATIONS)
    parser.add_argument("--only", choices=("sqlite", "postgresql"))
    parser.add_argument("--redis", action="store_true", help="measure Hammer with a Redis too")
    parser.add_argument("--against", metavar="REVISION", help="compare with the source of this commit, instead of the floors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file too")
    options = parser.parse_args()
    print_versions()
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory, ExitStack() as made, environment():
        kinds: dict[str, SqliteFiles | PostgresDatabases] = {}
        if options.only != "postgresql":
            files = kinds["SQLite"] = SqliteFiles(Path(directory))
            migrate(hammer_app.settings_for(f"sqlite:///{files.template}"))
        if (server := os.environ.get("TEST_DATABASE_URL", "")) and options.only != "sqlite":
            on_server = kinds["PostgreSQL"] = PostgresDatabases(make_url(server))
            made.callback(on_server.close)
            migrate(hammer_app.settings_for(on_server.address(on_server.template)))
        names = [HAMMER, FLOOR, LEAN, *([WITH_REDIS] if options.redis else [])]
        if options.against:
            names, other = [HAMMER, BEFORE], made.enter_context(source_of(options.against))
        elif not options.only and not options.operations:
            start(options.rounds)
        for kind, databases in kinds.items():
            before = (other, databases.bare()) if options.against else None
            with applications.running(names, databases.new, before) as apps:
                results += measure(kind, apps, options)
        if options.json:
            options.json.write_text(json.dumps(results, indent=1))
        for kind, databases in () if options.against else kinds.items():
            print(f"\nStatements on {kind}, BEGIN and COMMIT among them:\n")
            count_statements(databases.new)


if __name__ == "__main__":
    main()
