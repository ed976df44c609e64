"""What a test can ask for (its fixtures), and how a run is set up.

    settings    the settings of one deployment; `dataclasses.replace` makes others
    app         an application with these settings on an empty database. There is only one: to build an application takes longer
                than most tests, so each test gets the same object, and what the test put into `app.config` is undone after it
    app_with    builds another application: for other settings, or if the test changes the application itself
    context     an application context, for tests that call verbs   ┐ A test takes one of the two, never both: requests of the
    client      a test client, for tests that send requests         ┘ client would share the context that was pushed.
    browser     a person who uses the pages (`tests.people.Browser`)
    program     a person who uses the JSON API (`tests.people.Program`)
    person      runs the test twice: with a `browser` and with a `program`; `people` makes several persons of the same kind
    memory      the messages that were sent, oldest first; `code_for(number)` reads the code of the newest
    clock       stops the time; only the test moves it: `clock.shift(seconds)`
    statements  collects SQL statements: `with statements() as seen: ...; len(seen)`
    production  an application with the settings of production at https://login.example.com, one for each module;
                `log` collects its log lines
    server      the application in a process of its own, in development and demo mode, one for each module; `serve` starts others
    on_sqlite, on_postgresql    skip the test on the other database

Verbs of tests (ask for a code, a wrong code, sign in, activate) are in `tests/actions.py`. The schema is made by the migrations.
`TEST_DATABASE_URL=postgresql://…` runs the same tests on PostgreSQL.
"""

import gc
import io
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import hypothesis
import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import URL, event, make_url

import config
from hammer import create_app
from hammer.db.database import db
from hammer.operations import readiness
from hammer.sessions import keys
from hammer.sms import gateways
from hammer.web import logs, origins, tokens
from tests import delivery, parts, serving
from tests.databases import Databases, PostgresDatabases, SqliteFiles, migrate
from tests.people import Browser, Person, Program

pytest_plugins = ["tests.evidence", "tests.second_run", "tests.skipped"]

hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("fuzz", deadline=None, derandomize=False, database=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("fixed")  # the same examples in each run; `make fuzz` draws other ones


class Compiled(BytecodeCache):
    """Compiled templates, for all applications of this process: to compile those of one page takes longer than most tests."""

    def __init__(self) -> None:
        self.templates: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.templates:
            bucket.bytecode_from_string(self.templates[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.templates[bucket.key] = bucket.bytecode_to_string()


Flask.jinja_options = Flask.jinja_options | {"bytecode_cache": Compiled()}

os.environ["FLASK_SKIP_DOTENV"] = "1"  # a developer's own `.env` changes no test

SETTINGS = config.Settings(
    invitation_default="",
    invitation_en="",
    invitation_ru="",
    env="testing",
    demo=False,
    secret_key="only for the tests, 32 bytes and more of it",
    secret_key_previous=(),
    database_url="",
    database_pooler=False,
    redis_url="",
    sms_url="memory://",
    sms_threads=0,
    sms_delay=timedelta(0),
    public_url="http://localhost:5000",
    origins=frozenset(),
    region="RU",
    regions=frozenset(),
    extra_ranges=(),
    test_numbers={},
    test_numbers_until=None,
    code_length=4,
    code_ttl=timedelta(seconds=300),
    guesses_per_code=3,
    resend_wait=timedelta(seconds=60),
    sends_per_number_day=5,
    sends_per_prefix_hour=1000,
    sends_per_address_hour=1000,
    sends_per_hour=10_000,
    support="",
    name="Hammer",
    mark="",
    accent="",
    terms_url="",
    privacy_url="",
    help_url="",
    templates="",
    android_app_hash="",
    android_apps=(),
    apple_apps=(),
    invitee_numbers="full",
    requests_per_address_minute=0,
    webhook_hosts=frozenset(),
    texts_kept=timedelta(hours=24),
    sessions_kept=timedelta(days=30),
    webhook_log_kept=timedelta(days=30),
    events_kept=timedelta(days=365),
    metrics_token="",
    worker_metrics="",
    metrics_directory="",
    tracing=False,
    proxy_hops=0,
    guess_budgets={4: 20, 6: 250, 8: 10_000},
    max_expected_takeovers=1.0,
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: tests of servers wait more than they compute."""
    return (os.cpu_count() or 1) + 1


SLOW = ("deployment", "browser", "integrate", "peers", "real")
"""Folders of tests that start several programs each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that start processes (`make test-fast` leaves them out) and those that ask for a database (`.ci/run` runs no
    others on PostgreSQL), and runs slow files first, so that at the end all cores have work. Files of browsers, which compute, take
    turns with those of deployments, which wait."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if folder(item) in SLOW or {"serve", "server"} & fixtures:
            item.add_marker("processes")
        if "databases" in fixtures:
            item.add_marker("database")
    slow = {item.path for item in items if folder(item) in SLOW or item.get_closest_marker("processes")}
    files = {where: sorted({item.path for item in items if folder(item) == where}) for where in SLOW}

    def turn(item: pytest.Item) -> tuple[bool, bool, int]:
        where = folder(item)
        return where not in SLOW, item.path not in slow, files[where].index(item.path) if where in SLOW else 0

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """Ends what `tests/__init__.py` began."""
    gc.freeze()
    gc.enable()


def folder(item: pytest.Item) -> str:
    return top_folder(item.path)


@cache
def top_folder(file: Path) -> str:
    return file.relative_to(Path(__file__).parent).parts[0]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test if a program that it needs (mark `needs`) is not installed, before its fixtures start anything."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            parts.program(name)


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Migrated databases, as many as the tests ask for, on SQLite or on the server of `TEST_DATABASE_URL`."""
    url = os.environ.get("TEST_DATABASE_URL", "")
    if url:
        on_server = PostgresDatabases(make_url(url))
        made: Databases = on_server
        template = on_server.address(on_server.template)
    else:
        files = SqliteFiles(tmp_path_factory.mktemp("databases"))
        made = files
        template = f"sqlite:///{files.template}"
    try:
        migrate(replace(SETTINGS, database_url=template))
        yield made
    finally:
        made.close()


@pytest.fixture
def settings(databases: Databases) -> config.Settings:
    return replace(SETTINGS, database_url=databases.empty())


@pytest.fixture
def on_sqlite(settings: config.Settings) -> Path:
    """The file of the test's database. Skips the test on PostgreSQL."""
    url = make_url(settings.database_url)
    if url.get_backend_name() != "sqlite":
        pytest.skip("This is about SQLite.")
    return Path(str(url.database))


@pytest.fixture
def on_postgresql(settings: config.Settings) -> URL:
    """The address of the test's database. Skips the test on SQLite."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite":
        pytest.skip("This is about PostgreSQL: set TEST_DATABASE_URL.")
    return url


@pytest.fixture
def app_with() -> Iterator[Callable[[config.Settings], Flask]]:
    """Makes applications, and closes their databases after the test."""
    with ExitStack() as closing:

        def make(settings: config.Settings) -> Flask:
            app = create_app(settings)
            closing.callback(close, app)
            return app

        yield make


def close(app: Flask) -> None:
    """Closes the connections of an application. Python would warn of an open one later, in the middle of another test."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


@pytest.fixture(scope="session")
def built_once(databases: Databases) -> Flask:
    """The one application that `app` returns to every test: to build one takes longer than most tests."""
    return create_app(replace(SETTINGS, database_url=databases.empty()))


@pytest.fixture
def app(built_once: Flask, settings: config.Settings) -> Iterator[Flask]:
    assert built_once.config["SETTINGS"] == settings  # `databases.empty()` has the same address each time
    # Forget what the tests before have left in memory: keys that were read, and whether the database could be written to.
    built_once.extensions["hammer.web.tokens"] = tokens.TokenVerifier(settings)
    built_once.extensions["hammer.web.id_token_keys"] = keys.IdTokenKeys(settings)
    built_once.extensions["hammer.web.origins"] = origins.ClientOrigins()
    built_once.extensions["hammer.web.health"] = readiness.WriteCheck()
    as_built = dict(built_once.config)
    yield built_once
    built_once.config.clear()
    built_once.config.update(as_built)
    close(built_once)


@pytest.fixture(scope="module")
def production(databases: Databases) -> Iterator[Flask]:
    before = list(logging.getLogger().handlers)
    app = create_app(replace(SETTINGS, env="production", public_url="https://login.example.com", database_url=databases.new()))
    yield app
    close(app)
    logging.getLogger().handlers[:] = before


@pytest.fixture
def log(production: Flask) -> Iterator[io.StringIO]:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.ForMachines())
    logging.getLogger().addHandler(handler)
    yield written
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(autouse=True)
def memory() -> list[gateways.Sent]:
    gateways.memory.clear()
    return gateways.memory


@pytest.fixture(autouse=True)
def patient_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives gateways in this process enough time on a slow machine. A test about the limit sets a limit of its own."""
    for limit in ("GATEWAY_SECONDS", "ALL_SECONDS"):
        monkeypatch.setattr(gateways, limit, 60.0)


@pytest.fixture
def code_for(app: Flask) -> Callable[[str], str]:
    """Reads the code of the newest text to a number (E.164)."""

    def read(telephone_number: str) -> str:
        with app.app_context():
            return delivery.code_for(app.config["SETTINGS"], telephone_number)

    return read


@pytest.fixture(params=[Browser, Program], ids=["pages", "json"])
def people(request: pytest.FixtureRequest, app: Flask) -> Callable[[], Person]:
    kind: type[Browser] | type[Program] = request.param
    return lambda: kind(app)


@pytest.fixture
def person(people: Callable[[], Person]) -> Person:
    return people()


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app)


@pytest.fixture
def program(app: Flask) -> Program:
    return Program(app)


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime.now(UTC), tick=False) as standing:
        yield standing


@pytest.fixture
def statements(app: Flask) -> Callable[[], AbstractContextManager[list[str]]]:
    """A context manager that gathers the SQL statements that are run inside it."""

    @contextmanager
    def gather() -> Iterator[list[str]]:
        with app.app_context():
            engine = db.engine
        seen: list[str] = []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            seen.append(statement)

        event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(engine, "before_cursor_execute", note)

    return gather


@pytest.fixture(scope="module")
def serve(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., serving.Server]]:
    """Starts servers, each with a database of its own: `serve(HAMMER_RESEND_SECONDS="60")`. They end with the module."""
    with ExitStack() as running:

        def start(command: Callable[[int], list[str]] = serving.flask_run, **environment: str) -> serving.Server:
            log = tmp_path_factory.mktemp("server") / "log"
            return running.enter_context(serving.serve(databases.new(), log, command, **environment))

        yield start


@pytest.fixture(scope="module")
def server(serve: Callable[..., serving.Server]) -> serving.Server:
    return serve()
