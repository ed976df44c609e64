"""Locks and their order: the results of two verbs about one user, with the second verb started before each step of the first.

On SQLite one transaction writes at a time, so little can happen in between. On PostgreSQL everything can that no lock prevents.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import count

import pytest
from flask import Flask
from sqlalchemy import delete, exists, func, select

from config import Settings
from hammer import clock as time_of_day
from hammer import events
from hammer.db.database import db, one_at_a_time, transaction
from hammer.invites import tombstones
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import Device, Event, Message, Referral, Session, User, Verification
from hammer.quotas import counters
from hammer.refusals import InviteLoop, NotFound, NotSignedIn, TelephoneNumberTaken, Unavailable, UnknownInvite, WrongCode
from hammer.sessions import devices, sessions
from hammer.users import accounts
from tests import actions
from tests.actions import HOME
from tests.interleaving import Ended, Verb, at_every_step, stopped, while_held

_fresh = count(1)


def fresh_number() -> str:
    return actions.number(next(_fresh))


def number_of(person: SignedIn) -> str:
    assert person.user.telephone_number is not None
    return person.user.telephone_number


class Cast:
    """Creates users, and the verbs that they are about to call. Needs an application context.

    For users who are `long_here`, verifications and devices are deleted, so that two verbs about one of them share only the row of
    the user.
    """

    def __init__(self, settings: Settings, *, long_here: bool) -> None:
        self.settings = settings
        self.long_here = long_here

    def person(self, inviter: SignedIn | None = None) -> SignedIn:
        person = actions.sign_in(self.settings, fresh_number(), invite_code=inviter.user.invite_code if inviter else None)
        if self.long_here:
            with transaction() as tx:
                tx.execute(delete(Verification).where(Verification.telephone_number == number_of(person)))
                tx.execute(delete(Device).where(Device.user_id == person.user.id))
        return person

    def leaves(self, person: SignedIn) -> Verb:
        return partial(accounts.delete, self.settings, person.user.id)

    def signs_in(self, number: str, *, on: SignedIn | None = None, inviter: SignedIn | None = None) -> Verb:
        """Is about to enter the right code; `on` is the login whose known device is used."""
        asked = self._asks(number, on, inviter)
        return partial(actions.confirm, self.settings, asked, actions.right(self.settings, asked))

    def asks_and_signs_in(self, number: str, *, on: SignedIn | None = None) -> Verb:
        def both() -> SignedIn:
            asked = self._asks(number, on)
            return actions.confirm(self.settings, asked, actions.right(self.settings, asked))

        return both

    def _asks(self, number: str, on: SignedIn | None, inviter: SignedIn | None = None) -> Verification:
        asker = HOME if on is None else Asker(HOME.address, "en", devices.token(self.settings, on.device))
        invite = inviter.user.invite_code if inviter else None
        return by_code.send_code(self.settings, number, asker, invite_code=invite).verification

    def moves(self, person: SignedIn, to: str, *, length: int = 4) -> Verb:
        """Is about to enter the right code for another number. Guesses of one length take turns: they share a budget."""
        mine = person.user.id, person.session.id
        asked = accounts.ask_number(replace(self.settings, code_length=length), *mine, to, HOME).verification
        return partial(accounts.change_number, self.settings, *mine, asked.id, actions.right(self.settings, asked))

    def activates(self, person: SignedIn, owner: SignedIn) -> Verb:
        return partial(actions.activate, self.settings, person.user.id, owner.user.invite_code)

    def refreshes(self, person: SignedIn) -> Verb:
        return partial(sessions.refresh, self.settings, sessions.refresh_token(self.settings, person.session))

    def is_marked(self, number: str) -> bool:
        return tombstones.is_marked(db.session(), self.settings, number, time_of_day.now())


@pytest.fixture
def cast(app: Flask, request: pytest.FixtureRequest) -> Cast:
    return Cast(replace(app.config["SETTINGS"], resend_wait=timedelta(0)), long_here=getattr(request, "param", True))


def raised(*ended: Ended) -> list[type[Exception] | None]:
    return [type(one.raised) if one.raised else None for one in ended]


def hold_together() -> None:
    """Checks what must be true at any time, after any verbs."""
    db.session.expire_all()
    for table in (Session, Device):
        assert not db.session.scalars(
            select(table.id).join(User, User.id == table.user_id).where(User.deleted_at.is_not(None))
        ).all()
    invited = select(func.count()).where(Referral.referrer_id == User.id).scalar_subquery()
    assert db.session.execute(select(User.id, User.invite_count, invited).where(User.invite_count != invited)).all() == []
    above = {row.referee_id: row.referrer_id for row in db.session.execute(select(Referral.referee_id, Referral.referrer_id))}
    for person in above:
        seen, here = set(), person
        while here in above:
            assert here not in seen, "a loop"
            seen.add(here)
            here = above[here]


def noted(kind: str, user_id: str) -> int:
    return db.session.scalar(select(func.count()).where(Event.kind == kind, Event.user_id == user_id)) or 0


Scene = Callable[[], tuple[Verb, Verb]]


@pytest.fixture
def played(app: Flask) -> Callable[..., Iterator[list[type[Exception] | None]]]:
    """Plays the scene with the second verb before each step of the first. Fails on a deadlock."""

    def play(scene: Scene, first_before: str | None = None) -> Iterator[list[type[Exception] | None]]:
        for first, second, step in at_every_step(app, scene, first_before):
            how = raised(first, second)
            assert Unavailable not in how, f"A deadlock at: {step}"
            with app.app_context():
                hold_together()
                yield how

    return play


Played = Callable[..., Iterator[list[type[Exception] | None]]]
however_long = pytest.mark.parametrize("cast", [False, True], ids=["fresh", "long-here"], indirect=True)
either_way = pytest.mark.parametrize("turned", [False, True], ids=["first", "second"])


def test_of_two_deletions_one_is_done(cast: Cast, played: Played) -> None:
    people: list[SignedIn] = []

    def scene() -> tuple[Verb, Verb]:
        people.append(cast.person())
        return cast.leaves(people[-1]), cast.leaves(people[-1])

    for how in played(scene):
        assert sorted(map(str, how)) == sorted(map(str, [None, NotFound]))
        assert noted(events.Kind.USER_DELETED, people[-1].user.id) == 1


@however_long
@either_way
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "known-device"])
def test_a_deletion_during_a_login_leaves_no_session_behind(cast: Cast, played: Played, turned: bool, known: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        person = cast.person()
        verbs = cast.leaves(person), cast.signs_in(number_of(person), on=person if known else None)
        return verbs[::-1] if turned else verbs

    for how in played(scene):
        deleted, signed_in = how[::-1] if turned else how
        assert deleted is None
        assert signed_in in (None, WrongCode)


@however_long
@pytest.mark.parametrize("known", [False, True], ids=["stranger", "known-device"])
def test_a_login_during_a_deletion_leaves_no_session_behind(cast: Cast, played: Played, known: bool) -> None:
    """The code is asked for after the deletion has locked the verifications."""

    def scene() -> tuple[Verb, Verb]:
        person = cast.person()
        return cast.leaves(person), cast.asks_and_signs_in(number_of(person), on=person if known else None)

    for deleted, signed_in in [*played(scene), *played(scene, "DELETE FROM devices")]:
        assert deleted is None
        assert signed_in in (None, WrongCode)


@however_long
@either_way
def test_a_number_change_and_a_login_with_the_old_number_cause_no_deadlock(cast: Cast, played: Played, turned: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        person = cast.person()
        verbs = cast.moves(person, fresh_number()), cast.signs_in(number_of(person), on=person)
        return verbs[::-1] if turned else verbs

    for how in played(scene):
        moved, signed_in = how[::-1] if turned else how
        assert moved is None
        assert signed_in in (None, WrongCode)


@however_long
@either_way
def test_every_number_that_a_referee_leaves_gets_a_tombstone(cast: Cast, played: Played, turned: bool) -> None:
    numbers: list[tuple[str, str]] = []

    def scene() -> tuple[Verb, Verb]:
        person, new = cast.person(cast.person()), fresh_number()
        numbers.append((number_of(person), new))
        verbs = cast.leaves(person), cast.moves(person, new)
        cast.signs_in(numbers[-1][0])  # so that the verification of the old number is the newer one
        return verbs[::-1] if turned else verbs

    for how in played(scene):
        deleted, moved = how[::-1] if turned else how
        assert deleted is None
        assert moved in (None, NotSignedIn, WrongCode)
        old, new = numbers[-1]
        assert cast.is_marked(old)
        assert cast.is_marked(new) == (moved is None)
        assert not db.session.scalar(select(exists().where(Verification.telephone_number.in_([old, new]))))


def test_of_two_number_changes_each_sends_a_notice_and_leaves_a_tombstone(cast: Cast, played: Played) -> None:
    numbers: list[list[str]] = []

    def scene() -> tuple[Verb, Verb]:
        person = cast.person(cast.person())
        numbers.append([number_of(person), fresh_number(), fresh_number()])
        return cast.moves(person, numbers[-1][1]), cast.moves(person, numbers[-1][2], length=6)

    for how in played(scene):
        assert how == [None, None]
        kept = db.session.scalars(select(User.telephone_number).where(User.telephone_number.in_(numbers[-1]))).one()
        left = set(numbers[-1]) - {kept}
        assert {number for number in numbers[-1] if cast.is_marked(number)} == left
        notified = db.session.scalars(select(Message.telephone_number).where(Message.telephone_number.in_(numbers[-1]))).all()
        assert sorted(map(str, notified)) == sorted(left)


@either_way
def test_an_activation_during_a_deletion_leaves_a_tombstone(cast: Cast, played: Played, turned: bool) -> None:
    people: list[SignedIn] = []

    def scene() -> tuple[Verb, Verb]:
        people.append(cast.person())
        verbs = cast.leaves(people[-1]), cast.activates(people[-1], cast.person())
        return verbs[::-1] if turned else verbs

    for how in played(scene):
        deleted, activated = how[::-1] if turned else how
        assert deleted is None
        assert activated in (None, NotFound)
        assert cast.is_marked(number_of(people[-1])) == (activated is None)


@either_way
def test_the_code_of_an_owner_who_leaves_is_activated_before_or_not_at_all(cast: Cast, played: Played, turned: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        owner = cast.person()
        verbs = cast.leaves(owner), cast.activates(cast.person(), owner)
        return verbs[::-1] if turned else verbs

    for how in played(scene):
        deleted, activated = how[::-1] if turned else how
        assert deleted is None
        assert activated in (None, UnknownInvite)


@either_way
def test_an_owner_who_leaves_does_not_prevent_a_first_login(cast: Cast, played: Played, turned: bool) -> None:
    def scene() -> tuple[Verb, Verb]:
        owner = cast.person()
        verbs = cast.leaves(owner), cast.signs_in(fresh_number(), inviter=owner)
        return verbs[::-1] if turned else verbs

    for how in played(scene):
        assert how == [None, None]


def test_two_users_who_activate_each_other_make_no_loop(cast: Cast, played: Played) -> None:
    def scene() -> tuple[Verb, Verb]:
        anna, boris = cast.person(), cast.person()
        return cast.activates(anna, boris), cast.activates(boris, anna)

    for how in played(scene):
        assert sorted(map(str, how)) == sorted(map(str, [None, InviteLoop]))


def test_a_ring_of_three_stays_open(cast: Cast, played: Played) -> None:
    def scene() -> tuple[Verb, Verb]:
        anna = cast.person()
        boris = cast.person(anna)
        clara = cast.person()
        return cast.activates(anna, clara), cast.activates(clara, boris)

    for how in played(scene):
        assert sorted(map(str, how)) == sorted(map(str, [None, InviteLoop]))


def test_of_two_changes_to_one_number_one_is_done(cast: Cast, played: Played) -> None:
    def scene() -> tuple[Verb, Verb]:
        number, anna, boris = fresh_number(), cast.person(), cast.person()
        return cast.moves(anna, number), cast.moves(boris, number, length=6)

    for how in played(scene):
        assert sorted(map(str, how)) == sorted(map(str, [None, TelephoneNumberTaken]))


# Counters and `one_at_a_time`


def test_taking_the_same_limits_in_another_order_causes_no_deadlock(app: Flask) -> None:
    """The limit in the middle is locked until both wait: for it, or for each other."""
    limits = [counters.Limit(f"order/{name}", 10, counters.DAY) for name in "abc"]
    moment = time_of_day.now()

    def take(these: list[counters.Limit]) -> Verb:
        def taking() -> int:
            with transaction() as tx:
                return len(counters.take(tx, these, moment))

        return taking

    ended = while_held(app, take([limits[1]]), take(limits), take(limits[::-1]))
    assert [one.value for one in ended] == [1, 3, 3]


def test_one_at_a_time_waits_only_for_the_same_name(app: Flask) -> None:
    done: list[str] = []

    def turn(lock: str, name: str) -> Verb:
        def taking() -> None:
            with transaction() as tx:
                one_at_a_time(tx, lock)
                tx.execute(select(User.id))
                done.append(name)

        return taking

    stopped(app, turn("this", "first"), turn("this", "second"), "FROM users")
    assert done == ["first", "second"]
