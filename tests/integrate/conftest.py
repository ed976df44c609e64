"""The examples of docs/integrate/ run as they stand there, against a real Hammer on loopback. The fixtures here:

    examples      a folder with copies of the examples and the libraries that they use
    environment   what the examples read: where Hammer is, and the id and secret of a client
    start         runs an example as a server and returns its address: `start("flask", "--app", "website", "run", "--port", PORT)`
    read          the code of the newest text to a number, from Hammer's console

`tests/integrate/install` installs the libraries. Without them the tests are skipped; in CI they fail.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from tests import serving
from tests.delivery import wait_until
from tests.integrate.guides import EXAMPLES
from tests.serving import HOME, ROOT, Server

LIBRARIES: Final = ROOT / "build" / "integrate"
PORT: Final = "PORT"
"""In a command: the free port that the example gets."""

Start = Callable[..., str]
Read = Callable[[str], str]


@pytest.fixture(scope="session")
def libraries() -> Path:
    """Where `tests/integrate/install` put what the examples use."""
    for name in ("requirements.txt", "package.json"):
        installed = LIBRARIES / name
        if not installed.exists() or installed.read_text() != Path(__file__).with_name(name).read_text():
            sentence = "This needs the libraries of apps of others: tests/integrate/install"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(sentence)
    return LIBRARIES


@pytest.fixture(scope="module")
def examples(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("guides") / "examples"
    shutil.copytree(EXAMPLES, folder)
    (folder / "node_modules").symlink_to(libraries / "node_modules")
    return folder


@pytest.fixture(scope="module")
def environment(server: Server, libraries: Path) -> dict[str, str]:
    return (
        surroundings_of_an_app(libraries) | client_of(server) | {"LOGIN_URL": server.url, "SITE_SECRET": "of the site, for tests"}
    )


def surroundings_of_an_app(libraries: Path) -> dict[str, str]:
    """The environment of a program that is not ours: its own Python, and none of our settings."""
    return serving.surroundings() | {"PATH": os.pathsep.join([str(libraries / "venv" / "bin"), os.environ["PATH"]])}


def client_of(server: Server) -> dict[str, str]:
    """Registers a client by the command of the guides: its id and its secret, as the examples read them."""
    scopes = ("codes:send", "users:read", "users:write", "events:read")
    shown = command(server, "clients", "add", "The app", *(word for scope in scopes for word in ("--scope", scope)))
    return {"LOGIN_CLIENT_ID": shown["client_id"], "LOGIN_CLIENT_SECRET": shown["client_secret"]}


def command(server: Server, *words: str) -> dict[str, str]:
    """Runs a command where the server is installed: the facts that it shows."""
    flask = str(Path(sys.executable).with_name("flask"))
    settings = serving.surroundings() | serving.development(server.database_url, server.port)
    run = subprocess.run(
        [flask, "--app", "wsgi", *words], cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120, check=True
    )
    return dict(re.findall(r"^(\w+): +(\S+)$", run.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def start(examples: Path, environment: dict[str, str]) -> Iterator[Start]:
    with ExitStack() as running:

        def run(*command: str, **more: str) -> str:
            return running.enter_context(answering(command, examples, environment | more))

        yield run


@contextmanager
def answering(command: tuple[str, ...], at: Path, environment: dict[str, str], port: int = 0) -> Iterator[str]:
    """Starts a server, waits until it takes connections, and stops it after the block."""
    port = port or serving.free_port()
    program, *words = (word.replace(PORT, str(port)) for word in command)
    found = shutil.which(program, path=environment["PATH"])
    assert found, f"{program} is not installed."
    log = log_of(at, port)
    with log.open("ab") as output:
        process = subprocess.Popen([found, *words], cwd=at, env=environment | {"PORT": str(port)}, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or takes_connections(port))
        assert process.poll() is None, log.read_text()
        yield f"http://{HOME}:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def log_of(at: Path, port: int) -> Path:
    """Where the output of a server in the folder `at` goes."""
    return at.parent / f"{port}.log"


def takes_connections(port: int) -> bool:
    try:
        socket.create_connection((HOME, port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="session")
def numbers() -> Iterator[str]:
    return (f"+7929{n:07d}" for n in count(2_000_001))


@pytest.fixture
def number(numbers: Iterator[str]) -> str:
    return next(numbers)


@pytest.fixture
def read(server: Server) -> Read:
    def newest(number: str) -> str:
        def codes() -> list[str]:
            texts = server.log.read_text().split(f"Text to {number}:\n")[1:]
            return [code for text in texts for code in re.findall(r"#(\d+)$", text, re.MULTILINE)[:1]]

        wait_until(lambda: bool(codes()))
        return codes()[-1]

    return newest
