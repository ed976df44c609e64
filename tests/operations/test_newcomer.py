"""The first minutes with the program: `make run`, and commands in another terminal that know where it serves."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.configuration.test_env_file import READS_IT, copy_of_the_program, flask
from tests.delivery import wait_until
from tests.serving import ROOT, Server, free_port, running, surroundings

pytestmark = pytest.mark.processes

STUB = """#!/bin/sh
# In place of python, pip and flask: says what it was asked.
echo "$(basename "$0") $*"
if [ "$2" = venv ]; then mkdir -p "$3/bin"; for name in pip flask; do cp "$0" "$3/bin/$name"; done; fi
"""


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = copy_of_the_program(tmp_path_factory.mktemp("upgraded"))
    assert flask(home, "db", "upgrade").returncode == 0
    return home


@pytest.fixture
def program(upgraded: Path, tmp_path: Path) -> Path:
    """A folder with the program and an empty database."""
    return shutil.copytree(upgraded, tmp_path / "program")


@contextmanager
def flask_run(program: Path, log: Path, port: int, **environment: str) -> Iterator[Server]:
    command = ["flask", "--app", "wsgi", "run", "--port", str(port)]
    with running(command, surroundings() | READS_IT | environment, log, port, "", program) as server:
        yield server


def addresses(text: str) -> set[str]:
    return set(re.findall(r"http://[\w.:]+", text))


def test_commands_name_the_address_that_really_serves(program: Path, tmp_path: Path) -> None:
    port = free_port()
    here = f"http://localhost:{port}"
    with flask_run(program, tmp_path / "log", port) as server:
        page = server.request("GET", "/login/").body.decode()
        assert f"{here}/static/card.png" in page  # as in all links that it makes
        for command in (("doctor",), ("createsuperuser", "+79161234501"), ("demo", "--people", "20")):
            done = flask(program, *command)
            assert done.returncode == 0, done.stdout + done.stderr
            assert addresses(done.stdout) == {here}, command
            assert "flask --app wsgi run" not in done.stdout
    assert addresses(flask(program, "doctor").stdout) == {"http://localhost:5000"}
    again = flask(program, "demo", "--people", "20", "--more").stdout
    assert "1. flask --app wsgi run\n" in again
    assert "open http://localhost:5000/login/" in again


def test_of_two_servers_the_one_that_still_runs_is_named(program: Path, tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    with flask_run(program, tmp_path / "first", first):
        with flask_run(program, tmp_path / "second", second):
            assert addresses(flask(program, "doctor").stdout) == {f"http://localhost:{second}"}
        assert addresses(flask(program, "doctor").stdout) == {f"http://localhost:{first}"}


def test_an_address_that_is_set_is_named_and_how_to_serve_there(program: Path, tmp_path: Path) -> None:
    (program / ".env").write_text("HAMMER_PUBLIC_URL=http://127.0.0.1:5055\n")
    done = flask(program, "demo", "--people", "20").stdout
    assert "1. flask --app wsgi run --port 5055\n" in done
    assert "open http://127.0.0.1:5055/login/" in done
    assert not list((program / "instance").glob("served-*"))


def test_the_server_ends_its_beginning_with_its_address_and_that_demo_mode_is_on(program: Path, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with flask_run(program, log, port):
        wait_until(lambda: "in a browser" in log.read_text())
        said = [line for line in log.read_text().splitlines() if "/healthz" not in line]
    assert any("Demo mode is on" in line for line in said[-4:])
    assert said[-1].endswith(f"Open http://localhost:{port} in a browser. Ctrl+C ends the server.")


def test_the_note_is_for_its_owner_alone_and_holds_an_address_only(program: Path, tmp_path: Path) -> None:
    port = free_port()
    with flask_run(program, tmp_path / "log", port):
        [note] = (program / "instance").glob("served-*")
        assert (note.read_text(), note.stat().st_mode & 0o777) == (f"http://localhost:{port}", 0o600)


@pytest.mark.needs("make")
def test_make_run_says_what_it_does_before_it_does_it(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").touch()
    stub = tmp_path / "python-stub"
    stub.write_text(STUB)
    stub.chmod(0o755)
    run = ["make", "run", f"PYTHON={stub}", "PORT=5055"]
    done = subprocess.run(
        run, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True, env={"PATH": os.environ["PATH"]}
    )
    said = [line for line in done.stdout.splitlines() if not line.startswith("python-stub -c")]
    assert [line if line.endswith(" ...") else line.split()[0] for line in said] == [
        "Making the environment in .venv (about ten seconds, once) ...",
        "python-stub",
        "Installing what Hammer needs into .venv (about half a minute) ...",
        "pip",
        "Bringing the database up to date ...",
        "flask",
        "Starting the server ...",
        "flask",
    ]
    assert "--quiet" in said[3]  # no terminal here
    assert said[-1].endswith("--port 5055")
