"""Keys and secrets: what is made for one purpose means nothing for another, and is compared in even time; cookies and hosts."""

import hmac
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import flask
import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from config import Settings
from hammer.clients import registry, secrets
from hammer.db.database import db
from hammer.login import verifications
from hammer.login.verifications import Asker
from hammer.models import Client, Counter, Message, SendAllowance, SessionKind, SigningAlgorithm, Verification
from hammer.refusals import NotSignedIn, Refusal
from hammer.sessions import devices, keys, sessions
from hammer.sms import outbox
from tests import actions, delivery
from tests.actions import ANNA, BORIS, HOME
from tests.people import Browser, Program

HTTPS = "https://localhost"


@dataclass(frozen=True, kw_only=True)
class Turned(Settings):
    """The same settings with another key for one purpose, or (`alone`) for all purposes but that one."""

    purpose: str
    alone: bool

    def key(self, purpose: str) -> bytes:
        own = super().key(purpose)
        return hmac.digest(own, b"another", "sha256") if (purpose == self.purpose) != self.alone else own


def turned(settings: Settings, purpose: str, *, alone: bool) -> Turned:
    return Turned(**{field.name: getattr(settings, field.name) for field in fields(Settings)}, purpose=purpose, alone=alone)


# What people are given


def cookie(app: Flask, theirs: Settings) -> bool:
    """Whether a cookie that is made with these settings signs somebody in; so for the rest below."""
    settings = app.config["SETTINGS"]
    them = actions.sign_in(settings, ANNA, kind=SessionKind.BROWSER)
    return sessions.by_cookie(settings, sessions.cookie(theirs, them.session)) is not None


def refresh_token(app: Flask, theirs: Settings) -> bool:
    settings = app.config["SETTINGS"]
    them = actions.sign_in(settings, ANNA)
    try:
        sessions.refresh(settings, sessions.refresh_token(theirs, them.session))
    except NotSignedIn:
        return False
    return True


def device_token(app: Flask, theirs: Settings) -> bool:
    settings = app.config["SETTINGS"]
    return is_known(settings, devices.token(theirs, actions.sign_in(settings, ANNA).device))


def is_known(settings: Settings, shown: str) -> bool:
    """Whether somebody who shows this when they ask for a code is on a known device."""
    return actions.ask(settings, ANNA, asker=Asker(HOME.address, "en", shown)).device_id is not None


def access_token(app: Flask, theirs: Settings) -> bool:
    program = Program(app)
    program.sign_in(ANNA)
    claims = jwt.decode(program.tokens["access_token"], options={"verify_signature": False})
    key = keys.signing(keys.every(theirs))
    header = {"typ": "at+jwt", "kid": key.kid}
    program.tokens["access_token"] = jwt.encode(claims, key.private, algorithm=keys.ALGORITHM, headers=header)
    return program.is_signed_in()


def one_time_code(app: Flask, theirs: Settings) -> bool:
    """The code that stands in the text."""
    settings = app.config["SETTINGS"]
    asked = actions.ask(replace(settings, code_length=8))
    try:
        actions.confirm(settings, asked, delivery.code_for(theirs, ANNA))
    except Refusal:
        return False
    return True


def client_secret(app: Flask, theirs: Settings) -> bool:
    client = registry.add("Shop", [])
    return authenticated(app.config["SETTINGS"], client, secrets.secret(theirs, client)) is not None


def authenticated(settings: Settings, client: Client, shown: str) -> Client | None:
    return secrets.authenticate(settings, client.id, shown, address=HOME.address)


def receipt(app: Flask, theirs: Settings) -> bool:
    settings = app.config["SETTINGS"]
    actions.ask(settings)
    delivery.deliver(settings)
    url = outbox.receipt_url(theirs, db.session.query(Message).one())
    return app.test_client().get(urlsplit(url).path, query_string={"status": "delivered"}).status_code == 204


def id_token(app: Flask, theirs: Settings, algorithm: SigningAlgorithm) -> bool:
    made = keys.IdTokenKeys(theirs).signing(algorithm)
    return keys.IdTokenKeys(app.config["SETTINGS"]).known(made.kid) is not None


def id_token_of_es256(app: Flask, theirs: Settings) -> bool:
    return id_token(app, theirs, SigningAlgorithm.ES256)


def id_token_of_eddsa(app: Flask, theirs: Settings) -> bool:
    return id_token(app, theirs, SigningAlgorithm.EDDSA)


def id_token_of_rs256(app: Flask, theirs: Settings) -> bool:
    return id_token(app, theirs, SigningAlgorithm.RS256)


def form_cookie(app: Flask, theirs: Settings) -> bool:
    return bool(theirs.flask()["SECRET_KEY"] == app.config["SECRET_KEY"])


GIVEN: dict[str, Callable[[Flask, Settings], bool]] = {
    "sessions": cookie,
    "sessions ": refresh_token,
    "devices": device_token,
    "tokens": access_token,
    "id-tokens": id_token_of_es256,
    "id-tokens ": id_token_of_eddsa,
    "id-tokens-rsa": id_token_of_rs256,
    "codes": one_time_code,
    "receipts": receipt,
    "clients": client_secret,
    "pages": form_cookie,
}


@pytest.mark.usefixtures("context")
@pytest.mark.requirement("CRY-01")
@pytest.mark.parametrize(("purpose", "works"), GIVEN.items(), ids=[works.__name__ for works in GIVEN.values()])
@pytest.mark.parametrize("alone", [False, True], ids=["by-another-key-of-its-purpose", "by-other-keys-of-all-other-purposes"])
def test_what_is_given_away_is_made_with_the_key_of_its_purpose_alone(
    app: Flask, purpose: str, works: Callable[[Flask, Settings], bool], alone: bool
) -> None:
    assert works(app, turned(app.config["SETTINGS"], purpose.strip(), alone=alone)) == alone


@pytest.mark.usefixtures("context")
@pytest.mark.requirement("CRY-01")
def test_what_one_kind_of_proof_shows_is_worth_nothing_as_another(settings: Settings) -> None:
    program, browser = actions.sign_in(settings, ANNA), actions.sign_in(settings, BORIS, kind=SessionKind.BROWSER)
    of_device, refresh = devices.token(settings, program.device), sessions.refresh_token(settings, program.session)
    of_browser = sessions.cookie(settings, browser.session)
    for shown in (of_device, refresh, sessions.cookie(settings, program.session)):
        assert sessions.by_cookie(settings, shown) is None
    for shown in (of_device, of_browser, sessions.refresh_token(settings, browser.session)):
        with pytest.raises(NotSignedIn):
            sessions.refresh(settings, shown)
    client = registry.add("Shop", [])
    for shown in (of_device, refresh, of_browser):
        assert authenticated(settings, client, shown) is None
    for shown in (refresh, of_browser):
        assert not is_known(replace(settings, resend_wait=timedelta(0)), shown)


@pytest.mark.usefixtures("context")
@pytest.mark.requirement("CRY-01")
def test_what_is_counted_stands_under_hashes_of_its_purpose(settings: Settings) -> None:
    """Numbers that texts are counted of by known devices cannot be told from those of strangers, nor an address from a number."""
    owner = actions.user(settings, BORIS)
    them = actions.sign_in(settings, ANNA, invite_code=owner.invite_code)
    at_home = Asker(HOME.address, "en", devices.token(settings, them.device))
    actions.ask(settings, ANNA, asker=at_home)
    wrong = actions.ask(settings, ANNA)
    with pytest.raises(Refusal):
        actions.confirm(settings, wrong, actions.wrong(settings, wrong))
    with pytest.raises(Refusal):
        actions.activate(settings, owner.id, "AAAAAA")
    of_anna = settings.number_hash(ANNA)
    assert set(db.session.scalars(select(SendAllowance.number_hash))) == {
        of_anna,
        settings.number_hash(BORIS),
        settings.keyed_hash("numbers of known devices", ANNA),
    }
    scopes = set(db.session.scalars(select(Counter.scope)))
    address, prefix = settings.keyed_hash("addresses", HOME.address), settings.keyed_hash("prefixes", ANNA[:-4])
    assert {
        f"guesses/{of_anna}",
        f"texts/prefix/{prefix}",
        f"texts/address/h/{address}",
        f"texts/address/d/{address}",
        f"texts/known/{address}",
        f"invites/address/{address}",
        f"invites/number/{settings.keyed_hash('numbers', BORIS)}",
    } <= scopes


# In even time


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """What was compared in a time that tells nothing."""
    pairs: list[tuple[bytes, bytes]] = []
    in_even_time = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        pairs.append((one, other))
        return in_even_time(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return pairs


@pytest.mark.usefixtures("context")
def test_secrets_are_compared_in_even_time(settings: Settings, compared: list[tuple[bytes, bytes]], app: Flask) -> None:
    asked = actions.ask(settings)
    wrong, right = actions.wrong(settings, asked), actions.right(settings, asked)
    with pytest.raises(Refusal):
        actions.confirm(settings, asked, wrong)
    them = actions.confirm(settings, asked, right)
    assert compared == [(wrong.encode(), right.encode()), (right.encode(), right.encode())]
    shown: dict[str, Callable[[str], object]] = {
        sessions.cookie(settings, them.session): lambda forged: sessions.by_cookie(settings, forged),
        sessions.refresh_token(settings, them.session): lambda forged: sessions.refresh(settings, forged),
        devices.token(settings, them.device): lambda forged: is_known(settings, forged) or None,
        secrets.secret(settings, client := registry.add("Shop", [])): lambda forged: authenticated(settings, client, forged),
        receipt_of(settings): lambda forged: outbox.record_receipt(settings, forged, "delivered"),
    }
    for proof, show in shown.items():
        forged = proof[:-1] + ("A" if proof[-1] != "A" else "Q")
        compared.clear()
        with suppress(Refusal):
            assert show(forged) is None
        [(one, other)] = compared
        assert proof.encode().endswith(other)
        assert forged.encode().endswith(one)


def receipt_of(settings: Settings) -> str:
    return urlsplit(outbox.receipt_url(settings, db.session.query(Message).first() or Message())).path.strip("/").split("/")[-1]


def test_the_token_of_the_figures_is_compared_in_even_time(
    settings: Settings, app_with: Callable[[Settings], Flask], compared: list[tuple[bytes, bytes]]
) -> None:
    client = app_with(replace(settings, metrics_token="0123456789abcdef")).test_client()
    assert client.get("/metrics", headers={"Authorization": "Bearer 0123456789abcdeX"}).status_code == 404
    assert client.get("/metrics", headers={"Authorization": "Bearer 0123456789abcdef"}).status_code == 200
    assert compared == [(b"0123456789abcdef", b"0123456789abcdeX"), (b"0123456789abcdef", b"0123456789abcdef")]


# Cookies


@pytest.fixture
def secure(settings: Settings, app_with: Callable[[Settings], Flask]) -> Flask:
    """Served by https."""
    app = app_with(replace(settings, public_url=HTTPS))
    app.config["PREFERRED_URL_SCHEME"] = "https"
    return app


class Careful(Browser):
    """Says where it comes from, as browsers do, and keeps what answers said of cookies."""

    def __init__(self, app: Flask) -> None:
        super().__init__(app)
        self.client.environ_base["HTTP_REFERER"] = f"{HTTPS}/"
        self.cookies: dict[str, set[str]] = {}

    def _arrive(self, answer: TestResponse) -> Any:
        for one in (*answer.history, answer):
            for line in one.headers.getlist("Set-Cookie"):
                name, _, rest = line.partition("=")
                self.cookies[name] = {part.strip() for part in rest.split(";")[1:]}
        return super()._arrive(answer)


def flags(attributes: set[str]) -> set[str]:
    """What decides whether a browser takes it for the same cookie, and keeps it from others."""
    return {one for one in attributes if not re.match(r"(Expires|Max-Age)=", one)}


ALL_FLAGS = {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"}


@pytest.mark.requirement("SES-02")
@pytest.mark.parametrize("goes", ["signs-out", "is-deleted"])
def test_a_cookie_is_deleted_with_the_flags_that_it_was_set_with(secure: Flask, goes: str) -> None:
    browser = Careful(secure)
    browser.sign_in(ANNA)
    assert {name: flags(said) for name, said in browser.cookies.items()} == dict.fromkeys(
        ("__Host-hammer", "__Host-hammer_device", "__Host-hammer_form"), ALL_FLAGS
    )
    browser.cookies.clear()
    if goes == "signs-out":
        browser.sign_out()
    else:
        browser.send(next(form for form in browser.get("/profile/delete/").forms if not form.action.startswith("/logout")))
    assert not browser.is_signed_in()
    over = browser.cookies["__Host-hammer"]
    assert {"Max-Age=0"} <= over
    assert flags(over) == ALL_FLAGS


# Hosts


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_no_header_makes_another_host(settings: Settings, app_with: Callable[[Settings], Flask], hops: int) -> None:
    app = app_with(replace(settings, proxy_hops=hops, public_url="https://login.example.com"))
    claims = {
        "X-Forwarded-Host": "evil.example, evil.example",
        "X-Forwarded-Server": "evil.example",
        "X-Forwarded-Port": "666",
        "X-Forwarded-Prefix": "/evil.example",
        "X-Host": "evil.example",
        "Forwarded": "host=evil.example",
    }
    with app.test_client() as client:
        for path in ("/", "/login/", "/profile/", "/i/HQ5C3V", "/nowhere", "/api/v1/users/me/", "/api/v1/openapi.json"):
            answer = client.get(path, headers=claims, base_url="https://login.example.com")
            assert "evil.example" not in answer.text + str(answer.headers)
            assert (flask.request.host, flask.request.script_root) == ("login.example.com", "")


def test_links_are_those_of_the_settings_whatever_the_host_header_says(app: Flask, settings: Settings) -> None:
    browser = Browser(app)
    browser.sign_in(ANNA)
    for path in ("/profile/", "/login/", "/"):
        answer = FlaskClient.get(browser.client, path, headers={"Host": "evil.example"})
        assert "evil.example" not in answer.text + str(answer.headers)


def test_a_verification_tells_its_own_person_apart(settings: Settings) -> None:
    """Two with the same number and length have different codes, and one that is for something else another one."""
    one = Verification(id="A" * 22, telephone_number=ANNA, purpose=verifications.LOGIN, code_length=8)
    others = [
        Verification(id="B" * 22, telephone_number=ANNA, purpose=verifications.LOGIN, code_length=8),
        Verification(id="A" * 22, telephone_number=BORIS, purpose=verifications.LOGIN, code_length=8),
        Verification(id="A" * 22, telephone_number=ANNA, purpose=verifications.CHANGE_NUMBER, code_length=8),
    ]
    key = settings.key("codes")
    assert one.code(key) not in {other.code(key) for other in others}
