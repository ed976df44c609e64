"""Commands and gunicorn in a process of their own: what a wrong configuration or database prints, and the exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import psycopg
import pytest
from sqlalchemy import URL, make_url

import config
from config import Settings
from tests import serving
from tests.cli.commands import CLOSED_PORT
from tests.serving import surroundings

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parent.parent.parent


def shell(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
    settings = surroundings(measured=True) | environment
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60, check=False)


@dataclass(frozen=True)
class Said:
    returncode: int
    text: str


@pytest.fixture
def flask(tmp_path: Path) -> Callable[..., Said]:
    """Runs a command in a fork of a process that has imported the application: its exit code, and what it printed."""

    def run(*words: str, **environment: str) -> Said:
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        process = serving.begin(["flask", "--app", "wsgi", *words], surroundings(measured=True) | environment, log)
        process.wait(timeout=60)
        code = process.poll()
        assert code is not None
        return Said(code, log.read_text())

    return run


def test_an_empty_database_is_brought_up_to_date_from_a_shell(tmp_path: Path) -> None:
    there = {"DATABASE_URL": f"sqlite:///{tmp_path}/new.sqlite3", "SECRET_KEY": "only for the tests, 32 bytes and more of it"}
    assert "upgrade" in shell("db", "--help", **there).stdout
    upgraded = shell("db", "upgrade", **there)
    assert upgraded.returncode == 0, upgraded.stderr
    assert "tables: migrated" in shell("doctor", **there).stdout


@pytest.mark.parametrize("command", ["upgrade", "current"])
@pytest.mark.parametrize(
    ("url", "cause"),
    [
        (f"postgresql://hammer:sesame@127.0.0.1:{CLOSED_PORT}/hammer", "Connection refused"),
        ("sqlite:////nowhere/hammer.sqlite3", "unable to open database file"),
    ],
)
def test_a_migration_of_a_database_out_of_reach_says_why_in_a_line(
    flask: Callable[..., Said], command: str, url: str, cause: str
) -> None:
    assert cause in refused_in_a_line(flask("db", command, DATABASE_URL=url, SECRET_KEY="sesame" * 6))


def test_a_migration_by_the_wrong_role_says_why_in_a_line(
    flask: Callable[..., Said], settings: Settings, on_postgresql: URL
) -> None:
    there = make_url(settings.database_url)
    role = f"hammer_test_guest_{os.getpid()}"

    def migrate(at: URL) -> str:
        url = at.set(password="sesame").render_as_string(hide_password=False)
        return refused_in_a_line(flask("db", "upgrade", DATABASE_URL=url, SECRET_KEY="sesame" * 6))

    assert f'database "{role}" does not exist' in migrate(there.set(database=role))
    assert role in migrate(there.set(username=role))  # the server may say that the password is wrong, so as not to tell who exists
    plain = there.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as server:
        server.execute(f"create role {role} login password 'sesame'")
        try:
            assert "permission denied" in migrate(there.set(username=role))
        finally:
            server.execute(f"drop role {role}")


def refused_in_a_line(done: Said) -> str:
    """What a command that refused said, which is one sentence and where to look."""
    assert done.returncode == 1
    why, where = [line for line in done.text.splitlines() if not line.startswith("INFO ")]
    assert why.startswith("Error: The database: ")
    assert where == "To see what to do: flask --app wsgi doctor"
    assert "sesame" not in done.text
    return why


@pytest.mark.parametrize("command", [("doctor",), ("run", "--port", str(CLOSED_PORT)), ("users", "list"), ("worker",)])
def test_a_wrong_configuration_is_a_list_of_problems_and_no_traceback(flask: Callable[..., Said], command: tuple[str, ...]) -> None:
    done = flask(*command, HAMMER_ENV="production", DATABASE_URL="banana", HAMMER_CODE_LENGTH="5")
    assert done.returncode == os.EX_CONFIG
    assert "Traceback" not in done.text
    for name in ("SECRET_KEY", "DATABASE_URL", "HAMMER_CODE_LENGTH", "HAMMER_SMS_URL", "HAMMER_PUBLIC_URL"):
        assert f"  - {name}: " in done.text


def gunicorn(at: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    """With settings that end it at once: the exit status is not tried again by docs/deploy/hammer-web.service."""
    there = surroundings(measured=True) | {"BIND": f"127.0.0.1:{CLOSED_PORT}", "TMPDIR": str(at)} | environment
    command = [str(Path(sys.executable).with_name("gunicorn")), "--config", "gunicorn.conf.py"]
    return subprocess.run(command, cwd=ROOT, env=there, capture_output=True, text=True, timeout=60, check=False)


def test_gunicorn_does_not_start_with_unsafe_settings_and_says_why_in_words_alone(tmp_path: Path) -> None:
    done = gunicorn(tmp_path, HAMMER_ENV="production", WEB_CONCURRENCY="2")
    first, *problems = done.stderr.splitlines()
    assert done.returncode == os.EX_CONFIG
    assert first == "Error: Hammer does not start with this configuration:"
    assert [line.split(":")[0] for line in problems] == ["  - SECRET_KEY", "  - HAMMER_SMS_URL", "  - HAMMER_PUBLIC_URL"]
    assert list(tmp_path.iterdir()) == []


def test_gunicorn_does_not_start_with_a_gateway_that_apprise_cannot_read(tmp_path: Path) -> None:
    done = gunicorn(tmp_path, HAMMER_SMS_URL="twilio://AC1:sesame@1/{phone}", SECRET_KEY="x" * 32)
    _, *problems = done.stderr.splitlines()
    assert done.returncode == os.EX_CONFIG
    assert [line.split(" has a URL ")[0] for line in problems] == ["  - HAMMER_SMS_URL: Gateway 1 (twilio)"]
    assert "sesame" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["banana", "mysql://127.0.0.1/x", "sqlite:///:memory:", "sqlite://", "postgresql://u@h:nowhere/x"])
def test_a_database_that_cannot_be_is_refused_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(config.Misconfigured, match="DATABASE_URL"):
        config.read()


def test_what_is_misconfigured_is_shown_by_any_command() -> None:
    assert issubclass(config.Misconfigured, click.ClickException)
