"""A PostgreSQL and a Redis of these tests' own, which may be stopped and frozen, and the application as production serves it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import serving
from tests.conftest import SETTINGS
from tests.databases import migrate
from tests.deployment import peers


@pytest.fixture(scope="module")
def postgres() -> Iterator[peers.Postgres]:
    with peers.home() as home:
        server = peers.Postgres(home).start()
        try:
            migrate(replace(SETTINGS, database_url=server.url))
            yield server
        finally:
            server.thaw()
            server.stop()


@pytest.fixture(scope="module")
def redis() -> Iterator[peers.Redis]:
    with peers.home() as home:
        server = peers.Redis(home).start()
        try:
            yield server
        finally:
            server.thaw()
            server.stop()


@pytest.fixture(scope="module")
def web(postgres: peers.Postgres, redis: peers.Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[serving.Server]:
    """gunicorn with two workers, as `docs/deploy/` has it, on both."""
    log: Path = tmp_path_factory.mktemp("web") / "log"
    with serving.serve(postgres.url, log, serving.gunicorn, REDIS_URL=redis.url) as server:
        yield server
