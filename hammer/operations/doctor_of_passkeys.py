"""Checks, as `doctor` does, that passkeys were made for the present public address: at another host they do not work."""

from collections.abc import Iterator

from sqlalchemy import func, select

from config import Settings
from hammer.db.database import db
from hammer.models import Passkey
from hammer.operations.findings import WRONG, Finding


def examine(settings: Settings) -> Iterator[Finding]:
    """Counts the passkeys of each other host."""
    others = select(Passkey.rp_id, func.count()).where(Passkey.rp_id != (settings.passkey_host or ""))
    for host, count in db.session.execute(others.group_by(Passkey.rp_id).order_by(Passkey.rp_id)):
        how = f"{count} made for {host}: {'it does' if count == 1 else 'they do'} not work at {settings.public_url}"
        remedy = f"Set HAMMER_PUBLIC_URL to {host} again, or let their owners add new ones (staff: users reset-factor)."
        yield Finding(WRONG, "passkeys", how, remedy)
