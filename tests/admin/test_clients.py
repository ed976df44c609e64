"""The pages of apps: what staff may do to a client, its secret that is shown once, and the keys of id tokens."""

import re
from collections import defaultdict
from html import unescape
from html.parser import HTMLParser

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select
from time_machine import Traveller
from werkzeug.test import TestResponse

from hammer import clock as clocks
from hammer import events
from hammer.admin.clients import DOUBTS, SCOPES
from hammer.clients import registry, secrets
from hammer.db.database import db
from hammer.models import Client, Event, Scope, TokenKey
from hammer.outgoing import uris
from hammer.sessions.keys import Purpose
from hammer.users import accounts
from tests import routes
from tests.actions import everything_stored
from tests.operators import Operator
from tests.people import Page

ANNA, BORIS = "+79290000001", "+79290000002"
CALLBACK, OTHER, LOGOUT = "https://app.example.com/callback", "https://app.example.com/other", "https://app.example.com/logout"
ADD, PROVIDER = "/admin/apps/add/", "/admin/apps/provider/"
ACTIONS = ("change", "rotate", "disable", "enable", "remove", "check")
MOST_BYTES = 30_000
SECRET = re.compile(r"[\w-]{22}\.\d+\.[\w-]{43}")

Fields = dict[str, list[str]]
Typed = str | list[str]


class Shown(HTMLParser):
    """What a browser sends for the form of a page as it is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: Fields = defaultdict(list)
        self._inside = False
        self._name = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = found.get("id") == "form"
        if tag in ("input", "select", "textarea"):
            self._name = found.get("name", "")
        if not self._inside or not self._name:
            return
        if tag == "textarea" or (tag == "input" and (found.get("type") != "checkbox" or "checked" in found)):
            self.fields[self._name].append(found.get("value", ""))
        if tag == "option" and "selected" in found:
            self.fields[self._name].append(found["value"])
        if tag != "textarea" and tag != "select":
            self._name = self._name if tag == "option" else ""

    def handle_data(self, data: str) -> None:
        if self.lasttag == "textarea" and self._inside and self._name:
            self.fields[self._name][-1] += data.removeprefix("\r\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("textarea", "select"):
            self._name = ""


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, ANNA).open()


@pytest.fixture
def shop(app: Flask) -> str:
    """The id of a client that people sign in to, and that calls the API."""
    with app.app_context():
        return registry.add("Shop", [Scope.USERS_READ], redirect_uris=[CALLBACK]).id


def at(client: str, action: str = "") -> str:
    return f"/admin/apps/{client}/{action}/" if action else f"/admin/apps/{client}/"


def shown(operator: Operator, path: str) -> Fields:
    answer = operator.answer(path)
    assert answer.status_code == 200, path
    return Shown(answer.text).fields


def post(operator: Operator, path: str, fields: Fields, **typed: Typed) -> TestResponse:
    return operator.client.post(path, data=fields | typed, headers={"Accept-Language": "en"})


def send(operator: Operator, path: str, **typed: Typed) -> TestResponse:
    """Opens a page, types into its form and sends it. What is typed as an empty list is not sent."""
    return post(operator, path, shown(operator, path), **typed)


def said(operator: Operator, answer: TestResponse) -> str:
    """The words of the page that an answer leads to."""
    assert answer.status_code == 303, Page(answer.text).words
    return operator.get(answer.headers["Location"]).words


def stored(app: Flask, client: str) -> Client:
    with app.app_context():
        return registry.find(client)


def everything(app: Flask) -> list[str]:
    with app.app_context():
        return everything_stored()


def noted(app: Flask) -> list[tuple[str, str | None, str | None]]:
    """Kind, actor and client of the events about clients and keys."""
    about = Event.kind.like("client-%") | (Event.kind == events.Kind.KEY_ROTATED)
    with app.app_context():
        return [
            (each.kind, each.actor_id, each.client_id) for each in db.session.scalars(select(Event).where(about).order_by(Event.id))
        ]


def is_right(app: Flask, client: str, secret: str) -> bool:
    with app.app_context():
        return secrets.authenticate(app.config["SETTINGS"], client, secret, address="192.0.2.1") is not None


def secret_on(answer: TestResponse) -> str:
    found = SECRET.search(unescape(answer.text))
    assert found is not None, Page(answer.text).words
    return found[0]


def test_a_new_app_has_all_that_was_typed_and_its_secret_is_shown_with_what_to_copy(app: Flask, operator: Operator) -> None:
    answer = send(
        operator,
        ADD,
        name=" Grafana ",
        redirect_uris=f"  {CALLBACK} \r\n\r\n{OTHER}\r\n",
        post_logout_redirect_uris=OTHER,
        algorithm="ES256",
        first_party="y",
        origins="https://App.example.com",
        sends_per_hour="7",
        scopes=["users:read", "codes:send"],
    )

    client = stored(app, "Grafana")
    assert (client.redirect_uris, client.post_logout_redirect_uris) == (f"{CALLBACK} {OTHER}", OTHER)
    assert (client.scopes, client.origins, client.sends_per_hour) == ("codes:send users:read", "https://app.example.com", 7)
    assert (client.algorithm, client.first_party, client.pkce_required, client.public) == ("ES256", True, True, False)
    assert is_right(app, client.id, secret_on(answer))
    for copied in (client.id, "http://localhost:5000/.well-known/openid-configuration"):
        assert f"<code>{copied}</code>" in answer.text
    assert noted(app) == [("client-added", operator.user_id, client.id)]
    with app.app_context():
        [key] = db.session.scalars(select(TokenKey).where(TokenKey.purpose == Purpose.ID))
    assert key.algorithm == "ES256"


@pytest.mark.requirement("AZN-05")
def test_a_secret_is_shown_once_and_stays_nowhere(app: Flask, operator: Operator, caplog: pytest.LogCaptureFixture) -> None:
    secret = [secret_on(send(operator, ADD, name="Grafana"))]
    client = stored(app, "Grafana").id
    answer = send(operator, at(client, "rotate"))
    secret.append(secret_on(answer))
    assert answer.headers["Cache-Control"] == "no-store"
    assert [is_right(app, client, each) for each in secret] == [True, True]

    pages = ["/admin/", "/admin/apps/", "/admin/audit/", f"/admin/audit/?client={client}", ADD, at(client)]
    words = [operator.answer(page).text for page in (*pages, at(client, "change"), at(client, "rotate"))]
    for place in (*words, *everything(app), caplog.text):
        assert not any(each.rpartition(".")[2] in place for each in secret)


def test_a_form_that_is_sent_twice_is_done_once_and_gets_the_same_answer(app: Flask, operator: Operator) -> None:
    new = shown(operator, ADD) | {"name": ["Grafana"]}
    first, again = (secret_on(post(operator, ADD, new)) for _ in range(2))
    client = stored(app, "Grafana").id
    rotation = shown(operator, at(client, "rotate"))
    second, repeated = (secret_on(post(operator, at(client, "rotate"), rotation)) for _ in range(2))

    assert first == again != second == repeated
    assert stored(app, client).generation == 1
    assert secret_on(post(operator, ADD, new)) == first  # what it was answered then, not the secret of now
    for action in ("change", "disable", "enable"):
        fields = shown(operator, at(client, action)) | ({"name": ["Market"]} if action == "change" else {})
        for _ in range(2):
            assert post(operator, at(client, action), fields).status_code == 303
    fields = shown(operator, at(client, "remove"))
    assert [post(operator, at(client, "remove"), fields).status_code for _ in range(2)] == [303, 404]
    assert [kind for kind, *_ in noted(app)] == [
        "client-added", "client-secret-rotated", "client-changed", "client-disabled", "client-enabled", "client-removed",
    ]  # fmt: skip


def test_after_a_leak_two_rotations_end_both_secrets_from_before(
    app: Flask, operator: Operator, shop: str, clock: Traveller
) -> None:
    with app.app_context():
        leaked = secrets.secret(app.config["SETTINGS"], registry.get(shop))
    send(operator, at(shop, "rotate"))
    assert is_right(app, shop, leaked)
    clock.shift(1)
    assert "The secret before stops working" in operator.get(at(shop, "rotate")).words
    newest = secret_on(send(operator, at(shop, "rotate")))

    assert (is_right(app, shop, leaked), is_right(app, shop, newest)) == (False, True)
    assert stored(app, shop).generation == 2


def test_a_public_app_gets_no_secret(app: Flask, operator: Operator) -> None:
    answer = send(operator, ADD, name="Phone", public="y", redirect_uris="com.example.app:/callback")

    assert "It has no secret" in said(operator, answer)
    phone = stored(app, "Phone").id
    assert "A public client has no secret." in operator.get(at(phone, "rotate")).words
    assert "is changed" in said(operator, send(operator, at(phone, "change"), name="Telephone"))
    changed = stored(app, phone)
    assert (changed.name, changed.public, changed.pkce_required, changed.generation) == ("Telephone", True, True, 0)


def test_a_change_is_of_what_differs_and_its_page_shows_what_is_stored(app: Flask, operator: Operator, shop: str) -> None:
    assert "Nothing was changed" in said(operator, send(operator, at(shop, "change")))
    given: dict[str, Typed] = {
        "name": "Market",
        "redirect_uris": f"{CALLBACK}\r\n{OTHER}",
        "scopes": ["codes:send", "events:read"],
        "algorithm": "EdDSA",
        "sends_per_hour": "5",
        "first_party": "y",
    }
    assert "is changed" in said(operator, send(operator, at(shop, "change"), pkce_required=[], **given))
    changed = stored(app, shop)
    assert (changed.name, changed.redirect_uris, changed.scopes) == ("Market", f"{CALLBACK} {OTHER}", "codes:send events:read")
    assert (changed.algorithm, changed.sends_per_hour, changed.first_party, changed.pkce_required) == ("EdDSA", 5, True, False)
    fields = shown(operator, at(shop, "change"))
    assert fields["redirect_uris"] == [f"{CALLBACK}\n{OTHER}"]
    assert (fields["scopes"], fields["algorithm"]) == (["codes:send", "events:read"], ["EdDSA"])
    assert "pkce_required" not in fields
    assert "Everyone is signed out of it" in said(operator, send(operator, at(shop, "change"), first_party=[]))
    changed_by = [("client-changed", operator.user_id, shop)]
    assert noted(app)[1:] == [*changed_by, ("client-pkce-off", operator.user_id, shop), *changed_by]


def test_what_another_staff_member_changed_meanwhile_is_not_put_back_unseen(app: Flask, operator: Operator, shop: str) -> None:
    fields = shown(operator, at(shop, "change")) | {"name": ["Market"]}
    with app.app_context():
        registry.change(shop, redirect_uris=[OTHER])

    answer = post(operator, at(shop, "change"), fields)
    assert answer.status_code == 422
    assert "Somebody has changed it since" in answer.text
    assert (stored(app, shop).name, stored(app, shop).redirect_uris) == ("Shop", OTHER)
    again = Shown(answer.text).fields
    assert (again["name"], again["redirect_uris"]) == (["Market"], [CALLBACK])
    assert post(operator, at(shop, "change"), again).status_code == 303
    assert (stored(app, shop).name, stored(app, shop).redirect_uris) == ("Market", CALLBACK)


def test_another_mistake_does_not_hide_that_somebody_changed_it_meanwhile(app: Flask, operator: Operator, shop: str) -> None:
    fields = shown(operator, at(shop, "change")) | {"name": ["Market"], "backchannel_logout_uri": ["http://10.0.0.7/"]}
    with app.app_context():
        registry.change(shop, redirect_uris=[OTHER])

    again = Shown(post(operator, at(shop, "change"), fields).text).fields
    assert "Somebody has changed it since" in post(operator, at(shop, "change"), again, backchannel_logout_uri="").text
    assert stored(app, shop).redirect_uris == OTHER


def test_of_two_staff_members_who_ask_for_a_new_secret_one_is_told_that_it_was_made(
    app: Flask, operator: Operator, shop: str
) -> None:
    other = Operator(app, BORIS).open()
    with app.app_context():
        before = secrets.secret(app.config["SETTINGS"], registry.get(shop))
    mine, theirs = shown(operator, at(shop, "rotate")), shown(other, at(shop, "rotate"))

    made = secret_on(post(other, at(shop, "rotate"), theirs))

    for fields in (mine, mine | {"seen": ["x"]}, mine | {"seen": []}):
        assert "A new one was made meanwhile" in said(operator, post(operator, at(shop, "rotate"), fields))
    assert [is_right(app, shop, each) for each in (before, made)] == [True, True]
    assert stored(app, shop).generation == 1


def test_a_form_sent_again_after_a_new_confirmation_is_the_same_form(app: Flask, operator: Operator) -> None:
    new = shown(operator, ADD) | {"name": ["Grafana"]}
    added = secret_on(post(operator, ADD, new))
    client = stored(app, "Grafana").id
    rotation = shown(operator, at(client, "rotate"))
    rotated = secret_on(post(operator, at(client, "rotate"), rotation))
    with time_machine.travel(clocks.now() + accounts.PROOF_STAYS_FRESH):
        kept = Shown(post(operator, ADD, new).text).fields
        operator.confirm()
        assert secret_on(post(operator, ADD, kept)) == added
        assert secret_on(post(operator, at(client, "rotate"), rotation)) == rotated
    assert stored(app, client).generation == 1


WRONG: dict[str, tuple[Typed, str]] = {
    "name": ("Shop", registry.NAME_TAKEN),
    "redirect_uris": (f"{CALLBACK}\r\nhttp://app.example.com/", uris.NEEDS_HTTPS),
    "post_logout_redirect_uris": (f"{CALLBACK}#x", uris.HAS_FRAGMENT),
    "backchannel_logout_uri": ("http://10.0.0.7/", uris.NOT_REACHED),
    "sends_per_hour": ("many", registry.NOT_A_LIMIT),
    "origins": ("ftp://x", registry.NOT_AN_ORIGIN),
    "algorithm": ("none", registry.NOT_AN_ALGORITHM),
    "scopes": (["admin"], registry.NOT_A_SCOPE),
}


@pytest.mark.parametrize("field", WRONG)
def test_what_is_wrong_is_said_at_its_field_and_nothing_that_was_typed_is_lost(
    app: Flask, operator: Operator, shop: str, field: str
) -> None:
    with app.app_context():
        other = registry.add("Other").id
    before = everything(app)
    typed: dict[str, Typed] = {
        "name": "New",
        "redirect_uris": f"{CALLBACK}\r\n{OTHER}",
        "origins": "https://a.example",
        "scopes": ["users:write"],
    }
    wrong, sentence = WRONG[field]
    for path in (ADD, at(other, "change")):
        answer = send(operator, path, **typed | {field: wrong})
        assert answer.status_code == 422
        assert sentence in Page(answer.text).words
        kept = Shown(answer.text).fields
        for name, value in (typed | {field: wrong}).items():
            if name == field and field in ("algorithm", "scopes"):
                continue  # a choice that is not offered
            expected = value if isinstance(value, list) else [value.replace("\r\n", "\n")]
            assert [each.replace("\r\n", "\n") for each in kept[name]] == expected, name
    assert everything(app) == before
    russian = operator.client.post(ADD, data=shown(operator, ADD) | typed | {field: wrong}, headers={"Accept-Language": "ru"}).text
    assert sentence not in unescape(russian)


def test_what_is_hardly_meant_is_said_on_the_page_of_the_app(operator: Operator, app: Flask) -> None:
    with app.app_context():
        doubtful = registry.add(
            "A", [Scope.CODES_SEND], sends_per_hour=0, pkce_required=False, post_logout_redirect_uris=[OTHER]
        ).id
        fine = registry.add("B", [Scope.CODES_SEND], redirect_uris=[CALLBACK]).id
    words = operator.get(at(doubtful)).words
    for part in ("may ask for no texts", "before it has a redirect URI", "need not use PKCE"):
        assert part in words
    assert "Needs attention" not in operator.get(at(fine)).words


def test_disabling_leads_to_the_way_back_and_removing_to_the_list(app: Flask, operator: Operator, shop: str) -> None:
    answer = send(operator, at(shop, "disable"))
    assert "signed out" in said(operator, answer)
    assert operator.last is not None
    assert f'href="{at(shop, "enable")}">Undo' in operator.last.text
    assert stored(app, shop).disabled_at
    assert "nothing to check" in said(operator, operator.answer(at(shop, "check")))
    assert "is enabled" in said(operator, send(operator, at(shop, "enable")))
    assert not stored(app, shop).disabled_at

    assert "is removed" in said(operator, send(operator, at(shop, "remove")))
    assert operator.at == "/admin/apps/"
    assert {actor for _, actor, _ in noted(app)[1:]} == {operator.user_id}


def test_the_check_finds_what_doctor_finds_about_this_app_alone(app: Flask, operator: Operator, shop: str) -> None:
    with app.app_context():
        registry.change(shop, pkce_required=False, redirect_uris=["https://nowhere.invalid/"])
        registry.add("Other", pkce_required=False, redirect_uris=["https://elsewhere.invalid/"])
    before = everything(app)
    page = Page(send(operator, at(shop, "check")).text).words
    assert "it need not use PKCE" in page
    assert "no address of nowhere.invalid" in page
    assert "elsewhere" not in page
    assert everything(app) == before


def test_the_list_is_by_name_and_goes_on(app: Flask, operator: Operator) -> None:
    assert "There are none yet." in operator.get("/admin/apps/").words
    with app.app_context():
        for n in range(60):
            registry.add(f"App {n:02}")
    first = operator.answer("/admin/apps/").text
    [further] = re.findall(r'href="(/admin/apps/\?after=[^"]+)"', first)
    both = re.findall(r"<bdi>(App \d\d)</bdi>", first + operator.answer(unescape(further)).text)
    assert both == [f"App {n:02}" for n in range(60)]
    assert "App 00" in operator.answer("/admin/apps/?after=%00").text


@pytest.mark.requirement("AZN-01", "AZN-02")
@pytest.mark.parametrize("client", ["A" * 22, "Shop", "x", "%00", "я" * 22])
def test_an_unknown_app_is_not_found_and_nothing_is_done(app: Flask, operator: Operator, shop: str, client: str) -> None:
    sent = {"csrf_token": routes.form_token(operator.client), "name": "New"}
    before = everything(app)
    for action in ("", *ACTIONS):
        for answer in (operator.answer(at(client, action)), operator.client.post(at(client, action), data=sent)):
            assert answer.status_code in ((404,) if action else (404, 405)), action
    assert everything(app) == before


@pytest.mark.requirement("AZN-02")
def test_a_role_that_is_lost_between_the_page_and_its_form_changes_nothing(app: Flask, operator: Operator, shop: str) -> None:
    pages = [ADD, f"{PROVIDER}rotate/", *(at(shop, action) for action in ACTIONS if action != "enable")]
    forms = {path: shown(operator, path) | {"name": ["New"]} for path in pages}
    with app.app_context():
        accounts.set_staff(app.config["SETTINGS"], operator.user_id, False)
    before = everything(app)
    for path, fields in forms.items():
        assert post(operator, path, fields).status_code == 403, path
    assert everything(app) == before


@pytest.mark.requirement("AZN-02")
def test_a_form_of_another_staff_member_or_of_none_changes_nothing(app: Flask, operator: Operator, shop: str) -> None:
    other = Operator(app, BORIS).open()
    for path in (ADD, f"{PROVIDER}rotate/", *(at(shop, action) for action in ("change", "rotate", "disable", "remove"))):
        foreign, mine = shown(other, path), shown(operator, path)
        before = everything(app)
        for fields, status in ((foreign, 403), ({}, 403), (mine | {"whose": foreign["whose"]}, 303)):
            assert post(operator, path, fields, name="New").status_code == status, path
        assert everything(app) == before


@pytest.mark.requirement("AZN-05")
def test_without_a_recent_proof_nothing_is_changed(app: Flask, operator: Operator, shop: str) -> None:
    with app.app_context():
        off = registry.add("Off").id
        registry.disable(off)
    paths = [at(shop, "rotate"), at(shop, "disable"), at(off, "enable"), at(shop, "remove"), f"{PROVIDER}rotate/"]
    forms, before = {path: shown(operator, path) for path in paths}, noted(app)
    with time_machine.travel(clocks.now() + accounts.PROOF_STAYS_FRESH):
        for path, fields in forms.items():
            for answer in (operator.answer(path), post(operator, path, fields)):
                assert (answer.status_code, answer.headers["Location"]) == (303, "/admin/confirm/"), path
    assert noted(app) == before


@pytest.mark.requirement("AZN-05")
@pytest.mark.parametrize("action", ["add", "change"])
def test_a_long_form_without_a_recent_proof_does_nothing_and_keeps_what_was_typed(
    app: Flask, operator: Operator, shop: str, action: str
) -> None:
    path = ADD if action == "add" else at(shop, action)
    fields, before = shown(operator, path) | {"name": ["Market"], "redirect_uris": [OTHER]}, noted(app)
    with time_machine.travel(clocks.now() + accounts.PROOF_STAYS_FRESH):
        answer = post(operator, path, fields)
        assert answer.status_code == 403
        assert "Nothing was saved yet" in answer.text
        assert noted(app) == before
        kept = Shown(answer.text).fields
        assert (kept["name"], kept["redirect_uris"]) == (["Market"], [OTHER])
        operator.confirm()
        assert post(operator, path, kept).status_code in (200, 303)
    assert stored(app, "Market").redirect_uris == OTHER


def test_names_and_addresses_are_no_markup(app: Flask, operator: Operator) -> None:
    name, uri = '<script>alert("1")</script> & \'', "https://app.example.com/?a='&b=(1)"
    send(operator, ADD, name=name, redirect_uris=uri)
    client = stored(app, name).id
    for path in ("/admin/apps/", at(client), *(at(client, action) for action in ACTIONS if action != "enable"), "/admin/audit/"):
        html = operator.answer(path).text
        assert "<script>alert" not in html, path
        assert "?a='" not in html, path
    assert shown(operator, at(client, "change"))["redirect_uris"] == [uri]


@pytest.mark.parametrize("language", ["en", "ru"])
def test_pages_with_the_longest_of_everything_are_small(app: Flask, operator: Operator, language: str) -> None:
    each = "https://app.example.com/" + "&" * (uris.LONGEST - 24)
    with app.app_context():
        for n in range(30):
            full = registry.add(f"{n:02}" + "'" * 78, list(Scope), redirect_uris=[CALLBACK], pkce_required=False).id
        few = [f"{CALLBACK}?{'a' * 550}&n={n}" for n in range(5)]
        registry.change(full, redirect_uris=few, post_logout_redirect_uris=few, backchannel_logout_uri=LOGOUT)
        registry.change(full, origins=[f"https://{n}.{'a' * 60}.example" for n in range(30)])
        many = registry.add("Many", redirect_uris=[f"{each[:-2]}{n}" for n in range(10, 30)]).id
    headers = {"Accept-Language": language}
    for path in ("/admin/apps/", ADD, PROVIDER, *(at(client, a) for client in (full, many) for a in ("", *ACTIONS[:3]))):
        answer = operator.client.get(path, headers=headers)
        assert answer.status_code == 200
        assert len(answer.data) <= MOST_BYTES, path

    assert "20 addresses" in operator.get(at(many)).words
    assert each[:50] not in operator.get(at(many, "change")).words
    send(operator, at(many, "change"), name="Still many", redirect_uris="")
    assert len(stored(app, "Still many").redirect_uris.split()) == 20


def test_every_scope_and_every_doubt_is_in_words() -> None:
    assert set(SCOPES) == set(Scope)
    assert set(DOUBTS) == set(registry.Doubt)


def test_the_audit_trail_shows_what_happened_to_one_app(app: Flask, operator: Operator, shop: str) -> None:
    with app.app_context():
        registry.add("Other")
    send(operator, at(shop, "rotate"))
    words = operator.get(f"/admin/audit/?client={shop}").words
    assert "The secret of a client was changed" in words
    assert "Other" not in words
    assert operator.answer("/admin/audit/?client=%27").status_code == 422


def test_new_keys_of_id_tokens_are_made_once_and_may_sign_later(app: Flask, operator: Operator) -> None:
    assert "There is none yet." in operator.get(PROVIDER).words
    assert "Make new keys" not in operator.get(PROVIDER).words
    send(operator, ADD, name="Grafana", redirect_uris=CALLBACK)
    fields = shown(operator, f"{PROVIDER}rotate/")
    for _ in range(2):
        assert post(operator, f"{PROVIDER}rotate/", fields, ahead="y").status_code == 303
    states = re.findall(r"<td data-label=\"State\">([^<]*)</td>", operator.answer(PROVIDER).text)
    assert states == ["signs", "signs next"]
    assert noted(app)[-1][:2] == ("key-rotated", operator.user_id)
    assert [kind for kind, *_ in noted(app)].count("key-rotated") == 1


def test_of_two_staff_members_who_ask_for_new_keys_one_is_told_that_they_were_made(
    app: Flask, operator: Operator, shop: str
) -> None:
    other, rotate = Operator(app, BORIS).open(), f"{PROVIDER}rotate/"
    send(operator, ADD, name="Grafana", redirect_uris=CALLBACK)
    mine, theirs = shown(operator, rotate), shown(other, rotate)

    assert "There are new keys" in said(other, post(other, rotate, theirs, ahead="y"))
    assert "A new one was made meanwhile" in said(operator, post(operator, rotate, mine))
    assert "A new one was made meanwhile" in said(operator, post(operator, rotate, mine | {"seen": []}))
    with time_machine.travel(clocks.now() + accounts.PROOF_STAYS_FRESH):
        other.confirm()
        assert "There are new keys" in said(other, post(other, rotate, theirs, ahead="y"))
    assert [kind for kind, *_ in noted(app)].count("key-rotated") == 1
