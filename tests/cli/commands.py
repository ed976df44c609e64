"""What tests of commands share: how a command is run, and what it printed."""

from collections.abc import Callable

from click.testing import Result
from flask import Flask

from config import Settings

CLOSED_PORT = 5129

Run = Callable[..., Result]
Made = Callable[[Settings], Flask]


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
