"""The secrets of clients. A secret is computed from the client's id, its generation and a key outside the database, and never
stored: a dump of the database authenticates no client.

After a rotation the secret before is valid for `OVERLAP` more, so that a deployment can be changed without a gap. The one before
that is not valid any more, whenever it was made.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update

from config import Settings
from hammer import clock, codes, events
from hammer.acting import ROTATED_SINCE, acting
from hammer.clients.registry import FIND_CALLER
from hammer.db.database import transaction
from hammer.models import Client
from hammer.quotas import addresses, counters, idempotency
from hammer.quotas.counters import HOUR, Limit
from hammer.refusals import N_, NotAllowed, NotFound, TooManyRequests

OVERLAP: Final = timedelta(hours=24)
"""How long the secret before is valid after a rotation."""
WRONG_PER_HOUR: Final = 20
"""Wrong secrets that one address may try at one client. The networks around it have multiples of it: `addresses.TIMES`."""
NO_SECRET: Final = N_("A public client has no secret.")
_KIND: Final = "client-secret"


def secret(settings: Settings, client: Client) -> str:
    """The newest secret of the client."""
    return _secret(settings, client.id, client.generation)


def first(settings: Settings, client: Client) -> str:
    """The secret that a new client gets, also if it was rotated since."""
    return _secret(settings, client.id, 0)


def rotate(
    settings: Settings,
    client_id: str,
    *,
    actor_id: str | None = None,
    generation: int | None = None,
    key: idempotency.Key | None = None,
) -> str:
    """A new secret. The one before is valid for `OVERLAP` more. A request that is repeated with its `key` gets the same secret.
    Refuses with `NotFound`, and with `NotAllowed` for a public client.

    :param generation: the one that the caller has seen; any other one is refused with `NotAllowed`.
    """
    following = update(Client).where(Client.id == client_id).values(generation=Client.generation + 1, rotated_at=clock.now())
    with acting(actor_id) as tx:
        before = idempotency.claim(tx, key)
        if before is None:
            client = tx.scalar(following.returning(Client))
            if client is None:
                raise NotFound
            if client.public:
                raise NotAllowed(NO_SECRET)
            if generation not in (None, client.generation - 1):
                raise NotAllowed(ROTATED_SINCE)
            events.note(tx, events.Kind.CLIENT_ROTATED, actor_id=actor_id, client_id=client_id)
            before = {"generation": client.generation}
            idempotency.keep(tx, key, **before)
    return _secret(settings, client_id, before["generation"])


def older_until(client: Client) -> datetime | None:
    """Until when the secret before the newest is valid; None if it is not valid, or if there is none."""
    until = client.rotated_at and client.rotated_at + OVERLAP
    return until if until and clock.now() < until else None


def authenticate(settings: Settings, client_id: str, shown: str, *, address: str) -> Client | None:
    """The client with this id and this secret; None for a wrong secret, and for a client that is unknown, disabled or public.

    Refuses with `TooManyRequests` after `WRONG_PER_HOUR` wrong secrets from one address at one client (more from a wide network),
    right ones too.
    """
    if not codes.is_id(client_id):  # PostgreSQL refuses a NUL in a value
        return None
    claim, now = codes.read_proof(settings.keys("clients"), _KIND, shown), clock.now()
    limits = [
        Limit(f"secrets/{place}", most, HOUR)
        for network, most in addresses.shares(address, WRONG_PER_HOUR)
        for place in settings.keyed_hashes("client secrets", f"{client_id} {network}")
    ]
    with transaction() as tx:
        client = FIND_CALLER.row(tx, Client, client=client_id)
        if client is None or client.public:
            return None
        spent = len(counters.take(tx, limits, now)) < len(limits)
        right = not spent and claim is not None and claim[0] == client.id and _is_valid(client, claim[1], now)
        if right:
            counters.give_back(tx, limits, 1, now)
    if spent:
        raise TooManyRequests(retry_after=clock.seconds_until(counters.ends_at(HOUR, now), now))
    return client if right else None


def _secret(settings: Settings, client_id: str, generation: int) -> str:
    return codes.proof(settings.key("clients"), _KIND, client_id, generation)


def _is_valid(client: Client, generation: int, now: datetime) -> bool:
    """Whether the secret of this generation is valid now."""
    if generation == client.generation:
        return True
    return generation == client.generation - 1 and client.rotated_at is not None and now < client.rotated_at + OVERLAP
