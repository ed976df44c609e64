"""The bot, the backend that speaks for its users and the program that repeats requests, from the guides, in this process."""

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.actions import wrong_code
from tests.delivery import states
from tests.integrate.conftest import Read
from tests.serving import HOME, Server, at_once

Load = Callable[[str], Any]


@pytest.fixture
def load(examples: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Imports a module of the examples."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(examples)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if str(examples) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_backend_looks_people_up_by_sub_and_writes_their_metadata(load: Load, server: Server, number: str) -> None:
    call, token = load("hammer_api").call, server.sign_in(number)["access_token"]
    sub = server.call("GET", "/users/me/", token=token).json["id"]

    changed = call("PATCH", f"/users/{sub}/", {"metadata": {"plan": "pro"}})

    assert changed.json()["metadata"] == {"plan": "pro"}
    assert server.call("GET", "/users/me/", token=token).json["metadata"] == {"plan": "pro"}
    assert "·" in call("GET", f"/users/{sub}/").json()["telephone_number"]
    assert server.call("DELETE", "/users/me/", token=token).status == 204
    assert call("GET", f"/users/{sub}/").status_code == 404


def test_threads_that_need_a_new_token_refresh_once(load: Load, server: Server, number: str) -> None:
    api, signed_in = load("hammer_api"), server.sign_in(number)
    tokens = api.Tokens(signed_in)
    assert tokens.current() == signed_in["access_token"]
    tokens.ends = 0

    current = at_once([tokens.current] * 4)

    assert len(set(current)) == 1
    assert signed_in["access_token"] not in current
    assert api.call("GET", "/users/me/", by=tokens).status_code == 200
    of_the_app = api.app.current()
    assert at_once([api.app.current] * 4) == [of_the_app] * 4


def test_the_backend_gets_another_token_when_its_own_is_refused(load: Load) -> None:
    api = load("hammer_api")
    api.app.current()
    api.app.access_token = "ended before its time"

    assert [api.call("GET", "/users/").status_code for _ in range(2)] == [401, 200]


def test_the_backend_learns_why_it_gets_no_token(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGIN_CLIENT_SECRET", "wrong")

    with pytest.raises(requests.HTTPError, match="The client or its secret is wrong"):
        load("hammer_api").call("GET", "/users/")


def test_the_bot_signs_a_person_in_and_ends_the_session(load: Load, server: Server, read: Read, number: str) -> None:
    bot = load("bot")

    def say(text: str) -> str:
        return str(bot.reply("chat 1", text, private=True))

    assert say("hello") == bot.ASK
    assert "does not look like a telephone number" in say("+7 929 1")
    assert "Now send me the code" in say(number)
    assert "code" in say(wrong_code(read(number)))
    assert "You are signed in" in say(read(number))

    token = server.sign_in(number)["access_token"]
    me = server.call("GET", "/users/me/", token=token).json
    assert bot.chats["chat 1"] == {"sub": me["id"]}
    assert me["invite_code"] in say("who am I?")
    assert [device["current"] for device in server.call("GET", "/auth/sessions/", token=token).json] == [True]


def test_the_bot_is_silent_in_groups_and_forgets_a_code_that_is_used_up(load: Load, read: Read, number: str) -> None:
    bot = load("bot")

    assert bot.reply("group", number, private=False) is None
    assert bot.chats == {}
    bot.reply("chat 2", number, private=True)
    for _ in range(3):
        assert "verification_id" in bot.chats["chat 2"]
        bot.reply("chat 2", wrong_code(read(number)), private=True)
    assert bot.chats["chat 2"] == {}


def test_the_bot_states_another_address_for_each_chat(load: Load) -> None:
    bot = load("bot")

    stated = {bot.address(chat) for chat in range(100)}

    assert len({address[:14] for address in stated}) == 100
    assert all(address.startswith("fd") for address in stated)


def test_a_request_whose_answer_is_lost_is_repeated_and_done_once(load: Load, server: Server, read: Read, number: str) -> None:
    before = states(server.database_url).total()
    with losing_answers(server, 2) as url:
        answer = load("retries").send("POST", f"{url}/api/v1/auth/signup/", json={"telephone_number": number})

    assert answer.status_code == 200
    assert read(number) == answer.json()["Ваш код активации"]
    assert states(server.database_url).total() == before + 1


@contextmanager
def losing_answers(server: Server, losses: int) -> Iterator[str]:
    """A proxy in front of the server, which passes on each request and loses the first answers."""
    left = iter(range(losses))

    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept = {name: self.headers[name] for name in ("Content-Type", "Idempotency-Key")}
            answer = requests.post(server.url + self.path, data=body, headers=kept, timeout=60)
            if next(left, None) is not None:
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    proxy = ThreadingHTTPServer((HOME, 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://{HOME}:{proxy.server_port}"
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
