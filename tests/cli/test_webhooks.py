"""Commands about webhook endpoints: `webhooks …`."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update
from standardwebhooks import Webhook
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.clients import registry
from hammer.db.database import db, transaction
from hammer.events import Kind, Type
from hammer.models import Event, WebhookDelivery, WebhookEndpoint
from hammer.webhooks import deliveries, endpoints, feed, signing
from hammer.webhooks.endpoints import Manager
from tests.actions import STRANGER_ID
from tests.cli.commands import CLOSED_PORT, Run, refused, said
from tests.outgoing.servers import OK, Server, fixed, serving

ACTIONS = ("add", "change", "disable", "enable", "list", "remove", "replay", "rotate", "show", "test")
URL = f"http://127.0.0.1:{CLOSED_PORT}/hook?token=sesame"


def secret_in(out: str) -> tuple[str, str]:
    """The id and the secret that a command printed."""
    found = re.fullmatch(r"id: +(\S+)\nsecret: +(whsec_\S+)\n", out)
    assert found is not None, out
    return found[1], found[2]


def stored(app: Flask, endpoint_id: str) -> WebhookEndpoint:
    with app.app_context():
        return endpoints.find(endpoint_id)


def happen(app: Flask, count: int = 1, kind: Kind = Kind.USER_RENAMED) -> None:
    """Adds events and publishes them."""
    with app.app_context():
        with transaction() as tx:
            for _ in range(count):
                events.note(tx, kind, STRANGER_ID)
        feed.publish()


def waiting(app: Flask) -> int:
    with app.app_context():
        return len(db.session.scalars(select(WebhookDelivery.id).where(WebhookDelivery.ended_at.is_(None))).all())


def deliver(app: Flask) -> None:
    with app.app_context():
        while deliveries.deliver_next(app.config["SETTINGS"]):
            pass


@pytest.fixture
def hook(run: Run) -> str:
    """The id of an endpoint at which no server listens."""
    return secret_in(said(run("webhooks", "add", URL)))[0]


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that accepts what is posted."""
    with serving(fixed(OK)) as listening:
        yield listening


def test_add_shows_the_id_and_the_secret_alone_and_says_the_rest_on_stderr(run: Run, app: Flask, settings: Settings) -> None:
    result = run("webhooks", "add", URL, "--type", "user.deleted", "--type", "invite.activated")

    endpoint_id, secret = secret_in(said(result))
    assert secret == signing.secret(settings, endpoint_id, 0)
    assert "shown this once" in result.stderr
    assert "webhooks test " in result.stderr
    endpoint = stored(app, endpoint_id)
    assert (endpoint.url, endpoint.types, endpoint.client_id) == (URL, "user.deleted invite.activated", None)


def test_an_endpoint_of_a_client_is_seen_by_that_client(run: Run, app: Flask) -> None:
    said(run("clients", "add", "Shop", "--scope", "webhooks:manage"))
    said(run("clients", "add", "Other", "--scope", "webhooks:manage"))
    result = run("webhooks", "add", URL, "--client", "Shop")
    endpoint_id, _ = secret_in(said(result))
    assert "Warning" not in result.stderr
    with app.app_context():
        shop, other = (Manager(client_id=registry.find(name).id) for name in ("Shop", "Other"))
        assert [endpoint.id for endpoint in endpoints.every(shop)] == [endpoint_id]
        assert endpoints.every(other) == []
    assert "Shop" in said(run("webhooks", "list"))
    assert re.search(r"^client: +Shop$", said(run("webhooks", "show", "--", endpoint_id)), re.MULTILINE)


def test_add_warns_of_a_client_that_cannot_see_its_endpoint_or_gets_nothing(run: Run) -> None:
    said(run("clients", "add", "Shop"))
    said(run("clients", "disable", "Shop"))
    result = run("webhooks", "add", URL, "--client", "Shop")
    said(result)
    assert "Warning: Shop has not the scope webhooks:manage" in result.stderr
    assert "Warning: Shop is disabled" in result.stderr
    assert "its client is disabled" in said(run("webhooks", "list"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["https://10.0.0.7/hook"], "Hammer may not post to this one."),
        (["http://8.8.8.8/hook"], "Type an address with https:// and a public host"),
        (["app.example.com"], "Type the whole address of a server"),
        ([URL, "--client", "Shp"], "There is no client 'Shp'."),
    ],
)
def test_add_says_what_is_wrong(run: Run, words: list[str], sentence: str) -> None:
    assert sentence in refused(run("webhooks", "add", *words))
    assert "There are no endpoints." in run("webhooks", "list").stderr


def test_add_refuses_more_endpoints_than_there_may_be(run: Run) -> None:
    for _ in range(endpoints.MOST):
        said(run("webhooks", "add", URL))
    assert "20 endpoints" in refused(run("webhooks", "add", URL))


def test_a_misspelt_type_is_answered_with_all_types(run: Run) -> None:
    result = run("webhooks", "add", URL, "--type", "user.delete")
    assert result.exit_code == 2
    assert all(f"'{type_}'" in result.stderr for type_ in endpoints.TYPES)
    assert "ping" not in result.stderr


def test_list_shows_long_urls_in_part_and_show_shows_the_whole(run: Run) -> None:
    url = f"https://127.0.0.1/{'a' * 200}"
    endpoint_id, secret = secret_in(said(run("webhooks", "add", url)))

    heads, row = said(run("webhooks", "list")).splitlines()

    assert heads.split() == ["ID", "URL", "TYPES", "CLIENT", "STATE", "FAILURES"]
    assert row.split() == [endpoint_id, f"{url[:59]}…", "all", "enabled", "0"]
    shown = said(run("webhooks", "show", "--", endpoint_id))
    assert re.search(rf"^url: +{url}$", shown, re.MULTILINE)
    assert secret not in shown


def test_show_lists_the_newest_posts(run: Run, app: Flask, server: Server) -> None:
    endpoint_id, _ = secret_in(said(run("webhooks", "add", f"http://127.0.0.1:{server.port}/hook")))
    assert "Nothing was posted to it in the last 30 days." in said(run("webhooks", "show", "--", endpoint_id))
    happen(app, 2)
    assert re.search(r"^waiting: +2$", said(run("webhooks", "show", "--", endpoint_id)), re.MULTILINE)
    deliver(app)
    said(run("webhooks", "change", "--url", URL, "--", endpoint_id))
    run("webhooks", "test", "--", endpoint_id)

    posts = said(run("webhooks", "show", "--", endpoint_id)).partition("\n\n")[2].splitlines()

    assert posts[0].split() == ["POSTED", "(UTC)", "EVENT", "MESSAGE", "ANSWER", "TOOK"]
    assert [line.split()[2] for line in posts[1:]] == ["ping", "user.renamed", "user.renamed"]
    assert [line.split()[4] for line in posts[1:]] == ["connect", "status", "status"]
    assert len(said(run("webhooks", "show", "--attempts", "1", "--", endpoint_id)).partition("\n\n")[2].splitlines()) == 2


@pytest.mark.parametrize("action", [action for action in ACTIONS if action not in ("add", "list")])
def test_an_unknown_endpoint_is_said_with_the_way_to_see_all(run: Run, action: str) -> None:
    more = {"change": ["--all-types"], "remove": ["--yes"], "replay": ["--since", "2026-11-30"]}.get(action, [])
    error = refused(run("webhooks", action, "nowhere", *more))
    assert "There is no endpoint 'nowhere'." in error
    assert "webhooks list" in error


def test_an_endpoint_is_named_by_its_url_if_no_other_has_it(run: Run, hook: str) -> None:
    assert hook in said(run("webhooks", "show", URL))
    said(run("webhooks", "add", URL))
    assert "2 endpoints have this URL." in refused(run("webhooks", "show", URL))
    assert hook in said(run("webhooks", "show", "--", hook))


def test_change_replaces_what_is_given_and_nothing_else(run: Run, app: Flask, hook: str) -> None:
    said(run("webhooks", "change", "--type", "user.created", "--", hook))
    said(run("webhooks", "change", "--url", "https://127.0.0.1/other", "--", hook))
    assert (stored(app, hook).url, stored(app, hook).types) == ("https://127.0.0.1/other", "user.created")
    said(run("webhooks", "change", "--all-types", "--", hook))
    assert stored(app, hook).types == ""


def test_change_refuses_what_contradicts_itself(run: Run, hook: str) -> None:
    for words in (["--type", "ping", "--all-types"], []):
        assert run("webhooks", "change", *words, "--", hook).exit_code == 2


def test_a_ping_is_posted_at_once_with_a_right_signature(run: Run, server: Server) -> None:
    endpoint_id, secret = secret_in(said(run("webhooks", "add", f"http://127.0.0.1:{server.port}/hook")))
    said(run("webhooks", "disable", "--", endpoint_id))  # also then

    assert said(run("webhooks", "test", "--", endpoint_id)) == "It accepted the ping: status 200.\n"

    [request] = server.requests
    head, body = request.split(b"\r\n\r\n", 1)
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert Webhook(secret).verify(body, headers)["type"] == "ping"


@pytest.mark.parametrize(
    ("answer", "sentences"),
    [
        ("HTTP/1.1 302 Found\r\nLocation: /elsewhere", ("(status 302)", "redirects are not followed")),
        ("HTTP/1.1 401 Unauthorized", ("(status 401)", "Give the app the secret")),
        ("HTTP/1.1 403 Forbidden", ("(status 403)", "Look at the log of the app.")),
        ("HTTP/1.1 404 Not Found", ("(status 404)", "Correct the path of the URL.")),
        ("HTTP/1.1 405 Method Not Allowed", ("(status 405)", "takes no POST")),
        ("HTTP/1.1 410 Gone", ("(status 410)", "disables it at the next event")),
        ("HTTP/1.1 422 Unprocessable", ("(status 422)", "does not accept the post")),
        ("HTTP/1.1 429 Slow down", ("(status 429)", "Exempt Hammer from the limit.")),
        ("HTTP/1.1 500 Oops", ("(status 500)", "the app failed")),
        ("SSH-2.0-OpenSSH_9", ("(answer)", "its answer is not HTTP")),
    ],
)
def test_a_ping_that_is_not_accepted_is_said_with_what_to_do(run: Run, answer: str, sentences: tuple[str, ...]) -> None:
    with serving(fixed(f"{answer}\r\nContent-Length: 0\r\n\r\n".encode())) as refusing:
        endpoint_id, _ = secret_in(said(run("webhooks", "add", f"http://127.0.0.1:{refusing.port}/hook")))
        result = run("webhooks", "test", "--", endpoint_id)
    assert result.exit_code == 1
    for sentence in ("It did not accept the ping", *sentences):
        assert sentence in result.stdout


def test_a_ping_that_reaches_no_server_is_said_with_what_to_do(run: Run, app: Flask, hook: str) -> None:
    result = run("webhooks", "test", "--", hook)
    assert (result.exit_code, "(connect)" in result.stdout, "Start the app" in result.stdout) == (1, True, True)
    with app.app_context(), transaction() as tx:
        tx.execute(update(WebhookEndpoint).values(url="https://10.0.0.7/hook"))
    result = run("webhooks", "test", "--", hook)
    assert (result.exit_code, "HAMMER_WEBHOOK_HOSTS" in result.stdout) == (1, True)


@pytest.mark.requirement("HOOK-02")
def test_rotate_shows_a_new_secret_and_asks_before_it_ends_one_that_signs(
    run: Run, app: Flask, settings: Settings, hook: str
) -> None:
    once = run("webhooks", "rotate", "--", hook)
    assert secret_in(said(once)) == (hook, signing.secret(settings, hook, 1))
    assert re.search(r"The secret before signs too until \d{4}-\d\d-\d\d \d\d:\d\d \(UTC\)\.", once.stderr)
    assert "the one before signs too until" in said(run("webhooks", "show", "--", hook))

    asked = run("webhooks", "rotate", "--", hook, typed="n\n")
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert stored(app, hook).generation == 1

    assert secret_in(said(run("webhooks", "rotate", "--yes", "--", hook)))[1] == signing.secret(settings, hook, 2)


def test_rotate_does_not_ask_after_the_24_hours(run: Run, hook: str, clock: Traveller) -> None:
    said(run("webhooks", "rotate", "--", hook))
    clock.shift(signing.OVERLAP)
    assert "Two secrets" not in run("webhooks", "rotate", "--", hook).stderr


def test_what_waits_while_an_endpoint_is_disabled_goes_out_and_the_rest_is_replayed_as_it_says(
    run: Run, app: Flask, server: Server, clock: Traveller
) -> None:
    """What happened just before, and was published after it was disabled, waits too."""
    url = f"http://127.0.0.1:{server.port}/hook"
    endpoint_id, _ = secret_in(said(run("webhooks", "add", url)))
    happen(app)
    with app.app_context(), transaction() as tx:
        events.note(tx, Kind.USER_RENAMED, STRANGER_ID)
    clock.shift(5)
    assert said(run("webhooks", "disable", url)) == f"{endpoint_id} is disabled.\n"
    happen(app)
    assert f"disabled since {datetime.now(UTC):%Y-%m-%d} " in said(run("webhooks", "list"))
    assert "Enable it first." in refused(run("webhooks", "replay", "--since", "2026-01-01", "--", endpoint_id))

    clock.shift(1)
    enabled = run("webhooks", "enable", url)

    assert said(enabled) == f"{endpoint_id} is enabled, and gets what waits for it: 2.\n"
    deliver(app)
    assert len(server.requests) == 2
    said(run(*enabled.stderr.partition("flask --app wsgi ")[2].split()))
    deliver(app)
    assert len({re.findall(rb"webhook-id: (\S+)", request)[0] for request in server.requests}) == 4  # 3, and that it was disabled


def test_enabling_what_is_enabled_says_nothing_of_a_replay(run: Run, hook: str) -> None:
    assert run("webhooks", "enable", "--", hook).stderr == ""


def test_replay_posts_one_message_or_those_of_a_time_once_more(run: Run, app: Flask, clock: Traveller) -> None:
    clock.move_to(datetime(2026, 11, 30, 12, tzinfo=UTC))
    hook, _ = secret_in(said(run("webhooks", "add", URL)))
    said(run("webhooks", "disable", "--", hook))
    for _ in range(3):
        happen(app)
        clock.shift(timedelta(hours=1))
    said(run("webhooks", "enable", "--", hook))
    assert waiting(app) == 0
    with app.app_context():
        message = next(item.id for item in feed.read().items if item.type == Type.USER_RENAMED)

    assert said(run("webhooks", "replay", "--message", message, "--", hook)) == "1 event waits to be posted once more.\n"
    spans = {
        ("2026-11-30T13:00",): "2 events wait",
        ("2026-11-30T13:00", "2026-11-30 14:00"): "1 event waits",
        ("2026-11-30T15:00+03:00", "2026-11-30T13:00Z"): "2 events wait",  # one is that it was disabled
        ("2026-11-30T14:30Z",): "0 events wait",
    }
    for span, sentence in spans.items():
        until = ("--until", span[1]) if len(span) > 1 else ()
        assert sentence in said(run("webhooks", "replay", "--since", span[0], *until, "--", hook)), span
    assert waiting(app) == 4


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--message", "msg_1_1", "--since", "2026-11-30"],
        ["--until", "2026-11-30"],
        ["--since", "yesterday"],
        ["--since", "0001-01-01T00:00+10:00"],
    ],
)
def test_replay_refuses_what_cannot_be_meant(run: Run, hook: str, words: list[str]) -> None:
    assert run("webhooks", "replay", *words, "--", hook).exit_code == 2


@pytest.mark.parametrize("words", [["--since", "2026-11-30", "--until", "2026-11-30"], ["--since", "9000-01-01"]])
def test_replay_refuses_a_time_that_ends_before_it_begins(run: Run, hook: str, words: list[str]) -> None:
    assert endpoints.NO_SPAN in refused(run("webhooks", "replay", *words, "--", hook))


def test_replay_says_that_there_is_no_such_message(run: Run, hook: str) -> None:
    assert "There is no such event" in refused(run("webhooks", "replay", "--message", "msg_7_7", "--", hook))


def test_remove_asks_first(run: Run, app: Flask, hook: str) -> None:
    asked = run("webhooks", "remove", "--", hook, typed="n\n")
    assert asked.exit_code == 1
    assert f"Remove {hook} ({URL}) for ever?" in asked.output
    assert stored(app, hook).id == hook
    assert said(run("webhooks", "remove", "--yes", "--", hook)) == f"{hook} is removed.\n"
    assert "There are no endpoints." in run("webhooks", "list").stderr


@pytest.mark.requirement("LOG-01")
def test_every_change_leaves_an_event(run: Run, app: Flask, hook: str) -> None:
    for words in (["change", "--all-types"], ["rotate"], ["disable"], ["enable"], ["remove", "--yes"]):
        said(run("webhooks", *words, "--", hook))
    with app.app_context():
        kinds = db.session.scalars(select(Event.kind).where(Event.endpoint_id == hook).order_by(Event.id)).all()
    parts = ("added", "changed", "secret-rotated", "disabled", "enabled", "removed")
    assert kinds == [f"endpoint-{part}" for part in parts]


@pytest.mark.requirement("LOG-02")
def test_no_command_writes_a_url_or_a_secret_into_the_log(run: Run, hook: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("DEBUG"):
        run("webhooks", "test", "--", hook)
        said(run("webhooks", "rotate", "--", hook))
        said(run("webhooks", "remove", "--yes", "--", hook))
    assert "sesame" not in caplog.text
    assert "whsec_" not in caplog.text


def test_every_action_has_help(run: Run) -> None:
    assert all(action in said(run("webhooks", "--help")) for action in ACTIONS)
    for action in ACTIONS:
        assert said(run("webhooks", action, "--help")).startswith("Usage: ")
