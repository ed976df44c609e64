"""The applications that are measured, each with a server and a database of its own, and what is done with them."""

import itertools
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from hammer import codes
from hammer.login import verifications
from tests.benchmarks import floor, hammer_app, servers
from tests.benchmarks.app_client import AppClient, register
from tests.benchmarks.load import Connection, Load, Operations, Person, run

HAMMER: Final = "Hammer"
FLOOR: Final = "floor"
LEAN: Final = "lean login"
WITH_REDIS: Final = "Hammer with Redis"
BEFORE: Final = "Hammer before"
PEOPLE: Final = 50
"""The users of each application before the measurement. Each has an invitee and has activated a code."""
OPERATIONS: Final = {
    "profile": 1,
    "new login": 2,
    "returning login": 2,
    "refused code": 1,
    "activation": 1,
    "authorize": 1,
    "token": 1,
    "refresh": 1,
    "profile page": 1,
}
"""The measured operations, and how many requests each takes."""
OF_AN_APP: Final = frozenset({"authorize", "token"})
OF_HAMMER: Final = frozenset({"refresh", "profile page"})
OF_LEAN: Final = frozenset({"profile", "new login", "returning login", "refused code"})
GUESSES: Final = 3
_MAKE: Final = {FLOOR: "tests.benchmarks.floor:make()", LEAN: "tests.benchmarks.lean:make()"}


@dataclass(frozen=True)
class Sample:
    """The cost of one operation."""

    cpu: float
    """Milliseconds of CPU time of one operation."""
    latencies: list[float]
    unavailable: int
    """How many answers were 503."""


@dataclass
class Application:
    name: str
    server: servers.Server
    operations: Operations
    numbers: Iterator[str]
    url: str
    people: list[Person] = field(default_factory=list)
    client: AppClient | None = None
    """The app that people sign in to."""

    def does(self, operation: str) -> bool:
        """Whether this application can be measured by this operation."""
        if self.name == LEAN:
            return operation in OF_LEAN
        if self.name == BEFORE:  # its tables may be other ones, and an app's people are put into them directly
            return operation not in OF_AN_APP and operation != "profile page"
        return self.name != FLOOR or operation not in OF_HAMMER

    def newcomers(self, many: int) -> list[Person]:
        return [Person(next(self.numbers)) for _ in range(many)]

    def settle(self) -> None:
        """Creates the first people. Each activates the code of the one before."""
        self.people = self.newcomers(PEOPLE)
        run(self.server.port, 4, self.operations.sign_in, self.people)
        if self.does("activation"):
            for inviter, invitee in itertools.pairwise(self.people):
                self.invite([invitee], inviter, 1)
        if self.does("authorize"):
            self.client = register(self.url, self.people, of_floor=self.name == FLOOR)

    def invite(self, people: Sequence[Person], inviter: Person, connections: int) -> Load:
        async def activate(at: Connection, person: Person) -> None:
            await self.operations.activate(at, person, inviter.invite_code)

        return run(self.server.port, connections, activate, people)

    def sample(self, operation: str, connections: int, many: int) -> Sample:
        """Measures `many` operations. Their preparation is not measured."""
        measured = self._prepared(operation, connections, many)
        before = self.server.cpu_seconds()
        load = measured()
        return Sample((self.server.cpu_seconds() - before) / many * 1000, load.latencies, load.unavailable)

    def _prepared(self, operation: str, connections: int, many: int) -> Callable[[], Load]:
        """Prepares `many` operations: a function that runs them."""
        port, operations = self.server.port, self.operations
        settled = [self.people[n % PEOPLE] for n in range(many)]
        if operation == "profile":
            return partial(run, port, connections, operations.look, settled)
        if operation == "profile page":
            return partial(run, port, connections, operations.open_profile_page, settled)
        if operation == "new login":
            return partial(run, port, connections, operations.sign_in, self.newcomers(many))
        if operation == "returning login":
            return partial(run, port, connections, operations.sign_in, [Person(person.number) for person in settled])
        if operation == "refused code":
            people = self.newcomers(-(-many // GUESSES))
            run(port, connections, operations.sign_up, people)
            return partial(run, port, connections, operations.guess_wrong, (people * GUESSES)[:many])
        if operation in OF_AN_APP and self.client is not None:
            people = [replace(person) for person in settled]
            if operation == "authorize":
                return partial(run, port, connections, self.client.authorize, people)
            run(port, connections, self.client.authorize, people)
            return partial(run, port, connections, self.client.exchange, people)
        people = self.newcomers(many)
        run(port, connections, operations.sign_in, people)
        if operation == "refresh":
            return partial(run, port, connections, operations.refresh, people)
        return partial(self.invite, people, self.people[0], connections)


@contextmanager
def running(names: Sequence[str], new: Callable[[], str], before: tuple[Path, str] | None = None) -> Iterator[list[Application]]:
    """These applications, each with its own database of `new`.

    :param before: for `BEFORE`, the source of the other version and an empty database.
    """
    with ExitStack() as open_until_the_end:
        made = []
        for name in names:
            more, root = {"DATABASE_URL": new()}, servers.ROOT
            if name == BEFORE and before is not None:
                root, more["DATABASE_URL"] = before
                _migrate(root, more["DATABASE_URL"])
            if name in (FLOOR, LEAN):
                more["DATABASE_URL"] = plain(more["DATABASE_URL"])
            if name == WITH_REDIS:
                more["REDIS_URL"] = open_until_the_end.enter_context(servers.redis())
            make = _MAKE.get(name, "tests.benchmarks.hammer_app:make()")
            server = open_until_the_end.enter_context(servers.serve(make, hammer_app.ENVIRONMENT | more, root=root))
            app = Application(name, server, Operations(code_of(name)), numbers(), more["DATABASE_URL"])
            app.settle()
            made.append(app)
        yield made


def _migrate(root: Path, url: str) -> None:
    """Brings a database to the newest schema of the source at `root`."""
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "db", "upgrade"]
    subprocess.run(command, cwd=root, env=os.environ | {"DATABASE_URL": url}, check=True, capture_output=True)


def numbers() -> Iterator[str]:
    """New mobile numbers, spread over all prefixes."""
    begin = secrets.randbelow(10**7)
    for n in range(begin, begin + 10**7):
        yield f"+7929{n * 10_007 % 10**7:07d}"


def plain(url: str) -> str:
    """The URL in the form that drivers accept."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def code_of(name: str) -> Callable[[str, str], str]:
    """Computes codes as the application does, which does not show them."""
    if name in (FLOOR, LEAN):
        return floor.one_time_code
    with environment():
        key = hammer_app.settings().key("codes")
    return lambda verification_id, number: codes.one_time_code(
        key, verification_id=verification_id, telephone_number=number, purpose=verifications.LOGIN, length=4
    )


@contextmanager
def environment(**more: str) -> Iterator[None]:
    """Sets the environment of the servers in this process."""
    before = dict(os.environ)
    os.environ.update({"FLASK_SKIP_DOTENV": "1"} | hammer_app.ENVIRONMENT | more)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # otherwise each start would compile the program again
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def requests(operation: str) -> Any:
    """The name of the operation, with the number of its requests if they are more than one."""
    return operation if OPERATIONS[operation] == 1 else f"{operation}, {OPERATIONS[operation]} requests"
