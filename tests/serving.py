"""The application in a process of its own, and HTTP requests to it, one after another or at the same time."""

import http.client
import json
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flask import cli

ROOT = Path(__file__).parent.parent
START_SECONDS = 60
TRIES = 40
HOME = "127.0.0.1"
SETTINGS_OF_OTHERS = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL", "PROMETHEUS_MULTIPROC_DIR", "WEB_CONCURRENCY", "BIND")
"""Our variables that have no prefix: other programs read them too."""
Result = TypeVar("Result")


_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["flask.cli", "hammer"])


class Forked:
    """The command `flask` in a process with the methods of `subprocess.Popen`.

    It is a fork of one that has imported the application, and has done nothing else: to import it takes longer than most tests.
    """

    def __init__(self, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self._process = _forks.Process(target=_run_flask, args=(arguments, environment, log))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("flask", timeout)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run_flask(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    with log.open("ab") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.argv = ["flask", *arguments]
    cli.main()


Process = Forked | subprocess.Popen[bytes]


def begin(command: list[str], environment: dict[str, str], log: Path, at: Path = ROOT) -> Process:
    """Starts a program of our environment; what it prints is added to `log`."""
    program, *arguments = command
    if program == "flask" and at == ROOT and "COVERAGE_PROCESS_CONFIG" not in os.environ:  # coverage follows no forks
        return Forked(arguments, environment, log)
    with log.open("ab") as output:
        return subprocess.Popen(
            [Path(sys.executable).with_name(program), *arguments], cwd=at, env=environment, stdout=output, stderr=output
        )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Server:
    port: int
    database_url: str
    log: Path = field(repr=False)
    process: "Process | None" = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid if self.process else 0

    def kill(self) -> None:
        """Kills it (SIGKILL)."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(timeout=10)

    def stop(self) -> None:
        """Stops it as an operator does (SIGTERM), and waits for its end."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait(timeout=30)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def call(self, method: str, path: str, body: object = None, **how: Any) -> Answer:
        """As `call_once`, but again while the server answers 503, as programs are asked to do."""
        for _ in range(TRIES):
            answer = self.call_once(method, path, body, **how)
            if answer.status != 503:
                return answer
            time.sleep(0.1)
        raise AssertionError("Every answer was 503.")

    def call_once(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str = "",
        key: str = "",
        timeout: float = 60,
        source: str = HOME,
    ) -> Answer:
        """One request to the JSON API (`path` after `/api/v1`), on a connection of its own, from a loopback address (`source`)."""
        headers = {"Content-Type": "application/json", "Accept-Language": "en"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if key:
            headers["Idempotency-Key"] = f'"{key}"'
        return self.request(method, f"/api/v1{path}", None if body is None else json.dumps(body).encode(), headers, timeout, source)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
        source: str = HOME,
    ) -> Answer:
        """Any request, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout, source_address=(source, 0))
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def ask(self, telephone_number: str) -> tuple[str, str]:
        """Asks for a code: the id of the verification, and the code, which demo mode shows."""
        answer = self.call("POST", "/auth/signup/", {"telephone_number": telephone_number})
        assert answer.status == 200, answer.body
        return answer.json["verification_id"], answer.json["Ваш код активации"]

    def confirm(self, verification_id: str, code: str) -> Answer:
        return self.call("POST", "/auth/code/", {"verification_id": verification_id, "code": code})

    def sign_in(self, telephone_number: str) -> dict[str, Any]:
        """Signs in: the answer, with tokens and the invite code."""
        answer = self.confirm(*self.ask(telephone_number))
        assert answer.status == 200, answer.body
        tokens: dict[str, Any] = answer.json
        return tokens


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Starts all calls at the same moment, each in a thread, and returns their results in order."""
    start = threading.Barrier(len(calls))
    results: dict[int, Result] = {}

    def run(place: int) -> None:
        start.wait(timeout=30)
        results[place] = calls[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(results) == len(calls), "Some calls failed or did not end."
    return [results[place] for place in range(len(calls))]


def surroundings(*, measured: bool = False) -> dict[str, str]:
    """The environment for a program that a test starts: without a developer's own settings from the shell or from `.env`.

    With `measured`, coverage records the lines that it reaches.
    """
    own = ("HAMMER_", "FLASK_", *(() if measured else ("COV_",)), *SETTINGS_OF_OTHERS)
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | {"FLASK_SKIP_DOTENV": "1"}


def flask_run(port: int) -> list[str]:
    """Flask's own server, for development."""
    return ["flask", "--app", "wsgi", "run", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]


def gunicorn(port: int) -> list[str]:
    """What serves Hammer in production, with two workers."""
    return ["gunicorn", "--config", "gunicorn.conf.py", "--workers", "2", "--bind", f"127.0.0.1:{port}"]


def development(database_url: str, port: int) -> dict[str, str]:
    """The settings of a server in development and demo mode, and of commands for it."""
    return {
        "HAMMER_ENV": "development",
        "HAMMER_DEMO": "on",
        "HAMMER_RESEND_SECONDS": "0",
        "HAMMER_SMS_DELAY_SECONDS": "0",
        "HAMMER_PUBLIC_URL": f"http://localhost:{port}",
        "DATABASE_URL": database_url,
        "SECRET_KEY": "only for the tests, 32 bytes and more of it",
    }


@contextmanager
def serve(database_url: str, log: Path, command: Callable[[int], list[str]] = flask_run, **environment: str) -> Iterator[Server]:
    """Starts the application on a free port of 127.0.0.1, by default in development and demo mode, and stops it after the block."""
    port = free_port()
    settings = development(database_url, port)
    with running(command(port), surroundings() | settings | environment, log, port, database_url) as server:
        yield server


@contextmanager
def running(
    command: list[str], environment: dict[str, str], log: Path, port: int, database_url: str, at: Path = ROOT
) -> Iterator[Server]:
    """Starts a server, waits until it answers, and stops it after the block."""
    process = begin(command, environment, log, at)
    server = Server(port, database_url, log, process)
    try:
        _wait_for(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)


def free_port() -> int:
    """A free port below those that the system gives to outgoing connections (32768 and above), one of which could take it first."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("No port is free.")


def _wait_for(server: Server, process: "Process") -> None:
    for _ in range(START_SECONDS * 10):
        if process.poll() is not None:
            break
        try:
            if server.request("GET", "/healthz", timeout=2).status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"The server did not start:\n{server.log.read_text()[-4000:]}")
