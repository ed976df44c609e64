"""Invite codes whose links were opened in this browser. The signed cookie keeps them until one is activated or declined.

Nothing here looks up whether a code exists, so a code does not replace the ones opened before it. The profile asks about one code
at a time, newest first.
"""

from typing import Final

from flask import session

from hammer.quotas import invite_attempts
from hammer.refusals import AlreadyActivated, OwnInvite, Refusal

KEY: Final = "invites"
MOST: Final = invite_attempts.PER_NUMBER_PER_DAY
"""Codes that are kept: as many as one number can attempt in a day."""


def all_codes() -> list[str]:
    """The codes that are kept, newest first."""
    return list(session.get(KEY, []))


def newest() -> str | None:
    """The code to ask about next."""
    return next(iter(all_codes()), None)


def add(code: str) -> None:
    """Keeps a code whose link was opened now."""
    _keep([code, *(other for other in all_codes() if other != code)])


def drop(code: str | None) -> None:
    """Forgets this code."""
    _keep([other for other in all_codes() if other != code])


def drop_all() -> None:
    """Forgets all codes."""
    _keep([])


def drop_useless(own: str, activated: str | None) -> Refusal | None:
    """Forgets the codes that cannot be activated by the owner of the code `own`, who has activated the code `activated`.

    Returns why, when none is left; None when one is left, or when the only code was the activated one.
    """
    codes = all_codes()
    if activated is None:
        drop(own)
        return OwnInvite() if codes == [own] else None
    drop_all()
    others = [code for code in codes if code != activated]
    if not others:
        return None
    return OwnInvite() if others == [own] else AlreadyActivated()


def _keep(codes: list[str]) -> None:
    if codes:
        session[KEY] = codes[:MOST]
    else:
        session.pop(KEY, None)
