"""How a text leaves. The console prints it; memory keeps it for tests. Settings name one by its URL."""

import sys
import time
from typing import NamedTuple

from config import Settings


class Sent(NamedTuple):
    telephone_number: str
    words: str


memory: list[Sent] = []
"""What the memory gateway took, oldest first."""


def send(settings: Settings, telephone_number: str, words: str) -> bool:
    """Hands one text to the gateway of `settings`; whether it took it. May block for some seconds: never call it in a request."""
    if settings.sms_url == "memory://":
        memory.append(Sent(telephone_number, words))
    else:
        time.sleep(settings.sms_delay.total_seconds())
        try:
            print(f"Text to {telephone_number}:\n{words}\n", file=sys.stderr, flush=True)
        except OSError:  # nobody reads it any more
            return False
    return True
