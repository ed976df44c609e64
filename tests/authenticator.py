"""An authenticator in Python (`Authenticator`): makes passkeys and signs with them as browsers do, and as attackers would."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from hammer.codes import base64url

PRESENT, VERIFIED, ELIGIBLE, BACKED_UP, ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
"""Flags of authenticator data (WebAuthn §6.1)."""
UNLOCKED: Final = PRESENT | VERIFIED


@dataclass
class Authenticator:
    """Has one passkey. Each attribute can be set to what an attacker would have there."""

    rp_id: str = "localhost"
    origin: str = "http://localhost:5000"
    flags: int = UNLOCKED
    counter: int = 0
    """How often it has signed; it counts from 1 on."""
    handle: str = ""
    id: str = field(default_factory=lambda: base64url(secrets.token_bytes(32)))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    public: dict[int, object] | None = None
    """The public key as it is sent (RFC 9052 §7), if it is not that of `key`."""

    def make(self, options: str) -> str:
        """Makes the passkey that these options ask for."""
        asked, x_y = json.loads(options), self.key.public_key().public_numbers()
        self.handle = asked["user"]["id"]
        of_key = {1: 2, 3: -7, -1: 1, -2: x_y.x.to_bytes(32), -3: x_y.y.to_bytes(32)}
        public = cbor2.dumps(of_key if self.public is None else self.public)
        raw_id = _bytes(self.id)
        data = self._data(ATTESTED) + bytes(16) + len(raw_id).to_bytes(2) + raw_id + public
        statement = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(self._client("webauthn.create", asked), attestationObject=base64url(statement))

    def sign(self, options: str) -> str:
        """Signs the challenge of these options."""
        client, data = self._client("webauthn.get", json.loads(options)), self._data()
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer(client, authenticatorData=base64url(data), signature=base64url(signature), userHandle=self.handle)

    def _client(self, kind: str, asked: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": asked["challenge"], "origin": self.origin}).encode()

    def _data(self, more: int = 0) -> bytes:
        if self.counter:
            self.counter += 1
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([self.flags | more]) + self.counter.to_bytes(4)

    def _answer(self, client: bytes, **response: str) -> str:
        parts = {"clientDataJSON": base64url(client), **response}
        return json.dumps({"id": self.id, "rawId": self.id, "type": "public-key", "response": parts})


def _bytes(encoded: str) -> bytes:
    return urlsafe_b64decode(encoded + "==")
