"""What `doctor` finds, and what it advises."""

import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from sqlalchemy import URL, event, make_url, text
from time_machine import Traveller

import config
from config import Settings
from hammer.db.database import db, transaction
from hammer.operations import doctor, readiness
from tests.actions import ANNA, ask, everything_stored, sign_in, user
from tests.cli.commands import CLOSED_PORT, Made, Run, refused, said
from tests.databases import Databases
from tests.interleaving import until
from tests.operators import add_passkey

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


def test_doctor_advises_a_host_name_for_passkeys(app_with: Made, settings: Settings) -> None:
    address = findings(app_with(replace(settings, public_url="http://127.0.0.1:5000")))["address"]
    assert (address.state, "passkeys" in address.how) == (doctor.ADVICE, True)
    assert config.USUAL_ADDRESS in address.remedy
    assert findings(app_with(replace(settings, public_url=config.USUAL_ADDRESS)))["address"].state == doctor.FINE


def test_doctor_finds_passkeys_that_were_made_for_another_host(app: Flask, app_with: Made, settings: Settings) -> None:
    with app.app_context():
        add_passkey(user(settings).id)
    assert "passkeys" not in findings(app)
    for moved in ("https://login.example.com", "http://127.0.0.1:5000"):
        found = findings(app_with(replace(settings, public_url=moved)))["passkeys"]
        assert (found.state, "1 made for localhost" in found.how) == (doctor.WRONG, True)


def test_doctor_says_what_guessing_the_codes_of_staff_can_reach(app: Flask) -> None:
    with app.app_context():
        said_of_guessing = [found.how for found in doctor.examine(app.config["SETTINGS"]) if found.part == "guessing"]
    a_year = 365 * 5 * 3 / (10**6 - 3)  # 5 wrong codes a day, of which 3 of a million would be right
    assert any(f"app codes of a staff member: at most {100 * a_year:.2f} % a year" in how for how in said_of_guessing)


def test_doctor_changes_nothing(run: Run, app: Flask, statements: Callable[[], AbstractContextManager[list[str]]]) -> None:
    with app.app_context():
        sign_in(app.config["SETTINGS"])
        before = everything_stored()
    with statements() as seen:
        said(run("doctor"))
    of_no_row = [s for s in seen if "WHERE false" in s or "WHERE 0 = 1" in s]
    changing = [s for s in seen if s.lower().lstrip().startswith(("insert", "update", "delete", "with"))]
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
    monkeypatch.setattr(readiness, "NEWEST_MIGRATION", "9999")
    set_step(app, newest)
    assert wrong(app)["tables"].remedy == doctor.MIGRATE


def set_step(app: Flask, step: str) -> None:
    with app.app_context(), transaction() as session:
        session.execute(text("update alembic_version set version_num = :step"), {"step": step})


def test_doctor_says_that_a_postgresql_is_out_of_reach_and_keeps_its_password(app_with: Made, settings: Settings) -> None:
    app = app_with(replace(settings, database_url=f"postgresql://hammer:sesame@127.0.0.1:{CLOSED_PORT}/hammer"))
    result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 1
    assert f"hammer:***@127.0.0.1:{CLOSED_PORT}/hammer does not answer" in result.stdout
    assert "-> Start it, or correct host, port" in result.stdout
    assert "sesame" not in result.output
    assert "sesame" not in refused(app.test_cli_runner().invoke(args=["users", "list"]))


def test_doctor_says_that_a_directory_is_missing(app_with: Made, settings: Settings, tmp_path: Path) -> None:
    app = app_with(replace(settings, database_url=f"sqlite:///{tmp_path}/nowhere/hammer.sqlite3"))
    assert "Create its directory" in wrong(app)["database"].remedy


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


def test_doctor_says_that_a_role_may_not_write(app_with: Made, settings: Settings, on_postgresql: URL) -> None:
    app = app_with(settings)
    with app.app_context():
        event.listen(db.engine, "connect", lambda connection, _: connection.execute("set default_transaction_read_only = on"))
    assert wrong(app)["writing"].how == "cannot execute DELETE in a read-only transaction"
    assert "primary server" in wrong(app)["writing"].remedy


def test_doctor_says_that_a_database_keeps_no_cyrillic(app_with: Made, settings: Settings, on_postgresql: URL) -> None:
    name = f"hammer_test_ascii_{os.getpid()}"
    plain = make_url(settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as server:
        server.execute(f"create database {name} template template0 encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C'")
        try:
            url = make_url(settings.database_url).set(database=name).render_as_string(hide_password=False)
            assert "encoding is SQL_ASCII" in wrong(app_with(replace(settings, database_url=url)))["database"].how
        finally:
            server.execute(f"drop database {name} with (force)")


def test_doctor_advises_against_an_old_postgresql(app: Flask, on_postgresql: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST_POSTGRESQL", 99)
    assert findings(app)["database"].state == doctor.ADVICE


def test_doctor_says_that_somebody_holds_the_database_locked(app: Flask, on_sqlite: Path) -> None:
    with closing(sqlite3.connect(on_sqlite, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert "holds the database locked" in wrong(app)["writing"].how
        assert "database is locked" in refused(app.test_cli_runner().invoke(args=["createsuperuser", ANNA]))


def test_doctor_names_the_transaction_for_which_others_wait(app: Flask, settings: Settings, on_postgresql: URL) -> None:
    plain = make_url(settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    assert findings(app)["locks"].state == doctor.FINE
    other, waiting = psycopg.connect(plain, application_name="a stranger"), psycopg.connect(plain)
    holder, blocked = other.info.backend_pid, (waiting.info.backend_pid,)
    with ThreadPoolExecutor(1) as threads, waiting, other:  # the lock ends first, however this ends
        other.execute("lock table users in access exclusive mode")
        threads.submit(waiting.execute, "select from users")
        until(lambda: other.execute("select 1 from pg_locks where not granted and pid = %s", blocked).fetchone())
        found = findings(app)
    assert f"process {holder} of PostgreSQL (a stranger, idle in transaction)" in found["locks"].how
    assert "; 1 waits for it" in found["locks"].how
    assert "pg_terminate_backend" in found["locks"].remedy
    assert "holds the database locked" in found["writing"].how
    assert "left out" in found["database"].how


def test_doctor_says_that_no_connection_is_left(app_with: Made, settings: Settings, on_postgresql: URL) -> None:
    plain, name = make_url(settings.database_url).set(drivername="postgresql"), f"hammer_test_role_{os.getpid()}"
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as server:
        server.execute(f"create role {name} login connection limit 0")
        try:
            url = plain.set(username=name).render_as_string(hide_password=False)
            assert "put PgBouncer in front" in wrong(app_with(replace(settings, database_url=url)))["database"].remedy
        finally:
            server.execute(f"drop role {name}")


def test_doctor_names_a_transaction_that_is_open_for_long(
    app: Flask, settings: Settings, on_postgresql: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "OPEN_LONG", timedelta(0))
    plain = make_url(settings.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain) as other:
        other.execute("select 1")
        found = findings(app)["locks"]
        assert (found.state, f"process {other.info.backend_pid} " in found.how) == (doctor.ADVICE, True)


def test_doctor_says_that_the_disk_is_full(app: Flask, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 10**18)
    assert wrong(app)["disk"].remedy == "Free some space."


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
    tmp_path.chmod(0o1777)  # like the folder for temporary files: users cannot replace files of others
    assert "settings file" not in findings(app)
    home.chmod(0o755)
    assert findings(app)["folder"].remedy == f"Run: chmod 700 {home}"


def test_doctor_advises_against_a_short_secret(app_with: Made, settings: Settings) -> None:
    finding = findings(app_with(replace(settings, secret_key="swordfish")))["secret key"]
    assert finding.state == doctor.ADVICE
    assert "secrets.token_urlsafe(32)" in finding.remedy


def test_doctor_warns_that_demo_mode_shows_codes(app_with: Made, settings: Settings) -> None:
    assert "shows everyone's codes" in findings(app_with(replace(settings, demo=True)))["configuration"].how


def test_doctor_advises_in_production_alone_and_is_content(app_with: Made, settings: Settings, clock: Traveller) -> None:
    app = app_with(replace(settings, env="production"))
    long_ago = doctor.UNPRUNED + timedelta(hours=1)
    clock.shift(-long_ago)
    with app.app_context():
        ask(settings)
    clock.shift(long_ago)
    found = findings(app)
    assert "createsuperuser PHONE" in found["staff"].remedy
    assert found["retention"].remedy == "Hourly: flask --app wsgi prune"
    assert not wrong(app)
    runner = app.test_cli_runner()
    assert runner.invoke(args=["doctor"]).exit_code == 0
    said(runner.invoke(args=["prune"]))
    said(runner.invoke(args=["createsuperuser", ANNA]))
    assert not {"staff", "retention"} & set(findings(app))
