"""Activating invite codes: what `activate` and `invitees` promise."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import transaction
from hammer.invites import activation, invite_codes
from hammer.models import Referral
from hammer.refusals import AlreadyActivated, InvalidFields, InviteLoop, OwnInvite, UnknownInvite
from hammer.users import accounts, people
from tests.actions import ANNA, BORIS, CLARA, STRANGER_ID, activate, chain, count_of, number, referrals, user

pytestmark = pytest.mark.usefixtures("context")


def test_an_activation_makes_the_user_a_referee_of_the_owner(settings: Settings) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    activate(settings, boris.id, anna.invite_code)
    assert referrals() == {(boris.id, anna.id)}
    assert (count_of(anna.id), count_of(boris.id)) == (1, 0)
    activated = activation.activated(boris.id)
    assert activated is not None
    assert activated[0] == anna.invite_code
    assert activation.activated(anna.id) is None


@pytest.mark.parametrize(
    "typed",
    ["{}", " {}\n", "http://localhost:5000/i/{}/?utm=1", "look: https://localhost/I/{}#top"],
)
def test_a_code_may_be_typed_in_any_way(settings: Settings, typed: str) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    code = anna.invite_code
    activate(settings, boris.id, typed.format(code.lower()))
    activate(settings, boris.id, f"{code[:3]}-{code[3:]}")
    activate(settings, boris.id, f"{code[:3]} {code[3:]}")
    assert count_of(anna.id) == 1


def test_the_same_code_again_changes_nothing(settings: Settings, clock: Traveller) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    activate(settings, boris.id, anna.invite_code)
    before = activation.activated(boris.id)
    clock.shift(1000)
    activate(settings, boris.id, anna.invite_code.lower())
    assert count_of(anna.id) == 1
    assert activation.activated(boris.id) == before


def test_the_same_code_again_changes_nothing_even_after_its_owner_left(settings: Settings) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    activate(settings, boris.id, anna.invite_code)
    accounts.delete(settings, anna.id)
    activate(settings, boris.id, anna.invite_code)
    assert referrals() == {(boris.id, anna.id)}


@pytest.mark.requirement("INV-02")
def test_each_user_activates_one_code_only(settings: Settings) -> None:
    anna, boris, clara = user(settings, ANNA), user(settings, BORIS), user(settings, CLARA)
    activate(settings, clara.id, anna.invite_code)
    with pytest.raises(AlreadyActivated):
        activate(settings, clara.id, boris.invite_code)
    assert referrals() == {(clara.id, anna.id)}
    assert count_of(boris.id) == 0


@pytest.mark.requirement("INV-03")
def test_already_activated_is_said_before_the_code_is_looked_up(settings: Settings) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    activate(settings, boris.id, anna.invite_code)
    for code in ("ZZZZZZ", boris.invite_code):
        with pytest.raises(AlreadyActivated):
            activate(settings, boris.id, code)


def test_an_unknown_code_is_refused(settings: Settings) -> None:
    with pytest.raises(UnknownInvite):
        activate(settings, user(settings).id, "ZZZZZZ")


def test_the_code_of_a_deleted_user_is_unknown(settings: Settings) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    accounts.delete(settings, anna.id)
    with pytest.raises(UnknownInvite):
        activate(settings, boris.id, anna.invite_code)


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "ABC\x00EF", "😀😀😀😀😀😀"])
def test_what_cannot_be_a_code_is_refused_at_its_field(settings: Settings, typed: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        activate(settings, user(settings).id, typed)
    assert refused.value.errors == {"invite_code": [invite_codes.NOT_AN_INVITE]}


@pytest.mark.requirement("INV-03")
def test_ones_own_code_is_refused(settings: Settings) -> None:
    anna = user(settings)
    with pytest.raises(OwnInvite):
        activate(settings, anna.id, f" {anna.invite_code.lower()} ")
    assert referrals() == set()
    assert count_of(anna.id) == 0


def test_two_cannot_invite_each_other(settings: Settings) -> None:
    anna, boris = chain(settings, 2)
    with pytest.raises(InviteLoop):
        activate(settings, anna.id, boris.invite_code)
    assert referrals() == {(boris.id, anna.id)}
    assert count_of(boris.id) == 0


@pytest.mark.parametrize("length", [3, 4, 12])
def test_a_loop_through_several_people_is_refused(settings: Settings, length: int) -> None:
    people = chain(settings, length)
    with pytest.raises(InviteLoop):
        activate(settings, people[0].id, people[-1].invite_code)


def test_a_loop_through_a_deleted_user_is_refused(settings: Settings) -> None:
    anna, boris, clara = chain(settings, 3)
    accounts.delete(settings, boris.id)
    with pytest.raises(InviteLoop):
        activate(settings, anna.id, clara.invite_code)


def test_people_of_other_branches_may_invite_each_other(settings: Settings) -> None:
    anna, boris, clara = user(settings, ANNA), user(settings, BORIS), user(settings, CLARA)
    other = user(settings, number(9))
    activate(settings, boris.id, anna.invite_code)
    activate(settings, other.id, anna.invite_code)
    activate(settings, clara.id, boris.invite_code)
    activate(settings, anna.id, user(settings, number(8)).invite_code)
    assert len(referrals()) == 4


@pytest.mark.requirement("INV-02")
def test_the_database_allows_one_activation_per_user(settings: Settings) -> None:
    anna, boris, clara = user(settings, ANNA), user(settings, BORIS), user(settings, CLARA)
    activate(settings, clara.id, anna.invite_code)
    with pytest.raises(IntegrityError), transaction() as tx:
        tx.add(Referral(referee_id=clara.id, referrer_id=boris.id, activated_at=time_of_day.now()))


def test_the_database_allows_no_activation_of_ones_own_code(settings: Settings) -> None:
    anna = user(settings)
    with pytest.raises(IntegrityError, match="not_oneself"), transaction() as tx:
        tx.add(Referral(referee_id=anna.id, referrer_id=anna.id, activated_at=time_of_day.now()))


def test_invitees_come_newest_first(settings: Settings, clock: Traveller) -> None:
    anna = user(settings, number(0))
    for n in (1, 2, 3):
        clock.shift(1)
        activate(settings, user(settings, number(n)).id, anna.invite_code)
    page = activation.invitees(settings, anna.id)
    assert [invitee.telephone_number for invitee in page.items] == [number(3), number(2), number(1)]
    assert page.items[0].activated_at == time_of_day.now()
    assert page.after is None
    first = activation.invitees(settings, anna.id, limit=2)
    second = activation.invitees(settings, anna.id, limit=2, after=first.after)
    assert [*first.items, *second.items] == page.items
    assert second.after is None
    assert activation.invitees(settings, anna.id, limit=3) == page


def test_the_code_that_was_activated_may_be_typed_again_in_any_way_and_no_other(settings: Settings) -> None:
    for typed in ("HJKMNP", "hjk-mnp", f"{settings.public_url}/i/HJKMNP"):
        assert activation.meant(settings, typed, "HJKMNP") == "HJKMNP"
    for typed in ("HJKMNQ", "?", f"{settings.public_url}/i/HJKMNQ"):
        with pytest.raises(AlreadyActivated):
            activation.meant(settings, typed, "HJKMNP")


def test_referees_are_counted_by_the_week_in_which_they_came(settings: Settings, clock: Traveller) -> None:
    anna, boris = user(settings, number(0)), user(settings, number(1))
    now, week, step = time_of_day.now(), timedelta(weeks=1), timedelta(microseconds=1)
    came = (now - 3 * week - step, now - 3 * week, now - week - step, now - week, now)
    for n, moment in enumerate(came):
        clock.move_to(moment)
        activate(settings, user(settings, number(n + 10)).id, anna.invite_code)
    activate(settings, user(settings, number(2)).id, boris.invite_code)
    assert activation.by_week(anna.id, 3) == [1, 1, 2]
    assert activation.by_week(boris.id, 2) == [0, 1]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_of_invitees_show_each_invitee_once(settings: Settings, clock: Traveller, limit: int) -> None:
    """Also those of the same microsecond: the clock is frozen."""
    anna = user(settings, number(0))
    for n in range(1, 8):
        activate(settings, user(settings, number(n)).id, anna.invite_code)
    seen, after = [], None
    for _ in range(8):
        page = activation.invitees(settings, anna.id, limit=limit, after=after)
        assert len(page.items) <= limit
        seen += [invitee.telephone_number for invitee in page.items]
        after = page.after
        if after is None:
            break
    assert len(seen) == 7
    assert set(seen) == {number(n) for n in range(1, 8)}


def test_an_invitee_who_left_stays_without_a_number(settings: Settings) -> None:
    anna, boris = chain(settings, 2)
    accounts.delete(settings, boris.id)
    assert [invitee.telephone_number for invitee in activation.invitees(settings, anna.id).items] == [None]
    assert count_of(anna.id) == 1


@pytest.mark.parametrize(
    "after", ["x", "1.2", "-1.AAAAAAAAAAAAAAAAAAAAAA", "١.AAAAAAAAAAAAAAAAAAAAAA", "9" * 40, "1.\x00" + "A" * 21]
)
def test_a_page_that_was_never_returned_is_refused(settings: Settings, after: str) -> None:
    with pytest.raises(InvalidFields):
        activation.invitees(settings, user(settings).id, after=after)


def test_the_last_possible_page_is_answered(settings: Settings) -> None:
    assert activation.invitees(settings, user(settings).id, after=f"{10**17 - 1}.{STRANGER_ID}").items == []


def test_invitees_of_others_are_not_in_the_list(settings: Settings) -> None:
    chain(settings, 3)
    clara_id = people.find(settings, number(2))
    assert activation.invitees(settings, clara_id).items == []
