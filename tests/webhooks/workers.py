"""Processes that deliver webhooks, and what is in their database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from tests import serving
from tests.delivery import wait_until


@contextmanager
def worker(database_url: str, log: Path) -> Iterator[serving.Process]:
    environment = serving.surroundings() | serving.development(database_url, 5000)
    process = serving.begin(["flask", "--app", "wsgi", "worker"], environment, log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=10)


def ask(database_url: str, sql: str) -> list[Any]:
    """The rows of a query, or of none."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        done = connection.execute(text(sql))
        found = [tuple(row) for row in done] if done.returns_rows else []
    engine.dispose()
    return found


def wait_for_all(database_url: str, seconds: int = 120) -> None:
    """Waits until all events are published and all deliveries are accepted."""
    unpublished, waiting = "select id from events where sequence = 0", "select id from webhook_deliveries where delivered is null"
    wait_until(lambda: not ask(database_url, unpublished) and not ask(database_url, waiting), seconds=seconds)
