"""`webhooks`: the servers of apps that are told what happens."""

from datetime import UTC, datetime
from typing import Any, Final

import click

from hammer.cli.clients import ONCE, find_client
from hammer.cli.commands import Group, commands
from hammer.cli.output import minute, print_table
from hammer.clients import registry
from hammer.events import TYPES
from hammer.models import Client, Scope, WebhookEndpoint
from hammer.operations import faults
from hammer.operations.doctor_of_webhooks import COMMAND, argument
from hammer.web.settings import settings
from hammer.webhooks import deliveries, endpoints, signing, status
from hammer.webhooks.endpoints import Manager
from hammer.webhooks.messages import message_id

LONGEST_SHOWN: Final = 60
"""Characters of a URL in the list."""
_CHOICE: Final = click.Choice([str(type_) for type_ in endpoints.TYPES])
OF_TYPES: Final = click.option("--type", "types", type=_CHOICE, multiple=True, help="A type of event; may be repeated.")


class Moment(click.ParamType[datetime]):
    """A moment in ISO 8601; in UTC if it names no zone."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            read = datetime.fromisoformat(value)
            return read.astimezone(UTC) if read.tzinfo else read.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no moment like 2026-11-30T12:00 (UTC) or 2026-11-30T12:00+03:00.", param, ctx)


@commands.group(cls=Group)
def webhooks() -> None:
    """See and change the servers that are told what happens. ENDPOINT is an id, or a URL that only one has."""


@webhooks.command()
@click.argument("url")
@OF_TYPES
@click.option("--client", metavar="CLIENT", help="The client that it belongs to, which then sees it in the API.")
def add(url: str, types: tuple[str, ...], client: str | None) -> None:
    """Post to URL from now on what happens: all types of events, or those that are given. Shows its secret."""
    owner = find_client(client) if client is not None else None
    endpoint = endpoints.add(settings(), url, types, by=Manager(client_id=owner.id if owner else None))
    _print_secret(endpoint.id, signing.secret(settings(), endpoint.id, endpoint.generation))
    if owner and Scope.WEBHOOKS_MANAGE not in registry.allowed(owner):
        click.echo(f"Warning: {owner.name} has not the scope {Scope.WEBHOOKS_MANAGE}, so it cannot see the endpoint.", err=True)
    if owner and owner.disabled_at:
        click.echo(f"Warning: {owner.name} is disabled: nothing is posted to it.", err=True)
    click.echo(f"To try it: {COMMAND} test {argument(endpoint)}", err=True)


@webhooks.command("list")
def list_endpoints() -> None:
    """List the endpoints. `show` shows the whole URL of one."""
    clients = _clients()
    rows = [
        (e.id, _short(e.url), e.types or "all", _name(clients, e.client_id), _state(clients, e), str(e.failures))
        for e in endpoints.every()
    ]
    if not rows:
        click.echo(f"There are no endpoints. To add one: {COMMAND} add https://app.example.com/webhooks", err=True)
        return
    print_table(("ID", "URL", "TYPES", "CLIENT", "STATE", "FAILURES"), rows)


@webhooks.command()
@click.argument("endpoint")
@click.option("--attempts", type=click.IntRange(1, 100), default=10, show_default=True, help="Posts shown.")
def show(endpoint: str, attempts: int) -> None:
    """Show ENDPOINT and the newest posts to it. Its secret cannot be shown again."""
    found, clients = _find(endpoint), _clients()
    older_until = signing.older_until(found)
    facts = {
        "id": found.id,
        "url": found.url,
        "types": found.types or "all",
        "client": _name(clients, found.client_id) or "–",
        "state": _state(clients, found),
        "failures": str(found.failures),
        "waiting": str(status.waiting_for(found.id)),
        "secret": f"changed {minute(found.rotated_at)}" if found.rotated_at else "never changed",
        "added": minute(found.created_at),
    }
    if older_until:
        facts["secret"] += f", the one before signs too until {minute(older_until)}"
    print_table((), ((f"{fact}:", value) for fact, value in facts.items()))
    click.echo()
    rows = [
        (
            f"{post.at:%Y-%m-%d %H:%M:%S}",
            TYPES[event.kind],
            message_id(event),
            _result(post.status, post.fault),
            f"{post.took_ms} ms",
        )
        for post, event in endpoints.attempts(found.id, limit=attempts).items
    ]
    if rows:
        print_table(("POSTED (UTC)", "EVENT", "MESSAGE", "ANSWER", "TOOK"), rows)
    else:
        click.echo(f"Nothing was posted to it in the last {settings().webhook_log_kept.days} days.")


@webhooks.command()
@click.argument("endpoint")
@click.option("--url", help="Where is posted to from now on.")
@OF_TYPES
@click.option("--all-types", is_flag=True, help="Let it get all types of events.")
def change(endpoint: str, url: str | None, types: tuple[str, ...], all_types: bool) -> None:
    """Change the URL of ENDPOINT, or the types of events that it gets. Types that are given replace those before."""
    if types and all_types:
        raise click.UsageError("Give types or --all-types, not both.")
    given: dict[str, Any] = {"url": url} if url is not None else {}
    if types or all_types:
        given["types"] = types
    if not given:
        raise click.UsageError(f"Say what to change. To see the options: {COMMAND} change --help")
    changed = endpoints.change(settings(), _find(endpoint).id, **given)
    click.echo(f"{changed.id} is changed.")


@webhooks.command()
@click.argument("endpoint")
@click.pass_context
def test(ctx: click.Context, endpoint: str) -> None:
    """Post a `ping` to ENDPOINT at once, and show what it answered. Exits with 1 if it did not accept it."""
    outcome = deliveries.ping_now(settings(), _find(endpoint).id)
    if outcome.accepted:
        click.echo(f"It accepted the ping: status {outcome.status}.")
        return
    why, remedy = faults.of_post(outcome)
    click.echo(f"It did not accept the ping ({_result(outcome.status, outcome.fault)}): {why}.\n{remedy}")
    ctx.exit(1)


@webhooks.command()
@click.argument("endpoint")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def rotate(endpoint: str, yes: bool) -> None:
    """Give ENDPOINT a new secret, and show it. The one before signs too for 24 hours more; the one before that does not.

    Asks for confirmation if the one before that is still in its 24 hours.
    """
    found = _find(endpoint)
    if (older_until := signing.older_until(found)) and not yes:
        click.echo(f"Two secrets sign now, the older one until {minute(older_until)} (UTC).", err=True)
        click.confirm("End the older one at once?", abort=True, err=True)
    _print_secret(found.id, endpoints.rotate(settings(), found.id, generation=found.generation))
    click.echo(f"The secret before signs too until {minute(signing.older_until(_find(found.id)))} (UTC).", err=True)


@webhooks.command()
@click.argument("endpoint")
def disable(endpoint: str) -> None:
    """Post nothing to ENDPOINT from now on. What happens from now on is not posted.

    What waits is kept for HAMMER_WEBHOOK_LOG_KEPT_DAYS days.
    """
    found = endpoints.disable(_find(endpoint).id)
    click.echo(f"{found.id} is disabled.")


@webhooks.command()
@click.argument("endpoint")
def enable(endpoint: str) -> None:
    """Post to ENDPOINT again: what waits, and what happens from now on."""
    found = _find(endpoint)
    since = found.disabled_at
    enabled = endpoints.enable(found.id)
    click.echo(f"{enabled.id} is enabled, and gets what waits for it: {status.waiting_for(enabled.id)}.")
    if since:
        again = f"{COMMAND} replay --since {since:%Y-%m-%dT%H:%M:%SZ} {argument(enabled)}"
        click.echo(f"To post what happened while it was disabled: {again}", err=True)


@webhooks.command()
@click.argument("endpoint")
@click.option("--message", metavar="MSG", help="One event, by the id of its message.")
@click.option("--since", type=Moment(), help="All events from this moment on; in UTC if it names no zone.")
@click.option("--until", type=Moment(), help="With --since: to this moment, which is not included; to now without it.")
def replay(endpoint: str, message: str | None, since: datetime | None, until: datetime | None) -> None:
    """Post events to ENDPOINT once more, with the same ids: one of them, or those of a time, of the types that it gets."""
    if (message is None) == (since is None) or (until and not since):
        raise click.UsageError("Give either --message, or --since and perhaps --until.")
    found = _find(endpoint)
    count = endpoints.replay_span(found.id, since, until) if since else endpoints.replay(found.id, message or "")
    click.echo(f"{count} {'event waits' if count == 1 else 'events wait'} to be posted once more.")


@webhooks.command()
@click.argument("endpoint")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(endpoint: str, yes: bool) -> None:
    """Remove ENDPOINT for ever, with what waits for it and the log of its posts."""
    found = _find(endpoint)
    id_, url = found.id, found.url  # after the removal they cannot be read any more
    if not yes:
        click.confirm(f"Remove {id_} ({_short(url)}) for ever?", abort=True)
    endpoints.remove(id_)
    click.echo(f"{id_} is removed.")


def _find(named: str) -> WebhookEndpoint:
    found = [endpoint for endpoint in endpoints.every() if named in (endpoint.id, endpoint.url)]
    if not found:
        raise click.ClickException(f"There is no endpoint {named!r}. To see them: {COMMAND} list")
    if len(found) > 1:
        raise click.ClickException(f"{len(found)} endpoints have this URL. Name one by its id. To see them: {COMMAND} list")
    return found[0]


def _print_secret(endpoint_id: str, secret: str) -> None:
    print_table((), (("id:", endpoint_id), ("secret:", secret)))
    click.echo(ONCE, err=True)


def _clients() -> dict[str, Client]:
    return {client.id: client for client in registry.every()}


def _name(clients: dict[str, Client], client_id: str | None) -> str:
    return clients[client_id].name if client_id in clients else ""


def _state(clients: dict[str, Client], endpoint: WebhookEndpoint) -> str:
    if endpoint.disabled_at:
        return f"disabled since {minute(endpoint.disabled_at)}: {endpoint.disabled_for}"
    if endpoint.client_id in clients and clients[endpoint.client_id].disabled_at:
        return "its client is disabled"
    if not endpoint.failing_since:
        return "enabled"
    paused_until = endpoints.paused_until(endpoint)
    paused = f", paused until {paused_until:%Y-%m-%d %H:%M:%S}" if paused_until else ""
    return f"failing since {minute(endpoint.failing_since)}{paused}"


def _short(url: str) -> str:
    return url if len(url) <= LONGEST_SHOWN else f"{url[: LONGEST_SHOWN - 1]}…"


def _result(answered: int | None, fault: str | None) -> str:
    return fault or f"status {answered}"
