"""Commands about clients: `clients …`."""

import re

import pytest
from flask import Flask
from sqlalchemy import update

from config import Settings
from hammer import clock
from hammer.clients import registry, secrets
from hammer.db.database import db, transaction
from hammer.login import by_code
from hammer.login.verifications import Asker
from hammer.models import Client, Scope
from tests.actions import ANNA, confirm, right
from tests.cli.commands import Run, refused, said

ACTIONS = ("add", "change", "disable", "list", "remove", "rotate-secret", "show")


def secret_in(out: str) -> tuple[str, str]:
    """The id and the secret that a command printed."""
    found = re.fullmatch(r"client_id: +(\S+)\nclient_secret: +(\S+)\n", out)
    assert found is not None, out
    return found[1], found[2]


def is_right(app: Flask, client_id: str, secret: str) -> bool:
    with app.app_context():
        return secrets.authenticate(app.config["SETTINGS"], client_id, secret, address="192.0.2.1") is not None


def stored(app: Flask, name: str) -> Client:
    with app.app_context():
        return registry.find(name)


@pytest.fixture
def shop(run: Run) -> str:
    """The id of a client with the name Shop."""
    return secret_in(said(run("clients", "add", "Shop", "--scope", "users:read")))[0]


def test_add_shows_the_id_and_the_secret_alone_and_says_the_rest_on_stderr(run: Run, app: Flask) -> None:
    result = run("clients", "add", "Shop", "--scope", "users:read", "--scope", "codes:send")

    assert is_right(app, *secret_in(said(result)))
    assert "shown this once" in result.stderr
    assert stored(app, "Shop").scopes == "codes:send users:read"
    assert stored(app, "Shop").sends_per_hour == registry.SENDS_PER_HOUR


@pytest.mark.parametrize("name", ["The shop of Anna & sons", "Магазин", "-", "--scope"])
def test_any_line_is_a_name(run: Run, app: Flask, name: str) -> None:
    said(run("clients", "add", "--", name))
    assert name in said(run("clients", "list"))
    assert name in said(run("clients", "show", "--", name))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([""], "A name is one line of 1 to 80 characters."),
        (["a\nb"], "A name is one line of 1 to 80 characters."),
        (["a" * 81], "A name is one line of 1 to 80 characters."),
        (["Shop"], "There is already a client with this name."),
        (["x", "--origin", "shop.example"], "An origin is an address like https://app.example.com."),
        (["x", "--origin", "https://shop.example/path"], "An origin is an address like https://app.example.com."),
        (["x", "--origin", ""], "An origin is an address like https://app.example.com."),
    ],
)
def test_add_says_what_is_wrong(run: Run, shop: str, words: list[str], sentence: str) -> None:
    assert sentence in refused(run("clients", "add", *words))
    assert said(run("clients", "list")).count(shop) == 1


@pytest.mark.parametrize(
    "words", [["x", "--scope", "users:reed"], ["x", "--sends-per-hour", "many"], ["x", "--sends-per-hour", "-1"], [], ["x", "y"]]
)
def test_what_cannot_be_meant_is_refused_with_a_hint_at_the_help(run: Run, words: list[str]) -> None:
    result = run("clients", "add", *words)
    assert result.exit_code == 2
    assert "--help" in result.stderr
    assert "There are no clients." in run("clients", "list").stderr


def test_a_misspelt_scope_is_answered_with_all_scopes(run: Run) -> None:
    assert all(scope in run("clients", "add", "x", "--scope", "users:reed").stderr for scope in Scope)


def test_an_origin_may_end_with_a_slash(run: Run, app: Flask) -> None:
    said(run("clients", "add", "Shop", "--origin", "http://x/", "--origin", "HTTPS://Shop.Example:8443", "--origin", "http://x"))
    assert stored(app, "Shop").origins == "http://x https://shop.example:8443"


def test_list_says_how_to_add_the_first_client(run: Run) -> None:
    result = run("clients", "list")
    assert said(result) == ""
    assert "clients add NAME --scope" in result.stderr


def test_list_and_show_say_which_clients_are_disabled(run: Run, shop: str) -> None:
    said(run("clients", "add", "Other"))
    said(run("clients", "disable", "Shop"))

    heads, other, disabled = said(run("clients", "list")).splitlines()
    assert heads.split() == ["NAME", "ID", "SCOPES", "TEXTS/HOUR", "SIGN-IN", "ADDED", "(UTC)"]
    assert (other.split()[0], disabled.split()[:3]) == ("Other", ["Shop", shop, "users:read"])
    assert "disabled since" in disabled
    assert "disabled" not in other
    assert "disabled since" in said(run("clients", "show", shop))


def test_show_says_what_a_client_may_do_and_never_its_secret(run: Run, app: Flask, settings: Settings) -> None:
    client_id, secret = secret_in(said(run("clients", "add", "Shop", "--origin", "https://shop.example", "--sends-per-hour", "7")))

    out = said(run("clients", "show", "Shop"))

    assert re.findall(r"^([a-z ]+): +(.+)$", out, re.MULTILINE)[:5] == [
        ("name", "Shop"),
        ("id", client_id),
        ("scopes", "–"),
        ("origins", "https://shop.example"),
        ("texts an hour", "7"),
    ]
    assert secret not in out


@pytest.mark.parametrize("action", [a for a in ACTIONS if a not in ("add", "list")])
def test_an_unknown_client_is_said_with_the_way_to_see_all(run: Run, action: str) -> None:
    more = {"change": ["--no-scopes"], "remove": ["--yes"]}.get(action, [])
    error = refused(run("clients", action, "Shp", *more))
    assert "There is no client 'Shp'." in error
    assert "clients list" in error


def test_change_replaces_what_is_given_and_nothing_else(run: Run, app: Flask, shop: str) -> None:
    given = ("--name", "Market", "--scope", "codes:send", "--origin", "https://market.example", "--sends-per-hour", "0")

    assert said(run("clients", "change", "Shop", *given)) == "Market is changed.\n"
    said(run("clients", "change", "Market", "--no-scopes"))

    market = stored(app, shop)
    assert (market.name, market.scopes, market.origins, market.sends_per_hour) == ("Market", "", "https://market.example", 0)
    said(run("clients", "change", "Market", "--no-origins"))
    assert stored(app, shop).origins == ""


def test_change_refuses_what_contradicts_itself(run: Run, app: Flask, shop: str) -> None:
    for words in (["--scope", "codes:send", "--no-scopes"], ["--origin", "https://x.example", "--no-origins"], []):
        assert run("clients", "change", "Shop", *words).exit_code == 2
    assert stored(app, shop).scopes == "users:read"


def test_rotate_secret_shows_the_new_one_and_keeps_the_previous_one_valid(run: Run, app: Flask) -> None:
    first = secret_in(said(run("clients", "add", "Shop")))
    second, third = (secret_in(said(run("clients", "rotate-secret", "Shop", *more))) for more in ((), ("--yes",)))
    assert [is_right(app, *shown) for shown in (first, second, third)] == [False, True, True]


def test_rotate_secret_asks_before_it_ends_a_secret_that_is_valid(run: Run, app: Flask) -> None:
    first = secret_in(said(run("clients", "add", "Shop")))
    once = run("clients", "rotate-secret", "Shop")
    assert re.search(r"The secret before is valid until \d{4}-\d\d-\d\d \d\d:\d\d \(UTC\)\.", once.stderr)
    assert "from before that" not in once.stderr

    for typed in ("n\n", ""):
        asked = run("clients", "rotate-secret", "Shop", typed=typed)
        assert (asked.exit_code, asked.stdout) == (1, "")
        assert "Two secrets of Shop are valid now" in asked.stderr
    assert is_right(app, *first)

    again = run("clients", "rotate-secret", "Shop", typed="y\n")
    assert is_right(app, *secret_in(said(again)))
    assert "Those from before that are not valid any more." in again.stderr
    assert not is_right(app, *first)


def test_rotate_secret_does_not_ask_after_the_24_hours(run: Run, app: Flask) -> None:
    said(run("clients", "add", "Shop"))
    said(run("clients", "rotate-secret", "Shop"))
    with app.app_context(), transaction() as tx:
        tx.execute(update(Client).values(rotated_at=clock.now() - secrets.OVERLAP))
    assert "Two secrets" not in run("clients", "rotate-secret", "Shop").stderr


def test_a_client_that_may_send_codes_but_no_texts_is_warned_of(run: Run) -> None:
    limits = ("--sends-per-hour", "0")
    warning = "Warning: it has the scope codes:send, but may ask for 0 texts an hour.\n"
    assert run("clients", "add", "Shop", "--scope", "codes:send", *limits).stderr.endswith(warning)
    assert run("clients", "change", "Shop", "--name", "Market").stderr == warning
    assert run("clients", "change", "Market", "--sends-per-hour", "1").stderr == ""
    assert "Warning" not in run("clients", "add", "Reader", "--scope", "users:read", *limits).stderr


def test_disable_refuses_the_secret_until_it_is_undone(run: Run, app: Flask) -> None:
    shown = secret_in(said(run("clients", "add", "Shop")))
    assert "is disabled, and everyone" in said(run("clients", "disable", "Shop"))
    assert not is_right(app, *shown)

    assert said(run("clients", "disable", "Shop", "--undo")) == "Shop may get tokens again.\n"

    assert is_right(app, *shown)


def test_remove_asks_first(run: Run, app: Flask, shop: str) -> None:
    asked = run("clients", "remove", "Shop", typed="n\n")
    assert asked.exit_code == 1
    assert "Remove Shop for ever?" in asked.output
    assert stored(app, shop).name == "Shop"

    assert "Shop is removed." in said(run("clients", "remove", "Shop", typed="y\n"))
    assert refused(run("clients", "remove", "Shop", "--yes"))


def test_users_show_says_which_client_a_device_signed_in_through(run: Run, app: Flask, settings: Settings, shop: str) -> None:
    with app.app_context():
        client = registry.find(shop)
        asked = by_code.send_code(settings, ANNA, Asker("192.0.2.7", "en", client=client, device="Firefox")).verification
        confirm(settings, asked, right(settings, asked))
        db.session.remove()

    heads, device = said(run("users", "show", ANNA)).splitlines()[-2:]

    assert heads.split()[:2] == ["DEVICE", "CLIENT"]
    assert device.split()[:2] == ["Firefox", "Shop"]


def test_every_action_has_help(run: Run) -> None:
    assert all(action in said(run("clients", "--help")) for action in ACTIONS)
    for action in ACTIONS:
        assert said(run("clients", action, "--help")).startswith("Usage: ")
