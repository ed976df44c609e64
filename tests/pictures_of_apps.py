"""The scenes of `tests/pictures.py` in which people sign in to apps."""

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, update

from hammer import clock
from hammer.clients import registry
from hammer.db.database import db
from hammer.models import Authorization, Consent, Session
from tests import apps

if TYPE_CHECKING:
    from tests.pictures import Visit

ALL = "openid phone profile invites offline_access"
HOST = "https://grafana.example.com"


def _begin(visit: "Visit", scope: str = ALL, **more: str) -> None:
    """Comes from an app."""
    with visit.app.app_context():
        callback = f"{HOST}/login/generic_oauth"
        client = registry.add("Grafana", (), redirect_uris=[callback])
    asked = {"client_id": client.id, "redirect_uri": callback, "response_type": "code", "scope": scope} | more
    asked |= {"code_challenge": apps.CHALLENGE, "code_challenge_method": "S256"}
    visit.page.route("**/onward.js*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    visit.open("/oauth/authorize?" + "&".join(f"{key}={value}" for key, value in asked.items()))


def scene_app_phone(visit: "Visit") -> None:
    _begin(visit)


def scene_app_code(visit: "Visit") -> None:
    _begin(visit, login_hint="%2B79298284301")
    with visit.page.expect_navigation():
        visit.page.click("main form button")


def scene_app_consent(visit: "Visit") -> None:
    visit.sign_in(invitees=12, invited=True)
    _begin(visit)


def scene_app_prove(visit: "Visit") -> None:
    visit.sign_in()
    with visit.app.app_context(), db.engine.begin() as rows:
        rows.execute(update(Session).values(created_at=clock.now() - timedelta(hours=1)))
    _begin(visit, max_age="60")


def scene_app_invited(visit: "Visit") -> None:
    visit.sign_in()
    _begin(visit, invite="K7M2QX")


def scene_app_back(visit: "Visit") -> None:
    visit.sign_in()
    _begin(visit, "openid")
    visit.page.click("main form button >> nth=0")


def scene_app_over(visit: "Visit") -> None:
    _begin(visit)
    with visit.app.app_context(), db.engine.begin() as rows:
        rows.execute(update(Authorization).values(expires_at=clock.now()))
    visit.open("/oauth/continue?" + visit.page.url.partition("?")[2])


def scene_app_logout(visit: "Visit") -> None:
    visit.sign_in()
    with visit.app.app_context():
        client = registry.add("Grafana", (), redirect_uris=[f"{HOST}/login"])
    visit.open(f"/oauth/logout?client_id={client.id}")


def scene_apps(visit: "Visit") -> None:
    visit.part = "section:has(#apps)"
    visit.sign_in()
    with visit.app.app_context():
        mine = db.session.scalars(db.select(Session)).one()
        apps.sign_in(visit.app.config["SETTINGS"], apps.add_app("Grafana"), mine, ALL)
        apps.sign_in(visit.app.config["SETTINGS"], apps.add_app("Wiki", first_party=True), mine, "openid phone")
        office = apps.add_app("Nextcloud of the North-East Office")
        with db.engine.begin() as rows:
            rows.execute(insert(Consent).values(user_id="me", client_id=office.id, scopes="openid profile", given_at=clock.now()))
    visit.open("/profile/#apps")
