"""The documents about the settings are made from the declarations and agree with them."""

import re
from dataclasses import fields, replace
from io import StringIO

import pytest
from dotenv import dotenv_values
from flask import Flask

import config
from tests import settings_documents
from tests.conftest import SETTINGS


def test_the_table_of_the_document_is_made_from_the_declarations() -> None:
    assert settings_documents.written() == settings_documents.table(), "Run `make settings`."
    documented = re.findall(r"^\| `([A-Z_]+)` \|", settings_documents.written(), re.MULTILINE)
    assert len(documented) > 10
    assert set(documented) == config.NAMES


def test_the_example_is_made_from_the_declarations() -> None:
    assert settings_documents.EXAMPLE.read_text() == settings_documents.example(), "Run `make settings`."


def test_the_example_sets_nothing_until_a_line_is_uncommented() -> None:
    example = settings_documents.example()
    assert dotenv_values(stream=StringIO(example)) == {}
    assert set(dotenv_values(stream=StringIO(re.sub(r"^# (?=[A-Z_]+=)", "", example, flags=re.MULTILINE)))) == config.NAMES


def test_every_field_of_the_settings_is_declared_once_with_a_meaning() -> None:
    assert list(config.DECLARED) == [field.name for field in fields(config.Settings)]
    assert len(config.NAMES) == len(config.DECLARED)
    assert all(re.fullmatch(r"[A-Z0-9].+\.", declared.help) for declared in config.DECLARED.values())


@pytest.mark.parametrize("name", ["secret_key", "database_url", "redis_url", "sms_url", "metrics_token", "test_numbers"])
def test_the_command_that_lists_the_settings_shows_no_secret(app: Flask, name: str) -> None:
    app.config["SETTINGS"] = replace(SETTINGS, **{name: "s3cr3t"})  # type: ignore[arg-type]

    listed = app.test_cli_runner().invoke(args=["settings"]).output

    assert "s3cr3t" not in listed
    assert re.search(rf"^{config.DECLARED[name].name} +set$", listed, re.MULTILINE)


def test_the_command_that_lists_the_settings_writes_them_as_the_environment_has_them(app: Flask) -> None:
    app.config["SETTINGS"] = replace(SETTINGS, regions=frozenset({"RU", "KZ"}), demo=True)

    lines = dict(
        line.split(maxsplit=1) for line in app.test_cli_runner().invoke(args=["settings"]).output.splitlines() if " " in line
    )

    expected = {
        "HAMMER_ENV": "testing",
        "HAMMER_DEMO": "on",
        "HAMMER_REGIONS": "KZ,RU",
        "HAMMER_CODE_TTL_SECONDS": "300",
        "HAMMER_GUESS_BUDGETS": "20,250,10000",
    }
    assert {name: lines[name] for name in expected} == expected
