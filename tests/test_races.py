"""Rules that must hold for parallel HTTP requests to the running application."""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from hammer import events
from hammer.db.database import BUSY_SECONDS
from tests.actions import wrong_code
from tests.serving import HOME, Answer, Server, at_once

_fresh = count(1)


def fresh_number() -> str:
    """A number that no other test of this module has."""
    return f"+7931{next(_fresh):07d}"


def activate(server: Server, token: str, invite_code: str, source: str = HOME) -> Answer:
    return server.call("POST", "/users/me/invite/", {"invite_code": invite_code}, token=token, source=source)


def statuses(answers: list[Answer]) -> Counter[int]:
    return Counter(answer.status for answer in answers)


def me(server: Server, person: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = server.call("GET", "/users/me/", token=person["access_token"]).json
    return seen


@pytest.fixture
def rows(server: Server) -> Iterator[Callable[..., list[Any]]]:
    """Queries the server's database: `rows("select …", name=value)`."""
    engine: Engine = create_engine(server.database_url)

    def ask(query: str, **values: object) -> list[Any]:
        with engine.connect() as connection:
            return list(connection.execute(text(query), values).all())

    yield ask
    engine.dispose()


@pytest.mark.requirement("OTP-02")
def test_one_code_in_fifty_parallel_posts_signs_in_once(server: Server, rows: Callable[..., list[Any]]) -> None:
    number = fresh_number()
    verification_id, code = server.ask(number)
    answers = at_once([partial(server.confirm, verification_id, code)] * 50)
    assert statuses(answers) == {200: 1, 401: 49}
    sessions = rows("select 1 from sessions s join users u on u.id = s.user_id where u.telephone_number = :number", number=number)
    assert len(sessions) == 1


@pytest.mark.requirement("INV-02")
def test_of_fifty_parallel_activations_of_different_codes_one_is_done(server: Server, rows: Callable[..., list[Any]]) -> None:
    person = server.sign_in(fresh_number())
    owners = [server.sign_in(fresh_number()) for _ in range(50)]
    answers = at_once([partial(activate, server, person["access_token"], owner["invite_code"]) for owner in owners])
    assert statuses(answers) == {200: 1, 409: 49}
    activated = next(answer.json["activated_invite_code"] for answer in answers if answer.status == 200)
    assert me(server, person)["activated_invite_code"] == activated
    counts = {owner["invite_code"]: me(server, owner)["invite_count"] for owner in owners}
    assert {code for code, number in counts.items() if number} == {activated}
    assert sum(counts.values()) == 1


@pytest.mark.requirement("INV-02")
def test_the_same_code_activated_fifty_times_at_once_counts_once(server: Server) -> None:
    person, owner = server.sign_in(fresh_number()), server.sign_in(fresh_number())
    answers = at_once([partial(activate, server, person["access_token"], owner["invite_code"])] * 50)
    assert statuses(answers) == {200: 50}
    assert me(server, owner)["invite_count"] == 1


def test_fifty_people_who_activate_one_code_at_once_are_all_counted(server: Server) -> None:
    owner = server.sign_in(fresh_number())
    people = [server.sign_in(fresh_number()) for _ in range(50)]
    answers = at_once([partial(activate, server, person["access_token"], owner["invite_code"]) for person in people])
    assert statuses(answers) == {200: 50}
    assert me(server, owner)["invite_count"] == 50


@pytest.mark.requirement("PHN-02")
def test_twenty_parallel_first_logins_of_one_number_make_one_user(server: Server, rows: Callable[..., list[Any]]) -> None:
    number = fresh_number()
    asked = [server.ask(number) for _ in range(20)]
    answers = at_once([partial(server.confirm, *verification) for verification in asked])
    assert statuses(answers) == {200: 20}
    assert len({answer.json["invite_code"] for answer in answers}) == 1
    assert Counter(answer.json["created"] for answer in answers) == {True: 1, False: 19}
    assert len(rows("select 1 from users where telephone_number = :number", number=number)) == 1


@pytest.mark.requirement("INV-02")
def test_twenty_parallel_first_logins_by_one_invite_count_once(server: Server) -> None:
    owner, number = server.sign_in(fresh_number()), fresh_number()
    body = {"telephone_number": number, "invite_code": owner["invite_code"]}
    asked = [server.call("POST", "/auth/signup/", body).json for _ in range(20)]
    answers = at_once([partial(server.confirm, sent["verification_id"], sent["Ваш код активации"]) for sent in asked])
    assert statuses(answers) == {200: 20}
    assert me(server, owner)["invite_count"] == 1


def test_of_two_users_who_activate_each_other_at_once_one_succeeds_at_most(server: Server) -> None:
    for n in range(30):
        somewhere = f"127.0.1.{n + 1}"  # an address has few attempts with codes that cannot be activated
        anna, boris = server.sign_in(fresh_number()), server.sign_in(fresh_number())
        answers = at_once(
            [
                partial(activate, server, anna["access_token"], boris["invite_code"], somewhere),
                partial(activate, server, boris["access_token"], anna["invite_code"], somewhere),
            ]
        )
        assert statuses(answers) == {200: 1, 422: 1}
        assert next(answer.json["type"] for answer in answers if answer.status == 422).endswith("/invite-loop")


@pytest.mark.parametrize("length", [3, 6])
def test_a_ring_of_parallel_activations_stays_open_at_one_place(server: Server, length: int) -> None:
    for round_ in range(10):
        somewhere = f"127.0.{length}.{round_ + 1}"
        ring = [server.sign_in(fresh_number()) for _ in range(length)]
        answers = at_once(
            [
                partial(activate, server, ring[n]["access_token"], ring[(n + 1) % length]["invite_code"], somewhere)
                for n in range(length)
            ]
        )
        assert statuses(answers) == {200: length - 1, 422: 1}


@pytest.mark.requirement("THR-02")
def test_of_many_parallel_wrong_guesses_three_are_compared(server: Server) -> None:
    for _ in range(5):
        verification_id, code = server.ask(fresh_number())
        answers = at_once([partial(server.confirm, verification_id, wrong_code(code))] * 30)
        assert statuses(answers) == {401: 30}
        left = Counter(answer.json["attempts_left"] for answer in answers)
        assert left == {2: 1, 1: 1, 0: 28}  # 28: the third one, and 27 that were not compared
        assert server.confirm(verification_id, code).status == 401


def test_the_right_code_among_many_wrong_ones_signs_in_only_as_one_of_three_guesses(
    server: Server, rows: Callable[..., list[Any]]
) -> None:
    for _ in range(5):
        verification_id, code = server.ask(fresh_number())
        guesses = [wrong_code(code)] * 20 + [code] * 5 + [wrong_code(code)] * 20
        answers = at_once([partial(server.confirm, verification_id, guess) for guess in guesses])
        assert statuses(answers)[200] <= 1
        [(taken,)] = rows("select guesses from verifications where id = :id", id=verification_id)
        assert taken <= 3


@pytest.mark.requirement("SMS-03")
def test_of_many_parallel_messages_to_one_number_one_is_sent(serve: Callable[..., Server]) -> None:
    patient = serve(HAMMER_RESEND_SECONDS="60")
    number = fresh_number()
    spellings = [number, "8" + number[2:], f"8 ({number[2:5]}) {number[5:8]}-{number[8:10]}-{number[10:]}"]
    bodies = [{"telephone_number": spelling} for spelling in spellings] * 10
    answers = at_once([partial(patient.call, "POST", "/auth/signup/", body) for body in bodies])
    assert statuses(answers) == {200: 1, 429: 29}
    # 61: a request may have read the clock before the one that was granted.
    assert all(1 <= int(answer.headers["Retry-After"]) <= 61 for answer in answers if answer.status == 429)
    engine = create_engine(patient.database_url)
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from texts")).scalar() == 1
        assert connection.execute(text("select count(*) from verifications")).scalar() == 1
    engine.dispose()


@pytest.mark.requirement("TOK-04")
def test_one_refresh_token_in_parallel_requests_has_one_successor(server: Server, rows: Callable[..., list[Any]]) -> None:
    """Answers get lost, so the same token may be sent again. Its successor is always the same."""
    number = fresh_number()
    person = server.sign_in(number)
    answers = at_once([partial(server.call, "POST", "/auth/refresh/", {"refresh_token": person["refresh_token"]})] * 20)
    assert statuses(answers) == {200: 20}
    assert len({answer.json["refresh_token"] for answer in answers}) == 1
    taken = "select refreshes, ended_at from sessions s join users u on u.id = s.user_id where u.telephone_number = :number"
    assert rows(taken, number=number) == [(1, None)]


@pytest.mark.requirement("TOK-04")
def test_a_used_refresh_token_among_parallel_requests_ends_the_session_or_was_first(
    server: Server, rows: Callable[..., list[Any]]
) -> None:
    """Ten requests of the owner with the new access token, and ten of a thief with the old refresh token, all at once: the thief
    gets the same successor as long as no request of the owner was answered, and afterwards the session is over, once."""
    about = "from sessions s join users u on u.id = s.user_id where u.telephone_number = :number"
    reused = "select count(*) from events e join users u on u.id = e.user_id where u.telephone_number = :number and e.kind = :kind"
    for _ in range(5):
        number = fresh_number()
        stolen = {"refresh_token": server.sign_in(number)["refresh_token"]}
        renewed = server.call("POST", "/auth/refresh/", stolen).json
        use = partial(server.call, "GET", "/users/me/", token=renewed["access_token"])
        steal = partial(server.call, "POST", "/auth/refresh/", stolen)
        answers = at_once([use, steal] * 10)
        assert set(statuses(answers)) <= {200, 401}
        successors = {answer.json["refresh_token"] for answer in answers[1::2] if answer.status == 200}
        assert successors <= {renewed["refresh_token"]}
        use()
        assert steal().status == 401
        assert use().status == 401
        assert [
            (refreshes, ended_at is None) for refreshes, ended_at in rows(f"select refreshes, ended_at {about}", number=number)
        ] == [(1, False)]
        assert rows(reused, number=number, kind=events.Kind.REFRESH_REUSED) == [(1,)]


@pytest.mark.requirement("TOK-04")
def test_parallel_first_uses_of_new_tokens_are_all_answered(server: Server, rows: Callable[..., list[Any]]) -> None:
    number = fresh_number()
    renewed = server.call("POST", "/auth/refresh/", {"refresh_token": server.sign_in(number)["refresh_token"]}).json
    answers = at_once([partial(server.call, "GET", "/users/me/", token=renewed["access_token"])] * 20)
    assert statuses(answers) == {200: 20}
    received = "select refreshes_received from sessions s join users u on u.id = s.user_id where u.telephone_number = :number"
    assert rows(received, number=number) == [(1,)]


@pytest.mark.requirement("THR-06")
def test_ending_a_device_while_it_signs_in_causes_no_deadlock(server: Server, rows: Callable[..., list[Any]]) -> None:
    """A sign-in locks its device and then its user. Everything that forgets devices uses the same order. A deadlock would be
    answered with 503."""
    for n in range(8):
        number, other = fresh_number(), fresh_number()
        me, phone = server.sign_in(number), server.sign_in(number)
        body = {"telephone_number": number, "device_token": phone["device_token"]}
        asked = [server.call("POST", "/auth/signup/", body).json for _ in range(3)]
        change = server.call("POST", "/users/me/telephone_number/", {"telephone_number": other}, token=me["access_token"]).json
        code = {"verification_id": change["verification_id"], "code": change["Ваш код активации"], "end_other_sessions": True}
        [(user_id,)] = rows("select id from users where telephone_number = :number", number=number)
        confirms: list[Callable[[], Answer]] = [
            partial(
                server.call_once,
                "POST",
                "/auth/code/",
                {"verification_id": sent["verification_id"], "code": sent["Ваш код активации"]},
            )
            for sent in asked
        ]
        ends: list[Callable[[], Answer]] = [
            partial(server.call_once, "DELETE", "/auth/sessions/", token=me["access_token"]),
            partial(server.call_once, "DELETE", "/auth/sessions/", token=phone["access_token"]),
            partial(server.call_once, "POST", "/users/me/telephone_number/code/", code, token=me["access_token"]),
        ]
        answers = at_once(confirms + ends[: 2 + n % 2])
        assert set(statuses(answers)) <= {200, 204, 401}, statuses(answers)
        known = "select count(*) from devices where user_id = :id"
        assert rows(known, id=user_id)[0][0] <= 4


def test_one_username_in_parallel_requests_is_given_once(server: Server) -> None:
    people = [server.sign_in(fresh_number()) for _ in range(20)]
    answers = at_once(
        [
            partial(
                server.call, "PATCH", "/users/me/", {"username": "Highlander" if n % 2 else "highlander"}, token=p["access_token"]
            )
            for n, p in enumerate(people)
        ]
    )
    assert statuses(answers) == {200: 1, 409: 19}


def test_a_deletion_during_a_login_leaves_no_session_behind(server: Server, rows: Callable[..., list[Any]]) -> None:
    for _ in range(15):
        number = fresh_number()
        person = server.sign_in(number)
        verification_id, code = server.ask(number)
        deleted, confirmed = at_once(
            [
                partial(server.call, "DELETE", "/users/me/", token=person["access_token"]),
                partial(server.confirm, verification_id, code),
            ]
        )
        assert deleted.status == 204
        assert confirmed.status in (200, 401)
        living = rows("select id from users where telephone_number = :number", number=number)
        sessions = rows("select s.id from sessions s join users u on u.id = s.user_id where u.deleted_at is not null")
        assert sessions == []
        assert len(living) <= 1
        if confirmed.status == 200:
            seen = server.call("GET", "/users/me/", token=confirmed.json["access_token"])
            assert (seen.status, len(living)) in {(200, 1), (401, 0)}


def test_a_login_during_the_deletion_of_its_user_creates_a_new_user(server: Server, rows: Callable[..., list[Any]]) -> None:
    """The deletion is held open by a connection of the test, so the code is confirmed during it."""
    number = fresh_number()
    server.sign_in(number)
    [(user_id,)] = rows("select id from users where telephone_number = :number", number=number)
    verification_id, code = server.ask(number)
    engine = create_engine(server.database_url)
    going = threading.Event()

    def leave() -> None:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("begin immediate")
            gone = text("update users set telephone_number = null, deleted_at = date_joined where id = :id")
            connection.execute(gone, {"id": user_id})
            going.set()
            time.sleep(0.5)  # the other request comes now; later it would find the same
            connection.commit()

    def arrive() -> Answer:
        assert going.wait(timeout=30)
        return server.confirm(verification_id, code)

    verbs: list[Callable[[], Answer | None]] = [leave, arrive]
    _, answer = at_once(verbs)
    engine.dispose()
    assert isinstance(answer, Answer)
    assert (answer.status, answer.json["created"]) == (200, True)
    assert server.call("GET", "/users/me/", token=answer.json["access_token"]).status == 200


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """The database, locked by another writer."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        assert url.database is not None
        with closing(sqlite3.connect(url.database, isolation_level=None)) as other:
            other.execute("begin immediate")
            yield
            other.execute("rollback")
    else:
        with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as other_writer:
            other_writer.execute("lock table users, verifications, send_allowances in share row exclusive mode")
            yield
            other_writer.rollback()


def test_a_locked_database_is_a_503_in_two_seconds_and_no_longer(server: Server) -> None:
    person = server.sign_in(fresh_number())
    verification_id, code = server.ask(fresh_number())
    writes: list[Callable[[], Answer]] = [
        partial(server.call_once, "POST", "/auth/signup/", {"telephone_number": fresh_number()}),
        partial(server.call_once, "POST", "/auth/code/", {"verification_id": verification_id, "code": code}),
        partial(server.call_once, "PATCH", "/users/me/", {"first_name": "Anna"}, token=person["access_token"]),
    ]
    with locked(server.database_url):
        answers = at_once(writes)
        reading = server.call("GET", "/users/me/", token=person["access_token"])
    assert statuses(answers) == {503: 3}
    assert BUSY_SECONDS == 2
    for answer in answers:
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert answer.json["type"].endswith("/unavailable")
    assert reading.status == 200
    assert statuses([write() for write in writes]) == {200: 3}
