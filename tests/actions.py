"""The actions that tests of verbs have in common. All need an application context."""

from collections.abc import Callable
from itertools import pairwise

from sqlalchemy import text

from config import Settings
from hammer.db.database import db
from hammer.invites import activation
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import Referral, SessionKind, User, Verification
from hammer.users import accounts

ANNA, BORIS, CLARA = "+79290000001", "+79290000002", "+79290000003"
STRANGER_ID = "A" * 22


def number(n: int) -> str:
    """The n-th mobile number."""
    return f"+7929{n:07d}"


HOME = Asker("192.0.2.1", "en")
"""A person at an address of their own, on a device that is not known."""


def ask(settings: Settings, telephone_number: str = ANNA, *, asker: Asker = HOME, invite_code: str | None = None) -> Verification:
    """Asks for a code."""
    return by_code.send_code(settings, telephone_number, asker, invite_code=invite_code).verification


def right(settings: Settings, verification: Verification) -> str:
    """The right code."""
    return verification.code(settings.key("codes"))


def wrong_code(code: str) -> str:
    """Another code of the same length."""
    return str((int(code) + 1) % 10 ** len(code)).zfill(len(code))


def wrong(settings: Settings, verification: Verification) -> str:
    """A wrong code: another one of the same length."""
    return wrong_code(right(settings, verification))


def confirm(
    settings: Settings,
    verification: Verification,
    code: str,
    *,
    kind: SessionKind = SessionKind.PROGRAM,
    address: str = HOME.address,
) -> SignedIn:
    return by_code.confirm_code(settings, verification.id, code, kind=kind, device="Firefox", address=address)


def sign_in(
    settings: Settings,
    telephone_number: str = ANNA,
    *,
    kind: SessionKind = SessionKind.PROGRAM,
    invite_code: str | None = None,
    address: str = HOME.address,
) -> SignedIn:
    verification = ask(settings, telephone_number, invite_code=invite_code)
    return confirm(settings, verification, right(settings, verification), kind=kind, address=address)


def user(settings: Settings, telephone_number: str = ANNA) -> User:
    return sign_in(settings, telephone_number).user


def staff_member(settings: Settings, telephone_number: str = ANNA) -> User:
    """A user with the rights of staff."""
    them = user(settings, telephone_number)
    accounts.set_staff(settings, them.id, True)
    return them


def guesses_of(verification: Verification) -> int:
    """How many guesses were made at it."""
    db.session.expire_all()
    return db.session.get_one(Verification, verification.id).guesses


def no_wait() -> None:
    """Ends the wait for the next code to every number."""
    db.session.execute(text("update send_allowances set next_send_at = day_began_at"))


def drawing(letters: str) -> Callable[[object], str]:
    """A source of chance that gives these letters, in place of `secrets.choice`."""
    supply = iter(letters)
    return lambda _: next(supply)


def count_of(user_id: str) -> int:
    db.session.expire_all()
    return db.session.get_one(User, user_id).invite_count


def referrals() -> set[tuple[str, str]]:
    """Who (first) activated whose code (second)."""
    db.session.expire_all()
    return {(r.referee_id, r.referrer_id) for r in db.session.query(Referral)}


def everything_stored() -> list[str]:
    """Every value of every row of every table, as text."""
    db.session.expire_all()
    return [str(value) for table in db.metadata.sorted_tables for row in db.session.execute(table.select()) for value in row]


def activate(settings: Settings, user_id: str, typed: str, *, address: str = HOME.address) -> None:
    activation.activate(settings, user_id, typed, address=address)


def chain(settings: Settings, length: int) -> list[User]:
    """People of whom each activated the code of the one before."""
    people = [user(settings, number(n)) for n in range(length)]
    for above, below in pairwise(people):
        activate(settings, below.id, above.invite_code)
    return people
