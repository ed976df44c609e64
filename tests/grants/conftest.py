"""What tests of apps can ask for: an app (`shop`), and a person who is signed in to Hammer in a browser (`home`)."""

import pytest

from config import Settings
from hammer.models import Client, Session, SessionKind
from tests import apps
from tests.actions import sign_in


@pytest.fixture
def shop(context: None) -> Client:
    return apps.add_app()


@pytest.fixture
def home(context: None, settings: Settings) -> Session:
    return sign_in(settings, kind=SessionKind.BROWSER).session
