"""The running document, tried with data made from it: every answer is one that the document promises."""

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
"""Drawn for each operation, beside those of the document and the borders of each field."""


class Doorway:
    """Leads to the application of the test at hand. To read the document none needs a database."""

    def __init__(self) -> None:
        self.app = create_app(replace(SETTINGS, database_url="sqlite:///never-opened.sqlite3"))

    def __call__(self, environ: object, start_response: object) -> Iterable[bytes]:
        return self.app(environ, start_response)  # type: ignore[arg-type]


doorway = Doorway()
schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", doorway)
schema.config.generation.allow_extra_parameters = False  # what a query says beyond is left unread, as everywhere on the web
refusals = schema.config.checks.negative_data_rejection
refusals.expected_statuses = [*refusals.expected_statuses, "413"]  # one string may be too long for a whole body


@pytest.fixture
def staff(app: Flask) -> str:
    """The id of one of the staff."""
    doorway.app = app
    with app.app_context():
        return accounts.create(app.config["SETTINGS"], telephone_number="+79000000000", names={}, is_staff=True)


def token_of(app: Flask, user_id: str) -> str:
    """An access token of a new session: what came before may have ended the last one, or deleted the user."""
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
