"""The file `.env` beside the program: every process reads it, and the environment wins."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import config
from tests.databases import Databases
from tests.serving import ROOT, free_port, running, surroundings

pytestmark = pytest.mark.processes

SECRET = "only for the tests, 32 bytes and more of it"
PARTS = ("config.py", "wsgi.py", "gunicorn.conf.py", "hammer", "migrations")
GUNICORN = ["gunicorn", "--config", "gunicorn.conf.py"]
READS_IT = {"FLASK_SKIP_DOTENV": ""}


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of `.env` for this process. What the file adds to the environment is removed after the test."""
    before = dict(os.environ)
    monkeypatch.setattr(config, "INSTANCE", tmp_path / "instance")
    monkeypatch.setattr(config, "ENV_FILE", tmp_path / ".env")
    for name in [name for name in os.environ if name not in surroundings()] + ["FLASK_SKIP_DOTENV"]:
        os.environ.pop(name, None)
    yield tmp_path / ".env"
    os.environ.clear()
    os.environ.update(before)


def test_its_values_are_read_and_those_of_the_environment_win(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("# ours\nHAMMER_REGION=KZ\nHAMMER_CODE_LENGTH=8\nexport HAMMER_DEMO='off'\n")
    monkeypatch.setenv("HAMMER_CODE_LENGTH", "6")
    settings = config.read()
    assert (settings.region, settings.code_length, settings.demo) == ("KZ", 6, False)


def test_a_file_of_a_windows_editor_is_read_from_its_first_line(env_file: Path) -> None:
    env_file.write_bytes("HAMMER_REGION=KZ\r\nHAMMER_CODE_LENGTH=6\r\n".encode("utf-8-sig"))
    assert (config.read().region, config.read().code_length) == ("KZ", 6)


@pytest.mark.parametrize("line", ["HAMMER_ENV: production", "HAMMER_ENV", "HAMMER ENV=production"])
def test_a_line_that_sets_nothing_is_refused_and_only_its_number_is_shown(env_file: Path, line: str) -> None:
    env_file.write_text(f"# ours\nHAMMER_REGION=KZ\n{line}\n")
    with pytest.raises(config.Misconfigured) as refused:
        config.read()
    assert refused.value.problems == [f"{env_file}: Line 3 is not NAME=value."]


def test_an_unreadable_file_is_refused(env_file: Path) -> None:
    env_file.write_bytes(b"HAMMER_ENV=\xff\n")
    with pytest.raises(config.Misconfigured, match="it is not UTF-8"):
        config.read()
    env_file.unlink()
    env_file.mkdir()
    with pytest.raises(config.Misconfigured, match="Is a directory"):
        config.read()


def test_it_is_ignored_with_the_variable_that_makes_flask_ignore_it(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file.write_text("HAMMER_REGION=KZ\n")
    monkeypatch.setenv("FLASK_SKIP_DOTENV", "1")
    assert config.read().region == "RU"


# In processes of their own, from a copy of the program


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return copy_of_the_program(tmp_path)


def copy_of_the_program(folder: Path) -> Path:
    """A folder with the program and nothing else."""
    home = folder / "program"
    home.mkdir()
    for part in PARTS:
        source = ROOT / part
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, home / part)
    return home


def flask(program: Path, *words: str, at: Path | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("flask")), "--app", str(program / "wsgi.py"), *words]
    settings = surroundings() | READS_IT | environment
    return subprocess.run(command, cwd=at or program, env=settings, capture_output=True, text=True, timeout=60, check=False)


def test_doctor_and_gunicorn_read_the_same_database_from_it(program: Path, databases: Databases, tmp_path: Path) -> None:
    url, port = databases.new(), free_port()
    lines = (f"DATABASE_URL='{url}'", f"SECRET_KEY='{SECRET}'", f"BIND=127.0.0.1:{port}", "WEB_CONCURRENCY=2")
    (program / ".env").write_text("\n".join(lines) + "\n")
    with running(GUNICORN, surroundings() | READS_IT, tmp_path / "log", port, url, program) as server:
        server.sign_in("+79161234501")
        assert len(Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()) == 2  # workers
        found = flask(program, "users", "list")
        examined = flask(program, "doctor")
    assert "+79161234501" in found.stdout, found.stderr
    assert Path(url).name.split("?")[0] in examined.stdout
    assert not (program / "instance" / "hammer.sqlite3").exists()


def test_it_is_read_wherever_a_command_is_run(program: Path, tmp_path: Path) -> None:
    (program / ".env").write_text(f"DATABASE_URL='sqlite:///{tmp_path}/there.sqlite3'\nSECRET_KEY='{SECRET}'\n")
    for at in (program, tmp_path, program / "hammer"):
        assert f"{tmp_path}/there.sqlite3" in flask(program, "doctor", at=at).stdout


@pytest.mark.parametrize("name", [".env", ".flaskenv"])
def test_a_file_that_only_flask_would_read_is_refused_with_the_right_place_for_it(program: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"DATABASE_URL='sqlite:///{tmp_path}/elsewhere.sqlite3'\nOTHERS=1\n")
    refused = flask(program, "doctor")
    assert refused.returncode == config.Misconfigured.exit_code
    [line] = [line for line in refused.stderr.splitlines() if line.startswith("  - ")]
    assert (
        line == f"  - DATABASE_URL: {tmp_path / name} sets it, which flask reads and servers do not. Set it in {program / '.env'}."
    )
    assert flask(program, "doctor", DATABASE_URL=f"sqlite:///{tmp_path}/ours.sqlite3").returncode == 1  # there are no tables yet


@pytest.mark.parametrize(
    "command",
    [["flask", "--app", "wsgi", command] for command in ("doctor", "run", "worker", "prune")] + [GUNICORN],
    ids=lambda command: command[-1],
)
def test_no_process_starts_with_a_setting_that_does_not_exist(program: Path, command: list[str]) -> None:
    (program / ".env").write_text("HAMMER_CODELENGTH=8\n")
    run = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    settings = surroundings() | READS_IT
    done = subprocess.run(run, cwd=program, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == config.Misconfigured.exit_code
    assert "HAMMER_CODELENGTH: There is no such setting. The nearest is HAMMER_CODE_LENGTH." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("file", [".gitignore", ".dockerignore"])
def test_it_is_ignored_by_git_and_by_the_image(file: str) -> None:
    assert {".env", "**/.env"} & set((ROOT / file).read_text().splitlines())
