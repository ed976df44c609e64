"""The keys that sign access tokens and id tokens: which key signs now, which are trusted, and rotation.

The private part of a key is computed from the id of its row and a secret outside the database. The first key of access tokens needs
no row, so processes that start at the same moment need not agree on who makes it. An RSA key cannot be computed: it is stored,
encrypted with a key that is computed so. The name of a key is its thumbprint (RFC 7638): with another `SECRET_KEY` the name is
different too, so the two keys cannot be confused. The keys that are computed from `SECRET_KEY_PREVIOUS` are trusted and published,
but sign nothing; an RSA key that was encrypted with one of them stays what it is.
"""

import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import Final, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import func, or_, select, update

from config import ACCESS_TOKEN_LEEWAY, ACCESS_TOKEN_LIFETIME, ID_TOKEN_LIFETIME, Settings
from hammer import clock, codes, events
from hammer.acting import ROTATED_SINCE, acting
from hammer.db.database import Transaction, db, one_at_a_time, transaction
from hammer.models import SigningAlgorithm, TokenKey
from hammer.quotas import idempotency
from hammer.refusals import NotAllowed

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

ALGORITHM: Final = SigningAlgorithm.EDDSA
"""Of access tokens."""
RELOAD: Final = timedelta(seconds=30)
"""Maximum age of the keys that a process has cached. A retired key signs for no longer than this."""
LOOK_EVERY: Final = timedelta(seconds=1)
"""Minimum time between two queries for unknown keys, whatever keys tokens name."""

_FIRST: Final = "first"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_RSA_BITS: Final = 2048
_NONCE_BYTES: Final = 12
_COORDINATE_BYTES: Final = 32

log = logging.getLogger(__name__)
_warned: set[str] = set()
"""The rows that this process has warned about."""


class Purpose(StrEnum):
    """Which tokens a key signs. A key for one purpose is never trusted for another."""

    ACCESS = "access"
    ID = "id"
    """Id tokens, and the logout tokens that tell apps about ended sessions."""


TRUSTED_AFTER_RETIREMENT: Final = {
    Purpose.ACCESS: RELOAD + ACCESS_TOKEN_LIFETIME + ACCESS_TOKEN_LEEWAY,
    Purpose.ID: RELOAD + ID_TOKEN_LIFETIME + ACCESS_TOKEN_LEEWAY,
}
"""How long a key is trusted after its retirement: until the last token that any process signed with it has expired."""


@dataclass(frozen=True)
class Key:
    """One key. `retired_at` may be in the future: until then the key signs, and its successor is published already."""

    purpose: Purpose
    algorithm: SigningAlgorithm
    kid: str
    public: PublicKey = field(repr=False, compare=False)
    private: PrivateKey = field(repr=False, compare=False)
    created_at: datetime | None
    """None for the first key of access tokens, which always existed."""
    retired_at: datetime | None
    signs: bool = True
    """False if it is computed from `SECRET_KEY_PREVIOUS`."""

    @property
    def ends(self) -> datetime:
        """When it stops signing."""
        return self.retired_at or _NEVER if self.signs else _LONG_AGO

    @property
    def trusted_until(self) -> datetime:
        return self.retired_at + TRUSTED_AFTER_RETIREMENT[self.purpose] if self.retired_at else _NEVER

    def is_trusted(self, now: datetime) -> bool:
        return now < self.trusted_until

    @property
    def published(self) -> dict[str, str]:
        """The public part as a JSON Web Key (RFC 7517 §4)."""
        return _jwk(self.public) | {"kid": self.kid, "use": "sig", "alg": self.algorithm}


class _CachedKeys:
    """The keys for one purpose that this process has cached. So a rotation needs no restart, and a request needs no query.

    They are read again when they are older than `RELOAD`, and, at most once in `LOOK_EVERY`, when a token names an unknown key.
    """

    def __init__(self, settings: Settings, purpose: Purpose) -> None:
        self._settings = settings
        self._purpose = purpose
        self._lock = Lock()
        self._keys: dict[str, Key] = {}
        self._read_at: datetime | None = None

    def _find(self, kid: str) -> Key | None:
        return self._known(RELOAD).get(kid) or self._known(LOOK_EVERY).get(kid)

    def _known(self, oldest: timedelta) -> dict[str, Key]:
        """The keys by name, read at most `oldest` ago. While one thread reads them, the others wait for its result."""
        if not self._is_young(oldest):
            with self._lock:
                if not self._is_young(oldest):
                    read_at = clock.now()
                    self._keys = {key.kid: key for key in every(self._settings, self._purpose)}
                    self._read_at = read_at
        return self._keys

    def _is_young(self, oldest: timedelta) -> bool:
        now = clock.now()  # the clock may have been set back
        return self._read_at is not None and self._read_at <= now < self._read_at + oldest


class KeyRing(_CachedKeys):
    """The keys of access tokens. There is always one that signs."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, Purpose.ACCESS)

    def signing(self) -> Key:
        """The key that signs now."""
        return signing(self._known(RELOAD).values())

    def trusted(self, kid: str) -> Key | None:
        """The key of this name, if it is trusted."""
        key = self._find(kid)
        return key if key is not None and key.is_trusted(clock.now()) else None

    def published(self) -> list[Key]:
        """All trusted keys, for services that verify tokens themselves."""
        return [key for key in self._known(RELOAD).values() if key.is_trusted(clock.now())]


class IdTokenKeys(_CachedKeys):
    """The keys of id tokens. A key is made when the first token of its algorithm is signed, or before, by `ensure`."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, Purpose.ID)
        self._making = Lock()

    def signing(self, algorithm: SigningAlgorithm) -> Key:
        """The key that signs now. It may have to be made, so this is not for use inside a transaction."""
        return _signing(self._known(RELOAD).values(), algorithm) or self.ensure(algorithm)

    def known(self, kid: str) -> Key | None:
        """The key of this name, also if it is trusted no more: an expired id token still says whose it was."""
        return self._find(kid)

    def published(self) -> list[Key]:
        """All trusted keys. They are hardly older than `LOOK_EVERY`: another process may have made the first key just now."""
        return [key for key in self._known(LOOK_EVERY).values() if key.is_trusted(clock.now())]

    def ensure(self, algorithm: SigningAlgorithm) -> Key:
        """The key that signs now, made if there is none. Of parallel processes one makes it."""
        with self._making:
            key = _signing(every(self._settings, Purpose.ID), algorithm)
            if key is None:
                key = _ensure(self._settings, algorithm)
            with self._lock:
                self._keys = self._keys | {key.kid: key}
        return key


def every(settings: Settings, purpose: Purpose = Purpose.ACCESS) -> list[Key]:
    """All keys for one purpose, also retired ones, sorted by the time at which they stop signing. For access tokens before the
    first rotation, the one key that has no row."""
    found = _read(db.session(), settings, purpose)
    if not found and purpose is Purpose.ACCESS:
        return _keys(settings, TokenKey(id=_FIRST, purpose=purpose, algorithm=ALGORITHM))
    return found


def signing(keys: Iterable[Key]) -> Key:
    """The key that signs access tokens now: the next one to retire."""
    now = clock.now()
    return next(key for key in keys if key.ends > now)


def newest(keys: Iterable[Key]) -> str:
    """The names of those keys that no other one replaces, now or later."""
    return " ".join(sorted(key.kid for key in keys if key.signs and key.retired_at is None))


def rotate(
    settings: Settings,
    purpose: Purpose = Purpose.ACCESS,
    *,
    ahead: timedelta = timedelta(0),
    actor_id: str | None = None,
    seen: str | None = None,
    key: idempotency.Key | None = None,
) -> list[Key]:
    """Adds a key for each algorithm that has one, which is published at once and signs after `ahead`. The keys before it retire
    then, also those that cannot be decrypted; they stay trusted for `TRUSTED_AFTER_RETIREMENT`. A request that is repeated with its
    `key` adds none.

    :param seen: the names of the `newest` keys that the caller has seen; any other ones are refused with `NotAllowed`.
    """
    now = clock.now()
    stored = db.session.scalars(select(TokenKey.algorithm).where(TokenKey.purpose == purpose).distinct())
    always = [ALGORITHM] if purpose is Purpose.ACCESS else []
    algorithms = sorted({*map(SigningAlgorithm, stored), *always})
    made = [_new(settings, purpose, algorithm) for algorithm in algorithms]  # before the transaction: RSA takes 100 ms
    if made:
        with acting(actor_id) as tx:
            if idempotency.claim(tx, key) is not None:
                return []
            one_at_a_time(tx, "rotate")
            if seen is not None and seen != newest(_read(tx, settings, purpose)):
                raise NotAllowed(ROTATED_SINCE)
            if purpose is Purpose.ACCESS and not tx.scalar(select(func.count()).where(TokenKey.purpose == purpose)):
                tx.add(TokenKey(id=_FIRST, created_at=now))
                tx.flush()
            before = update(TokenKey).where(TokenKey.purpose == purpose, TokenKey.algorithm.in_(algorithms))
            before = before.where(or_(TokenKey.retired_at.is_(None), TokenKey.retired_at > now + ahead))
            tx.execute(before.values(retired_at=now + ahead))
            tx.add_all(made)
            events.note(tx, events.Kind.KEY_ROTATED, actor_id=actor_id)
            idempotency.keep(tx, key)
    return [_keys(settings, row)[0] for row in made]


def _ensure(settings: Settings, algorithm: SigningAlgorithm) -> Key:
    row = _new(settings, Purpose.ID, algorithm)  # before the transaction: RSA takes 100 ms
    with transaction() as tx:
        one_at_a_time(tx, "rotate")
        key = _signing(_read(tx, settings, Purpose.ID), algorithm)
        if key is None:
            tx.add(row)
            key = _keys(settings, row)[0]
    return key


def _signing(keys: Iterable[Key], algorithm: SigningAlgorithm) -> Key | None:
    """The key of this algorithm that signs now: the next one to retire. None if none signs."""
    now = clock.now()
    return next((key for key in keys if key.algorithm == algorithm and key.ends > now), None)


def _new(settings: Settings, purpose: Purpose, algorithm: SigningAlgorithm) -> TokenKey:
    row_id = codes.random_id()
    encrypted = _encrypted(settings, row_id) if algorithm is SigningAlgorithm.RS256 else None
    return TokenKey(id=row_id, created_at=clock.now(), purpose=purpose, algorithm=algorithm, encrypted=encrypted)


def _read(tx: Transaction, settings: Settings, purpose: Purpose) -> list[Key]:
    rows = tx.scalars(select(TokenKey).where(TokenKey.purpose == purpose).execution_options(populate_existing=True))
    return sorted(_readable(settings, rows), key=lambda key: (not key.signs, key.ends))


def _readable(settings: Settings, rows: Iterable[TokenKey]) -> Iterator[Key]:
    """The keys of these rows, without those that were encrypted with another `SECRET_KEY`."""
    for row in rows:
        try:
            yield from _keys(settings, row)
        except (InvalidTag, ValueError):
            if row.id not in _warned:
                _warned.add(row.id)
                log.warning(
                    "A key of id tokens is not used: it was encrypted with another SECRET_KEY (row %s of token_keys).", row.id
                )


def _keys(settings: Settings, row: TokenKey) -> list[Key]:
    """The key of this row, before those that are computed from it and `SECRET_KEY_PREVIOUS`."""
    if row.algorithm == SigningAlgorithm.RS256:
        return [_key(row, _decrypted(settings, row))]
    secret_keys = settings.keys("tokens" if row.purpose == Purpose.ACCESS else "id-tokens")
    return [_key(row, _computed(secret_key, row), signs=not place) for place, secret_key in enumerate(secret_keys)]


def _key(row: TokenKey, private: PrivateKey, *, signs: bool = True) -> Key:
    purpose, algorithm, public = Purpose(row.purpose), SigningAlgorithm(row.algorithm), private.public_key()
    kid = codes.base64url(hashlib.sha256(json.dumps(_jwk(public), separators=(",", ":"), sort_keys=True).encode()).digest())
    created_at = None if row.id == _FIRST else row.created_at
    return Key(purpose, algorithm, kid, public, private, created_at, row.retired_at, signs)


def _computed(secret_key: bytes, row: TokenKey) -> PrivateKey:
    if row.purpose == Purpose.ACCESS:
        return Ed25519PrivateKey.from_private_bytes(hmac.digest(secret_key, row.id.encode(), "sha256"))
    algorithm = SigningAlgorithm(row.algorithm)
    seed = hmac.digest(secret_key, f"{algorithm}/{row.id}".encode(), "sha512")
    if algorithm is SigningAlgorithm.EDDSA:
        return Ed25519PrivateKey.from_private_bytes(seed[:32])
    curve = SECP256R1()  # 512 bits reduced to 256, so that all keys are equally likely (FIPS 186-5 §A.2.1)
    return derive_private_key(int.from_bytes(seed) % (curve.group_order - 1) + 1, curve)


def _encrypted(settings: Settings, row_id: str) -> bytes:
    """A new RSA key: PKCS #8 under AES-256-GCM, with the nonce in front. It can be decrypted for this row only."""
    private = generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    plain = private.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(settings.key("id-tokens-rsa")).encrypt(nonce, plain, row_id.encode())


def _decrypted(settings: Settings, row: TokenKey) -> RSAPrivateKey:
    stored = row.encrypted or b""
    plain = _decrypted_with(settings.keys("id-tokens-rsa"), stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], row.id.encode())
    # To check the numbers of a key takes 50 ms. The decryption has shown that they are unchanged.
    return cast(RSAPrivateKey, serialization.load_der_private_key(plain, None, unsafe_skip_rsa_key_validation=True))


def _decrypted_with(secret_keys: Sequence[bytes], nonce: bytes, encrypted: bytes, about: bytes) -> bytes:
    """What was encrypted with one of these keys. Raises `InvalidTag` if it was none of them."""
    for secret_key in secret_keys[:-1]:
        with suppress(InvalidTag):
            return AESGCM(secret_key).decrypt(nonce, encrypted, about)
    return AESGCM(secret_keys[-1]).decrypt(nonce, encrypted, about)


def _jwk(public: PublicKey) -> dict[str, str]:
    """The public part with the fields that a thumbprint is made of (RFC 7638 §3.2, RFC 8037 §2)."""
    if isinstance(public, Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": codes.base64url(public.public_bytes_raw())}
    if isinstance(public, EllipticCurvePublicKey):
        at = public.public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": _number(at.x, _COORDINATE_BYTES), "y": _number(at.y, _COORDINATE_BYTES)}
    numbers = public.public_numbers()
    return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}


def _number(number: int, length: int = 0) -> str:
    """Big-endian, with zeros in front up to this length (RFC 7518 §2, §6.2.1.2)."""
    return codes.base64url(number.to_bytes(length or (number.bit_length() + 7) // 8))
