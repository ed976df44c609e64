"""Invite codes whose links were opened in this browser, kept in the signed cookie until one is activated or declined.

Whether a code exists is not said here, so none that was opened takes the place of another: the person is asked about one after the
other, the newest first.
"""

from typing import Final

from flask import session

from hammer.quotas import invite_attempts

KEY: Final = "invites"
MOST: Final = invite_attempts.A_DAY
"""As many as one number may try in a day."""


def all_codes() -> list[str]:
    """The newest first."""
    return list(session.get(KEY, []))


def newest() -> str | None:
    """The code to ask about now."""
    return next(iter(all_codes()), None)


def add(code: str) -> None:
    """Keeps a code whose link was opened just now."""
    _keep([code, *(other for other in all_codes() if other != code)])


def drop(code: str | None) -> None:
    """Forgets this code."""
    _keep([other for other in all_codes() if other != code])


def drop_all() -> None:
    """Forgets all codes."""
    _keep([])


def _keep(codes: list[str]) -> None:
    if codes:
        session[KEY] = codes[:MOST]
    else:
        session.pop(KEY, None)
