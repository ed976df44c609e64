"""The limits on guessing with a thousand guesses at the same moment, with several processes, and without the counters."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from hammer import codes
from hammer.login.verifications import LOGIN
from hammer.models import Verification
from tests.actions import wrong_code
from tests.conftest import SETTINGS
from tests.databases import Databases
from tests.serving import Answer, Server, at_once, serve

KEY = SETTINGS.key("codes")
"""Settings with the secret of the servers that `serving` starts."""

_fresh = count(1)


def opened(server: Server, many: int, number: str | None = None) -> list[Verification]:
    """Creates verifications as signup does, for unknown devices. Each has its own number, unless one is given."""
    now = datetime.now(UTC)
    made = [
        Verification(
            id=codes.random_id(),
            telephone_number=number or f"+7932{next(_fresh):07d}",
            purpose=LOGIN,
            code_length=4,
            guesses=0,
            language="en",
            created_at=now,
            expires_at=now + timedelta(seconds=300),
        )
        for _ in range(many)
    ]
    engine = create_engine(server.database_url)
    with Session(engine, expire_on_commit=False) as session, session.begin():
        session.add_all(made)
    engine.dispose()
    return made


def rows(server: Server, query: str) -> list[Any]:
    engine = create_engine(server.database_url)
    with engine.connect() as connection:
        found = list(connection.execute(text(query)).all())
    engine.dispose()
    return found


def guess(server: Server, verification: Verification, *, shift: int = 1) -> Answer:
    """A guess that is wrong by `shift`."""
    return server.confirm(verification.id, f"{(int(verification.code(KEY)) + shift) % 10_000:04d}")


def is_compared(answer: Answer) -> bool:
    """Whether the answer shows that this first guess was compared with the code. A void code has no guesses left."""
    return answer.status == 200 or (answer.status == 401 and answer.json["attempts_left"] > 0)


def one_after_another(calls: Sequence[Callable[[], Answer]]) -> list[Answer]:
    return [call() for call in calls]


@pytest.mark.processes
@pytest.mark.requirement("THR-03", "THR-05")
def test_of_a_thousand_guesses_in_four_processes_twenty_wrong_ones_are_compared(databases: Databases, tmp_path: Path) -> None:
    """One in ten is right. Its unit comes back, and no wrong guess gets more by that. A restart forgets nothing."""
    url = databases.new()
    with ExitStack() as running:
        servers = [running.enter_context(serve(url, tmp_path / f"log{n}")) for n in range(4)]
        verifications = opened(servers[0], 1000)
        guesses = [partial(guess, servers[n % 4], v, shift=bool(n % 10)) for n, v in enumerate(verifications)]
        answers = [answer for hand in at_once([partial(one_after_another, guesses[n::64]) for n in range(64)]) for answer in hand]
        right = sum(answer.status == 200 for answer in answers)
        assert len(answers) == 1000
        assert sum(map(is_compared, answers)) == 20 + right
    with serve(url, tmp_path / "restarted") as restarted:
        assert rows(restarted, "select sum(taken) from counters where scope = 'guesses/4'") == [(20,)]
        spent = Counter(guesses for (guesses,) in rows(restarted, "select guesses from verifications"))
        assert spent == {1: 20 + right, 3: 980 - right}
        assert {guess(restarted, v, shift=0).status for v in opened(restarted, 20)} == {401}
        assert rows(restarted, "select count(*) from sessions") == [(right,)]
        answer = restarted.call("POST", "/auth/signup/", {"telephone_number": "+79320000002"})
        assert answer.json["code_length"] == 6


@pytest.mark.requirement("THR-01")
def test_of_many_parallel_guesses_at_one_number_five_are_compared(serve: Callable[..., Server]) -> None:
    server = serve(HAMMER_GUESS_BUDGETS="1000,1000,1000")
    verifications = opened(server, 30, "+79320000000")
    answers = at_once([partial(guess, server, v) for v in verifications])
    assert sum(map(is_compared, answers)) == 5
    assert rows(server, "select taken from counters where scope like 'guesses/%' and taken > 0 and scope <> 'guesses/4'") == [(5,)]


@pytest.mark.requirement("THR-03")
def test_what_parallel_successes_give_back_is_what_was_taken(serve: Callable[..., Server]) -> None:
    server = serve(HAMMER_GUESS_BUDGETS="1000,1000,1000")
    verifications = opened(server, 15)
    answers = at_once([partial(guess, server, v, shift=shift) for v in verifications for shift in (1, 2, 0)])
    assert [answer.status for answer in answers[2::3]] == [200] * 15  # there are three guesses, so the right one is among them
    assert {taken for (taken,) in rows(server, "select sum(taken) from counters where scope like 'guesses/%' group by scope")} == {
        0
    }


@pytest.mark.requirement("THR-06")
def test_a_known_device_has_ten_guesses_however_many_arrive_at_once(serve: Callable[..., Server]) -> None:
    server = serve()
    number = "+79320000001"
    device_token = server.sign_in(number)["device_token"]
    asked = [
        server.call("POST", "/auth/signup/", {"telephone_number": number, "device_token": device_token}).json for _ in range(20)
    ]
    guesses = [partial(server.confirm, answer["verification_id"], wrong_code(answer["Ваш код активации"])) for answer in asked]
    answers = at_once(guesses)
    assert sum(map(is_compared, answers)) == 10
    assert rows(server, "select max(guesses) from devices") == [(10,)]
    assert rows(server, "select coalesce(sum(taken), 0) from counters where scope = 'guesses/4'") == [(0,)]


@pytest.mark.requirement("THR-06")
def test_ten_guesses_are_compared_however_many_arrive_beside_their_owners_sign_in(serve: Callable[..., Server]) -> None:
    """Neither the owner's sign-in nor its new token gives another guess to a thief with a copy of the old token."""
    server = serve()
    number = "+79320000001"
    stolen = {"telephone_number": number, "device_token": server.sign_in(number)["device_token"]}
    mine, *theirs = [server.call("POST", "/auth/signup/", stolen).json for _ in range(31)]
    guesses = [partial(server.confirm, answer["verification_id"], wrong_code(answer["Ваш код активации"])) for answer in theirs]
    signing_in = partial(server.confirm, mine["verification_id"], mine["Ваш код активации"])
    answers = at_once([signing_in, *guesses])
    assert answers[0].status in (200, 401)  # 401: all ten were taken before
    assert sum(map(is_compared, answers[1:])) == 10
    assert rows(server, "select max(guesses) from devices") == [(10,)]
    assert rows(server, "select coalesce(sum(taken), 0) from counters where scope = 'guesses/4'") == [(0,)]
    asked = server.call("POST", "/auth/signup/", stolen).json["verification_id"]
    assert rows(server, f"select device_id from verifications where id = '{asked}'") == [(None,)]


@contextmanager
def counters_away(server: Server) -> Iterator[None]:
    engine = create_engine(server.database_url)
    try:
        with engine.begin() as connection:
            connection.execute(text("alter table counters rename to away"))
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(text("alter table away rename to counters"))
        engine.dispose()


@pytest.mark.requirement("THR-05")
def test_without_counters_every_sign_in_fails_and_nothing_is_compared(serve: Callable[..., Server]) -> None:
    server = serve()
    verification_id, code = server.ask("+79320000003")
    with counters_away(server):
        for tried in (code, code, wrong_code(code), code):
            answer = server.call_once("POST", "/auth/code/", {"verification_id": verification_id, "code": tried})
            assert answer.status in (500, 503)
            assert "attempts_left" not in answer.json
        assert server.call_once("POST", "/auth/signup/", {"telephone_number": "+79320000004"}).status in (500, 503)
        assert rows(server, "select count(*) from sessions") == [(0,)]
        assert rows(server, "select max(guesses) from verifications") == [(0,)]  # nothing was compared, and no guess was taken
    assert server.confirm(verification_id, code).status == 200
