"""The table of promises and the tests that prove them. A test names its promises: `@pytest.mark.requirement("OTP-01", ...)`.

Each run reports which promises its tests kept. If all of them pass, `make evidence` writes the table into `docs/security.md`.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.requirements_register import GROUPS, REGISTER

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "security.md"
BEGIN, END = "<!-- made by `make evidence` -->", "<!-- end of what is made -->"

Proofs = dict[str, set[str]]
"""Id -> the tests that name it, as `login/test_by_code.py::test_a_name`."""


@cache
def claimed() -> Proofs:
    """What the tests say that they prove. It is read from their source, so that it does not depend on which tests run."""
    found: Proofs = defaultdict(set)
    for test in tests():
        for requirement in test.proves:
            found[requirement].add(test.name)
    return found


class Test(NamedTuple):
    name: str
    """As `browser/test_invites.py::test_a_name`."""
    marks: list[str]
    """Its own marks and those of its file, as source."""
    proves: set[str]


@cache
def tests() -> list[Test]:
    """All tests in all folders."""
    return list(_read())


def _read() -> Iterator[Test]:
    for file in sorted(TESTS.rglob("test_*.py")):
        module = ast.parse(file.read_text())
        of_all = [
            node.value for node in module.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
        ]
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = [mark for given in (*of_all, *node.decorator_list) for mark in getattr(given, "elts", [given])]
                proves = {name for mark in marks for name in _named(mark)}
                yield Test(f"{file.relative_to(TESTS).as_posix()}::{node.name}", [ast.unparse(mark) for mark in marks], proves)


def _named(mark: ast.expr) -> Iterator[str]:
    if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.requirement":
        yield from (str(ast.literal_eval(argument)) for argument in mark.args)


def table(proofs: Proofs) -> str:
    """The promises by group, each with the tests that prove it, in Markdown."""
    lines = []
    for group, title in GROUPS.items():
        lines += [f"\n### {title}\n", "| id | level | promise | proved by |", "|---|---|---|---|"]
        for name, (level, promise, waits) in REGISTER.items():
            if name.rpartition("-")[0] == group:
                tests = ", ".join(f"`{test}`" for test in sorted(proofs.get(name, ())))
                still = f"open: {waits}" if waits else ""
                lines.append(f"| {name} | {level} | {promise} | {'; '.join(filter(None, (still, tests))) or 'open'} |")
    return "\n".join(lines) + "\n"


def written() -> str:
    """The table in the document."""
    return DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0].strip("\n")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--evidence", action="store_true", help="write the table of proved promises into docs/security.md")


def pytest_itemcollected(item: pytest.Item) -> None:
    for mark in item.iter_markers("requirement"):
        item.user_properties += [("requirement", name) for name in mark.args]


class Outcomes:
    """The results of tests of promises in this run, from all workers of pytest-xdist."""

    def __init__(self) -> None:
        self.names: Proofs = defaultdict(set)
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        names = {str(name) for kind, name in report.user_properties if kind == "requirement"}
        if names:
            test = report.nodeid.partition("[")[0].removeprefix("tests/")
            self.names[test] |= names
            if report.failed:
                self.failed.add(test)
            elif report.passed and report.when == "call":
                self.passed.add(test)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if session.config.getoption("--evidence") and not hasattr(session.config, "workerinput"):
            proofs = claimed()
            if set().union(*proofs.values()) <= self.passed - self.failed:
                text = DOCUMENT.read_text()
                DOCUMENT.write_text(f"{text.partition(BEGIN)[0]}{BEGIN}\n{table(proofs)}\n{END}{text.partition(END)[2]}")
            else:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        unproved = sorted(test for test in self.names if test not in self.passed or test in self.failed)
        proved = {name for test, names in self.names.items() if test not in unproved for name in names}
        if self.names:
            terminalreporter.write_line(f"Requirements that this run checked: {len(proved)} of {len(REGISTER)}.")
        for test in unproved:
            names = ", ".join(sorted(self.names[test]))
            terminalreporter.write_line(f"Not proved, because this test did not pass: {names} by {test}", red=True)


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(), "hammer evidence")
