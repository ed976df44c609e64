"""What `doctor` finds out about apps that people sign in to."""

import json
import shlex
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
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
from tests.outgoing.servers import OK, Server, certificate, fixed, serving

CALLBACK = "https://app.example.com/callback"
OF_DEVELOPER = "http://localhost:3000/callback"
PRODUCTION = {"env": "production", "public_url": "https://login.example.com"}

Examined = Callable[..., list[Finding]]


def resolved(host: str) -> list[str]:
    """The resolver of these tests: all hosts but two have an address."""
    if host in ("one.inner", "login.example.com"):
        raise socket.gaierror
    return ["127.0.0.1"]


def answered(said: dict[str, Any]) -> bytes:
    """The whole answer with this JSON."""
    body = json.dumps(said).encode()
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Provider:
    """A server that answers as Hammer does, apart from paths whose answers a test has changed."""

    server: Server
    app: Flask | None = None
    changed: dict[str, bytes] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def asked(self, path: str) -> int:
        """How many times it was asked for this path."""
        return sum(request.startswith(f"GET {path} ".encode()) for request in self.server.requests)

    def answer(self, connection: socket.socket) -> None:
        path = self.server.requests[-1].split()[1].decode()
        if path in self.changed:
            connection.sendall(self.changed[path])
        elif self.app is not None:
            given = self.app.test_client().get(path)
            connection.sendall(f"HTTP/1.1 {given.status}\r\nContent-Length: {len(given.data)}\r\n\r\n".encode() + given.data)


@pytest.fixture
def provider() -> Iterator[Provider]:
    made: list[Provider] = []
    with serving(lambda connection, _: made[0].answer(connection)) as server:
        made.append(Provider(server))
        yield made[0]


@pytest.fixture
def all_found(app_with: Made, settings: Settings, provider: Provider) -> Examined:
    """What is found about the only client, with these fields; under other settings if any are given."""

    def examine(
        others: dict[str, Any] | None = None, *, name: str = "Grafana", has_key: bool = True, **fields: Any
    ) -> list[Finding]:
        changed = replace(settings, **{"public_url": provider.address} | (others or {}))
        provider.app = app_with(changed)
        with provider.app.app_context():
            for before in registry.every():
                registry.remove(before.id)
            registry.add(name, **fields)
            if has_key:
                IdTokenKeys(changed).ensure(SigningAlgorithm(fields.get("algorithm", "RS256")))
            found = list(doctor_of_clients.examine(changed, resolved))
            db.session.remove()
        return found

    return examine


@pytest.fixture
def examined(all_found: Examined) -> Examined:
    """Like `all_found`, without what is fine, and without what is found about Hammer itself."""
    return lambda *given, **fields: [
        finding for finding in all_found(*given, **fields) if finding.state != FINE and finding.part != "apps"
    ]


def test_an_app_that_is_set_up_well_is_fine(all_found: Examined, provider: Provider) -> None:
    assert all_found() == []
    [found] = all_found(redirect_uris=[CALLBACK])
    assert found == Finding(FINE, "apps", f"people can sign in to 1: {provider.address}/.well-known/openid-configuration")


def test_the_command_asks_its_own_server(app_with: Made, settings: Settings, provider: Provider) -> None:
    provider.app = app_with(replace(settings, public_url=provider.address))
    runner = provider.app.test_cli_runner()
    assert "apps:" not in said(runner.invoke(args=["doctor"]))
    said(runner.invoke(args=["clients", "add", "Grafana", "--redirect-uri", "https://localhost/callback"]))

    out = said(runner.invoke(args=["doctor"]))

    assert f"ok      apps: people can sign in to 1: {provider.address}/.well-known/openid-configuration\n" in out
    assert "Grafana" not in out


# Hammer as apps see it


def of_hammer(found: list[Finding]) -> Finding:
    """The only finding that is not fine."""
    [about_hammer] = found
    assert about_hammer.part == "apps"
    assert about_hammer.remedy
    return about_hammer


@pytest.mark.parametrize(("env", "state"), [("development", ADVICE), ("production", WRONG)])
def test_a_server_that_does_not_answer_is_wrong_in_production(all_found: Examined, env: str, state: str) -> None:
    others = {"env": env, "public_url": f"http://127.0.0.1:{CLOSED_PORT}"}
    found = of_hammer(all_found(others, redirect_uris=[CALLBACK]))
    assert found.state == state
    assert found.remedy.startswith("Start the server:")


def test_a_host_without_an_address_is_wrong(all_found: Examined) -> None:
    found = of_hammer(all_found(PRODUCTION, redirect_uris=[CALLBACK]))
    assert (found.state, found.how.rpartition(": ")[2]) == (WRONG, "its host has no address")


def test_a_certificate_that_is_not_trusted_is_wrong(all_found: Examined, tmp_path: Path) -> None:
    of_server, _ = certificate(tmp_path, "localhost")
    with serving(fixed(OK), tls=of_server) as server:
        found = of_hammer(all_found({"public_url": f"https://localhost:{server.port}"}, redirect_uris=[CALLBACK]))
    assert found.state == WRONG
    assert "no certificate" in found.how
    assert server.requests == []


def test_a_server_with_another_issuer_is_wrong(all_found: Examined, provider: Provider) -> None:
    provider.changed[doctor_of_clients.DESCRIPTION] = answered({"issuer": "http://127.0.0.1:1"})
    found = of_hammer(all_found(redirect_uris=[CALLBACK]))
    assert (found.state, "HAMMER_PUBLIC_URL" in found.remedy) == (WRONG, True)


@pytest.mark.parametrize("path", [doctor_of_clients.DESCRIPTION, doctor_of_clients.KEYS])
@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000,
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_another_server_at_the_address_is_wrong(all_found: Examined, provider: Provider, path: str, answer: bytes) -> None:
    provider.changed[path] = answer
    found = of_hammer(all_found(redirect_uris=[CALLBACK]))
    assert (found.state, path in found.how) == (WRONG, True)
    assert provider.asked(path) == 1
    assert provider.asked("/elsewhere") == 0


def test_a_key_that_the_server_does_not_publish_is_wrong(all_found: Examined, provider: Provider) -> None:
    lists: list[dict[str, Any]] = [{"keys": []}, {"keys": [1, {"alg": "RS256", "kid": "another"}]}, {"keys": 1}, {}]
    for listed in lists:
        provider.changed[doctor_of_clients.KEYS] = answered(listed)
        [found] = all_found(redirect_uris=[CALLBACK])
        assert (found.state, found.part, "SECRET_KEY" in found.remedy) == (WRONG, "client Grafana", True)


def test_an_algorithm_without_a_key_is_wrong_where_the_server_runs(all_found: Examined) -> None:
    [found] = all_found(redirect_uris=[CALLBACK], has_key=False)
    assert (found.state, found.part) == (WRONG, "client Grafana")
    assert "no key signs" in found.how


def test_a_key_of_another_secret_is_said_until_it_is_rotated_away(app_with: Made, settings: Settings, provider: Provider) -> None:
    app = app_with(changed := replace(settings, public_url=provider.address))
    with app.app_context():
        IdTokenKeys(replace(changed, secret_key="another secret, of 32 bytes and more")).ensure(SigningAlgorithm.RS256)
        [found] = doctor_of_clients.examine(changed, resolved)
        assert (found.state, found.part) == (ADVICE, "keys")
        IdTokenKeys(changed).ensure(SigningAlgorithm.RS256)
        assert [*doctor_of_clients.examine(changed, resolved)] == [found]
        db.session.remove()
    said(app.test_cli_runner().invoke(args=shlex.split(found.remedy.partition("flask --app wsgi ")[2])))
    with app.app_context():
        assert [*doctor_of_clients.examine(changed, resolved)] == []
        db.session.remove()


def test_a_public_address_without_https_is_wrong(all_found: Examined) -> None:
    found = all_found({"public_url": "http://login.example.com"}, redirect_uris=[CALLBACK])
    assert [each.state for each in found if "without https" in each.how and "HAMMER_PUBLIC_URL" in each.remedy] == [WRONG]
    assert all_found({"public_url": "http://login.example.com"}, name="Backend") == []


# What is registered of an app


def test_a_host_of_an_app_without_an_address_is_advice(examined: Examined) -> None:
    [found] = examined(redirect_uris=[CALLBACK, "https://one.inner/a", "https://one.inner/b", OF_DEVELOPER])
    assert (found.state, found.part) == (ADVICE, "client Grafana")
    assert "no address of one.inner," in found.how


def test_an_app_in_browsers_without_an_origin_is_advice(examined: Examined) -> None:
    [found] = examined(public=True, redirect_uris=["https://app.example.com:8443/callback"])
    assert found.state == ADVICE
    assert "--origin https://app.example.com:8443 -- Grafana" in found.remedy
    assert examined(public=True, redirect_uris=[CALLBACK], origins=["https://app.example.com"]) == []
    assert examined(public=True, redirect_uris=["com.example.app:/callback", OF_DEVELOPER]) == []
    assert examined(redirect_uris=[CALLBACK]) == []


def test_an_address_of_a_developer_is_advised_against_in_production(examined: Examined) -> None:
    both = [CALLBACK, OF_DEVELOPER]
    [found] = examined(PRODUCTION, redirect_uris=both)
    assert (found.state, found.part) == (ADVICE, "client Grafana")
    assert found.how.endswith(f": {OF_DEVELOPER}")
    assert "--redirect-uri URL -- Grafana" in found.remedy
    assert examined(PRODUCTION, redirect_uris=[OF_DEVELOPER], public=True) == []
    assert examined(redirect_uris=both) == []


def test_an_address_of_hammer_itself_is_advised_against(examined: Examined) -> None:
    here = {"public_url": "https://login.example.org"}
    [found] = examined(PRODUCTION | here, redirect_uris=["https://login.example.org/callback"])
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
        registry.add("Grafana", redirect_uris=["https://localhost/callback"], algorithm=algorithm)
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
    said(run("clients", "add", "Old", "--redirect-uri", "https://localhost/callback", "--no-pkce"))
    assert "client Old" in said(run("doctor"))
    said(run("clients", "disable", "Old"))
    out = said(run("doctor"))
    assert "Old" not in out
    assert "apps:" not in out
