"""Every route says for whom it is, and keeps to it: asked by nobody, a user, another user and staff."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import select, update

from hammer.db.database import db
from hammer.models import Referral, Session, User
from hammer.web import access
from hammer.web.access import Access
from tests import routes
from tests.people import Browser, Program

ANYBODY = {
    "api.signup", "api.resend", "api.code", "api.refresh",
    "auth.home", "auth.phone", "auth.code", "auth.resend", "auth.landing",
    "documents.bundle", "documents.openapi_json", "documents.openapi_yaml", "documents.redoc",
    "documents.swagger", "health.healthz", "health.readyz", "health.telemetry", "receipts.receive", "static", "well_known.jwks",
    "well_known_files.favicon", "well_known_files.robots", "well_known_files.security", "well_known_files.touch_icon",
}  # fmt: skip
"""What is open to everybody. A route that becomes so has to be written here as well."""
STAFF_ALONE = {"api.create_user", "api.list_texts"}
ONES_OWN = {"api.activate"}
"""What even staff cannot do for others."""


@dataclass
class Cast:
    """Fresh people, of whom nobody has changed anything yet."""

    nobody: Program
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
def test_every_route_says_for_whom_it_is(app: Flask) -> None:
    stated = access.by_endpoint(app)

    assert {name for name, whom in stated.items() if whom == Access.PUBLIC} == ANYBODY
    assert {name for name, whom in stated.items() if whom == Access.STAFF} == STAFF_ALONE


@pytest.mark.requirement("AZN-02")
def test_an_application_with_a_route_for_nobody_in_particular_does_not_start(app: Flask) -> None:
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
        whom = stated[endpoint]
        told = {name: ask(getattr(people, name), method, route) for name in ("nobody", "owner", "staff")}
        assert (told["nobody"] == 401) == (whom > Access.PUBLIC), f"{method} {route}: {told}"
        assert (told["owner"] == 403) == (whom == Access.STAFF), f"{method} {route}: {told}"
        if whom > Access.PUBLIC:
            assert told["staff"] not in (401, 403), f"{method} {route}: {told}"


@pytest.mark.requirement("AZN-01")
def test_others_are_not_there_for_a_user_and_are_for_staff(app: Flask, cast: Callable[[], Cast]) -> None:
    asked = 0

    for method, route, endpoint in calls(app):
        if "<username>" in route:
            people = cast()
            others = ask(people.other, method, route, username=people.number)
            nobodys = ask(people.other, method, route, username="+79999999999")
            staffs = ask(people.staff, method, route, username=people.number)
            # What is said of somebody and of nobody is the same, so that numbers cannot be tried out.
            assert others == nobodys, f"{method} {route}"
            assert others in (404, 422), f"{method} {route}"
            assert staffs in ((403, 422) if endpoint in ONES_OWN else (200, 204, 422)), f"{method} {route}: {staffs}"
            assert people.owner.is_signed_in() or (method, staffs) == ("DELETE", 204)
            asked += 1
    assert asked >= 6


@pytest.mark.requirement("AZN-01")
def test_with_a_whole_body_too_nothing_of_somebody_else_is_changed(app: Flask, cast: Callable[[], Cast]) -> None:
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
def test_sessions_of_others_are_not_there(app: Flask, cast: Callable[[], Cast]) -> None:
    people = cast()
    theirs = session_of(app, people.owner)

    for person in (people.other, people.staff):
        assert person.call("DELETE", f"/auth/sessions/{theirs}/").status_code == 404
        assert theirs not in person.call("GET", "/auth/sessions/").text
        assert person.call("DELETE", "/auth/sessions/").status_code == 204
    assert people.owner.is_signed_in()


@pytest.mark.requirement("AZN-01")
def test_a_list_of_users_is_oneself_except_for_staff(cast: Callable[[], Cast]) -> None:
    people = cast()

    assert [user["invite_code"] for user in people.owner.result("GET", "/users/")] == [people.owner.tokens["invite_code"]]
    assert len(people.staff.result("GET", "/users/")) == 3


@pytest.mark.requirement("AZN-02")
def test_who_is_staff_no_longer_is_refused_at_the_next_request(app: Flask, cast: Callable[[], Cast]) -> None:
    people = cast()
    assert len(people.staff.result("GET", "/users/")) == 3

    make_staff(app, people.staff, really=False)

    assert len(people.staff.result("GET", "/users/")) == 1
    assert people.staff.call("POST", "/users/", {"telephone_number": "+79291234567"}).status_code == 403
    assert people.staff.call("GET", f"/users/{people.number}/").status_code == 404


@pytest.mark.requirement("AZN-02")
def test_pages_that_are_not_for_everybody_lead_a_stranger_to_the_first_form(app: Flask, browser: Browser) -> None:
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
def test_the_pages_end_no_session_of_somebody_else(app: Flask, browser: Browser, cast: Callable[[], Cast]) -> None:
    people = cast()
    browser.sign_in("+79290000777")
    sent = {"csrf_token": routes.form_token(browser.client)}

    assert browser.client.post(f"/profile/sessions/{session_of(app, people.owner)}/", data=sent).status_code == 404
    assert people.owner.is_signed_in()
