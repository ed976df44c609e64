"""Every route states its access and enforces it: for strangers, the user, another user, staff, and clients with each scope."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import select, update

from hammer.clients import registry
from hammer.db.database import db
from hammer.models import Referral, Scope, Session, User
from hammer.web import access
from hammer.web.access import Access
from tests import routes
from tests.backends import Backend
from tests.people import Browser, Program

EVERYONE = {
    "api.signup", "api.resend_code", "api.confirm_code", "api.refresh",
    "oauth.token", "oauth.revoke", "oauth.userinfo", "oauth.description",
    "sign_in.authorize", "sign_in.continue_", "sign_in.leave", "sign_in.other", "sign_in.logout", "sign_in.confirm_logout",
    "admin.enrolment_link",
    "auth.home", "auth.phone", "auth.code", "auth.resend", "auth.landing",
    "documents.bundle", "documents.openapi_json", "documents.openapi_yaml", "documents.redoc",
    "branding.mark", "branding.style",
    "documents.swagger", "problems.explain", "health.healthz", "health.readyz", "health.telemetry", "receipts.receive", "static",
    "well_known.list_keys", "well_known_files.android_apps", "well_known_files.apple_apps", "well_known_files.favicon",
    "well_known_files.robots", "well_known_files.security", "well_known_files.touch_icon",
}  # fmt: skip
"""Public routes. A route that becomes public must be added here too."""
STAFF_ONLY = {
    "api.create_user", "api.list_texts", "api.search_texts", "api.list_events",
    "api.list_webhooks", "api.create_webhook", "api.show_webhook", "api.update_webhook", "api.delete_webhook", "api.rotate_webhook",
    "api.test_webhook", "api.enable_webhook", "api.disable_webhook", "api.replay_webhook", "api.list_attempts",
}  # fmt: skip
OWN_ONLY = {"api.activate_invite_code"}
"""Calls that even staff cannot make for others."""
OTHERS_ONLY = {"api.block_user", "api.unblock_user"}
"""Calls that nobody can make for themselves."""


@dataclass
class Cast:
    """New people for each call, whom no earlier call has changed."""

    stranger: Program
    owner: Program
    other: Program
    staff: Program

    @property
    def number(self) -> str:
        number: str = self.owner.result("GET", "/users/me/")["telephone_number"]
        return number


@pytest.fixture
def cast(app: Flask) -> Callable[[], Cast]:
    numbers = iter(range(1000))

    def gather() -> Cast:
        people = Cast(*(Program(app) for _ in range(4)))
        for person in (people.owner, people.other, people.staff):
            person.sign_in(f"+7929000{next(numbers):04}")
        make_staff(app, people.staff)
        return people

    return gather


def make_staff(app: Flask, person: Program, *, really: bool = True) -> None:
    with app.app_context():
        theirs = User.invite_code == person.tokens["invite_code"]
        db.session.execute(update(User).where(theirs).values(is_staff=really))


def session_of(app: Flask, person: Program) -> str:
    with app.app_context():
        theirs = select(Session.id).join(User, User.id == Session.user_id).where(User.invite_code == person.tokens["invite_code"])
        return str(db.session.scalar(theirs))


def calls(app: Flask) -> list[tuple[str, str, str]]:
    """Method, route and endpoint of every call of the JSON API."""
    return [
        (method, rule.rule, rule.endpoint)
        for rule in routes.rules(app, "/api/")
        for method in sorted(set(rule.methods or ()) - {"OPTIONS", "HEAD"})
    ]


def ask(person: Program, method: str, route: str, **arguments: str) -> int:
    at = route.removeprefix("/api/v1")
    for name, value in (routes.SAMPLES | arguments).items():
        at = at.replace(f"<{name}>", value)
    return person.call(method, at, {} if method in ("POST", "PUT", "PATCH") else None).status_code


@pytest.mark.requirement("AZN-02")
def test_every_route_states_its_access(app: Flask) -> None:
    stated = access.by_endpoint(app)

    assert {name for name, who in stated.items() if who == Access.PUBLIC} == EVERYONE
    assert {name for name, who in stated.items() if who == Access.STAFF and not name.startswith("admin.")} == STAFF_ONLY


@pytest.mark.requirement("AZN-02")
def test_an_application_with_an_unmarked_route_does_not_start(app: Flask) -> None:
    app.view_functions["forgotten"] = lambda: ""
    try:
        with pytest.raises(access.Unmarked, match="forgotten"):
            access.by_endpoint(app)
    finally:
        del app.view_functions["forgotten"]


@pytest.mark.requirement("AZN-02")
def test_of_two_guards_the_stricter_counts() -> None:
    def view() -> None: ...

    assert access.public(access.guarded(Access.STAFF, view)).access == Access.STAFF  # type: ignore[attr-defined]


@pytest.mark.requirement("AZN-02")
def test_every_call_of_the_api_keeps_to_its_access(app: Flask, cast: Callable[[], Cast]) -> None:
    stated = access.by_endpoint(app)

    for method, route, endpoint in calls(app):
        people = cast()
        who = stated[endpoint]
        statuses = {name: ask(getattr(people, name), method, route) for name in ("stranger", "owner", "staff")}
        assert (statuses["stranger"] == 401) == (who > Access.PUBLIC), f"{method} {route}: {statuses}"
        assert (statuses["owner"] == 403) == (who == Access.STAFF or endpoint in OTHERS_ONLY), f"{method} {route}: {statuses}"
        if who > Access.PUBLIC and endpoint not in OTHERS_ONLY:
            assert statuses["staff"] not in (401, 403), f"{method} {route}: {statuses}"


def scope_of(app: Flask, endpoint: str) -> Scope | None:
    """The scope that a client needs for a call; None where clients are not admitted, or are not asked."""
    return getattr(app.view_functions[endpoint], "scope", None)


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("scopes", [[], *([scope] for scope in Scope), list(Scope)], ids=lambda scopes: " ".join(scopes) or "none")
def test_every_call_of_the_api_admits_clients_by_their_scopes_alone(app: Flask, scopes: list[Scope]) -> None:
    stated = access.by_endpoint(app)
    shop = Backend(app, *scopes)

    for method, route, endpoint in calls(app):
        scope, status = scope_of(app, endpoint), ask(shop, method, route)
        asked = scope is not None or stated[endpoint] > Access.PUBLIC
        assert (status == 403) == (asked and scope not in scopes), f"{method} {route}: {status}"
        assert status < 500
        assert status != 401 or endpoint == "api.refresh", f"{method} {route}"


@pytest.mark.requirement("AZN-02")
def test_the_document_states_the_scope_that_a_call_enforces(app: Flask) -> None:
    paths = app.test_client().get("/api/v1/openapi.json").get_json()["paths"]
    with_scope = set()

    for method, route, endpoint in calls(app):
        at = route.replace("<", "{").replace(">", "}")
        security = paths.get(at, {}).get(method.lower(), {}).get("security", [])
        scope = scope_of(app, endpoint)
        assert [s["client"] for s in security if "client" in s] == ([[scope]] if scope else []), f"{method} {route}"
        with_scope |= {scope}
    assert with_scope >= {
        Scope.CODES_SEND,
        Scope.USERS_READ,
        Scope.USERS_WRITE,
        Scope.INVITES_READ,
        Scope.EVENTS_READ,
        Scope.WEBHOOKS_MANAGE,
    }


@pytest.mark.requirement("AZN-02")
def test_a_client_is_nobody_where_a_user_is_asked_for(app: Flask, cast: Callable[[], Cast]) -> None:
    people, shop = cast(), Backend(app, *Scope)
    theirs = session_of(app, people.owner)
    token = shop.tokens["access_token"]

    for method, at, body in (
        ("POST", "/auth/logout/", None),
        ("GET", "/auth/sessions/", None),
        ("DELETE", "/auth/sessions/", None),
        ("DELETE", f"/auth/sessions/{theirs}/", None),
        ("GET", "/users/me/export/", None),
        ("POST", f"/users/{people.number}/invite/", {"invite_code": people.other.tokens["invite_code"]}),
        ("POST", "/users/me/telephone_number/", {"telephone_number": "+79291234567"}),
        ("POST", "/users/me/telephone_number/code/", {"verification_id": "A" * 22, "code": "1234"}),
        ("GET", "/texts/", None),
    ):
        assert shop.call(method, at, body).status_code == 403, f"{method} {at}"
    for method, at, body in (
        ("GET", "/users/me/", None),
        ("PATCH", "/users/me/", {"first_name": "A"}),
        ("DELETE", "/users/me/", None),
    ):
        assert shop.call(method, at, body).status_code == 404, f"{method} {at}"
    assert shop.call("POST", "/auth/refresh/", {"refresh_token": token}).status_code == 401
    page = app.test_client().get("/profile/", headers={"Authorization": f"Bearer {token}", "Cookie": f"hammer={token}"})
    assert (page.status_code, page.headers["Location"]) == (303, "/login/")
    assert people.owner.is_signed_in()


@pytest.mark.requirement("AZN-02")
def test_the_token_of_a_user_gets_no_token_of_a_client(cast: Callable[[], Cast]) -> None:
    staff = cast().staff
    for secret in (staff.tokens["access_token"], staff.tokens["refresh_token"]):
        shown = {"grant_type": "client_credentials", "client_id": "A" * 22, "client_secret": secret}
        assert staff.client.post("/oauth/token", data=shown).status_code == 401
        headers = {"Authorization": f"Bearer {secret}"}
        assert staff.client.post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers).status_code == 401


@pytest.mark.requirement("AZN-02")
def test_a_client_that_was_disabled_is_refused_at_every_call_that_asks_who_it_is(app: Flask) -> None:
    stated = access.by_endpoint(app)
    shop = Backend(app, *Scope)
    with app.app_context():
        registry.disable(shop.client_id)

    for method, route, endpoint in calls(app):
        if scope_of(app, endpoint) is not None or stated[endpoint] > Access.PUBLIC:
            assert ask(shop, method, route) == 401, f"{method} {route}"


@pytest.mark.requirement("AZN-01")
def test_other_users_are_not_found_except_by_staff(app: Flask, cast: Callable[[], Cast]) -> None:
    asked = 0

    for method, route, endpoint in calls(app):
        if "<username>" in route:
            people = cast()
            others = ask(people.other, method, route, username=people.number)
            unknown = ask(people.other, method, route, username="+79999999999")
            staffs = ask(people.staff, method, route, username=people.number)
            # Known and unknown numbers have the same answer, so that callers cannot find out which numbers have accounts.
            assert others == unknown, f"{method} {route}"
            assert others in (404, 422), f"{method} {route}"
            assert staffs in ((403, 422) if endpoint in OWN_ONLY else (200, 204, 422)), f"{method} {route}: {staffs}"
            assert people.owner.is_signed_in() or (method, staffs) == ("DELETE", 204) or endpoint in OTHERS_ONLY
            asked += 1
    assert asked >= 6


@pytest.mark.requirement("AZN-01")
def test_valid_bodies_change_nothing_of_another_user(app: Flask, cast: Callable[[], Cast]) -> None:
    people = cast()
    before = people.owner.result("GET", "/users/me/")
    names = {"username": "stolen", "first_name": "S", "last_name": "S"}
    code = people.staff.tokens["invite_code"]

    for method in ("POST", "PATCH", "PUT"):
        assert people.other.call(method, f"/users/{people.number}/", names).status_code == 404
    assert people.other.call("POST", f"/users/{people.number}/invite/", {"invite_code": code}).status_code == 404
    assert people.staff.call("POST", f"/users/{people.number}/invite/", {"invite_code": code}).status_code == 403
    assert people.other.call("GET", f"/users/{people.number}/invitees/").status_code == 404
    assert people.other.call("DELETE", f"/users/{people.number}/").status_code == 404

    assert people.owner.result("GET", "/users/me/") == before
    with app.app_context():
        assert db.session.query(Referral).count() == 0


@pytest.mark.requirement("AZN-01")
def test_sessions_of_other_users_are_not_found(app: Flask, cast: Callable[[], Cast]) -> None:
    people = cast()
    theirs = session_of(app, people.owner)

    for person in (people.other, people.staff):
        assert person.call("DELETE", f"/auth/sessions/{theirs}/").status_code == 404
        assert theirs not in person.call("GET", "/auth/sessions/").text
        assert person.call("DELETE", "/auth/sessions/").status_code == 204
    assert people.owner.is_signed_in()


@pytest.mark.requirement("AZN-01")
def test_the_list_of_users_is_the_caller_except_for_staff(cast: Callable[[], Cast]) -> None:
    people = cast()

    assert [user["invite_code"] for user in people.owner.result("GET", "/users/")] == [people.owner.tokens["invite_code"]]
    assert len(people.staff.result("GET", "/users/")) == 3


@pytest.mark.requirement("AZN-02")
def test_former_staff_are_refused_at_the_next_request(app: Flask, cast: Callable[[], Cast]) -> None:
    people = cast()
    assert len(people.staff.result("GET", "/users/")) == 3

    make_staff(app, people.staff, really=False)

    assert len(people.staff.result("GET", "/users/")) == 1
    assert people.staff.call("POST", "/users/", {"telephone_number": "+79291234567"}).status_code == 403
    assert people.staff.call("GET", f"/users/{people.number}/").status_code == 404


@pytest.mark.requirement("AZN-02")
def test_pages_for_users_redirect_strangers_to_the_login(app: Flask, browser: Browser) -> None:
    stated = access.by_endpoint(app)
    stranger = app.test_client()
    browser.sign_in("+79290000001")
    sent = {"csrf_token": routes.form_token(stranger)}
    asked = 0

    for rule in routes.rules(app):
        if rule.endpoint.startswith("auth.") and stated[rule.endpoint] > Access.PUBLIC:
            for method in sorted(set(rule.methods or ()) - {"OPTIONS", "HEAD"}):
                answer = stranger.open(routes.path(rule), method=method, data=sent if method == "POST" else None)
                assert (answer.status_code, answer.headers["Location"]) == (303, "/login/"), f"{method} {rule.rule}"
                asked += 1
    assert asked >= 8
    assert browser.is_signed_in()


@pytest.mark.requirement("AZN-01")
def test_the_pages_end_no_session_of_another_user(app: Flask, browser: Browser, cast: Callable[[], Cast]) -> None:
    people = cast()
    browser.sign_in("+79290000777")
    sent = {"csrf_token": routes.form_token(browser.client)}

    assert browser.client.post(f"/profile/sessions/{session_of(app, people.owner)}/", data=sent).status_code == 404
    assert people.owner.is_signed_in()
