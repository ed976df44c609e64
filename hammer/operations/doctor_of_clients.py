"""Checks the apps that people sign in to, as `doctor` does: whether each app, its browser and Hammer can reach each other."""

import shlex
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from config import Settings
from hammer.clients import registry
from hammer.models import Client
from hammer.operations.findings import ADVICE, FINE, WRONG, Finding
from hammer.outgoing.guard import Guard
from hammer.outgoing.post import Fault, fault_of
from hammer.sessions import keys

CHANGE: Final = "flask --app wsgi clients change"
SECONDS: Final = 3
"""How long one server of an app is waited for."""

_START: Final = "Start the app, or open its port to this machine."
_FAULTS: Final = {
    Fault.REFUSED: ("Hammer may not post to it", "Use https:// and a public host, or name the host in HAMMER_WEBHOOK_HOSTS."),
    Fault.RESOLVE: ("its host has no address", "Correct the host, or let this machine look it up."),
    Fault.TLS: (
        "it has no certificate that this machine trusts",
        "Give it one for its host name, of an authority that is known here.",
    ),
    Fault.CONNECT: ("it accepts no connection", _START),
    Fault.ANSWER: ("it accepts no connection", _START),
    Fault.TIMEOUT: (f"it accepts no connection within {SECONDS} seconds", _START),
}


def examine(settings: Settings) -> Iterator[Finding]:
    """What is wrong with clients that are not disabled. Connects to the servers that are to be told about ended sessions, and sends
    them nothing."""
    clients = [client for client in registry.every() if client.disabled_at is None]
    apps = [client for client in clients if client.redirect_uris]
    if apps:
        yield Finding(FINE, "apps", f"people can sign in to {len(apps)}: {settings.public_url}/.well-known/openid-configuration")
        yield from _address(settings)
        yield from _keys(settings, apps)
    for client in clients:
        yield from _sign_in(settings, client) if client.redirect_uris else _without_sign_in(client)
        yield from _back_channel(settings, client)


def _address(settings: Settings) -> Iterator[Finding]:
    if not settings.https and not settings.local:
        how = f"their issuer is {settings.public_url}, and most apps refuse one without https"
        yield Finding(WRONG, "apps", how, "Set HAMMER_PUBLIC_URL to the https:// address.")


def _keys(settings: Settings, apps: list[Client]) -> Iterator[Finding]:
    """Reports algorithms without a key. The first sign-in makes a key, which an app that has cached the others lacks."""
    signing = {key.algorithm for key in keys.every(settings, keys.Purpose.ID)}  # the newest of each signs
    for client in apps:
        if client.algorithm not in signing:
            how = f"no key signs with its algorithm {client.algorithm}; its first sign-in makes one"
            yield _finding(ADVICE, client, how, f"To make it now: {_change(client, f'--algorithm {client.algorithm}')}")


def _sign_in(settings: Settings, client: Client) -> Iterator[Finding]:
    of_this_machine = [uri for uri in client.redirect_uris.split() if uri.startswith("http:")]
    if settings.env == "production" and of_this_machine and not client.public:  # apps on people's own machines are public
        how = f"people are sent to their own machine after signing in: {' '.join(of_this_machine)}"
        yield _finding(ADVICE, client, how, f"Name the addresses of production alone: {_change(client, '--redirect-uri URL')}")
    if any(urlsplit(uri).netloc == urlsplit(settings.public_url).netloc for uri in client.redirect_uris.split()):
        how = "people are sent back to Hammer after signing in, and not to the app"
        yield _finding(ADVICE, client, how, f"Name the address of the app: {_change(client, '--redirect-uri URL')}")
    if not client.pkce_required:
        how = "it need not use PKCE, so a stolen code can be used in another browser"
        yield _finding(ADVICE, client, how, f"If the app can use PKCE: {_change(client, '--pkce')}")


def _without_sign_in(client: Client) -> Iterator[Finding]:
    if client.public or client.post_logout_redirect_uris or client.backchannel_logout_uri:
        how = "people cannot sign in to it: it has no redirect URI"
        yield _finding(ADVICE, client, how, f"Name one ({_change(client, '--redirect-uri URL')}), or remove the client.")


def _back_channel(settings: Settings, client: Client) -> Iterator[Finding]:
    uri = client.backchannel_logout_uri
    fault = fault_of(Guard.of(settings), uri, seconds=SECONDS) if uri else None
    if fault:
        why, remedy = _FAULTS[fault]
        yield _finding(WRONG, client, f"it is not told about ended sessions at {uri}: {why}", remedy)


def _finding(state: str, client: Client, how: str, remedy: str) -> Finding:
    return Finding(state, f"client {client.name}", how, remedy)


def _change(client: Client, options: str) -> str:
    return f"{CHANGE} {options} -- {shlex.quote(client.name)}"
