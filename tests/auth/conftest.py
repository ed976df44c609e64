"""What every test of the pages can ask for, besides the fixtures of `tests/conftest.py`."""

import pytest
from flask import Flask
from flask.testing import FlaskClient


@pytest.fixture(autouse=True)
def english(client: FlaskClient) -> None:
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"


@pytest.fixture
def other_client(app: Flask) -> FlaskClient:
    """A second browser, usually of another person."""
    client = app.test_client()
    client.environ_base["HTTP_ACCEPT_LANGUAGE"] = "en"
    return client
