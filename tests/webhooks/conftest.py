from collections.abc import Iterator

import pytest

from config import Settings
from hammer.models import WebhookEndpoint
from hammer.webhooks import endpoints
from tests.webhooks.receivers import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """The server of an app."""
    with receiving() as one:
        yield one


@pytest.fixture
def endpoint(settings: Settings, context: None, receiver: Receiver) -> WebhookEndpoint:
    """An endpoint at `receiver` that gets all types of events."""
    return endpoints.add(settings, receiver.url)
