"""Fixtures of tests of commands."""

from collections.abc import Callable

import pytest
from flask import Flask

from config import Settings
from hammer.users import accounts, people
from tests.actions import ANNA, sign_in
from tests.cli.commands import Run


@pytest.fixture
def run(app: Flask) -> Run:
    """Calls a command of the application: `run("users", "show", ANNA)`."""
    return lambda *words, typed=None: app.test_cli_runner().invoke(args=words, input=typed)


@pytest.fixture
def anna(app: Flask, settings: Settings) -> str:
    """The id of Anna, who is signed in on one device."""
    with app.app_context():
        signed_in = sign_in(settings, ANNA)
        accounts.change(signed_in.user.id, {"username": "anna", "first_name": "Анна", "last_name": "Иванова"})
        return signed_in.user.id


@pytest.fixture
def profile(app: Flask) -> Callable[[str], people.Profile]:
    def read(user_id: str) -> people.Profile:
        with app.app_context():
            return people.profile(app.config["SETTINGS"], user_id)

    return read
