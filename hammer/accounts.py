"""People: finding them, their profile, and what they or staff may change: `create`, `rename`, `delete`, `export`, staff's deeds."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete as delete_from
from sqlalchemy import desc, func, literal, or_, select, tuple_, union_all, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from config import Settings
from hammer import clock, codes, phones
from hammer.database import MOST_PER_PAGE, Page, db, insert, place, read_place, transaction
from hammer.models import Referral, Session, User, Verification
from hammer.refusals import N_, InvalidFields, NotFound, TelephoneNumberTaken, Unavailable, UsernameTaken

USERNAME = "[A-Za-z][A-Za-z0-9_.-]{0,29}"
"""It begins with a letter, so that it never reads as a number; `me` is taken by everybody."""
LONGEST_NAME = 150
NOT_A_USERNAME = N_(
    "A username begins with a Latin letter and goes on with letters, digits, dots, hyphens or underscores, 30 at most."
)
TOO_LONG = N_("This is longer than 150 characters.")
NOT_TEXT = N_("This has a character that is not text.")
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
    """The numbers of those who activated the code, the newest 100."""
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


def profile(user_id: str) -> Profile:
    """One user's profile. Refuses with `NotFound`."""
    found = _profiles(select(User.id).where(User.id == user_id))
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
        name = User.first_name + " " + User.last_name
        likes = [User.username.icontains(q, autoescape=True), name.icontains(q, autoescape=True)]
        likes += [
            User.invite_code == codes.read_invite_code(q),
            User.telephone_number == phones.canonical(q, region=settings.region),
        ]
        likes += [User.telephone_number.contains(digits)] if len(digits) >= 3 else []
        ids = ids.where(or_(*likes))
    found = _profiles(ids)
    last = found[limit - 1] if len(found) > limit else None
    return Page([p for _, p in found[:limit]], last and place(last[1].date_joined, last[0]))


def create(settings: Settings, telephone_number: str, names: Mapping[str, str], *, is_staff: bool = False) -> str:
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
                return user_id
            if session.scalar(select(User.id).where(User.telephone_number == number)):
                raise TelephoneNumberTaken
            if session.scalar(select(User.id).where(func.lower(User.username) == (stored.get("username") or "").lower())):
                raise UsernameTaken
    raise Unavailable(retry_after=1)


def rename(user_id: str, names: Mapping[str, str]) -> None:
    """Changes those of `username`, `first_name` and `last_name` that are given. Refuses with `UsernameTaken`, `NotFound`."""
    found: str | None = user_id
    try:
        with transaction() as session:
            if names:
                found = session.scalar(_living(user_id).values(_as_stored(names)).returning(User.id))
    except IntegrityError as error:
        raise UsernameTaken from error
    if found is None:
        raise NotFound


def delete(user_id: str) -> None:
    """Forgets all that is personal and ends every session. What remains counts for others and names nobody.

    Refuses with `NotFound`.
    """
    with transaction() as session:
        # Verifications before the user, as `confirm_code` takes them: the other way round the two would wait for each other.
        number = select(User.telephone_number).where(User.id == user_id, User.deleted_at.is_(None))
        session.execute(delete_from(Verification).where(Verification.telephone_number == number.scalar_subquery()))
        nobody = {"telephone_number": None, "username": None, "first_name": "", "last_name": "", "is_staff": False}
        if session.scalar(_living(user_id).values(nobody | {"deleted_at": clock.now()}).returning(User.id)) is None:
            raise NotFound
        session.execute(delete_from(Session).where(Session.user_id == user_id))


def set_staff(user_id: str, is_staff: bool) -> None:
    """Gives or takes what staff may do; it holds from the user's next request on. Refuses with `NotFound`."""
    _change(user_id, is_staff=is_staff)


def set_blocked(user_id: str, blocked: bool) -> None:
    """Shuts a user out at once, or lets them in again (to sign in anew). Refuses with `NotFound`."""
    now = clock.now()
    with transaction() as session:
        if session.scalar(_living(user_id).values(blocked_at=now if blocked else None).returning(User.id)) is None:
            raise NotFound
        session.execute(update(Session).where(Session.user_id == user_id, Session.ended_at.is_(None)).values(ended_at=now))


def export(user_id: str) -> dict[str, Any]:
    """All that is stored about the user, their invitees' numbers masked (GDPR Art. 15(4)). Refuses with `NotFound`."""
    me = profile(user_id)
    sessions = db.session.scalars(select(Session).where(Session.user_id == user_id).order_by(Session.created_at))
    codes_asked = db.session.scalars(
        select(Verification).where(Verification.telephone_number == me.telephone_number).order_by(Verification.created_at)
    )
    activated_at = db.session.scalar(select(Referral.activated_at).where(Referral.referee_id == user_id))
    invited = db.session.execute(
        select(User.telephone_number, Referral.activated_at)
        .join(User, User.id == Referral.referee_id)
        .where(Referral.referrer_id == user_id)
        .order_by(Referral.activated_at.desc())
    )
    return {
        "profile": asdict(me) | {"invite_code_list": [phones.masked(n) for n in me.invite_code_list]},
        "activated_at": activated_at,
        "invitees": [{"telephone_number": number and phones.masked(number), "activated_at": moment} for number, moment in invited],
        "sessions": [
            {
                "id": s.id,
                "device": s.device,
                "created_at": s.created_at,
                "refreshed_at": s.refreshed_at,
                "expires_at": s.expires_at,
                "ended_at": s.ended_at,
            }
            for s in sessions
        ],
        "verifications": [
            {"created_at": v.created_at, "expires_at": v.expires_at, "consumed_at": v.consumed_at} for v in codes_asked
        ],
    }


def _profiles(ids: Any) -> list[tuple[str, Profile]]:
    """The profiles of the users that `ids` selects, in its order: two statements, however many users and invitees there are."""
    chosen = ids.subquery()
    referrer = aliased(User)
    rows = db.session.execute(
        select(User, referrer.invite_code)
        .join(chosen, chosen.c.id == User.id)
        .outerjoin(Referral, Referral.referee_id == User.id)
        .outerjoin(referrer, referrer.id == Referral.referrer_id)
        .where(User.deleted_at.is_(None))
        .order_by(User.date_joined, User.id)
    ).all()
    numbers = _newest_numbers(user.id for user, _ in rows if user.invite_count)
    return [
        (
            user.id,
            Profile(
                username=user.username or "",
                first_name=user.first_name,
                last_name=user.last_name,
                telephone_number=user.telephone_number or "",
                invite_code=user.invite_code,
                invite_code_list=numbers.get(user.id, []),
                activated_invite_code=activated,
                invite_count=user.invite_count,
                date_joined=user.date_joined,
                is_staff=user.is_staff,
                blocked_at=user.blocked_at,
            ),
        )
        for user, activated in rows
    ]


def _newest_numbers(referrer_ids: Iterable[str]) -> dict[str, list[str]]:
    """For each referrer the numbers of the newest 100 referees, by one statement with an arm for each: none is read whole."""
    arms = [
        select(
            select(Referral.referrer_id, Referral.activated_at, Referral.referee_id, User.telephone_number)
            .join(User, User.id == Referral.referee_id)
            .where(Referral.referrer_id == referrer_id)
            .order_by(Referral.activated_at.desc(), Referral.referee_id.desc())
            .limit(MOST_PER_PAGE)
            .subquery()
        )
        for referrer_id in referrer_ids
    ]
    numbers: dict[str, list[str]] = {}
    if arms:
        newest_first = union_all(*arms).order_by(desc("activated_at"), desc("referee_id"))
        for referrer_id, _, _, number in db.session.execute(newest_first):
            numbers.setdefault(referrer_id, []).extend([number] if number else [])
    return numbers


def _living(user_id: str) -> Any:
    return update(User).where(User.id == user_id, User.deleted_at.is_(None))


def _change(user_id: str, **values: object) -> None:
    with transaction() as session:
        if session.scalar(_living(user_id).values(values).returning(User.id)) is None:
            raise NotFound


def _as_stored(names: Mapping[str, str]) -> dict[str, str | None]:
    """Names as they are kept: trimmed, composed (NFC), a blank username as None. `InvalidFields` names all bad ones at once."""
    kept = {field: unicodedata.normalize("NFC", value.strip()) for field, value in names.items()}
    errors = {}
    for field, value in kept.items():
        if field == "username" and value and (not re.fullmatch(USERNAME, value) or value.lower() == "me"):
            errors[field] = [NOT_A_USERNAME]
        elif len(value) > LONGEST_NAME:
            errors[field] = [TOO_LONG]
        elif any(unicodedata.category(character) in ("Cc", "Cs", "Cn") for character in value):
            errors[field] = [NOT_TEXT]
    if errors:
        raise InvalidFields(errors)
    return {field: (value or None) if field == "username" else value for field, value in kept.items()}
