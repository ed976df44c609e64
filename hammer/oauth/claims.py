"""What an app learns about a person: the claims of each scope (OpenID Connect Core §5.1, §5.4)."""

from collections.abc import Collection
from typing import Any, Final

from hammer.models import SignInScope
from hammer.users import people
from hammer.web.settings import settings

CLAIMS: Final = {
    SignInScope.OPENID: ("sub",),
    SignInScope.PROFILE: ("name", "given_name", "family_name", "preferred_username", "updated_at"),
    SignInScope.PHONE: ("phone_number", "phone_number_verified"),
    SignInScope.INVITES: ("invite_code", "invite_activated", "invite_count"),
    SignInScope.OFFLINE_ACCESS: (),
}
"""Scope -> its claims. Those that a person has no value for are left out."""


def claims(user_id: str, scopes: Collection[SignInScope]) -> dict[str, Any]:
    """The claims about this user. Refuses with `NotFound`."""
    me = people.profile(settings(), user_id)
    values = {
        "sub": me.id,
        "name": " ".join(filter(None, (me.first_name, me.last_name))),
        "given_name": me.first_name,
        "family_name": me.last_name,
        "preferred_username": me.username,
        "phone_number": me.telephone_number,
        "phone_number_verified": True,
        "updated_at": int(people.changed_at(user_id).timestamp()),
        "invite_code": me.invite_code,
        "invite_activated": me.activated_invite_code is not None,
        "invite_count": me.invite_count,
    }
    return {
        name: values[name] for scope in CLAIMS if scope in scopes for name in CLAIMS[scope] if values.get(name) not in ("", None)
    }
