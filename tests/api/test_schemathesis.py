"""Calls made from the OpenAPI document get only answers that the document states."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import hypothesis
import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck
from schemathesis.specs.openapi.checks import positive_data_acceptance  # a string can be well-formed and yet no telephone number

from hammer import clock, create_app
from hammer.db.database import transaction
from hammer.models import Session, SessionKind, User
from hammer.users import accounts
from hammer.web import tokens
from tests.conftest import SETTINGS
from tests.examples import examples

EXAMPLES = 30
"""Random examples for each operation, besides the examples of the document and the limits of each field."""


class CurrentApp:
    """A WSGI application that calls the one of the current test. Reading the document needs no database."""

    def __init__(self) -> None:
        self.app = create_app(replace(SETTINGS, database_url="sqlite:///never-opened.sqlite3"))

    def __call__(self, environ: object, start_response: object) -> Iterable[bytes]:
        return self.app(environ, start_response)  # type: ignore[arg-type]


current = CurrentApp()
schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", current)
refusals = schema.config.checks.negative_data_rejection
refusals.expected_statuses = [*refusals.expected_statuses, "413"]  # one string can be longer than a whole body may be


@pytest.fixture
def staff(app: Flask) -> str:
    """The id of one of the staff."""
    current.app = app
    with app.app_context():
        return accounts.create(app.config["SETTINGS"], telephone_number="+79000000000", names={}, is_staff=True)


def token_of(app: Flask, user_id: str) -> str:
    """An access token of a new session. An earlier call can have ended the last session, or deleted the user."""
    with app.test_request_context(), transaction() as tx:
        user = tx.get_one(User, user_id)
        user.deleted_at, user.telephone_number, user.is_staff = None, "+79000000000", True
        session = Session(**Session.opening(user, kind=SessionKind.PROGRAM, device="", now=clock.now()))
        tx.add(session)
        return str(tokens.pair(session)["access_token"])


@schema.parametrize()
@hypothesis.settings(max_examples=examples(EXAMPLES), suppress_health_check=list(HealthCheck))
@pytest.mark.requirement("API-06")
def test_every_answer_is_one_that_the_document_promises(app: Flask, staff: str, case: "schemathesis.Case[Any]") -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {token_of(app, staff)}"}, excluded_checks=[positive_data_acceptance])
