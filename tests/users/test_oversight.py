"""What staff do to others on the operator's pages: who may, to whom, and the referrals that they attach and detach."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest

from config import Settings
from hammer import events
from hammer.acting import OWN_ACCOUNT, STAFF_FIRST
from hammer.db.database import db
from hammer.factors import staff
from hammer.invites import tombstones
from hammer.models import Event, SessionKind, User
from hammer.refusals import AlreadyActivated, InvalidFields, NotAllowed, NotFound, Refusal
from hammer.sessions import devices, sessions
from hammer.users import accounts, exports, oversight
from hammer.webhooks import feed
from tests.actions import (
    ANNA,
    BORIS,
    CLARA,
    STRANGER_ID,
    activate,
    count_of,
    everything_stored,
    number,
    referrals,
    sign_in,
    staff_member,
    user,
)
from tests.test_events import Noted, Trail, trail

__all__ = ["trail"]

pytestmark = pytest.mark.usefixtures("context")
DORA = "+79290000004"
WHY = "Asked by mail"
Verb = Callable[[Settings, str, str], object]

ACTS: dict[str, tuple[Verb, list[events.Kind]]] = {
    "create": (lambda s, _, by: accounts.create(s, number(900), {}, actor_id=by), [events.Kind.USER_CREATED]),
    "rename": (lambda _, them, by: accounts.change(them, {"first_name": "A"}, actor_id=by), [events.Kind.USER_RENAMED]),
    "move": (
        lambda s, them, by: accounts.move(s, them, DORA, language="en", end_sessions=True, actor_id=by),
        [events.Kind.NUMBER_CHANGED, events.Kind.SESSIONS_ENDED],
    ),
    "block": (lambda _, them, by: accounts.set_blocked(them, True, actor_id=by), [events.Kind.USER_BLOCKED]),
    "unblock": (lambda _, them, by: accounts.set_blocked(them, False, actor_id=by), [events.Kind.USER_UNBLOCKED]),
    "delete": (lambda s, them, by: accounts.delete(s, them, actor_id=by), [events.Kind.USER_DELETED]),
    "make staff": (
        lambda s, them, by: oversight.make_staff(s, them, actor_id=by),
        [events.Kind.STAFF_GIVEN, events.Kind.ENROLMENT_ALLOWED],
    ),
    "take staff": (lambda s, them, by: accounts.set_staff(s, them, False, actor_id=by), [events.Kind.STAFF_TAKEN]),
    "attach": (lambda s, them, by: oversight.attach(s, them, _code(CLARA), WHY, actor_id=by), [events.Kind.REFERRAL_ATTACHED]),
    "detach": (
        lambda _, them, by: oversight.detach(them, WHY, may_activate=True, actor_id=by),
        [events.Kind.REFERRAL_DETACHED],
    ),
    "sign out": (lambda _, them, by: oversight.sign_out(them, actor_id=by), [events.Kind.SESSIONS_ENDED]),
    "end session": (
        lambda _, them, by: oversight.end_session(them, sessions.devices(them)[0].id, actor_id=by),
        [events.Kind.SESSION_ENDED],
    ),
}
NOT_ON_ONESELF = ("move", "block", "unblock", "delete", "make staff", "take staff", "attach", "detach")


def _code(telephone_number: str) -> str:
    return str(db.session.query(User.invite_code).filter_by(telephone_number=telephone_number).scalar())


def _scene(settings: Settings, act: str) -> tuple[str, str]:
    """A person to act on, and a staff member."""
    boris, clara, anna = staff_member(settings, BORIS), user(settings, CLARA), sign_in(settings, ANNA).user
    if act == "detach":
        activate(settings, anna.id, clara.invite_code)
    if act == "unblock":
        accounts.set_blocked(anna.id, True)
    return anna.id, boris.id


@pytest.mark.requirement("LOG-01")
@pytest.mark.parametrize("act", ACTS)
def test_each_act_of_staff_is_an_event_that_names_them(settings: Settings, trail: Trail, act: str) -> None:
    them, by = _scene(settings, act)
    verb, kinds = ACTS[act]
    trail.new()
    verb(settings, them, by)

    noted = trail.new()
    assert [entry.kind for entry in noted] == kinds
    assert {entry.by for entry in noted} == {by}
    assert {entry.about for entry in noted} == ({them} if act != "create" else {entry.about for entry in noted} - {them})


@pytest.mark.requirement("AZN-02")
@pytest.mark.parametrize(
    ("act", "how"),
    [(act, "no more staff") for act in ACTS] + [("rename", how) for how in ("blocked", "deleted", "never staff")],
)
def test_an_actor_who_is_not_staff_at_the_end_of_the_act_changes_nothing(settings: Settings, act: str, how: str) -> None:
    them, by = _scene(settings, act)
    if how == "no more staff":
        accounts.set_staff(settings, by, False)
    elif how == "blocked":
        accounts.set_blocked(by, True)
    elif how == "deleted":
        accounts.delete(settings, by)
    else:
        by = STRANGER_ID
    before = everything_stored()

    with pytest.raises(NotAllowed):
        ACTS[act][0](settings, them, by)
    assert everything_stored() == before


@pytest.mark.parametrize("act", NOT_ON_ONESELF)
def test_staff_do_nothing_to_their_own_account_by_their_rights(settings: Settings, act: str) -> None:
    _, by = _scene(settings, act)
    before = everything_stored()

    with pytest.raises(NotAllowed) as refused:
        ACTS[act][0](settings, by, by)
    assert refused.value.sentence == OWN_ACCOUNT or act == "delete"  # a deletion asks for a proof of the number
    assert everything_stored() == before


@pytest.mark.parametrize("act", ["move", "block", "delete"])
def test_staff_lose_their_rights_first(settings: Settings, act: str) -> None:
    them, by = _scene(settings, act)
    accounts.set_staff(settings, them, True)
    before = everything_stored()
    with pytest.raises(NotAllowed) as refused:
        ACTS[act][0](settings, them, by)
    assert (refused.value.sentence, everything_stored()) == (STAFF_FIRST, before)

    accounts.set_staff(settings, them, False, actor_id=by)
    ACTS[act][0](settings, them, by)
    accounts.set_staff(settings, by, True)
    accounts.set_blocked(by, True)  # the command line may


@pytest.mark.parametrize("act", [act for act in ACTS if act not in ("create", "end session")])
def test_a_deleted_person_is_not_found_and_nothing_changes(settings: Settings, act: str) -> None:
    them, by = _scene(settings, act)
    accounts.delete(settings, them)
    before = everything_stored()
    for user_id in (them, STRANGER_ID):
        with pytest.raises(NotFound):
            ACTS[act][0](settings, user_id, by)
    assert everything_stored() == before


def test_a_new_link_is_for_staff_without_a_second_factor_alone(settings: Settings, trail: Trail) -> None:
    them, by = _scene(settings, "make staff")
    first = oversight.make_staff(settings, them, actor_id=by)
    trail.new()
    second = oversight.make_staff(settings, them, actor_id=by)
    assert [staff.is_good(settings, token, them) for token in (first, second)] == [False, True]
    assert trail.new() == [Noted(events.Kind.ENROLMENT_ALLOWED, them, by)]

    db.session.execute(db.text("update second_factors set step = 1"))
    db.session.commit()
    with pytest.raises(NotAllowed) as refused:
        oversight.make_staff(settings, them, actor_id=by)
    assert refused.value.sentence == oversight.ALREADY_STAFF
    accounts.set_blocked(them, True)
    with pytest.raises(NotAllowed) as refused:
        oversight.make_staff(settings, them, actor_id=by)
    assert refused.value.sentence == oversight.BLOCKED


def test_all_sessions_of_a_person_end_or_one_of_any_kind_and_its_device_is_forgotten(settings: Settings) -> None:
    them, by = _scene(settings, "sign out")
    other = sign_in(settings, ANNA, kind=SessionKind.BROWSER)
    oversight.end_session(them, other.session.id, actor_id=by)
    assert oversight.session(them, other.session.id) == oversight.OneSession("Firefox", over=True)
    left = sessions.devices(them)
    assert len(left) == 1
    assert devices.known(db.session(), settings, devices.token(settings, other.device), ANNA, other.session.created_at) is None
    oversight.end_session(by, left[0].id, actor_id=by)  # of another person: nothing
    assert sessions.devices(them) == left
    oversight.sign_out(them, actor_id=by)
    assert sessions.devices(them) == []
    for whose, session_id in ((by, left[0].id), (them, STRANGER_ID), (them, "\0")):
        with pytest.raises(NotFound):
            oversight.session(whose, session_id)


def test_a_second_block_or_unblock_leaves_no_second_event(settings: Settings, trail: Trail) -> None:
    them, by = _scene(settings, "block")
    for blocked, kind in ((True, events.Kind.USER_BLOCKED), (False, events.Kind.USER_UNBLOCKED)):
        trail.new()
        assert accounts.set_blocked(them, blocked, actor_id=by)
        since = db.session.get_one(User, them, populate_existing=True).blocked_at
        assert not accounts.set_blocked(them, blocked, actor_id=by)
        assert db.session.get_one(User, them, populate_existing=True).blocked_at == since
        assert trail.new() == [Noted(kind, them, by)]


def test_unblocking_who_is_not_blocked_ends_nothing(settings: Settings) -> None:
    them = sign_in(settings, ANNA).user.id
    before = sessions.devices(them)
    assert not accounts.set_blocked(them, False)
    assert sessions.devices(them) == before != []


def test_staff_are_not_signed_out_where_it_is_only_for_others(settings: Settings) -> None:
    by, other = staff_member(settings, BORIS).id, staff_member(settings, CLARA).id
    before = sessions.devices(other)
    with pytest.raises(NotAllowed):
        oversight.sign_out(other, actor_id=by, not_staff=True)
    assert sessions.devices(other) == before != []


# Referrals


def test_a_referral_is_attached_by_a_code_in_any_spelling_a_link_or_an_id(settings: Settings) -> None:
    by, clara = staff_member(settings, BORIS).id, user(settings, CLARA)
    code = clara.invite_code
    for n, typed in enumerate((code, f" {code[:3].lower()}-{code[3:]}", f"{settings.public_url}/i/{code}", f" {clara.id} ")):
        them = user(settings, number(10 + n)).id
        for _ in range(2):
            oversight.attach(settings, them, typed, f"  {WHY}\n", actor_id=by)
        assert (them, clara.id) in referrals()
        assert count_of(clara.id) == n + 1
        event = db.session.query(Event).filter_by(kind=events.Kind.REFERRAL_ATTACHED, user_id=them).one()
        assert (event.reason, event.referrer_id, event.actor_id) == (WHY, clara.id, by)


def test_what_cannot_be_attached_says_why_and_changes_nothing(settings: Settings) -> None:
    them, by = _scene(settings, "detach")
    clara = user(settings, CLARA)
    deleted = user(settings, number(7))
    accounts.delete(settings, deleted.id)
    before = everything_stored()
    mine = db.session.get_one(User, them).invite_code
    unknown, circle = "No person has this invite code or id.", oversight.CIRCLE
    for user_id, typed, sentence in (
        (them, "", oversight.NOT_A_REFERRER),
        (them, "hello, world", oversight.NOT_A_REFERRER),
        (them, "a\0b", oversight.NOT_A_REFERRER),
        (clara.id, "AAAAAA", unknown),
        (clara.id, STRANGER_ID, unknown),
        (clara.id, deleted.id, unknown),
        (clara.id, clara.id, "People cannot invite themselves."),
        (clara.id, mine, circle),
        (them, _code(BORIS), "Another person invited them already. Detach that referral first."),
    ):
        with pytest.raises(InvalidFields) as refused:
            oversight.attach(settings, user_id, typed, WHY, actor_id=by)
        assert refused.value.errors == {"referrer": [sentence]}, typed
    assert everything_stored() == before


@pytest.mark.parametrize("reason", ["", " \n ", "a" * 201, "a\0b", "\ud800"])
def test_a_referral_needs_a_reason_of_at_most_200_characters(settings: Settings, reason: str) -> None:
    them, by = _scene(settings, "detach")
    before = everything_stored()
    acts: list[Callable[[], None]] = [
        lambda: oversight.attach(settings, them, _code(BORIS), reason, actor_id=by),
        lambda: oversight.detach(them, reason, may_activate=True, actor_id=by),
    ]
    for act in acts:
        with pytest.raises(InvalidFields) as refused:
            act()
        assert set(refused.value.errors) == {"reason"}
    assert everything_stored() == before
    oversight.detach(them, "Д" * 200, may_activate=True, actor_id=by)


@pytest.mark.requirement("INV-02")
def test_a_person_whose_referral_was_detached_activates_once_more_only_where_staff_allowed_it(settings: Settings) -> None:
    them, by = _scene(settings, "detach")
    clara, dora = user(settings, CLARA), user(settings, DORA)
    oversight.detach(them, WHY, may_activate=False, actor_id=by)
    assert (referrals(), count_of(clara.id)) == (set(), 0)
    assert exports.export(settings, them)["activation_closed"] is True
    with pytest.raises(AlreadyActivated):
        activate(settings, them, dora.invite_code)
    with pytest.raises(NotAllowed):
        oversight.detach(them, WHY, may_activate=True, actor_id=by)  # sent twice: nothing to detach

    oversight.attach(settings, them, clara.id, WHY, actor_id=by)
    oversight.detach(them, WHY, may_activate=True, actor_id=by)
    activate(settings, them, dora.invite_code)
    assert (referrals(), count_of(dora.id)) == ({(them, dora.id)}, 1)
    with pytest.raises(AlreadyActivated):
        activate(settings, them, clara.invite_code)


@pytest.mark.requirement("INV-02")
@pytest.mark.parametrize("leaves", [True, False], ids=["deleted", "moved"])
def test_a_number_that_such_a_person_left_activates_nothing_either(settings: Settings, leaves: bool) -> None:
    them, by = _scene(settings, "detach")
    oversight.detach(them, WHY, may_activate=False, actor_id=by)
    if leaves:
        accounts.delete(settings, them)
    else:
        accounts.move(settings, them, DORA, language="en")
        with pytest.raises(AlreadyActivated):
            activate(settings, them, _code(CLARA))
    assert tombstones.expires_at(db.session(), settings, ANNA) is not None
    with pytest.raises(AlreadyActivated):
        activate(settings, user(settings, ANNA).id, _code(CLARA))


def test_apps_learn_each_referrer_also_after_staff_changed_it(settings: Settings) -> None:
    them, by = _scene(settings, "detach")
    clara, dora = user(settings, CLARA), user(settings, DORA)
    oversight.detach(them, WHY, may_activate=False, actor_id=by)
    oversight.attach(settings, them, dora.id, WHY, actor_id=by)

    told = [(message.type, message.data["referrer_id"]) for message in feed.read().items if "referrer_id" in message.data]
    assert told == [("invite.activated", clara.id), ("invite.detached", clara.id), ("invite.activated", dora.id)]


def test_counts_are_the_rows_after_any_acts_and_no_ring_comes_about(settings: Settings) -> None:
    by, chance = staff_member(settings, BORIS).id, Random(15)  # noqa: S311  # the same acts in each run
    people = [user(settings, number(10 + n)) for n in range(4)]
    done = Counter[str]()
    for n in range(120):
        act, one, other = chance.choice(["activate", "attach", "detach"]), chance.choice(people), chance.choice(people)
        with suppress(Refusal):
            if act == "activate":
                activate(settings, one.id, other.invite_code, address=f"198.51.100.{n}")
            elif act == "attach":
                oversight.attach(settings, one.id, other.id, WHY, actor_id=by)
            else:
                oversight.detach(one.id, WHY, may_activate=chance.random() < 0.5, actor_id=by)
            done[act] += 1
        rows = referrals()
        assert [count_of(person.id) for person in people] == [sum(up == person.id for _, up in rows) for person in people]
        assert all(_has_root(dict(rows), person.id) for person in people)
    assert min(done.values()) > 3
    assert len(done) == 3


def _has_root(above: dict[str, str], person_id: str) -> bool:
    for _ in range(len(above) + 1):
        if person_id not in above:
            return True
        person_id = above[person_id]
    return False
