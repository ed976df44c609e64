"""Measures how many logins PostgreSQL and the whole program do at the same time, and what the limits that all callers share cost:
`python -m tests.benchmarks.throughput`, with `TEST_DATABASE_URL` of a PostgreSQL server whose role may set `commit_delay`.

A commit takes a millisecond, as on a disk. In each round all variants follow one another, so that other load on the machine affects
all; the tables have the median of the rounds. A login is of a new number: `POST /auth/signup/`, `POST /auth/code/`.

**The program** is served by gunicorn. Its clients compute on the same machine.

**SQL alone** is pgbench with the statements that the program sends, prepared, as one client sends them: what differs from login to
login differs there too. Before each statement it sleeps for the time of a round trip.
"""

import argparse
import itertools
import logging
import os
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from unittest import mock

import psycopg
from flask import Flask
from sqlalchemy import event, make_url

from hammer.db.database import db
from hammer.quotas import counters
from tests.benchmarks import hammer_app, servers
from tests.benchmarks.applications import HAMMER, Application, code_of, environment, numbers, plain
from tests.benchmarks.load import Operations, run
from tests.databases import PostgresDatabases, migrate

CLIENTS: Final = (8, 32, 64)
ROUND_TRIP: Final = 300
"""Microseconds."""
SCRIPTS: Final = 4
"""Scripts of each variant, which try different parts."""
WORKERS, THREADS = 4, 8
PARTS, ONE_ROW, NONE = f"{counters.PARTS} rows each", "one row each", "none"
"""Where the shared limits lie: as they do, as they would without parts, or nowhere."""
Statement = tuple[str, dict[str, Any]]


def make_with_one_row() -> Flask:
    counters.take_all = _take_rows
    return hammer_app.make()


def make_without() -> Flask:
    counters.take_all = _take_none_shared
    return hammer_app.make()


MAKE: Final = {
    PARTS: "tests.benchmarks.hammer_app:make()",
    ONE_ROW: "tests.benchmarks.throughput:make_with_one_row()",
    NONE: "tests.benchmarks.throughput:make_without()",
}


def _take_rows(tx: Any, limits: Sequence[counters.Limit], shared: Sequence[counters.Limit], now: datetime) -> Any:
    rows = [*limits, *shared]
    return rows if len(counters.take(tx, rows, now)) == len(rows) else None


def _take_none_shared(tx: Any, limits: Sequence[counters.Limit], shared: object, now: datetime) -> Any:
    return _take_rows(tx, limits, [], now) if limits else []


def program(new: Callable[[], str], options: argparse.Namespace) -> None:
    """Prints logins a second of the whole program."""
    print(f"\n### The program: {WORKERS} workers of {THREADS} threads\n")
    print("| clients | " + " | ".join(MAKE) + " | with / without |\n|---:|---:|---:|---:|---:|")
    with ExitStack() as running:
        apps = {}
        for name, make in MAKE.items():
            url = new()
            _slow_commits(url)
            served = servers.serve(make, hammer_app.ENVIRONMENT | {"DATABASE_URL": url}, workers=WORKERS, threads=THREADS)
            server = running.enter_context(served)
            apps[name] = Application(HAMMER, server, Operations(code_of(HAMMER)), numbers(), url)
        for clients in options.clients:
            rates: dict[str, list[float]] = {name: [] for name in apps}
            for turn in range(options.rounds + 1):
                for name, app in apps.items():
                    people = app.newcomers(options.many)
                    began = time.perf_counter()
                    run(app.server.port, clients, app.operations.sign_in, people)
                    if turn:  # the first round warms up
                        rates[name].append(options.many / (time.perf_counter() - began))
            print(_row(clients, rates), flush=True)


def sql(new: Callable[[], str], options: argparse.Namespace) -> None:
    """Prints logins a second of PostgreSQL with the statements of the program."""
    print(f"\n### SQL alone, {ROUND_TRIP / 1000} ms of round trip\n")
    print("| clients | " + " | ".join(MAKE) + " | with / without |\n|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as directory:
        scripts: dict[str, list[Path]] = {}
        urls: dict[str, str] = {}
        runs = {name: itertools.count() for name in MAKE}
        for name, patched in ((PARTS, counters.take_all), (ONE_ROW, _take_rows), (NONE, _take_none_shared)):
            urls[name] = new()
            _slow_commits(urls[name])
            with mock.patch.object(counters, "take_all", patched), environment(DATABASE_URL=urls[name]):
                logins = _recorded()
            scripts[name] = [Path(directory) / f"{len(scripts)}-{n}.sql" for n in range(SCRIPTS)]
            for script in scripts[name]:
                script.write_text(_script(*logins))
            print(f"<!-- {name}: {len(logins[0])} statements -->")
            _pgbench(plain(urls[name]), scripts[name], 8, options.seconds, next(runs[name]))
            with psycopg.connect(plain(urls[name]), autocommit=True) as connection:
                connection.execute("analyze")  # as in a database that has been in use: plans by the tables' sizes
        for clients in options.clients:
            rates: dict[str, list[float]] = {name: [] for name in scripts}
            for _ in range(options.rounds):
                for name, files in scripts.items():
                    rates[name].append(_pgbench(plain(urls[name]), files, clients, options.seconds, next(runs[name])))
            print(_row(clients, rates), flush=True)


def _row(clients: int, rates: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(of) for name, of in rates.items()}
    ratios = [with_ / without for with_, without in zip(rates[PARTS], rates[NONE], strict=True)]
    cells = " | ".join(f"{rate:.0f}" for rate in medians.values())
    return f"| {clients} | {cells} | **{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}) |"


def _slow_commits(url: str) -> None:
    parts = make_url(url)
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(f'alter database "{parts.database}" set commit_delay = 1000')
        connection.execute(f'alter database "{parts.database}" set commit_siblings = 0')


def _recorded() -> tuple[list[Statement], list[Statement]]:
    """The statements of two logins, after one that makes the rows of this hour."""
    app, code, supply = hammer_app.make(), code_of("Hammer"), numbers()
    seen: list[Statement] = []
    with app.app_context():
        event.listen(
            db.engine, "before_cursor_execute", lambda _c, _u, statement, values, *_: seen.append((statement, dict(values or {})))
        )
        event.listen(db.engine, "commit", lambda _: seen.append(("COMMIT", {})))
    logins: list[list[Statement]] = []
    for _ in range(3):
        seen.clear()
        client, number = app.test_client(use_cookies=False), next(supply)
        headers = {"X-Forwarded-For": f"10.1.{len(logins)}.1", "X-Forwarded-Proto": "https", "Host": "login.example.com"}
        asked = client.post("/api/v1/auth/signup/", json={"telephone_number": number}, headers=headers).json
        sent = asked["verification_id"] if asked else ""
        body = {"verification_id": sent, "code": code(sent, number)}
        assert client.post("/api/v1/auth/code/", json=body, headers=headers).status_code == 200
        logins.append(list(seen))
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    assert [statement for statement, _ in logins[1]] == [statement for statement, _ in logins[2]]
    return logins[1], logins[2]


def _script(first: list[Statement], second: list[Statement]) -> str:
    """The script of pgbench. A text that differs between the two logins is a variable, the same wherever it is the same."""
    lines, names = list[str](), dict[str, str]()
    in_parts = any("WITH free" in statement for statement, _ in first)
    for (statement, values), (_, others) in zip(first, second, strict=True):
        sent, end = statement, ";"
        if statement.lstrip().startswith("WITH free") and "guesses/4" in values.values():
            sent, end = _returning_the_part(statement), " \\gset"  # the guess is given back to it
        elif in_parts and values.get("scope1") == "guesses/4" and "part1" in values:
            sent = statement.replace("%(part1)s", ":part")
        texts = {key: _written(names, value, others[key]) for key, value in values.items()}
        lines += [f"\\sleep {ROUND_TRIP} us", " ".join((sent % texts if values else sent).split()) + end]
    unique = [f"\\set {name} :k * {len(names)} + {n}" for n, name in enumerate(names.values())]
    return "\n".join(["\\set n :n + 1", "\\set k (:run * 64 + :client_id) * 20000 + :n", *unique, *lines, ""])


def _returning_the_part(statement: str) -> str:
    taken = statement.replace("UPDATE counters", ", taken AS (UPDATE counters")
    return f"{taken}) SELECT coalesce(max(part), 0) AS part FROM taken"


def _written(names: dict[str, str], value: Any, other: Any) -> str:
    """The value in SQL, or its variable, for which `names` gets an entry."""
    if value is None:
        return "NULL"
    if isinstance(value, list):  # the parts that are tried, drawn by chance
        return f"'{{{', '.join(map(str, random.sample(range(counters.PARTS), len(value))))}}}'"
    if isinstance(value, datetime):
        return f"'{value.isoformat()}'"
    if not isinstance(value, str):
        return str(value)
    if value == other:
        return f"'{value}'"
    name = names.setdefault(value, f"v{len(names)}")
    return "lpad(to_hex(:k::int), 6, '0')" if len(value) == 6 else f":{name}::text"  # six: an invite code


def _pgbench(url: str, scripts: list[Path], clients: int, seconds: int, run_: int) -> float:
    """Logins a second."""
    program = max(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))
    command = [program, "-n", "-M", "prepared", "-c", str(clients), "-j", "2", "-T", str(seconds)]
    command += [part for script in scripts for part in ("-f", script)]
    command += ["-D", "n=0", "-D", f"run={run_}", url]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found, done.stdout
    return float(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throughput", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=400, help="logins of the program in a round")
    parser.add_argument("--seconds", type=int, default=5, help="of a round of SQL alone")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--only", choices=("program", "sql"))
    options = parser.parse_args()
    logging.disable()
    with ExitStack() as made, environment():
        databases = PostgresDatabases(make_url(os.environ["TEST_DATABASE_URL"]))
        made.callback(databases.close)
        migrate(hammer_app.settings_for(databases.address(databases.template)))
        if options.only != "program":
            sql(databases.new, options)
        if options.only != "sql":
            program(databases.new, options)


if __name__ == "__main__":
    main()
