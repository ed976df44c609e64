"""Checks the apps that people sign in to, as `doctor` does: whether each app, its browser and Hammer can reach each other."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final

from sqlalchemy import func, or_, select

from config import Settings
from hammer import clock
from hammer.clients import registry
from hammer.db.database import db
from hammer.models import Client, TokenKey
from hammer.operations.faults import OF_CONNECTION, SECONDS
from hammer.operations.findings import ADVICE, FINE, WRONG, Finding
from hammer.outgoing import uris
from hammer.outgoing.guard import Guard, resolve
from hammer.outgoing.post import Fault, fault_of, get
from hammer.sessions import keys

Resolve = Callable[[str], Sequence[str]]

CHANGE: Final = "flask --app wsgi clients change"
DESCRIPTION: Final = "/.well-known/openid-configuration"
KEYS: Final = "/.well-known/jwks.json"

_UNREAD: Final = {
    Fault.RESOLVE: ("its host has no address", "Correct HAMMER_PUBLIC_URL, or let this machine look its host up."),
    Fault.TLS: OF_CONNECTION[Fault.TLS],
    Fault.ANSWER: ("what answers there does not speak HTTP as it should", "Let HAMMER_PUBLIC_URL lead to Hammer."),
}
_NO_ANSWER: Final = f"nothing answers there within {SECONDS} seconds"


def examine(settings: Settings, resolve: Resolve = resolve, *, client_id: str | None = None) -> Iterator[Finding]:
    """What is wrong with clients that are not disabled, or with the one that has this id.

    Reads what Hammer's own address says to apps, looks up the hosts of redirect URIs, and connects to the servers that get logout
    notices, to which it sends nothing.
    """
    clients = [client for client in registry.every() if client.disabled_at is None and client_id in (None, client.id)]
    apps = [client for client in clients if client.redirect_uris]
    yield from _lost_keys(settings)
    if apps:
        yield from _apps(settings, apps, resolve)
    guard = Guard(own_host="", resolve=resolve)
    unknown = {host for host in _hosts(apps) if not _has_address(guard, host)}
    for client in clients:
        yield from _sign_in(settings, client, unknown) if client.redirect_uris else _without_sign_in(client)
        yield from _back_channel(settings, client)


def _lost_keys(settings: Settings) -> Iterator[Finding]:
    in_use = select(func.count()).where(
        TokenKey.purpose == keys.Purpose.ID, or_(TokenKey.retired_at.is_(None), TokenKey.retired_at > clock.now())
    )
    lost = db.session.scalars(in_use).one() - len(_signing(settings))
    if lost > 0:
        how = f"{lost} of id tokens cannot be decrypted with this SECRET_KEY: a new one is used, which apps do not know yet"
        remedy = "Set SECRET_KEY to its former value. If it is gone: flask --app wsgi keys rotate --for id-tokens"
        yield Finding(ADVICE, "keys", how, remedy)


def _signing(settings: Settings) -> list[keys.Key]:
    """The keys of id tokens that sign now or will, the next one to retire first."""
    now = clock.now()
    return [key for key in keys.every(settings, keys.Purpose.ID) if key.ends > now]


def _apps(settings: Settings, apps: list[Client], resolve: Resolve) -> Iterator[Finding]:
    """Whether people can sign in to these apps, as the apps see it."""
    published = _published(settings, resolve)
    if isinstance(published, Finding):
        faults = [*_address(settings), published, *_keys(settings, apps, None)]
    else:
        faults = [*_address(settings), *_keys(settings, apps, published)]
    yield from faults
    if not faults:
        yield Finding(FINE, "apps", f"people can sign in to {len(apps)}: {settings.public_url}{DESCRIPTION}")


def _address(settings: Settings) -> Iterator[Finding]:
    if not settings.https and not settings.local:
        how = f"their issuer is {settings.public_url}, and most apps refuse one without https"
        yield Finding(WRONG, "apps", how, "Set HAMMER_PUBLIC_URL to the https:// address.")


def _published(settings: Settings, resolve: Resolve) -> set[str] | Finding:
    """The names of the keys that an app finds at Hammer's address, or why it finds none."""
    described = _read(settings, f"{settings.public_url}{DESCRIPTION}", resolve)
    if isinstance(described, Finding):
        return described
    if described.get("issuer") != settings.public_url:
        how = f"the server at {settings.public_url} says that it is another one, and apps refuse that"
        return Finding(WRONG, "apps", how, "Start it again with this HAMMER_PUBLIC_URL, or correct it here.")
    listed = _read(settings, f"{settings.public_url}{KEYS}", resolve)
    if isinstance(listed, Finding):
        return listed
    found = listed.get("keys")
    return {str(key.get("kid")) for key in found if isinstance(key, dict)} if isinstance(found, list) else set()


def _read(settings: Settings, url: str, resolve: Resolve) -> dict[str, Any] | Finding:
    """The JSON object at this address of ours, or why an app cannot read it."""
    outcome, body = get(url, seconds=SECONDS, resolve=resolve)
    if outcome.fault in (Fault.CONNECT, Fault.TIMEOUT):
        state = WRONG if settings.env == "production" else ADVICE
        return Finding(
            state, "apps", f"they cannot read {url}: {_NO_ANSWER}", "Start the server: people cannot sign in without it."
        )
    if outcome.fault:
        why, remedy = _UNREAD.get(outcome.fault, _UNREAD[Fault.ANSWER])
        return Finding(WRONG, "apps", f"they cannot read {url}: {why}", remedy)
    with suppress(ValueError, RecursionError):
        if outcome.status == 200 and isinstance(found := json.loads(body), dict):
            return found
    how = f"they cannot read {url}: the answer has status {outcome.status} and is not that of Hammer"
    return Finding(WRONG, "apps", how, "Let HAMMER_PUBLIC_URL lead to Hammer, with every path and without a redirect.")


def _keys(settings: Settings, apps: list[Client], published: set[str] | None) -> Iterator[Finding]:
    """Reports algorithms without a key, and keys that the server does not publish; `published` is None if that is not known."""
    signing = {str(key.algorithm): key.kid for key in reversed(_signing(settings))}
    for client in apps:
        algorithm = client.algorithm
        if algorithm not in signing:
            # The first sign-in makes a key, which an app that has cached the others lacks.
            how = f"no key signs with its algorithm {algorithm}; its first sign-in makes one"
            remedy = f"To make it now: {_change(client, f'--algorithm {algorithm}')}"
            yield _finding(ADVICE if published is None else WRONG, client, how, remedy)
        elif published is not None and signing[algorithm] not in published:
            how = f"the key of its algorithm {algorithm} is not at {settings.public_url}{KEYS}"
            remedy = "Start the server again, with the same SECRET_KEY and DATABASE_URL as this command."
            yield _finding(WRONG, client, how, remedy)


def _hosts(apps: Iterable[Client]) -> set[str]:
    """The hosts of redirect URIs with https. Those with http are of the person's own machine."""
    addresses = (uris.split(uri) for client in apps for uri in client.redirect_uris.split())
    return {address.hostname for address in addresses if address.scheme == "https" and address.hostname}


def _has_address(guard: Guard, host: str) -> bool:
    try:
        return bool(guard.addresses(host, SECONDS))
    except OSError:
        return False


def _sign_in(settings: Settings, client: Client, unknown: set[str]) -> Iterator[Finding]:
    for host in sorted(_hosts([client]) & unknown):
        how = f"this machine finds no address of {host}, where people are sent after signing in"
        yield _finding(ADVICE, client, how, "Correct the redirect URI, unless only people's browsers know the host.")
    of_this_machine = [uri for uri in client.redirect_uris.split() if uri.startswith("http:")]
    if settings.env == "production" and of_this_machine and not client.public:  # apps on people's own machines are public
        how = f"people are sent to their own machine after signing in: {' '.join(of_this_machine)}"
        yield _finding(ADVICE, client, how, f"Name the addresses of production alone: {_change(client, '--redirect-uri URL')}")
    if any(uris.split(uri).netloc == uris.split(settings.public_url).netloc for uri in client.redirect_uris.split()):
        how = "people are sent back to Hammer after signing in, and not to the app"
        yield _finding(ADVICE, client, how, f"Name the address of the app: {_change(client, '--redirect-uri URL')}")
    if not client.pkce_required:
        how = "it need not use PKCE, so a stolen code can be used in another browser"
        yield _finding(ADVICE, client, how, f"If the app can use PKCE: {_change(client, '--pkce')}")
    in_browsers = [uri for uri in client.redirect_uris.split() if uri.startswith("https:")]
    if client.public and in_browsers and not client.origins:
        how = "if it runs in browsers, they let it read no answer of Hammer: it has no origin"
        origin = f"https://{uris.split(in_browsers[0]).netloc}"
        yield _finding(ADVICE, client, how, f"Unless it is an app on phones: {_change(client, f'--origin {origin}')}")


def _without_sign_in(client: Client) -> Iterator[Finding]:
    if client.public or client.post_logout_redirect_uris or client.backchannel_logout_uri:
        how = "people cannot sign in to it: it has no redirect URI"
        yield _finding(ADVICE, client, how, f"Name one ({_change(client, '--redirect-uri URL')}), or remove the client.")


def _back_channel(settings: Settings, client: Client) -> Iterator[Finding]:
    uri = client.backchannel_logout_uri
    fault = fault_of(Guard.of(settings), uri, seconds=SECONDS) if uri else None
    if fault:
        why, remedy = OF_CONNECTION[fault]
        yield _finding(WRONG, client, f"it gets no logout notices at {uri}: {why}", remedy)


def _finding(state: str, client: Client, how: str, remedy: str) -> Finding:
    return Finding(state, f"client {client.name}", how, remedy)


def _change(client: Client, options: str) -> str:
    return f"{CHANGE} {options} -- {shlex.quote(client.name)}"
