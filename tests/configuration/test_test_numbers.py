"""The settings of test numbers: which are refused, and that no problem says a number or a code."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from time_machine import travel

import config
from config import Misconfigured, Settings

NUMBERS, UNTIL = "HAMMER_TEST_NUMBERS", "HAMMER_TEST_NUMBERS_UNTIL"
ANNA, BORIS = "+79160000001=482915", "+79160000002=90715526"

Read = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Reads the settings with these two variables."""
    monkeypatch.setattr(config, "INSTANCE", tmp_path / "instance")
    monkeypatch.setattr(config, "ENV_FILE", tmp_path / ".env")

    def read(numbers: str | None, until: str | None = "2026-12-31", **others: str) -> Settings:
        for name, value in ({NUMBERS: numbers, UNTIL: until} | others).items():
            if value is not None:
                monkeypatch.setenv(name, value)
        with travel(datetime(2026, 11, 23, 23, 59, tzinfo=UTC), tick=False):
            return config.read()

    return read


def problem(read: Read, numbers: str | None, until: str | None = "2026-12-31", **others: str) -> str:
    with pytest.raises(Misconfigured) as refused:
        read(numbers, until, **others)
    [problem] = refused.value.problems
    return problem


@pytest.mark.parametrize("numbers", [f" {ANNA}  {BORIS} ", f"{ANNA},{BORIS}", f"{ANNA}, {BORIS},"])
def test_numbers_and_their_codes_are_read(read: Read, numbers: str) -> None:
    settings = read(numbers)
    assert settings.test_numbers == {"+79160000001": "482915", "+79160000002": "90715526"}
    assert settings.test_numbers_until == date(2026, 12, 31)


@pytest.mark.parametrize(("numbers", "until"), [(None, None), ("", ""), ("", "2026-12-31")])
def test_there_need_be_none(read: Read, numbers: str | None, until: str | None) -> None:
    assert read(numbers, until).test_numbers == {}


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        (f"{ANNA} 89160000002=715526", "Entry 2 does not begin with a number"),
        ("+7916=482915", "Entry 1 does not begin with a number"),
        ("+7916000000123456=482915", "Entry 1 does not begin with a number"),
        ("+79160000001", "Entry 1 has a code that is not six or eight digits"),
        ("+79160000001=4829", "Entry 1 has a code that is not six or eight digits"),
        ("+79160000001=4829157", "Entry 1 has a code that is not six or eight digits"),
        ("+79160000001=482915907", "Entry 1 has a code that is not six or eight digits"),
        ("+79160000001=48291٥", "Entry 1 has a code that is not six or eight digits"),
        (f"{ANNA};{BORIS}", "Entry 1 has a code that is not six or eight digits"),
        (f"{BORIS} +79160000001=555555", "Entry 2 has a code that is one digit repeated"),
        (f"{ANNA} +79160000001=715526", "A number is there twice."),
        (f"{ANNA} +79160000002=482915", "A code is there twice."),
        (" ".join(f"+7916000{n:04d}={482915 + n}" for n in range(11)), "Names more than 10 numbers."),
    ],
)
def test_a_wrong_entry_is_named_by_its_place(read: Read, numbers: str, sentence: str) -> None:
    found = problem(read, numbers)
    assert found.startswith(f"{NUMBERS}: ")
    assert sentence in found
    assert "916000" not in found
    assert not any(code in found for code in ("4829", "90715526", "555555", "715526"))


def test_ten_numbers_are_allowed(read: Read) -> None:
    assert len(read(" ".join(f"+7916000{n:04d}={482915 + n}" for n in range(10))).test_numbers) == 10


def test_a_code_is_not_shorter_than_those_of_others(read: Read) -> None:
    assert read(ANNA, HAMMER_CODE_LENGTH="6").test_numbers
    assert "HAMMER_CODE_LENGTH" in problem(read, f"{BORIS} {ANNA}", HAMMER_CODE_LENGTH="8")


@pytest.mark.parametrize("until", [None, ""])
def test_numbers_need_a_last_day(read: Read, until: str | None) -> None:
    found = problem(read, ANNA, until)
    assert found == f"{UNTIL}: Say on which day the test numbers end, 2027-02-21 at the latest."


@pytest.mark.parametrize("until", ["31.12.2026", "2026-02-30", "20261231", "2026-12-31T00:00", "soon"])
def test_the_last_day_is_a_date(read: Read, until: str) -> None:
    assert problem(read, ANNA, until) == f"{UNTIL}: Must be a day like 2027-01-31."


def test_the_last_day_is_at_most_ninety_days_after_the_start(read: Read) -> None:
    assert read(ANNA, "2027-02-21").test_numbers_until == date(2026, 11, 23) + timedelta(days=90)
    assert problem(read, ANNA, "2027-02-22") == f"{UNTIL}: Choose an earlier day, 2027-02-21 at the latest."


def test_a_start_after_the_last_day_is_no_reason_to_stop(read: Read) -> None:
    assert read(ANNA, "2026-11-22").test_numbers
