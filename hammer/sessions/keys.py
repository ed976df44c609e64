"""The keys that sign access tokens: which key signs now, which are trusted, and rotation.

The private part of a key is computed from the id of its row and a secret outside the database. The first key needs no row, so
processes that start at the same moment need not agree on who makes it. The name of a key is its thumbprint (RFC 7638): with another
`SECRET_KEY` the name is different too, so the two keys cannot be confused.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy import func, or_, select, update

from config import ACCESS_TOKEN_LEEWAY, ACCESS_TOKEN_LIFETIME, Settings
from hammer import clock, codes, events
from hammer.db.database import db, one_at_a_time, transaction
from hammer.models import TokenKey

ALGORITHM: Final = "EdDSA"
RELOAD: Final = timedelta(seconds=30)
"""Maximum age of the keys that a process has cached. A retired key signs for no longer than this."""
LOOK_EVERY: Final = timedelta(seconds=1)
"""Minimum time between two queries for unknown keys, whatever keys tokens name."""
TRUSTED_AFTER_RETIREMENT: Final = RELOAD + ACCESS_TOKEN_LIFETIME + ACCESS_TOKEN_LEEWAY
"""How long a key is trusted after its retirement: until the last token that any process signed with it has expired."""

_FIRST: Final = "first"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Key:
    """One key. `retired_at` may be in the future: until then the key signs, and its successor is published already."""

    kid: str
    public: Ed25519PublicKey = field(repr=False)
    private: Ed25519PrivateKey = field(repr=False)
    created_at: datetime | None
    """None for the first key, which always existed."""
    retired_at: datetime | None

    @property
    def ends(self) -> datetime:
        """When it stops signing."""
        return self.retired_at or _NEVER

    def is_trusted(self, now: datetime) -> bool:
        return self.retired_at is None or now < self.retired_at + TRUSTED_AFTER_RETIREMENT

    @property
    def published(self) -> dict[str, str]:
        """The public part as a JSON Web Key (RFC 8037 §2)."""
        return _jwk(self.public) | {"kid": self.kid, "use": "sig", "alg": ALGORITHM}


class KeyRing:
    """The keys that this process has cached. So a rotation needs no restart, and a request needs no query.

    They are read again when they are older than `RELOAD`, and, at most once in `LOOK_EVERY`, when a token names an unknown key.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._keys: dict[str, Key] = {}
        self._read_at: datetime | None = None

    def signing(self) -> Key:
        """The key that signs now."""
        return signing(self._known(RELOAD).values())

    def trusted(self, kid: str) -> Key | None:
        """The key of this name, if it is trusted."""
        key = self._known(RELOAD).get(kid) or self._known(LOOK_EVERY).get(kid)
        return key if key is not None and key.is_trusted(clock.now()) else None

    def published(self) -> list[Key]:
        """All trusted keys, for services that verify tokens themselves."""
        return [key for key in self._known(RELOAD).values() if key.is_trusted(clock.now())]

    def _known(self, oldest: timedelta) -> dict[str, Key]:
        """The keys by name, read at most `oldest` ago. While one thread reads them, the others wait for its result."""
        if not self._is_young(oldest):
            with self._lock:
                if not self._is_young(oldest):
                    read_at = clock.now()
                    self._keys = {key.kid: key for key in every(self._settings) if key.is_trusted(read_at)}
                    self._read_at = read_at
        return self._keys

    def _is_young(self, oldest: timedelta) -> bool:
        now = clock.now()  # the clock may have been set back
        return self._read_at is not None and self._read_at <= now < self._read_at + oldest


def every(settings: Settings) -> list[Key]:
    """All keys, also retired ones, sorted by the time at which they stop signing. Before the first rotation, the one key that has
    no row."""
    rows = db.session.execute(select(TokenKey.id, TokenKey.created_at, TokenKey.retired_at)).all()
    found = [_key(settings, *row) for row in rows] or [_key(settings, _FIRST, None, None)]
    return sorted(found, key=lambda key: key.ends)


def signing(keys: Iterable[Key]) -> Key:
    """The key that signs now: the next one to retire."""
    now = clock.now()
    return next(key for key in keys if key.ends > now)


def rotate(settings: Settings, *, ahead: timedelta = timedelta(0)) -> Key:
    """Adds a key, which is published at once and signs after `ahead`. The keys before it retire then; they stay trusted for
    `TRUSTED_AFTER_RETIREMENT`."""
    now = clock.now()
    new = TokenKey(id=codes.random_id(), created_at=now)
    with transaction() as tx:
        one_at_a_time(tx, "rotate")
        if not tx.scalar(select(func.count()).select_from(TokenKey)):
            tx.add(TokenKey(id=_FIRST, created_at=now))
            tx.flush()
        before = update(TokenKey).where(or_(TokenKey.retired_at.is_(None), TokenKey.retired_at > now + ahead))
        tx.execute(before.values(retired_at=now + ahead))
        tx.add(new)
        events.note(tx, events.Kind.KEY_ROTATED)
    return _key(settings, new.id, new.created_at, None)


def _key(settings: Settings, row_id: str, created_at: datetime | None, retired_at: datetime | None) -> Key:
    private = Ed25519PrivateKey.from_private_bytes(hmac.digest(settings.key("tokens"), row_id.encode(), "sha256"))
    public = private.public_key()
    kid = codes.base64url(hashlib.sha256(json.dumps(_jwk(public), separators=(",", ":"), sort_keys=True).encode()).digest())
    return Key(kid, public, private, None if row_id == _FIRST else created_at, retired_at)


def _jwk(public: Ed25519PublicKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": codes.base64url(public.public_bytes_raw())}
