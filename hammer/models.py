"""What we remember: people, who invited whom, signed-in devices, proofs under way, texts that wait, and what was counted and noted.

A row answers questions about itself; it does not send, commit, read settings or know a URL.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, String, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from hammer import codes
from hammer.db.database import Base, RandomId


class SessionKind(StrEnum):
    """How a session is proved. A session of one kind is never accepted where another kind is expected."""

    BROWSER = "browser"
    """By a cookie, at the pages."""
    PROGRAM = "program"
    """By bearer tokens, at the API."""


SESSION_LIFETIME = {SessionKind.BROWSER: timedelta(days=14), SessionKind.PROGRAM: timedelta(days=30)}
"""From the login on, whatever happens; 30 days is the most that NIST SP 800-63B-4 §2.1.3 allows."""
SESSION_IDLE = {SessionKind.BROWSER: timedelta(days=3), SessionKind.PROGRAM: timedelta(days=14)}
"""Since it was last used. A browser may be anybody's; a program runs on the phone of who signed in."""
SEEN_EVERY = timedelta(hours=1)
"""So exactly is it known when a session was last used; an idle one ends this much early at most, and never late."""


def _index_of_few(table: str, column: str) -> Index:
    """Finds rows by a column that is empty in most of them; those are not in it."""
    there = text(f"{column} IS NOT NULL")
    return Index(f"ix_{table}_{column}", column, postgresql_where=there, sqlite_where=there)


class User(Base):
    """Somebody who proved a number. After a deletion the row stays without anything personal, so that others' counts stay true."""

    __tablename__ = "users"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    telephone_number: Mapped[str | None] = mapped_column(String(16), unique=True)
    invite_code: Mapped[str] = mapped_column(String(6), unique=True)
    invite_count: Mapped[int] = mapped_column(server_default="0")
    """How many activated the code; kept here so that a profile costs the same with none and with a hundred thousand."""
    username: Mapped[str | None] = mapped_column(String(30))
    """None until chosen: a blank one under a unique index would let exactly one user in."""
    first_name: Mapped[str] = mapped_column(String(150), server_default="")
    last_name: Mapped[str] = mapped_column(String(150), server_default="")
    is_staff: Mapped[bool] = mapped_column(server_default=false())
    date_joined: Mapped[datetime]
    blocked_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_users_lower_username", func.lower(username), unique=True),
        Index("ix_users_date_joined_id", "date_joined", "id"),
    )


class Referral(Base):
    """`referee` activated the code of `referrer`. The primary key is the rule: each person once, for ever."""

    __tablename__ = "referrals"

    referee_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), primary_key=True)
    referrer_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"))
    activated_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("referee_id <> referrer_id", name="not_oneself"),
        Index("ix_referrals_newest", "referrer_id", "activated_at", "referee_id"),
    )


class Session(Base):
    """One signed-in device. What it shows as proof is computed from this row and a key elsewhere; nothing here opens anything."""

    __tablename__ = "sessions"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    user_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), index=True)
    kind: Mapped[str] = mapped_column(String(7))
    """One of `SessionKind`."""
    device: Mapped[str] = mapped_column(String(80))
    """Roughly what it is, like `Firefox · Android`."""
    device_id: Mapped[str | None] = mapped_column(String(22))
    """The known device on which it was opened, which may be forgotten by now; None for sessions of older versions."""
    refreshes: Mapped[int] = mapped_column(default=0)
    """How often its refresh token was exchanged: the one token that works now carries this number."""
    refreshes_received: Mapped[int | None]
    """Up to which of them its holder has shown that the answer arrived; written only while that matters (`sessions.GRACE`)."""
    refreshed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    """When somebody proved the number for it."""
    seen_at: Mapped[datetime]
    """When it was last used; that may have been up to `SEEN_EVERY` later."""
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]

    __table_args__ = (_index_of_few("sessions", "ended_at"),)

    @staticmethod
    def opening(user: User, *, kind: SessionKind, device: str, now: datetime, device_id: str | None = None) -> dict[str, Any]:
        """The columns of a new session of `user`, with a fresh id."""
        return {
            "id": codes.random_id(),
            "user_id": user.id,
            "kind": kind,
            "device": device[:80],
            "device_id": device_id,
            "refreshes": 0,
            "refreshed_at": now,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + SESSION_LIFETIME[kind],
        }


class Verification(Base):
    """One attempt to prove that somebody holds a number. The code is computed from this row and a key elsewhere."""

    __tablename__ = "verifications"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    telephone_number: Mapped[str] = mapped_column(String(16), index=True)
    purpose: Mapped[str] = mapped_column(String(16))
    code_length: Mapped[int] = mapped_column(SmallInteger)
    guesses: Mapped[int] = mapped_column(SmallInteger, default=0)
    """Taken so far; each is taken before it is compared."""
    user_id: Mapped[str | None] = mapped_column(String(22))
    """Whose proof it is, where somebody signed in asked for it; nobody else can use it."""
    device_id: Mapped[str | None] = mapped_column(String(22))
    """The known device that asked; its guesses are counted on it instead of on the world."""
    language: Mapped[str] = mapped_column(String(8))
    invite_code: Mapped[str | None] = mapped_column(String(6))
    """Somebody's code that came along, for the first login."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    consumed_at: Mapped[datetime | None]

    __table_args__ = (_index_of_few("verifications", "user_id"),)

    def code(self, key: bytes) -> str:
        """The digits that prove this verification."""
        return codes.one_time_code(
            key,
            verification_id=self.id,
            telephone_number=self.telephone_number,
            purpose=self.purpose,
            length=self.code_length,
        )


class Device(Base):
    """A browser or program that signed its user in before: it keeps a lane of its own that strangers cannot use up."""

    __tablename__ = "devices"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    user_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), index=True)
    guesses: Mapped[int] = mapped_column(SmallInteger, default=0)
    """Taken for as long as it is known, but for those that were right; each is taken before it is compared."""
    turns: Mapped[int] = mapped_column(server_default="0")
    """How often it was given another token: the one that is good now has this number."""
    turned_at: Mapped[datetime | None]
    known_since: Mapped[datetime]
    used_at: Mapped[datetime] = mapped_column(index=True)


class Counter(Base):
    """How much of one limit was used in one period. The scope names the limit, and a number or an address by keyed hash alone."""

    __tablename__ = "counters"

    scope: Mapped[str] = mapped_column(String(80), primary_key=True)
    period: Mapped[int] = mapped_column(primary_key=True)
    """Hours or days since 1970, as the limit has it."""
    taken: Mapped[int]
    ends_at: Mapped[datetime] = mapped_column(index=True)
    """When it counts no more."""


class SendAllowance(Base):
    """How many texts one number was sent lately. Keyed by a keyed hash: it outlives the person's data and names nobody."""

    __tablename__ = "send_allowances"

    number_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    day_began_at: Mapped[datetime] = mapped_column(index=True)
    sends: Mapped[int] = mapped_column(SmallInteger)
    """Since `day_began_at`."""
    streak: Mapped[int] = mapped_column(SmallInteger)
    """Since the last success: each doubles the wait."""
    next_send_at: Mapped[datetime]


class MessageState(StrEnum):
    """What became of a message."""

    WAITING = "waiting"
    SENT = "sent"
    """A gateway took it; most gateways report nothing after that."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """The gateway that took it reported that it did not reach the telephone."""
    GIVEN_UP = "given up"
    """No gateway took it while it was needed."""
    UNNEEDED = "unneeded"
    """Its code was used before it left."""


_WAITING = text("ended_at IS NULL")


class Message(Base):
    """A text that waits to leave. It holds no words: they are put together when it leaves, so no code lies here."""

    __tablename__ = "texts"

    id: Mapped[int] = mapped_column(primary_key=True)
    verification_id: Mapped[str | None] = mapped_column(String(22), ForeignKey("verifications.id", ondelete="CASCADE"), index=True)
    """Whose code it carries; None for a notice."""
    telephone_number: Mapped[str | None] = mapped_column(String(16))
    """Where a notice goes; None once it is sent."""
    language: Mapped[str | None] = mapped_column(String(8))
    tries: Mapped[int] = mapped_column(SmallInteger, default=0)
    state: Mapped[str] = mapped_column(String(9), default=MessageState.WAITING)
    gateway: Mapped[str | None] = mapped_column(String(24))
    """Which one took it: its kind, and its place in the settings."""
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """When it may be tried (again); moved ahead while somebody is at it, so that nobody else is."""
    ended_at: Mapped[datetime | None]
    """When it left, or was given up."""

    __table_args__ = (Index("ix_texts_waiting", "due_at", postgresql_where=_WAITING, sqlite_where=_WAITING),)


class IdempotencyKey(Base):
    """What a request was answered with, in case it comes again (`quotas.idempotency`). Names no person, holds no secret."""

    __tablename__ = "idempotency_keys"

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    body_hash: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str] = mapped_column(String(200))
    """Ids from which the answer is computed again, as JSON; empty until it is known."""
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Tombstone(Base):
    """A number that activated an invite code and then left: so that coming back does not buy a second activation. A keyed hash."""

    __tablename__ = "tombstones"

    number_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class TokenKey(Base):
    """A key that signs access tokens. Its private part is computed from this id and a secret elsewhere."""

    __tablename__ = "token_keys"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    """It signs nothing any more; what it signed is believed until it expires."""


class Event(Base):
    """Something that happened, written in the transaction in which it did. Names people by their ids alone."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(40))
    user_id: Mapped[str | None] = mapped_column(String(22), index=True)
    """Whom it is about."""
    actor_id: Mapped[str | None] = mapped_column(String(22))
    """Who did it, where somebody else did; None for oneself, and for the command line."""
    request_id: Mapped[str | None] = mapped_column(String(64))
    """The same that stands in the log."""

    __table_args__ = (_index_of_few("events", "actor_id"),)
