"""Runs failed tests of browsers, deployments and other programs once more, alone. `.ci/run` calls it when `make test` has failed.

On a busy machine a browser or a proxy can be too slow for its test. A test that passes now is reported as flaky, and the run goes
on. Rules and races get no second run: a race that is lost once is a bug. The exit code is 0 if all failed tests pass now.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("tests/browser/", "tests/deployment/", "tests/integrate/", "tests/peers/", "tests/real/")
LAST_FAILED = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
OUTCOME = "hammer/outcome"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Records how the run ended: a run that broke off says nothing about the tests that it did not reach."""
    cache = getattr(session.config, "cache", None)  # there is none with `-p no:cacheprovider`
    if cache is not None and not hasattr(session.config, "workerinput"):
        cache.set(OUTCOME, int(exitstatus))


def without_second_run(failed: Iterable[str]) -> list[str]:
    """Those of the failed tests that have failed for good."""
    return sorted(test for test in failed if not test.startswith(FOLDERS))


def main(options: Sequence[str]) -> int:
    outcome = ROOT / ".pytest_cache" / "v" / OUTCOME
    if not outcome.exists() or json.loads(outcome.read_text()) != pytest.ExitCode.TESTS_FAILED or not LAST_FAILED.exists():
        say("The tests did not run to their end.")
        return 1
    failed = sorted(json.loads(LAST_FAILED.read_text()))
    for_good = without_second_run(failed)
    if for_good or not failed:
        say("Failed, and not run again:", *for_good)
        return 1
    say("Failed, and run again alone:", *failed)
    command = [sys.executable, "-m", "pytest", "-n", "0", *options, *failed]
    again = subprocess.run(command, cwd=ROOT, check=False).returncode
    say("FLAKY, passed alone:" if again == 0 else "Failed twice, or some of them did:", *failed)
    return int(again != 0)


def say(line: str, *tests: str) -> None:
    sys.stdout.write("\n".join([line, *(f"  {test}" for test in tests)]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
