"""Authenticator apps: time-based one-time codes of six digits (RFC 6238). Their secrets are computed, never stored."""

import hmac
from base64 import b32encode
from collections.abc import Sequence
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
    return accepted(settings, user_id, generation)[0]


def accepted(settings: Settings, user_id: str, generation: int) -> list[str]:
    """The secrets that the app may have: the one of `SECRET_KEY`, and those of the keys before."""
    message = f"totp|{user_id}|{generation}".encode()
    return [b32encode(hmac.digest(key, message, "sha256")[:20]).decode() for key in settings.keys("second-factors")]


def address(settings: Settings, account: str, of_secret: str) -> str:
    """The `otpauth://` address that an app reads from a QR code. `account` is how the app names the entry."""
    return TOTP(of_secret).provisioning_uri(name=account, issuer_name=settings.name)


def step_of(of_secrets: Sequence[str], typed: str, now: datetime) -> int | None:
    """The time step whose code by one of these secrets was typed, in any script, with or without a space; None for a wrong code."""
    digits, present = codes.read_one_time_code(typed) or "", int(now.timestamp()) // STEP_SECONDS
    apps, steps = [TOTP(each, interval=STEP_SECONDS) for each in of_secrets], range(present - WINDOW, present + WINDOW + 1)
    right = [step for step in steps for app in apps if codes.same(app.generate_otp(step), digits)]
    return max(right, default=None)
