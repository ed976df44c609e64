"""Relying parties that others wrote, against a running Hammer on loopback. The fixtures here:

    server      Hammer in a process of its own; one for all files here
    register    registers an app by the command line: `register("Shop", "--redirect-uri", URL)`
    number      a telephone number that no other test here has
    programs    a folder with relying parties, ours and those of the guides, and the libraries for Node that they use
    visit       opens a page of Chromium for another person who uses a site: `visit(URL)`, `visit(URL, java_script_enabled=False)`

`tests/integrate/install` installs the libraries. Without them the tests are skipped; in CI they fail.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page

from tests import serving
from tests.browser import chromium, ears
from tests.browser.conftest import PATIENCE
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
def register(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Register:
    settings = serving.surroundings() | serving.development(server.database_url, server.port)
    output = tmp_path_factory.mktemp("registered")
    turns = count(1)

    def add(name: str, *options: str) -> App:
        printed = output / str(next(turns))
        command = serving.begin(["flask", "--app", "wsgi", "clients", "add", name, *options], settings, printed)
        assert command.wait(timeout=120) == 0, printed.read_text()
        shown = dict(re.findall(r"^(\w+): +(\S+)$", printed.read_text(), re.MULTILINE))
        return App(shown["client_id"], shown.get("client_secret", ""))

    return add


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
