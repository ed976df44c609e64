"""`clients`: apps and backends that may call the API for themselves."""

import click

from hammer.cli.commands import Group, commands
from hammer.cli.output import minute, print_table
from hammer.clients import registry, secrets
from hammer.models import Client, Scope
from hammer.refusals import NotFound
from hammer.web.settings import settings

_scopes = click.option(
    "--scope", "scopes", type=click.Choice([scope.value for scope in Scope]), multiple=True, help="What it may do; may be repeated."
)
_origins = click.option("--origin", "origins", metavar="URL", multiple=True, help="Whose browsers may call it; may be repeated.")
_sends = click.option(
    "--sends-per-hour",
    type=click.IntRange(0, registry.MOST_SENDS_PER_HOUR),
    help="Texts an hour that it may ask for.",
)


@commands.group(cls=Group)
def clients() -> None:
    """See and change the apps that call the API. CLIENT is an id or a name."""


@clients.command()
@click.argument("name")
@_scopes
@_origins
@_sends
def add(name: str, scopes: tuple[str, ...], origins: tuple[str, ...], sends_per_hour: int | None) -> None:
    """Register a client called NAME, and show its secret."""
    limit = registry.SENDS_PER_HOUR if sends_per_hour is None else sends_per_hour
    client = registry.add(name, scopes, origins=origins, sends_per_hour=limit)
    _print_secret(client, secrets.secret(settings(), client))
    _warn(client)


@clients.command("list")
def list_clients() -> None:
    """List the clients."""
    rows = [(c.name, c.id, c.scopes, str(c.sends_per_hour), minute(c.created_at), _status(c)) for c in registry.every()]
    if not rows:
        click.echo("There are no clients. To register one: flask --app wsgi clients add NAME --scope users:read", err=True)
        return
    print_table(("NAME", "ID", "SCOPES", "TEXTS/HOUR", "ADDED (UTC)", ""), rows)


@clients.command()
@click.argument("client")
def show(client: str) -> None:
    """Show what CLIENT may do. Its secret cannot be shown again."""
    found = _find(client)
    facts = {
        "name": found.name,
        "id": found.id,
        "scopes": found.scopes,
        "origins": found.origins,
        "texts an hour": str(found.sends_per_hour),
        "added": minute(found.created_at),
        "secret changed": minute(found.rotated_at),
        "status": _status(found),
    }
    print_table((), ((f"{fact}:", value or "–") for fact, value in facts.items()))


@clients.command()
@click.argument("client")
@click.option("--name", help="What people read in the list of their devices.")
@_scopes
@click.option("--no-scopes", is_flag=True, help="Take all scopes away.")
@_origins
@click.option("--no-origins", is_flag=True, help="Take all origins away.")
@_sends
def change(
    client: str,
    name: str | None,
    scopes: tuple[str, ...],
    no_scopes: bool,
    origins: tuple[str, ...],
    no_origins: bool,
    sends_per_hour: int | None,
) -> None:
    """Change what CLIENT may do, from its next request on. Scopes and origins that are given replace those before."""
    if (scopes and no_scopes) or (origins and no_origins):
        raise click.UsageError("Give new scopes or --no-scopes, new origins or --no-origins, not both.")
    given: dict[str, object] = {"name": name, "sends_per_hour": sends_per_hour}
    given |= {"scopes": scopes if scopes or no_scopes else None, "origins": origins if origins or no_origins else None}
    given = {field: value for field, value in given.items() if value is not None}
    if not given:
        raise click.UsageError("Say what to change: --name, --scope, --no-scopes, --origin, --no-origins or --sends-per-hour.")
    found = _find(client)
    registry.change(found.id, **given)
    changed = registry.find(found.id)
    click.echo(f"{changed.name} is changed.")
    _warn(changed)


@clients.command("rotate-secret")
@click.argument("client")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def rotate_secret(client: str, yes: bool) -> None:
    """Give CLIENT a new secret, and show it. The one before is valid for 24 hours more; the one before that is not.

    Asks for confirmation if the one before that is still in its 24 hours.
    """
    found = _find(client)
    if (older_until := secrets.older_until(found)) and not yes:
        click.echo(f"Two secrets of {found.name} are valid now, the older one until {minute(older_until)} (UTC).", err=True)
        click.confirm("End the older one at once?", abort=True, err=True)
    _print_secret(found, secrets.rotate(settings(), found.id))
    rotated = _find(found.id)
    click.echo(f"The secret before is valid until {minute(secrets.older_until(rotated))} (UTC).", err=True)
    if rotated.generation > 1:
        click.echo("Those from before that are not valid any more.", err=True)


@clients.command()
@click.argument("client")
@click.option("--undo", is_flag=True, help="Let it get tokens again.")
def disable(client: str, undo: bool) -> None:
    """Refuse CLIENT's secret and tokens at once, and sign out everyone who signed in through it."""
    found = _find(client)
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
    found = _find(client)
    name = found.name  # after the removal it cannot be read any more
    if not yes:
        click.confirm(f"Remove {name} for ever?", abort=True)
    registry.remove(found.id)
    click.echo(f"{name} is removed.")


def _find(client: str) -> Client:
    try:
        return registry.find(client)
    except NotFound as no:
        raise click.ClickException(f"There is no client {client!r}. To see them: flask --app wsgi clients list") from no


def _print_secret(client: Client, secret: str) -> None:
    print_table((), (("client_id:", client.id), ("client_secret:", secret)))
    click.echo("The secret is shown this once. Keep it where no browser and no telephone can read it.", err=True)


def _warn(client: Client) -> None:
    """Says that a client with the scope for codes may ask for none, which is hardly meant."""
    if Scope.CODES_SEND in registry.allowed(client) and not client.sends_per_hour:
        click.echo(f"Warning: it has the scope {Scope.CODES_SEND}, but may ask for 0 texts an hour.", err=True)


def _status(client: Client) -> str:
    return f"disabled since {minute(client.disabled_at)}" if client.disabled_at else ""
