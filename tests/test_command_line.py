"""The operator's commands: what each prints and does, what it refuses, and with which exit code."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import phonenumbers
import psycopg
import pytest
from click.testing import Result
from flask import Flask
from phonenumbers import PhoneNumberType
from sqlalchemy import URL, event, make_url, select, text, update
from time_machine import Traveller

import config
from config import Settings
from hammer.db.database import db, transaction
from hammer.models import Referral, SessionKind, User
from hammer.operations import demo, doctor
from hammer.refusals import NotAllowed, NotFound, WrongCode
from hammer.sessions import devices, sessions
from hammer.users import accounts, people
from tests.actions import ANNA, BORIS, ask, confirm, everything_stored, right, sign_in, user
from tests.databases import Databases
from tests.serving import surroundings

ROOT = Path(__file__).parent.parent
CLOSED_PORT = 5129

Run = Callable[..., Result]
Made = Callable[[Settings], Flask]


@pytest.fixture
def run(app: Flask) -> Run:
    """Calls a command of the application: `run("users", "show", ANNA)`."""
    return lambda *words, typed=None: app.test_cli_runner().invoke(args=words, input=typed)


@pytest.fixture
def anna(app: Flask, settings: Settings) -> str:
    """The id of Anna, who is signed in on one device."""
    with app.app_context():
        signed_in = sign_in(settings, ANNA)
        accounts.rename(signed_in.user.id, {"username": "anna", "first_name": "Анна", "last_name": "Иванова"})
        return signed_in.user.id


@pytest.fixture
def profile(app: Flask) -> Callable[[str], people.Profile]:
    def read(user_id: str) -> people.Profile:
        with app.app_context():
            return people.profile(app.config["SETTINGS"], user_id)

    return read


def said(result: Result) -> str:
    """What a command that succeeded printed."""
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(result: Result) -> str:
    """What a command that refused said, on stderr."""
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output
    return result.stderr


# Staff


def test_createsuperuser_makes_a_staff_user_of_a_new_number_and_says_how_they_sign_in(
    run: Run, app: Flask, settings: Settings
) -> None:
    out = said(run("createsuperuser", "8 (929) 000-00-01"))
    assert out.startswith(f"{ANNA} is staff now.")
    assert f"{settings.public_url}/login/" in out
    with app.app_context():
        assert people.profile(settings, people.find(settings, ANNA)).is_staff


def test_createsuperuser_makes_the_user_of_a_known_number_staff(
    run: Run, anna: str, profile: Callable[[str], people.Profile]
) -> None:
    before = profile(anna)
    said(run("createsuperuser", ANNA))
    assert profile(anna) == replace(before, is_staff=True)


def test_createsuperuser_says_when_a_block_keeps_the_new_staff_out(run: Run, anna: str) -> None:
    run("users", "block", ANNA)
    assert f"users block --undo {ANNA}" in said(run("createsuperuser", ANNA))


@pytest.mark.parametrize("number", ["abc", "112", "+7929", "🦔"])
def test_createsuperuser_refuses_what_is_no_number(run: Run, number: str) -> None:
    assert "does not look like a telephone number" in refused(run("createsuperuser", number))


def test_createsuperuser_asks_for_a_number(run: Run) -> None:
    assert "Enter your telephone number." in refused(run("createsuperuser", ""))


def test_createsuperuser_refuses_a_number_that_gets_no_texts(run: Run) -> None:
    assert "cannot send texts" in refused(run("createsuperuser", "+74951234567"))


# People


def test_list_shows_people_in_aligned_columns_in_the_order_they_joined(run: Run, app: Flask, settings: Settings, anna: str) -> None:
    with app.app_context():
        user(settings, BORIS)
    said(run("users", "make-staff", BORIS))
    said(run("users", "block", BORIS))
    heads, first, second = said(run("users", "list")).splitlines()
    assert heads.split() == ["NUMBER", "USERNAME", "NAME", "CODE", "INVITED", "JOINED", "(UTC)"]
    assert first.split()[:4] == [ANNA, "anna", "Анна", "Иванова"]
    assert second.startswith(BORIS)
    assert second.endswith("staff blocked")
    assert first.index("Анна") == heads.index("  NAME") + 2
    assert first.index(" 0  ") + 1 == second.index(" 0  ") + 1 == heads.index("INVITED")


def test_list_finds_by_number_name_username_and_invite_code(
    run: Run, app: Flask, settings: Settings, anna: str, profile: Callable[[str], people.Profile]
) -> None:
    with app.app_context():
        user(settings, BORIS)
    for query in ("иванова", "ANN", "0000001", "8 929 000-00-01", profile(anna).invite_code.lower()):
        out = said(run("users", "list", "--q", query))
        assert ANNA in out, query
        assert BORIS not in out, query


def test_list_goes_on_where_the_page_before_ended(run: Run, app: Flask, settings: Settings, anna: str) -> None:
    with app.app_context():
        user(settings, BORIS)
    first = run("users", "list", "--limit", "1")
    assert BORIS not in said(first)
    place = first.stderr.split("--after ")[1].strip()
    second = run("users", "list", "--limit", "1", "--after", place)
    assert BORIS in said(second)
    assert ANNA not in second.stdout
    assert "--after" not in second.stderr


def test_list_costs_as_many_statements_for_a_hundred_as_for_one(
    run: Run, settings: Settings, app: Flask, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    with app.app_context():
        demo.fill(settings, people=300, seed=1)
    with statements() as for_one:
        said(run("users", "list", "--limit", "1"))
    with statements() as for_a_hundred:
        said(run("users", "list", "--limit", "100"))
    assert len(for_a_hundred) == len(for_one) <= 2


def test_list_of_nobody_says_so(run: Run) -> None:
    result = run("users", "list")
    assert said(result) == ""
    assert result.stderr == "There is nobody.\n"
    assert run("users", "list", "--q", "x").stderr == "There is nobody who has to do with that.\n"


def test_list_refuses_a_place_that_it_never_gave(run: Run) -> None:
    assert "end of the last page" in refused(run("users", "list", "--after", "banana"))


@pytest.mark.parametrize("limit", ["0", "101", "x"])
def test_list_refuses_a_limit_that_is_no_limit(run: Run, limit: str) -> None:
    result = run("users", "list", "--limit", limit)
    assert result.exit_code == 2
    assert "--limit" in result.stderr


def test_no_name_plays_with_the_terminal(run: Run, app: Flask, anna: str) -> None:
    with app.app_context(), transaction() as session:
        session.execute(update(User).values(first_name="Анна\u202e\x1b[31m"))
    for command in (("users", "list"), ("users", "show", ANNA), ("users", "block", ANNA)):
        out = said(run(*command))
        assert "\u202e" not in out
        assert "\x1b" not in out


@pytest.mark.parametrize("name", [ANNA, "89290000001", "+7 (929) 000-00-01", "anna", "ANNA"])
def test_show_finds_somebody_by_username_or_any_spelling_of_the_number(run: Run, anna: str, name: str) -> None:
    out = said(run("users", "show", name))
    assert "+7 929 000-00-01" in out
    assert "Анна Иванова" in out
    assert "Firefox" in out.split("DEVICE")[1]


def test_show_of_somebody_who_is_signed_in_nowhere_says_so(run: Run) -> None:
    run("createsuperuser", ANNA)
    out = said(run("users", "show", ANNA))
    assert "Signed in nowhere." in out
    assert "standing:     staff" in out


@pytest.mark.parametrize("command", ["show", "make-staff", "block", "delete"])
@pytest.mark.parametrize("name", ["nobody", BORIS, "", "me", "../../etc"])
def test_a_user_who_is_not_there_is_named_in_the_refusal(run: Run, command: str, name: str) -> None:
    assert f"There is no user {name!r}." in refused(run("users", command, name))


def test_bytes_that_are_no_text_are_refused(run: Run) -> None:
    assert "UTF-8" in refused(run("users", "list", "--q", "a\udcff"))
    assert "There is no user" in refused(run("users", "show", "a\udcff"))


def test_make_staff_gives_and_takes(run: Run, anna: str, profile: Callable[[str], people.Profile]) -> None:
    assert said(run("users", "make-staff", "anna")) == f"{ANNA} (anna Анна Иванова) is staff now.\n"
    assert profile(anna).is_staff
    assert "is not staff now" in said(run("users", "make-staff", "anna", "--undo"))
    assert not profile(anna).is_staff


def test_block_shuts_out_at_once_and_undo_lets_in_again(
    run: Run, app: Flask, anna: str, profile: Callable[[str], people.Profile]
) -> None:
    assert "signed out everywhere" in said(run("users", "block", "anna"))
    assert profile(anna).blocked_at is not None
    with app.app_context():
        assert sessions.devices(anna) == []
    assert "may sign in again" in said(run("users", "block", "anna", "--undo"))
    assert profile(anna).blocked_at is None


def test_delete_asks_and_does_nothing_unless_told_yes(run: Run, anna: str, profile: Callable[[str], people.Profile]) -> None:
    for typed in ("n\n", "\n", ""):
        result = run("users", "delete", "anna", typed=typed)
        assert result.exit_code == 1
        assert f"Forget {ANNA} (anna Анна Иванова)" in result.stdout
    assert profile(anna).telephone_number == ANNA


@pytest.mark.parametrize(("words", "typed"), [((), "y\n"), (("--yes",), None)])
def test_delete_forgets_for_ever(run: Run, app: Flask, anna: str, words: tuple[str, ...], typed: str | None) -> None:
    assert "is forgotten" in said(run("users", "delete", "anna", *words, typed=typed))
    with app.app_context(), pytest.raises(NotFound):
        people.profile(app.config["SETTINGS"], anna)


def test_who_came_back_with_a_backup_is_deleted_again_by_the_line_in_the_log(
    run: Run, app: Flask, anna: str, caplog: pytest.LogCaptureFixture
) -> None:
    with app.app_context():
        before = db.session.execute(select(User.__table__).where(User.id == anna)).mappings().one()
    run("users", "delete", "anna", "--yes")
    assert f"Deleted user {anna}." in caplog.messages
    with app.app_context(), transaction() as session:
        session.execute(update(User).where(User.id == anna).values(**before))
    assert "is forgotten" in said(run("users", "delete", "--by-id", "--yes", "--", anna))
    assert "There is nothing here." in refused(run("users", "delete", "--by-id", "--yes", "--", anna))


# Keeping


def test_prune_says_how_much_of_what_is_gone(run: Run, app: Flask, settings: Settings, clock: Traveller) -> None:
    with app.app_context():
        ask(settings)
    clock.shift(timedelta(days=2))
    told = said(run("prune"))
    assert told.startswith("Deleted 1 texts, 1 verifications, 0 sessions, 1 send allowances, 5 counters, ")


def test_after_a_restored_backup_no_code_and_no_session_of_before_works(run: Run, app: Flask, settings: Settings) -> None:
    with app.app_context():
        verification, signed_in = ask(settings), sign_in(settings, BORIS)
    assert "Voided 2 texts, 2 verifications, 1 devices, 0 idempotency keys, 1 sessions." in said(run("prune", "--restored"))
    with app.app_context():
        with pytest.raises(WrongCode):
            confirm(settings, verification, right(settings, verification))
        assert sessions.caller(signed_in.session.id, SessionKind.PROGRAM) is None
        token = devices.token(settings, signed_in.device)
        assert devices.known(db.session(), settings, token, BORIS, datetime.now(UTC)) is None


# The document


def test_openapi_prints_the_postman_collection(run: Run) -> None:
    collection = json.loads(said(run("openapi", "--postman")))
    assert collection["info"]["schema"].endswith("/v2.1.0/collection.json")
    assert collection["item"]


def test_openapi_prints_the_document_of_the_api_with_readable_cyrillic(run: Run) -> None:
    out = said(run("openapi"))
    assert json.loads(out)["openapi"].startswith("3.1")
    assert "Ваш токен" in out


# Doctor


SEVERITY = {doctor.FINE: 0, doctor.ADVICE: 1, doctor.WRONG: 2}


def findings(app: Flask) -> dict[str, doctor.Finding]:
    """What the doctor finds, by part; the worst where there are several."""
    with app.app_context():
        found = sorted(doctor.examine(app.config["SETTINGS"]), key=lambda finding: SEVERITY[finding.state])
        db.session.remove()
    return {finding.part: finding for finding in found}


def wrong(app: Flask) -> dict[str, doctor.Finding]:
    return {part: finding for part, finding in findings(app).items() if finding.state == doctor.WRONG}


def test_doctor_finds_a_healthy_system_well(run: Run) -> None:
    out = said(run("doctor"))
    assert out.endswith("All is well.\n")
    assert "WRONG" not in out
    for part in ("configuration", "secret key", "gateway", "address", "database", "tables", "writing", "clock"):
        assert f"ok      {part}: " in out


def test_doctor_asks_whether_a_proxy_stands_before_production(app_with: Made, settings: Settings) -> None:
    alone = app_with(replace(settings, env="production", public_url="https://login.example.com"))
    behind_one = app_with(replace(settings, env="production", public_url="https://login.example.com", proxy_hops=1))
    assert findings(alone)["proxies"].state == doctor.ADVICE
    assert "proxies" not in findings(behind_one)


def test_doctor_changes_nothing(run: Run, app: Flask, statements: Callable[[], AbstractContextManager[list[str]]]) -> None:
    with app.app_context():
        sign_in(app.config["SETTINGS"])
        before = everything_stored()
    with statements() as seen:
        said(run("doctor"))
    of_no_row = [s for s in seen if "WHERE false" in s or "WHERE 0 = 1" in s]
    changing = [s for s in seen if s.lower().lstrip().startswith(("insert", "update", "delete"))]
    assert len(changing) == len(of_no_row) + 2  # a row is written and taken away again
    with app.app_context():
        assert everything_stored() == before


def test_doctor_sends_who_has_not_migrated_to_the_command_that_does(
    app_with: Made, databases: Databases, settings: Settings
) -> None:
    app = app_with(replace(settings, database_url=databases.bare()))
    result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 1
    assert "WRONG   tables: there are none yet\n        -> Run: flask --app wsgi db upgrade\n" in result.stdout
    assert result.stderr == "\n1 thing is wrong.\n"


@pytest.mark.parametrize("command", [("users", "list"), ("createsuperuser", ANNA), ("prune",), ("demo",)])
def test_a_command_on_tables_that_are_not_there_sends_to_the_doctor(
    app_with: Made, databases: Databases, settings: Settings, command: tuple[str, ...]
) -> None:
    app = app_with(replace(settings, database_url=databases.bare()))
    assert "To see what to do: flask --app wsgi doctor" in refused(app.test_cli_runner().invoke(args=command))


def test_doctor_knows_a_database_of_an_older_and_of_a_newer_program(
    app: Flask, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app.app_context():
        newest = db.session.scalars(text("select version_num from alembic_version")).one()
    set_step(app, "9999")
    assert "does not know" in wrong(app)["tables"].how
    monkeypatch.setattr("alembic.script.ScriptDirectory.get_current_head", lambda _: "9999")
    set_step(app, newest)
    assert wrong(app)["tables"].remedy == doctor.MIGRATE


def set_step(app: Flask, step: str) -> None:
    with app.app_context(), transaction() as session:
        session.execute(text("update alembic_version set version_num = :step"), {"step": step})


@pytest.fixture
def on_sqlite(settings: Settings) -> Path:
    """The file of the test's database; skips the test on PostgreSQL."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite":
        pytest.skip("This is about SQLite.")
    return Path(str(url.database))


@pytest.fixture
def on_postgresql(settings: Settings) -> None:
    if make_url(settings.database_url).get_backend_name() == "sqlite":
        pytest.skip("This is about PostgreSQL.")


def test_doctor_says_that_a_postgresql_is_out_of_reach_and_keeps_its_password(app_with: Made, settings: Settings) -> None:
    app = app_with(replace(settings, database_url=f"postgresql://hammer:sesame@127.0.0.1:{CLOSED_PORT}/hammer"))
    result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 1
    assert f"hammer:***@127.0.0.1:{CLOSED_PORT}/hammer does not answer" in result.stdout
    assert "-> Start it, or mend host, port" in result.stdout
    assert "sesame" not in result.output
    assert "sesame" not in refused(app.test_cli_runner().invoke(args=["users", "list"]))


def test_doctor_says_that_a_directory_is_missing(app_with: Made, settings: Settings, tmp_path: Path) -> None:
    app = app_with(replace(settings, database_url=f"sqlite:///{tmp_path}/nowhere/hammer.sqlite3"))
    assert "Make its directory" in wrong(app)["database"].remedy


def test_doctor_says_that_a_file_is_no_database(app_with: Made, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "hammer.sqlite3").write_text("This is a letter to my grandmother, and no database at all. " * 20)
    app = app_with(replace(settings, database_url=f"sqlite:///{tmp_path}/hammer.sqlite3"))
    assert "file is not a database" in wrong(app)["database"].how


def test_doctor_says_that_a_file_is_read_only(app_with: Made, settings: Settings, on_sqlite: Path) -> None:
    with closing(sqlite3.connect(on_sqlite)) as connection:
        connection.execute("pragma journal_mode = wal")
    app = app_with(replace(settings, database_url=f"sqlite:///file:{on_sqlite}?mode=ro&uri=true"))
    assert list(wrong(app)) == ["writing"]
    assert "chown, chmod" in wrong(app)["writing"].remedy


def test_doctor_says_that_a_role_may_not_write(app_with: Made, settings: Settings, on_postgresql: None) -> None:
    app = app_with(settings)
    with app.app_context():
        event.listen(db.engine, "connect", lambda connection, _: connection.execute("set default_transaction_read_only = on"))
    assert wrong(app)["writing"].how == "cannot execute DELETE in a read-only transaction"
    assert "primary server" in wrong(app)["writing"].remedy


def test_doctor_says_that_a_database_keeps_no_cyrillic(app_with: Made, settings: Settings, on_postgresql: None) -> None:
    name = f"hammer_test_ascii_{os.getpid()}"
    plain = make_url(settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as server:
        server.execute(f"create database {name} template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
        try:
            url = make_url(settings.database_url).set(database=name).render_as_string(hide_password=False)
            assert "encoding is SQL_ASCII" in wrong(app_with(replace(settings, database_url=url)))["database"].how
        finally:
            server.execute(f"drop database {name} with (force)")


def test_doctor_advises_against_an_old_postgresql(app: Flask, on_postgresql: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_POSTGRESQL", 99)
    assert findings(app)["database"].state == doctor.ADVICE


def test_doctor_says_that_somebody_holds_the_database_locked(app: Flask, on_sqlite: Path) -> None:
    with closing(sqlite3.connect(on_sqlite, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert "holds the database locked" in wrong(app)["writing"].how
        assert "database is locked" in refused(app.test_cli_runner().invoke(args=["createsuperuser", ANNA]))


def test_doctor_says_that_the_disk_is_full(app: Flask, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 10**18)
    assert wrong(app)["disk"].remedy == "Make room."


def test_doctor_says_that_the_journal_is_none_for_many(app: Flask, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        db.session.execute(text("pragma journal_mode = delete"))
        found = list(doctor.examine(app.config["SETTINGS"]))
    assert any("its journal is delete, not wal" in finding.how for finding in found if finding.state == doctor.WRONG)


def test_doctor_advises_against_several_web_workers_on_one_sqlite(
    app: Flask, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    assert findings(app)["database"].state == doctor.FINE
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert "WEB_CONCURRENCY=1" in findings(app)["database"].remedy
    assert not wrong(app)


def test_doctor_says_that_the_clock_went_wrong(app: Flask, settings: Settings, clock: Traveller) -> None:
    clock.shift(timedelta(days=1))
    with app.app_context():
        user(settings)
    clock.shift(timedelta(days=-1, seconds=-10))
    assert "NTP" in wrong(app)["clock"].remedy


def test_doctor_says_where_the_secret_is_from(
    app: Flask, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "INSTANCE", tmp_path)
    assert "given by the program" in findings(app)["secret key"].how
    file = tmp_path / "secret_key"
    file.touch(mode=0o600)
    file.write_text(settings.secret_key)
    assert findings(app)["secret key"].how == f"from {file}"
    file.chmod(0o644)
    assert wrong(app)["secret key"].remedy == f"Run: chmod 600 {file}"
    monkeypatch.setenv("SECRET_KEY", settings.secret_key)
    assert findings(app)["secret key"].how == "from SECRET_KEY"


def test_doctor_says_which_files_others_on_this_machine_can_read_or_replace(
    app: Flask, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home, env_file = tmp_path / "instance", tmp_path / ".env"
    home.mkdir(mode=0o700)
    env_file.touch(mode=0o600)
    monkeypatch.setattr(config, "INSTANCE", home)
    monkeypatch.setattr(config, "ENV_FILE", env_file)
    with app.app_context():
        db.session.execute(text("create table t (x)"))  # so that there is a -wal
    assert {"settings file", "folder", "database file"} & set(findings(app)) == set()
    for file, part in ((env_file, "settings file"), (on_sqlite, "database file"), (Path(f"{on_sqlite}-wal"), "database file")):
        file.chmod(0o604)
        assert wrong(app)[part].remedy == f"Run: chmod o= {file}"
        file.chmod(0o640)  # as for a group that makes copies
        assert part not in findings(app)
    tmp_path.chmod(0o777)
    assert wrong(app)["settings file"].remedy == f"Run: chmod o-w {tmp_path}"
    tmp_path.chmod(0o1777)  # as that for temporary files: nobody replaces another's there
    assert "settings file" not in findings(app)
    home.chmod(0o755)
    assert findings(app)["folder"].remedy == f"Run: chmod 700 {home}"


def test_doctor_advises_against_a_short_secret(app_with: Made, settings: Settings) -> None:
    finding = findings(app_with(replace(settings, secret_key="swordfish")))["secret key"]
    assert finding.state == doctor.ADVICE
    assert "secrets.token_urlsafe(32)" in finding.remedy


def test_doctor_warns_that_demo_mode_shows_codes(app_with: Made, settings: Settings) -> None:
    assert "shows everybody's codes" in findings(app_with(replace(settings, demo=True)))["configuration"].how


def test_doctor_advises_in_production_alone_and_is_content(app_with: Made, settings: Settings, clock: Traveller) -> None:
    app = app_with(replace(settings, env="production"))
    long_ago = doctor.UNPRUNED + timedelta(hours=1)
    clock.shift(-long_ago)
    with app.app_context():
        ask(settings)
    clock.shift(long_ago)
    found = findings(app)
    assert "createsuperuser PHONE" in found["staff"].remedy
    assert found["keeping"].remedy == "Hourly: flask --app wsgi prune"
    assert not wrong(app)
    runner = app.test_cli_runner()
    assert runner.invoke(args=["doctor"]).exit_code == 0
    said(runner.invoke(args=["prune"]))
    said(runner.invoke(args=["createsuperuser", ANNA]))
    assert not {"staff", "keeping"} & set(findings(app))


# From a shell: what a wrong configuration looks like


def shell(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "flask", "--app", "wsgi", *words]
    settings = surroundings(measured=True) | environment
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=60, check=False)


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
def test_a_migration_of_a_database_out_of_reach_says_why_in_a_line(command: str, url: str, cause: str) -> None:
    assert cause in refused_in_a_line(shell("db", command, DATABASE_URL=url, SECRET_KEY="sesame" * 6))


def test_a_migration_by_the_wrong_role_says_why_in_a_line(settings: Settings, on_postgresql: None) -> None:
    there = make_url(settings.database_url)
    role = f"hammer_test_guest_{os.getpid()}"

    def migrate(at: URL) -> str:
        url = at.set(password="sesame").render_as_string(hide_password=False)
        return refused_in_a_line(shell("db", "upgrade", DATABASE_URL=url, SECRET_KEY="sesame" * 6))

    assert f'database "{role}" does not exist' in migrate(there.set(database=role))
    assert role in migrate(there.set(username=role))  # the server may say that the password is wrong, so as not to tell who exists
    plain = there.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as server:
        server.execute(f"create role {role} login password 'sesame'")
        try:
            assert "permission denied" in migrate(there.set(username=role))
        finally:
            server.execute(f"drop role {role}")


def refused_in_a_line(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command that refused said, which is one sentence and where to look."""
    assert done.returncode == 1
    why, where = [line for line in done.stderr.splitlines() if not line.startswith("INFO ")]
    assert why.startswith("Error: The database: ")
    assert where == "To see what to do: flask --app wsgi doctor"
    assert "sesame" not in done.stderr + done.stdout
    return why


@pytest.mark.parametrize("command", [("doctor",), ("run", "--port", str(CLOSED_PORT)), ("users", "list"), ("worker",)])
def test_a_wrong_configuration_is_a_list_of_problems_and_no_traceback(command: tuple[str, ...]) -> None:
    done = shell(*command, HAMMER_ENV="production", DATABASE_URL="banana", HAMMER_CODE_LENGTH="5")
    assert done.returncode == os.EX_CONFIG
    assert "Traceback" not in done.stderr
    for name in ("SECRET_KEY", "DATABASE_URL", "HAMMER_CODE_LENGTH", "HAMMER_SMS_URL", "HAMMER_PUBLIC_URL"):
        assert f"  - {name}: " in done.stderr


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
    assert [line.split(" is no ")[0] for line in problems] == ["  - HAMMER_SMS_URL: Gateway 1 (twilio)"]
    assert "sesame" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["banana", "mysql://127.0.0.1/x", "sqlite:///:memory:", "sqlite://", "postgresql://u@h:nowhere/x"])
def test_a_database_that_cannot_be_is_refused_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(config.Misconfigured, match="DATABASE_URL"):
        config.read()


def test_what_is_misconfigured_is_shown_by_any_command() -> None:
    assert issubclass(config.Misconfigured, click.ClickException)


# Demo


def test_demo_tells_how_to_sign_in_as_the_most_inviting_person(run: Run, app: Flask) -> None:
    out = said(run("demo"))
    with app.app_context():
        star = db.session.scalars(select(User).order_by(User.invite_count.desc())).first()
    assert star is not None
    assert out.startswith("Made 300 people.")
    assert f"invited most, {star.invite_count}." in out
    assert f"/login/ and enter {star.telephone_number}" in out


def test_demo_makes_people_who_could_be_real(run: Run, app: Flask) -> None:
    said(run("demo"))
    with app.app_context():
        everybody = db.session.scalars(select(User)).all()
    numbers = [phonenumbers.parse(str(person.telephone_number)) for person in everybody]
    assert all(phonenumbers.is_valid_number_for_region(number, "RU") for number in numbers)
    assert {phonenumbers.number_type(number) for number in numbers} == {PhoneNumberType.MOBILE}
    usernames = [person.username for person in everybody if person.username]
    assert 50 < len(usernames) < 150
    assert all(re.fullmatch(accounts.USERNAME, name) for name in usernames)
    assert any(not person.first_name for person in everybody)
    now = datetime.now(UTC)
    assert all(now - demo.SPAN <= person.date_joined <= now for person in everybody)
    assert max(p.date_joined for p in everybody) - min(p.date_joined for p in everybody) > timedelta(days=120)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_demo_grows_trees_without_loops_with_true_counts_and_dates_in_order(app: Flask, settings: Settings, seed: int) -> None:
    with app.app_context():
        made = demo.fill(settings, people=300, seed=seed)
        joined = {person.id: person.date_joined for person in db.session.scalars(select(User))}
        counts = {person.id: person.invite_count for person in db.session.scalars(select(User))}
        referrals = db.session.scalars(select(Referral)).all()
    above = {referral.referee_id: referral.referrer_id for referral in referrals}
    assert made is not None
    assert made.referrals == len(referrals) > 150
    assert counts == {person: Counter(above.values())[person] for person in joined}
    assert all(r.activated_at >= max(joined[r.referee_id], joined[r.referrer_id]) for r in referrals)
    assert max(map(len, (chain_up(person, above) for person in joined))) == made.levels >= 4
    assert counts[made.most_inviting] == max(counts.values())


def chain_up(person: str, above: dict[str, str]) -> list[str]:
    chain = [person]
    while chain[-1] in above:
        chain.append(above[chain[-1]])
        assert len(chain) == len(set(chain)), "a loop"
    return chain


def test_demo_has_few_who_invite_many_and_many_who_invite_nobody(app: Flask, settings: Settings) -> None:
    with app.app_context():
        demo.fill(settings, people=300, seed=3)
        counts = sorted(db.session.scalars(select(User.invite_count)))
    assert counts[-1] >= 15
    assert sum(counts[-15:]) > sum(counts) / 2
    assert counts.count(0) > 150


def test_demo_comes_to_those_who_tried_out_the_first_steps(run: Run, app: Flask, settings: Settings) -> None:
    with app.app_context():
        for last in range(demo.FEW - 1):
            accounts.create(settings, f"+7916123450{last}", {})
    assert said(run("demo", "--people", "20")).startswith("Made 20 people.")


def test_demo_says_no_where_there_are_people_unless_more_are_wanted(run: Run, app: Flask) -> None:
    said(run("demo", "--people", "20"))
    assert "--more" in refused(run("demo", "--people", "20"))
    said(run("demo", "--people", "20", "--more"))
    with app.app_context():
        assert len(db.session.scalars(select(User.id)).all()) == 40


def test_demo_makes_the_same_people_of_the_same_seed(app_with: Made, databases: Databases, settings: Settings) -> None:
    made = []
    for seed in (5, 5, 6):
        app = app_with(replace(settings, database_url=databases.new()))
        with app.app_context():
            demo.fill(settings, people=50, seed=seed)
            rows = db.session.execute(select(User.telephone_number, User.invite_code, User.username, User.invite_count))
            made.append(sorted(map(str, rows)))
    assert made[0] == made[1] != made[2]


def test_demo_of_two_people_may_have_no_invitation(app: Flask, settings: Settings) -> None:
    with app.app_context():
        made = [demo.fill(settings, people=2, seed=seed, more=True) for seed in range(8)]
    assert {filled.referrals for filled in made if filled} == {0, 1}


def test_demo_people_can_sign_in_and_see_whom_they_invited(app: Flask, settings: Settings) -> None:
    with app.app_context():
        made = demo.fill(settings, people=100, seed=3)
        assert made is not None
        star = people.profile(settings, made.most_inviting)
        signed_in = sign_in(settings, star.telephone_number)
    assert signed_in.user.id == made.most_inviting
    assert not signed_in.created
    assert len(star.invite_code_list) == star.invite_count


def test_demo_refuses_to_run_in_production(app_with: Made, settings: Settings) -> None:
    app = app_with(replace(settings, env="production"))
    assert "Production is for real people" in refused(app.test_cli_runner().invoke(args=["demo", "--more"]))
    with app.app_context():
        assert db.session.scalars(select(User)).all() == []
        with pytest.raises(NotAllowed):
            demo.fill(replace(settings, env="production"), people=2, seed=1)


@pytest.mark.parametrize("people", ["1", "100001", "x"])
def test_demo_refuses_a_crowd_that_is_none(run: Run, people: str) -> None:
    assert run("demo", "--people", people).exit_code == 2


# The door itself


def test_every_command_has_help_that_fits_a_line(app: Flask) -> None:
    listed = said(app.test_cli_runner().invoke(args=["--help"])) + said(app.test_cli_runner().invoke(args=["users", "--help"]))
    assert "..." not in "".join(line for line in listed.splitlines() if line.startswith("  "))


def test_names_for_the_demo_are_not_loaded_by_a_server() -> None:
    loaded = "import sys, hammer; sys.exit('hammer.operations.demo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, check=False).returncode == 0
