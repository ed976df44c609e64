"""Parallel requests with one idempotency key, and answers that never arrive, against the running server."""

import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.actions import wrong_code
from tests.serving import HOME, Answer, Server, at_once, gunicorn

MANY = 20
_fresh = count(1)


def fresh_number() -> str:
    return f"+7932{next(_fresh):07d}"


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


@pytest.fixture(scope="module")
def workers(serve: Callable[..., Server]) -> Server:
    """Two processes, as in production."""
    return serve(gunicorn)


@pytest.fixture
def rows(workers: Server) -> Iterator[Callable[..., list[Any]]]:
    engine: Engine = create_engine(workers.database_url)

    def ask(query: str, **values: object) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(text(query), values).all())

    yield ask
    engine.dispose()


def confirm(server: Server, verification_id: str, code: str, key: str) -> Answer:
    return server.call("POST", "/auth/code/", {"verification_id": verification_id, "code": code}, key=key)


@pytest.mark.requirement("SMS-03")
def test_parallel_signups_with_one_key_are_one_text(workers: Server, rows: Callable[..., list[Any]]) -> None:
    number, key = fresh_number(), str(uuid4())
    answers = at_once([partial(workers.call, "POST", "/auth/signup/", {"telephone_number": number}, key=key)] * MANY)
    assert statuses(answers) == {200: MANY}
    [verification_id] = {answer.json["verification_id"] for answer in answers}
    assert rows("select id from verifications where telephone_number = :number", number=number) == [(verification_id,)]
    assert rows("select count(*) from texts where verification_id = :id", id=verification_id) == [(1,)]


@pytest.mark.requirement("OTP-02", "PHN-02")
def test_parallel_right_codes_with_one_key_are_one_session(workers: Server, rows: Callable[..., list[Any]]) -> None:
    number = fresh_number()
    answers = at_once([partial(confirm, workers, *workers.ask(number), str(uuid4()))] * MANY)
    assert statuses(answers) == {200: MANY}
    for same in ("refresh_token", "device_token", "invite_code", "created"):
        assert len({answer.json[same] for answer in answers}) == 1, same
    sessions = "select s.id from sessions s join users u on u.id = s.user_id where u.telephone_number = :number"
    assert len(rows(sessions, number=number)) == 1
    assert workers.call("GET", "/users/me/", token=answers[0].json["access_token"]).status == 200


@pytest.mark.requirement("THR-02", "THR-03")
def test_parallel_wrong_codes_with_one_key_are_one_guess(workers: Server, rows: Callable[..., list[Any]]) -> None:
    verification_id, code = workers.ask(fresh_number())
    answers = at_once([partial(confirm, workers, verification_id, wrong_code(code), str(uuid4()))] * MANY)
    assert {(answer.status, answer.json["attempts_left"]) for answer in answers} == {(401, 2)}
    assert rows("select guesses from verifications where id = :id", id=verification_id) == [(1,)]


@pytest.mark.requirement("THR-02")
def test_of_parallel_requests_with_one_key_and_many_bodies_one_is_done(workers: Server, rows: Callable[..., list[Any]]) -> None:
    verification_id, code = workers.ask(fresh_number())
    codes = [code]
    for _ in range(MANY - 1):
        codes.append(wrong_code(codes[-1]))
    key = str(uuid4())
    answers = at_once([partial(confirm, workers, verification_id, each, key) for each in codes])
    assert statuses(answers)[422] == MANY - 1
    assert rows("select guesses from verifications where id = :id", id=verification_id) == [(1,)]


@pytest.mark.requirement("TOK-04")
def test_parallel_refreshes_with_one_key_give_one_successor(workers: Server) -> None:
    person = workers.sign_in(fresh_number())
    body, key = {"refresh_token": person["refresh_token"]}, str(uuid4())
    answers = at_once([partial(workers.call, "POST", "/auth/refresh/", body, key=key)] * MANY)
    assert statuses(answers) == {200: MANY}
    assert len({answer.json["refresh_token"] for answer in answers}) == 1


@pytest.mark.requirement("INV-04")
def test_parallel_attempts_at_an_invite_with_one_key_are_one_attempt(workers: Server, rows: Callable[..., list[Any]]) -> None:
    person, key = workers.sign_in(fresh_number()), str(uuid4())
    before = sum(taken for (taken,) in rows("select taken from counters where scope = 'invites/day'"))
    body = {"invite_code": "Q9UK59"}
    answers = at_once([partial(workers.call, "POST", "/users/me/invite/", body, token=person["access_token"], key=key)] * MANY)
    assert statuses(answers) == {422: MANY}
    assert sum(taken for (taken,) in rows("select taken from counters where scope = 'invites/day'")) == before + 1


@pytest.mark.requirement("OTP-02")
def test_without_a_key_one_of_parallel_right_codes_is_answered_as_before(workers: Server) -> None:
    verification_id, code = workers.ask(fresh_number())
    answers = at_once([partial(workers.confirm, verification_id, code)] * MANY)
    assert statuses(answers) == {200: 1, 401: MANY - 1}


def hang_up(server: Server, body: object, key: str) -> None:
    """Sends the request and breaks the connection before the answer."""
    sent = json.dumps(body).encode()
    head = f"POST /api/v1/auth/code/ HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((HOME, server.port), timeout=10) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset (RST)
        connection.sendall(f"{head}Idempotency-Key: {key}\r\nContent-Length: {len(sent)}\r\n\r\n".encode() + sent)


def test_a_program_whose_connection_broke_signs_in_when_it_asks_again(workers: Server, rows: Callable[..., list[Any]]) -> None:
    for _ in range(10):
        number, key = fresh_number(), str(uuid4())
        verification_id, code = workers.ask(number)
        body = {"verification_id": verification_id, "code": code}
        for _ in range(3):
            hang_up(workers, body, key)
        answer = confirm(workers, verification_id, code, key)
        assert answer.status == 200
        assert workers.call("GET", "/users/me/", token=answer.json["access_token"]).status == 200
        sessions = "select s.id from sessions s join users u on u.id = s.user_id where u.telephone_number = :number"
        assert len(rows(sessions, number=number)) == 1
