"""What all commands have in common, `prune` and `openapi`."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from time_machine import Traveller

import hammer
from config import Settings
from hammer.db.database import db
from hammer.models import Counter, SessionKind
from hammer.refusals import WrongCode
from hammer.sessions import devices, sessions
from tests.actions import BORIS, ask, confirm, right, sign_in
from tests.cli.commands import Run, said

ROOT = Path(__file__).parent.parent.parent


def test_prune_says_how_much_of_what_is_gone(run: Run, app: Flask, settings: Settings, clock: Traveller) -> None:
    with app.app_context():
        ask(settings)
        counted = db.session.scalar(select(func.count()).select_from(Counter))
    clock.shift(timedelta(days=2))
    said_of_it = said(run("prune"))
    assert said_of_it.startswith("Deleted 1 texts, 1 verifications, 0 sessions, 0 authorizations, 0 logout notices, ")
    assert f", 1 send allowances, {counted} counters, " in said_of_it


def test_after_a_restored_backup_no_code_and_no_session_of_before_works(run: Run, app: Flask, settings: Settings) -> None:
    with app.app_context():
        verification, signed_in = ask(settings), sign_in(settings, BORIS)
    voided = "Voided 2 texts, 2 verifications, 1 devices, 0 authorizations, 0 consents, 0 idempotency keys, 1 sessions."
    assert voided in said(run("prune", "--restored"))
    with app.app_context():
        with pytest.raises(WrongCode):
            confirm(settings, verification, right(settings, verification))
        assert sessions.caller(signed_in.session.id, SessionKind.PROGRAM) is None
        token = devices.token(settings, signed_in.device)
        assert devices.known(db.session(), settings, token, BORIS, datetime.now(UTC)) is None


def test_openapi_prints_the_document_of_the_api_with_readable_cyrillic(run: Run) -> None:
    out = said(run("openapi"))
    assert json.loads(out)["openapi"].startswith("3.1")
    assert "Ваш токен" in out


def test_version_is_that_of_the_package(run: Run) -> None:
    assert said(run("version")) == f"{hammer.__version__}\n"


def test_every_command_has_help_that_fits_a_line(app: Flask) -> None:
    listed = said(app.test_cli_runner().invoke(args=["--help"])) + said(app.test_cli_runner().invoke(args=["users", "--help"]))
    assert "..." not in "".join(line for line in listed.splitlines() if line.startswith("  "))


@pytest.mark.processes
def test_names_for_the_demo_are_not_loaded_by_a_server() -> None:
    loaded = "import sys, hammer; sys.exit('hammer.operations.demo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, check=False).returncode == 0
