"""Relying parties that others wrote, against a running Hammer on loopback. The fixtures here:

    server      Hammer in a process of its own; one for all files here
    register    registers an app: `register("Shop", redirect_uris=[URL])`
    number      a telephone number that no other test here has
    programs    a folder with relying parties, ours and those of the guides, and the libraries for Node that they use
    visit       opens a page of Chromium for another person who uses a site: `visit(URL)`, `visit(URL, java_script_enabled=False)`

`tests/integrate/install` installs the libraries. Without them the tests are skipped; in CI they fail.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from hammer import create_app
from hammer.clients import registry, secrets
from tests import serving
from tests.browser import chromium, ears
from tests.browser.conftest import PATIENCE
from tests.conftest import SETTINGS, close
from tests.databases import Databases
from tests.integrate import conftest as examples
from tests.integrate.guides import EXAMPLES
from tests.serving import Server

HERE: Final = Path(__file__).parent

libraries = examples.libraries


@dataclass(frozen=True)
class App:
    """A registered app, as its developer knows it."""

    id: str
    secret: str


Register = Callable[..., App]
Visit = Callable[..., Page]


@pytest.fixture(scope="package")
def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving.serve(databases.new(), tmp_path_factory.mktemp("server") / "log") as started:
        yield started


@pytest.fixture(scope="package")
def register(server: Server) -> Iterator[Register]:
    settings = replace(SETTINGS, database_url=server.database_url)
    application = create_app(settings)

    def add(name: str, **columns: Any) -> App:
        with application.app_context():
            client = registry.add(name, **columns)
            return App(client.id, "" if client.public else secrets.secret(settings, client))

    yield add
    close(application)


@pytest.fixture(scope="package")
def numbers() -> Iterator[str]:
    return (f"+7929{n:07d}" for n in count(3_000_001))


@pytest.fixture
def number(numbers: Iterator[str]) -> str:
    return next(numbers)


@pytest.fixture(scope="package")
def programs(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peers") / "programs"
    folder.mkdir()
    for program in (*HERE.glob("*.mjs"), EXAMPLES / "auth_js.mjs", EXAMPLES / "allauth_site.py"):
        shutil.copy(program, folder)
    (folder / "node_modules").symlink_to(libraries / "node_modules")
    return folder


@pytest.fixture(scope="package")
def started_chromium() -> Iterator[Browser]:
    with chromium.start() as started:
        yield started


@pytest.fixture
def visit(started_chromium: Browser, server: Server) -> Iterator[Visit]:
    """The consoles of all its pages stay free of errors."""
    heard: list[str] = []
    with ExitStack() as leaving:

        def come(app: str, **how: object) -> Page:
            context = leaving.enter_context(started_chromium.new_context(**{"locale": "en"} | how))  # type: ignore[arg-type]
            context.set_default_timeout(PATIENCE)
            ears.listen(context, server.url, heard, app)
            return context.new_page()

        yield come
    assert heard == [], "A page had errors."
