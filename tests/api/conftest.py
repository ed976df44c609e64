"""Callers of the JSON API: two users, one of the staff, and a caller in demo mode."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask

import config
from hammer.users import accounts, people
from tests.api.contract import ANNA, BORIS, STAFF, signed_in
from tests.people import Program


@pytest.fixture
def anna(app: Flask) -> Program:
    return signed_in(app, ANNA)


@pytest.fixture
def boris(app: Flask) -> Program:
    return signed_in(app, BORIS)


@pytest.fixture
def staff(app: Flask) -> Program:
    person = signed_in(app, STAFF)
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], people.find(app.config["SETTINGS"], STAFF), True)
    return person


@pytest.fixture
def demo(settings: config.Settings, app_with: Callable[[config.Settings], Flask]) -> Program:
    """A caller of an application in demo mode, without waiting times."""
    return Program(app_with(replace(settings, demo=True, resend_wait=timedelta(0), sends_per_number_day=100)))
