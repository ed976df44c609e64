"""`clients`: apps and backends that may call the API for themselves, and apps that people sign in to."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import click

from hammer.cli.commands import Group, commands
from hammer.cli.output import minute, print_table
from hammer.clients import registry, secrets
from hammer.clients.registry import Doubt
from hammer.models import Client, Scope, SigningAlgorithm
from hammer.refusals import NotFound
from hammer.web.settings import settings

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

OPTIONS: Final = (
    click.option(
        "--scope",
        "scopes",
        type=click.Choice([scope.value for scope in Scope]),
        multiple=True,
        help="What it may do; may be repeated.",
    ),
    click.option("--origin", "origins", metavar="URL", multiple=True, help="Whose browsers may call it; may be repeated."),
    click.option(
        "--sends-per-hour", type=click.IntRange(0, registry.MOST_SENDS_PER_HOUR), help="Texts an hour that it may ask for."
    ),
    click.option(
        "--redirect-uri",
        "redirect_uris",
        metavar="URL",
        multiple=True,
        help="Where people arrive after they signed in to it, exactly as it says in its requests; may be repeated.",
    ),
    click.option(
        "--post-logout-redirect-uri",
        "post_logout_redirect_uris",
        metavar="URL",
        multiple=True,
        help="Where people may arrive after they signed out; may be repeated.",
    ),
    click.option("--backchannel-logout-uri", metavar="URL", help="Where its server hears that a session has ended."),
    click.option(
        "--algorithm",
        type=click.Choice([each.value for each in SigningAlgorithm]),
        help="What signs its id tokens; RS256 by default.",
    ),
    click.option(
        "--first-party/--third-party", default=None, help="Whether it is yours, so people are not asked what it may know."
    ),
    click.option(
        "--pkce/--no-pkce", "pkce_required", default=None, help="Whether it has to use PKCE. Without it only for old apps."
    ),
)
NOTHING: Final = {
    "scopes": (),
    "origins": (),
    "redirect_uris": (),
    "post_logout_redirect_uris": (),
    "backchannel_logout_uri": None,
}
"""What `change` can take away, by options like `--no-scopes`."""

WARNINGS: Final = {
    Doubt.NO_TEXTS: f"it has the scope {Scope.CODES_SEND}, but may ask for 0 texts an hour.",
    Doubt.NO_SIGN_IN: "people cannot sign in to it before it has a redirect URI (--redirect-uri).",
    Doubt.NO_PKCE: "without PKCE, a stolen code can be used in another browser. Use --pkce if the app can.",
}
ONCE: Final = "The secret is shown this once. Keep it where no browser and no telephone can read it."


def _with(options: tuple[Callable[[Decorated], Decorated], ...]) -> Callable[[Decorated], Decorated]:
    def decorate(command: Decorated) -> Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _option(field: str) -> str:
    return f"--no-{field.replace('_', '-')}"


@commands.group(cls=Group)
def clients() -> None:
    """See and change the apps that you registered. CLIENT is an id or a name."""


@clients.command()
@click.argument("name")
@_with(OPTIONS)
@click.option(
    "--public", is_flag=True, help="It can keep no secret: an app in a browser or on a telephone. This cannot be changed."
)
def add(name: str, public: bool, **given: Any) -> None:
    """Register a client called NAME, and show its secret."""
    registry.check_backchannel(settings(), given["backchannel_logout_uri"])
    client = registry.add(name, public=public, **{field: value for field, value in given.items() if value is not None})
    secret = [] if public else [("client_secret:", secrets.secret(settings(), client))]
    print_table((), [("client_id:", client.id), *secret, *_of_sign_in(client)])
    if public:
        click.echo("It has no secret: it is public.", err=True)
    else:
        click.echo(ONCE, err=True)
    registry.make_key(settings(), client)
    _warn(client)


@clients.command("list")
def list_clients() -> None:
    """List the clients."""
    rows = [
        (c.name, c.id, c.scopes, str(c.sends_per_hour), _sign_in(c), minute(c.created_at), _status(c)) for c in registry.every()
    ]
    if not rows:
        click.echo("There are no clients. To register one: flask --app wsgi clients add NAME --scope users:read", err=True)
        return
    print_table(("NAME", "ID", "SCOPES", "TEXTS/HOUR", "SIGN-IN", "ADDED (UTC)", ""), rows)


@clients.command()
@click.argument("client")
def show(client: str) -> None:
    """Show what CLIENT may do. Its secret cannot be shown again."""
    found = find_client(client)
    facts = {
        "name": found.name,
        "id": found.id,
        "scopes": found.scopes,
        "origins": found.origins,
        "texts an hour": str(found.sends_per_hour),
        "secret": "none: it is public"
        if found.public
        else f"changed {minute(found.rotated_at)}"
        if found.rotated_at
        else "never changed",
        "added": minute(found.created_at),
        "status": _status(found),
    }
    if found.redirect_uris or found.post_logout_redirect_uris or found.backchannel_logout_uri:
        facts |= {
            "post-logout addresses": found.post_logout_redirect_uris,
            "back-channel logout": found.backchannel_logout_uri or "",
            "algorithm": found.algorithm,
            "people are asked": "no, it is yours" if found.first_party else "yes",
            "pkce": "required" if found.pkce_required else "off",
        }
    print_table((), ((f"{fact}:", value or "–") for fact, value in facts.items()))
    if found.redirect_uris:
        click.echo("\nFor the settings of the app:")
        print_table((), [("client_id:", found.id), *_of_sign_in(found)])


@clients.command()
@click.argument("client")
@click.option("--name", help="What people read in the list of their devices, and when they sign in to it.")
@_with(OPTIONS)
@_with(tuple(click.option(_option(field), is_flag=True, help="Take it away, or all of them.") for field in NOTHING))
def change(client: str, **given: Any) -> None:
    """Change what CLIENT may do, from its next request on. Scopes and addresses that are given replace those before."""
    changes = {
        field: value for field, value in given.items() if field not in NOTHING and not field.startswith("no_") and value is not None
    }
    for field, nothing in NOTHING.items():
        is_given = given[field] != nothing
        if is_given and given[f"no_{field}"]:
            raise click.UsageError(f"Give a new value or {_option(field)}, not both.")
        if is_given or given[f"no_{field}"]:
            changes[field] = given[field]
    if not changes:
        raise click.UsageError("Say what to change. To see the options: flask --app wsgi clients change --help")
    found = find_client(client)
    was_first_party = found.first_party
    registry.check_backchannel(settings(), given["backchannel_logout_uri"])
    registry.change(found.id, **changes)
    changed = registry.find(found.id)
    click.echo(f"{changed.name} is changed.")
    if was_first_party and not changed.first_party:
        click.echo("Everyone is signed out of it: they were not asked what it may know.")
    registry.make_key(settings(), changed)
    _warn(changed)


@clients.command("rotate-secret")
@click.argument("client")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def rotate_secret(client: str, yes: bool) -> None:
    """Give CLIENT a new secret, and show it. The one before is valid for 24 hours more; the one before that is not.

    Asks for confirmation if the one before that is still in its 24 hours.
    """
    found = find_client(client)
    if (older_until := secrets.older_until(found)) and not yes:
        click.echo(f"Two secrets of {found.name} are valid now, the older one until {minute(older_until)} (UTC).", err=True)
        click.confirm("End the older one at once?", abort=True, err=True)
    _print_secret(found, secrets.rotate(settings(), found.id, generation=found.generation))
    rotated = find_client(found.id)
    click.echo(f"The secret before is valid until {minute(secrets.older_until(rotated))} (UTC).", err=True)
    if rotated.generation > 1:
        click.echo("Those from before that are not valid any more.", err=True)


@clients.command()
@click.argument("client")
@click.option("--undo", is_flag=True, help="Let it get tokens again.")
def disable(client: str, undo: bool) -> None:
    """Refuse CLIENT's secret and tokens at once, and sign out everyone who signed in through it."""
    found = find_client(client)
    if undo:
        registry.enable(found.id)
        click.echo(f"{found.name} may get tokens again.")
    else:
        registry.disable(found.id)
        click.echo(f"{found.name} is disabled, and everyone who signed in through it is signed out.")


@clients.command()
@click.argument("client")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(client: str, yes: bool) -> None:
    """Remove CLIENT for ever, and sign out everyone who signed in through it."""
    found = find_client(client)
    name = found.name  # after the removal it cannot be read any more
    if not yes:
        click.confirm(f"Remove {name} for ever?", abort=True)
    registry.remove(found.id)
    click.echo(f"{name} is removed.")


def find_client(client: str) -> Client:
    try:
        return registry.find(client)
    except NotFound as no:
        raise click.ClickException(f"There is no client {client!r}. To see them: flask --app wsgi clients list") from no


def _print_secret(client: Client, secret: str) -> None:
    print_table((), (("client_id:", client.id), ("client_secret:", secret)))
    click.echo(ONCE, err=True)


def _of_sign_in(client: Client) -> Iterator[tuple[str, str]]:
    """What the operator copies into an app that people sign in to, besides its id and secret."""
    redirect_uris = client.redirect_uris.split()
    if redirect_uris:
        yield "issuer:", settings().public_url
        yield "discovery:", f"{settings().public_url}/.well-known/openid-configuration"
        yield from (("redirect_uri:", uri) for uri in redirect_uris)


def _warn(client: Client) -> None:
    """Says what is hardly meant."""
    for doubt in registry.doubts(client):
        click.echo(f"Warning: {WARNINGS[doubt]}", err=True)


def _sign_in(client: Client) -> str:
    """How people sign in to it, in short; empty if they do not."""
    if not client.redirect_uris:
        return "public" if client.public else ""
    marks = {"public": client.public, "first party": client.first_party, "no PKCE": not client.pkce_required}
    return ", ".join([client.algorithm, *(mark for mark, holds in marks.items() if holds)])


def _status(client: Client) -> str:
    return f"disabled since {minute(client.disabled_at)}" if client.disabled_at else ""
