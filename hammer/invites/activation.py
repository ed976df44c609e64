"""Activating an invite code, which each user can do once (`activate`), and the referees of a user (`invitees`, `by_week`)."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import String, bindparam, case, delete, func, select, tuple_, update

from config import Settings
from hammer import clock, events
from hammer.db.database import Transaction, UtcDateTime, db, one_at_a_time, transaction
from hammer.db.pagination import MOST_PER_PAGE, Page, place, read_place
from hammer.db.prepared import Prepared, prepared
from hammer.invites import invite_codes, tombstones
from hammer.models import Referral, User
from hammer.parsing import phones
from hammer.quotas import idempotency, invite_attempts
from hammer.refusals import AlreadyActivated, InviteLoop, NotFound, OwnInvite, Refusal, TooManyRequests, UnknownInvite

FIND_ACTIVATED_CODE: Final = prepared(
    select(User.invite_code).join(Referral, Referral.referrer_id == User.id).where(Referral.referee_id == bindparam("user"))
)
# Both rows are locked. A deletion of the referee at the same moment waits, then sees the referral and leaves a tombstone for the
# number; a deletion of the owner waits as well, or the owner is not found any more.
LOCK_NUMBER: Final = prepared(
    select(User.telephone_number).where(User.id == bindparam("user")).with_for_update(read=True, key_share=True)
)
LOCK_OWNER: Final = prepared(
    select(User.id)
    .where(User.invite_code == bindparam("invite"), User.deleted_at.is_(None))
    .with_for_update(read=True, key_share=True)
)
INSERT_REFERRAL: Final = prepared(lambda insert: insert(Referral).on_conflict_do_nothing().returning(Referral.referee_id))
COUNT_REFEREE: Final = prepared(update(User).where(User.id == bindparam("owner")).values(invite_count=User.invite_count + 1))

_PARENTS: Final = select(Referral.referrer_id).where(Referral.referee_id == bindparam("owner")).cte("above", recursive=True)
_ANCESTORS: Final = _PARENTS.union(select(Referral.referrer_id).join(_PARENTS, Referral.referee_id == _PARENTS.c.referrer_id))
FIND_LOOP: Final = prepared(select(_ANCESTORS.c.referrer_id).where(_ANCESTORS.c.referrer_id == bindparam("user")))
"""Returns a row if the user invited the owner, directly or through other users."""
FIND_ACTIVATED: Final = prepared(
    select(User.invite_code, Referral.activated_at)
    .join(User, User.id == Referral.referrer_id)
    .where(Referral.referee_id == bindparam("user"))
)
_INVITEES: Final = (
    select(User.telephone_number, Referral.activated_at, Referral.referee_id)
    .join(User, User.id == Referral.referee_id)
    .where(Referral.referrer_id == bindparam("user"))
    .order_by(Referral.activated_at.desc(), Referral.referee_id.desc())
    .limit(bindparam("most"))
)
FIND_INVITEES: Final = prepared(_INVITEES)
FIND_INVITEES_AFTER: Final = prepared(
    _INVITEES.where(
        tuple_(Referral.activated_at, Referral.referee_id)
        < tuple_(bindparam("moment", type_=UtcDateTime), bindparam("referee", type_=String))
    )
)


@dataclass(frozen=True)
class Invitee:
    """A user who activated the code. The number is None after their deletion, or where the settings show no numbers of invitees."""

    telephone_number: str | None
    activated_at: datetime


def activate(settings: Settings, user_id: str, typed: str, *, address: str, key: idempotency.Key | None = None) -> None:
    """Makes the user a referee of the code's owner. The code may be typed in any way, or be a whole link.

    The same code again changes nothing. A request that is repeated with its `key` takes no attempt.

    Refuses with `InvalidFields`; with `AlreadyActivated` when the user, or an earlier user of the same number, has activated a
    code (the new code is not looked up then, so the refusal says nothing about it); with `TooManyRequests` after too many codes
    that could not be activated; with `UnknownInvite`, `OwnInvite` and `InviteLoop`. Each of these but the first leaves an event,
    which does not contain the code: it may be a stranger's.
    """
    code, now = meant(settings, typed), clock.now()
    with transaction() as tx:
        if idempotency.claim(tx, key) is not None:
            return
        one_at_a_time(tx, "activate")  # otherwise two users who activate each other's codes would both see no loop
        before = FIND_ACTIVATED_CODE.value(tx, user=user_id)
        if before == code:
            idempotency.free(tx, key)
            return
        number = LOCK_NUMBER.value(tx, user=user_id)
        if number is None:
            raise NotFound
        again = before is not None or tombstones.is_marked(tx, settings, number, now)
        refusal = AlreadyActivated() if again else _attempt(tx, settings, user_id, number, code, address, now)
        if refusal is not None:
            took_attempt = not again and not isinstance(refusal, TooManyRequests)
            if not took_attempt and not invite_attempts.take_note(tx, user_id, now):
                raise refusal  # nothing was written that must stay
            events.note(tx, events.Kind.INVITE_REFUSED, user_id, detail=refusal.slug)
        idempotency.keep_outcome(tx, key, refusal)
    if refusal is not None:
        raise refusal


def activate_at_first_login(
    tx: Transaction, settings: Settings, user_id: str, number: str, code: str, address: str, now: datetime
) -> None:
    """Activates the code that was sent along with the first login of a new user, if it can be activated."""
    if not tombstones.is_marked(tx, settings, number, now):
        _attempt(tx, settings, user_id, number, code, address, now)


def meant(settings: Settings, typed: str, before: str | None = None) -> str:
    """The invite code that was typed. It is not looked up.

    Refuses with `AlreadyActivated` when the user activated another code `before`, and with `InvalidFields` input that is not
    clearly one code.
    """
    if before is not None and invite_codes.read(typed, settings.public_url) != before:
        raise AlreadyActivated
    return invite_codes.meant(typed, settings.public_url)


def activated(user_id: str) -> tuple[str, datetime] | None:
    """The invite code that the user activated, and when; None if they have not activated one."""
    found = FIND_ACTIVATED.rows(db.session(), user=user_id)
    return cast(tuple[str, datetime], found[0]) if found else None


def invitees(settings: Settings, user_id: str, *, limit: int = MOST_PER_PAGE, after: str | None = None) -> Page[Invitee]:
    """The users who activated this user's code, newest first, `limit` (1 to 100) at a time.

    Refuses a malformed `after` with `InvalidFields`.
    """
    if after:
        moment, referee_id = read_place(after)
        rows = FIND_INVITEES_AFTER.rows(db.session(), user=user_id, most=limit + 1, moment=moment, referee=referee_id)
    else:
        rows = FIND_INVITEES.rows(db.session(), user=user_id, most=limit + 1)
    more = place(rows[limit - 1].activated_at, rows[limit - 1].referee_id) if len(rows) > limit else None
    return Page([Invitee(phones.shown(r.telephone_number, settings.invitee_numbers), r.activated_at) for r in rows[:limit]], more)


def by_week(user_id: str, weeks: int) -> list[int]:
    """The number of users who activated this user's code in each of the last `weeks`, oldest first. The last week ends now."""
    now = clock.now()
    begins = {f"begin_{back}": now - timedelta(weeks=back) for back in range(1, weeks + 1)}
    counts = dict(_count_by_week(weeks).rows(db.session(), user=user_id, **begins))
    return [counts.get(back, 0) for back in range(weeks, 0, -1)]


@cache
def _count_by_week(weeks: int) -> Prepared[int]:
    begins: dict[int, Any] = {back: bindparam(f"begin_{back}") for back in range(1, weeks + 1)}
    week = case(*((Referral.activated_at >= moment, back) for back, moment in begins.items())).label("week")
    mine = Referral.referrer_id == bindparam("user"), Referral.activated_at >= begins[weeks]
    return prepared(select(week, func.count()).where(*mine).group_by(week))


def _attempt(
    tx: Transaction, settings: Settings, user_id: str, number: str, code: str, address: str, now: datetime
) -> Refusal | None:
    """Activates the code, or returns why not. The attempt is taken before the code is looked up, and given back if it succeeds."""
    limits = invite_attempts.limits(tx, settings, user_id, number, address, now)
    refusal = invite_attempts.take(tx, limits, now) or join(tx, user_id, code, now)
    if refusal is None:
        invite_attempts.give_back(tx, limits, now)
    return refusal


def join(
    tx: Transaction,
    user_id: str,
    code: str,
    now: datetime,
    noted_as: events.Kind = events.Kind.INVITE_ACTIVATED,
    *,
    actor_id: str | None = None,
    reason: str | None = None,
) -> Refusal | None:
    """Makes the user a referee of the code's owner, or returns why not. The only place that inserts and counts a referral."""
    owner = LOCK_OWNER.value(tx, invite=code)
    if owner is None:
        return UnknownInvite()
    if owner == user_id:
        return OwnInvite()
    if FIND_LOOP.rows(tx, owner=owner, user=user_id):
        return InviteLoop()
    if not INSERT_REFERRAL.rows(tx, referee_id=user_id, referrer_id=owner, activated_at=now):
        return AlreadyActivated()
    COUNT_REFEREE.execute(tx, owner=owner)
    events.note(tx, noted_as, user_id, actor_id=actor_id, referrer_id=owner, reason=reason)
    return None


def part(tx: Transaction, user_id: str, *, actor_id: str, reason: str) -> bool:
    """Removes the user's referral and counts it no more; False if there was none."""
    owner = tx.scalar(delete(Referral).where(Referral.referee_id == user_id).returning(Referral.referrer_id))
    if owner is None:
        return False
    tx.execute(update(User).where(User.id == owner).values(invite_count=User.invite_count - 1))
    events.note(tx, events.Kind.REFERRAL_DETACHED, user_id, actor_id=actor_id, referrer_id=owner, reason=reason)
    return True
