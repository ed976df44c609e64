"""Commands about clients that people sign in to."""

import re
from dataclasses import replace

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select

from config import Settings
from hammer.clients import registry, secrets
from hammer.db.database import db
from hammer.models import Client, TokenKey
from hammer.outgoing import uris
from tests.cli.commands import Made, Run, refused, said

CALLBACK = "https://app.example.com/callback"
OTHER = "http://localhost:3000/callback"
OWN = "com.example.app:/callback"
LOGOUT = "https://127.0.0.1:8443/logout"


def stored(app: Flask, name: str) -> Client:
    with app.app_context():
        return registry.find(name)


def lines(out: str) -> list[tuple[str, str]]:
    """The lines of a table of names and values."""
    return re.findall(r"^([a-z_ -]+): +(.+)$", out, re.MULTILINE)


def algorithms(app: Flask) -> list[str]:
    """The algorithms that keys of id tokens were made for."""
    with app.app_context():
        return list(db.session.scalars(select(TokenKey.algorithm).where(TokenKey.purpose == "id").order_by(TokenKey.algorithm)))


@pytest.fixture
def grafana(run: Run, app: Flask) -> Client:
    said(run("clients", "add", "Grafana", "--redirect-uri", CALLBACK, "--redirect-uri", OTHER))
    return stored(app, "Grafana")


def test_add_shows_all_that_is_copied_into_the_app(run: Run, app: Flask) -> None:
    result = run("clients", "add", "Grafana", "--redirect-uri", CALLBACK, "--redirect-uri", OTHER)

    client = stored(app, "Grafana")
    assert lines(said(result)) == [
        ("client_id", client.id),
        ("client_secret", secrets.secret(app.config["SETTINGS"], client)),
        ("issuer", "http://localhost:5000"),
        ("discovery", "http://localhost:5000/.well-known/openid-configuration"),
        ("redirect_uri", CALLBACK),
        ("redirect_uri", OTHER),
    ]
    assert "shown this once" in result.stderr
    assert "Warning" not in result.stderr


def test_a_public_client_is_shown_no_secret_and_gets_none(run: Run, app: Flask) -> None:
    result = run("clients", "add", "Phone", "--public", "--redirect-uri", OWN)
    assert "secret" not in said(result)
    assert result.stderr == "It has no secret: it is public.\n"

    assert refused(run("clients", "rotate-secret", "Phone")) == f"Error: {secrets.NO_SECRET}\n"

    assert stored(app, "Phone").generation == 0
    assert ("secret", "none: it is public") in lines(said(run("clients", "show", "Phone")))


def test_show_says_everything_and_what_is_copied_into_the_app(run: Run, grafana: Client) -> None:
    said(
        run("clients", "change", "Grafana", "--post-logout-redirect-uri", CALLBACK, "--backchannel-logout-uri", LOGOUT, "--no-pkce")
    )

    facts, copied = said(run("clients", "show", "Grafana")).split("\n\n")

    assert lines(facts)[-5:] == [
        ("post-logout addresses", CALLBACK),
        ("back-channel logout", LOGOUT),
        ("algorithm", "RS256"),
        ("people are asked", "yes"),
        ("pkce", "off"),
    ]
    assert lines(copied) == [
        ("client_id", grafana.id),
        ("issuer", "http://localhost:5000"),
        ("discovery", "http://localhost:5000/.well-known/openid-configuration"),
        ("redirect_uri", CALLBACK),
        ("redirect_uri", OTHER),
    ]


def test_show_says_nothing_about_signing_in_to_a_client_for_the_api(run: Run) -> None:
    said(run("clients", "add", "Shop"))
    out = said(run("clients", "show", "Shop"))
    assert "pkce" not in out
    assert "issuer" not in out


def test_list_says_how_people_sign_in(run: Run, grafana: Client) -> None:
    said(run("clients", "add", "Backend", "--scope", "users:read"))
    said(run("clients", "add", "Old", "--redirect-uri", CALLBACK, "--no-pkce", "--algorithm", "ES256", "--first-party"))
    said(run("clients", "add", "Phone", "--redirect-uri", OWN, "--public", "--algorithm", "EdDSA"))

    rows = [re.split(r" {2,}", row) for row in said(run("clients", "list")).splitlines()]

    assert {row[0]: row[-2] for row in rows[1:]} == {
        "Backend": "100", "Grafana": "RS256", "Old": "ES256, first party, no PKCE", "Phone": "EdDSA, public",
    }  # fmt: skip


def test_change_replaces_what_is_given_and_takes_away_what_is_named(run: Run, app: Flask, grafana: Client) -> None:
    given = ("--redirect-uri", LOGOUT, "--post-logout-redirect-uri", CALLBACK, "--backchannel-logout-uri", LOGOUT)
    said(run("clients", "change", "Grafana", *given, "--algorithm", "EdDSA", "--first-party", "--no-pkce"))
    changed = stored(app, grafana.id)
    assert (changed.redirect_uris, changed.post_logout_redirect_uris, changed.backchannel_logout_uri) == (LOGOUT, CALLBACK, LOGOUT)
    assert (changed.algorithm, changed.first_party, changed.pkce_required) == ("EdDSA", True, False)

    said(run("clients", "change", "Grafana", "--no-post-logout-redirect-uris", "--no-backchannel-logout-uri", "--pkce"))
    out_of_it = "Everyone is signed out of it: they were not asked what it may know."
    assert out_of_it in said(run("clients", "change", "Grafana", "--third-party"))
    assert out_of_it not in said(run("clients", "change", "Grafana", "--third-party"))

    changed = stored(app, grafana.id)
    assert (changed.redirect_uris, changed.post_logout_redirect_uris, changed.backchannel_logout_uri) == (LOGOUT, "", None)
    assert (changed.algorithm, changed.first_party, changed.pkce_required) == ("EdDSA", False, True)
    said(run("clients", "change", "Grafana", "--no-redirect-uris"))
    assert stored(app, grafana.id).redirect_uris == ""


@pytest.mark.parametrize("option", ["redirect-uri", "post-logout-redirect-uri", "backchannel-logout-uri"])
def test_an_address_is_not_given_and_taken_away_at_once(run: Run, app: Flask, grafana: Client, option: str) -> None:
    taken_away = f"--no-{option}" + ("" if option.startswith("back") else "s")
    result = run("clients", "change", "Grafana", f"--{option}", LOGOUT, taken_away)
    assert result.exit_code == 2
    assert f"or {taken_away}, not both" in result.stderr
    assert stored(app, "Grafana").redirect_uris == f"{CALLBACK} {OTHER}"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--redirect-uri", "http://app.example.com/"], "Type an address that begins with https://."),
        (["--redirect-uri", ""], "Type a whole address, like https://app.example.com/callback;"),
        (["--redirect-uri", CALLBACK, "--redirect-uri", OWN], "for a public client also com.example.app:/callback."),
        (["--post-logout-redirect-uri", f"{CALLBACK}#x"], "Type the address without # and what follows it."),
        (["--backchannel-logout-uri", ""], "Type the whole address of a server"),
        (["--backchannel-logout-uri", "http://10.0.0.7/"], "or name its host in HAMMER_WEBHOOK_HOSTS"),
    ],
)
def test_add_and_change_say_what_to_type_instead(run: Run, app: Flask, grafana: Client, words: list[str], sentence: str) -> None:
    assert sentence in refused(run("clients", "add", "New", *words))
    assert sentence in refused(run("clients", "change", "Grafana", *words))
    assert "New" not in said(run("clients", "list"))


def test_a_server_is_registered_where_hammer_may_post_or_has_no_address_yet(app_with: Made, settings: Settings) -> None:
    production = replace(settings, env="production", public_url="https://login.example.com", webhook_hosts=frozenset({"10.0.0.7"}))
    run = app_with(production).test_cli_runner()

    def add(uri: str) -> Result:
        return run.invoke(args=["clients", "add", uri, "--redirect-uri", CALLBACK, "--backchannel-logout-uri", uri])

    assert uris.NOT_REACHED in refused(add("http://127.0.0.1/"))
    assert uris.NOT_REACHED in refused(add("http://10.0.0.8/"))
    for allowed in ("http://10.0.0.7/", "https://nowhere.invalid/"):
        said(add(allowed))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--scope", "users:read"], registry.NO_SCOPES_IF_PUBLIC),
        (["--no-pkce"], registry.PKCE_IF_PUBLIC),
    ],
)
def test_what_a_public_client_cannot_have_is_refused(run: Run, words: list[str], sentence: str) -> None:
    assert sentence in refused(run("clients", "add", "Phone", "--public", *words))
    said(run("clients", "add", "Phone", "--public"))
    assert sentence in refused(run("clients", "change", "Phone", *words))


def test_a_client_stays_public_or_not(run: Run, grafana: Client) -> None:
    assert run("clients", "change", "Grafana", "--public").exit_code == 2


def test_the_key_of_an_app_is_made_with_its_first_address(run: Run, app: Flask) -> None:
    said(run("clients", "add", "Shop", "--algorithm", "ES256"))
    assert algorithms(app) == []

    said(run("clients", "change", "Shop", "--redirect-uri", CALLBACK))
    assert algorithms(app) == ["ES256"]

    said(run("clients", "change", "Shop", "--algorithm", "EdDSA"))
    said(run("clients", "change", "Shop", "--name", "Market"))
    said(run("clients", "add", "Grafana", "--redirect-uri", CALLBACK))
    assert algorithms(app) == ["ES256", "EdDSA", "RS256"]


def test_what_is_hardly_meant_is_warned_of(run: Run) -> None:
    assert "Warning: without PKCE" in run("clients", "add", "Old", "--redirect-uri", CALLBACK, "--no-pkce").stderr
    assert "Warning: people cannot sign in" in run("clients", "add", "Phone", "--public").stderr
    assert "Warning: people cannot sign in" in run("clients", "add", "App", "--post-logout-redirect-uri", LOGOUT).stderr
    assert run("clients", "change", "Phone", "--redirect-uri", OWN).stderr == ""
