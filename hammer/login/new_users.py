"""Creating a user: a step of the first login, and of staff who create a user."""

from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from hammer import codes
from hammer.db.database import Transaction
from hammer.db.prepared import prepared
from hammer.models import User
from hammer.refusals import N_, InvalidFields, Refusal, TelephoneNumberTaken, Unavailable, UsernameTaken

CODES_DRAWN: Final = 10
"""Number of invite codes that are drawn before a new user is refused. With a million users, one code in 480 is taken."""
INVITE_CODE_TAKEN = N_("There is already a user with this invite code.")

INSERT_USER: Final = prepared(lambda insert: insert(User).on_conflict_do_nothing().returning(User))


def insert(
    tx: Transaction, number: str, now: datetime, *, username: str | None = None, invite_code: str | None = None, **others: object
) -> User | Refusal:
    """The new user of this number (E.164), with `invite_code` or one that was free; `others` are further columns.

    Otherwise the refusal: `TelephoneNumberTaken`, `UsernameTaken`, `InvalidFields` when `invite_code` is taken, or `Unavailable`
    when every code that was drawn is taken. The unique constraints decide, so parallel calls for one number create one user.
    """
    for _ in range(CODES_DRAWN):
        drawn = {"id": codes.random_id(), "invite_code": invite_code or codes.new_invite_code()}
        given = {"telephone_number": number, "username": username, "date_joined": now, **others}
        user = INSERT_USER.row(tx, User, **drawn, **given)
        if user is not None:
            return user
        if tx.scalar(select(User.id).where(User.telephone_number == number)):
            return TelephoneNumberTaken()
        if username and tx.scalar(select(User.id).where(func.lower(User.username) == username.lower())):
            return UsernameTaken()
        if invite_code:
            return invite_code_taken()
    return Unavailable(retry_after=1)


def invite_code_taken() -> InvalidFields:
    """The refusal of an invite code that another user has."""
    return InvalidFields({"invite_code": [INVITE_CODE_TAKEN]})
