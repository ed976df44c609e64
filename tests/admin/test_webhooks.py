"""Webhook endpoints on the operator's pages: each act of the command line, in words, and no secret but where it is shown once."""

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from html import unescape

import pytest
import time_machine
from flask import Flask
from sqlalchemy import insert, update
from werkzeug.test import TestResponse

from config import Settings
from hammer import clock, events
from hammer.admin.webhooks import A_PAGE, NOT_AN_APP, where
from hammer.clients import registry
from hammer.db.database import db, transaction
from hammer.models import Disabled, Event, WebhookAttempt, WebhookEndpoint
from hammer.outgoing import uris
from hammer.users import accounts
from hammer.webhooks import deliveries, endpoints
from hammer.webhooks.endpoints import Manager
from tests import routes
from tests.actions import everything_stored
from tests.cli.commands import CLOSED_PORT
from tests.interleaving import while_held
from tests.operators import Operator
from tests.people import Page
from tests.webhooks.receivers import Receiver, receiving
from tests.webhooks.steps import deliver, note, stored

STAFF, OTHER_STAFF = "+79290000001", "+79290000002"
LIST = "/admin/webhooks/"
ADD = f"{LIST}add/"
MOST_BYTES = 30_000
RECENT = {"admin.add_webhook", "admin.change_webhook", "admin.rotate_webhook", "admin.remove_webhook"}
"""What changes secrets or URLs, or removes."""
ENGLISH = {"Accept-Language": "en"}
ACTS = ("change", "test", "replay", "enable", "disable", "rotate", "remove")


@pytest.fixture
def operator(app: Flask) -> Operator:
    return Operator(app, STAFF).open()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as one:
        yield one


def add(app: Flask, url: str, *types: str, client_id: str | None = None) -> str:
    with app.app_context():
        return endpoints.add(app.config["SETTINGS"], url, types, by=Manager(client_id)).id


def client(app: Flask, name: str = "Shop") -> str:
    with app.app_context():
        return registry.add(name, []).id


def at(endpoint_id: str, action: str = "") -> str:
    return f"{LIST}{endpoint_id}/{action}/" if action else f"{LIST}{endpoint_id}/"


def form_of(operator: Operator, path: str) -> dict[str, str]:
    """The fields of the form that a page asks with, without its boxes."""
    [fields] = [form.fields for form in operator.get(path).forms if form.name == "form"]
    return {name: value for name, value in fields.items() if name != "types"}


def submit(operator: Operator, path: str, **typed: str | list[str]) -> TestResponse:
    """Opens a page, fills in its form and sends it; the answer itself."""
    return operator.client.post(path, data=form_of(operator, path) | typed, headers=ENGLISH)


def followed(operator: Operator, answer: TestResponse) -> str:
    """The words of the page to which an answer leads."""
    assert answer.status_code == 303, answer.text
    return " ".join(operator.get(answer.location).words.split())


def words(operator: Operator, path: str) -> str:
    return " ".join(operator.get(path).words.split())


def happen(app: Flask, kind: events.Kind = events.Kind.USER_BLOCKED) -> None:
    with app.app_context():
        note(kind=kind)


def post_all(app: Flask) -> None:
    with app.app_context():
        deliver(app.config["SETTINGS"])


def all_stored(app: Flask) -> list[str]:
    with app.app_context():
        return everything_stored()


def row(app: Flask, endpoint_id: str) -> WebhookEndpoint:
    with app.app_context():
        return stored(endpoint_id)


def kinds(app: Flask, actor_id: str) -> list[str]:
    """The kinds of events about endpoints whose actor this is, the oldest first."""
    with app.app_context():
        by = db.session.query(Event).filter(Event.actor_id == actor_id, Event.endpoint_id.is_not(None)).order_by(Event.id)
        return [event.kind for event in by]


# Secrets


@pytest.mark.requirement("AZN-04")
def test_an_endpoint_is_added_for_an_app_and_its_secret_is_shown_once(
    app: Flask, operator: Operator, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    shop, url = client(app), f"{receiver.url}/c4nary?key=c4nary"
    answer = submit(operator, ADD, client=shop, url=url, which="some", types=["user.blocked", "user.deleted"])
    [secret] = re.findall(r"whsec_[\w+/=]+", unescape(answer.text))
    [endpoint_id] = re.findall(rf'href="{LIST}([\w-]+)/">I have kept it', answer.text)
    happen(app)
    happen(app, events.Kind.USER_RENAMED)
    post_all(app)

    assert receiver.types == ["user.blocked"]
    receiver.posts[0].verify(secret)
    assert (row(app, endpoint_id).client_id, row(app, endpoint_id).types) == (shop, "user.blocked user.deleted")
    assert kinds(app, operator.user_id) == ["endpoint-added"]
    assert "c4nary" in words(operator, at(endpoint_id))
    pages = [operator.client.get(path).text for path in (LIST, f"{LIST}?client={shop}", "/admin/audit/", "/admin/", ADD)]
    assert not any("c4nary" in page for page in pages)
    for seen in (*pages, operator.client.get(at(endpoint_id)).text, *all_stored(app), caplog.text):
        assert secret not in seen
    assert "c4nary" not in caplog.text


def test_a_form_that_is_sent_twice_adds_one_endpoint_and_makes_one_secret(
    app: Flask, operator: Operator, receiver: Receiver
) -> None:
    fields = form_of(operator, ADD) | {"url": receiver.url, "which": "all"}
    first, again = (operator.client.post(ADD, data=fields).text for _ in range(2))
    with app.app_context():
        [endpoint] = endpoints.every()
    shown = [set(re.findall(r"whsec_[\w+/=]+", unescape(page))) for page in (first, again)]
    rotate = at(endpoint.id, "rotate")
    for seconds in (2, 4):  # after a leak one rotates twice
        with time_machine.travel(clock.now() + timedelta(seconds=seconds)):
            fields = form_of(operator, rotate)
            pages = [operator.client.post(rotate, data=fields).text for _ in range(2)]
        shown += [set(re.findall(r"whsec_[\w+/=]+", unescape(page))) for page in pages]

    assert all(len(secrets) == 1 for secrets in shown)
    assert shown[0] == shown[1] != shown[2] == shown[3] != shown[4] == shown[5]
    assert row(app, endpoint.id).generation == 2


def test_of_two_staff_members_who_ask_for_a_new_secret_one_is_told_that_it_was_made(app: Flask, operator: Operator) -> None:
    endpoint, other = add(app, "https://app.example.com/"), Operator(app, OTHER_STAFF).open()
    rotate = at(endpoint, "rotate")
    mine, theirs = form_of(operator, rotate), form_of(other, rotate)

    made = other.client.post(rotate, data=theirs).text
    for fields in (mine, mine | {"seen": "x"}):
        refused = operator.client.post(rotate, data=fields, headers=ENGLISH)
        assert "A new one was made meanwhile" in followed(operator, refused)
    assert row(app, endpoint).generation == 1
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        other.confirm()
        again = other.client.post(rotate, data=theirs).text
    assert re.findall(r"whsec_[^<]+", again) == re.findall(r"whsec_[^<]+", made) != []
    assert row(app, endpoint).generation == 1


def test_an_endpoint_whose_form_is_sent_again_after_a_new_confirmation_is_added_once(app: Flask, operator: Operator) -> None:
    fields = form_of(operator, ADD) | {"url": "https://app.example.com/", "which": "all"}
    added = operator.client.post(ADD, data=fields).text
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        kept = Page(operator.client.post(ADD, data=fields).text).form_with("url")
        assert kept is not None
        operator.confirm()
        again = operator.client.post(ADD, data=fields | {"csrf_token": kept.fields["csrf_token"]}).text
    assert re.findall(r"whsec_[^<]+", again) == re.findall(r"whsec_[^<]+", added) != []


def test_while_two_secrets_sign_a_new_one_warns_that_the_older_ends(app: Flask, operator: Operator, receiver: Receiver) -> None:
    endpoint = add(app, receiver.url)
    assert "Two secrets sign now" not in words(operator, at(endpoint, "rotate"))

    shown = " ".join(Page(submit(operator, at(endpoint, "rotate")).text).words.split())

    assert "The one before signs too for 24 hours." in shown
    assert "Two secrets sign now. The older one of them ends at once." in words(operator, at(endpoint, "rotate"))
    assert re.search(r"the one before signs too for (1 day|24 hours) more", words(operator, at(endpoint)))


# What was typed


NEEDS_PUBLIC = uris.NOT_REACHED
WRONG = [
    ({"url": ""}, "url", uris.NO_SERVER),
    ({"url": "http://10.0.0.1/x"}, "url", NEEDS_PUBLIC),
    ({"url": "https://169.254.169.254/"}, "url", NEEDS_PUBLIC),
    ({"url": "https://a@app.example.com/"}, "url", uris.HAS_USER),
    ({"url": "https://app.example.com/\x00"}, "url", uris.NOT_AS_SENT),
    ({"url": "https://app.example.com/" + "a" * 2000}, "url", uris.TOO_LONG),
    ({"which": "some"}, "types", "Choose at least one type, or all."),
    ({"which": "some", "types": ["user.gone", "user.created\x00"]}, "types", endpoints.NOT_A_TYPE),
    ({"client": "A" * 22}, "client", NOT_AN_APP),
    ({"client": "\x00"}, "client", NOT_AN_APP),
]


@pytest.mark.parametrize(("typed", "field", "sentence"), WRONG, ids=[f"{field} {str(typed)[:40]!r}" for typed, field, _ in WRONG])
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(
    app: Flask, operator: Operator, typed: dict[str, str | list[str]], field: str, sentence: str
) -> None:
    endpoint = add(app, "https://app.example.com/hook", "user.created")
    before = all_stored(app)
    good: dict[str, str | list[str]] = {"url": "https://app.example.com/typed", "which": "some", "types": ["user.renamed"]}
    asked = good | ({"types": []} if "which" in typed else {}) | typed
    for path in (ADD, at(endpoint, "change"))[: 1 if field == "client" else 2]:
        answer = submit(operator, path, **asked)
        assert answer.status_code == 422
        place = answer.text.partition(f"{'legend' if field == 'types' else f'label for={chr(34)}{field}{chr(34)}'}>")[2]
        [said] = re.findall(r'role="alert"[^>]*>(.*?)</p>', answer.text)
        assert unescape(said) == sentence
        assert place.index(said) < place.index("<input")
        assert f'value="{asked["url"]}"' in unescape(answer.text)
        if asked["types"] == ["user.renamed"]:
            assert 'value="user.renamed" checked' in answer.text
        in_russian = operator.client.post(path, data=form_of(operator, path) | asked, headers={"Accept-Language": "ru"}).text
        assert re.search("[а-я]", re.findall(r'role="alert"[^>]*>(.*?)</p>', in_russian)[0])
    assert all_stored(app) == before


def test_a_twenty_first_endpoint_is_refused_at_the_app_that_has_them(app: Flask, operator: Operator) -> None:
    for _ in range(endpoints.MOST):
        add(app, "https://app.example.com/hook")

    answer = submit(operator, ADD, url="https://app.example.com/typed", which="all")

    assert answer.status_code == 403
    assert endpoints.TOO_MANY in answer.text.partition('name="client"')[0]
    assert 'value="https://app.example.com/typed"' in answer.text
    assert answer.status_code == 403
    assert submit(operator, ADD, client=client(app), url="https://app.example.com/", which="all").status_code == 200


def test_only_what_differs_is_changed(app: Flask, operator: Operator, receiver: Receiver) -> None:
    endpoint = add(app, receiver.url, "user.created")
    with app.app_context(), transaction() as tx:
        tx.execute(update(WebhookEndpoint).values(failures=3, failing_since=clock.now()))

    assert "Nothing was changed." in followed(
        operator, submit(operator, at(endpoint, "change"), types=["user.created"], which="some")
    )
    assert kinds(app, operator.user_id) == []
    assert "is changed" in followed(operator, submit(operator, at(endpoint, "change"), which="all"))
    assert (row(app, endpoint).types, row(app, endpoint).failures) == ("", 3)
    submit(operator, at(endpoint, "change"), url=f"{receiver.url}/new", which="all")
    assert (row(app, endpoint).url, row(app, endpoint).failures) == (f"{receiver.url}/new", 0)
    assert kinds(app, operator.user_id) == ["endpoint-changed"] * 2


def test_what_another_staff_member_changed_meanwhile_is_not_put_back_unseen(app: Flask, operator: Operator) -> None:
    endpoint = add(app, "https://old.example.com/", "user.created")
    change, typed = at(endpoint, "change"), {"which": "some", "types": ["user.renamed"]}
    fields = form_of(operator, change) | typed
    with app.app_context():
        endpoints.change(app.config["SETTINGS"], endpoint, url="https://new.example.com/hook")

    wrong = operator.client.post(change, data=fields | {"url": "http://10.0.0.1/"}).text
    answer = operator.client.post(change, data=fields, headers=ENGLISH)

    assert f'name="seen" value="{fields["seen"]}"' in wrong
    assert answer.status_code == 422
    for shown in ("Somebody has changed it since", "https://new.example.com/hook", 'value="https://old.example.com/"'):
        assert shown in answer.text
    assert 'value="user.renamed" checked' in answer.text
    assert (row(app, endpoint).url, row(app, endpoint).types) == ("https://new.example.com/hook", "user.created")
    [seen] = re.findall(r'name="seen" value="(\w+)"', answer.text)
    assert operator.client.post(change, data=fields | {"seen": seen}).status_code == 303
    assert row(app, endpoint).url == "https://old.example.com/"


def test_an_app_is_named_by_its_name_or_its_id_and_many_of_them_do_not_make_the_page_longer(app: Flask, operator: Operator) -> None:
    length, shop = len(operator.client.get(ADD).data), client(app)
    for n in range(5):
        client(app, f"App {n}")
    assert abs(len(operator.client.get(ADD).data) - length) < 10

    for typed in (shop, " Shop "):
        assert submit(operator, ADD, client=typed, url="https://app.example.com/", which="all").status_code == 200
    with app.app_context():
        assert [each.client_id for each in endpoints.every()] == [shop, shop]


# Tests and replays


ANSWERS = [
    (204, "The server accepted the test, with status 204."),
    (302, "The test was not accepted: it redirects, and redirects are not followed. Give the endpoint the URL to which it leads."),
    (404, "The test was not accepted: it has no such path. Correct the path of the URL."),
    (503, "The test was not accepted: the app failed. Look at the log of the app."),
]


@pytest.mark.parametrize(("status", "sentence"), ANSWERS, ids=[str(status) for status, _ in ANSWERS])
def test_a_test_says_what_the_server_answered_and_what_to_do(
    app: Flask, operator: Operator, receiver: Receiver, status: int, sentence: str
) -> None:
    endpoint = add(app, receiver.url)
    receiver.status = status

    page = followed(operator, submit(operator, at(endpoint, "test")))

    assert sentence in page
    assert receiver.types == ["ping"]
    assert f"{receiver.ids[0]} {status}" in page
    assert kinds(app, operator.user_id) == ["ping"]
    happen(app)
    post_all(app)
    why = sentence.partition(": ")[2]
    assert ("The newest post was not accepted" in words(operator, at(endpoint))) == bool(why)
    assert why in words(operator, at(endpoint))


def test_a_server_that_hangs_or_is_away_is_waited_for_no_longer_than_a_post(
    app: Flask, operator: Operator, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "POST_SECONDS", 0.3)
    hanging, away = add(app, receiver.url), add(app, f"http://127.0.0.1:{CLOSED_PORT}/")
    receiver.open.clear()

    assert "its answer was not complete in time. Let the app answer first" in followed(
        operator, submit(operator, at(hanging, "test"))
    )
    assert "it accepts no connection" in followed(operator, submit(operator, at(away, "test")))
    assert "no answer it accepts no connection" in words(operator, at(away))
    in_russian = operator.client.get(at(away), headers={"Accept-Language": "ru"}).text
    assert "не принимает соединение" in in_russian


def test_one_event_and_those_of_a_time_are_posted_once_more(app: Flask, operator: Operator, receiver: Receiver) -> None:
    endpoint = add(app, receiver.url, "user.blocked")
    happen(app)
    post_all(app)
    submit(operator, at(endpoint, "test"))
    [message, ping] = receiver.ids
    page, replay = operator.get(at(endpoint)), at(endpoint, "replay")
    buttons = re.findall(r'name="message_id" value="(\S+)"', operator.client.get(at(endpoint)).text)
    [token] = {form.fields["csrf_token"] for form in page.forms}

    assert buttons == [message]
    sent = operator.client.post(replay, data={"csrf_token": token, "message_id": message}, headers=ENGLISH)
    assert "1 event waits to be posted once more." in followed(operator, sent)
    post_all(app)
    assert receiver.ids == [message, ping, message]
    for unknown in (ping, "msg_1_1", "\x00"):
        refused = operator.client.post(replay, data={"csrf_token": token, "message_id": unknown}, headers=ENGLISH)
        assert (refused.status_code, endpoints.NO_MESSAGE in refused.text) == (422, True)

    assert "1 event waits" in followed(operator, submit(operator, replay, since="2020-01-01T00:00", until=""))
    tomorrow = f"{clock.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"
    assert "0 events wait" in followed(operator, submit(operator, replay, since="2020-01-01T00:00", until="2020-01-02T00:00+03:00"))
    for since, until, field in (
        ("", "", "since"),
        ("yesterday", "", "since"),
        (tomorrow, "", "since"),
        ("2020-01-01T00:00", "0001-01-01T00:00+14:00", "until"),
    ):
        refused = submit(operator, replay, since=since, until=until)
        assert (refused.status_code, f'id="{field}-error"' in refused.text) == (422, True)
        assert f'value="{since}"' in refused.text or not since
    assert kinds(app, operator.user_id) == ["ping", "endpoint-replayed", "endpoint-replayed"]


# Enabled and disabled


def test_after_it_is_enabled_the_page_offers_to_post_what_happened_meanwhile(
    app: Flask, operator: Operator, receiver: Receiver
) -> None:
    endpoint = add(app, receiver.url)
    happen(app)
    post_all(app)
    assert "The endpoint is disabled." in followed(operator, submit(operator, at(endpoint, "disable")))
    happen(app)
    post_all(app)
    assert 'name="message_id"' not in operator.client.get(at(endpoint)).text
    assert endpoints.IS_DISABLED in followed(operator, submit(operator, at(endpoint, "replay"), since="2020-01-01T00:00"))

    enabled = submit(operator, at(endpoint, "enable"))

    assert "The endpoint is enabled. Events that wait for it: 0." in followed(operator, enabled)
    since = row(app, endpoint).created_at
    assert form_of(operator, enabled.location)["since"] == f"{since:%Y-%m-%dT%H:%M}"
    followed(operator, submit(operator, enabled.location))
    post_all(app)
    assert len({post.id for post in receiver.posts if post.json["type"] == "user.blocked"}) == 2
    assert kinds(app, operator.user_id) == ["endpoint-disabled", "endpoint-enabled", "endpoint-replayed"]
    assert "is enabled already" in words(operator, at(endpoint, "enable"))


STATES = [
    ({}, "enabled"),
    ({"disabled_for": Disabled.BY_HAND}, "disabled since just now: by hand"),
    ({"disabled_for": Disabled.GONE}, "disabled since just now: it answered that it is gone"),
    ({"disabled_for": Disabled.FAILING}, "disabled since just now: it accepted nothing for three days"),
    ({"failures": 4, "pause": 200}, r"fails began just now, the next post in 4.minutes"),
    ({"failures": 4, "pause": -1}, "fails began just now"),
]


@pytest.mark.parametrize(("values", "sentence"), STATES, ids=[sentence for _, sentence in STATES])
def test_the_list_and_the_page_say_in_words_how_it_is(
    app: Flask, operator: Operator, values: dict[str, object], sentence: str
) -> None:
    endpoint, now = add(app, "https://app.example.com/hook"), clock.now()
    columns = {name: value for name, value in values.items() if name != "pause"}
    if "pause" in values:
        columns |= {"failing_since": now, "next_at": now + timedelta(seconds=int(str(values["pause"])))}
    if "disabled_for" in values:
        columns["disabled_at"] = now
    with app.app_context(), transaction() as tx:
        tx.execute(update(WebhookEndpoint).values(columns or {"failures": 0}))
    with time_machine.travel(now, tick=False):
        for path in (LIST, at(endpoint)):
            assert re.search(sentence, words(operator, path)), words(operator, path)


def test_the_list_says_what_a_webhook_is_for_and_shows_the_endpoints_of_one_app(app: Flask, operator: Operator) -> None:
    assert "A webhook tells a server of yours" in words(operator, LIST)
    shop = client(app)
    of_shop, ours = add(app, "https://shop.example.com/", client_id=shop), add(app, "https://ours.example.com/")
    with app.app_context():
        registry.disable(shop)

    def listed(**query: str) -> list[str]:
        page = operator.client.get(LIST, query_string=query).text
        return re.findall(rf'href="{LIST}([\w-]{{22}})/"', page)

    assert listed() == [of_shop, ours]
    assert listed(client=shop) == [of_shop]
    assert listed(client="A" * 22) == []
    assert listed(client="\x00", after="\x00") == listed(after=of_shop[:3]) == [of_shop, ours]
    assert listed(after=of_shop) == [ours]
    assert "its app is disabled" in words(operator, LIST)
    assert "Shop" in words(operator, at(of_shop))


def test_a_removed_endpoint_is_gone_and_the_audit_trail_keeps_its_id(app: Flask, operator: Operator) -> None:
    endpoint, kept = add(app, "https://gone.example.com/c4nary"), add(app, "https://kept.example.com/c4nary")

    answer = submit(operator, at(endpoint, "remove"))

    assert "The endpoint is removed." in followed(operator, answer)
    assert answer.location == LIST
    assert operator.answer(at(endpoint)).status_code == 404
    audit = operator.client.get("/admin/audit/").text
    assert endpoint in audit
    assert f'href="{at(endpoint)}"' not in audit
    assert f'<a href="{at(kept)}">kept.example.com</a>' in audit
    assert "c4nary" not in audit


def test_an_endpoint_that_fails_leads_from_the_first_page_to_its_own(app: Flask, operator: Operator) -> None:
    endpoint = add(app, "https://app.example.com/hook")
    with app.app_context(), transaction() as tx:
        tx.execute(update(WebhookEndpoint).values(failures=9, failing_since=clock.now()))

    assert f'<a href="{at(endpoint)}">' in operator.client.get("/admin/").text.partition("concerns")[2]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://app.example.com/hook", "app.example.com/…"),
        ("https://app.example.com", "app.example.com"),
        ("https://app.example.com/", "app.example.com"),
        ("https://app.example.com:8443/hook?key=1", "app.example.com:8443/…"),
        ("https://app.example.com?key=1", "app.example.com/…"),
        ("https://app.example.com/services/T0/B0/X", "app.example.com/…"),
        ("https://app.example.com/SECRET", "app.example.com/…"),
    ],
)
def test_lists_show_of_a_url_its_host_alone(url: str, shown: str) -> None:
    assert where(url) == shown


# Who may


@pytest.mark.requirement("AZN-05")
def test_what_changes_secrets_or_urls_needs_a_recent_proof(app: Flask, operator: Operator) -> None:
    endpoint = add(app, "https://app.example.com/hook")
    hooks = {name: view for name, view in app.view_functions.items() if "webhook" in name and name.startswith("admin.")}
    assert {name for name, view in hooks.items() if getattr(view, "recent", False)} == RECENT
    paths = [ADD, *(at(endpoint, action) for action in ("change", "rotate", "remove"))]
    sent = {path: form_of(operator, path) | {"url": "https://b.example.com/", "which": "all"} for path in paths}
    with time_machine.travel(clock.now() + accounts.PROOF_STAYS_FRESH):
        operator.answer(LIST)  # notes that the session is in use
        before = all_stored(app)
        for path, fields in sent.items():
            answer = operator.client.post(path, data=fields)
            asks = answer.status_code == 403 and "https://b.example.com/" in answer.text and "/admin/confirm/" in answer.text
            assert asks or answer.location == "/admin/confirm/", path
    assert all_stored(app) == before


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize("action", ["add", *(action for action in ACTS if action != "enable")])
def test_a_role_that_is_lost_while_a_form_is_handled_changes_nothing(
    app: Flask, settings: Settings, operator: Operator, receiver: Receiver, action: str
) -> None:
    path = ADD if action == "add" else at(add(app, receiver.url), action)
    typed = form_of(operator, path) | {"url": f"{receiver.url}/new", "which": "all", "since": "2020-01-01T00:00"}

    demote = partial(accounts.set_staff, settings, operator.user_id, False)
    _, answer = while_held(app, demote, partial(operator.client.post, path, data=typed))

    assert isinstance(answer.value, TestResponse)
    assert answer.value.status_code in (303, 403)
    assert kinds(app, operator.user_id) == []
    assert receiver.posts == []


@pytest.mark.requirement("AZN-02")
def test_a_form_of_another_staff_member_or_of_none_changes_nothing(app: Flask, operator: Operator, receiver: Receiver) -> None:
    endpoint, other = add(app, receiver.url), Operator(app, OTHER_STAFF).open()
    paths = [ADD, *(at(endpoint, action) for action in ACTS if action != "enable")]
    mine, foreign = ({path: form_of(each, path) for path in paths} for each in (operator, other))
    before = all_stored(app)
    for path in paths:
        typed = {"url": f"{receiver.url}/new", "which": "all", "since": "2020-01-01T00:00"}
        for fields, status in ((foreign[path], 403), ({}, 403), (mine[path] | {"whose": foreign[path]["whose"]}, 303)):
            assert operator.client.post(path, data=fields | typed).status_code == status, path
    assert all_stored(app) == before
    assert receiver.posts == []


@pytest.mark.requirement("AZN-01")
def test_unknown_endpoints_are_not_found_and_nothing_is_done(app: Flask, operator: Operator, receiver: Receiver) -> None:
    endpoint = add(app, receiver.url)
    sent = {"csrf_token": routes.form_token(operator.client), "url": receiver.url, "which": "all", "since": "2020-01-01T00:00"}
    before = all_stored(app)
    for unknown in ("A" * 22, "x", "%00", f"{endpoint}%00", "a" * 500):
        for path in (at(unknown), *(at(unknown, action) for action in ACTS)):
            assert operator.client.get(path).status_code == 404, path
            assert operator.client.post(path, data=sent).status_code in (404, 405), path
    for place in ("x", "-1", "9" * 30, "\x00"):
        assert operator.client.get(at(endpoint), query_string={"after": place}).status_code == 200
    assert all_stored(app) == before


# How large


@pytest.mark.parametrize("language", ["en", "ru"])
def test_full_pages_with_the_longest_values_are_small(app: Flask, operator: Operator, language: str) -> None:
    host = ".".join(["h" * 60] * 4)
    url = f"https://{host}/" + "p" * (uris.LONGEST - len(host) - 9)
    every_type = [str(type_) for type_ in endpoints.TYPES[:-1]]
    owner = client(app, "Ж" * registry.LONGEST_NAME)
    ids = [add(app, url, *every_type, client_id=owner if n % 2 else None) for n in range(A_PAGE + 5)]
    now = clock.now() - timedelta(days=3)
    with app.app_context(), transaction() as tx:
        tx.execute(update(WebhookEndpoint).values(failures=9999, failing_since=now, next_at=clock.now() + timedelta(hours=20)))
        event = tx.execute(insert(Event).values(at=now, kind=events.Kind.NUMBER_CHANGED, sequence=1).returning(Event.id)).scalar()
        attempt = {"endpoint_id": ids[1], "event_id": event, "at": now, "fault": "connect", "took_ms": 14_999}
        tx.execute(insert(WebhookAttempt), [attempt] * (A_PAGE + 5))
    full = [LIST, at(ids[1]), ADD, *(at(ids[1], action) for action in ACTS if action != "enable")]
    for path in full:
        page = operator.client.get(path, headers={"Accept-Language": language})
        assert page.status_code == 200
        assert len(page.data) <= MOST_BYTES, (path, len(page.data))
    [older] = re.findall(r'href="([^"]*after=[^"]*)"', operator.client.get(at(ids[1])).text)
    assert operator.client.get(older).text.count("msg_") == 2 * 5
    [further] = re.findall(r'href="([^"]*after=[^"]*)"', operator.client.get(LIST).text)
    assert operator.client.get(further).text.count(f'href="{LIST}') - 3 == 5
