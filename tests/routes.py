"""Every route of an application, with an address for each."""

from collections.abc import Iterator

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from tests.people import Page

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
SAMPLES = {
    "username": "me",
    "user_id": "A" * 22,
    "session_id": "A" * 22,
    "passkey_id": "A" * 22,
    "endpoint_id": "A" * 22,
    "client_id": "A" * 22,
    "invite_code": "Q9UK59",
    "name": "redoc.js",
    "filename": "hammer.css",
    "receipt": "1.A",
    "slug": "wrong-code",
    "token": "A" * 22,
}


def path(rule: Rule, **arguments: str) -> str:
    """The address of a route with these arguments, and samples for the others."""
    with_all = SAMPLES | arguments
    unknown = set(rule.arguments) - set(with_all)
    assert not unknown, f"{rule.rule}: Give an example of {unknown} in SAMPLES."
    made = rule.build({name: with_all[name] for name in rule.arguments})
    assert made is not None
    return made[1]


def rules(app: Flask, prefix: str = "/") -> list[Rule]:
    return sorted((rule for rule in app.url_map.iter_rules() if rule.rule.startswith(prefix)), key=lambda rule: rule.rule)


def send(client: FlaskClient, method: str, at: str, **more: object) -> TestResponse:
    """Sends one request, to the API with the body `{}` where the method allows a body."""
    if at.startswith("/api/") and method in ("POST", "PUT", "PATCH"):
        more.setdefault("json", {})
    if at.startswith("//"):  # the test client would read the rest as a host
        at, more["environ_overrides"] = "/", {"PATH_INFO": at}
    return client.open(at, method=method, buffered=True, **more)  # type: ignore[arg-type]


def every_answer(app: Flask, client: FlaskClient, host: str) -> Iterator[tuple[str, TestResponse]]:
    """The answers of every route to every method, and of unknown addresses. Changes everything that the client may change."""
    for rule in rules(app):
        for method in METHODS:
            yield f"{method} {rule.rule}", send(client, method, path(rule), base_url=host)
    for missing in ("/nothing/", "/api/v1/nothing/", "/static/nothing.css", "/documents/nothing.js", "/i/x", "/%00", "//"):
        yield f"GET {missing}", client.get(missing, base_url=host, buffered=True)
    for at, body, kind in (
        ("/api/v1/auth/signup/", b"a" * 17_000, "application/json"),
        ("/api/v1/auth/signup/", b"{", "application/json"),
        ("/api/v1/auth/signup/", b"{}", "text/plain"),
        ("/login/", b"a" * 17_000, "application/x-www-form-urlencoded"),
    ):
        yield f"POST {at} {len(body)} of {kind}", client.post(at, data=body, content_type=kind, base_url=host)


def form_token(client: FlaskClient) -> str:
    """The CSRF token of this browser's forms."""
    page = Page(client.get("/login/", follow_redirects=True).text)
    return next(form.fields["csrf_token"] for form in page.forms if "csrf_token" in form.fields)
