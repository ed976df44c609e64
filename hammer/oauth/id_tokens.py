"""Id tokens: the keys that sign them, their claims, and reading one that an app shows again (OpenID Connect Core §2)."""

import hashlib
from dataclasses import dataclass
from typing import Final

import jwt
from jwt.exceptions import PyJWTError

from config import ID_TOKEN_LIFETIME
from hammer import clock, codes
from hammer.models import Client, Session, SigningAlgorithm
from hammer.sessions.keys import Key
from hammer.web import tokens
from hammer.web.settings import settings

AMR: Final = ["otp", "sms"]
"""How people sign in: by a one-time code in a message (RFC 8176 §2)."""
ACR: Final = "1"
"""One factor: level of assurance 1 of ISO/IEC 29115."""


@dataclass(frozen=True)
class Hint:
    """An id token of ours, as an app shows it later to say whom it means. It may have expired."""

    client_id: str
    user_id: str
    session_id: str
    """The session of the app."""


def signing(client: Client) -> Key:
    """The key that signs the id tokens of this client now."""
    return tokens.id_token_keys().signing(SigningAlgorithm(client.algorithm))


def signed(session: Session, client: Client, *, nonce: str | None, access_token: str) -> str:
    """A new id token for a session of an app.

    Claims of scopes are left to userinfo: apps send id tokens in addresses when people sign out, and logs hold addresses.
    """
    now, key = int(clock.now().timestamp()), signing(client)
    claims = {
        "iss": settings().public_url,
        "aud": client.id,
        "sub": session.user_id,
        "sid": session.id,
        "iat": now,
        "exp": now + int(ID_TOKEN_LIFETIME.total_seconds()),
        "auth_time": int(session.created_at.timestamp()),
        "amr": AMR,
        "acr": ACR,
        "at_hash": _half_hash(access_token, key.algorithm),
    }
    return jwt.encode(
        claims | ({"nonce": nonce} if nonce is not None else {}), key.private, key.algorithm, {"typ": "JWT", "kid": key.kid}
    )


def read_hint(shown: str) -> Hint | None:
    """What an id token of ours says, also one that has expired, or whose key is retired; None for anything else."""
    if not shown or not codes.is_canonical(shown):
        return None
    try:
        header = jwt.get_unverified_header(shown)
        key = tokens.id_token_keys().known(str(header.get("kid", "")))
        if key is None or header.get("typ") != "JWT":
            return None
        said = jwt.decode(
            shown,
            key.public,
            algorithms=[key.algorithm],
            issuer=settings().public_url,
            options={"verify_exp": False, "verify_aud": False, "require": ["iss", "aud", "sub", "sid"]},
        )
    except PyJWTError:
        return None
    return Hint(said["aud"], said["sub"], said["sid"]) if all(isinstance(said[name], str) for name in ("aud", "sid")) else None


def _half_hash(access_token: str, algorithm: str) -> str:
    """The left half of the hash that the signature uses (OpenID Connect Core §3.1.3.6)."""
    digest = (hashlib.sha512 if algorithm == SigningAlgorithm.EDDSA else hashlib.sha256)(access_token.encode()).digest()
    return codes.base64url(digest[: len(digest) // 2])
