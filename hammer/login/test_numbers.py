"""Test numbers: numbers of the operator that sign in with a fixed code (`HAMMER_TEST_NUMBERS`), for store review and end-to-end
tests. No text leaves for them.

They end with a day, and are then numbers like any other. Each use asks the clock. So nothing that a fixed code opened outlives that
day: neither a session nor a known device. All limits count as for everybody (`docs/test-numbers.md`).
"""

from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import aliased

from config import Settings
from hammer import events
from hammer.db.database import Transaction
from hammer.models import Event, Referral, User
from hammer.refusals import N_, InvalidFields, NotAllowed, Refusal

NOT_YOURS = N_("This number cannot be chosen. Please enter another one.")
STAYS = N_("A test account keeps its number.")
NEVER_STAFF = N_("This is a test number: others know its code, so its user cannot be staff.")


def is_active(settings: Settings, number: str | None, now: datetime) -> bool:
    """Whether this is a test number today."""
    until = settings.test_numbers_until
    return number in settings.test_numbers and until is not None and now.date() <= until


def active(settings: Settings, now: datetime) -> list[str]:
    """The test numbers of today."""
    return [number for number in settings.test_numbers if is_active(settings, number, now)]


def code(tx: Transaction, settings: Settings, number: str, now: datetime) -> str | None:
    """The fixed code of this number. None for all numbers that get texts, among them a test number whose user is staff."""
    if not is_active(settings, number, now):
        return None
    is_staff = tx.scalar(select(User.is_staff).where(User.telephone_number == number))
    return None if is_staff else settings.test_numbers[number]


def end_at(settings: Settings) -> datetime:
    """The midnight (UTC) with which the test numbers end."""
    return datetime.combine((settings.test_numbers_until or date.min) + timedelta(days=1), time(), UTC)


def refuse_staff(settings: Settings, number: str | None, now: datetime) -> None:
    """Refuses with `NotAllowed` if this is a test number today."""
    if is_active(settings, number, now):
        raise NotAllowed(NEVER_STAFF)


def refuses_change(settings: Settings, old: str | None, new: str, now: datetime) -> Refusal | None:
    """The refusal of a change of number from or to a test number; None for other changes.

    Other people know the code: they could open an account that comes to the number, and may have sessions of an account that leaves
    it.
    """
    if is_active(settings, new, now):
        return InvalidFields({"telephone_number": [NOT_YOURS]})
    return InvalidFields({"telephone_number": [STAYS]}) if is_active(settings, old, now) else None


def is_of_testers() -> ColumnElement[bool]:
    """A condition: this event is about a user who signed in with a fixed code, or about an activation of such a user's invite code.

    The events of the uses decide, not the numbers: testers delete their accounts.
    """
    use, use_of_referrer = aliased(Event), aliased(Event)
    of_tester = exists().where(use.user_id == Event.user_id, use.kind == events.Kind.TEST_NUMBER_USED)
    by_code_of_tester = exists().where(
        Referral.referee_id == Event.user_id,
        use_of_referrer.user_id == Referral.referrer_id,
        use_of_referrer.kind == events.Kind.TEST_NUMBER_USED,
    )
    return or_(of_tester, and_(Event.kind == events.Kind.INVITE_ACTIVATED, by_code_of_tester))
