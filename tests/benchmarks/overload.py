"""Measures what a server does while it gets more requests than it can serve: `python -m tests.benchmarks.overload`.

First 16 clients ask for codes as fast as they are answered: that rate is what the server can carry. Then requests come at several
times that rate, whether or not those before are answered. The client computes on the same machine. The database is SQLite.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Final

from tests.benchmarks import hammer_app
from tests.benchmarks.applications import HAMMER, Application, environment, running
from tests.benchmarks.load import run
from tests.databases import SqliteFiles, migrate

CLIENTS: Final = 16
CHECK_SECONDS: Final = 0.25
"""Between two checks of the health."""
SIGN_UP: Final = "/api/v1/auth/signup/"
HEALTH: Final = "/healthz"
KEPT: Final = 32
"""Connections that are kept while nothing is asked, as by a proxy."""
Latencies = dict[str, list[float]]
"""What was asked and the status of the answer -> how many seconds each answer took."""


async def overload(app: Application, a_second: float, seconds: float) -> Latencies:
    """Asks for codes at this rate. A connection is used again when its answer has come."""
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    found: Latencies = defaultdict(list)

    async def ask(method: str, path: str, body: str = "") -> None:
        began = time.perf_counter()
        try:
            reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", app.server.port)
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: login.example.com\r\nX-Forwarded-For: 10.1.1.7\r\nX-Forwarded-Proto: https\r\n"
            )
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(f"{head}{body}".encode())
            answer = (await reader.readuntil(b"\r\n\r\n")).decode()
            await reader.readexactly(int(answer.lower().partition("content-length: ")[2].partition("\r\n")[0]))
        except (OSError, asyncio.IncompleteReadError):
            found[f"{path} no answer"].append(time.perf_counter() - began)
            return
        found[f"{path} {answer[9:12]}"].append(time.perf_counter() - began)
        if len(free) < KEPT:
            free.append((reader, writer))
        else:
            writer.close()

    waiting: list[asyncio.Task[None]] = []
    begin = time.perf_counter()
    while (now := time.perf_counter() - begin) < seconds:
        while len(waiting) < now * a_second:
            waiting.append(asyncio.create_task(ask("POST", SIGN_UP, json.dumps({"telephone_number": next(app.numbers)}))))
        if now // CHECK_SECONDS > sum(len(took) for what, took in found.items() if what.startswith(HEALTH)):
            waiting.append(asyncio.create_task(ask("GET", HEALTH)))
        await asyncio.sleep(0.001)
    await asyncio.wait_for(asyncio.gather(*waiting), 60)
    for _, writer in free:
        writer.close()
    return found


def capacity(app: Application, many: int) -> float:
    """Codes that are asked for in a second."""
    people = app.newcomers(many)
    began = time.perf_counter()
    run(app.server.port, CLIENTS, app.operations.sign_up, people)
    return many / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.overload", description=__doc__)
    parser.add_argument("--times", type=float, nargs="+", default=[0.5, 1, 2, 4], help="of what it can carry")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, environment():
        files = SqliteFiles(Path(directory))
        migrate(hammer_app.settings_for(f"sqlite:///{files.template}"))
        with running([HAMMER], files.new) as (app,):
            carried = statistics.median(capacity(app, 2000) for _ in range(3))
            print(f"It can carry {carried:.0f} codes a second ({CLIENTS} clients).\n")
            print("| load | asked | answer | a second | median s | 99 % s |\n|---|---|---|---|---|---|")
            for times in options.times:
                found = asyncio.run(overload(app, carried * times, options.seconds))
                for what, took in sorted(found.items()):
                    path, _, answer = what.partition(" ")
                    took.sort()
                    late = took[int(len(took) * 0.99)]
                    each = f"{len(took) / options.seconds:.0f} | {statistics.median(took):.3f} | {late:.3f}"
                    print(f"| {times:g} × | `{path}` | {answer} | {each} |", flush=True)
            print(f"\nMemory of the worker after it: {app.server.worker_megabytes():.0f} MB.")


if __name__ == "__main__":
    main()
