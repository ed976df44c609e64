"""People: finding them, their profile, and what they or staff may change: `create`, `rename`, `change_number`, `delete`, `export`,
staff's deeds.

An `actor_id` names who does it, where that may be somebody else: the audit trail says so. The command line has none.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import bindparam, desc, exists, func, literal, literal_column, or_, select, tuple_, union_all, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session as Transaction
from sqlalchemy.orm import aliased

from config import FULL, MASKED, Settings
from hammer import clock, codes, events, guesses, phones, sends, texts, tombstones, tries, verifications
from hammer.database import MOST_PER_PAGE, Page, db, insert, place, read_place, transaction
from hammer.models import Counter, Device, Event, Referral, SendAllowance, Session, Text, User, Verification
from hammer.refusals import N_, InvalidFields, NotAllowed, NotFound, TelephoneNumberTaken, Unavailable, UsernameTaken
from hammer.statements import run
from hammer.verifications import Asker, CodeSent

USERNAME = "[A-Za-z][A-Za-z0-9_.-]{0,29}"
"""It begins with a letter, so that it never reads as a number; `me` is taken by everybody."""
LONGEST_NAME = 150
NOT_A_USERNAME = N_(
    "A username begins with a Latin letter and goes on with letters, digits, dots, hyphens or underscores, 30 at most."
)
TOO_LONG = N_("This is longer than 150 characters.")
NOT_TEXT = N_("This has a character that is not text.")
PROOF_STAYS_FRESH: Final = timedelta(minutes=5)
"""So long after proving their number people may change it, or delete themselves: whoever finds an open device may not."""
SIGN_IN_AGAIN = N_("Please sign in again first: this needs a code that is at most five minutes old.")
YOUR_NUMBER = N_("This is your number already.")
_JOINERS: Final = "\u200c\u200d"
"""Of the signs that nobody sees, those that writing and emoji need; others turn a name around or make it look empty."""
_BLANKS: Final = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and signs that look like nothing: the fillers of Hangul, the Braille pattern without dots."""
_FREE_CODE_TRIES = 10


@dataclass(frozen=True)
class Profile:
    """A user as they and staff see them."""

    username: str
    first_name: str
    last_name: str
    telephone_number: str
    invite_code: str
    invite_code_list: list[str]
    """The numbers of those who activated the code, the newest 100, as `HAMMER_INVITEE_NUMBERS` lets them be seen."""
    activated_invite_code: str | None
    invite_count: int
    """Of all who activated it, those who deleted themselves since included."""
    date_joined: datetime
    is_staff: bool
    blocked_at: datetime | None


def find(settings: Settings, name: str) -> str:
    """The id of the user with this username, or this number in any spelling. Refuses with `NotFound`."""
    if name[:1].isascii() and name[:1].isalpha():
        same = func.lower(User.username) == name.lower()
    else:
        same = User.telephone_number == phones.canonical(name, region=settings.region)
    user_id = db.session.scalar(select(User.id).where(same, User.deleted_at.is_(None)))
    if user_id is None:
        raise NotFound
    return user_id


def profile(settings: Settings, user_id: str) -> Profile:
    """One user's profile. Refuses with `NotFound`."""
    found = _profiles(settings, run(db.session(), _OF_ONE, user=user_id))
    if not found:
        raise NotFound
    return found[0][1]


def everyone(settings: Settings, *, q: str = "", limit: int = MOST_PER_PAGE, after: str | None = None) -> Page[Profile]:
    """All users in the order they joined, or those whose number, name, username or invite code has to do with `q`.

    `limit` is 1 to 100. Refuses a bad `after` with `InvalidFields`.
    """
    ids = select(User.id).where(User.deleted_at.is_(None)).order_by(User.date_joined, User.id).limit(limit + 1)
    if after:
        moment, user_id = read_place(after)
        ids = ids.where(tuple_(User.date_joined, User.id) > tuple_(literal(moment, User.date_joined.type), literal(user_id)))
    if q:
        digits = "".join(c for c in q if c.isdigit() and c.isascii())
        name = User.first_name + literal_column("' '") + User.last_name  # as the index `ix_users_search` has it
        likes = [User.username.icontains(q, autoescape=True), name.icontains(q, autoescape=True)]
        code, number = codes.read_invite_code(q), phones.canonical(q, region=settings.region)
        likes += [User.invite_code == code] if code else []
        likes += [User.telephone_number == number] if number else []
        likes += [User.telephone_number.contains(digits)] if len(digits) >= 3 else []
        ids = ids.where(or_(*likes))
    found = _profiles(settings, db.session.execute(_profiles_of(ids)).all())
    last = found[limit - 1] if len(found) > limit else None
    return Page([p for _, p in found[:limit]], last and place(last[1].date_joined, last[0]))


def create(
    settings: Settings, telephone_number: str, names: Mapping[str, str], *, is_staff: bool = False, actor_id: str | None = None
) -> str:
    """A user made by hand, and their id.

    Refuses with `InvalidFields`, `RegionNotServed`, `TelephoneNumberTaken`, `UsernameTaken`.
    """
    number = phones.read(telephone_number, region=settings.region, regions=settings.regions)
    user_id, now = codes.random_id(), clock.now()
    stored = _as_stored(names)
    values = {"id": user_id, "telephone_number": number, "date_joined": now, "is_staff": is_staff} | stored
    with transaction() as session:
        for _ in range(_FREE_CODE_TRIES):
            new = insert(session, User).values(values | {"invite_code": codes.new_invite_code()})
            if session.scalar(new.on_conflict_do_nothing().returning(User.id)):
                events.note(session, events.USER_CREATED, user_id, actor_id=actor_id)
                if is_staff:
                    events.note(session, events.STAFF_GIVEN, user_id, actor_id=actor_id)
                return user_id
            if session.scalar(select(User.id).where(User.telephone_number == number)):
                raise TelephoneNumberTaken
            if session.scalar(select(User.id).where(func.lower(User.username) == (stored.get("username") or "").lower())):
                raise UsernameTaken
    raise Unavailable(retry_after=1)


def rename(user_id: str, names: Mapping[str, str], *, actor_id: str | None = None) -> None:
    """Changes those of `username`, `first_name` and `last_name` that are given. Refuses with `UsernameTaken`, `NotFound`."""
    if not names:
        return
    try:
        with transaction() as session:
            _change(session, user_id, **_as_stored(names))
            events.note(session, events.USER_RENAMED, user_id, actor_id=actor_id)
    except IntegrityError as error:
        raise UsernameTaken from error


def proved_lately(session_id: str) -> bool:
    """Whether the number was proved for this session so lately that its user may change it, or delete themselves."""
    return _is_fresh(db.session(), session_id)


def ask_number(settings: Settings, user_id: str, session_id: str, telephone_number: str, asker: Asker) -> CodeSent:
    """A new verification of the number that the user wants to have from now on, its code on the way by text.

    Nobody learns here whether somebody else has it. Refuses with `NotAllowed` when the old number was not proved lately for this
    session; with `InvalidFields`, `RegionNotServed`, `TooManyRequests` and `Unavailable` as signing in does.
    """
    number = phones.read(telephone_number, region=settings.region, regions=settings.regions)
    with transaction() as session:
        if not _is_fresh(session, session_id):
            raise NotAllowed(SIGN_IN_AGAIN)
        if session.scalar(select(User.telephone_number).where(User.id == user_id)) == number:
            raise InvalidFields({"telephone_number": [YOUR_NUMBER]})
        sent = verifications.begin(session, settings, number, asker, purpose=verifications.CHANGE_NUMBER, user_id=user_id)
    texts.wake()
    return sent


def change_number(
    settings: Settings, user_id: str, session_id: str, verification_id: str, code: str, *, end_other_sessions: bool = False
) -> None:
    """Gives the user the number that `ask_number` asked about; the old one is told so by a text.

    Refuses with `WrongCode` and `InvalidFields` as signing in does, and with `TelephoneNumberTaken`: whoever hears that has proved
    that they hold the number.
    """
    changed = False
    with transaction() as session:
        purpose = verifications.CHANGE_NUMBER
        guess = verifications.guess(session, settings, verification_id, code, purpose=purpose, user_id=user_id)
        if guess.verification is not None and guess.refusal is None:
            changed = _move(session, settings, user_id, guess.verification)
        if changed and end_other_sessions:
            others = (Session.user_id == user_id, Session.id != session_id, Session.ended_at.is_(None))
            session.execute(update(Session).where(*others).values(ended_at=clock.now()))
            events.note(session, events.SESSIONS_ENDED, user_id)
    guess.proven()
    if not changed:
        raise TelephoneNumberTaken
    texts.wake()


def delete(settings: Settings, user_id: str, *, actor_id: str | None = None, session_id: str | None = None) -> None:
    """Forgets all that is personal and ends every session. What remains counts for others and names nobody.

    Who deletes themselves (`actor_id`) must have proved their number lately for their session. Refuses with `NotAllowed`,
    `NotFound`.
    """
    now = clock.now()
    with transaction() as session:
        if actor_id == user_id and not _is_fresh(session, session_id):
            raise NotAllowed(SIGN_IN_AGAIN)
        # In the order in which a login takes them: the other way round the two would wait for each other.
        number = select(User.telephone_number).where(User.id == user_id, User.deleted_at.is_(None))
        theirs = or_(Verification.telephone_number == number.scalar_subquery(), Verification.user_id == user_id)
        session.execute(delete_from(Verification).where(theirs))
        session.execute(delete_from(Device).where(Device.user_id == user_id))
        had = session.scalar(number.with_for_update())
        if had is None:
            raise NotFound
        nobody = {"telephone_number": None, "username": None, "first_name": "", "last_name": "", "is_staff": False}
        session.execute(_living(user_id).values(nobody | {"deleted_at": now}))
        tombstones.lay(session, settings, user_id, had, now)
        tries.forget(session, user_id)
        for table in (Session, Device):  # a login that was quicker has left new ones
            session.execute(delete_from(table).where(table.user_id == user_id))
        events.note(session, events.USER_DELETED, user_id, actor_id=actor_id)


def set_staff(user_id: str, is_staff: bool, *, actor_id: str | None = None) -> None:
    """Gives or takes what staff may do; it holds from the user's next request on. Refuses with `NotFound`."""
    with transaction() as session:
        _change(session, user_id, is_staff=is_staff)
        events.note(session, events.STAFF_GIVEN if is_staff else events.STAFF_TAKEN, user_id, actor_id=actor_id)


def set_blocked(user_id: str, blocked: bool, *, actor_id: str | None = None) -> None:
    """Shuts a user out at once, or lets them in again (to sign in anew). Refuses with `NotFound`."""
    now = clock.now()
    with transaction() as session:
        _change(session, user_id, blocked_at=now if blocked else None)
        session.execute(update(Session).where(Session.user_id == user_id, Session.ended_at.is_(None)).values(ended_at=now))
        events.note(session, events.USER_BLOCKED if blocked else events.USER_UNBLOCKED, user_id, actor_id=actor_id)


def export(settings: Settings, user_id: str) -> dict[str, Any]:
    """All that is stored about the user, others' numbers masked (GDPR Art. 15(4)). `docs/privacy.md` says what is left out, and
    why. Refuses with `NotFound`."""
    settings = replace(settings, invitee_numbers=MASKED if settings.invitee_numbers == FULL else settings.invitee_numbers)
    me = profile(settings, user_id)
    with transaction() as session:
        events.note(session, events.DATA_EXPORTED, user_id)
    activated_at = db.session.scalar(select(Referral.activated_at).where(Referral.referee_id == user_id))
    invited = db.session.execute(
        select(User.telephone_number, Referral.activated_at)
        .join(User, User.id == Referral.referee_id)
        .where(Referral.referrer_id == user_id)
        .order_by(Referral.activated_at.desc())
    )
    return {
        "profile": asdict(me) | {"id": user_id},
        "activated_at": activated_at,
        "invitees": [
            {"telephone_number": phones.shown(number, settings.invitee_numbers), "activated_at": moment}
            for number, moment in invited
        ],
        "sessions": _exported(Session, Session.user_id == user_id, Session.created_at, but=("user_id",)),
        "devices": _exported(Device, Device.user_id == user_id, Device.known_since, but=("user_id",)),
        "verifications": _exported_verifications(user_id, me.telephone_number),
        "limits": _exported_limits(settings, user_id, me.telephone_number),
        "texts": _exported_allowances(settings, me.telephone_number),
        "left_before": tombstones.ends_at(db.session(), settings, me.telephone_number),
        "events": _exported_events(user_id),
    }


def _exported(table: Any, mine: Any, order: Any, *, but: Iterable[str] = ()) -> list[dict[str, Any]]:
    """My rows of a table, column by column."""
    columns = [column for column in table.__table__.columns if column.name not in but]
    return [dict(row) for row in db.session.execute(select(*columns).where(mine).order_by(order)).mappings()]


def _exported_verifications(user_id: str, number: str) -> list[dict[str, Any]]:
    mine = or_(Verification.telephone_number == number, Verification.user_id == user_id)
    asked = _exported(Verification, mine, Verification.created_at, but=("user_id",))
    about = Text.verification_id.in_([verification["id"] for verification in asked])
    sent: dict[str, list[dict[str, Any]]] = {}
    for text in _exported(Text, about, Text.id, but=("id", "telephone_number", "language")):
        sent.setdefault(text.pop("verification_id"), []).append(text)
    return [verification | {"texts": sent.get(verification["id"], [])} for verification in asked]


def _exported_limits(settings: Settings, user_id: str, number: str) -> list[dict[str, Any]]:
    """What was counted by their number and their account. The scopes end in a keyed hash or an id, which are told to nobody."""
    scopes = [guesses.scope(verifications.number_hash(settings, number)), *tries.scopes(settings, user_id, number)]
    mine = _exported(Counter, Counter.scope.in_(scopes), Counter.ends_at, but=("period",))
    return [counter | {"scope": counter["scope"].rpartition("/")[0]} for counter in mine]


def _exported_allowances(settings: Settings, number: str) -> list[dict[str, Any]]:
    """How many texts were asked for lately, by strangers' devices and by known ones."""
    keys = {sends.allowance_key(settings, number, known=known): known for known in (False, True)}
    mine = _exported(SendAllowance, SendAllowance.number_hash.in_(keys), SendAllowance.day_began_at)
    return [{"known_devices": keys[row.pop("number_hash")]} | row for row in mine]


def _exported_events(user_id: str) -> list[dict[str, Any]]:
    """Whom else they are about, or who else did it, is not told."""
    mine = or_(Event.user_id == user_id, Event.actor_id == user_id)
    return [
        {
            "at": event["at"],
            "kind": event["kind"],
            "about_me": event["user_id"] == user_id,
            "by_somebody_else": event["actor_id"] not in (None, user_id),
            "request_id": event["request_id"],
        }
        for event in _exported(Event, mine, Event.id)
    ]


def _profiles_of(ids: Any) -> Any:
    """Selects what profiles are made of, of the users that `ids` selects and in its order."""
    chosen = ids.subquery()
    referrer = aliased(User)
    return (
        select(*_SHOWN, referrer.invite_code.label("activated"))
        .join(chosen, chosen.c.id == User.id)
        .outerjoin(Referral, Referral.referee_id == User.id)
        .outerjoin(referrer, referrer.id == Referral.referrer_id)
        .where(User.deleted_at.is_(None))
        .order_by(User.date_joined, User.id)
    )


_SHOWN: Final = (
    User.id,
    User.username,
    User.first_name,
    User.last_name,
    User.telephone_number,
    User.invite_code,
    User.invite_count,
    User.date_joined,
    User.is_staff,
    User.blocked_at,
)
_OF_ONE: Final = _profiles_of(select(User.id).where(User.id == bindparam("user")))


def _profiles(settings: Settings, rows: Sequence[Any]) -> list[tuple[str, Profile]]:
    """The profiles that these rows tell of, and whose they are: one statement more, however many users and invitees there are."""
    numbers = _newest_numbers(settings, [row.id for row in rows if row.invite_count])
    return [
        (
            row.id,
            Profile(
                username=row.username or "",
                first_name=row.first_name,
                last_name=row.last_name,
                telephone_number=row.telephone_number or "",
                invite_code=row.invite_code,
                invite_code_list=numbers.get(row.id, []),
                activated_invite_code=row.activated,
                invite_count=row.invite_count,
                date_joined=row.date_joined,
                is_staff=row.is_staff,
                blocked_at=row.blocked_at,
            ),
        )
        for row in rows
    ]


def _newest_numbers(settings: Settings, referrer_ids: Sequence[str]) -> dict[str, list[str]]:
    """For each referrer the numbers of the newest 100 referees."""
    numbers: dict[str, list[str]] = {}
    if referrer_ids:
        values = {f"referrer{n}": referrer_id for n, referrer_id in enumerate(referrer_ids)}
        for referrer_id, _, _, number in run(db.session(), _newest(len(referrer_ids)), **values):
            shown = phones.shown(number, settings.invitee_numbers)
            numbers.setdefault(referrer_id, []).extend([shown] if shown else [])
    return numbers


@cache
def _newest(referrers: int) -> Any:
    """One statement with an arm for each of so many referrers, so that of none all referees are read."""
    arms = [
        select(
            select(Referral.referrer_id, Referral.activated_at, Referral.referee_id, User.telephone_number)
            .join(User, User.id == Referral.referee_id)
            .where(Referral.referrer_id == bindparam(f"referrer{n}"))
            .order_by(Referral.activated_at.desc(), Referral.referee_id.desc())
            .limit(MOST_PER_PAGE)
            .subquery()
        )
        for n in range(referrers)
    ]
    return union_all(*arms).order_by(desc("activated_at"), desc("referee_id"))


def _living(user_id: str) -> Any:
    return update(User).where(User.id == user_id, User.deleted_at.is_(None))


def _change(session: Transaction, user_id: str, **values: object) -> None:
    if session.scalar(_living(user_id).values(values).returning(User.id)) is None:
        raise NotFound


def _is_fresh(session: Transaction, session_id: str | None) -> bool:
    here = (Session.id == session_id, Session.ended_at.is_(None), Session.created_at > clock.now() - PROOF_STAYS_FRESH)
    return bool(session.scalar(select(exists().where(*here))))


def _move(session: Transaction, settings: Settings, user_id: str, proved: Verification) -> bool:
    """Gives the user the number that they proved, and tells the one they had; False when it is somebody else's."""
    now = clock.now()
    mine = select(User.telephone_number).where(User.id == user_id)
    try:
        with session.begin_nested():
            # What is left of proofs of the old number goes with it, and before the user is locked: see `delete`.
            session.execute(delete_from(Verification).where(Verification.telephone_number == mine.scalar_subquery()))
            old = session.scalar(mine.with_for_update())
            session.execute(_living(user_id).values(telephone_number=proved.telephone_number))
    except IntegrityError:
        return False
    if old is not None and old != proved.telephone_number:
        tombstones.lay(session, settings, user_id, old, now)
        texts.queue_notice(session, old, proved.language)
        events.note(session, events.NUMBER_CHANGED, user_id)
    return True


def _as_stored(names: Mapping[str, str]) -> dict[str, str | None]:
    """Names as they are kept: trimmed, composed (NFC), a blank username as None. `InvalidFields` names all bad ones at once."""
    kept = {field: unicodedata.normalize("NFC", value.strip()) for field, value in names.items()}
    errors = {}
    for field, value in kept.items():
        if field == "username" and value and (not re.fullmatch(USERNAME, value) or value.lower() == "me"):
            errors[field] = [NOT_A_USERNAME]
        elif len(value) > LONGEST_NAME:
            errors[field] = [TOO_LONG]
        elif any(unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Cn") and sign not in _JOINERS for sign in value):
            errors[field] = [NOT_TEXT]
        elif value and all(unicodedata.category(sign)[0] in "MZ" or sign in _JOINERS + _BLANKS for sign in value):
            errors[field] = [NOT_TEXT]  # there is nothing to see in it
    if errors:
        raise InvalidFields(errors)
    return {field: (value or None) if field == "username" else value for field, value in kept.items()}
