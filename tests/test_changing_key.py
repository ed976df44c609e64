"""Hosts get another `SECRET_KEY` one after another: servers with the old and the new key at one database, at the same moment."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from tests import serving
from tests.actions import wrong_code
from tests.databases import Databases
from tests.serving import Server, at_once

pytestmark = [pytest.mark.processes, pytest.mark.requirement("CRY-01")]

OLD, NEW = "of-the-tests-before-32-bytes-and-more", "of-the-tests-afterwards-32-bytes-and-more"
MANY = 12


@pytest.fixture(scope="module")
def hosts(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """One that is not changed yet and accepts the new key, and one that is changed and accepts the old one."""
    url, logs = databases.new(), tmp_path_factory.mktemp("hosts")
    same = {"WEB_CONCURRENCY": "1", "HAMMER_PUBLIC_URL": "http://localhost:5000"}
    keys = {"SECRET_KEY": OLD, "SECRET_KEY_PREVIOUS": NEW}, {"SECRET_KEY": NEW, "SECRET_KEY_PREVIOUS": OLD}
    with (
        serving.serve(url, logs / "old", serving.gunicorn, **same, **keys[0]) as old,
        serving.serve(url, logs / "new", serving.gunicorn, **same, **keys[1]) as new,
    ):
        yield old, new


@pytest.fixture
def ask_database(hosts: tuple[Server, Server]) -> Iterator[Callable[..., list[Any]]]:
    engine = create_engine(hosts[0].database_url)

    def rows(query: str) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(text(query)).all())

    yield rows
    engine.dispose()


def number(n: int) -> str:
    return f"+7935{n:07d}"


def test_nobody_is_signed_out_and_every_code_under_way_is_good(hosts: tuple[Server, Server]) -> None:
    def signs_in_at_both(n: int) -> set[int]:
        one, other = hosts if n % 2 else hosts[::-1]
        begun = other.confirm(*one.ask(number(n)))
        there = one.call("GET", "/users/me/", token=begun.json["access_token"])
        more = one.call("POST", "/auth/refresh/", {"refresh_token": begun.json["refresh_token"]})
        after = other.call("GET", "/users/me/", token=more.json["access_token"])
        last = other.call("POST", "/auth/refresh/", {"refresh_token": more.json["refresh_token"]})
        return {answer.status for answer in (begun, there, more, after, last)}

    assert at_once([partial(signs_in_at_both, n) for n in range(MANY)]) == [{200}] * MANY


def test_nobody_activates_twice(hosts: tuple[Server, Server], ask_database: Callable[..., list[Any]]) -> None:
    old, new = hosts
    inviters = [old.sign_in(number(100 + n))["invite_code"] for n in range(2)]
    token = new.sign_in(number(110))["access_token"]

    calls = [
        partial(host.call, "POST", "/users/me/invite/", {"invite_code": code}, token=token)
        for host, code, _ in zip(cycle((old, new)), cycle((*inviters, *inviters[::-1])), range(MANY), strict=False)
    ]
    statuses = Counter(answer.status for answer in at_once(calls))

    assert statuses.keys() <= {200, 409}
    theirs = "select count(*) from referrals join users on users.id = referee_id where telephone_number = "
    assert ask_database(f"{theirs}'{number(110)}'") == [(1,)]


def test_wrong_guesses_are_counted_together(hosts: tuple[Server, Server], ask_database: Callable[..., list[Any]]) -> None:
    """Four digits of a number are guessed five times in thirty days, whichever host compares them; the next code has six."""
    for host, other in (hosts, hosts[::-1]):
        verification_id, code = host.ask(number(200))
        guess = {"verification_id": verification_id, "code": wrong_code(code)}
        answers = at_once([partial(each.call, "POST", "/auth/code/", guess) for each in (host, other) * 3])
        assert {answer.status for answer in answers} == {401}

    assert (
        ask_database("select taken from counters where scope like 'guesses/%' and length(scope) > 20 and taken > 0") == [(5,)] * 2
    )
    assert {len(host.ask(number(200))[1]) for host in hosts} == {6}
