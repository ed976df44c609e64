"""At the end of a run: how many tests were skipped, why, and what to install to run them too."""

from collections import Counter

import pytest

from tests import parts


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = Counter(reason(report) for report in terminalreporter.getreports("skipped"))
    if not reasons:
        return
    terminalreporter.section("skipped")
    for sentence, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5} {'test' if count == 1 else 'tests'}: {sentence}")
    packages = sorted({package for sentence in reasons for package in parts.packages_in(sentence)})
    if packages:
        terminalreporter.write_line(f"To run them too: sudo apt-get install {' '.join(packages)}", yellow=True)


def reason(report: pytest.TestReport) -> str:
    """The sentence that the test gave to `pytest.skip`."""
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).removeprefix("Skipped: ")
