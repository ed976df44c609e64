"""What `doctor` finds out about apps that people sign in to."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from flask import Flask

from config import Settings
from hammer.clients import registry
from hammer.db.database import db
from hammer.models import SigningAlgorithm
from hammer.operations import doctor_of_clients
from hammer.operations.findings import ADVICE, FINE, WRONG, Finding
from hammer.sessions.keys import IdTokenKeys
from tests.cli.commands import CLOSED_PORT, Made, Run, said
from tests.outgoing.servers import OK, certificate, fixed, serving

CALLBACK = "https://app.example.com/callback"
OF_DEVELOPER = "http://localhost:3000/callback"
PRODUCTION = {"env": "production", "public_url": "https://login.example.com"}

Examined = Callable[..., list[Finding]]


@pytest.fixture
def examined(app_with: Made, settings: Settings) -> Examined:
    """What is found about the only client, with these fields, apart from what is fine; under other settings if any are given."""

    def examine(
        others: dict[str, Any] | None = None, *, name: str = "Grafana", has_key: bool = True, **fields: Any
    ) -> list[Finding]:
        with app_with(changed := replace(settings, **(others or {}))).app_context():
            for before in registry.every():
                registry.remove(before.id)
            registry.add(name, **fields)
            if has_key:
                IdTokenKeys(changed).ensure(SigningAlgorithm(fields.get("algorithm", "RS256")))
            found = list(doctor_of_clients.examine(changed))
            db.session.remove()
        return [finding for finding in found if finding.state != FINE]

    return examine


def test_an_app_that_is_set_up_well_is_fine(run: Run) -> None:
    assert "apps:" not in said(run("doctor"))
    said(run("clients", "add", "Grafana", "--redirect-uri", CALLBACK))

    out = said(run("doctor"))

    assert "ok      apps: people can sign in to 1: http://127.0.0.1:5000/.well-known/openid-configuration\n" in out
    assert "Grafana" not in out


def test_a_public_address_without_https_is_wrong(examined: Examined) -> None:
    [found] = examined({"public_url": "http://login.example.com"}, redirect_uris=[CALLBACK])
    assert (found.state, found.part) == (WRONG, "apps")
    assert "HAMMER_PUBLIC_URL" in found.remedy
    assert examined({"public_url": "http://login.example.com"}, name="Backend") == []


def test_an_address_of_a_developer_is_advised_against_in_production(examined: Examined) -> None:
    both = [CALLBACK, OF_DEVELOPER]
    [found] = examined(PRODUCTION, redirect_uris=both)
    assert (found.state, found.part) == (ADVICE, "client Grafana")
    assert found.how.endswith(f": {OF_DEVELOPER}")
    assert "--redirect-uri URL -- Grafana" in found.remedy
    assert examined(PRODUCTION, redirect_uris=both, public=True) == []
    assert examined(redirect_uris=both) == []


def test_an_address_of_hammer_itself_is_advised_against(examined: Examined) -> None:
    [found] = examined(PRODUCTION, redirect_uris=["https://login.example.com/callback"])
    assert (found.state, found.how) == (ADVICE, "people are sent back to Hammer after signing in, and not to the app")


def test_pkce_that_is_off_is_advised_against(examined: Examined) -> None:
    [found] = examined(name="The old wiki's", redirect_uris=[CALLBACK], pkce_required=False)
    assert found.state == ADVICE
    assert "PKCE" in found.how
    command = found.remedy.partition(": ")[2]
    assert shlex.split(command)[2:] == ["wsgi", "clients", "change", "--pkce", "--", "The old wiki's"]


@pytest.mark.parametrize(
    "fields", [{"post_logout_redirect_uris": [CALLBACK]}, {"backchannel_logout_uri": "https://127.0.0.1:1/"}, {"public": True}]
)
def test_what_is_useless_without_a_redirect_uri_is_said(examined: Examined, fields: dict[str, Any]) -> None:
    found = examined(**fields)[0]
    assert (found.state, found.how) == (ADVICE, "people cannot sign in to it: it has no redirect URI")


@pytest.mark.parametrize("algorithm", SigningAlgorithm)
def test_an_algorithm_without_a_key_is_said_and_the_remedy_makes_the_key(run: Run, app: Flask, algorithm: SigningAlgorithm) -> None:
    with app.app_context():
        registry.add("Grafana", redirect_uris=[CALLBACK], algorithm=algorithm)
        for other in set(SigningAlgorithm) - {algorithm}:
            IdTokenKeys(app.config["SETTINGS"]).ensure(other)
    [advice] = [line for line in said(run("doctor")).splitlines() if "flask --app wsgi clients change" in line]

    said(run(*shlex.split(advice.partition("flask --app wsgi ")[2])))

    assert "no key signs" not in said(run("doctor"))


def test_the_server_of_an_app_is_reached_and_sent_nothing(examined: Examined) -> None:
    heard = SimpleQueue[bytes]()
    with serving(lambda connection, _: heard.put(connection.recv(1)), reads=False) as server:
        assert examined(redirect_uris=[CALLBACK], backchannel_logout_uri=f"http://127.0.0.1:{server.port}/logout") == []
        assert heard.get(timeout=30) == b""


def fault_at(examined: Examined, uri: str, others: dict[str, Any] | None = None) -> str:
    [found] = examined(others, redirect_uris=[CALLBACK], backchannel_logout_uri=uri)
    assert (found.state, found.part) == (WRONG, "client Grafana")
    assert found.remedy
    assert f" at {uri}: " in found.how
    return found.how.partition(f" at {uri}: ")[2]


def test_a_server_that_cannot_be_told_about_ended_sessions_is_wrong(examined: Examined, tmp_path: Path) -> None:
    of_server, _ = certificate(tmp_path, "localhost")
    with serving(fixed(OK), tls=of_server) as server:
        assert "no certificate" in fault_at(examined, f"https://localhost:{server.port}/logout")
        assert server.requests == []


def test_a_server_that_does_not_listen_is_wrong(examined: Examined) -> None:
    assert "accepts no connection" in fault_at(examined, f"http://127.0.0.1:{CLOSED_PORT}/logout")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/logout", "https://10.0.0.7/logout"])
def test_a_server_that_hammer_may_not_post_to_is_wrong(examined: Examined, uri: str) -> None:
    assert "may not post" in fault_at(examined, uri, PRODUCTION)


def test_a_disabled_client_is_not_examined(app: Flask, run: Run) -> None:
    said(run("clients", "add", "Old", "--redirect-uri", CALLBACK, "--no-pkce"))
    assert "client Old" in said(run("doctor"))
    said(run("clients", "disable", "Old"))
    out = said(run("doctor"))
    assert "Old" not in out
    assert "apps:" not in out
