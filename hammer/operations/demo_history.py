"""What the people of `demo` did in the last days: sign-ins and what became of their texts, refused invites, codes that are guessed.

They are rows alone: nothing is sent or posted, now or later. Events are in the order of their moments, as real ones, so that a seal
covers many of them.
"""

import random
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, Final, NamedTuple, TypeAlias, cast

from sqlalchemy import Table, delete, insert, select, update

from config import Settings
from hammer import codes
from hammer.clients.registry import SENDS_PER_HOUR
from hammer.db.database import Transaction
from hammer.events import Kind
from hammer.login import verifications
from hammer.models import (
    Client,
    Device,
    Disabled,
    Event,
    EventCount,
    Message,
    MessageState,
    Scope,
    Session,
    SessionKind,
    User,
    Verification,
    WebhookAttempt,
    WebhookEndpoint,
)
from hammer.outgoing.post import Fault
from hammer.quotas import guesses
from hammer.refusals import AlreadyActivated, OwnInvite, UnknownInvite

SPAN: Final = timedelta(days=14)
"""How far back events go."""
TEXTS_KEPT: Final = timedelta(hours=23)
"""How far back texts and codes go: `prune` deletes older ones where a day is set."""
SESSIONS_OPEN: Final = timedelta(days=2)
DAYS_BETWEEN: Final = 9
"""Days between two sign-ins of a person."""
PER_REFUSAL: Final = 25
"""People for each of whom one was refused an invite."""
ATTACKED: Final = 4
"""Numbers at which codes were guessed in the last hour."""
FAILED_POSTS: Final = 12
DISABLED_FOR: Final = timedelta(days=1)
CLIENT: Final = "Demo shop"
Row: TypeAlias = dict[str, Any]
_DEVICES: Final = ("Chrome · Android", "Safari · iPhone", "Chrome · Windows", "Yandex · Android", "Firefox · Linux")


class _Fate(NamedTuple):
    """What became of a text."""

    state: MessageState
    gateway: str | None
    tries: int = 1
    entered: bool = True
    """Whether its code was entered."""


_USUAL: Final = _Fate(MessageState.DELIVERED, "twilio/1")
_FATES: Final = {
    _USUAL: 70,
    _Fate(MessageState.SENT, "vonage/2"): 20,
    _Fate(MessageState.DELIVERED, "twilio/1", entered=False): 5,
    _Fate(MessageState.UNNEEDED, None, 0): 2,
    _Fate(MessageState.FAILED, "twilio/1", entered=False): 2,
    _Fate(MessageState.GIVEN_UP, None, 8, entered=False): 1,
}
"""A fate -> how many of a hundred texts have it."""


def add(tx: Transaction, settings: Settings, rng: random.Random, users: list[Row], referrals: list[Row], now: datetime) -> int:
    """Adds what these users did. Returns how many events it is."""
    history, blocked = _History(settings, rng, now), next(user for user in users if not user["invite_count"])
    others = [user for user in users if user is not blocked]
    sign_ins = round(len(others) * (SPAN / timedelta(days=DAYS_BETWEEN)))
    for ago in sorted(SPAN * rng.random() for _ in range(sign_ins)):  # the newest first: of them, each text has another fate
        user = rng.choice(others)
        if user["date_joined"] < now - ago:
            history.sign_in(user, now - ago)
    for user in others:
        if user["date_joined"] > now - SPAN:
            history.sign_in(user, user["date_joined"], first=True)
    for referral in referrals:
        if referral["activated_at"] > now - SPAN:
            ids = {"user_id": referral["referee_id"], "referrer_id": referral["referrer_id"]}
            history.event(referral["activated_at"], Kind.INVITE_ACTIVATED, **ids)
    activated = {referral["referee_id"] for referral in referrals}
    for _ in range(len(users) // PER_REFUSAL + 1):
        user = rng.choice(users)
        slug = AlreadyActivated.slug if user["id"] in activated else rng.choice((UnknownInvite.slug, OwnInvite.slug))
        moment = now - (now - max(user["date_joined"], now - SPAN)) * rng.random()
        history.event(moment, Kind.INVITE_REFUSED, user_id=user["id"], detail=slug)
    for user in rng.sample(others, min(ATTACKED, len(others))):
        history.guess(tx, user)
    history.block(tx, blocked)
    history.connect(tx)
    history.store(tx)
    history.post(tx)
    return len(history.events)


class _History:
    """Rows in the making."""

    def __init__(self, settings: Settings, rng: random.Random, now: datetime) -> None:
        self.settings, self.rng, self.now = settings, rng, now
        self.events: list[Row] = []
        self.verifications: list[Row] = []
        self.messages: list[Row] = []
        self.sessions: list[Row] = []
        self.devices: list[Row] = []
        draws = iter(lambda: rng.choices(list(_FATES), list(_FATES.values()))[0], None)
        self.endpoint: str | None = None
        """The id of the webhook endpoint that was added."""
        self.fates = chain(_FATES, draws)
        """Each fate once, then as they come."""

    def event(self, at: datetime, kind: Kind, **about: str) -> None:
        columns = dict.fromkeys(("user_id", "client_id", "endpoint_id", "referrer_id", "detail"))
        self.events.append(columns | {"at": at, "kind": kind} | about)

    def sign_in(self, user: Row, at: datetime, *, first: bool = False) -> None:
        """A code was asked for, and mostly entered `at` a moment."""
        fate = _USUAL if first else next(self.fates)
        self.text(user, at - timedelta(seconds=self.rng.randint(8, 90)), fate, at if fate.entered else None)
        if not fate.entered:
            return
        self.event(at, Kind.SIGNED_UP if first else Kind.SIGNED_IN, user_id=user["id"])
        if at > self.now - SESSIONS_OPEN:
            device = {"id": codes.random_id(), "user_id": user["id"], "known_since": at, "used_at": at}
            self.devices.append(device)
            what = {"kind": SessionKind.BROWSER, "device": self.rng.choice(_DEVICES), "device_id": device["id"]}
            self.sessions.append(Session.opening(User(id=user["id"]), now=at, **what))

    def text(self, user: Row, at: datetime, fate: _Fate, consumed_at: datetime | None, wrong: int = 0) -> Row:
        """A code was sent: the row of its verification."""
        self.event(at, Kind.CODE_SENT)
        verification = {
            "id": codes.random_id(),
            "telephone_number": user["telephone_number"],
            "purpose": verifications.LOGIN,
            "code_length": self.settings.code_length,
            "guesses": wrong + (consumed_at is not None),
            "language": "ru",
            "created_at": at,
            "expires_at": at + self.settings.code_ttl,
            "consumed_at": consumed_at,
        }
        if at > self.now - TEXTS_KEPT:
            self.verifications.append(verification)
            message = {"verification_id": verification["id"], "state": fate.state, "gateway": fate.gateway, "tries": fate.tries}
            self.messages.append(message | {"created_at": at, "due_at": at, "ended_at": at + timedelta(seconds=3)})
        return verification

    def guess(self, tx: Transaction, user: Row) -> None:
        """All guesses at a code were wrong."""
        at, most = self.now - timedelta(minutes=self.rng.randint(6, 50)), self.settings.guesses_per_code
        verification = Verification(**self.text(user, at, _USUAL, None, most))
        self.event(at + timedelta(seconds=20), Kind.GUESSES_SPENT)
        for _ in range(most):
            guesses.take(tx, self.settings, verification, self.settings.number_hashes(user["telephone_number"]), self.now)

    def block(self, tx: Transaction, user: Row) -> None:
        """The person was blocked from the command line, and went on to try."""
        blocked_at = max(self.now - timedelta(days=3), user["date_joined"])
        tx.execute(update(User).where(User.id == user["id"]).values(blocked_at=blocked_at))
        self.event(blocked_at, Kind.USER_BLOCKED, user_id=user["id"])
        for hours in (20, 2):
            at = self.now - timedelta(hours=hours)
            if at > blocked_at:
                self.text(user, at - timedelta(seconds=30), _USUAL, at)
                self.event(at, Kind.SIGN_IN_BLOCKED, user_id=user["id"])

    def connect(self, tx: Transaction) -> None:
        """An app of the operator, and a webhook endpoint that is disabled: nothing is posted to it. Once for a database."""
        if tx.scalar(select(Client.id).where(Client.name == CLIENT)):
            return
        added_at, disabled_at = self.now - timedelta(days=13), self.now - DISABLED_FOR
        client, endpoint = codes.random_id(), codes.random_id()
        of_client = {"name": CLIENT, "scopes": Scope.CODES_SEND, "sends_per_hour": SENDS_PER_HOUR}
        tx.execute(insert(Client).values(id=client, created_at=added_at, **of_client))
        self.event(added_at, Kind.CLIENT_ADDED, client_id=client)
        failed = {"failures": FAILED_POSTS, "failing_since": disabled_at - timedelta(days=5), "disabled_for": Disabled.FAILING}
        of_endpoint = {"url": "https://shop.example/hammer", "created_at": added_at, "disabled_at": disabled_at}
        tx.execute(insert(WebhookEndpoint).values(id=endpoint, next_at=disabled_at, **of_endpoint, **failed))
        self.endpoint = endpoint
        self.event(added_at, Kind.ENDPOINT_ADDED, endpoint_id=endpoint)
        self.event(disabled_at, Kind.ENDPOINT_DISABLED, endpoint_id=endpoint)

    def store(self, tx: Transaction) -> None:
        tx.execute(delete(EventCount))  # past hours have more events now: they are counted again
        self.events.sort(key=lambda event: event["at"])
        self.messages.sort(key=lambda message: message["created_at"])
        rows_of = {
            Event: self.events,
            Verification: self.verifications,
            Message: self.messages,
            Device: self.devices,
            Session: self.sessions,
        }
        for model, rows in rows_of.items():
            if rows:  # by the table: by the model, rows with other empty columns would each take a statement
                tx.execute(insert(cast(Table, model.__table__)), rows)

    def post(self, tx: Transaction) -> None:
        """What was posted to the endpoint never arrived: its host is a name that no server has."""
        told = select(Event.id, Event.at).where(Event.kind == Kind.SIGNED_UP, Event.at < self.now - DISABLED_FOR)
        newest = tx.execute(told.order_by(Event.id.desc()).limit(FAILED_POSTS)).all() if self.endpoint else []
        posts = [
            {
                "endpoint_id": self.endpoint,
                "event_id": event_id,
                "at": at,
                "fault": Fault.RESOLVE,
                "took_ms": self.rng.randint(2, 40),
            }
            for event_id, at in reversed(newest)
        ]
        if posts:
            tx.execute(insert(WebhookAttempt), posts)
