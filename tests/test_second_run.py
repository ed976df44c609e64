"""Which failed tests `.ci/run` runs again, and what a run says about tests that were skipped."""

from pathlib import Path

import pytest

from tests import parts, second_run, skipped


def test_browsers_deployments_and_other_programs_get_a_second_run_and_nothing_else_does() -> None:
    may_pass_later = [
        "tests/browser/test_lines.py::test_a_page",
        "tests/deployment/test_one_host.py::test_a_reload[x]",
        "tests/real/test_kannel.py::test_a",
    ]
    for_good = ["tests/login/test_by_code.py::test_a_code", "tests/test_conventions.py", "tests/test_races.py::test_a_race"]
    assert second_run.without_second_run(may_pass_later) == []
    assert second_run.without_second_run(for_good + may_pass_later) == for_good


def test_a_run_that_broke_off_gets_no_second_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(second_run, "ROOT", tmp_path)
    assert second_run.main([]) == 1
    assert capsys.readouterr().out == "The tests did not run to their end.\n"


def test_a_skip_names_the_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(parts, "_PLACES", "/nowhere")
    with pytest.raises(pytest.skip.Exception) as missing:
        parts.program("haproxy")
    assert parts.packages_in(str(missing.value)) == ["haproxy"]
    report = pytest.TestReport("a", ("", 0, ""), {}, "skipped", ("file", 1, f"Skipped: {missing.value}"), "setup")
    assert skipped.reason(report) == "This needs haproxy: apt-get install haproxy"
