"""Authenticator apps: time-based one-time codes of six digits (RFC 6238). Their secrets are computed, never stored."""

import hmac
from base64 import b32encode
from datetime import datetime
from typing import Final

from pyotp import TOTP

from config import Settings
from hammer import codes

STEP_SECONDS: Final = 30
WINDOW: Final = 1
"""Steps before and after the present one whose codes are accepted too, for clocks that are not exact (RFC 6238 §5.2)."""
CODES: Final = 10**6
ACCEPTED: Final = 2 * WINDOW + 1
"""How many of them are right at one moment."""


def secret(settings: Settings, user_id: str, generation: int) -> str:
    """The secret of a user's app, 160 bits (RFC 4226 §4) as base32."""
    message = f"totp|{user_id}|{generation}".encode()
    return b32encode(hmac.digest(settings.key("second-factors"), message, "sha256")[:20]).decode()


def address(settings: Settings, account: str, of_secret: str) -> str:
    """The `otpauth://` address that an app reads from a QR code. `account` is how the app names the entry."""
    return TOTP(of_secret).provisioning_uri(name=account, issuer_name=settings.name)


def step_of(of_secret: str, typed: str, now: datetime) -> int | None:
    """The time step whose code was typed, in any script, with or without a space; None for a wrong code."""
    digits, present = codes.read_one_time_code(typed) or "", int(now.timestamp()) // STEP_SECONDS
    app = TOTP(of_secret, interval=STEP_SECONDS)
    right = [step for step in range(present - WINDOW, present + WINDOW + 1) if codes.same(app.generate_otp(step), digits)]
    return max(right, default=None)
