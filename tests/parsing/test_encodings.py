"""Every token and cookie has one valid spelling: the one that was issued. Libraries accept many more."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from hammer import codes
from hammer.db.database import db
from hammer.models import Verification
from tests import routes
from tests.people import Browser, Program

ANNA = "+79290000001"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
Spelling = Callable[[str], str]

INSIDE: dict[str, Spelling] = {
    "with its unused bits set": lambda token: token[:-1] + ALPHABET[ALPHABET.index(token[-1]) ^ 1],
    "with a space in it": lambda token: f"{token[:-5]} {token[-5:]}",
    "with a tab in it": lambda token: f"{token[:-5]}\t{token[-5:]}",
    "with a line break in it": lambda token: f"{token[:-5]}\r\n {token[-5:]}",
    "with a letter of no alphabet in it": lambda token: f"{token[:-5]}!{token[-5:]}",
    "with a letter of no script in it": lambda token: f"{token[:-5]}é{token[-5:]}",
    "of the other alphabet": lambda token: re.sub("[-_]", lambda sign: "+/"["-_".index(sign[0])], token),
    "with a letter of the other alphabet in it": lambda token: f"{token[:-5]}+{token[-5:]}",
    "percent-encoded": lambda token: f"{token[:-1]}%{ord(token[-1]):02X}",
}
PADDED: dict[str, Spelling] = {
    "padded": lambda token: token + "=" * (-len(token.rpartition(".")[2]) % 4),
    "padded in part": lambda token: token + "=",
    "padded too much": lambda token: token + "====",
    "with a dot behind it": lambda token: token + ".",
}
SPELLINGS = INSIDE | PADDED
AROUND: dict[str, Spelling] = {
    "with a line break behind it": lambda token: token + "\n",
    "with a line break before it": lambda token: "\n" + token,
    "with NBSP behind it": lambda token: token + "\xa0",
    "with NUL behind it": lambda token: token + "\0",
    "in quotes": lambda token: f'"{token}"',
}


def spelt_otherwise(token: str, spell: Spelling) -> str:
    """Spells the token in the given way. If that makes no difference to it, it gets a prefix."""
    other = spell(token)
    return other if other != token else "=" + token


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("part", [b"a", b"ab", b"abc", b"\xff\xfe\xfd\xfc", b""])
def test_base64url_has_one_spelling(part: bytes, how: str) -> None:
    token = f"{codes.base64url(part * 5)}.{codes.base64url(part * 7)}"
    assert codes.is_canonical(token)
    if len(token) > 5 and not (how == "with its unused bits set" and len(part * 7) % 3 == 0):
        other = SPELLINGS[how](token)
        assert other in (token, token + ".") or not codes.is_canonical(other)


def bearer(program: Program, header: str) -> int:
    answer = program.client.get("/api/v1/users/me/", environ_overrides={"HTTP_AUTHORIZATION": header})
    return int(answer.status_code)


@pytest.mark.parametrize("how", SPELLINGS | AROUND)
@pytest.mark.requirement("TOK-01")
def test_an_access_token_has_one_spelling(program: Program, how: str) -> None:
    program.sign_in(ANNA)
    token = program.tokens["access_token"]
    other = spelt_otherwise(token, (SPELLINGS | AROUND)[how])
    for _ in range(2):
        assert bearer(program, f"Bearer {other}") == 401
        assert bearer(program, f"Bearer {token}") == 200


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}", " Bearer {} ", "\tBearer {}\t"])
@pytest.mark.requirement("TOK-07")
def test_a_bearer_header_is_read_as_http_defines_it(program: Program, header: str) -> None:
    program.sign_in(ANNA)
    assert bearer(program, header.format(program.tokens["access_token"])) == 200


@pytest.mark.parametrize(
    "header",
    [
        "{}",
        "Bearer{}",
        "Bearer\t{}",
        "Bearer\xa0{}",
        "Bearer\n{}",
        "Bearer: {}",
        "Bearer {},",
        "Bearer {0} {0}",
        "Bearer {0},Bearer {0}",
        "Bearer Bearer {}",
        "Token {}",
        "Bearеr {}",
        "Bearer {}; x",
        "Bearer token={}",
    ],
)
@pytest.mark.requirement("TOK-07")
def test_no_other_header_is_a_bearer_header(program: Program, header: str) -> None:
    program.sign_in(ANNA)
    assert bearer(program, header.format(program.tokens["access_token"])) == 401


@pytest.mark.parametrize("how", SPELLINGS | AROUND)
@pytest.mark.requirement("TOK-04")
def test_a_refresh_token_has_one_spelling_and_other_spellings_end_no_session(program: Program, how: str) -> None:
    program.sign_in(ANNA)
    token = program.tokens["refresh_token"]
    other = spelt_otherwise(token, (SPELLINGS | AROUND)[how])
    assert program.call("POST", "/auth/refresh/", {"refresh_token": other}).status_code in (401, 422)
    program.result("POST", "/auth/refresh/", {"refresh_token": token})


@pytest.mark.parametrize("how", SPELLINGS | AROUND)
@pytest.mark.requirement("THR-06")
def test_a_device_token_has_one_spelling(app: Flask, program: Program, how: str) -> None:
    program.sign_in(ANNA)
    shown = spelt_otherwise(program.tokens["device_token"], (SPELLINGS | AROUND)[how])
    answer = program.call("POST", "/auth/signup/", {"telephone_number": ANNA, "device_token": shown})
    with app.app_context():
        asked = answer.json and db.session.get(Verification, answer.json.get("verification_id", ""))
        assert asked is None or asked.device_id is None


def with_cookies(browser: Browser, method: str, path: str, *, data: Any = None, **cookies: str) -> Any:
    """The answer to a browser that sends these cookies, exactly as written here, besides or instead of its own."""
    names = ("hammer", "hammer_device", "hammer_form")
    own = {name: cookie.value for name in names if (cookie := browser.client.get_cookie(name))}
    header = "; ".join(f"{name}={value}" for name, value in (own | cookies).items())
    apart = browser.app.test_client(use_cookies=False)
    return apart.open(path, method=method, data=data, environ_overrides={"HTTP_COOKIE": header})


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.requirement("SES-02")
def test_the_cookie_of_a_session_has_one_spelling(browser: Browser, how: str) -> None:
    browser.sign_in(ANNA)
    cookie = browser.client.get_cookie("hammer")
    assert cookie is not None
    assert with_cookies(browser, "GET", "/profile/").status_code == 200
    other = spelt_otherwise(cookie.value, SPELLINGS[how])
    assert with_cookies(browser, "GET", "/profile/", hammer=other).status_code == 303


@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.requirement("SES-02")
def test_the_cookie_of_a_form_has_one_spelling(browser: Browser, how: str) -> None:
    browser.get("/i/Q9UK59")
    cookie = browser.client.get_cookie("hammer_form")
    assert cookie is not None
    asked = routes.form_token(browser.client)
    cookie = browser.client.get_cookie("hammer_form")
    assert cookie is not None
    data = {"csrf_token": asked, "telephone_number": ANNA}
    other = spelt_otherwise(cookie.value, SPELLINGS[how])
    assert with_cookies(browser, "POST", "/login/", data=data, hammer_form=other).status_code in (400, 403)
    assert with_cookies(browser, "POST", "/login/", data=data).status_code == 303


@pytest.mark.parametrize("how", SPELLINGS | AROUND)
@pytest.mark.requirement("WEB-01")
def test_the_token_of_a_form_has_one_spelling(browser: Browser, how: str) -> None:
    token = routes.form_token(browser.client)
    other = spelt_otherwise(token, (SPELLINGS | AROUND)[how])
    for shown, statuses in ((other, (400, 403)), (token, (303,))):
        answer = browser.client.post("/login/", data={"csrf_token": shown, "telephone_number": ANNA})
        assert answer.status_code in statuses, answer.status_code
