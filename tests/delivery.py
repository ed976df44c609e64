"""Delivers the messages of the outbox to the memory gateway, and reads codes from them, as a person does on their phone."""

import re
import time
from collections import Counter
from collections.abc import Callable

from sqlalchemy import create_engine, select

from config import Settings
from hammer.models import Message
from hammer.sms import gateways, outbox

MOST_TEXTS = 200


def deliver(settings: Settings) -> None:
    """Sends all messages that are due. Needs an application context."""
    for _ in range(MOST_TEXTS):
        if not outbox.deliver_next(settings):
            return
    raise AssertionError("The outbox never became empty.")


def code_for(settings: Settings, telephone_number: str) -> str:
    """The code in the newest message to this number (E.164). Needs an application context."""
    deliver(settings)
    words = [sent.text for sent in gateways.memory if sent.telephone_number == telephone_number]
    assert words, f"No text to {telephone_number}."
    found = re.search(r" #([0-9]{4,8})(?: [A-Za-z0-9+/]{11})?$", words[-1])
    assert found is not None, f"No code in {words[-1]!r}."
    return found[1]


def states(database_url: str) -> Counter[str]:
    """How many messages are in which state."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = Counter(connection.scalars(select(Message.state)).all())
    engine.dispose()
    return found


def wait_until(holds: Callable[[], bool], seconds: int = 60) -> None:
    """Returns as soon as the condition holds."""
    for _ in range(seconds * 20):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(f"The condition did not hold within {seconds} seconds.")
