"""The second factor of staff: its enrolment, and the sessions of the operator's pages that it opens.

A text alone opens none of these pages, and enrols nothing: a number can be stolen. Enrolment needs a link that the command line or
another staff member made, and the way back to lost factors is `reset`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, exists, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.sql.dml import ReturningInsert

from config import Settings
from hammer import clock, codes, events
from hammer.db.database import Transaction, UtcDateTime, db, transaction
from hammer.db.prepared import InsertInto, insert_row, prepared
from hammer.factors import recovery, totp
from hammer.models import SESSION_IDLE, SESSION_LIFETIME, Counter, Passkey, SecondFactor, Session, SessionKind, User
from hammer.quotas import counters, idempotency
from hammer.quotas.counters import DAY, Limit
from hammer.refusals import N_, REQUIRED, InvalidFields, NotAllowed, NotFound, NotSignedIn, Refusal, TooManyRequests, WrongCode
from hammer.sessions import revocation

LINK_LIFETIME: Final = timedelta(hours=24)
WRONG_PER_DAY: Final = 5
"""Wrong codes a day (UTC) for each staff member. Three codes are valid at once, so guessing finds one with a probability of
0.55 % a year, for a person who has already stolen their number."""
NOT_THIS_CODE: Final = N_("That code does not fit. Type the six digits that the app shows now.")
LINK_OVER: Final = N_("This link has been used, or is older than a day. Ask for a new one.")
SPENT: Final = N_("Too many wrong codes today. If you have a passkey, it still works.")
LAST_FACTOR: Final = N_("This is your only second factor. Add another one first.")


@prepared
def make_link(insert: InsertInto) -> ReturningInsert[int]:
    """Makes the next enrolment link of a user; returns its number."""
    ends_at = bindparam("ends_at", type_=UtcDateTime)
    new = insert(SecondFactor).values(
        user_id=bindparam("user"), links=1, link_expires_at=ends_at, generation=0, recovery_generation=0, recovery_used=0
    )
    next_one = {"links": SecondFactor.links + 1, "link_expires_at": ends_at}
    return new.on_conflict_do_update(index_elements=[SecondFactor.user_id], set_=next_one).returning(SecondFactor.links)


@dataclass(frozen=True)
class Factors:
    """The second factors of a staff member."""

    app: bool
    """Whether an authenticator app is enrolled."""
    recovery_codes: int
    """How many are left."""
    passkeys: int
    """How many open the operator's pages."""

    @property
    def enrolled(self) -> bool:
        """Whether there is any but recovery codes."""
        return self.app or self.passkeys > 0


@dataclass(frozen=True)
class Opened:
    """A new session of the operator's pages."""

    session: Session
    recovery_codes: list[str]
    """Codes that were made together with it, to be shown once; empty for none."""


def factors(user_id: str) -> Factors:
    """The second factors of this user."""
    row, tx = db.session.get(SecondFactor, user_id), db.session()
    passkeys = len(tx.scalars(select(Passkey.id).where(Passkey.user_id == user_id, Passkey.for_staff)).all())
    if row is None:
        return Factors(False, 0, passkeys)
    return Factors(row.step is not None, recovery.left(row.recovery_used) if row.recovery_generation else 0, passkeys)


def next_secret(settings: Settings, user_id: str) -> str:
    """The secret for an authenticator app that is about to be enrolled. The same until an app was enrolled with it."""
    generation = db.session.scalar(select(SecondFactor.generation).where(SecondFactor.user_id == user_id))
    return totp.secret(settings, user_id, (generation or 0) + 1)


def allow_enrolment(settings: Settings, user_id: str, *, actor_id: str | None = None) -> str:
    """A new token of an enrolment link, valid once within `LINK_LIFETIME`; the ones before are void.

    Refuses with `NotFound` a user who is not staff.
    """
    with transaction() as tx:
        require_staff(tx, user_id)
        return allowed_link(tx, settings, user_id, actor_id)


def allowed_link(tx: Transaction, settings: Settings, user_id: str, actor_id: str | None) -> str:
    """The token of a new enrolment link, in the caller's transaction."""
    events.note(tx, events.Kind.ENROLMENT_ALLOWED, user_id, actor_id=actor_id)
    return _new_link(tx, settings, user_id)


def is_good(settings: Settings, token: str, user_id: str) -> bool:
    """Whether the token is that of the user's enrolment link, and the link can still be used."""
    number = _number_in(settings, token, user_id)
    return bool(db.session.scalar(select(exists().where(*_link(user_id, number)))))


def reset(settings: Settings, user_id: str) -> str:
    """Removes all second factors of a staff member, and ends their sessions of the operator's pages. Returns the token of a new
    enrolment link. Refuses with `NotFound` a user who is not staff."""
    with transaction() as tx:
        require_staff(tx, user_id)
        forget(tx, user_id)
        token = _new_link(tx, settings, user_id)
        events.note(tx, events.Kind.FACTORS_RESET, user_id)
    return token


def forget(tx: Transaction, user_id: str) -> None:
    """Removes the second factors of a user, and ends their sessions of the operator's pages. Passkeys stay, for their own account
    alone."""
    values = {"link_expires_at": None, "step": None, "recovery_used": recovery.ALL_USED}
    tx.execute(update(SecondFactor).where(SecondFactor.user_id == user_id).values(**values, generation=SecondFactor.generation + 1))
    tx.execute(update(Passkey).where(Passkey.user_id == user_id).values(for_staff=False))
    revocation.end(tx, user_id, Session.kind == SessionKind.ADMIN)


def delete(tx: Transaction, user_id: str) -> None:
    """Deletes everything that is stored about the second factors and passkeys of a user."""
    for table in (SecondFactor, Passkey):
        tx.execute(delete_from(table).where(table.user_id == user_id))
    tx.execute(delete_from(Counter).where(Counter.scope == scope(user_id)))


def scope(user_id: str) -> str:
    """The scope under which wrong codes of a user are counted."""
    return f"factors/{user_id}"


def enrol_by_link(settings: Settings, user_id: str, browser_id: str, token: str, typed: str, *, device: str) -> Opened:
    """Enrols an authenticator app whose code was typed, and opens a session of the operator's pages in this browser's session.

    Refuses with `InvalidFields` a wrong code, with `NotAllowed` a link that was used or expired, and with `NotSignedIn`.
    """
    with transaction() as tx:
        now = clock.now()
        spend_link(tx, settings, user_id, token)
        enrol_app(tx, settings, user_id, typed, now)
        return Opened(open_session(tx, user_id, now, "app", browser_id=browser_id, device=device), new_codes(tx, settings, user_id))


def add_app(settings: Settings, user_id: str, typed: str) -> None:
    """Enrols an authenticator app in place of the one before, if there is one. Refuses with `InvalidFields` a wrong code."""
    with transaction() as tx:
        require_staff(tx, user_id)
        enrol_app(tx, settings, user_id, typed, clock.now())


def remove_app(user_id: str) -> None:
    """Removes the authenticator app. Refuses with `NotAllowed` if no passkey is left."""
    with transaction() as tx:
        require_staff(tx, user_id)
        require_another(tx, user_id, "app")
        tx.execute(update(SecondFactor).where(SecondFactor.user_id == user_id).values(step=None))
        events.note(tx, events.Kind.FACTOR_REMOVED, user_id, detail="app")


def make_recovery_codes(settings: Settings, user_id: str) -> list[str]:
    """New recovery codes, to be shown once. The ones before are void."""
    with transaction() as tx:
        require_staff(tx, user_id)
        return new_codes(tx, settings, user_id)


def open_by_code(
    settings: Settings,
    user_id: str,
    typed: str,
    *,
    device: str,
    browser_id: str | None = None,
    instead_of: str | None = None,
    key: idempotency.Key | None = None,
) -> Session:
    """A new session of the operator's pages, for a code of the authenticator app or a recovery code.

    It is opened in the session of a browser (`browser_id`), or in place of an older one of the same pages (`instead_of`), whose end
    it keeps. A request that is repeated with its `key` spends no code and gets the same session.

    Refuses with `WrongCode`, with `TooManyRequests` after `WRONG_PER_DAY` wrong codes, with `NotFound` a user who is not staff, and
    with `NotSignedIn`. An empty code is refused with `InvalidFields` and not counted.
    """
    if not typed.strip():
        raise InvalidFields({"code": [REQUIRED]})
    with transaction() as tx:
        before = idempotency.claim(tx, key)
        if before is not None:
            return _opened_before(tx, **before)
        now = clock.now()
        require_staff(tx, user_id)
        proved_by = _prove_code(tx, settings, user_id, typed, now)
        if isinstance(proved_by, Refusal):
            idempotency.keep_refusal(tx, key, proved_by)
        else:
            opened = open_session(tx, user_id, now, proved_by, browser_id=browser_id, instead_of=instead_of, device=device)
            idempotency.keep(tx, key, session=opened.id)
    if isinstance(proved_by, Refusal):
        raise proved_by
    return opened


def close(user_id: str, session_id: str) -> None:
    """Ends a session of the operator's pages."""
    with transaction() as tx:
        revocation.end(tx, user_id, Session.id == session_id, Session.kind == SessionKind.ADMIN)


def spend_link(tx: Transaction, settings: Settings, user_id: str, token: str) -> None:
    """Spends the enrolment link of a staff member. Refuses with `NotAllowed` one that is not good, and with `NotFound`."""
    require_staff(tx, user_id)
    spent = update(SecondFactor).where(*_link(user_id, _number_in(settings, token, user_id))).values(link_expires_at=None)
    if tx.scalar(spent.returning(SecondFactor.user_id)) is None:
        raise NotAllowed(LINK_OVER)


def enrol_app(tx: Transaction, settings: Settings, user_id: str, typed: str, now: datetime) -> None:
    """Enrols an authenticator app with the next secret. Refuses with `InvalidFields` a wrong code."""
    row = _lock(tx, user_id)
    step = totp.step_of(totp.accepted(settings, user_id, row.generation + 1), typed, now)
    if step is None:
        raise InvalidFields({"code": [NOT_THIS_CODE]})
    tx.execute(update(SecondFactor).where(SecondFactor.user_id == user_id).values(generation=row.generation + 1, step=step))
    events.note(tx, events.Kind.FACTOR_ENROLLED, user_id, detail="app")


def new_codes(tx: Transaction, settings: Settings, user_id: str) -> list[str]:
    """New recovery codes of a user. The ones before are void."""
    generation = _lock(tx, user_id).recovery_generation + 1
    tx.execute(update(SecondFactor).where(SecondFactor.user_id == user_id).values(recovery_generation=generation, recovery_used=0))
    events.note(tx, events.Kind.RECOVERY_CODES_MADE, user_id)
    return recovery.all_codes(settings, user_id, generation)


def open_session(
    tx: Transaction,
    user_id: str,
    now: datetime,
    proved_by: str,
    *,
    device: str,
    browser_id: str | None = None,
    instead_of: str | None = None,
) -> Session:
    """A new session of the operator's pages in the session of a browser, or in place of an older one, which ends. Refuses with
    `NotSignedIn` if that one is over."""
    older = tx.get(Session, instead_of) if instead_of else None
    # The browser's session is locked first: what ends it at this moment waits, and then ends the new session too.
    browser = _lock_live(tx, user_id, SessionKind.BROWSER, older.parent_id if older else browser_id, now)
    ends = now + SESSION_LIFETIME[SessionKind.ADMIN]
    if instead_of is not None:
        ends = min(ends, _lock_live(tx, user_id, SessionKind.ADMIN, instead_of, now).expires_at)
        revocation.end(tx, user_id, Session.id == instead_of)
    events.note(tx, events.Kind.ADMIN_OPENED, user_id, detail=proved_by)
    return insert_row(
        tx,
        Session,
        id=codes.random_id(),
        user_id=user_id,
        kind=SessionKind.ADMIN,
        device=device[:80],
        parent_id=browser.id,
        refreshes=0,
        refreshed_at=now,
        created_at=now,
        seen_at=now,
        expires_at=min(ends, browser.expires_at),
    )


def _lock_live(tx: Transaction, user_id: str, kind: SessionKind, session_id: str | None, now: datetime) -> Session:
    """A live session of the user, locked. Refuses with `NotSignedIn` if there is none."""
    used = Session.expires_at > now, Session.seen_at > now - SESSION_IDLE[kind]
    this = Session.id == session_id, Session.user_id == user_id, Session.kind == kind, Session.ended_at.is_(None)
    found = tx.scalar(select(Session).where(*this, *used).with_for_update().execution_options(populate_existing=True))
    if found is None:
        raise NotSignedIn
    return found


def _opened_before(tx: Transaction, session: str) -> Session:
    opened = tx.scalar(select(Session).where(Session.id == session, Session.ended_at.is_(None)))
    if opened is None:
        raise NotSignedIn
    return opened


def _prove_code(tx: Transaction, settings: Settings, user_id: str, typed: str, now: datetime) -> str | Refusal:
    """By what the code proves its holder, in one word; or the refusal. An attempt is taken before the code is compared, and given
    back if it is right."""
    limit = Limit(scope(user_id), WRONG_PER_DAY, DAY)
    taken = counters.take(tx, [limit], now)
    if not taken:
        tomorrow = counters.ends_at(DAY, now)
        return TooManyRequests(retry_after=clock.seconds_until(tomorrow, now), sentence=SPENT)
    row = _lock(tx, user_id)
    proved_by = _spend_app_code(tx, settings, row, typed, now) or _spend_recovery_code(tx, settings, row, typed)
    if proved_by is None:
        events.note(tx, events.Kind.FACTOR_WRONG, user_id)
        return WrongCode(attempts_left=WRONG_PER_DAY - taken[limit.scope])
    counters.give_back(tx, [limit], 1, now)
    return proved_by


def _spend_app_code(tx: Transaction, settings: Settings, row: SecondFactor, typed: str, now: datetime) -> str | None:
    step = totp.step_of(totp.accepted(settings, row.user_id, row.generation), typed, now)
    if step is None:
        return None
    older = SecondFactor.user_id == row.user_id, SecondFactor.generation == row.generation, SecondFactor.step < step
    spent = update(SecondFactor).where(*older).values(step=step)
    return "app" if tx.scalar(spent.returning(SecondFactor.user_id)) else None


def _spend_recovery_code(tx: Transaction, settings: Settings, row: SecondFactor, typed: str) -> str | None:
    place = recovery.place_of(settings, row.user_id, row.recovery_generation, typed)
    if place is None:
        return None
    bit = 1 << place
    unused = SecondFactor.user_id == row.user_id, SecondFactor.recovery_used.bitwise_and(bit) == 0
    used = update(SecondFactor).where(*unused).values(recovery_used=SecondFactor.recovery_used.bitwise_or(bit))
    return "recovery" if tx.scalar(used.returning(SecondFactor.user_id)) else None


def require_staff(tx: Transaction, user_id: str) -> None:
    """Refuses with `NotFound` a user who is not staff.

    What takes the rights of staff or blocks at the same moment does not wait for this transaction, but ends its session afterwards.
    """
    staff = User.id == user_id, User.is_staff, User.blocked_at.is_(None), User.deleted_at.is_(None)
    if tx.scalar(select(User.id).where(*staff).with_for_update(read=True, key_share=True)) is None:
        raise NotFound


def require_another(tx: Transaction, user_id: str, removed: str) -> None:
    """Refuses with `NotAllowed` if what is removed, `app` or the id of a passkey, is the only second factor of a staff member.
    Until the transaction ends, no other one is removed."""
    row = _lock(tx, user_id)
    left = exists().where(Passkey.user_id == user_id, Passkey.for_staff, Passkey.id != removed)
    if (row.step is None or removed == "app") and not tx.scalar(select(left)):
        raise NotAllowed(LAST_FACTOR)


def _lock(tx: Transaction, user_id: str) -> SecondFactor:
    row = tx.scalar(select(SecondFactor).where(SecondFactor.user_id == user_id).with_for_update())
    if row is None:
        raise NotFound
    return row


def _new_link(tx: Transaction, settings: Settings, user_id: str) -> str:
    number = make_link.value(tx, user=user_id, ends_at=clock.now() + LINK_LIFETIME)
    return codes.proof(settings.key("second-factors"), "enrolment", user_id, int(number or 0))


def _number_in(settings: Settings, token: str, user_id: str) -> int:
    """The number of the user's link in a token; 0, which is the number of no link, if it is forged or of another user."""
    claim = codes.read_proof(settings.keys("second-factors"), "enrolment", token)
    return claim[1] if claim and claim[0] == user_id else 0


def _link(user_id: str, number: int) -> tuple[ColumnElement[bool], ...]:
    now: Any = clock.now()
    soon = SecondFactor.link_expires_at <= now + LINK_LIFETIME + clock.APART
    return SecondFactor.user_id == user_id, SecondFactor.links == number, SecondFactor.link_expires_at > now, soon
