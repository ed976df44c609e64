"""`users import` and `users export`."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from config import Settings
from hammer import events
from hammer.cli import transfers as commands
from hammer.db.database import db
from hammer.models import Event, User
from hammer.users import accounts, people
from tests.actions import ANNA, BORIS, CLARA, activate, number, sign_in
from tests.cli.commands import Made, Run, refused, said
from tests.databases import Databases

ROOT = Path(__file__).parent.parent.parent
GOOD = """number;username;first_name;metadata;joined_at;blocked_at;invite_code
8 (929) 000-00-01;anna;Анна;"{""plan"":""pro""}";2024-01-05T10:00:00+03:00;;abc123
+79290000002;;;;;2024-02-01;
"""


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def make(text: str) -> str:
        path = tmp_path / "users"
        path.write_text(text)
        return str(path)

    return make


def stored(app: Flask) -> dict[str, people.Profile]:
    """Every user, by number."""
    with app.app_context():
        return {user.telephone_number: user for user in people.everyone(app.config["SETTINGS"]).items}


def test_the_totals_count_every_line_of_a_bad_row(run: Run, app: Flask, file: Callable[[str], str]) -> None:
    lost = '+79290000005,"Anna\n' + "+79290000006,Boris\n" * 2 + '"Clara"\n'
    result = run("users", "import", "--write", file("number,first_name\n+79290000001,Anna\n" + lost + "+79290000002,Boris\n"))
    assert result.exit_code == 1
    assert result.stdout == "2 added, 0 skipped because there is a user with their number, 1 failed on 4 lines.\n"
    assert "lines 3 to 6: This is not CSV" in result.stderr
    assert len(stored(app)) == 2


def test_a_line_that_is_too_long_adds_nobody(run: Run, app: Flask, file: Callable[[str], str]) -> None:
    result = run("users", "import", "--write", file(json.dumps({"number": ANNA}) + " " * 100_000 + "junk"))
    assert result.exit_code == 1
    assert result.stderr == "line 1: This is longer than 100,000 characters.\n"
    assert stored(app) == {}


def test_a_dry_run_says_what_would_happen_and_writes_nothing(run: Run, app: Flask, file: Callable[[str], str]) -> None:
    result = run("users", "import", file(GOOD))
    assert said(result) == "2 would be added, 0 skipped because there is a user with their number, 0 failed.\n"
    assert "--write" in result.stderr
    assert stored(app) == {}
    with app.app_context():
        assert db.session.scalars(select(Event)).all() == []


def test_users_are_added_with_all_that_the_file_says(run: Run, app: Flask, file: Callable[[str], str]) -> None:
    assert said(run("users", "import", "--write", file(GOOD))).startswith("2 added, 0 skipped")
    found = stored(app)
    anna, boris = found[ANNA], found[BORIS]
    assert (anna.username, anna.first_name, anna.metadata, anna.invite_code) == ("anna", "Анна", {"plan": "pro"}, "ABC123")
    assert anna.date_joined.isoformat() == "2024-01-05T07:00:00+00:00"
    assert (anna.blocked_at, boris.username, boris.metadata) == (None, "", {})
    assert str(boris.blocked_at) == "2024-02-01 00:00:00+00:00"
    with app.app_context():
        noted = db.session.execute(select(Event.kind, Event.user_id)).all()
    assert sorted(noted) == sorted((events.Kind.USER_CREATED, user.id) for user in found.values())


def test_an_imported_user_signs_in_by_code_as_the_same_user(
    run: Run, app: Flask, settings: Settings, file: Callable[[str], str]
) -> None:
    said(run("users", "import", "--write", file(GOOD)))
    with app.app_context():
        signed_in = sign_in(settings, ANNA)
    assert not signed_in.created
    assert signed_in.user.invite_code == "ABC123"


def test_a_second_run_skips_everybody_and_changes_nothing(run: Run, app: Flask, file: Callable[[str], str]) -> None:
    said(run("users", "import", "--write", file(GOOD)))
    before = stored(app)
    for more in ((), ("--write",)):
        assert " 2 skipped because there is a user with their number, 0 failed" in said(run("users", "import", *more, file(GOOD)))
    assert stored(app) == before


BAD = """number,username,first_name,metadata,joined_at,invite_code
+79290000002,sesame 1,,,,
+79290000003,boris,,,,
+79290000004,BORIS,,,,
8 929 000 00 03,,,,,
sesame,,,,,
+74951234567,,,,,
+79290000005,,,sesame,,
+79290000006,,,,2999-01-01,
+79290000007,,,,sesame,SESAME1
+79290000008,me,a\0b,,0001-01-01T00:00:00+14:00,
+79290000009,,,,,Q9UK59
+79290000010,,,,,q9uk59
+79290000011,anna,,,,
+79290000012,,,,,{taken}
,,,,,
+79290000013
"""
BAD_COLUMNS = [
    "line 2, username", "line 4 (+7········04), username", "line 5 (+7········03), number", "line 6, number", "line 7, number",
    "line 8, metadata", "line 9, joined_at", "line 10, joined_at", "line 10, invite_code", "line 11, first_name",
    "line 11, joined_at", "line 11, username", "line 13 (+7········10), invite_code", "line 14 (+7········11), username",
    "line 15 (+7········12), invite_code", "line 17",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('number,username,joined_at,metadata\n79290,a b,never,{"\n', "line 2"),
        ('{"number": "79290", "username": "a b", "joined_at": "never", "metadata": 1, "nmber": ""}\n', "line 1"),
    ],
)
def test_all_that_is_wrong_with_a_line_is_said_at_once(run: Run, file: Callable[[str], str], text: str, where: str) -> None:
    error = run("users", "import", file(text)).stderr
    assert all(f"{where}, {column}: " in error for column in ("number", "username", "joined_at", "metadata"))
    assert ("line 1: There is no column “nmber”; the nearest is number." in error) == (where == "line 1")


@pytest.mark.parametrize("write", [(), ("--write",)])
def test_every_bad_line_is_named_with_its_columns_and_the_others_are_added(
    run: Run, app: Flask, anna: str, profile: Callable[[str], people.Profile], file: Callable[[str], str], write: tuple[str, ...]
) -> None:
    path = file(BAD.replace("{taken}", profile(anna).invite_code))
    result = run("users", "import", *write, path)
    assert result.exit_code == 1
    assert result.stdout.endswith(
        f"2 {'added' if write else 'would be added'}, 0 skipped because there is a user with their number, 13 failed.\n"
    )
    failed = [line.partition(": ")[0] for line in result.stderr.splitlines() if line.startswith("line ")]
    assert sorted(failed) == sorted(BAD_COLUMNS)
    assert "sesame" not in result.output.lower()
    assert "+79290000" not in result.output
    assert "line 4 (+79290000004), username" in run("users", "import", *write, "--full", path).stderr
    assert set(stored(app)) == {ANNA, *([CLARA, number(9)] if write else [])}


def test_a_region_that_is_not_served_is_an_error_of_its_line(
    app_with: Made, settings: Settings, file: Callable[[str], str]
) -> None:
    app = app_with(replace(settings, regions=frozenset({"RU"})))
    result = app.test_cli_runner().invoke(args=["users", "import", file("number\n+447911123456\n+79290000001\n")])
    assert result.exit_code == 1
    assert "line 2, number: We cannot send texts to this number." in result.stderr
    assert "1 would be added" in result.stdout


def test_standard_input_is_read_and_columns_of_an_export_are_ignored(run: Run, app: Flask) -> None:
    result = run("users", "import", "--write", "-", typed='{"number": "+79290000001", "is_staff": true, "id": "x"}\n')
    assert said(result).startswith("1 added")
    assert "Not imported: id, is_staff." in result.stderr
    assert not stored(app)[ANNA].is_staff


def test_a_file_that_is_no_file_of_users_is_refused_in_one_line(run: Run, file: Callable[[str], str]) -> None:
    assert "number" in refused(run("users", "import", file("hello\n")))
    assert run("users", "import", "/nowhere").exit_code == 2


@pytest.mark.parametrize("name", ["users.csv", "users.jsonl"])
def test_an_exported_file_makes_the_same_users_elsewhere(
    run: Run, app: Flask, app_with: Made, databases: Databases, settings: Settings, tmp_path: Path, name: str
) -> None:
    with app.app_context():
        anna, boris = sign_in(settings, ANNA).user, sign_in(settings, BORIS).user
        activate(settings, boris.id, anna.invite_code)
        accounts.change(
            anna.id, {"username": "anna", "first_name": "=1+1", "last_name": "'-–О'Нил, \"мл.\";"}, {"я": ["=", "\n", 1.5]}
        )
        accounts.set_blocked(boris.id, True)
        accounts.delete(settings, sign_in(settings, CLARA).user.id)
    path = tmp_path / name
    result = run("users", "export", str(path))
    assert (said(result), result.stderr) == ("", "2 users were exported.\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = app_with(replace(settings, database_url=databases.new()))
    imported = other.test_cli_runner().invoke(args=["users", "import", "--write", str(path)])
    assert said(imported).startswith("2 added, 0 skipped")
    lost: dict[str, Any] = {"id": "", "invite_count": 0, "activated_invite_code": None, "invite_code_list": []}
    assert [replace(user, **lost) for user in stored(other).values()] == [replace(user, **lost) for user in stored(app).values()]
    with app.app_context():
        assert db.session.query(Event).filter_by(kind=events.Kind.USERS_EXPORTED, user_id=None, actor_id=None).count() == 1


def test_an_export_to_standard_output_is_json_lines_or_csv(run: Run, anna: str) -> None:
    [user] = map(json.loads, said(run("users", "export")).splitlines())
    assert (user["id"], user["number"], user["metadata"], user["blocked_at"]) == (anna, ANNA, {}, None)
    header, row = said(run("users", "export", "--format", "csv", "-")).splitlines()
    assert header.startswith("id,number,username,")
    assert f",{ANNA},anna,Анна,Иванова,," in row


def test_an_export_overwrites_no_file_and_needs_a_folder(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "users.csv"
    path.write_text("mine")
    assert "is there already" in refused(run("users", "export", str(path)))
    assert path.read_text() == "mine"
    assert "nowhere" in refused(run("users", "export", str(tmp_path / "nowhere" / "users.csv")))


def test_an_export_reads_more_than_one_batch_in_order(
    run: Run, app: Flask, monkeypatch: pytest.MonkeyPatch, file: Callable[[str], str]
) -> None:
    monkeypatch.setattr(people, "_BATCH", 3)
    monkeypatch.setattr(commands, "BATCH", 2)
    rows = [f"{number(n)},2024-01-0{1 + n % 3}\n" for n in range(9)]
    said(run("users", "import", "--write", file("number,joined_at\n" + "".join(rows))))
    exported = [json.loads(line) for line in said(run("users", "export")).splitlines()]
    assert [(user["joined_at"], user["id"]) for user in exported] == sorted((user["joined_at"], user["id"]) for user in exported)
    assert {user["number"] for user in exported} == {number(n) for n in range(9)}


def command(settings: Settings, *words: str) -> tuple[list[str], dict[str, str]]:
    """How a process of its own is started with the database of `settings`."""
    environment = os.environ | {"DATABASE_URL": settings.database_url, "HAMMER_ENV": "development", "HAMMER_REGION": "RU"}
    return [sys.executable, "-m", "flask", "--app", "wsgi", *words], environment


@pytest.mark.processes
def test_an_import_that_is_killed_leaves_whole_users_and_goes_on_when_it_is_repeated(
    app: Flask, settings: Settings, file: Callable[[str], str]
) -> None:
    many = 6000
    rows = (f'{number(n)},u{n},Name {n},"{{""n"":{n}}}"\n' for n in range(many))
    words, environment = command(
        settings, "users", "import", "--write", file("number,username,first_name,metadata\n" + "".join(rows))
    )

    def count() -> int:
        with app.app_context():
            return db.session.scalar(select(func.count()).select_from(User)) or 0

    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while count() == 0 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    added = count()
    assert added > 0
    assert added % commands.BATCH == 0
    again = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout == f"{many - added} added, {added} skipped because there is a user with their number, 0 failed.\n"
    assert "\x1b" not in again.stderr
    with app.app_context():
        for user in db.session.scalars(select(User)):
            n = int(str(user.telephone_number)[5:])
            assert (user.username, user.first_name, user.app_metadata) == (f"u{n}", f"Name {n}", f'{{"n":{n}}}')
