"""The settings: how they are read, and which values are refused."""

import dataclasses
import os
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import make_url, text

import config
from config import Misconfigured
from hammer import create_app
from hammer.db import database
from hammer.db.database import db
from tests.conftest import SETTINGS
from tests.serving import at_once

GOOD_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(autouse=True)
def nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment without settings, and an instance directory of the test's own."""
    for name in [*known_settings(), "SECRET_KEY", "DATABASE_URL"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(config, "INSTANCE", tmp_path / "instance")
    monkeypatch.setattr(config, "ENV_FILE", tmp_path / ".env")
    return tmp_path / "instance"


def known_settings() -> list[str]:
    return [name for name in os.environ if name.startswith("HAMMER_")]


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> config.Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return config.read()


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    with pytest.raises(Misconfigured) as refused:
        read(monkeypatch, **environment)
    return refused.value.problems


def test_nothing_needs_to_be_set_in_development(monkeypatch: pytest.MonkeyPatch, nowhere_else: Path) -> None:
    settings = read(monkeypatch)
    assert (settings.env, settings.demo, settings.region, settings.regions) == ("development", True, "RU", frozenset())
    assert settings.database_url == f"sqlite:///{nowhere_else}/hammer.sqlite3"
    assert (settings.sms_url, settings.sms_delay) == ("console://", timedelta(seconds=1.5))
    assert (settings.code_length, settings.code_ttl, settings.guesses_per_code) == (4, timedelta(minutes=5), 3)
    assert (settings.resend_wait, settings.sends_per_number_day) == (timedelta(seconds=5), 1000)
    assert settings.public_url == "http://localhost:5000"


def test_outside_development_limits_are_tight_and_demo_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, HAMMER_ENV="testing")
    assert (settings.demo, settings.sms_delay) == (False, timedelta(0))
    assert (settings.resend_wait, settings.sends_per_number_day) == (timedelta(seconds=60), 5)


def test_the_development_secret_is_made_once_and_readable_for_its_owner_only(
    monkeypatch: pytest.MonkeyPatch, nowhere_else: Path
) -> None:
    first = read(monkeypatch).secret_key
    assert len(first.encode()) >= 32
    assert read(monkeypatch).secret_key == first
    file = nowhere_else / "secret_key"
    assert file.read_text() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [other.name for other in nowhere_else.iterdir()] == ["secret_key"]


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


@pytest.fixture
def careless() -> Iterator[None]:
    """A user whose programs let everyone read and write what they make."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("url", ["", "sqlite:///{folder}/ours.sqlite3", "sqlite:///file:{folder}/of%20ours.sqlite3?uri=true"])
def test_files_that_hammer_makes_are_readable_for_their_owner_only(
    monkeypatch: pytest.MonkeyPatch, nowhere_else: Path, careless: None, app_with: Callable[[config.Settings], Flask], url: str
) -> None:
    folder = nowhere_else.parent / "data"
    folder.mkdir()
    with app_with(read(monkeypatch, HAMMER_ENV="testing", DATABASE_URL=url.format(folder=folder))).app_context():
        db.session.execute(text("create table t (x)"))
        made = modes(nowhere_else) | modes(folder)
    assert len(made) == 4  # the database, its -wal and its -shm, and the key
    assert set(made.values()) == {0o600}
    assert stat.S_IMODE(nowhere_else.stat().st_mode) == 0o700


def test_a_database_at_a_relative_path_is_readable_for_its_owner_only(tmp_path: Path, careless: None) -> None:
    database._make_file(make_url("sqlite:///ours.sqlite3"), tmp_path / "instance")
    assert modes(tmp_path / "instance") == {"ours.sqlite3": 0o600}
    assert stat.S_IMODE((tmp_path / "instance").stat().st_mode) == 0o700


def test_no_database_is_made_where_the_address_says_that_there_is_one(tmp_path: Path) -> None:
    database._make_file(make_url(f"sqlite:///file:{tmp_path}/ours.sqlite3?mode=ro&uri=true"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_existing_files_keep_the_mode_that_their_owner_gave_them(
    monkeypatch: pytest.MonkeyPatch, nowhere_else: Path, app_with: Callable[[config.Settings], Flask]
) -> None:
    nowhere_else.mkdir(mode=0o750)
    nowhere_else.joinpath("hammer.sqlite3").touch(mode=0o640)
    app_with(read(monkeypatch, HAMMER_ENV="testing"))
    assert stat.S_IMODE(nowhere_else.stat().st_mode) == 0o750
    assert modes(nowhere_else)["hammer.sqlite3"] == 0o640


def test_the_secret_is_not_made_where_one_is_set(monkeypatch: pytest.MonkeyPatch, nowhere_else: Path) -> None:
    assert read(monkeypatch, SECRET_KEY=GOOD_SECRET, DATABASE_URL="postgresql:///hammer").secret_key == GOOD_SECRET
    assert not nowhere_else.exists()


@pytest.mark.requirement("CRY-01", "CRY-02")
def test_production_reports_all_unsafe_settings_at_once(monkeypatch: pytest.MonkeyPatch, nowhere_else: Path) -> None:
    wrong = {"FLASK_DEBUG": "1", "HAMMER_CODE_TTL_SECONDS": "601", "HAMMER_DEMO": "on"}
    found = problems(monkeypatch, HAMMER_ENV="production", **wrong)
    named = [sentence.split(":")[0] for sentence in found]
    assert sorted(named) == [*wrong, "HAMMER_PUBLIC_URL", "HAMMER_SMS_URL", "SECRET_KEY"]
    assert not nowhere_else.joinpath("secret_key").exists()


@pytest.mark.parametrize("secret", ["", "short", "a" * 64, "ab" * 32])
@pytest.mark.requirement("CRY-01")
def test_production_requires_a_secret_that_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    assert any(sentence.startswith("SECRET_KEY") for sentence in problems(monkeypatch, HAMMER_ENV="production", SECRET_KEY=secret))


def test_production_serves_its_own_country_unless_others_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "_unsafe_in_production", lambda _: {})
    assert read(monkeypatch, HAMMER_ENV="production", HAMMER_REGIONS="").regions == {"RU"}
    assert read(monkeypatch, HAMMER_ENV="production", HAMMER_REGION="KZ").regions == {"KZ"}
    assert read(monkeypatch, HAMMER_ENV="production", HAMMER_REGIONS="RU,KZ").regions == {"RU", "KZ"}


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("postgresql://u:s3cr3t@host/name?prepare_threshold=0", " Behind a pooler, set HAMMER_DATABASE_POOLER=on."),
        (
            "postgresql://u:s3cr3t@one,two/name?sslmode=require&prepare_threshold=s3cr3t",
            " Behind a pooler, set HAMMER_DATABASE_POOLER=on.",
        ),
        ("postgresql:///name?pool_size=s3cr3t", ""),
        ("sqlite:////path/of.sqlite3?cache=s3cr3t", ""),
    ],
)
def test_a_parameter_that_the_driver_does_not_know_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, url: str, hint: str
) -> None:
    with pytest.raises(config.Misconfigured) as refusal:
        read(monkeypatch, DATABASE_URL=url)

    name = url.partition("?")[2].split("&")[-1].split("=")[0]
    assert refusal.value.problems == [f"DATABASE_URL: There is no parameter `{name}` of this database.{hint}"]


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://u:p%40@one:5432,two:5433/name", "one,two", "5432,5433"),
        ("postgresql+psycopg://u@one,[2001:db8::1]:5433/name?sslmode=require", "one,2001:db8::1", ",5433"),
        ("postgresql://one,two/name?target_session_attrs=read-write", "one,two", ","),
        ("postgresql://u@/name?host=one:5432&host=two:5433&target_session_attrs=read-write", "one,two", "5432,5433"),
        ("postgresql://u@/name?host=one,two&port=5432,5433", "one,two", "5432,5433"),
        ("postgresql://[2001:db8::1]:5433/name", "2001:db8::1", 5433),
        ("postgresql:///name?host=/run/postgresql", "/run/postgresql", None),
    ],
)
def test_several_hosts_of_a_database_reach_the_driver(
    monkeypatch: pytest.MonkeyPatch, url: str, hosts: str, ports: str | int | None
) -> None:
    read_url = make_url(read(monkeypatch, DATABASE_URL=url).database_url)
    _, arguments = read_url.get_dialect()().create_connect_args(read_url)

    assert (arguments["host"], arguments.get("port"), arguments["dbname"]) == (hosts, ports, "name")
    assert {name: arguments[name] for name in ("target_session_attrs", "sslmode") if name in arguments}.items() <= {
        pair for name in url.partition("?")[2].split("&") if (pair := tuple(name.split("=")))
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HAMMER_ENV", "staging"),
        ("HAMMER_DEMO", "perhaps"),
        ("DATABASE_URL", "hammer.sqlite3"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "oracle://host/name"),
        ("DATABASE_URL", "postgresql://one:5432,two:x/name"),
        ("DATABASE_URL", "postgresql:///name?host=[::1]:5432&host=two"),
        ("DATABASE_URL", "postgresql://host/name?sslmode=require&sslmode=disable"),
        ("DATABASE_URL", "sqlite:////path?timeout=long"),
        ("HAMMER_SMS_URL", "pigeon://"),
        ("HAMMER_SMS_DELAY_SECONDS", "-1"),
        ("HAMMER_PUBLIC_URL", "login.example.com"),
        ("HAMMER_PUBLIC_URL", "https://example.com/path"),
        ("HAMMER_PUBLIC_URL", "javascript:alert(1)"),
        ("HAMMER_REGION", "Russia"),
        ("HAMMER_REGIONS", "RU,XX"),
        ("HAMMER_CODE_LENGTH", "5"),
        ("HAMMER_CODE_LENGTH", "four"),
        ("HAMMER_CODE_TTL_SECONDS", "601"),
        ("HAMMER_CODE_TTL_SECONDS", "0"),
        ("HAMMER_GUESSES_PER_CODE", "0"),
        ("HAMMER_RESEND_SECONDS", "-1"),
        ("HAMMER_SENDS_PER_NUMBER_DAY", "0"),
        ("HAMMER_SMS_URL", "http://[::1?to={to}&text={text}"),
        ("HAMMER_GUESS_BUDGETS", ""),
        ("HAMMER_GUESS_BUDGETS", "20,many,3"),
        ("HAMMER_GUESS_BUDGETS", "20,-1,3"),
        ("HAMMER_PUBLIC_URL", "https://["),
        ("HAMMER_PUBLIC_URL", f"https://{'a' * 254}"),
        ("HAMMER_PUBLIC_URL", "https://example.com:99999"),
        ("HAMMER_PUBLIC_URL", "https://user:s3cr@example.com"),
        ("HAMMER_PUBLIC_URL", "https://exam ple.com"),
        ("HAMMER_PUBLIC_URL", "http://example.com\\.localhost"),
        ("HAMMER_PUBLIC_URL", "http://example.com;.localhost"),
        ("HAMMER_PUBLIC_URL", "http://example.com%2f.localhost"),
        ("DATABASE_URL", "postgresql://user:s3cr@et@host/name"),
        ("HAMMER_SUPPORT", "help"),
        ("HAMMER_SUPPORT", "http://example.com/help"),
        ("HAMMER_SUPPORT", "https://exa mple.com"),
        ("HAMMER_SUPPORT", "javascript://example.com/%0aalert(1)"),
        ("HAMMER_SUPPORT", "help@example.com\nExpires: 1970-01-01T00:00:00Z"),
        ("HAMMER_SUPPORT", "https://example.com/\nExpires:1970-01-01T00:00:00Z"),
        ("HAMMER_SUPPORT", "mailto:help@example"),
        ("REDIS_URL", "redis://["),
        ("REDIS_URL", "redis://host:99999999"),
        ("REDIS_URL", "redis://user:s3cr/et@host"),
        ("REDIS_URL", "redis://host/9?nosuch=1"),
        ("REDIS_URL", "redis://host/name"),
        ("SECRET_KEY", "\udcff\udcfe" * 20),
        ("HAMMER_INVITATION", "x" * 201),
        ("HAMMER_INVITATION", " "),
        ("HAMMER_INVITATION_EN", "Come in.\nNow."),
        ("HAMMER_INVITATION_RU", "<b>Заходите</b>"),
        ("HAMMER_INVITATION_RU", "Заходите\u202e"),
        ("HAMMER_NAME", " "),
        ("HAMMER_NAME", "a" * 31),
        ("HAMMER_NAME", "<b>Acme</b>"),
        ("HAMMER_NAME", "Ac\nme"),
        ("HAMMER_NAME", "Acme "),
        ("HAMMER_MARK", "/nowhere/mark.svg"),
        ("HAMMER_MARK", "/"),
        ("HAMMER_ACCENT", "red"),
        ("HAMMER_ACCENT", "#abc"),
        ("HAMMER_ACCENT", "#14673A\n"),
        ("HAMMER_TERMS_URL", "http://example.com/terms"),
        ("HAMMER_TERMS_URL", "https://example.com/{lang}/terms"),
        ("HAMMER_PRIVACY_URL", "javascript:alert(1)"),
        ("HAMMER_HELP_URL", "/help"),
        ("HAMMER_TEMPLATES", "/nowhere"),
        ("HAMMER_ANDROID_APP_HASH", "FA+9qCX9VS"),
        ("HAMMER_ANDROID_APP_HASH", "FA+9qCX9VSu\n"),
        ("HAMMER_ANDROID_APP", "com.example.app"),
        ("HAMMER_ANDROID_APP", "com.example.app:14:6D"),
        ("HAMMER_ANDROID_APP", "app:" + ":".join(["AB"] * 32)),
        ("HAMMER_APPLE_APP", "com.example.app"),
    ],
)
@pytest.mark.requirement("OTP-02", "OTP-06")
def test_a_bad_value_is_reported_with_the_name_of_its_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    for where in ("development", "production"):
        [sentence] = [said for said in problems(monkeypatch, **{"HAMMER_ENV": where, name: value}) if said.startswith(name)]
        assert sentence.startswith(f"{name}: ")
        assert "s3cr" not in sentence
        assert len(sentence) < 200


def test_the_invitation_of_the_language_is_used_or_else_the_general_one(monkeypatch: pytest.MonkeyPatch) -> None:
    neither = read(monkeypatch)
    both = read(monkeypatch, HAMMER_INVITATION="Come & see", HAMMER_INVITATION_RU="Заходите")

    assert [both.invitation(language) for language in ("en", "ru", "kk")] == ["Come & see", "Заходите", "Come & see"]
    assert neither.invitation("en") == ""


def test_what_the_operator_is_called_and_shows_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prints = ":".join(["AB"] * 32)
    one, two = f"com.example.app:{prints}", f"com.example.beta:{prints}"
    (tmp_path / "mark.svg").touch()
    given = {"HAMMER_MARK": str(tmp_path / "mark.svg"), "HAMMER_TEMPLATES": str(tmp_path), "HAMMER_ANDROID_APP": f"{one}, {two}"}
    settings = read(monkeypatch, HAMMER_NAME="Кофейня №1", HAMMER_TERMS_URL="https://example.com/{language}/", **given)

    assert (settings.name, settings.terms_url) == ("Кофейня №1", "https://example.com/{language}/")
    assert (settings.mark, settings.templates) == (str(tmp_path / "mark.svg"), str(tmp_path))
    assert settings.android_apps == (one, two)
    monkeypatch.setenv("HAMMER_NAME", "")
    assert read(monkeypatch).name == "Hammer"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HAMMER_CODELENGTH", "HAMMER_CODE_LENGTH"),
        ("HAMMER_SMSURL", "HAMMER_SMS_URL"),
        ("HAMMER_SEND_PER_HOUR", "HAMMER_SENDS_PER_HOUR"),
        ("Hammer_Env", "HAMMER_ENV"),
        ("HAMMER_REGIO", "HAMMER_REGION"),
        ("HAMMER_SECRET_KEY", "SECRET_KEY"),
    ],
)
def test_a_name_with_a_typing_error_is_refused_with_the_nearest_that_there_is(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    for where in ("development", "testing", "production"):
        assert f"{name}: There is no such setting. The nearest is {meant}." in problems(
            monkeypatch, HAMMER_ENV=where, **{name: "s3cr"}
        )


@pytest.mark.parametrize("name", ["HAMMER_CLIENT_ID", "HAMMER_CLIENT_SECRET", "HAMMER_"])
def test_no_setting_is_suggested_for_a_name_that_is_like_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert f"{name}: There is no such setting. docs/settings.md lists all." in problems(monkeypatch, **{name: "s3cr"})


def test_variables_that_kubernetes_sets_for_a_service_of_our_name_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    port = "tcp://10.0.0.7:80"
    of_a_service = {"HAMMER_SERVICE_HOST": "10.0.0.7", "HAMMER_SERVICE_PORT": "80", "HAMMER_SERVICE_PORT_HTTP": "80"}
    of_a_service |= {"HAMMER_PORT": port, "HAMMER_PORT_80_TCP": port, "HAMMER_PORT_80_TCP_PROTO": "tcp"}
    of_another = {"HAMMER_WEB_SERVICE_HOST": "10.0.0.8", "HAMMER_WEB_PORT_80_TCP_ADDR": "10.0.0.8"}
    assert read(monkeypatch, **of_a_service, **of_another).env == "development"


@pytest.mark.parametrize(
    ("ranges", "fault"),
    [
        ("+22901", "'+22901' is no range like +22901xxxxxxxx"),
        ("22901xxxxxxxx", "is no range like"),
        ("+22901:10", "is no range like"),
        ("+229x01xxxx", "is no range like"),
        ("+٢٢٩01xxxxxx", "is no range like"),
        ("+22901xxx,", "is no range like"),
        ("+2290xx", "has 6 digits; a telephone number has 8 to 15"),
        ("+22901xxxxxxxxxxxxx", "has 18 digits"),
        ("+999xxxxxxxx", "begins with no country code"),
        ("+870xxxxxxxxx", "begins with no country code"),
        ("+229xxxxxxxx", "is a whole country"),
        ("+7xxxxxxxxxx", "is a whole country"),
        ("+22901xxxxxxxx,+7x", "'+7x' has 2 digits"),
    ],
)
def test_a_bad_range_is_reported(monkeypatch: pytest.MonkeyPatch, ranges: str, fault: str) -> None:
    [problem] = problems(monkeypatch, HAMMER_EXTRA_RANGES=ranges)
    assert problem.startswith("HAMMER_EXTRA_RANGES: ")
    assert fault in problem


def test_ranges_of_the_operator_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch).extra_ranges == ()
    assert read(monkeypatch, HAMMER_EXTRA_RANGES="+22901xxxxxxxx, +7100xxxxxxx").extra_ranges == ("+22901xxxxxxxx", "+7100xxxxxxx")


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example.com", "https://*.example.com", "https://a.example/app", "file://", "https://"]
)
def test_a_bad_origin_is_reported(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    [problem] = problems(monkeypatch, HAMMER_ORIGINS=f"https://app.example.com,{origin}")
    assert problem.startswith(f"HAMMER_ORIGINS: '{origin}': ")
    assert origin != "*" or problem.endswith("* is not allowed; name each, like https://app.example.com.")


def test_origins_are_read_as_browsers_write_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch).origins == read(monkeypatch, HAMMER_ORIGINS="").origins == frozenset()
    typed = "https://App.example.com:443/, http://127.0.0.1:080,http://[::1]:3000,https://a.example:,http://a.example:443"
    meant = {"https://app.example.com", "http://127.0.0.1", "http://[::1]:3000", "https://a.example", "http://a.example:443"}
    assert read(monkeypatch, HAMMER_ORIGINS=typed).origins == meant


@pytest.mark.parametrize(
    "host", ["http://hook.internal", "hook.internal:8080", "[::1]", "10.0.0.0/8", "*", "*.internal", "a..b", "ключ"]
)
def test_what_is_no_host_alone_is_reported(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    [problem] = problems(monkeypatch, HAMMER_WEBHOOK_HOSTS=f"hook.internal,{host}")
    assert problem == f"HAMMER_WEBHOOK_HOSTS: {host!a}: Name a host alone, like grafana.internal or 10.0.0.7."


def test_hosts_are_read_as_the_guard_compares_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch).webhook_hosts == read(monkeypatch, HAMMER_WEBHOOK_HOSTS="").webhook_hosts == frozenset()
    named = read(monkeypatch, HAMMER_WEBHOOK_HOSTS="Hook.Internal, hook,10.0.0.7,FD00::7").webhook_hosts
    assert named == {"hook.internal", "hook", "10.0.0.7", "fd00::7"}


def test_the_application_does_not_start_with_a_bad_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAMMER_CODE_TTL_SECONDS", "601")
    with pytest.raises(Misconfigured, match="does not start"):
        create_app()


def test_several_processes_that_start_at_once_share_one_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    (config.INSTANCE).mkdir()
    monkeypatch.setattr(os, "getpid", iter(range(1000)).__next__)  # threads here, processes in life
    assert len(set(at_once([config._development_secret] * 20))) == 1


def test_the_public_address_is_stored_without_a_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, HAMMER_PUBLIC_URL="http://127.0.0.1:8000/").public_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://localhost:5000", "localhost"), ("https://Login.Example.com", "login.example.com"), ("https://x1", "x1"),
        ("http://127.0.0.1:5000", None), ("http://[::1]:5000", None), ("http://127.1", None), ("http://0x7f000001", None),
        ("https://127.0.0.1", None), ("http://app.localhost:5000", "app.localhost"), ("http://login.example.com", None),
    ],
)  # fmt: skip
def test_passkeys_need_a_host_name(url: str, host: str | None) -> None:
    """Browsers refuse an IP address as a relying-party id, in every spelling in which they read one, and pages without https."""
    assert dataclasses.replace(SETTINGS, public_url=url).passkey_host == host


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("", ""),
        ("help@example.com", "mailto:help@example.com"),
        ("mailto:help@example.com", "mailto:help@example.com"),
        ("https://example.com/help?in=1#form", "https://example.com/help?in=1#form"),
    ],
)
def test_the_contact_is_stored_as_a_uri(monkeypatch: pytest.MonkeyPatch, said: str, meant: str) -> None:
    assert read(monkeypatch, HAMMER_SUPPORT=said).support == meant


def test_printed_settings_show_no_secret() -> None:
    settings = dataclasses.replace(SETTINGS, database_url="postgresql://user:password@host/db")
    assert SETTINGS.secret_key not in repr(settings)
    assert "password" not in repr(settings)


@pytest.mark.requirement("CRY-01")
def test_each_purpose_has_a_key_of_its_own() -> None:
    purposes = ("codes", "sessions", "tokens", "pages", "numbers")
    assert len({SETTINGS.key(purpose) for purpose in purposes}) == 5
    assert all(len(SETTINGS.key(purpose)) == 32 for purpose in purposes)
    flask = SETTINGS.flask()
    assert SETTINGS.secret_key not in repr({name: value for name, value in flask.items() if name != "SETTINGS"})


def test_cookies_are_secure_and_bound_to_the_host_with_https() -> None:
    flask = dataclasses.replace(SETTINGS, public_url="https://login.example.com").flask()
    assert flask["SESSION_COOKIE_SECURE"] is True
    assert flask["SESSION_COOKIE_NAME"].startswith("__Host-")
    assert SETTINGS.flask()["SESSION_COOKIE_SECURE"] is False
