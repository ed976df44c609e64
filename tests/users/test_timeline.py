"""The timeline of a person: complete, in order, and the same cost however much happened."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import insert, text

from hammer import clock, codes, events
from hammer.db.database import db, transaction
from hammer.models import Client, Event, Message, MessageState, Referral, Session, SessionKind, User, Verification
from hammer.refusals import InvalidFields
from hammer.users import accounts, timeline
from hammer.users.timeline import Entry, Kind
from tests.actions import ANNA, BORIS, CLARA, STRANGER_ID, number
from tests.db.test_webhook_plans import reads

pytestmark = pytest.mark.usefixtures("context")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Rows = dict[type[Any], list[dict[str, Any]]]


def history(chance: random.Random, anna: User, others: list[User], size: int) -> Rows:
    """Rows of everything that can happen to `anna`, and to others around her. Many have the same moment."""
    now = clock.now()

    def moment(most: float = 3.0) -> datetime:
        return now - timedelta(minutes=chance.randrange(int(most * 1440)))

    def anyone() -> str | None:
        return chance.choice([anna, *others]).id

    made: Rows = {Event: [], Session: [], Verification: [], Message: [], User: [], Referral: []}
    for n in range(size):
        kind = chance.choice(list(events.Kind))
        about, by = anyone(), chance.choice([None, anyone()])
        made[Event].append({"at": moment(), "kind": kind, "user_id": about, "actor_id": None if by == about else by})
        begun = moment()
        ended = chance.choice([None, moment()])
        times = {"refreshed_at": begun, "created_at": begun, "seen_at": begun, "expires_at": begun + DAY, "ended_at": ended}
        kind_of = chance.choice(list(SessionKind))
        opened = {"id": codes.random_id(), "user_id": anyone(), "kind": kind_of, "device": f"Firefox {n}", "refreshes": 0}
        made[Session].append(opened | times)
        asked = moment(1)
        verification = {
            "id": codes.random_id(),
            "telephone_number": chance.choice([ANNA, ANNA, BORIS, CLARA]),
            "purpose": "login",
            "code_length": 4,
            "guesses": 1,
            "user_id": chance.choice([None, None, anyone()]),
            "language": "en",
            "created_at": asked,
            "expires_at": asked + timedelta(minutes=chance.choice([5, 2000])),
            "consumed_at": chance.choice([None, asked + timedelta(minutes=1)]),
        }
        made[Verification].append(verification)
        sent = {"created_at": asked, "due_at": asked, "tries": 1, "ended_at": chance.choice([None, asked + timedelta(minutes=1)])}
        made[Message].append({"verification_id": verification["id"], "state": chance.choice(list(MessageState))} | sent)
        referee = {
            "id": codes.random_id(),
            "invite_code": codes.new_invite_code(),
            "date_joined": now,
            "telephone_number": number(5000 + n),
        }
        made[User].append(referee)
        referrer = chance.choice([anna, *others])
        made[Referral].append({"referee_id": referee["id"], "referrer_id": referrer.id, "activated_at": moment()})
    made[Referral].append({"referee_id": anna.id, "referrer_id": others[0].id, "activated_at": moment()})
    with transaction() as tx:
        for table in (User, Referral, Event, Session, Verification, Message):
            tx.execute(insert(table), made[table])
    return made


def expected(anna: User, made: Rows) -> list[tuple[datetime, str]]:
    """What the timeline must contain, read from the rows one by one."""
    found: list[tuple[datetime, str]] = []
    found += [(row["at"], row["kind"]) for row in made[Event] if anna.id in (row["user_id"], row["actor_id"])]
    for row in made[Session]:
        if row["user_id"] == anna.id:
            found += [(row["created_at"], Kind.SESSION_OPENED)] + [(row["ended_at"], Kind.SESSION_OVER)] * bool(row["ended_at"])
    asked = {row["id"]: row for row in made[Verification] if row["telephone_number"] == ANNA or row["user_id"] == anna.id}
    for row in asked.values():
        found.append((row["created_at"], Kind.CODE_ASKED))
        if row["consumed_at"]:
            found.append((row["consumed_at"], Kind.CODE_ENTERED))
        elif row["expires_at"] <= clock.now():
            found.append((row["expires_at"], Kind.CODE_EXPIRED))
    texts = [row for row in made[Message] if row["verification_id"] in asked]
    found += [(row["ended_at"] or row["created_at"], Kind.TEXT) for row in texts]
    found += [(row["activated_at"], Kind.INVITED) for row in made[Referral] if row["referrer_id"] == anna.id]
    found += [(row["activated_at"], Kind.ACTIVATED) for row in made[Referral] if row["referee_id"] == anna.id]
    return found


def pages(user_id: str, telephone_number: str | None, limit: int) -> Iterator[list[Entry]]:
    page = timeline.read(user_id, telephone_number, limit=limit)
    yield page.items
    while page.after:
        page = timeline.read(user_id, telephone_number, before=page.after, limit=limit)
        yield page.items


@pytest.fixture
def anna(clock: Any) -> User:
    """A user to whom nothing has happened yet, as to the two `others`."""
    clock.move_to(NOON)
    with transaction() as tx:
        for telephone_number in (ANNA, BORIS, CLARA):
            them = {"telephone_number": telephone_number, "invite_code": codes.new_invite_code(), "date_joined": NOON}
            tx.execute(insert(User), [{"id": codes.random_id()} | them])
    return db.session.query(User).filter_by(telephone_number=ANNA).one()


def others() -> list[User]:
    return db.session.query(User).filter(User.telephone_number.in_([BORIS, CLARA])).all()


@pytest.mark.parametrize(("seed", "limit"), [(1, 7), (2, 50), (3, 1)])
def test_everything_is_in_the_timeline_once_newest_first_on_any_size_of_page(anna: User, seed: int, limit: int) -> None:
    made = history(random.Random(seed), anna, others(), 12 if limit == 1 else 60)  # noqa: S311
    read = list(pages(anna.id, ANNA, limit))

    assert all(len(page) == limit for page in read[:-1])
    entries = [entry for page in read for entry in page]
    assert all(newer.at >= older.at for newer, older in pairwise(entries))
    assert sorted((entry.at, entry.kind) for entry in entries) == sorted(expected(anna, made))


def test_a_moment_with_more_entries_than_a_page_loses_none(anna: User) -> None:
    now = clock.now()
    with transaction() as tx:
        tx.execute(insert(Event), [{"at": now, "kind": f"kind-{n}", "user_id": anna.id} for n in range(25)])
        opened = {"user_id": anna.id, "kind": "browser", "device": "", "refreshes": 0, "refreshed_at": now, "created_at": now}
        opened |= {"seen_at": now, "expires_at": now + DAY, "ended_at": now}
        tx.execute(insert(Session), [{"id": codes.random_id()} | opened for _ in range(15)])
    read = [(entry.kind) for page in pages(anna.id, ANNA, 4) for entry in page]

    assert sorted(read) == sorted([f"kind-{n}" for n in range(25)] + [Kind.SESSION_OPENED] * 15 + [Kind.SESSION_OVER] * 15)


def test_an_entry_names_the_others_and_the_client(anna: User) -> None:
    boris, clara = others()
    accounts.change(boris.id, {"first_name": "Борис"})
    with transaction() as tx:
        shop = codes.random_id()
        added = {"id": shop, "name": "Shop", "scopes": "", "sends_per_hour": 1, "created_at": clock.now()}
        tx.execute(insert(Client), [added])
        events.note(tx, events.Kind.USER_BLOCKED, anna.id, actor_id=boris.id, client_id=shop, reason="Lost telephone")
        events.note(tx, events.Kind.USER_RENAMED, clara.id, actor_id=anna.id, client_id=STRANGER_ID)
        events.note(tx, events.Kind.CLIENT_ADDED, None, actor_id=anna.id)
        events.note(tx, events.Kind.REFERRAL_DETACHED, anna.id, actor_id=boris.id, referrer_id=clara.id)
    entries = {entry.kind: entry for entry in timeline.read(anna.id, ANNA).items}
    blocked, renamed, added_client = (entries[kind] for kind in ("user-blocked", "user-renamed", "client-added"))

    assert blocked.by is not None
    assert (blocked.by.id, blocked.by.name, blocked.other) == (boris.id, "Борис", None)
    assert (blocked.client, blocked.reason) == ("Shop", "Lost telephone")
    assert renamed.other is not None
    assert (renamed.other.id, renamed.other.name, renamed.by, renamed.client) == (clara.id, "", None, STRANGER_ID)
    assert CLARA not in str(renamed)
    assert (added_client.other, added_client.by, added_client.referrer) == (None, None, None)
    assert entries["referral-detached"].referrer == renamed.other


def test_codes_and_texts_say_what_became_of_them(anna: User) -> None:
    at = clock.now() - timedelta(hours=1)
    asked = {"id": codes.random_id(), "telephone_number": BORIS, "purpose": "change-number", "code_length": 4, "guesses": 3}
    asked |= {"user_id": anna.id, "device": "Safari", "language": "en", "created_at": at}
    asked |= {"expires_at": at + DAY, "consumed_at": at + timedelta(minutes=1)}
    with transaction() as tx:
        tx.execute(insert(Verification), [asked])
        sent = {"verification_id": asked["id"], "state": "failed", "gateway": "https/1", "tries": 2}
        tx.execute(insert(Message), [sent | {"created_at": at, "due_at": at, "ended_at": at + timedelta(seconds=9)}])
    entered, failed, began = timeline.read(anna.id, ANNA).items

    assert (entered.kind, entered.device) == (Kind.CODE_ENTERED, "Safari")
    assert (failed.detail, failed.gateway, failed.count) == ("failed", "https/1", 2)
    assert (began.kind, began.detail, began.count, began.device) == (Kind.CODE_ASKED, "change-number", 2, "Safari")
    assert BORIS not in str(began)
    assert str(began.telephone_number).endswith(f"{BORIS[-4:-2]}-{BORIS[-2:]}")


@pytest.mark.parametrize("place", ["", "x", "1.9.1", "1.0.x", "1.2.1", f"{'9' * 18}.0.1", f"1.4.{'A' * 23}", "1.0.1\n", "1.0.١"])
def test_a_place_that_was_not_given_is_refused(anna: User, place: str) -> None:
    if place:
        with pytest.raises(InvalidFields):
            timeline.read(anna.id, ANNA, before=place)
    assert timeline.read(anna.id, ANNA, before=f"1.0.{'9' * 18}").items == []


def test_a_page_costs_the_same_however_much_happened(
    anna: User, statements: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    found = []
    for many in (100, 10_000):
        _happen(anna, many)
        place = timeline.read(anna.id, ANNA, limit=5).after
        with statements() as seen:
            read = reads(partial(timeline.read, anna.id, ANNA, before=place))
        found.append((read, len(seen)))
    (of_few, statements_of_few), (of_many, statements_of_many) = found
    assert statements_of_few == statements_of_many
    assert of_many <= 1.5 * of_few + 20


def _happen(anna: User, many: int) -> None:
    """Many events about her, and many that she caused for others."""
    at, boris = clock.now(), others()[0]
    moments = [at - timedelta(seconds=n) for n in range(many)]
    with transaction() as tx:
        tx.execute(insert(Event), [{"at": moment, "kind": "signed-in", "user_id": anna.id} for moment in moments])
        acts = [{"at": moment, "kind": "user-blocked", "user_id": boris.id, "actor_id": anna.id} for moment in moments]
        tx.execute(insert(Event), acts)
    db.session.execute(text("analyze events"))  # as the database does by itself after some time
