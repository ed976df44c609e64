"""How the keys that sign access tokens are computed, and their times. All versions must compute the same."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from time_machine import Traveller

from config import Settings
from hammer import clock as time_of_day
from hammer.sessions import keys

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
