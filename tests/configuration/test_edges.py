"""Settings at the limits of their ranges: production starts with the last good value and not with the first bad one."""

from pathlib import Path

import pytest

import config
from config import Misconfigured

GOOD = {
    "HAMMER_ENV": "production",
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuv",
    "HAMMER_SMS_URL": "https://sms.example.com/send?to={to}&text={text}",
    "HAMMER_PUBLIC_URL": "https://login.example.com",
    "DATABASE_URL": "postgresql://hammer@db.example.com/hammer",
}


@pytest.fixture(autouse=True)
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings with which production starts."""
    monkeypatch.setattr(config, "INSTANCE", tmp_path / "instance")
    monkeypatch.setattr(config, "ENV_FILE", tmp_path / ".env")
    monkeypatch.delenv("FLASK_DEBUG", raising=False)
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def refused(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    """The names of the refused settings."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    try:
        config.read()
    except Misconfigured as fault:
        return [sentence.split(":")[0] for sentence in fault.problems]
    return []


@pytest.mark.requirement("CRY-01", "OTP-02")
@pytest.mark.parametrize(
    ("name", "last_good", "first_bad"),
    [
        ("SECRET_KEY", "0123456789abcdefghijklmnopqrstuv", "0123456789abcdefghijklmnopqrstu"),
        ("SECRET_KEY", "0123456789" * 4, "012345678" * 4),
        ("SECRET_KEY", "пароль, 16 букв или больше", "пароль, 16 бук"),
        ("HAMMER_GUESSES_PER_CODE", "10", "11"),
        ("HAMMER_GUESSES_PER_CODE", "1", "0"),
        ("HAMMER_CODE_TTL_SECONDS", "600", "601"),
        ("HAMMER_CODE_TTL_SECONDS", "30", "29"),
        ("HAMMER_CODE_LENGTH", "8", "10"),
        ("HAMMER_CODE_LENGTH", "4", "3"),
        ("HAMMER_RESEND_SECONDS", "600", "601"),
        ("HAMMER_RESEND_SECONDS", "0", "-1"),
        ("HAMMER_SENDS_PER_NUMBER_DAY", "1", "0"),
        ("HAMMER_SENDS_PER_PREFIX_HOUR", "1", "0"),
        ("HAMMER_SENDS_PER_ADDRESS_HOUR", "1", "0"),
        ("HAMMER_SENDS_PER_HOUR", "2", "1"),
        ("HAMMER_GUESS_BUDGETS", "0,0,0", "0,0,-1"),
        ("HAMMER_GUESS_BUDGETS", "20,250,10000", "20,250"),
        ("HAMMER_GUESS_BUDGETS", "23,250,10000", "24,250,10000"),
        ("HAMMER_TEXTS_KEPT_HOURS", "24", "25"),
        ("HAMMER_TEXTS_KEPT_HOURS", "1", "0"),
        ("HAMMER_SESSIONS_KEPT_DAYS", "30", "31"),
        ("HAMMER_SESSIONS_KEPT_DAYS", "1", "0"),
        ("HAMMER_WEBHOOK_LOG_KEPT_DAYS", "30", "31"),
        ("HAMMER_WEBHOOK_LOG_KEPT_DAYS", "7", "6"),
        ("HAMMER_EVENTS_KEPT_DAYS", "365", "366"),
        ("HAMMER_EVENTS_KEPT_DAYS", "90", "89"),
        ("HAMMER_PROXY_HOPS", "10", "11"),
        ("HAMMER_SMS_THREADS", "64", "65"),
        ("HAMMER_PUBLIC_URL", "https://login.example.com", "http://login.example.com"),
        ("FLASK_DEBUG", "0", "1"),
        ("HAMMER_DEMO", "off", "on"),
    ],
)
def test_production_starts_with_the_last_good_value_and_not_with_the_first_bad_one(
    monkeypatch: pytest.MonkeyPatch, name: str, last_good: str, first_bad: str
) -> None:
    assert refused(monkeypatch, **{name: last_good}) == []
    assert refused(monkeypatch, **{name: first_bad}) == [name]


@pytest.mark.requirement("THR-05")
def test_the_bound_itself_may_be_reached_but_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = config.expected_takeovers_per_year(4, 3, {4: 20, 6: 250, 8: 10_000})
    assert refused(monkeypatch, HAMMER_MAX_EXPECTED_TAKEOVERS=repr(bound)) == []
    assert refused(monkeypatch, HAMMER_MAX_EXPECTED_TAKEOVERS=repr(bound - 1e-9)) == ["HAMMER_GUESS_BUDGETS"]
