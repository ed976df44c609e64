"""A page of another origin calls the API from a browser: what it gets where its origin is allowed, and where it is not."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from hammer import create_app
from hammer.clients import registry
from tests import serving
from tests.conftest import SETTINGS, close
from tests.databases import Databases
from tests.serving import Server

PAGE = b"""<!doctype html><title>App</title><script>
async function call(method, url, body, token, credentials = "same-origin") {
    const headers = {"Accept-Language": "en"};
    if (body) Object.assign(headers, {"Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID()});
    if (token) headers.Authorization = `Bearer ${token}`;
    try {
        const answer = await fetch(url, {method, headers, credentials, body: body && JSON.stringify(body)});
        return {status: answer.status, headers: Object.fromEntries(answer.headers), json: await answer.json()};
    } catch (error) {
        return {error: error.name};
    }
}
</script>"""
ISOLATED = "/isolated"
"""The same page with `Cross-Origin-Embedder-Policy`."""
BLOCKED = {"error": "TypeError"}


class _Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if self.path == ISOLATED:
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Nothing: the base class would write to the terminal."""


@contextmanager
def pages() -> Iterator[str]:
    """Serves `PAGE` at an origin of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Shop:
    """A server of ours, and three origins."""

    server: Server
    listed: str
    """In `HAMMER_ORIGINS`."""
    of_client: str
    stranger: str


@pytest.fixture(scope="module")
def shop(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    url, log = databases.new(), tmp_path_factory.mktemp("server") / "log"
    with pages() as listed, pages() as of_client, pages() as stranger:
        app = create_app(replace(SETTINGS, database_url=url))
        with app.app_context():
            registry.add("Acme", [], origins=[of_client])
        close(app)
        with serving.serve(url, log, HAMMER_RESEND_SECONDS="60", HAMMER_ORIGINS=listed) as server:
            yield Shop(server, listed, of_client, stranger)


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    with chromium.new_context() as opened:
        yield opened


Call = Callable[..., Any]


def at(page: Page, server: Server) -> Call:
    """Calls the API from this page: `call("GET", "/users/me/", None, token)`."""

    def call(method: str, path: str, *more: object) -> Any:
        return page.evaluate("given => call(...given)", [method, f"{server.url}/api/v1{path}", *more])

    return call


def preflights(server: Server, route: str) -> int:
    """How many preflights the server has answered for this route."""
    line = f'hammer_request_seconds_count{{method="OPTIONS",route="{route}",status="200"}} '
    figures = server.request("GET", "/metrics").body.decode()
    return sum(int(float(figure.removeprefix(line))) for figure in figures.splitlines() if figure.startswith(line))


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize("path", ["/", ISOLATED])
@pytest.mark.parametrize("whose", ["listed", "of_client"])
def test_a_page_of_an_allowed_origin_signs_a_person_in(
    context: BrowserContext, shop: Shop, numbers: Iterator[str], whose: str, path: str
) -> None:
    page, number, route = context.new_page(), next(numbers), "/api/v1/users/<username>/"
    page.goto(getattr(shop, whose) + path)
    call = at(page, shop.server)

    sent = call("POST", "/auth/signup/", {"telephone_number": number})
    confirmed = {"verification_id": sent["json"]["verification_id"], "code": sent["json"]["Ваш код активации"]}
    token = call("POST", "/auth/code/", confirmed)["json"]["access_token"]
    before = preflights(shop.server, route)
    changed = [call("PATCH", "/users/me/", {"first_name": name}, token)["status"] for name in ("Anna", "Boris")]
    me = call("GET", "/users/me/", None, token)

    assert changed == [200, 200]
    assert me["json"]["telephone_number"] == number
    assert me["headers"]["x-request-id"]
    assert preflights(shop.server, route) == before + 1, "A browser remembers what it was allowed."


@pytest.mark.requirement("API-02")
def test_a_page_reads_errors_and_when_to_come_back(context: BrowserContext, shop: Shop, numbers: Iterator[str]) -> None:
    page, body = context.new_page(), {"telephone_number": next(numbers)}
    page.goto(shop.listed)
    call = at(page, shop.server)

    first, again = (call("POST", "/auth/signup/", body) for _ in range(2))

    assert (first["status"], again["status"]) == (200, 429)
    assert 0 < int(again["headers"]["retry-after"]) <= 60
    assert "ratelimit-policy" in first["headers"]
    assert "ratelimit" in first["headers"]
    assert call("GET", "/users/me/", None, "wrong")["headers"]["www-authenticate"].startswith("Bearer")
    assert call("GET", "/nothing/")["status"] == 404


@pytest.mark.requirement("API-07")
@pytest.mark.parametrize("path", ["/", ISOLATED])
def test_a_page_of_another_origin_reads_nothing_but_what_is_public(context: BrowserContext, shop: Shop, path: str) -> None:
    page = context.new_page()
    page.goto(shop.stranger + path)
    call = at(page, shop.server)

    assert call("GET", "/users/me/") == BLOCKED
    assert call("POST", "/auth/signup/", {"telephone_number": "+79290000001"}) == BLOCKED
    assert call("GET", "/openapi.json") == BLOCKED
    keys = page.evaluate("url => call('GET', url)", f"{shop.server.url}/.well-known/jwks.json")
    assert keys["json"]["keys"]


@pytest.mark.requirement("API-07")
def test_no_cookie_is_sent_and_a_page_that_insists_reads_nothing(context: BrowserContext, shop: Shop) -> None:
    context.add_cookies([{"name": "hammer_session", "value": "x", "url": shop.server.url}])
    page = context.new_page()
    with page.expect_request("**/healthz") as own:
        page.goto(f"{shop.server.url}/healthz")
    page.goto(shop.listed)
    call = at(page, shop.server)

    with page.expect_request("**/users/me/") as foreign:
        assert call("GET", "/users/me/")["status"] == 401

    assert own.value.all_headers()["cookie"] == "hammer_session=x"
    assert foreign.value.all_headers()["origin"] == shop.listed
    assert "cookie" not in foreign.value.all_headers()
    assert call("GET", "/users/me/", None, None, "include") == BLOCKED
