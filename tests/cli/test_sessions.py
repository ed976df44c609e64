"""`sessions end`: says how many, asks, and ends them."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer.sessions import sessions
from tests.actions import BORIS, sign_in
from tests.cli.commands import Run, said


def is_signed_in(app: Flask, user_id: str) -> bool:
    with app.app_context():
        return bool(sessions.devices(user_id))


@pytest.mark.parametrize(("words", "typed"), [((), "y\n"), (("--yes",), None)])
def test_those_who_signed_in_before_are_signed_out(
    run: Run, app: Flask, settings: Settings, anna: str, clock: Traveller, words: tuple[str, ...], typed: str | None
) -> None:
    clock.shift(timedelta(hours=1))
    moment = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    with app.app_context():
        boris = sign_in(settings, BORIS).user.id
    for spelled in (f"{moment:%FT%T}", f"{moment + timedelta(hours=3):%FT%T}+03:00"):
        assert said(run("sessions", "end", "--before", spelled, "--dry-run")) == (
            f"1 live sessions that began before {moment:%F %T} UTC, of 1 people.\n"
        )
    out = said(run("sessions", "end", "--before", f"{moment:%FT%T}", *words, typed=typed))
    assert out.endswith("Ended 1 sessions.\n")
    assert not is_signed_in(app, anna)
    assert is_signed_in(app, boris)


def test_all_are_signed_out(run: Run, app: Flask, anna: str, caplog: pytest.LogCaptureFixture) -> None:
    assert said(run("sessions", "end", "--all", "--yes")) == "1 live sessions in all, of 1 people.\nEnded 1 sessions.\n"
    assert "Ended 1 sessions." in caplog.messages
    assert not is_signed_in(app, anna)
    assert said(run("sessions", "end", "--all")) == "0 live sessions in all, of 0 people.\n"


@pytest.mark.parametrize(("words", "typed"), [(("--dry-run",), None), ((), "n\n"), ((), "")])
def test_nobody_is_signed_out_without_a_yes(run: Run, app: Flask, anna: str, words: tuple[str, ...], typed: str | None) -> None:
    assert run("sessions", "end", "--all", *words, typed=typed).exit_code == (0 if words else 1)
    assert is_signed_in(app, anna)


@pytest.mark.parametrize(
    "words", [(), ("--all", "--before", "2026-01-01"), ("--before", "yesterday"), ("--before", "2999-01-01")], ids=str
)
def test_a_call_that_does_not_say_which_is_refused(run: Run, app: Flask, anna: str, words: tuple[str, ...]) -> None:
    refusal = run("sessions", "end", "--yes", *words)
    assert refusal.exit_code == 2
    assert "Traceback" not in refusal.output
    assert is_signed_in(app, anna)
