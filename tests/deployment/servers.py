"""gunicorn and granian side by side, serving the real application: `python -m tests.deployment.servers postgresql://…`.

No part of the tests: it prints the table of `docs/deploy.md`. Each server has two workers with eight threads and answers the same
requests (an own profile by the JSON API) in turns with the other, on connections that stay open and on new ones.
"""

import http.client
import os
import secrets
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.deployment.peers import wait_until
from tests.serving import ROOT, Server, free_port, gunicorn, surroundings

ROUNDS, SECONDS, CLIENTS = 5, 4.0, 8
TICKS = os.sysconf("SC_CLK_TCK")


def granian(port: int) -> list[str]:
    return [
        "granian",
        "--interface",
        "wsgi",
        "--workers",
        "2",
        "--blocking-threads",
        "8",
        "--port",
        str(port),
        "--no-ws",
        "wsgi:app",
    ]


SERVERS: dict[str, Callable[[int], list[str]]] = {"gunicorn": gunicorn, "granian": granian}


def family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    fields = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in family(pid)]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICKS


def megabytes(pid: int) -> float:
    """Proportional: what processes share counts once."""
    rows = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in family(pid)]
    return sum(int(line.split()[1]) for row in rows for line in row.splitlines() if line.startswith("Pss:")) / 1000


def load(port: int, token: str, kept: bool) -> int:
    """How many requests were answered within `SECONDS`."""
    end, counts = time.monotonic() + SECONDS, [0] * CLIENTS

    def run(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {token}"} | ({} if kept else {"Connection": "close"})
        while time.monotonic() < end:
            connection.request("GET", "/api/v1/users/me/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200, answer.status
            counts[place] += 1
        connection.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def finishes_at_stop(server: Server, process: "subprocess.Popen[bytes]", token: str) -> str:
    """What became of requests under way when the server was told to stop."""
    failed, done, begun = [], [], threading.Barrier(CLIENTS + 1)

    def run() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.connect()
        begun.wait()
        try:
            connection.request("GET", "/api/v1/users/me/", headers={"Authorization": f"Bearer {token}"})
            done.append(connection.getresponse().status)
        except OSError as fault:
            failed.append(type(fault).__name__)

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    begun.wait()
    time.sleep(0.002)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    for thread in threads:
        thread.join()
    return f"{len(done)} of {CLIENTS} answered, gone after {time.monotonic() - began:.1f} s"


def main(database_url: str) -> None:
    environment = surroundings() | {
        "DATABASE_URL": database_url, "HAMMER_DEMO": "on", "HAMMER_RESEND_SECONDS": "0", "HAMMER_SMS_DELAY_SECONDS": "0",
        "SECRET_KEY": secrets.token_urlsafe(32),
    }  # fmt: skip
    programs = Path(sys.executable).parent
    subprocess.run(
        [programs / "flask", "--app", "wsgi", "db", "upgrade"], cwd=ROOT, env=environment, check=True, capture_output=True
    )
    running: dict[str, tuple[Server, subprocess.Popen[bytes], str]] = {}
    for name, command in SERVERS.items():
        port = free_port()
        program, *options = command(port)
        process = subprocess.Popen([programs / program, *options], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        server = Server(port, database_url, Path(os.devnull))

        def answers(server: Server = server) -> bool:
            try:
                return server.request("GET", "/readyz").status == 200
            except OSError:
                return False

        wait_until(answers, name)
        running[name] = server, process, server.sign_in("+79290000001")["access_token"]
    for kept in (True, False):
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in running}
        for _ in range(ROUNDS):
            for name, (server, process, token) in running.items():
                before = cpu_seconds(process.pid)
                count = load(server.port, token, kept)
                rates[name].append((count / SECONDS, (cpu_seconds(process.pid) - before) / count * 1000))
        for name, rounds in rates.items():
            rate, cost = (statistics.median(column) for column in zip(*rounds, strict=True))
            print(f"{name:9} {'kept' if kept else 'new '} connections: {rate:6.0f} requests/s, {cost:.2f} ms CPU each")  # noqa: T201
    for name, (server, process, token) in running.items():
        memory = megabytes(process.pid)
        print(f"{name:9} {memory:.0f} MB; at a stop: {finishes_at_stop(server, process, token)}")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
