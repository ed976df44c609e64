"""Every promise has a test or is marked as open, and the documents agree with the tests."""

import re
from pathlib import Path

import pytest

import config
from hammer.web import headers
from tests import evidence
from tests.requirements_register import GROUPS, REGISTER

ROOT = Path(__file__).parent.parent
SECURITY = evidence.DOCUMENT.read_text()


@pytest.mark.requirement("EVD-02")
def test_every_must_is_named_by_a_test() -> None:
    without = [
        name
        for name, promise in REGISTER.items()
        if promise.level == "MUST" and not promise.waits and not evidence.claimed().get(name)
    ]

    assert without == []
    assert [name for name, promise in REGISTER.items() if promise.level == "MUST" and promise.waits] == []


@pytest.mark.requirement("EVD-02")
def test_every_name_in_a_test_is_a_promise() -> None:
    assert set(evidence.claimed()) <= set(REGISTER)
    assert {name.rpartition("-")[0] for name in REGISTER} == set(GROUPS)


@pytest.mark.requirement("EVD-02")
def test_the_table_of_the_document_agrees_with_the_tests(pytestconfig: pytest.Config) -> None:
    about_to_be_written = pytestconfig.getoption("--evidence")
    assert about_to_be_written or evidence.written() == evidence.table(evidence.claimed()).strip("\n"), "Run `make evidence`."


@pytest.mark.requirement("EVD-02")
def test_no_test_of_a_promise_is_always_skipped() -> None:
    """A `skip` or an `xfail` would leave the promise in the table without its proof."""
    skipped = re.compile(r"pytest\.mark\.(skip\b|xfail)")
    assert [test.name for test in evidence.tests() if test.proves and any(map(skipped.match, test.marks))] == []


@pytest.mark.requirement("EVD-02")
def test_tests_in_folders_and_marks_of_whole_files_are_read_too() -> None:
    files = {test.name.partition("::")[0] for test in evidence.tests()}
    assert files == {file.relative_to(evidence.TESTS).as_posix() for file in evidence.TESTS.rglob("test_*.py")}
    assert {file for file in files if "/" in file}
    of_a_file = [test.proves for test in evidence.tests() if test.name.startswith("users/test_number_change.py")]
    assert of_a_file
    assert all("OTP-08" in proves for proves in of_a_file)


def deviations() -> list[list[str]]:
    section = SECURITY.split("\n## Where we deviate\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")]
    return rows[1:]


@pytest.mark.requirement("EVD-01")
def test_every_deviation_has_a_reason_and_a_test() -> None:
    known = {test for tests in evidence.claimed().values() for test in tests}
    rows = deviations()

    for clause, why, instead, promises in rows:
        assert all((clause, why, instead)), clause
        named = re.findall(r"[A-Z]{3,4}-\d\d", promises)
        assert named, clause
        assert all(evidence.claimed().get(name, set()) & known for name in named), clause
    clauses = " ".join(clause for clause, *_ in rows)
    for clause in ("3.1.3.2", "6.5.4", "6.3.3", "6.6.1", "3.2.9", "3.2.2"):
        assert clause in clauses, clause


@pytest.mark.requirement("EVD-01")
def test_no_document_makes_a_claim_that_is_not_allowed() -> None:
    section = SECURITY.split("\n## What may be claimed, and what may not\n")[1].split("\n## ")[0]
    assert "| no" in section
    never = re.compile(
        r"GDPR[- ]compliant|phishing[- ]resistant|ASVS[^.\n]{0,20}Level [23]|AAL[12] compliant|WCAG 2\.2 AA compliant",
        re.IGNORECASE,
    )
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        text = document.read_text().replace(section, "")
        assert not never.search(text), f"{document.name}: {never.search(text)}"


@pytest.mark.requirement("EVD-02")
def test_figures_of_limits_are_in_the_code_only() -> None:
    """The document refers to settings by their names, so that its figures cannot become outdated."""
    prose = SECURITY.partition(evidence.BEGIN)[0]

    settings = set(re.findall(r"`(HAMMER_[A-Z_]+)`", prose))
    assert len(settings) >= 5
    assert settings <= config.NAMES
    for name in settings:
        assert not re.search(rf"`{name}`\s*(?:=|is|\()\s*\d", prose), name
    for header in headers.HEADERS:
        assert f"`{header}`" in prose, header
