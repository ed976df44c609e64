"""The keys that sign access tokens: which one signs now, which are believed, and turning to a new one.

The private part of each is computed from its row's id and a secret outside the database. The first one needs no row, so that
processes that start at the same moment need not agree on who makes it. A key is named by its own thumbprint (RFC 7638): with
another `SECRET_KEY` its name is another one too, and nobody takes one for the other.
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
"""So old the keys that a process knows may be. A retired one signs no longer than this."""
LOOK: Final = timedelta(seconds=1)
"""The least time between two looks for unknown keys, whatever tokens name."""
BELIEVED: Final = RELOAD + ACCESS_TOKEN_LIFETIME + ACCESS_TOKEN_LEEWAY
"""After its retirement, until the last token that it signed anywhere has expired."""

_FIRST: Final = "first"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Key:
    """One key. `retired_at` may be ahead: until then it signs, and the one that follows is published already."""

    kid: str
    public: Ed25519PublicKey = field(repr=False)
    private: Ed25519PrivateKey = field(repr=False)
    created_at: datetime | None
    """None for the first, which was there from the beginning."""
    retired_at: datetime | None

    @property
    def ends(self) -> datetime:
        """When it signs no more."""
        return self.retired_at or _NEVER

    def is_believed(self, now: datetime) -> bool:
        return self.retired_at is None or now < self.retired_at + BELIEVED

    @property
    def published(self) -> dict[str, str]:
        """Its public part as a JSON Web Key (RFC 8037 §2)."""
        return _jwk(self.public) | {"kid": self.kid, "use": "sig", "alg": ALGORITHM}


class KeyRing:
    """The keys of this process: read from the database again when they are older than `RELOAD`, and when a token names an unknown
    one, at most once in a `LOOK`. So a rotation needs no restart, and a request no query."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._keys: dict[str, Key] = {}
        self._read_at: datetime | None = None

    def signing(self) -> Key:
        """The one that signs now."""
        return signing(self._known(RELOAD).values())

    def trusted(self, kid: str) -> Key | None:
        """The one of this name, if what it signs is believed."""
        key = self._known(RELOAD).get(kid) or self._known(LOOK).get(kid)
        return key if key is not None and key.is_believed(clock.now()) else None

    def published(self) -> list[Key]:
        """All that are believed, for whoever checks tokens elsewhere."""
        return [key for key in self._known(RELOAD).values() if key.is_believed(clock.now())]

    def _known(self, oldest: timedelta) -> dict[str, Key]:
        """By name; none of it older than `oldest`. Threads that ask meanwhile wait for the same look."""
        if not self._is_young(oldest):
            with self._lock:
                if not self._is_young(oldest):
                    read_at = clock.now()
                    self._keys = {key.kid: key for key in every(self._settings) if key.is_believed(read_at)}
                    self._read_at = read_at
        return self._keys

    def _is_young(self, oldest: timedelta) -> bool:
        now = clock.now()  # which may have been set back
        return self._read_at is not None and self._read_at <= now < self._read_at + oldest


def every(settings: Settings) -> list[Key]:
    """All keys that there ever were, in the order in which they sign."""
    rows = db.session.execute(select(TokenKey.id, TokenKey.created_at, TokenKey.retired_at)).all()
    found = [_key(settings, *row) for row in rows] or [_key(settings, _FIRST, None, None)]
    return sorted(found, key=lambda key: key.ends)


def signing(keys: Iterable[Key]) -> Key:
    """Which of them signs now: the one that is the next to retire."""
    now = clock.now()
    return next(key for key in keys if key.ends > now)


def rotate(settings: Settings, *, ahead: timedelta = timedelta(0)) -> Key:
    """A new key, published at once, that signs from `ahead` on. Those before it retire then, and are `BELIEVED` so much longer."""
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
