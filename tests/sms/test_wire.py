"""What no client library would send, straight into the socket of a running server: every answer is clean, and it lives on."""

import json
import re
import socket
from collections.abc import Callable, Iterator

import pytest

from tests import serving
from tests.serving import Server

LINES = b"Host: localhost\r\nConnection: close\r\n"
JSON = LINES + b"Content-Type: application/json\r\n"


def send(server: Server, raw: bytes) -> tuple[int, str]:
    """The status and the rest of what the server answers to these bytes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        try:
            connection.sendall(raw)
            while not re.search(rb"\r\n\r\n.*[}>\n]", answer, re.DOTALL) and (part := connection.recv(65536)):
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            pass  # it answered before it read everything
    assert answer.startswith(b"HTTP/1."), answer
    return int(answer.split()[1]), answer.decode()


def post(path: str, body: bytes, length: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nContent-Length: {length or len(body)}\r\n".encode() + JSON + b"\r\n" + body


@pytest.fixture(autouse=True)
def lives_on(server: Server) -> Iterator[None]:
    yield
    assert server.request("GET", "/healthz").status == 200
    assert b"Traceback" not in server.log.read_bytes()


def test_ten_megabytes_are_too_large(server: Server) -> None:
    status, answer = send(server, post("/api/v1/auth/signup/", json.dumps({"telephone_number": "9" * 10_000_000}).encode()))
    assert status == 413
    assert "application/problem+json" in answer
    assert '"/problems/invalid-request"' in answer


@pytest.mark.parametrize("header", ["Authorization", "Accept-Language", "X-Forwarded-For", "Cookie"])
@pytest.mark.parametrize("size", [60_000, 100_000])
def test_a_header_of_a_hundred_kilobytes_is_refused(server: Server, header: str, size: int) -> None:
    raw = f"GET /api/v1/users/me/ HTTP/1.1\r\n{header}: Bearer {'a' * size}\r\n".encode() + LINES + b"\r\n"
    read = 400 if header == "X-Forwarded-For" else 401  # no caller from near is called that, and the server is in demo mode
    assert send(server, raw)[0] == (read if size < 65_536 else 431)


@pytest.mark.parametrize("scheme", [b"Basic", b"Bearer", b"Digest"])
@pytest.mark.parametrize("path", [b"/api/v1/users/me/", b"/metrics"])
def test_strange_bytes_after_any_scheme_are_answered(server: Server, scheme: bytes, path: bytes) -> None:
    raw = b"GET " + path + b" HTTP/1.1\r\nAuthorization: " + scheme + b" \xff\r\n" + LINES + b"\r\n"
    assert send(server, raw)[0] == (200 if path == b"/metrics" else 401)


@pytest.mark.parametrize("size", [b"zz", b"-1"])
@pytest.mark.parametrize("command", [serving.flask_run, serving.gunicorn])
def test_pieces_that_are_none_are_a_bad_request(
    serve: Callable[..., Server], command: Callable[[int], list[str]], size: bytes
) -> None:
    raw = b"POST /api/v1/auth/signup/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + JSON + b"\r\n" + size + b"\r\n{}"
    status, answer = send(serve(command), raw)
    assert status == 400
    assert '"/problems/invalid-request"' in answer


def test_a_body_of_unknown_length_is_not_cut_but_refused(server: Server) -> None:
    body = b'{"telephone_number": "12"' + b" " * 17_000 + b"}"
    raw = b"POST /api/v1/auth/signup/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + JSON
    status, answer = send(server, raw + b"\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    assert status == 413
    assert '"/problems/invalid-request"' in answer


def test_an_endless_address_is_refused(server: Server) -> None:
    assert send(server, b"GET /api/v1/users/" + b"a" * 100_000 + b"/ HTTP/1.1\r\n" + LINES + b"\r\n")[0] == 414


@pytest.mark.parametrize("token", [b"a\x00b", "１２３".encode(), "😀".encode(), b"\xff\xfe", b"\x7f"])
def test_strange_bytes_in_a_header_are_not_signed_in(server: Server, token: bytes) -> None:
    status, answer = send(server, b"GET /api/v1/users/me/ HTTP/1.1\r\nAuthorization: Bearer " + token + b"\r\n" + LINES + b"\r\n")
    assert status == 401
    assert "application/problem+json" in answer


@pytest.mark.parametrize("number", ["\x00", "＋７９２９８２８", "😀", "\ud800", "+7929\x008284301", "9" * 10_000])
def test_strange_numbers_are_refused(server: Server, number: str) -> None:
    status, answer = send(server, post("/api/v1/auth/signup/", json.dumps({"telephone_number": number}).encode()))
    assert status in (400, 422)
    assert "application/problem+json" in answer


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"\x00", "{".encode("utf-16"), b'{"telephone_number": "\xff"}'])
def test_bytes_that_are_no_utf8_are_no_json(server: Server, body: bytes) -> None:
    status, answer = send(server, post("/api/v1/auth/signup/", body))
    assert status == 400
    assert '"/problems/invalid-request"' in answer


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "９"])
def test_a_length_that_is_none_is_refused(server: Server, length: str) -> None:
    assert send(server, post("/api/v1/auth/signup/", b"{}", length))[0] == 400
