"""Clients and a server of several processes: what an operator changes counts in all of them at once."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count
from urllib.parse import urlencode

import pytest
from flask import Flask

from config import Settings
from hammer.clients import registry, secrets
from hammer.models import Client, Scope
from tests.backends import FORM, basic
from tests.conftest import SETTINGS
from tests.serving import HOME, Answer, Server, at_once, gunicorn

_fresh = count(1)
TIMES = 12
"""Requests after a change: with two processes, all in one of them is as likely as 1 in 2048."""


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(gunicorn, WEB_CONCURRENCY="2")


@pytest.fixture
def operator(server: Server, app_with: Callable[[Settings], Flask]) -> Iterator[Settings]:
    """The settings of the server, in the context of an application like it: as commands have it."""
    settings = replace(SETTINGS, database_url=server.database_url, public_url=server.url)
    with app_with(settings).app_context():
        yield settings


@pytest.fixture
def shop(operator: Settings) -> Client:
    return registry.add(f"Shop {next(_fresh)}", [Scope.USERS_READ, Scope.CODES_SEND])


def ask_token(server: Server, client: Client, secret: str, source: str = HOME) -> Answer:
    headers = {"Authorization": basic(client.id, secret), "Content-Type": FORM}
    body = urlencode({"grant_type": "client_credentials"}).encode()
    return server.request("POST", "/oauth/token", body, headers, source=source)


def token(server: Server, client: Client, settings: Settings) -> str:
    answer = ask_token(server, client, secrets.secret(settings, client))
    assert answer.status == 200, answer.body
    return str(answer.json["access_token"])


def statuses(ask: Callable[[], Answer], times: int = TIMES) -> Counter[int]:
    return Counter(answer.status for answer in at_once([ask] * times))


def test_of_many_wrong_secrets_at_once_twenty_are_compared(server: Server, operator: Settings, shop: Client) -> None:
    wrong = statuses(partial(ask_token, server, shop, "wrong"), 50)
    right = ask_token(server, shop, secrets.secret(operator, shop))
    elsewhere = ask_token(server, shop, secrets.secret(operator, shop), source="127.0.0.2")

    assert wrong == {401: secrets.WRONG_PER_HOUR, 429: 50 - secrets.WRONG_PER_HOUR}
    assert (right.status, right.json["error"]) == (429, "temporarily_unavailable")
    assert int(right.headers["Retry-After"]) >= 1
    assert elsewhere.status == 200


def test_many_right_secrets_at_once_are_all_right(server: Server, operator: Settings, shop: Client) -> None:
    assert statuses(partial(ask_token, server, shop, secrets.secret(operator, shop)), 50) == {200: 50}


@pytest.mark.requirement("THR-05")
def test_of_many_texts_at_once_a_client_gets_as_many_as_it_may(server: Server, operator: Settings, shop: Client) -> None:
    registry.change(shop.id, sends_per_hour=10)
    theirs = token(server, shop, operator)
    bodies = [{"telephone_number": f"+7938{next(_fresh):07d}", "end_user_address": f"203.0.113.{n}"} for n in range(30)]

    answers = at_once([partial(server.call, "POST", "/auth/signup/", body, token=theirs) for body in bodies])

    assert Counter(answer.status for answer in answers) == {200: 10, 429: 20}


@pytest.mark.requirement("TOK-06")
@pytest.mark.parametrize("end", [registry.disable, registry.remove])
def test_the_end_of_a_client_counts_in_all_processes_at_once(
    server: Server, operator: Settings, shop: Client, end: Callable[[str], None]
) -> None:
    theirs = token(server, shop, operator)
    number = f"+7937{next(_fresh):07d}"
    asked = server.call("POST", "/auth/signup/", {"telephone_number": number}, token=theirs).json
    person = server.confirm(asked["verification_id"], asked["Ваш код активации"]).json
    calls = {
        "the client": partial(server.call, "GET", "/users/", token=theirs),
        "its signups": partial(server.call, "POST", "/auth/signup/", {"telephone_number": number}, token=theirs),
        "the person": partial(server.call, "GET", "/users/me/", token=person["access_token"]),
        "a new token": partial(ask_token, server, shop, secrets.secret(operator, shop)),
    }
    assert {who: statuses(call, 1) for who, call in calls.items()} == {who: {200: 1} for who in calls}

    end(shop.id)

    assert {who: statuses(call) for who, call in calls.items()} == {who: {401: TIMES} for who in calls}


def test_scopes_that_are_taken_away_count_in_all_processes_at_once(server: Server, operator: Settings, shop: Client) -> None:
    theirs = token(server, shop, operator)
    read = partial(server.call, "GET", "/users/", token=theirs)
    assert statuses(read) == {200: TIMES}

    registry.change(shop.id, scopes=[Scope.CODES_SEND])

    assert statuses(read) == {403: TIMES}


@pytest.mark.requirement("LOG-02")
def test_no_secret_and_no_token_is_in_the_log(server: Server, operator: Settings, shop: Client) -> None:
    secret = secrets.secret(operator, shop)
    theirs = token(server, shop, operator)
    body = urlencode({"grant_type": "client_credentials", "client_id": shop.id, "client_secret": secret})
    for content, kind in ((body, FORM), (json.dumps({"client_secret": secret}), "application/json")):
        server.request("POST", f"/oauth/token?{body}", content.encode(), {"Content-Type": kind})
    server.call("GET", "/users/", token=theirs)
    log = server.log.read_text()

    assert "/oauth/token 200" in log
    assert not [part for shown in (secret, theirs) for part in shown.split(".")[2:] if part in log]
