"""The apps of docs/integrate/webhooks.md in processes of their own, and what they have stored.

They verify with the official packages for Python and Node, which are not ours. A test elsewhere starts them with the fixtures of
`tests/integrate/conftest.py`:

    with receiving("flask", examples, surroundings_of_an_app(libraries), secret, port) as receiver:
        receiver.events()
"""

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.integrate import conftest
from tests.serving import HOME

COMMANDS: Final = {
    "flask": ("flask", "--app", "webhook_receiver", "run", "--port", conftest.PORT),
    "express": ("node", "webhook_receiver.mjs"),
}


def url_at(port: int) -> str:
    """The URL to give to Hammer, before the app runs: it needs the secret that Hammer shows then."""
    return f"http://{HOME}:{port}/webhooks"


@dataclass(frozen=True)
class Receiver:
    url: str
    store: Path
    log: Path

    def events(self) -> dict[str, dict[str, Any]]:
        """The bodies that it has stored, in the order in which they came, by their `webhook-id`."""
        if self.store.suffix == ".db":
            with closing(sqlite3.connect(self.store)) as db:
                return {id_: json.loads(body) for id_, body in db.execute("SELECT id, body FROM events ORDER BY rowid")}
        stored = [json.loads(line) for line in self.store.read_text().splitlines()]
        assert len({event["id"] for event in stored}) == len(stored), "It stored an event twice."
        return {event.pop("id"): event for event in stored}

    def seen_before(self) -> list[str]:
        """The `webhook-id` of each post that it accepted and knew already."""
        return re.findall(r"Seen before: (\S+)", self.log.read_text())


@contextmanager
def receiving(name: str, examples: Path, environment: Mapping[str, str], secret: str, port: int) -> Iterator[Receiver]:
    """Runs the app on `port` until the block ends. One that ran on this port before goes on with what it had stored.

    :param name: one of `COMMANDS`.
    """
    store = examples.parent / f"{port}.{'db' if name == 'flask' else 'jsonl'}"
    own = {"WEBHOOK_SECRET": secret, "EVENTS": str(store)}
    with conftest.answering(COMMANDS[name], examples, {**environment, **own}, port):
        yield Receiver(url_at(port), store, conftest.log_of(examples, port))
