"""Processes of the command `worker`, and what is in their database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from tests import serving


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
    """The first column of a query; nothing for another statement."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        done = connection.execute(text(sql))
        found = list(done.scalars()) if done.returns_rows else []
    engine.dispose()
    return found
