"""What the log holds of a request, and what it never holds."""

import http.cookiejar
import io
import json
import logging
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from sqlalchemy import create_engine, func, select, update

from config import Settings
from hammer import codes, events
from hammer.db.database import db
from hammer.models import Event, Verification
from hammer.users import accounts, people
from hammer.web import logs
from tests import actions
from tests.conftest import SETTINGS
from tests.people import Page, Program
from tests.serving import Server

HOST = "https://login.example.com"
ANNA, BORIS, CLARA, DORA, EVA, FAINA, GALINA = NUMBERS = [f"+7929000000{n}" for n in range(1, 8)]


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


@pytest.mark.requirement("LOG-01")
def test_a_request_is_one_line_of_json(production: Flask, log: io.StringIO) -> None:
    answer = production.test_client().post("/api/v1/auth/signup/?a=b", json={"telephone_number": "7"}, base_url=HOST)

    (line,) = lines(log)
    assert line.pop("duration_ms") > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("at"))
    assert line == {
        "level": "INFO",
        "client_id": None,
        "verification": None,
        "logger": "hammer.web.logs",
        "message": "POST /api/v1/auth/signup/ 422",
        "request_id": answer.headers["X-Request-ID"],
        "method": "POST",
        "route": "/api/v1/auth/signup/",
        "status": 422,
        "user_id": None,
        "refusal": answer.json["type"].rpartition("/")[2] if answer.json else "",
        "reason": None,
        "waited_ms": None,
    }


@pytest.mark.requirement("LOG-02")
@pytest.mark.parametrize("at", [f"/api/v1/users/{ANNA}/", f"/{ANNA}/1234", f"/api/v1/users/?q={ANNA}", f"/i/{ANNA}?code=1234"])
def test_a_line_names_the_route_and_not_the_path(production: Flask, log: io.StringIO, at: str) -> None:
    production.test_client().get(at, base_url=HOST, headers={"User-Agent": ANNA, "Referer": ANNA, "X-Request-ID": ANNA})

    assert lines(log)
    assert ANNA[1:] not in log.getvalue()
    assert "1234" not in re.sub(r'"request_id": "\w+"|"at": "[^"]+"|"duration_ms": [\d.]+', "", log.getvalue())


@pytest.mark.requirement("LOG-01")
def test_the_log_and_the_audit_trail_have_the_same_request_id(
    app: Flask, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    program.sign_in(ANNA)
    answer = program.call("GET", "/users/me/")

    found = [record.request for record in caplog.records if hasattr(record, "request")]
    with app.app_context():
        noted = set(db.session.scalars(select(Event.request_id)))
    assert found[-1]["user_id"]
    assert answer.headers["X-Request-ID"] not in noted
    assert noted
    assert all(re.fullmatch(r"[0-9a-f]{32}", str(one)) for one in noted)
    assert events.request_id.get() is None


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """The log as machines read it, of whatever application."""
    lines = io.StringIO()
    handler = logging.StreamHandler(lines)
    handler.setFormatter(logs.ForMachines())
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


@pytest.mark.requirement("LOG-01")
def test_everything_important_leaves_an_event_or_a_refusal_with_its_request_id(
    app: Flask, settings: Settings, program: Program, written: io.StringIO
) -> None:
    poor = replace(settings, guess_budgets={4: 1, 6: 250, 8: 10_000}, resend_wait=timedelta(0))
    app.config["SETTINGS"] = poor

    def did(action: Callable[[], object]) -> tuple[set[str], set[str]]:
        """The events and the refusals of one action. The request ids of its events are in its lines of the log."""
        written.seek(0)
        written.truncate()
        with app.app_context():
            before = db.session.scalar(select(func.max(Event.id))) or 0
        action()
        with app.app_context():
            noted = db.session.scalars(select(Event).where(Event.id > before)).all()
        found = [line for line in lines(written) if "route" in line]
        assert {event.request_id for event in noted} <= {line["request_id"] for line in found}
        return {event.kind for event in noted}, {line["refusal"] for line in found if line["refusal"]}

    def guess(of: str, code: str) -> Any:
        return program.call("POST", "/auth/code/", {"verification_id": of, "code": code})

    def ask(number: str = ANNA) -> str:
        answer = program.call("POST", "/auth/signup/", {"telephone_number": number})
        return str((answer.json or {}).get("verification_id"))

    def wrong(of: str) -> str:
        with app.app_context():
            return actions.wrong(app.config["SETTINGS"], db.session.get_one(Verification, of))

    assert did(ask) == ({"code-sent"}, set())
    mine = ask()
    also = ask()
    assert did(lambda: guess(mine, wrong(mine))) == (set(), {"wrong-code"})
    assert did(lambda: guess(also, wrong(also))) == ({"guesses-spent"}, {"wrong-code"})
    app.config["SETTINGS"] = settings
    assert did(lambda: program.sign_in(BORIS)) == ({"code-sent", "signed-up"}, set())
    assert did(lambda: program.sign_in(BORIS)) == ({"code-sent", "signed-in"}, set())
    ask(CLARA)
    assert did(lambda: ask(CLARA)) == (set(), {"too-many-requests"})
    assert did(lambda: program.call("GET", "/users/me/export/")) == ({"data-exported"}, set())
    assert did(lambda: program.call("PATCH", "/users/me/", {"username": "boris"})) == ({"user-renamed"}, set())
    assert did(lambda: program.call("POST", "/users/", {"telephone_number": DORA})) == (set(), {"not-allowed"})
    with app.app_context():
        accounts.set_staff(settings, people.find(settings, BORIS), True)
    assert did(lambda: program.call("POST", "/users/", {"telephone_number": DORA})) == ({"user-created"}, set())
    assert did(lambda: program.call("DELETE", f"/users/{DORA}/")) == ({"user-deleted"}, set())
    with app.app_context():
        acts = db.session.execute(select(Event.kind, Event.actor_id).where(Event.actor_id.is_not(None))).all()
        assert {tuple(act) for act in acts} == {(kind, people.find(settings, BORIS)) for kind in ("user-created", "user-deleted")}
    assert did(lambda: program.call("DELETE", "/users/me/")) == ({"user-deleted"}, set())


@pytest.mark.requirement("LOG-01")
@pytest.mark.usefixtures("context")
def test_actions_of_operators_leave_events(settings: Settings) -> None:
    """On the command line there is no request, and the operator has no account."""
    anna = accounts.create(settings, ANNA, {}, is_staff=True)
    accounts.set_staff(settings, anna, False)
    accounts.set_blocked(anna, True)
    accounts.set_blocked(anna, False)
    accounts.delete(settings, anna)
    noted = db.session.scalars(select(Event).order_by(Event.id)).all()
    kinds = ["user-created", "staff-given", "staff-taken", "user-blocked", "user-unblocked", "user-deleted"]
    assert [event.kind for event in noted] == kinds
    assert {(event.user_id, event.actor_id, event.request_id) for event in noted} == {(anna, None, None)}


@pytest.mark.requirement("LOG-02")
@pytest.mark.parametrize(
    ("hops", "given", "trusted"),
    [
        (0, "abcdefgh-1234", False),
        (1, "abcdefgh-1234", True),
        (1, "short", False),
        (1, "a" * 65, False),
        (1, "abcdefgh 1234", False),
        (1, "abcdefgh\x1b[31m", False),
        (1, "ПриветПривет", False),
    ],
)
def test_a_request_id_is_taken_only_from_our_proxy(app: Flask, hops: int, given: str, trusted: bool) -> None:
    app.config["SETTINGS"] = replace(app.config["SETTINGS"], proxy_hops=hops)
    environ = {"HTTP_X_REQUEST_ID": given.encode().decode("latin-1")}

    answered = app.test_client().get("/healthz", environ_overrides=environ).headers["X-Request-ID"]

    assert (answered == given) == trusted
    assert re.fullmatch(r"[A-Za-z0-9-]{8,64}", answered)


TYPED = "00000000"
HOSTILE = "a\r\nFAKE line\n\x1b[31mred\x1b[0m\x9b2J\u2028next\u202eesrever\0"


@pytest.mark.requirement("LOG-02")
def test_a_warning_of_a_library_is_one_line_too() -> None:
    warn = r"""warnings.warn("The number +79991234567\nis old.")"""
    log = f"import warnings; from hammer.web import logs; logs._write(logs.ForMachines()); {warn}"
    ran = subprocess.run([sys.executable, "-c", log], capture_output=True, text=True, check=True)

    [line] = lines(io.StringIO(ran.stderr))
    assert (line["level"], line["logger"]) == ("WARNING", "py.warnings")
    assert "The number …\nis old." in line["message"]


@pytest.mark.requirement("LOG-02")
@pytest.mark.parametrize("formatter", [logs.ForMachines(), logs.ForPeople()], ids=["machines", "people"])
def test_no_value_starts_a_new_line(formatter: logging.Formatter) -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "a value: %s", (HOSTILE,), None)

    line = formatter.format(record)

    assert len(line.splitlines()) == 1
    assert line.isprintable()


@pytest.mark.requirement("LOG-02")
def test_numbers_and_tokens_in_messages_are_masked(production: Flask, log: io.StringIO) -> None:
    token = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlMTIz"
    logging.getLogger("another.library").warning("sending %s to %s", token, ANNA)

    (line,) = lines(log)
    assert line["message"] == "sending … to …"


@pytest.mark.requirement("LOG-02", "LOG-03")
@pytest.mark.parametrize("formatter", [logs.ForMachines(), logs.ForPeople()], ids=["machines", "people"])
def test_a_trace_names_places_in_the_code_and_no_values(formatter: logging.Formatter) -> None:
    inner = KeyError(f"Key (telephone_number)=({ANNA}) already exists, code 1234\r\n\x1b[31m")
    outer = ValueError("eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0")
    try:
        raise outer from inner
    except ValueError as fault:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "Unforeseen", (), (type(fault), fault, fault.__traceback__))

    written = formatter.format(record)

    assert "test_logs.py" in written
    assert "Key (telephone_number)=(" in written
    assert "raise outer from inner" in written
    for secret in (ANNA[1:], "1234", "eyJ", "\x1b"):
        assert secret not in written.partition("Key (")[2]


@pytest.mark.requirement("LOG-03")
def test_an_exception_is_one_line_with_its_trace(production: Flask, log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"no route to {ANNA}, code 123456")

    monkeypatch.setattr("hammer.login.by_code.send_code", broken)

    answer = production.test_client().post("/api/v1/auth/signup/", json={"telephone_number": ANNA}, base_url=HOST)

    fault, request = lines(log)
    assert (fault["level"], request["status"]) == ("ERROR", 500)
    assert fault["request_id"] == request["request_id"] == answer.headers["X-Request-ID"]
    assert "RuntimeError: no route to …, code …" in fault["trace"]
    assert ANNA[1:] not in log.getvalue()


# The following test uses the pages and the API of a real server, and then searches everything that it wrote for secrets.


@dataclass
class Heard:
    """All that the server said, and the secrets that were used with it."""

    locations: list[str] = field(default_factory=list)
    """Wherever an answer leads: in its headers, and in the links and forms of pages."""
    headers: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    secrets: set[str] = field(default_factory=set)
    """Codes, tokens and cookies."""
    ids: set[str] = field(default_factory=set)
    """Ids of verifications: with a code, they sign in."""
    statuses: Counter[int] = field(default_factory=Counter)

    def take(self, status: int, headers: list[tuple[str, str]], body: str) -> None:
        self.statuses[status] += 1
        self.locations += [value for name, value in headers if name in ("Location", "Link", "Content-Location")]
        self.locations += re.findall(r'(?:href|action|src)="([^"]*)"', body)
        self.headers += [f"{name}: {value}" for name, value in headers if name != "Set-Cookie"]
        (self.errors if status >= 400 else self.pages).append(body)


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Visitor:
    """A browser at the real server, scripts off, whose every answer is kept."""

    def __init__(self, server: Server, heard: Heard) -> None:
        self.server, self.heard = server, heard
        self.token = ""
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.jar), Stay())

    def go(self, path: str, form: dict[str, str] | None = None) -> str:
        data = None if form is None else urlencode({"csrf_token": self.token} | form).encode()
        request = urllib.request.Request(self.server.url + path, data)  # noqa: S310
        try:
            answer = self.opener.open(request, timeout=20)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body: str = answer.read().decode()
            self.heard.take(answer.status, answer.headers.items(), body)
        tokens = [fields.fields["csrf_token"] for fields in Page(body).forms if "csrf_token" in fields.fields]
        self.token = tokens[0] if tokens else self.token
        self.heard.secrets |= {
            cookie.value for cookie in self.jar if cookie.value and len(cookie.value) > 20
        }  # the other is a language
        return body


@pytest.fixture(scope="module")
def quiet(serve: Callable[..., Server]) -> Server:
    """The server as people run it, whose texts stay in its memory, so that its log is its log alone."""
    return serve(HAMMER_DEMO="off", HAMMER_SMS_URL="memory://", HAMMER_CODE_LENGTH="8")


def newest_code(server: Server, number: str) -> str:
    """As the text says it, computed from the row and the key that the server has."""
    engine = create_engine(server.database_url)
    with engine.connect() as connection:
        verifications = db.metadata.tables["verifications"]
        mine = select(verifications).where(verifications.c.telephone_number == number)
        row = connection.execute(mine.order_by(verifications.c.created_at.desc())).first()
    engine.dispose()
    assert row is not None
    key = SETTINGS.key("codes")
    return codes.one_time_code(key, verification_id=row.id, telephone_number=number, purpose=row.purpose, length=row.code_length)


def make_staff(server: Server, number: str) -> None:
    engine = create_engine(server.database_url)
    users = db.metadata.tables["users"]
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.telephone_number == number).values(is_staff=True))
    engine.dispose()


def through_the_pages(server: Server, heard: Heard) -> None:
    browser = Visitor(server, heard)

    def code_for(number: str) -> str:
        code = newest_code(server, number)
        heard.secrets.add(code)
        return code

    def sign_in(number: str) -> str:
        browser.go("/login/")
        browser.go("/login/", {"telephone_number": number})
        browser.go("/login/code/")
        browser.go("/login/code/", {"code": code_for(number)})
        return browser.go("/profile/")

    browser.go("/?lang=en")
    browser.go("/i/Q9UK59")
    browser.go("/login/")
    browser.go("/login/", {"telephone_number": "12"})
    browser.go("/login/", {"telephone_number": ANNA})
    heard.secrets.add(TYPED)
    browser.go("/login/code/", {"code": TYPED})
    browser.go("/login/resend/", {})
    browser.go("/login/code/", {"code": code_for(ANNA)})
    assert "csrf_token" in browser.go("/profile/")
    browser.go("/profile/", {"username": "anna", "first_name": "A", "last_name": "B"})
    browser.go("/profile/invite/", {"invite_code": "ZZZZZZ"})
    browser.go("/profile/invite/decline/", {})
    browser.go("/profile/", {"invite_code": "ZZZZZZ"})
    browser.go("/profile/", {"username": ANNA})
    browser.go("/profile/?after=x")
    browser.go("/profile/export/")
    browser.go("/profile/sessions/", {})
    browser.go(f"/profile/sessions/{'A' * 22}/", {})
    browser.go("/profile/number/")
    browser.go("/profile/number/", {"telephone_number": "abc"})
    browser.go("/profile/number/", {"telephone_number": EVA, "end_other_sessions": "y"})
    browser.go("/profile/number/resend/", {})
    browser.go("/profile/number/code/", {"code": TYPED})
    browser.go("/profile/number/code/", {"code": code_for(EVA)})
    assert "929 000" in browser.go("/profile/").replace("\N{NO-BREAK SPACE}", " ")
    browser.go("/profile/proof/send/", {"then": "auth.delete"})
    browser.go("/profile/proof/", {"code": TYPED})
    browser.go("/profile/proof/", {"code": code_for(EVA)})
    browser.go(f"/nothing/{ANNA}")
    browser.go("/profile/")
    browser.go("/logout/", {})
    assert "csrf_token" in sign_in(EVA)
    browser.go("/profile/delete/")
    browser.go("/profile/delete/", {})
    browser.go("/profile/")


def through_the_api(server: Server, heard: Heard) -> None:
    def call(method: str, path: str, body: object = None, token: str = "") -> Any:
        answer = server.call(method, path, body, token=token)
        heard.take(answer.status, list(answer.headers.items()), answer.body.decode())
        return answer.json if answer.body else None

    def confirm(at: str, asked: dict[str, Any], token: str = "") -> Any:
        heard.ids.add(asked["verification_id"])
        code = newest_code(server, asked["telephone_number"])
        wrong = actions.wrong_code(code)
        heard.secrets |= {code, wrong}
        call("POST", at, {"verification_id": asked["verification_id"], "code": wrong}, token)
        return call("POST", at, {"verification_id": asked["verification_id"], "code": code}, token)

    def sign_in(number: str, **more: str) -> dict[str, Any]:
        asked = call("POST", "/auth/signup/", {"telephone_number": number} | more)
        call("POST", "/auth/resend/", {"verification_id": asked["verification_id"]})
        tokens: dict[str, Any] = confirm("/auth/code/", asked)
        heard.secrets |= {tokens[name] for name in ("access_token", "refresh_token", "device_token")}
        return tokens

    boris, clara = sign_in(BORIS), sign_in(CLARA)
    token = sign_in(BORIS, device_token=boris["device_token"])["access_token"]
    call("POST", "/users/me/invite/", {"invite_code": "ZZZZZZ"}, token)
    call("POST", "/users/me/invite/", {"invite_code": clara["invite_code"]}, token)
    call("POST", "/users/me/invite/", {"invite_code": boris["invite_code"]}, token)
    sign_in(FAINA, invite_code=clara["invite_code"])
    call("GET", "/users/me/invitees/?limit=1", None, clara["access_token"])
    call("GET", "/users/me/", None, clara["access_token"])
    call("PATCH", f"/users/{BORIS}/", {"username": "boris"}, token)
    call("PATCH", "/users/me/", {"telephone_number": BORIS, "username": ANNA}, token)
    call("PUT", "/users/me/", {"username": "boris", "first_name": "Борис", "last_name": ""}, token)
    call("GET", f"/users/{CLARA}/", None, token)
    call("GET", f"/users/{DORA}/", None, token)
    call("GET", f"/nothing/{DORA}/", None, token)
    call("GET", f"/users/{BORIS}/", None, "x" * 40)
    call("GET", "/users/me/export/", None, token)
    call("GET", "/auth/sessions/", None, token)
    call("DELETE", f"/auth/sessions/{'A' * 22}/", None, token)
    call("DELETE", "/auth/sessions/", None, token)
    call("PUT", f"/auth/signup/{DORA}")
    asked = call("POST", "/users/me/telephone_number/", {"telephone_number": GALINA}, token)
    confirm("/users/me/telephone_number/code/", asked, token)
    confirm("/users/me/telephone_number/code/", asked | {"verification_id": "A" * 22}, token)
    call("POST", "/auth/refresh/", {"refresh_token": "x" + boris["refresh_token"][1:]})
    fresh = call("POST", "/auth/refresh/", {"refresh_token": clara["refresh_token"]})
    heard.secrets |= {fresh["access_token"], fresh["refresh_token"]}
    call("POST", "/users/", {"telephone_number": DORA}, token)
    make_staff(server, GALINA)
    call("POST", "/users/", {"telephone_number": DORA}, token)
    call("POST", "/users/", {"telephone_number": DORA}, token)
    call("GET", f"/users/?q={DORA[1:]}", None, token)
    call("GET", f"/users/{DORA}/", None, token)
    call("DELETE", f"/users/{DORA}/", None, token)
    call("DELETE", f"/users/{CLARA}/", None, fresh["access_token"])
    call("POST", "/auth/logout/", None, token)
    server.request("GET", f"/api/v1/users/{DORA}/?q={DORA}#{DORA}")
    for line in (f"GET /api/v1/users/{DORA} {DORA}/ HTTP/1.1", f"{DORA} / HTTP/1.1", f"GET /{DORA}\x1b[31m HTTP/1.1"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as raw:
            raw.sendall(f"{line}\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            raw.recv(4096)


@pytest.mark.requirement("LOG-02", "API-01", "TOK-05")
def test_no_secret_is_in_a_log_table_header_or_address(quiet: Server) -> None:
    heard = Heard()
    through_the_pages(quiet, heard)
    through_the_api(quiet, heard)
    heard.secrets.discard("")
    numbers = {number.removeprefix("+7") for number in NUMBERS}
    log = quiet.log.read_text()

    assert len(heard.secrets) > 40
    assert set(heard.statuses) >= {200, 201, 204, 303, 401, 403, 404, 409, 422}, heard.statuses
    assert 500 not in heard.statuses
    for done in ("POST /profile/number/code/", "POST /logout/", "POST /profile/delete/", "POST /profile/proof/"):
        assert f"{done} 303" in log, done
    assert "nothing" not in log, "The server logs requests itself, with their paths."
    assert not [secret for secret in heard.secrets | heard.ids | numbers if secret in log], log[-3000:]
    assert "\x1b" not in log
    # A refused form shows again what was typed into it.
    errors = [one for one in heard.errors if "<form" not in one or TYPED not in one]
    assert len(errors) > 10
    for found in (heard.headers, errors, heard.locations):
        assert not [secret for secret in heard.secrets | heard.ids for one in found if secret in one]
    assert not [secret for secret in heard.secrets for page in heard.pages if secret in page and "access_token" not in page]
    assert not [number for number in numbers for one in heard.headers + heard.locations if number in one]
    assert not [number for number in numbers for one in heard.errors if number in one and "<form" not in one]

    engine = create_engine(quiet.database_url)
    looked_at = 0
    with engine.connect() as connection:
        for name, table in db.metadata.tables.items():
            for row in connection.execute(select(table)).mappings():
                looked_at += 1
                for column, value in row.items():
                    assert not [secret for secret in heard.secrets if secret in str(value)], f"{name}.{column}"
                    if column != "telephone_number":
                        assert not [number for number in numbers if number in str(value)], f"{name}.{column}"
    engine.dispose()
    assert looked_at > 60
