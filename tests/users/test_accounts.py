"""Users: what `find`, `profile`, `everyone`, `create`, `rename`, `delete` and `export` promise."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from sqlalchemy import Connection, bindparam, event, select, text, update
from sqlalchemy.exc import IntegrityError
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer import codes, events
from hammer.db.database import UtcDateTime, db, transaction
from hammer.invites import activation
from hammer.models import Event, Session, User, Verification
from hammer.refusals import (
    InvalidFields,
    NotFound,
    NotSignedIn,
    RegionNotServed,
    TelephoneNumberTaken,
    TooManyRequests,
    Unavailable,
    UsernameTaken,
)
from hammer.users import accounts, exports, names, people
from tests.actions import (
    ANNA,
    BORIS,
    CLARA,
    HOME,
    STRANGER_ID,
    activate,
    ask,
    chain,
    count_of,
    drawing,
    everything_stored,
    number,
    right,
    sign_in,
    user,
)

pytestmark = pytest.mark.usefixtures("context")

Statements = Callable[[], AbstractContextManager[list[str]]]
CROWD = 100_000


# Finding


@pytest.mark.parametrize("spelling", ["+79290000001", "89290000001", "8 (929) 000-00-01", "79290000001", "+7 929 000 00 01"])
def test_a_number_in_any_spelling_finds_its_one_user(settings: Settings, spelling: str) -> None:
    anna = user(settings, ANNA)
    assert people.find(settings, spelling) == anna.id


def test_a_username_in_upper_and_lower_case_finds_its_user(settings: Settings) -> None:
    anna = user(settings)
    accounts.change(anna.id, {"username": "Anna"})
    assert {people.find(settings, name) for name in ("Anna", "anna", "ANNA")} == {anna.id}


@pytest.mark.parametrize("name", ["nobody", "+79290000009", "", "  ", "\x00", "me", "😀", "9" * 100, "%", "_"])
def test_an_unknown_user_is_not_found(settings: Settings, name: str) -> None:
    user(settings)
    with pytest.raises(NotFound):
        people.find(settings, name)


def test_a_user_without_a_username_is_not_found_by_an_empty_one(settings: Settings) -> None:
    user(settings)
    with pytest.raises(NotFound):
        people.find(settings, "")


def test_an_unknown_profile_is_not_found(settings: Settings) -> None:
    with pytest.raises(NotFound):
        people.profile(settings, STRANGER_ID)


# Profiles


def test_a_fresh_profile_is_blank(settings: Settings) -> None:
    anna = user(settings)
    profile = people.profile(settings, anna.id)
    assert (profile.username, profile.first_name, profile.last_name) == ("", "", "")
    assert (profile.telephone_number, profile.invite_code) == (ANNA, anna.invite_code)
    assert (profile.invite_code_list, profile.invite_count, profile.activated_invite_code) == ([], 0, None)


def test_a_profile_shows_who_activated_its_code_and_what_it_activated(settings: Settings) -> None:
    anna, boris, clara = chain(settings, 3)
    profile = people.profile(settings, boris.id)
    assert profile.activated_invite_code == anna.invite_code
    assert profile.invite_code_list == [clara.telephone_number]
    assert profile.invite_count == 1


def invite_a_crowd(referrer_id: str) -> None:
    """Inserts a hundred thousand invitees, as fast as the database can."""
    people = text(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < :crowd) "
        "insert into users (id, telephone_number, invite_code, date_joined) "
        "select 'crowd' || cast(i as varchar), '+7' || cast(9300000000 + i as varchar), cast(100000 + i as varchar), :now from n"
    )
    referrals = text(
        "insert into referrals (referee_id, referrer_id, activated_at) "
        "select id, :referrer, date_joined from users where id like 'crowd%'"
    )
    now = bindparam("now", type_=UtcDateTime)
    with transaction() as tx:
        tx.execute(people.bindparams(now), {"crowd": CROWD, "now": time_of_day.now()})
        tx.execute(text("analyze users"))  # or PostgreSQL may check each foreign key by reading the whole table
        tx.execute(referrals, {"referrer": referrer_id})
        tx.execute(text("update users set invite_count = :crowd where id = :referrer"), {"crowd": CROWD, "referrer": referrer_id})


@contextmanager
def explained() -> Iterator[list[str]]:
    """Collects the query plans of the statements inside the context, after the database has analysed its tables."""
    db.session.execute(text("analyze"))
    asking, plans = "explain query plan " if db.engine.dialect.name == "sqlite" else "explain ", []

    def ask(connection: Connection, _cursor: object, statement: str, parameters: tuple[object], *_: object) -> None:
        if not statement.startswith("explain"):
            plan = connection.exec_driver_sql(asking + statement, parameters).all()
            plans.append("\n".join(str(row[-1]) for row in plan))

    event.listen(db.engine, "before_cursor_execute", ask)
    try:
        yield plans
    finally:
        event.remove(db.engine, "before_cursor_execute", ask)


def test_a_hundred_thousand_invitees_cost_what_one_costs(settings: Settings, statements: Statements) -> None:
    famous, follower = (person.id for person in chain(settings, 2))
    with statements() as with_one:
        people.profile(settings, famous)
    with statements() as with_none:
        people.profile(settings, follower)
    invite_a_crowd(famous)
    with explained() as plans:
        profile = people.profile(settings, famous)
        page = activation.invitees(settings, famous)
        activation.by_week(follower, 12)
    with statements() as with_many:
        people.profile(settings, famous)
    assert sum("ix_referrals_newest" in plan for plan in plans) == 3
    assert not any(re.search(r"SCAN referrals|Seq Scan on referrals", plan) for plan in plans)
    assert len(plans) == 4
    assert len(with_many) == len(with_one) == 2
    assert len(with_none) == 1
    assert profile.invite_count == CROWD
    assert len(profile.invite_code_list) == len(page.items) == 100
    assert page.after is not None


def test_a_list_costs_the_same_statements_however_long_it_is(settings: Settings, statements: Statements) -> None:
    above = chain(settings, 3)
    with statements() as short:
        people.everyone(settings)
    for n in range(20, 40):
        activate(settings, user(settings, number(n)).id, above[n % 3].invite_code)
    with statements() as long:
        page = people.everyone(settings)
    assert len(page.items) == 23
    assert len(long) == len(short) <= 2


# Lists


def numbers(settings: Settings, q: str) -> list[str]:
    return [profile.telephone_number for profile in people.everyone(settings, q=q).items]


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7])
def test_pages_of_everyone_show_each_once_in_the_order_they_joined(settings: Settings, clock: Traveller, limit: int) -> None:
    for n in range(6):
        user(settings, number(n))
        clock.shift(n % 2)  # some joined in the same microsecond
    seen, after = [], None
    for _ in range(7):
        page = people.everyone(settings, limit=limit, after=after)
        seen += [profile.telephone_number for profile in page.items]
        after = page.after
        if after is None:
            break
    assert sorted(seen) == [number(n) for n in range(6)]
    joined = [people.profile(settings, people.find(settings, n)).date_joined for n in seen]
    assert joined == sorted(joined)


def test_deleted_users_are_not_in_the_list(settings: Settings) -> None:
    anna, _ = user(settings, ANNA), user(settings, BORIS)
    accounts.delete(settings, anna.id)
    assert numbers(settings, "") == [BORIS]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("q", ["290000", "Anna"])
def test_whose_username_or_code_is_searched_comes_before_those_who_contain_it(settings: Settings, limit: int, q: str) -> None:
    """An invite code of digits is a part of many numbers too, and a username of many names."""
    ids = [user(settings, number(n)).id for n in range(6)]
    for n in (1, 3):
        accounts.change(ids[n], {"first_name": "Annabel"})
    with transaction() as tx:
        tx.execute(update(User).where(User.id == ids[4]).values(invite_code="290000"))
        tx.execute(update(User).where(User.id == ids[5]).values(username="anna"))
    seen, after = [], None
    for _ in range(9):
        page = people.everyone(settings, q=q, limit=limit, after=after)
        seen += [ids.index(profile.id) for profile in page.items]
        after = page.after
        if after is None:
            break
    assert seen == ([4, 0, 1, 2, 3, 5] if q == "290000" else [5, 1, 3])


@pytest.mark.parametrize(
    "q", ["иван", "ИВАН", "Петров", "van.p", "VAN", "000-00-01", "8 929 000 00 01", "+79290000001", "9290000001"]
)
def test_staff_find_people_by_part_of_a_name_or_number(settings: Settings, q: str) -> None:
    accounts.change(user(settings, ANNA).id, {"username": "ivan.p", "first_name": "Иван", "last_name": "Петров"})
    accounts.change(user(settings, BORIS).id, {"username": "boris", "first_name": "Борис"})
    assert numbers(settings, q) == [ANNA]


def test_staff_find_people_by_invite_code(settings: Settings) -> None:
    anna, _ = user(settings, ANNA), user(settings, BORIS)
    assert numbers(settings, anna.invite_code.lower()) == [ANNA]


@pytest.mark.parametrize("q", ["%", "_", "\\", "' or 1=1 --", "00", "\u0661\u0661\u0661"])
def test_wildcards_of_the_database_have_no_meaning_in_a_search(settings: Settings, q: str) -> None:
    user(settings)
    assert numbers(settings, q) == []


# Names


def test_two_new_users_both_have_an_empty_username(settings: Settings) -> None:
    ids = [user(settings, ANNA).id, user(settings, BORIS).id]
    for user_id in ids:
        accounts.change(user_id, {"username": ""})
    assert [people.profile(settings, user_id).username for user_id in ids] == ["", ""]


@pytest.mark.parametrize("wish", ["anna", "ANNA", " Anna "])
def test_a_username_is_unique_in_upper_and_lower_case(settings: Settings, wish: str) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    accounts.change(anna.id, {"username": "Anna"})
    with pytest.raises(UsernameTaken):
        accounts.change(boris.id, {"username": wish})
    assert people.profile(settings, boris.id).username == ""


def test_users_may_change_the_case_of_their_own_username(settings: Settings) -> None:
    anna = user(settings)
    accounts.change(anna.id, {"username": "anna"})
    accounts.change(anna.id, {"username": "Anna"})
    assert people.profile(settings, anna.id).username == "Anna"


def test_a_username_is_free_again_when_it_is_given_up(settings: Settings) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    accounts.change(anna.id, {"username": "name"})
    accounts.change(anna.id, {"username": " "})
    accounts.change(boris.id, {"username": "name"})
    assert people.find(settings, "name") == boris.id


@pytest.mark.parametrize("username", ["me", "ME", "Me", " me "])
def test_me_is_reserved_and_the_refusal_says_so(settings: Settings, username: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        accounts.change(user(settings).id, {"username": username})
    assert refused.value.errors == {"username": [names.RESERVED]}


@pytest.mark.parametrize("username", ["1anna", "+79290000001", "анна", "a" * 31, "a b", "-a", "a/b", "a\x00", "a\nb"])
def test_a_username_cannot_be_a_number(settings: Settings, username: str) -> None:
    anna = user(settings)
    with pytest.raises(InvalidFields) as refused:
        accounts.change(anna.id, {"username": username})
    assert refused.value.errors == {"username": [names.NOT_A_USERNAME]}


@pytest.mark.parametrize("username", ["a", "Z9", "ivan.petrov-1_", "a" * 30, "meg"])
def test_a_username_begins_with_a_letter(settings: Settings, username: str) -> None:
    anna = user(settings)
    accounts.change(anna.id, {"username": username})
    assert people.find(settings, username) == anna.id


def test_names_are_trimmed_and_composed(settings: Settings) -> None:
    anna = user(settings)
    accounts.change(anna.id, {"first_name": "  Андреи\u0306 ", "last_name": "O’Neil 🔨"})
    profile = people.profile(settings, anna.id)
    assert (profile.first_name, profile.last_name) == ("Андрей", "O’Neil 🔨")


def test_all_bad_names_are_reported_at_once(settings: Settings) -> None:
    with pytest.raises(InvalidFields) as refused:
        accounts.change(user(settings).id, {"username": "1", "first_name": "a" * 151, "last_name": "a\x00b"})
    assert set(refused.value.errors) == {"username", "first_name", "last_name"}


@pytest.mark.parametrize("name", ["\x00", "a\x1bb", "\ud800", "\uffff", "a\nb", "\u202elive", "\u200b"])
def test_a_name_is_text(settings: Settings, name: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        accounts.change(user(settings).id, {"first_name": f"a{name}b"})
    assert refused.value.errors == {"first_name": [names.NOT_TEXT]}


@pytest.mark.parametrize("name", ["\u2800", "\u3164\u3164", "\uffa0", "\u115f \u1160", "\u200d", "\ufe0f", "\u0301"])
def test_a_name_has_a_visible_character(settings: Settings, name: str) -> None:
    anna = user(settings)
    with pytest.raises(InvalidFields) as refused:
        accounts.change(anna.id, {"first_name": name})
    assert refused.value.errors == {"first_name": [names.NOT_TEXT]}
    accounts.change(anna.id, {"first_name": f"{name}Ы"})
    assert "Ы" in people.profile(settings, anna.id).first_name


def test_renaming_changes_what_is_given_and_nothing_else(settings: Settings) -> None:
    anna = user(settings)
    accounts.change(anna.id, {"username": "anna", "first_name": "Anna", "last_name": "A"})
    accounts.change(anna.id, {"first_name": "Anne"})
    accounts.change(anna.id, {})
    profile = people.profile(settings, anna.id)
    assert (profile.username, profile.first_name, profile.last_name) == ("anna", "Anne", "A")


def test_an_unknown_user_cannot_be_renamed(settings: Settings) -> None:
    with pytest.raises(NotFound):
        accounts.change(STRANGER_ID, {"first_name": "A"})


def test_nothing_is_noted_about_an_unknown_user(settings: Settings) -> None:
    for verb in (lambda: accounts.change(STRANGER_ID, {"first_name": "A"}), lambda: exports.export(settings, STRANGER_ID)):
        with pytest.raises(NotFound):
            verb()
    assert db.session.scalars(select(Event)).all() == []


# Created by staff


def test_a_user_created_by_staff_signs_in_later(settings: Settings) -> None:
    made = accounts.create(settings, "8 929 000 00 01", {"first_name": " Anna "})
    signed_in = sign_in(settings, ANNA)
    assert (signed_in.user.id, signed_in.created) == (made, False)
    assert people.profile(settings, made).first_name == "Anna"


def test_a_number_belongs_to_one_user(settings: Settings) -> None:
    user(settings, ANNA)
    with pytest.raises(TelephoneNumberTaken):
        accounts.create(settings, "8 929 000 00 01", {})


def test_a_username_belongs_to_one_user_also_when_staff_create_one(settings: Settings) -> None:
    accounts.create(settings, ANNA, {"username": "anna"})
    with pytest.raises(UsernameTaken):
        accounts.create(settings, BORIS, {"username": " ANNA "})


def test_two_users_created_by_staff_may_both_have_no_username(settings: Settings) -> None:
    accounts.create(settings, ANNA, {"username": ""})
    accounts.create(settings, BORIS, {"username": ""})
    accounts.create(settings, CLARA, {})
    assert db.session.scalars(select(User.username)).all() == [None] * 3


def test_a_user_created_by_staff_needs_a_number_that_can_get_messages(settings: Settings) -> None:
    with pytest.raises(RegionNotServed):
        accounts.create(settings, "+7 495 123-45-67", {})
    with pytest.raises(InvalidFields):
        accounts.create(settings, "no number", {})


def test_a_user_created_by_staff_gets_a_free_invite_code(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = user(settings).invite_code
    monkeypatch.setattr("secrets.choice", drawing(taken + "ZZZZZZ" + taken * 10))
    assert people.profile(settings, accounts.create(settings, BORIS, {})).invite_code == "ZZZZZZ"
    with pytest.raises(Unavailable):
        accounts.create(settings, CLARA, {})


# Deletion


@pytest.mark.requirement("PRV-03")
def test_a_deletion_removes_all_that_is_personal(settings: Settings) -> None:
    anna = user(settings)
    accounts.change(anna.id, {"username": "anna", "first_name": "Анна", "last_name": "Каренина"})
    ask(settings)
    accounts.delete(settings, anna.id)
    stored = "\n".join(everything_stored())
    for personal in (ANNA[1:], ANNA[2:], "anna", "Анна", "Каренина", "Firefox"):
        assert personal not in stored
    assert db.session.query(Session).count() == db.session.query(Verification).count() == 0
    with pytest.raises(NotFound):
        people.profile(settings, anna.id)
    with pytest.raises(NotFound):
        people.find(settings, ANNA)


def test_a_deletion_keeps_the_counts_of_other_users(settings: Settings) -> None:
    anna, boris, clara = chain(settings, 3)
    accounts.delete(settings, boris.id)
    assert count_of(anna.id) == 1
    assert people.profile(settings, anna.id).invite_code_list == []
    assert people.profile(settings, clara.id).activated_invite_code == boris.invite_code


def test_a_user_is_deleted_once(settings: Settings) -> None:
    anna = user(settings)
    accounts.delete(settings, anna.id)
    with pytest.raises(NotFound):
        accounts.delete(settings, anna.id)
    with pytest.raises(NotFound):
        accounts.change(anna.id, {"first_name": "A"})


def test_a_user_who_was_deleted_gets_no_other_number(settings: Settings) -> None:
    """A verification that was asked for during the deletion of its user is still there after it."""
    anna = sign_in(settings)
    mine = anna.user.id, anna.session.id
    asked = accounts.ask_number(settings, *mine, BORIS, HOME).verification
    db.session.execute(update(User).values(telephone_number=None, deleted_at=time_of_day.now()))
    with pytest.raises(NotSignedIn):
        accounts.change_number(settings, *mine, asked.id, right(settings, asked))
    assert db.session.query(Event).filter_by(kind=events.Kind.NUMBER_CHANGED).count() == 0


@pytest.mark.requirement("PHN-03")
def test_a_deleted_user_who_comes_back_is_a_new_user(settings: Settings) -> None:
    anna = user(settings)
    accounts.delete(settings, anna.id)
    again = sign_in(settings)
    assert again.created
    assert again.user.id != anna.id
    assert again.user.invite_code != anna.invite_code


def test_a_deletion_gives_no_more_messages_that_day(settings: Settings) -> None:
    for _ in range(5):
        accounts.delete(settings, user(settings).id)
    with pytest.raises(TooManyRequests):
        ask(settings)


def test_a_deleted_user_is_not_staff(settings: Settings) -> None:
    anna = user(settings)
    accounts.set_staff(settings, anna.id, True)
    accounts.delete(settings, anna.id)
    db.session.expire_all()
    assert db.session.get_one(User, anna.id).is_staff is False


def test_nothing_can_be_done_to_an_unknown_user(settings: Settings) -> None:
    with pytest.raises(NotFound):
        accounts.set_staff(settings, STRANGER_ID, True)
    with pytest.raises(NotFound):
        accounts.set_blocked(STRANGER_ID, True)


# The export


@pytest.mark.requirement("PRV-02")
def test_the_export_has_all_that_is_stored_about_the_caller(settings: Settings) -> None:
    anna, boris, clara = chain(settings, 3)
    accounts.change(boris.id, {"username": "boris"})
    export = exports.export(settings, boris.id)
    assert export["profile"]["username"] == "boris"
    assert export["profile"]["activated_invite_code"] == anna.invite_code
    assert len(export["sessions"]) == len(export["verifications"]) == len(export["invitees"]) == 1
    assert export["activated_at"] is not None
    assert clara.telephone_number is not None


def test_the_export_shows_the_numbers_of_others_masked(settings: Settings) -> None:
    anna, boris = chain(settings, 2)
    exported = json.dumps(exports.export(settings, anna.id), default=str, ensure_ascii=False)
    assert boris.telephone_number is not None
    assert boris.telephone_number not in exported
    assert "+7········01" in exported


@pytest.mark.requirement("INV-01")
def test_invite_codes_are_unique_by_constraint(settings: Settings) -> None:
    anna = user(settings)
    with pytest.raises(IntegrityError), transaction() as tx:
        tx.add(User(id=codes.random_id(), invite_code=anna.invite_code, date_joined=time_of_day.now()))
