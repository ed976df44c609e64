"""Signing in by a code: `send_code`, `resend_code`, `confirm_code`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, case, or_, select, update
from sqlalchemy.orm import Session as Transaction

from config import Settings
from hammer import clock, codes, phones, texts
from hammer.database import db, insert, transaction
from hammer.models import Referral, SendAllowance, Session, User, Verification
from hammer.refusals import N_, InvalidFields, NotAllowed, NotFound, TooManyRequests, Unavailable, WrongCode

LONGEST_WAIT = timedelta(minutes=10)
"""The wait between texts to one number doubles up to this."""
DAY = timedelta(hours=24)
LOGIN: Final = "login"
NOT_DIGITS = N_("The code is digits alone, 4 to 8 of them.")
OTHER_LENGTH = N_("The code in the text has another number of digits.")
NOT_AN_INVITE = N_("An invite code has six letters or digits, like Q9UK59.")
_FREE_CODE_TRIES = 10
_DEMO_CANDIDATES = 1000


@dataclass(frozen=True)
class CodeSent:
    """What the person who waits for a text should know."""

    verification: Verification
    expires_in: int
    """Seconds."""
    resend_in: int
    """Seconds until another text may be asked for."""


@dataclass(frozen=True)
class SignedIn:
    user: User
    session: Session
    created: bool
    """Whether this was the first login of the number."""


def send_code(settings: Settings, telephone_number: str, *, language: str, invite_code: str | None = None) -> CodeSent:
    """A new verification of the number, its code on the way by text. Nobody learns here whether the number is known.

    Refuses with `InvalidFields`, `RegionNotServed`, and `TooManyRequests` when the number was sent too many texts lately.
    """
    number = phones.read(telephone_number, region=settings.region, regions=settings.regions)
    invite = codes.read_invite_code(invite_code) if invite_code else None
    if invite_code and invite is None:
        raise InvalidFields({"invite_code": [NOT_AN_INVITE]})
    now = clock.now()
    verification = Verification(
        id=codes.random_id(),
        telephone_number=number,
        purpose=LOGIN,
        code_length=settings.code_length,
        guesses=0,
        language=language,
        invite_code=invite,
        created_at=now,
        expires_at=now + settings.code_ttl,
    )
    with transaction() as session:
        next_send_at = _take_send(session, settings, number, now)
        session.add(verification)
        texts.queue(session, verification)
    texts.wake()
    return _code_sent(verification, next_send_at, now)


def resend_code(settings: Settings, verification_id: str) -> CodeSent:
    """The same code on its way once more: same expiry, same guesses left.

    Refuses with `NotFound` when the verification is over or never was, and with `TooManyRequests`.
    """
    now = clock.now()
    with transaction() as session:
        verification = session.get(Verification, verification_id)
        if verification is None or not is_live(settings, verification, now):
            raise NotFound
        next_send_at = _take_send(session, settings, verification.telephone_number, now)
        texts.queue(session, verification)
    texts.wake()
    return _code_sent(verification, next_send_at, now)


def pending(settings: Settings, verification_id: str) -> CodeSent | None:
    """What `send_code` answered, as it stands now; None when that verification is over. Changes nothing."""
    now = clock.now()
    verification = db.session.get(Verification, verification_id)
    if verification is None or not is_live(settings, verification, now):
        return None
    allowance = db.session.get(SendAllowance, settings.keyed_hash("numbers", verification.telephone_number))
    return _code_sent(verification, allowance.next_send_at if allowance else now, now)


def confirm_code(settings: Settings, verification_id: str, code: str, *, door: str, device: str) -> SignedIn:
    """A new session of whoever holds the number, and at the first login the user with an invite code of their own.

    The guess is taken before anything is compared, so that of any number of parallel tries only as many as are left are looked at.
    Refuses with `WrongCode` for a code that is wrong, expired, spent or unknown alike; with `InvalidFields` for what cannot be the
    code (no guess is taken); with `NotAllowed` for a blocked user.
    """
    typed = _digits(code)
    now = clock.now()
    signed_in = None
    with transaction() as session:
        verification = session.scalar(
            update(Verification)
            .where(
                Verification.id == verification_id,
                Verification.consumed_at.is_(None),
                Verification.expires_at > now,
                Verification.guesses < settings.guesses_per_code,
                Verification.code_length == len(typed),
            )
            .values(guesses=Verification.guesses + 1)
            .returning(Verification)
        )
        right = verification is not None and codes.same(typed, verification.code(settings.key("codes")))
        if verification is not None and right:
            signed_in = _sign_in(session, settings, verification, door, device, now)
    if verification is None:
        raise _not_compared(settings, verification_id, now)
    if not right:
        raise WrongCode(attempts_left=settings.guesses_per_code - verification.guesses)
    if signed_in is None:
        raise NotAllowed
    return signed_in


def demo_verification(settings: Settings, code: str, telephone_number: str | None = None) -> str:
    """In demo mode, where codes are shown anyway: the id of the live verification that somebody means by its code alone.

    With a number, the newest of that number when none has the code, so that the wrong guess counts. Refuses with `WrongCode`.
    """
    typed = _digits(code)
    live = select(Verification).where(Verification.consumed_at.is_(None), Verification.expires_at > clock.now())
    if telephone_number is not None:
        number = phones.read(telephone_number, region=settings.region, regions=settings.regions)
        live = live.where(Verification.telephone_number == number)
    found = db.session.scalars(live.order_by(Verification.created_at.desc()).limit(_DEMO_CANDIDATES)).all()
    matching = [v for v in found if v.code(settings.key("codes")) == typed]
    if telephone_number is not None and found:
        return (matching or found)[0].id
    if len(matching) != 1:
        raise WrongCode(attempts_left=0)
    return matching[0].id


def _digits(code: str) -> str:
    typed = codes.read_one_time_code(code)
    if typed is None:
        raise InvalidFields({"code": [NOT_DIGITS]})
    return typed


def is_live(settings: Settings, verification: Verification, now: datetime) -> bool:
    """Whether its code could still be accepted."""
    spent = verification.consumed_at is not None or verification.guesses >= settings.guesses_per_code
    return not spent and verification.expires_at > now


def _sign_in(
    session: Transaction, settings: Settings, verification: Verification, door: str, device: str, now: datetime
) -> SignedIn | None:
    spent = update(Verification).where(Verification.id == verification.id, Verification.consumed_at.is_(None))
    session.execute(spent.values(consumed_at=now))
    number_hash = settings.keyed_hash("numbers", verification.telephone_number)
    patience = update(SendAllowance).where(SendAllowance.number_hash == number_hash)
    session.execute(patience.values(streak=0, next_send_at=now))
    user, created = _user_of(session, verification.telephone_number, now)
    if user.blocked_at is not None:
        return None
    if created and verification.invite_code:
        _activate_first(session, user, verification.invite_code, now)
    opened = Session.opened(user, door=door, device=device, now=now)
    session.add(opened)
    return SignedIn(user, opened, created)


def _user_of(session: Transaction, number: str, now: datetime) -> tuple[User, bool]:
    """The one user of the number, made if there is none, and whether it was made. The unique constraints decide both."""
    for _ in range(_FREE_CODE_TRIES):
        # Locked, lest a user who is being deleted at this moment gets one session more.
        user = session.scalar(select(User).where(User.telephone_number == number).with_for_update(read=True, key_share=True))
        if user is not None:
            return user, False
        user = session.scalar(
            insert(session, User)
            .values(id=codes.random_id(), telephone_number=number, invite_code=codes.new_invite_code(), date_joined=now)
            .on_conflict_do_nothing()
            .returning(User)
        )
        if user is not None:
            return user, True
    raise Unavailable(retry_after=1)


def _activate_first(session: Transaction, user: User, invite_code: str, now: datetime) -> None:
    """The invite that came along to a first login. A user made just now can neither own the code nor stand above its owner."""
    owner = session.scalar(
        update(User)
        .where(User.invite_code == invite_code, User.deleted_at.is_(None), User.id != user.id)
        .values(invite_count=User.invite_count + 1)
        .returning(User.id)
    )
    if owner is not None:
        session.add(Referral(referee_id=user.id, referrer_id=owner, activated_at=now))


def _take_send(session: Transaction, settings: Settings, number: str, now: datetime) -> datetime:
    """Takes one of the number's texts of the day, in one statement, and returns when the next may be asked for."""
    waits = [now + min(settings.resend_wait * 2**n, LONGEST_WAIT) for n in range(12)]
    new_day = SendAllowance.day_began_at <= now - DAY
    number_hash = settings.keyed_hash("numbers", number)
    taken: datetime | None = session.scalar(
        insert(session, SendAllowance)
        .values(number_hash=number_hash, day_began_at=now, sends=1, streak=1, next_send_at=waits[0])
        .on_conflict_do_update(
            index_elements=[SendAllowance.number_hash],
            set_={
                "day_began_at": case((new_day, now), else_=SendAllowance.day_began_at),
                "sends": case((new_day, 1), else_=SendAllowance.sends + 1),
                "streak": case((new_day, 1), else_=SendAllowance.streak + 1),
                "next_send_at": case(
                    (new_day, waits[0]), *((SendAllowance.streak == n, at) for n, at in enumerate(waits)), else_=waits[-1]
                ),
            },
            where=and_(SendAllowance.next_send_at <= now, or_(new_day, SendAllowance.sends < settings.sends_per_number_day)),
        )
        .returning(SendAllowance.next_send_at)
    )
    if taken is not None:
        return taken
    allowance = session.get_one(SendAllowance, number_hash)
    spent = allowance.sends >= settings.sends_per_number_day and allowance.day_began_at > now - DAY
    again_at = max(allowance.next_send_at, allowance.day_began_at + DAY if spent else now)
    raise TooManyRequests(retry_after=_seconds(again_at - now))


def _not_compared(settings: Settings, verification_id: str, now: datetime) -> InvalidFields | WrongCode:
    """Why no guess was taken: another length than the text has, or one of the reasons that nobody is told."""
    verification = db.session.get(Verification, verification_id)
    if verification is not None and is_live(settings, verification, now):
        return InvalidFields({"code": [OTHER_LENGTH]})
    return WrongCode(attempts_left=0)


def _code_sent(verification: Verification, next_send_at: datetime, now: datetime) -> CodeSent:
    return CodeSent(verification, _seconds(verification.expires_at - now), _seconds(next_send_at - now))


def _seconds(span: timedelta) -> int:
    """Whole seconds, rounded up, never below nought."""
    return max(0, -(-span // timedelta(seconds=1)))
