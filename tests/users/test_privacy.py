"""What is stored about users: docs/privacy.md is true, an export leaves nothing out, and a deletion leaves nothing behind."""

import hashlib
import importlib
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import time_machine
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select, text
from time_machine import Traveller

import config
from config import Settings
from hammer import clock, events
from hammer.db.database import db
from hammer.events import Type
from hammer.factors import staff
from hammer.invites import tombstones
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.models import Event, Referral, SessionKind, Tombstone, User, Verification
from hammer.operations import retention, seals
from hammer.refusals import AlreadyActivated, NotAllowed, UnknownInvite, WrongCode
from hammer.sessions import devices, keys, sessions
from hammer.users import accounts, exports, oversight, people
from hammer.webhooks import endpoints, feed
from hammer.webhooks.catalogue import CATALOGUE
from tests import apps, delivery
from tests.actions import (
    ANNA,
    BORIS,
    CLARA,
    HOME,
    STRANGER_ID,
    activate,
    ask,
    confirm,
    everything_stored,
    right,
    sign_in,
    staff_member,
    wrong,
)
from tests.operators import add_passkey
from tests.people import Browser, Program

DORA = "+79290000004"
PAGE = (Path(__file__).parent.parent.parent / "docs" / "privacy.md").read_text()
in_context = pytest.mark.usefixtures("context")


class Described(NamedTuple):
    """What the document says of a column."""

    why: str
    export: str


def register() -> dict[str, dict[str, Described]]:
    """Table -> column -> what the document says of it."""
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        if name := re.match(r"`(\w+)`\n", section):
            rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", section, re.MULTILINE)
            assert len({column for column, *_ in rows}) == len(rows), name[1]
            found[name[1]] = {column: Described(why, export) for column, why, export in rows}
    return found


def kept(table: str) -> str:
    """The sentences that state the retention times."""
    section = PAGE.split(f"\n## `{table}`\n")[1].split("\n| column ")[0]
    return section.partition("\nKept ")[2]


# The document


@pytest.mark.requirement("PRV-01")
def test_the_document_names_every_table_and_column_and_no_other() -> None:
    schema = {name: set(table.columns.keys()) for name, table in db.metadata.tables.items()}
    assert {name: set(columns) for name, columns in register().items()} == schema


@pytest.mark.requirement("PRV-01")
def test_the_document_says_of_each_why_and_for_how_long() -> None:
    for table, columns in register().items():
        assert len(kept(table)) > 10, table
        for column, described in columns.items():
            assert len(described.why) > 3, f"{table}.{column}"
            assert re.match(r"`[a-z_.]+`|no: \w", described.export), f"{table}.{column}"


@pytest.mark.requirement("PRV-01", "PRV-04")
def test_the_retention_times_are_those_that_are_enforced() -> None:
    stated = re.findall(r"`([\w.]+)\.([A-Z_]+)`\s\((\d+)\s(minutes|hours|days)\)", PAGE)
    for module, constant, figure, unit in stated:
        enforced = getattr(importlib.import_module(f"hammer.{module}"), constant)
        assert timedelta(**{unit: int(figure)}) == (enforced if isinstance(enforced, timedelta) else timedelta(days=enforced)), (
            constant
        )
    settings = dict(re.findall(r"`(HAMMER_\w+_KEPT_\w+)` \((\d+) (?:hours|days)\)", PAGE))
    defaults = {each.name: str(each.default) for each in config.DECLARED.values() if "_KEPT_" in each.name}
    assert settings == defaults
    ceilings = re.findall(r"^\| `(HAMMER_\w+)` \| (\d+) \w+ \| (\d+) \w+ \|", PAGE, re.MULTILINE)
    ranges = {each.name: each.check for each in config.DECLARED.values() if "_KEPT_" in each.name}
    assert {name: (int(least), int(most)) for name, most, least in ceilings} == {
        name: (each.min, each.max) for name, each in ranges.items()
    }
    times = {name for name, value in vars(retention).items() if isinstance(value, timedelta)}
    assert times
    assert {constant for module, constant, *_ in stated if module == "operations.retention"} == times


@pytest.mark.requirement("PRV-01")
@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("What is kept about you", "Your number, names", "download all of it, and delete it")),
        ("ru", ("Что мы храним", "Ваш номер, имя", "скачать", "удалить")),
    ],
)
def test_the_login_page_informs_people_before_they_give_their_number(
    client: FlaskClient, language: str, words: tuple[str, ...]
) -> None:
    page = client.get("/login/", headers={"Accept-Language": language}).text
    assert 'name="telephone_number"' in page
    for word in words:
        assert word in page


# A user with rows in every table


@pytest.fixture
def noon() -> Iterator[Traveller]:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False) as standing:
        yield standing


def soon() -> None:
    """Ends the waits, so that the next message to any number may be asked for at once."""
    db.session.execute(text("update send_allowances set next_send_at = day_began_at"))


def move(settings: Settings, them: SignedIn, to: str) -> None:
    soon()
    asked = accounts.ask_number(settings, them.user.id, them.session.id, to, HOME).verification
    accounts.change_number(settings, them.user.id, them.session.id, asked.id, right(settings, asked))


@pytest.fixture
def anna(context: None, settings: Settings, noon: Traveller) -> SignedIn:
    """A user who did everything that users can do, and has changed her number and changed it back."""
    endpoints.add(settings, "http://127.0.0.1:1/hook")
    them = sign_in(settings, ANNA)
    boris, clara = sign_in(settings, BORIS).user, sign_in(settings, CLARA).user
    accounts.change(them.user.id, {"username": "karenina", "first_name": "Анна", "last_name": "Каренина"})
    with pytest.raises(UnknownInvite):
        activate(settings, them.user.id, "AAAAAA")
    activate(settings, them.user.id, clara.invite_code)
    activate(settings, boris.id, them.user.invite_code)
    move(settings, them, DORA)
    move(settings, them, ANNA)
    at_home = ask(settings, asker=replace(HOME, device_token=devices.token(settings, them.device)))
    known = confirm(settings, at_home, right(settings, at_home), kind=SessionKind.BROWSER)
    soon()
    attacked = ask(settings, invite_code=boris.invite_code)
    with pytest.raises(WrongCode):
        confirm(settings, attacked, wrong(settings, attacked))
    exports.export(settings, them.user.id)
    shop = apps.add_app()
    apps.sign_in(settings, shop, known.session)
    apps.sign_in(settings, shop, sign_in(settings, BORIS, kind=SessionKind.BROWSER).session)
    feed.publish()
    accounts.set_staff(settings, them.user.id, True)
    staff.allow_enrolment(settings, them.user.id)
    oversight.detach(boris.id, "A mistake", may_activate=False, actor_id=them.user.id)
    oversight.attach(settings, boris.id, them.user.id, "Asked by mail", actor_id=them.user.id)
    add_passkey(them.user.id)
    return them


# The export


def at(export: Any, path: str) -> list[Any]:
    """All values at this path, in every item of the lists on the way. Raises if there is no such path."""
    found = [export]
    for name in path.split("."):
        found = [item[name] for one in found for item in (one if isinstance(one, list) else [one])]
    return found


@pytest.mark.requirement("PRV-02")
def test_the_export_has_every_column_that_the_document_says_it_has(settings: Settings, anna: SignedIn) -> None:
    export = exports.export(settings, anna.user.id)
    for table, columns in register().items():
        stored = db.session.execute(db.metadata.tables[table].select()).mappings().all()
        for column, described in columns.items():
            if path := re.match(r"`([a-z_.]+)`", described.export):
                shown = at(export, path[1])
                assert shown, f"{table}.{column}: the life of the fixture has no {path[1]}."
                if path[1].endswith(f".{column}") and "masked" not in described.export and column != "scope":
                    assert set(shown) <= {row[column] for row in stored}, f"{table}.{column}"


@pytest.mark.requirement("PRV-02")
def test_the_export_has_every_row_of_the_user_and_none_of_others(settings: Settings, anna: SignedIn) -> None:
    export = exports.export(settings, anna.user.id)
    assert (export["profile"]["id"], export["profile"]["first_name"]) == (anna.user.id, "Анна")
    assert [len(export[name]) for name in ("sessions", "consents", "devices", "invitees")] == [3, 1, 1, 1]
    assert [session["scopes"] for session in export["sessions"] if session["kind"] == SessionKind.APP] == ["openid phone"]
    assert {asked["telephone_number"] for asked in export["verifications"]} == {ANNA}
    assert {limit["scope"]: limit["taken"] for limit in export["limits"]} == {"guesses": 1, "invites/number": 1, "invites/life": 1}
    assert sorted(sent["known_devices"] for sent in export["texts"]) == [False, True]
    assert export["left_before"] == clock.now() + tombstones.LIFETIME
    kinds = {event["kind"] for event in export["events"]}
    assert kinds >= {"signed-up", "signed-in", "user-renamed", "invite-activated", "number-changed", "data-exported"}
    assert BORIS[1:] not in str(export)
    assert CLARA[1:] not in str(export)


@pytest.mark.requirement("PRV-02")
def test_the_api_returns_everything_that_the_verb_returns(app: Flask, settings: Settings, program: Program) -> None:
    program.sign_in(ANNA)
    with app.app_context():
        export = exports.export(settings, db.session.query(User.id).scalar())
    answered = program.result("GET", "/users/me/export/")

    def shape(of: Any) -> Any:
        if isinstance(of, list):
            return [shape(one) for one in of[:1]]
        return {name: shape(value) for name, value in of.items()} if isinstance(of, dict) else None

    assert shape(answered) == shape(export)


# What apps are told


@pytest.mark.requirement("HOOK-05")
def test_apps_are_told_ids_and_no_number_name_or_code(settings: Settings, anna: SignedIn) -> None:
    keys.rotate(settings)
    sessions.end(anna.user.id, anna.session.id)
    for blocked in (True, False):
        accounts.set_blocked(anna.user.id, blocked)
    accounts.delete(settings, anna.user.id)
    endpoints.disable(endpoints.every()[0].id)
    feed.publish()
    ids = {*db.session.scalars(select(User.id)), endpoints.every()[0].id}
    codes = db.session.scalars(select(User.invite_code)).all()
    names = [part for number in (ANNA, BORIS, CLARA, DORA) for part in written_as(number)] + [
        "karenina",
        "Анна",
        "Каренина",
        *codes,
    ]

    messages = feed.read().items

    assert {message.type for message in messages} == set(CATALOGUE) - {Type.PING}
    for message in messages:
        body = json.loads(message.body())
        assert set(body) == {"type", "timestamp", "sequence", "data"}
        assert set(body["data"]) == set(CATALOGUE[message.type].fields)
        assert set(body["data"].values()) <= ids
        shown = message.id + json.dumps(body, ensure_ascii=False)
        assert [name for name in names if name in shown] == []
        assert len(message.body()) < 1000


# Deletion


def written_as(telephone_number: str, *names: str) -> list[str]:
    """A number in all spellings, its plain hashes in all encodings, and names."""
    spellings = [telephone_number, telephone_number[1:], telephone_number[2:], f"8{telephone_number[2:]}"]
    hashes = [
        hashlib.new(kind, spelling.encode()).digest()
        for spelling in spellings
        for kind in ("sha256", "sha1", "sha512", "md5", "blake2b")
    ]
    letters = [written for digest in hashes for written in (digest.hex(), digest.hex().upper(), b64encode(digest).decode())]
    return [telephone_number[2:], *letters, *(urlsafe_b64encode(digest).decode().rstrip("=") for digest in hashes), *names]


@pytest.mark.requirement("PRV-03")
def test_after_a_deletion_no_table_contains_a_number_its_plain_hash_or_a_name(settings: Settings, anna: SignedIn) -> None:
    delivery.deliver(settings)  # the notices to old numbers are sent
    personal = written_as(ANNA, "karenina", "Анна", "Каренина") + written_as(DORA)
    before = "\n".join(everything_stored())
    assert [word for word in personal if word in before]
    accounts.delete(settings, anna.user.id, actor_id=anna.user.id, session_id=anna.session.id)
    after = "\n".join(everything_stored())
    assert [word for word in personal if word in after] == []


@pytest.mark.requirement("PRV-03", "PRV-04")
def test_long_after_a_deletion_no_row_about_a_number_is_left(settings: Settings, anna: SignedIn, noon: Traveller) -> None:
    accounts.delete(settings, anna.user.id)
    seals.seal_all(settings)
    noon.shift(timedelta(days=401))
    keys.rotate(settings)
    feed.publish()
    seals.seal_all(settings)
    retention.prune(settings)
    hashes = [settings.keyed_hash(purpose, of) for of in (ANNA, DORA) for purpose in ("numbers", "numbers of known devices")]
    stored = "\n".join(everything_stored())
    assert [one for one in hashes if one in stored] == []
    left = {name for name, table in db.metadata.tables.items() if db.session.execute(table.select()).first()}
    of_others = {"clients", "consents", "webhook_endpoints", "webhook_deliveries"}  # a consent of Boris, and a new key
    assert left <= {"users", "referrals", "counters", "token_keys", "events", "seals"} | of_others
    assert db.session.scalars(select(Event.kind)).all() == [events.Kind.KEY_ROTATED]
    gone = db.session.get_one(User, anna.user.id)
    named = (gone.telephone_number, gone.username, gone.first_name, gone.last_name, gone.is_staff)
    assert named == (None, None, "", "", False)


@in_context
@pytest.mark.requirement("PRV-03")
def test_a_deletion_needs_a_fresh_proof_of_this_session(settings: Settings, noon: Traveller) -> None:
    them = sign_in(settings)
    other = staff_member(settings, BORIS)
    noon.shift(timedelta(seconds=299))
    accounts.proved_lately(them.session.id)
    noon.shift(timedelta(seconds=1))
    for session_id in (them.session.id, None, STRANGER_ID):
        with pytest.raises(NotAllowed) as refused:
            accounts.delete(settings, them.user.id, actor_id=them.user.id, session_id=session_id)
        assert refused.value.sentence == accounts.SIGN_IN_AGAIN
    assert db.session.get_one(User, them.user.id).telephone_number == ANNA
    accounts.delete(settings, them.user.id, actor_id=other.id)
    db.session.expire_all()
    assert db.session.get_one(User, them.user.id).telephone_number is None


@pytest.mark.requirement("PRV-03")
def test_programs_delete_only_with_a_fresh_code(program: Program, noon: Traveller) -> None:
    program.sign_in(ANNA)
    noon.shift(timedelta(minutes=5))
    answer = program.call("DELETE", "/users/me/")
    assert (answer.status_code, answer.json and answer.json["type"]) == (403, "/problems/not-allowed")
    program.sign_in(ANNA)
    assert program.call("DELETE", "/users/me/").status_code == 204
    assert not program.is_signed_in()


@pytest.mark.requirement("PRV-03")
def test_pages_delete_only_with_a_fresh_code(browser: Browser, code_for: Callable[[str], str], noon: Traveller) -> None:
    browser.sign_in(ANNA)
    question = browser.get("/profile/delete/")
    confirmation = next(form for form in question.forms if not form.action.startswith("/logout"))
    noon.shift(timedelta(minutes=5))
    proof = browser.send(confirmation).form_with("then")
    assert browser.is_signed_in()
    assert proof is not None
    code_form = browser.send(proof).form_with("code")
    assert code_form is not None
    browser.send(code_form, code=code_for(ANNA))
    assert browser.at == "/profile/delete/"
    confirmation = next(form for form in browser.get("/profile/delete/").forms if not form.action.startswith("/logout"))
    assert "Your data is deleted." in browser.send(confirmation).words
    assert not browser.is_signed_in()


@in_context
def test_a_change_of_number_deletes_the_verifications_of_the_old_one(settings: Settings, noon: Traveller) -> None:
    them = sign_in(settings)
    soon()
    pending, code = (asked := ask(settings)).id, right(settings, asked)
    move(settings, them, DORA)
    assert db.session.query(Verification).filter_by(telephone_number=ANNA).count() == 0
    with pytest.raises(WrongCode):
        by_code.confirm_code(settings, pending, code, kind=SessionKind.BROWSER, device="", address=HOME.address)


# Coming back


def left_and_back(settings: Settings, gone_for: timedelta, time: Traveller) -> SignedIn:
    """Anna activates Boris's code, deletes herself, and signs in again after a while."""
    boris = sign_in(settings, BORIS).user
    anna = sign_in(settings).user
    activate(settings, anna.id, boris.invite_code)
    accounts.delete(settings, anna.id)
    retention.prune(settings)
    time.shift(gone_for)
    retention.prune(settings)
    return sign_in(settings)


@in_context
@pytest.mark.requirement("PRV-05", "INV-02")
def test_a_deleted_user_who_comes_back_cannot_activate_again(settings: Settings, noon: Traveller) -> None:
    again = left_and_back(settings, tombstones.LIFETIME - timedelta(seconds=1), noon)
    assert again.created
    clara = sign_in(settings, CLARA).user
    with pytest.raises(AlreadyActivated):
        activate(settings, again.user.id, clara.invite_code)


@in_context
@pytest.mark.requirement("PRV-05")
def test_an_invite_code_is_not_activated_at_the_first_login_of_a_user_who_comes_back(settings: Settings, noon: Traveller) -> None:
    boris = sign_in(settings, BORIS).user
    sign_in(settings, invite_code=boris.invite_code)
    accounts.delete(settings, db.session.query(User.id).filter_by(telephone_number=ANNA).scalar())
    soon()
    assert sign_in(settings, invite_code=boris.invite_code).created
    assert db.session.query(Referral).count() == 1
    assert people.profile(settings, boris.id).invite_count == 1


@in_context
@pytest.mark.requirement("PRV-05")
def test_a_number_that_was_left_by_a_change_gets_no_second_activation_either(settings: Settings, noon: Traveller) -> None:
    boris = sign_in(settings, BORIS).user
    anna = sign_in(settings)
    activate(settings, anna.user.id, boris.invite_code)
    move(settings, anna, DORA)
    soon()
    with pytest.raises(AlreadyActivated):
        activate(settings, sign_in(settings, ANNA).user.id, boris.invite_code)


@in_context
@pytest.mark.requirement("PRV-05")
def test_the_tombstone_has_an_end(settings: Settings, noon: Traveller) -> None:
    again = left_and_back(settings, tombstones.LIFETIME, noon)
    assert db.session.query(Tombstone).count() == 0
    activate(settings, again.user.id, sign_in(settings, CLARA).user.invite_code)


@in_context
@pytest.mark.requirement("PRV-05")
def test_a_user_who_never_activated_leaves_no_tombstone(settings: Settings) -> None:
    accounts.delete(settings, sign_in(settings).user.id)
    assert db.session.query(Tombstone).count() == 0


@in_context
@pytest.mark.requirement("PRV-05")
def test_the_tombstone_contains_only_a_keyed_hash_and_its_end(settings: Settings, noon: Traveller) -> None:
    left_and_back(settings, timedelta(0), noon)
    mark = db.session.query(Tombstone).one()
    assert set(Tombstone.__table__.columns.keys()) == {"number_hash", "expires_at"}
    assert mark.number_hash == settings.number_hash(ANNA)
    assert mark.number_hash != replace(settings, secret_key="another, of 32 bytes and more of them").number_hash(ANNA)
    assert mark.number_hash not in written_as(ANNA)


@in_context
@pytest.mark.requirement("PRV-05")
def test_a_deletion_leaves_an_event_for_other_systems(settings: Settings) -> None:
    anna, boris = sign_in(settings).user, staff_member(settings, BORIS)
    accounts.delete(settings, anna.id, actor_id=boris.id)
    rows = db.session.execute(text("select user_id, actor_id from events where kind = 'user-deleted'")).all()
    assert [tuple(row) for row in rows] == [(anna.id, boris.id)]
