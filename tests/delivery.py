"""What the texts said: delivers what waits to the memory gateway and reads the code, as a person would from their phone."""

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
    """Sends all texts that are due. Needs an application context."""
    for _ in range(MOST_TEXTS):
        if not outbox.deliver_next(settings):
            return
    raise AssertionError("The outbox does not run empty.")


def code_for(settings: Settings, telephone_number: str) -> str:
    """The digits of the newest text to this number (E.164). Needs an application context."""
    deliver(settings)
    words = [sent.text for sent in gateways.memory if sent.telephone_number == telephone_number]
    assert words, f"No text to {telephone_number}."
    found = re.search(r" #([0-9]{4,8})$", words[-1])
    assert found is not None, f"No code in {words[-1]!r}."
    return found[1]


def states(database_url: str) -> Counter[str]:
    """How many texts of somebody's database are in which state."""
    engine = create_engine(database_url)
    with engine.connect() as connection:
        found = Counter(connection.scalars(select(Message.state)).all())
    engine.dispose()
    return found


def wait_until(holds: Callable[[], bool], seconds: int = 60) -> None:
    """Returns as soon as it holds."""
    for _ in range(seconds * 20):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(f"It did not come true in {seconds} seconds.")
