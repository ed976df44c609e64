"""Files at fixed addresses: icons, robots.txt and security.txt."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.robotparser import RobotFileParser

import pytest
from flask import Flask
from flask.testing import FlaskClient
from time_machine import Traveller

from config import Settings
from hammer.operations import doctor

FILES = {
    "/favicon.ico": ("image/vnd.microsoft.icon", b"\0\0\1\0"),
    "/apple-touch-icon.png": ("image/png", b"\x89PNG"),
    "/robots.txt": ("text/plain", b"User-agent: *"),
}


@pytest.mark.parametrize("path", FILES)
def test_each_file_is_answered_and_can_be_cached_for_a_day(client: FlaskClient, path: str) -> None:
    kind, beginning = FILES[path]
    answer = client.get(f"{path}?lang=ru", buffered=True)
    assert (answer.status_code, answer.mimetype) == (200, kind)
    assert answer.data.startswith(beginning)
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
    assert "Set-Cookie" not in answer.headers  # else a cache would give it to everyone
    assert client.head(path, buffered=True).status_code == 200


def test_crawlers_may_visit_public_pages_and_no_personal_ones(client: FlaskClient) -> None:
    robots = RobotFileParser()
    robots.parse(client.get("/robots.txt").text.splitlines())
    for path in ("/", "/login/", "/i/Q9UK59", "/static/card.png", "/static/hammer.css"):
        assert robots.can_fetch("AnyBot", path), path
    for path in ("/profile/", "/profile/delete/", "/api/v1/users/me/", "/login/code/", "/receipts/1.A/"):
        assert not robots.can_fetch("AnyBot", path), path


def test_security_txt_names_the_contact(app_with: Callable[[Settings], Flask], settings: Settings, clock: Traveller) -> None:
    there = replace(settings, support="mailto:help@example.com", public_url="https://login.example.com")
    answer = app_with(there).test_client().get("/.well-known/security.txt")
    assert (answer.status_code, answer.content_type) == (200, "text/plain; charset=utf-8")
    fields = dict(line.split(": ", 1) for line in answer.text.splitlines())
    assert fields["Contact"] == "mailto:help@example.com"
    assert fields["Canonical"] == "https://login.example.com/.well-known/security.txt"
    expires = datetime.fromisoformat(fields["Expires"])
    assert timedelta(days=60) < expires - datetime.now(UTC) < timedelta(days=365)
    clock.shift(timedelta(days=100))
    later = app_with(there).test_client().get("/.well-known/security.txt").text
    assert datetime.fromisoformat(dict(line.split(": ", 1) for line in later.splitlines())["Expires"]) > datetime.now(UTC)


def test_without_a_contact_there_is_no_security_txt_and_doctor_advises_one(
    client: FlaskClient, app_with: Callable[[Settings], Flask], settings: Settings
) -> None:
    assert client.get("/.well-known/security.txt").status_code == 404
    for support, advised in (("", True), ("https://example.com/help", False)):
        app = app_with(replace(settings, env="production", support=support))
        with app.app_context():
            parts = {finding.part for finding in doctor.examine(app.config["SETTINGS"])}
        assert ("contact" in parts) is advised
