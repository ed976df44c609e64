"""docs/import.md is true: its scripts make files that are imported, and its table names every column."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from hammer.users import people
from hammer.users.files import EXPORTED, IMPORTED
from tests.actions import ANNA, BORIS, CLARA
from tests.cli.commands import Run, said

PAGE = (Path(__file__).parent.parent.parent / "docs" / "import.md").read_text()
SAMPLES = Path(__file__).parent / "samples"
BRITISH = "+447911123456"


def converted(title: str, sample: str) -> str:
    """What the script in this section makes of a sample."""
    [script] = re.findall(r"```python\n(.*?)```", PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0], re.DOTALL)
    with (SAMPLES / sample).open() as file:
        return subprocess.run(
            [sys.executable, "-X", "utf8", "-c", script], stdin=file, capture_output=True, text=True, check=True
        ).stdout


@pytest.mark.processes
@pytest.mark.parametrize(
    ("title", "sample", "joined", "metadata"),
    [
        (
            "From Firebase Authentication",
            "firebase.json",
            "2017-02-05T19:55:45+00:00",
            {"firebase_id": "Zk3vJq81LhS0", "claims": {"plan": "pro"}},
        ),
        (
            "From Supabase",
            "supabase.csv",
            "2023-01-05T10:00:00.123456+00:00",
            {
                "supabase_id": "5bd8a4a2-76ab-4f51-9d3a-4c3f1c0cb1a0",
                "app": {"provider": "phone", "providers": ["phone"]},
                "user": {"full_name": "Анна Каренина", "theme": "dark"},
            },
        ),
    ],
)
def test_the_script_makes_a_file_whose_users_are_imported(
    run: Run, app: Flask, title: str, sample: str, joined: str, metadata: dict[str, Any]
) -> None:
    made = converted(title, sample)
    assert said(run("users", "import", "--write", "-", typed=made)).startswith("4 added, 0 skipped")
    with app.app_context():
        found = {user.telephone_number: user for user in people.everyone(app.config["SETTINGS"]).items}
    assert {number for number, user in found.items() if user.blocked_at} == {BORIS, BRITISH}
    assert set(found) == {ANNA, BORIS, CLARA, BRITISH}
    anna = found[ANNA]
    assert (anna.first_name, anna.last_name, anna.metadata) == ("Анна", "Каренина", metadata)
    assert (anna.date_joined.isoformat(), anna.blocked_at) == (joined, None)
    assert said(run("users", "import", "--write", "-", typed=made)).startswith("0 added, 4 skipped")


def test_the_table_names_the_columns_and_says_which_are_imported() -> None:
    rows = re.findall(r"^\| (`.*?`) \| (\w+) \|", PAGE, re.MULTILINE)
    named = {name: word != "ignored" for columns, word in rows for name in re.findall(r"`(\w+)`", columns)}
    assert named == {name: name in IMPORTED for name in EXPORTED}
