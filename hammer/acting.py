"""Staff who change what is not their own: `acting` alone checks that they still may, and whom they may not change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import select

from hammer.db.database import Transaction, one_at_a_time, transaction
from hammer.models import User
from hammer.refusals import N_, NotAllowed

OWN_ACCOUNT: Final = N_("This is your own account. Change it on your profile page.")
STAFF_FIRST: Final = N_("This person is staff. Take the rights away first.")
CHANGED_SINCE: Final = N_("Somebody has changed it since, so nothing was saved. To save it as it is here, send it once more.")
ROTATED_SINCE: Final = N_("A new one was made meanwhile, so nothing was done. To make one more, begin again.")


@contextmanager
def acting(actor_id: str | None, user_id: str | None = None) -> Iterator[Transaction]:
    """A transaction in which `actor_id` changes the user `user_id`, or without one something else: a client, a webhook endpoint.

    Refuses with `NotAllowed`, and rolls back, unless the actor is staff at its end. Users who change themselves are not checked.
    Clients and the command line have no actor.
    """
    with transaction() as tx:
        if actor_id in (None, user_id):
            yield tx
            return
        one_at_a_time(tx, "staff")  # otherwise two staff members who change each other would wait for each other
        yield tx
        # Last, since an activation locks the referee first and then the referrer, who may be the actor.
        still = User.id == actor_id, User.is_staff, User.blocked_at.is_(None), User.deleted_at.is_(None)
        if tx.scalar(select(User.id).where(*still).with_for_update(read=True)) is None:
            raise NotAllowed


def refuse_oneself(actor_id: str | None, user_id: str) -> None:
    """Refuses with `NotAllowed` staff who would change their own account by their rights."""
    if actor_id == user_id:
        raise NotAllowed(OWN_ACCOUNT)


def refuse_staff(tx: Transaction, user_id: str, sentence: str = STAFF_FIRST) -> None:
    """Refuses with `NotAllowed` to change a user who is staff. The row stays locked, so that this is true until the transaction
    ends."""
    if tx.scalar(select(User.is_staff).where(User.id == user_id).with_for_update(key_share=True)):
        raise NotAllowed(sentence)
