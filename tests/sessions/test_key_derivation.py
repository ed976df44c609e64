"""How the keys that sign tokens are computed, and their times. All versions must compute the same."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_der_private_key
from sqlalchemy import select
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db
from hammer.models import SigningAlgorithm, TokenKey
from hammer.sessions import keys

ORDER_OF_P256 = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""FIPS 186-5, SP 800-186 §3.2.1.3."""

pytestmark = pytest.mark.usefixtures("context")


def unpadded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def test_a_key_is_computed_as_in_earlier_versions(settings: Settings) -> None:
    """Otherwise an upgrade would invalidate all access tokens."""
    [key] = keys.every(settings)
    private = Ed25519PrivateKey.from_private_bytes(hmac.digest(settings.key("tokens"), b"first", hashlib.sha256))
    public = unpadded(private.public_key().public_bytes_raw())
    thumbprint = hashlib.sha256(json.dumps({"crv": "Ed25519", "kty": "OKP", "x": public}, separators=(",", ":")).encode())
    assert isinstance(key.private, Ed25519PrivateKey)
    assert key.private.private_bytes_raw() == private.private_bytes_raw()
    assert key.kid == unpadded(thumbprint.digest())
    assert key.published == {"kty": "OKP", "crv": "Ed25519", "x": public, "kid": key.kid, "use": "sig", "alg": "EdDSA"}


def test_keys_of_id_tokens_are_computed_from_their_rows(settings: Settings) -> None:
    """Otherwise an upgrade would change keys that apps know, and no hint of theirs would be recognized."""
    ring = keys.IdTokenKeys(settings)
    for algorithm in (SigningAlgorithm.ES256, SigningAlgorithm.EDDSA):
        key = ring.ensure(algorithm)
        [row_id] = db.session.scalars(select(TokenKey.id).where(TokenKey.algorithm == algorithm))
        seed = hmac.digest(settings.key("id-tokens"), f"{algorithm}/{row_id}".encode(), hashlib.sha512)
        if isinstance(key.private, Ed25519PrivateKey):
            assert key.private.private_bytes_raw() == seed[:32]
        else:
            assert isinstance(key.private, EllipticCurvePrivateKey)
            assert key.private.private_numbers().private_value == int.from_bytes(seed) % (ORDER_OF_P256 - 1) + 1


def test_an_rsa_key_of_2048_bits_is_stored_under_aes_gcm_for_its_row(settings: Settings) -> None:
    key = keys.IdTokenKeys(settings).ensure(SigningAlgorithm.RS256)
    [(row_id, stored)] = db.session.execute(select(TokenKey.id, TokenKey.encrypted)).all()
    assert stored is not None
    plain = AESGCM(settings.key("id-tokens-rsa")).decrypt(stored[:12], stored[12:], row_id.encode())
    private = load_der_private_key(plain, None)  # which checks its numbers
    assert isinstance(private, RSAPrivateKey)
    numbers = private.public_key().public_numbers()
    assert (private.key_size, numbers.e) == (2048, 65537)
    assert numbers == key.private.public_key().public_numbers()  # type: ignore[union-attr]


def test_the_first_key_was_there_from_the_beginning_and_others_since_their_rotation(settings: Settings, clock: Traveller) -> None:
    began = time_of_day.now()
    assert [key.created_at for key in keys.every(settings)] == [None]
    [second] = keys.rotate(settings)
    clock.shift(1)
    [third] = keys.rotate(settings)
    assert (second.created_at, third.created_at) == (began, began + timedelta(seconds=1))
    assert (second.retired_at, third.retired_at) == (None, None)
    found = keys.every(settings)
    assert [key.kid for key in found][1:] == [second.kid, third.kid]
    assert [key.created_at for key in found] == [None, began, began + timedelta(seconds=1)]
    assert [key.retired_at for key in found] == [began, began + timedelta(seconds=1), None]
