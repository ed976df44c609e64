"""Invite codes: `activate` somebody's, once for ever, and see who activated one's own (`invitees`) and when (`by_week`)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, literal, select, tuple_, update
from sqlalchemy.orm import Session

from hammer import clock, codes
from hammer.database import MOST_PER_PAGE, Page, db, insert, one_at_a_time, place, read_place, transaction
from hammer.models import Referral, User
from hammer.refusals import N_, AlreadyActivated, InvalidFields, InviteLoop, OwnInvite, UnknownInvite

NOT_A_CODE = N_("An invite code has six letters or digits, like Q9UK59.")


@dataclass(frozen=True)
class Invitee:
    """Somebody who activated the code. No number any more once they deleted themselves."""

    telephone_number: str | None
    activated_at: datetime


def activate(user_id: str, typed: str) -> None:
    """Makes the user a referee of the code's owner. The code may be typed in any way, or be a whole link.

    The same code again changes nothing. Refuses with `InvalidFields`; with `AlreadyActivated` before the code is looked up, so that
    nobody can go on to try which codes exist; with `UnknownInvite`, `OwnInvite`, and `InviteLoop` when the owner came by the user's
    invitation, directly or further down.
    """
    code = codes.read_invite_code(typed)
    if code is None:
        raise InvalidFields({"invite_code": [NOT_A_CODE]})
    with transaction() as session:
        one_at_a_time(session, "activate")  # two that activate each other would each see no loop yet
        before = session.scalar(
            select(User.invite_code).join(Referral, Referral.referrer_id == User.id).where(Referral.referee_id == user_id)
        )
        if before == code:
            return
        if before is not None:
            raise AlreadyActivated
        owner = session.scalar(select(User.id).where(User.invite_code == code, User.deleted_at.is_(None)))
        if owner is None:
            raise UnknownInvite
        if owner == user_id:
            raise OwnInvite
        if _stands_below(session, owner, user_id):
            raise InviteLoop
        referral = insert(session, Referral).values(referee_id=user_id, referrer_id=owner, activated_at=clock.now())
        if session.scalar(referral.on_conflict_do_nothing().returning(Referral.referee_id)) is None:
            raise AlreadyActivated
        session.execute(update(User).where(User.id == owner).values(invite_count=User.invite_count + 1))


def activated(user_id: str) -> tuple[str, datetime] | None:
    """The invite code that the user activated, and when; None before."""
    row = db.session.execute(
        select(User.invite_code, Referral.activated_at)
        .join(User, User.id == Referral.referrer_id)
        .where(Referral.referee_id == user_id)
    ).one_or_none()
    return None if row is None else (row.invite_code, row.activated_at)


def invitees(user_id: str, *, limit: int = MOST_PER_PAGE, after: str | None = None) -> Page[Invitee]:
    """Who activated the user's code, newest first, `limit` (1 to 100) at a time. Refuses a bad `after` with `InvalidFields`."""
    query = (
        select(User.telephone_number, Referral.activated_at, Referral.referee_id)
        .join(User, User.id == Referral.referee_id)
        .where(Referral.referrer_id == user_id)
        .order_by(Referral.activated_at.desc(), Referral.referee_id.desc())
        .limit(limit + 1)
    )
    if after:
        moment, referee_id = read_place(after)
        spot = tuple_(literal(moment, Referral.activated_at.type), literal(referee_id))
        query = query.where(tuple_(Referral.activated_at, Referral.referee_id) < spot)
    rows = db.session.execute(query).all()
    more = place(rows[limit - 1].activated_at, rows[limit - 1].referee_id) if len(rows) > limit else None
    return Page([Invitee(r.telephone_number, r.activated_at) for r in rows[:limit]], more)


def by_week(user_id: str, weeks: int) -> list[int]:
    """How many activated the user's code in each of the last `weeks`, oldest first; a week ends now."""
    now = clock.now()
    begins = [now - timedelta(weeks=back) for back in range(1, weeks + 1)]
    week = case(*((Referral.activated_at >= moment, back) for back, moment in enumerate(begins))).label("week")
    added = select(week, func.count()).where(Referral.referrer_id == user_id, Referral.activated_at >= begins[-1]).group_by(week)
    counts: dict[int, int] = {row[0]: row[1] for row in db.session.execute(added)}
    return [counts.get(back, 0) for back in reversed(range(weeks))]


def _stands_below(session: Session, owner: str, user_id: str) -> bool:
    """Whether `owner` was invited by the user, or by somebody whom the user invited, however far down."""
    above = select(Referral.referrer_id).where(Referral.referee_id == owner).cte("above", recursive=True)
    above = above.union(select(Referral.referrer_id).join(above, Referral.referee_id == above.c.referrer_id))
    return session.scalar(select(above.c.referrer_id).where(above.c.referrer_id == user_id)) is not None
