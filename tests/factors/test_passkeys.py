"""Passkeys of staff: made by a link or in a session of the operator's pages, challenges that count once, and attacks."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, example, given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from sqlalchemy import func, select
from time_machine import Traveller

from config import Settings
from hammer.codes import base64url
from hammer.db.database import db
from hammer.factors import passkeys, recovery, staff
from hammer.models import Event, Passkey, Session, SessionKind, SpentChallenge, User
from hammer.refusals import InvalidFields, NotAllowed, NotFound, Refusal
from hammer.users import accounts
from tests.actions import ANNA, BORIS, sign_in
from tests.authenticator import BACKED_UP, ELIGIBLE, PRESENT, UNLOCKED, Authenticator
from tests.factors.test_staff import enrol, is_open, kinds, make_staff

pytestmark = pytest.mark.usefixtures("context")


@dataclass
class Owner:
    """A staff member with one passkey, which was added by a link."""

    settings: Settings
    user_id: str
    browser_id: str
    key: Authenticator
    opened: staff.Opened

    def options(self, session_id: str = "") -> str:
        asked = passkeys.options_to_prove(self.settings, session_id or self.browser_id)
        assert asked is not None
        return asked

    def options_to_add(self) -> str:
        return to_add(self.settings, self.user_id, self.opened.session.id)

    def open(self, answer: str, **where: str) -> Session:
        """Opens the operator's pages with what the passkey answered."""
        where = where or {"browser_id": self.browser_id}
        return passkeys.open_by_passkey(self.settings, self.user_id, answer, device="Firefox", **where)

    def add(self, answer: str, name: str = "Second") -> None:
        """Adds another passkey in the session of the operator's pages."""
        passkeys.add(self.settings, self.user_id, answer, name, session_id=self.opened.session.id)


def to_add(settings: Settings, user_id: str, session_id: str) -> str:
    asked = passkeys.options_to_add(settings, user_id, session_id)
    assert asked is not None
    return asked


def enrol_key(settings: Settings, number: str = ANNA, key: Authenticator | None = None) -> Owner:
    user_id, browser_id = make_staff(settings, number)
    key = key or Authenticator()
    answer = key.make(to_add(settings, user_id, browser_id))
    token = staff.allow_enrolment(settings, user_id)
    opened = passkeys.enrol_by_link(settings, user_id, browser_id, token, answer, "Key", device="Firefox")
    return Owner(settings, user_id, browser_id, key, opened)


@pytest.fixture
def anna(settings: Settings) -> Owner:
    return enrol_key(settings)


def stored(owner: Owner) -> Passkey:
    db.session.expire_all()
    return passkeys.find(owner.user_id, owner.key.id)


def spent() -> int:
    return db.session.scalars(select(func.count()).select_from(SpentChallenge)).one()


def details(user_id: str) -> list[str | None]:
    return list(db.session.scalars(select(Event.detail).where(Event.user_id == user_id, Event.kind == "factor-wrong")))


@pytest.mark.requirement("AZN-03")
def test_a_link_enrols_a_passkey_once_and_opens_the_pages(settings: Settings, anna: Owner) -> None:
    assert is_open(anna.opened.session)
    assert len(anna.opened.recovery_codes) == recovery.COUNT
    assert staff.factors(anna.user_id) == staff.Factors(app=False, recovery_codes=recovery.COUNT, passkeys=1)
    assert db.session.get_one(User, anna.user_id).passkey_handle == anna.key.handle
    asked = json.loads(to_add(settings, anna.user_id, anna.browser_id))
    assert ANNA not in str(asked)
    assert [each["id"] for each in asked["excludeCredentials"]] == [anna.key.id]


def test_a_link_that_was_used_adds_no_passkey(settings: Settings) -> None:
    user_id, browser_id = make_staff(settings)
    token = staff.allow_enrolment(settings, user_id)
    staff.allow_enrolment(settings, user_id)
    answer = Authenticator().make(to_add(settings, user_id, browser_id))

    with pytest.raises(NotAllowed):
        passkeys.enrol_by_link(settings, user_id, browser_id, token, answer, "Key", device="")

    assert not staff.factors(user_id).enrolled


@pytest.mark.requirement("AZN-03")
def test_a_passkey_opens_the_pages_and_confirms(anna: Owner) -> None:
    opened = anna.open(anna.key.sign(anna.options()))
    newer = anna.open(anna.key.sign(anna.options(opened.id)), instead_of=opened.id)

    assert is_open(newer)
    assert not is_open(opened)
    assert stored(anna).used_at is not None


def test_showing_a_page_stores_nothing(settings: Settings, anna: Owner) -> None:
    before = spent()
    anna.options()
    anna.options_to_add()
    assert spent() == before


@pytest.mark.requirement("AZN-03")
@pytest.mark.parametrize("counts", [True, False], ids=["an authenticator that counts", "one that does not"])
def test_an_answer_counts_once(settings: Settings, counts: bool) -> None:
    anna = enrol_key(settings, key=Authenticator(counter=int(counts)))
    answer = anna.key.sign(anna.options())
    anna.open(answer)

    with pytest.raises(InvalidFields):
        anna.open(answer)
    anna.open(anna.key.sign(anna.options()))


@pytest.mark.requirement("AZN-03")
def test_forty_parallel_posts_of_one_answer_open_one_session(app: Flask, anna: Owner) -> None:
    answer = anna.key.sign(anna.options())
    db.session.rollback()

    def attempt(_: int) -> bool:
        with app.app_context():
            try:
                return is_open(anna.open(answer))
            except Refusal:
                return False
            finally:
                db.session.remove()

    with ThreadPoolExecutor(10) as threads:
        assert sum(threads.map(attempt, range(40))) == 1
    opened = select(func.count()).where(Session.user_id == anna.user_id, Session.kind == SessionKind.ADMIN)
    assert db.session.scalars(opened).one() == 2  # with that of the enrolment


def turned_down(anna: Owner, answer: str, **where: str) -> str:
    """The sentence with which an answer is refused. Its challenge is spent, and nothing was opened."""
    before = spent()
    with pytest.raises(InvalidFields) as caught:
        anna.open(answer, **where)
    assert spent() == before + 1
    assert stored(anna).used_at is None
    [sentence] = caught.value.errors["passkey"]
    return sentence


@pytest.mark.requirement("AZN-03")
@pytest.mark.parametrize(
    "attack",
    [
        {"origin": "https://hammer.example"},
        {"rp_id": "hammer.example"},
        {"flags": PRESENT},
        {"flags": UNLOCKED & ~PRESENT},
        {"handle": ""},
        {"handle": base64url(b"another person, and 32 bytes of it")},
        {"key": Authenticator().key},
        {"flags": UNLOCKED | BACKED_UP},
    ],
    ids=["origin", "host", "not unlocked", "not present", "no handle", "another's handle", "signature", "impossible flags"],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused_and_its_challenge_spent(anna: Owner, attack: dict[str, Any]) -> None:
    assert turned_down(anna, replace(anna.key, **attack).sign(anna.options())) == passkeys.FAILED
    assert details(anna.user_id) == []


def test_a_counter_that_goes_back_is_refused_with_an_event(settings: Settings) -> None:
    anna = enrol_key(settings, key=Authenticator(counter=7))
    copy = replace(anna.key, counter=7)

    assert turned_down(anna, copy.sign(anna.options())) == passkeys.FAILED
    assert turned_down(anna, replace(copy, counter=0).sign(anna.options())) == passkeys.FAILED
    assert details(anna.user_id) == ["passkey-counter"] * 2
    anna.open(anna.key.sign(anna.options()))


def test_a_forged_signature_accuses_no_passkey_of_being_a_copy(settings: Settings) -> None:
    anna = enrol_key(settings, key=Authenticator(counter=7))
    turned_down(anna, replace(anna.key, counter=1, key=Authenticator().key).sign(anna.options()))
    assert details(anna.user_id) == []


def test_a_passkey_never_becomes_one_that_can_be_copied(anna: Owner) -> None:
    changed = replace(anna.key, flags=UNLOCKED | ELIGIBLE | BACKED_UP)
    assert turned_down(anna, changed.sign(anna.options())) == passkeys.FAILED
    assert details(anna.user_id) == ["passkey-backup"]


def test_a_passkey_that_can_be_copied_may_be_so_later(settings: Settings) -> None:
    anna = enrol_key(settings, key=Authenticator(flags=UNLOCKED | ELIGIBLE))
    anna.key.flags |= BACKED_UP
    anna.open(anna.key.sign(anna.options()))
    assert stored(anna).backed_up


@pytest.mark.requirement("AZN-03")
def test_a_challenge_is_of_one_session_one_purpose_and_five_minutes(settings: Settings, anna: Owner, clock: Traveller) -> None:
    elsewhere = sign_in(settings, ANNA, kind=SessionKind.BROWSER).session.id
    another_key = replace(settings, secret_key="another one, also of 32 bytes and more")
    for options in (
        anna.options(elsewhere),
        anna.options(anna.opened.session.id),
        to_add(settings, anna.user_id, anna.browser_id),
        str(passkeys.options_to_prove(another_key, anna.browser_id)),
        json.dumps({"challenge": base64url(b"made up")}),
        json.dumps({"challenge": ""}),
    ):
        before = spent()
        with pytest.raises(InvalidFields):
            anna.open(anna.key.sign(options))
        assert spent() == before
    late = anna.options()
    anna.open(anna.key.sign(anna.options()))
    clock.shift(passkeys.LIFETIME + timedelta(minutes=1))
    with pytest.raises(InvalidFields):
        anna.open(anna.key.sign(late))


@pytest.mark.requirement("AZN-03")
def test_the_passkey_of_another_or_of_a_profile_opens_nothing(settings: Settings, anna: Owner) -> None:
    boris = enrol_key(settings, BORIS)
    assert turned_down(anna, boris.key.sign(anna.options())) == passkeys.OF_PROFILE
    assert turned_down(anna, Authenticator(handle=anna.key.handle).sign(anna.options())) == passkeys.UNKNOWN

    accounts.set_staff(settings, anna.user_id, False)
    accounts.set_staff(settings, anna.user_id, True)
    with pytest.raises(InvalidFields) as caught:
        anna.open(anna.key.sign(anna.options()))
    assert caught.value.errors == {"passkey": [passkeys.OF_PROFILE]}


@pytest.mark.requirement("AZN-03")
def test_staff_who_were_blocked_open_nothing(anna: Owner) -> None:
    answer = anna.key.sign(anna.options())
    accounts.set_blocked(anna.user_id, True)
    with pytest.raises(NotFound):
        anna.open(answer)


def test_what_was_made_is_stored_only_as_it_was_asked_for(settings: Settings, anna: Owner) -> None:
    boris = enrol_key(settings, BORIS)
    for key in (
        Authenticator(origin="https://hammer.example"),
        Authenticator(rp_id="hammer.example"),
        Authenticator(flags=PRESENT),
        Authenticator(id=base64url(bytes(passkeys.LONGEST_ID + 1))),
        replace(anna.key),
        replace(boris.key),
    ):
        options, before = anna.options_to_add(), spent()
        with pytest.raises(InvalidFields):
            anna.add(key.make(options))
        assert spent() == before + 1
    with pytest.raises(InvalidFields):  # made in the session before the second factor
        anna.add(Authenticator().make(to_add(settings, anna.user_id, anna.browser_id)))
    with pytest.raises(InvalidFields):
        anna.add(Authenticator().make(anna.options_to_add()), " ")
    assert [each.id for each in passkeys.of_user(anna.user_id)] == [anna.key.id]

    second = Authenticator()
    answer = second.make(anna.options_to_add())
    anna.add(answer)
    with pytest.raises(InvalidFields):
        anna.add(answer)
    anna.open(second.sign(anna.options()))
    assert kinds(anna.user_id).count("factor-enrolled") == 2


def test_the_only_factor_cannot_be_removed(settings: Settings, anna: Owner) -> None:
    with pytest.raises(NotAllowed):
        passkeys.remove(anna.user_id, anna.key.id)
    second = Authenticator()
    anna.add(second.make(anna.options_to_add()))
    for stranger in ("A" * 22, make_staff(settings, BORIS)[0]):
        with pytest.raises(NotFound):
            passkeys.remove(stranger, anna.key.id)

    passkeys.remove(anna.user_id, anna.key.id)

    with pytest.raises(InvalidFields) as caught:
        anna.open(anna.key.sign(anna.options()))
    assert caught.value.errors == {"passkey": [passkeys.UNKNOWN]}
    assert json.loads(passkeys.accepted(settings, anna.user_id) or "")["allAcceptedCredentialIds"] == [second.id]
    with pytest.raises(NotAllowed):
        passkeys.remove(anna.user_id, second.id)


def test_of_two_factors_that_are_removed_at_once_one_stays(app: Flask, settings: Settings, anna: Owner) -> None:
    enrol(settings, anna.user_id, anna.browser_id)
    db.session.rollback()

    def attempt(remove: Callable[[], None]) -> bool:
        with app.app_context():
            try:
                remove()
            except NotAllowed:
                return False
            finally:
                db.session.remove()
            return True

    with ThreadPoolExecutor(2) as threads:
        tries = (lambda: passkeys.remove(anna.user_id, anna.key.id), lambda: staff.remove_app(anna.user_id))
        assert sum(threads.map(attempt, tries)) == 1
    assert staff.factors(anna.user_id).enrolled


def test_a_passkey_is_renamed_by_its_owner(settings: Settings, anna: Owner) -> None:
    passkeys.rename(anna.user_id, anna.key.id, "  Phone \n in the drawer ")
    assert stored(anna).name == "Phone in the drawer"
    for wrong in ("", " ", "x" * 61, "\x00", "a\ud800"):
        with pytest.raises(InvalidFields):
            passkeys.rename(anna.user_id, anna.key.id, wrong)
    with pytest.raises(NotFound):
        passkeys.rename(make_staff(settings, BORIS)[0], anna.key.id, "Mine")


def test_an_address_without_a_name_has_no_passkeys(settings: Settings, anna: Owner) -> None:
    by_ip = replace(settings, public_url="http://127.0.0.1:5000")
    assert passkeys.options_to_prove(by_ip, anna.browser_id) is None
    assert passkeys.options_to_add(by_ip, anna.user_id, anna.browser_id) is None
    with pytest.raises(InvalidFields):
        replace(anna, settings=by_ip).open(anna.key.sign(anna.options()))


FEW = 40
"""Examples for each part of an answer."""
_JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("made", [False, True], ids=["proved", "made"])
def test_a_malformed_answer_is_refused_whatever_it_is(anna: Owner, made: bool) -> None:
    send = anna.add if made else anna.open
    good = json.loads(Authenticator().make(anna.options_to_add()) if made else anna.key.sign(anna.options()))

    @given(st.text() | _JSON.map(json.dumps))
    @settings_of_hypothesis(max_examples=FEW)
    @example("[" * 16_000)
    @example('"text"')
    @example("[]")
    def bodies(answer: str) -> None:
        with pytest.raises(InvalidFields):
            send(answer)

    @given(st.sampled_from(sorted(good)), _JSON)
    @settings_of_hypothesis(max_examples=FEW)
    @example("id", "é")
    @example("response", [])
    def parts(name: str, value: object) -> None:
        if value != good[name]:
            with pytest.raises(InvalidFields):
                send(json.dumps(good | {name: value}))

    bodies()
    parts()


@pytest.mark.parametrize("inner", ["clientDataJSON", "authenticatorData", "signature", "userHandle", "attestationObject"])
def test_a_malformed_part_behind_a_good_challenge_is_refused(anna: Owner, inner: str) -> None:
    made = inner == "attestationObject"
    send = anna.add if made else anna.open

    @given(st.text() | st.binary().map(base64url) | _JSON.map(lambda value: base64url(json.dumps(value).encode())))
    @settings_of_hypothesis(max_examples=FEW)
    def part(value: str) -> None:
        answer = json.loads(Authenticator().make(anna.options_to_add()) if made else anna.key.sign(anna.options()))
        answer["response"][inner] = value
        with pytest.raises(InvalidFields):
            send(json.dumps(answer))

    part()


@given(st.dictionaries(st.integers(-5, 5), st.integers() | st.binary() | st.text() | st.none()))
@example({1: 2, 3: -7, -1: 1, -2: 5, -3: "y"})
@example({1: 2, 3: -7, -1: 1, -2: bytes(32), -3: bytes(32)})
@settings_of_hypothesis(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=FEW)
def test_a_malformed_public_key_is_refused(anna: Owner, public: dict[int, object]) -> None:
    with pytest.raises(InvalidFields):
        anna.add(Authenticator(public=public).make(anna.options_to_add()))
