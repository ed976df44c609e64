"""The tables: users, clients, referrals, sessions, authorizations, consents, logout notices, verifications, devices, second
factors, passkeys, limits, messages, idempotency keys, tombstones, keys, events, their counts and seals, webhooks.

A model answers questions about its own row. It does not send, commit, read settings or know a URL.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from hammer import codes
from hammer.db.database import Base, RandomId


class SessionKind(StrEnum):
    """How a session is shown. A session of one kind is never accepted where another kind is expected."""

    BROWSER = "browser"
    """By a cookie, on pages."""
    PROGRAM = "program"
    """By bearer tokens, in the API."""
    APP = "app"
    """By the tokens of an app that its user signed in to (OpenID Connect). They are no tokens of the API."""
    ADMIN = "admin"
    """By a cookie of its own, on the operator's pages. Opened by staff with a second factor."""


class Scope(StrEnum):
    """What an access token allows the client that holds it (RFC 6749 §3.3)."""

    CODES_SEND = "codes:send"
    """Ask for codes for end users, and state their address."""
    USERS_READ = "users:read"
    """Read users; numbers are masked without `users:numbers`."""
    USERS_WRITE = "users:write"
    """Create, change, block and delete users who are not staff, and write their metadata. Answers show the user."""
    USERS_NUMBERS = "users:numbers"
    """Read whole telephone numbers."""
    INVITES_READ = "invites:read"
    """Read who activated whose invite code."""
    EVENTS_READ = "events:read"
    """Read what happened."""
    WEBHOOKS_MANAGE = "webhooks:manage"
    """Manage webhooks."""


class SignInScope(StrEnum):
    """What an app that people sign in to may ask them for (OpenID Connect Core §5.4, §11)."""

    OPENID = "openid"
    """Sign in. Without it there is nothing to ask for."""
    PROFILE = "profile"
    """Their names and username."""
    PHONE = "phone"
    """Their telephone number."""
    INVITES = "invites"
    """Their invite code, whether they activated one, and how many people activated theirs."""
    OFFLINE_ACCESS = "offline_access"
    """All of that also later, while they are not there: a refresh token."""


class SigningAlgorithm(StrEnum):
    """How id tokens and logout tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1)."""

    RS256 = "RS256"
    """What every app understands (OpenID Connect Discovery §3)."""
    ES256 = "ES256"
    EDDSA = "EdDSA"


SESSION_LIFETIME = {
    SessionKind.BROWSER: timedelta(days=14),
    SessionKind.PROGRAM: timedelta(days=30),
    SessionKind.APP: timedelta(days=30),
    SessionKind.ADMIN: timedelta(hours=12),
}
"""A session ends this long after the login, even if it is in use. NIST SP 800-63B-4 §2.1.3 allows at most 30 days."""
SESSION_IDLE = {
    SessionKind.BROWSER: timedelta(days=3),
    SessionKind.PROGRAM: timedelta(days=14),
    SessionKind.APP: timedelta(days=14),
    SessionKind.ADMIN: timedelta(minutes=30),
}
"""A session ends this long after its last use. A browser may be shared; a program runs on the phone of its user."""
SEEN_EVERY = dict.fromkeys(SessionKind, timedelta(hours=1)) | {SessionKind.ADMIN: timedelta(minutes=1)}
"""How often the last use of a session is recorded. An idle session ends at most this much too early, and never too late."""


def _index_of_few(table: str, column: str) -> Index:
    """An index for a column that is empty in most rows. Rows where it is empty are not in the index."""
    not_empty = text(f"{column} IS NOT NULL")
    return Index(f"ix_{table}_{column}", column, postgresql_where=not_empty, sqlite_where=not_empty)


_WAITING = text("ended_at IS NULL")
_BLOCKED = text("blocked_at IS NOT NULL")
_DELETED = text("deleted_at IS NOT NULL")
_UNPUBLISHED = text("sequence = 0")
_PUBLISHED = text("sequence > 0")
_BY_STAFF = text("actor_id IS NOT NULL")
_NOT_PRUNED = text("pruned_at IS NULL")
_BigId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers only the rows of an `INTEGER`."""


class User(Base):
    """The user of a number. The row of a deleted user stays without personal data, so that the counts of other users stay right."""

    __tablename__ = "users"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    telephone_number: Mapped[str | None] = mapped_column(String(16), unique=True)
    invite_code: Mapped[str] = mapped_column(String(6), unique=True)
    invite_count: Mapped[int] = mapped_column(server_default="0")
    """Number of referees, deleted ones included. Stored, so that a profile costs the same with none and with 100,000."""
    username: Mapped[str | None] = mapped_column(String(30))
    """None until the user chooses one. An empty string would be unique too, so only one user could have it."""
    first_name: Mapped[str] = mapped_column(String(150), server_default="")
    last_name: Mapped[str] = mapped_column(String(150), server_default="")
    is_staff: Mapped[bool] = mapped_column(server_default=false())
    app_metadata: Mapped[str | None] = mapped_column(Text)
    """A JSON object of the operator's apps, as text; None for an empty one. `metadata` is SQLAlchemy's own name."""
    date_joined: Mapped[datetime]
    blocked_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    activation_closed: Mapped[bool] = mapped_column(server_default=false())
    """Whether staff detached the referral of the user, who may not activate another invite code."""
    passkey_handle: Mapped[str | None] = mapped_column(String(43))
    """What authenticators know the user by (WebAuthn §5.4.3): 32 bytes that say nothing about them. None before the first
    passkey."""

    __table_args__ = (
        Index("uq_users_lower_username", func.lower(username), unique=True),
        Index("ix_users_date_joined_id", "date_joined", "id"),
        Index("ix_users_staff", "date_joined", "id", postgresql_where=text("is_staff"), sqlite_where=text("is_staff = 1")),
        Index("ix_users_blocked", "date_joined", "id", postgresql_where=_BLOCKED, sqlite_where=_BLOCKED),
        Index("ix_users_deleted", "date_joined", "id", postgresql_where=_DELETED, sqlite_where=_DELETED),
    )


class Client(Base):
    """An app or a backend that the operator registered (OAuth 2.0's word). Its secret is computed from this row and a key that is
    not in the database."""

    __tablename__ = "clients"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    """What people read in the list of their devices."""
    scopes: Mapped[str] = mapped_column(String(200))
    """`Scope`s with spaces between them."""
    origins: Mapped[str] = mapped_column(Text, server_default="")
    """Origins whose browsers may call the API, with spaces between them."""
    sends_per_hour: Mapped[int]
    """Messages an hour that it may ask for."""
    generation: Mapped[int] = mapped_column(server_default="0")
    """How often its secret was changed. The newest secret contains this number."""
    rotated_at: Mapped[datetime | None]
    """When its secret was last changed. The previous one is valid for a time after that."""
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    disables: Mapped[int] = mapped_column(server_default="0")
    """How often it was disabled. Its valid tokens contain this number."""
    redirect_uris: Mapped[str] = mapped_column(Text, server_default="")
    """Where people may be sent after they signed in to it (RFC 6749 §3.1.2), with spaces between them; empty for a client that
    people do not sign in to."""
    post_logout_redirect_uris: Mapped[str] = mapped_column(Text, server_default="")
    """Where people may be sent after they signed out (OpenID Connect RP-Initiated Logout §3.1), with spaces between them."""
    backchannel_logout_uri: Mapped[str | None] = mapped_column(Text)
    """Where its server gets logout notices (OpenID Connect Back-Channel Logout §2.2)."""
    algorithm: Mapped[str] = mapped_column(String(5), server_default=SigningAlgorithm.RS256)
    """The `SigningAlgorithm` of its id tokens."""
    first_party: Mapped[bool] = mapped_column(server_default=false())
    """Whether it is the operator's own app, whose users are not asked what it may know."""
    public: Mapped[bool] = mapped_column(server_default=false())
    """Whether it has no secret, since it cannot keep one: an app in a browser or on a telephone (RFC 6749 §2.1)."""
    pkce_required: Mapped[bool] = mapped_column(server_default=true())
    """Whether a sign-in must be bound to the browser that began it (RFC 7636). Off only for old apps."""


class Referral(Base):
    """`referee` activated the invite code of `referrer`. The primary key allows each user one activation, which only staff undo."""

    __tablename__ = "referrals"

    referee_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), primary_key=True)
    referrer_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"))
    activated_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("referee_id <> referrer_id", name="not_oneself"),
        Index("ix_referrals_newest", "referrer_id", "activated_at", "referee_id"),
    )


class Session(Base):
    """One login. Its cookie or tokens are computed from this row and a secret that is not in the database."""

    __tablename__ = "sessions"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    user_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), index=True)
    kind: Mapped[str] = mapped_column(String(7))
    """A `SessionKind`."""
    device: Mapped[str] = mapped_column(String(80))
    """A rough description of the device, like `Firefox · Android`."""
    device_id: Mapped[str | None] = mapped_column(String(22))
    """The known device that signed in. That device may be forgotten by now. None for sessions from before migration 0007."""
    client_id: Mapped[str | None] = mapped_column(String(22))
    """The client through which its code was asked for, or, for the kind `app`, that the user signed in to; None for our own pages,
    and for programs without a client."""
    parent_id: Mapped[str | None] = mapped_column(String(22))
    """For the kinds `app` and `admin`: the session of the browser in which it was opened. It ends with that one."""
    scopes: Mapped[str | None] = mapped_column(String(60))
    """For the kind `app`: `SignInScope`s with spaces between them."""
    refreshes: Mapped[int] = mapped_column(default=0)
    """How often the refresh token was exchanged. The one valid refresh token contains this number."""
    refreshes_received: Mapped[int | None]
    """The last exchange whose answer has certainly arrived. Written only while that matters (`sessions.GRACE`)."""
    refreshed_at: Mapped[datetime]
    created_at: Mapped[datetime]
    """When the number was proved for this session; for the kind `admin`: the second factor."""
    seen_at: Mapped[datetime]
    """The last recorded use. The real last use is up to `SEEN_EVERY` later."""
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ended_at: Mapped[datetime | None]

    __table_args__ = (_index_of_few("sessions", "ended_at"), _index_of_few("sessions", "parent_id"))

    @staticmethod
    def opening(
        user: User, *, kind: SessionKind, device: str, now: datetime, device_id: str | None = None, client_id: str | None = None
    ) -> dict[str, Any]:
        """The columns of a new session of `user`, with a fresh id."""
        return {
            "id": codes.random_id(),
            "user_id": user.id,
            "kind": kind,
            "device": device[:80],
            "device_id": device_id,
            "client_id": client_id,
            "refreshes": 0,
            "refreshed_at": now,
            "created_at": now,
            "seen_at": now,
            "expires_at": now + SESSION_LIFETIME[kind],
        }


class Authorization(Base):
    """A request of an app to sign a person in, from the moment it is made until its code is exchanged (RFC 6749 §4.1). The code is
    computed from this row and a secret that is not in the database."""

    __tablename__ = "authorizations"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    client_id: Mapped[RandomId]
    redirect_uri: Mapped[str] = mapped_column(Text)
    scopes: Mapped[str] = mapped_column(String(60))
    """`SignInScope`s with spaces between them."""
    state: Mapped[str | None] = mapped_column(Text)
    nonce: Mapped[str | None] = mapped_column(Text)
    code_challenge: Mapped[str | None] = mapped_column(String(43))
    prompt: Mapped[str] = mapped_column(String(40), server_default="")
    """Pages that the app wants to be shown (OpenID Connect Core §3.1.2.1), with spaces between their names."""
    max_age: Mapped[int | None]
    """The largest age of the person's login that the app accepts, in seconds."""
    login_hint: Mapped[str | None] = mapped_column(String(16))
    """The number that the app expects, in E.164."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    """Until then the person can answer; then, and from their answer on, until then the code can be exchanged."""
    session_id: Mapped[str | None] = mapped_column(String(22))
    """The session of the browser in which the person allowed it; None before."""
    consumed_at: Mapped[datetime | None]
    """When its code was exchanged."""
    grant_id: Mapped[str | None] = mapped_column(String(22))
    """The session of the app that was opened for the code, if it was right."""


class Consent(Base):
    """What a person allows an app to know. It is remembered, so that they are asked once."""

    __tablename__ = "consents"

    user_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), primary_key=True)
    client_id: Mapped[RandomId] = mapped_column(primary_key=True)
    scopes: Mapped[str] = mapped_column(String(60))
    """`SignInScope`s with spaces between them."""
    given_at: Mapped[datetime]


class LogoutNotice(Base):
    """Tells the server of an app that a session of its user ended (OpenID Connect Back-Channel Logout). Its token is made when it
    is sent."""

    __tablename__ = "logout_notices"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    """The `jti` of the token, the same in all tries."""
    client_id: Mapped[RandomId]
    user_id: Mapped[RandomId]
    session_id: Mapped[RandomId]
    """The session of the kind `app` that ended: the `sid` in its id tokens."""
    tries: Mapped[int] = mapped_column(SmallInteger, default=0)
    delivered: Mapped[bool | None]
    """Whether the app confirmed it, once that is known."""
    created_at: Mapped[datetime] = mapped_column(index=True)
    due_at: Mapped[datetime]
    """When it may be sent, or sent again. While a worker has claimed it, this is the end of the lease."""
    ended_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_logout_notices_waiting", "due_at", postgresql_where=_WAITING, sqlite_where=_WAITING),)


class Verification(Base):
    """One proof, finished or not, that a person holds a number. Its code is computed from this row and a secret that is not in the
    database."""

    __tablename__ = "verifications"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    telephone_number: Mapped[str] = mapped_column(String(16), index=True)
    purpose: Mapped[str] = mapped_column(String(16))
    code_length: Mapped[int] = mapped_column(SmallInteger)
    guesses: Mapped[int] = mapped_column(SmallInteger, default=0)
    """Guesses taken so far. Each is taken before the code is compared."""
    user_id: Mapped[str | None] = mapped_column(String(22))
    """The signed-in user who asked for it, and who alone can use it; None for logins."""
    device_id: Mapped[str | None] = mapped_column(String(22))
    """The known device that asked for it. Guesses are then taken from that device, not from the limits for strangers."""
    client_id: Mapped[str | None] = mapped_column(String(22))
    """The client that asked for it, for its user; None for our own pages, and for programs without a client."""
    device: Mapped[str | None] = mapped_column(String(80))
    """A rough description of the user's device, if the client stated it."""
    language: Mapped[str] = mapped_column(String(8))
    invite_code: Mapped[str | None] = mapped_column(String(6))
    """The invite code that was sent along, for a first login."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    consumed_at: Mapped[datetime | None]

    __table_args__ = (_index_of_few("verifications", "user_id"),)

    def code(self, *keys: bytes) -> str:
        """The one-time code of this verification: by that one of these keys with which its id was made, so that it has only one."""
        return codes.one_time_code(
            codes.key_of(keys, self.id),
            verification_id=self.id,
            telephone_number=self.telephone_number,
            purpose=self.purpose,
            length=self.code_length,
        )

    def state(self, most_guesses: int, now: datetime) -> "CodeState":
        """What became of its code."""
        if self.consumed_at is not None:
            return CodeState.ENTERED
        if self.guesses >= most_guesses:
            return CodeState.VOID
        return CodeState.VALID if now < self.expires_at else CodeState.EXPIRED


class Device(Base):
    """A known device: a browser or program that signed its user in before. Its limits are its own; strangers cannot use them up."""

    __tablename__ = "devices"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    user_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), index=True)
    guesses: Mapped[int] = mapped_column(SmallInteger, default=0)
    """Wrong guesses in the device's whole life. Each guess is taken before the code is compared; a right one is given back."""
    turns: Mapped[int] = mapped_column(server_default="0")
    """How often the device got a new token. The valid token contains this number."""
    turned_at: Mapped[datetime | None]
    client_id: Mapped[str | None] = mapped_column(String(22))
    """The client of the latest sign-in, to which its token was shown; None for our own pages, and for programs without a client."""
    known_since: Mapped[datetime]
    used_at: Mapped[datetime] = mapped_column(index=True)


class SecondFactor(Base):
    """What staff prove besides their number: an authenticator app (RFC 6238) and recovery codes. The secrets are computed from this
    row and a key that is not in the database. Their passkeys are in a table of their own."""

    __tablename__ = "second_factors"

    user_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), primary_key=True)
    links: Mapped[int] = mapped_column(default=0)
    """How often an enrolment link was made. The one valid link contains this number."""
    link_expires_at: Mapped[datetime | None]
    """Until when that link is valid; None once it was used."""
    generation: Mapped[int] = mapped_column(default=0)
    """The number of the authenticator app's secret. The secret that is shown to enrol an app has the next one."""
    step: Mapped[int | None] = mapped_column(BigInteger)
    """The time step of the newest code that was accepted: no code is accepted twice. None without an authenticator app."""
    recovery_generation: Mapped[int] = mapped_column(default=0)
    """How often recovery codes were made; 0 for none."""
    recovery_used: Mapped[int] = mapped_column(default=0)
    """Which of them were used: one bit for each."""


class Passkey(Base):
    """A passkey: the public key of a credential that an authenticator keeps (WebAuthn)."""

    __tablename__ = "passkeys"

    id: Mapped[str] = mapped_column(String(1364), primary_key=True)
    """The id of the credential, 1023 bytes at most (WebAuthn §4), as base64url."""
    user_id: Mapped[RandomId] = mapped_column(ForeignKey("users.id"), index=True)
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(BigInteger)
    """How often it signed, as the authenticator counts; 0 where it does not count."""
    backup_eligible: Mapped[bool]
    """Whether it may be copied to other devices. This never changes."""
    backed_up: Mapped[bool]
    aaguid: Mapped[str] = mapped_column(String(36))
    """The model of the authenticator."""
    rp_id: Mapped[str] = mapped_column(String(253))
    """The host that it was made for. It works for no other one."""
    name: Mapped[str] = mapped_column(String(60))
    """What its owner calls it."""
    for_staff: Mapped[bool] = mapped_column(server_default=false())
    """Whether it opens the operator's pages: it was added by an enrolment link, or in a session of the kind `admin`. One that was
    added after a text alone does not."""
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SpentChallenge(Base):
    """A challenge that an authenticator answered. It is stored before the answer is verified, so that no answer counts twice."""

    __tablename__ = "spent_challenges"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Counter(Base):
    """How much of a limit, or of a part of it, was used in one period. The scope names the limit; a number or an address in it is a
    keyed hash."""

    __tablename__ = "counters"

    scope: Mapped[str] = mapped_column(String(80), primary_key=True)
    period: Mapped[int] = mapped_column(primary_key=True)
    """Hours or days since 1970, depending on the limit."""
    part: Mapped[int] = mapped_column(SmallInteger, primary_key=True, server_default="0")
    """Which part of a limit that all callers share; 0 for every other limit."""
    taken: Mapped[int]
    """Units. A part may be given back more than was taken from it; then it is negative."""
    made_for: Mapped[int | None] = mapped_column(BigInteger)
    """The units of the whole limit when the row of a part was made. Later the limit may be another one."""
    ends_at: Mapped[datetime] = mapped_column(index=True)
    """From this moment on the row does not count."""


class SendAllowance(Base):
    """Messages that one number was sent lately. The key is a keyed hash, so the row may outlive the user's data."""

    __tablename__ = "send_allowances"

    number_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    day_began_at: Mapped[datetime] = mapped_column(index=True)
    sends: Mapped[int] = mapped_column(SmallInteger)
    """Messages since `day_began_at`."""
    streak: Mapped[int] = mapped_column(SmallInteger)
    """Messages since the last right code. Each one doubles the wait for the next."""
    next_send_at: Mapped[datetime]


class MessageState(StrEnum):
    """Where a message is on its way to the telephone."""

    WAITING = "waiting"
    """It is in the outbox, to be sent for the first time or again."""
    SENT = "sent"
    """A gateway accepted it. Most gateways report nothing after that."""
    DELIVERED = "delivered"
    """The gateway reported that it reached the telephone."""
    FAILED = "failed"
    """The gateway that accepted it reported that it did not reach the telephone."""
    GIVEN_UP = "given up"
    """No gateway accepted it in time."""
    UNNEEDED = "unneeded"
    """Its code was used before it was sent."""


class CodeState(StrEnum):
    """What became of a one-time code."""

    VALID = "valid"
    ENTERED = "entered"
    EXPIRED = "expired"
    VOID = "void"
    """No guesses are left: wrong codes were entered."""


class Message(Base):
    """A message in the outbox. Its words are composed when it is sent, so no code is stored here."""

    __tablename__ = "texts"

    id: Mapped[int] = mapped_column(primary_key=True)
    verification_id: Mapped[str | None] = mapped_column(String(22), ForeignKey("verifications.id", ondelete="CASCADE"), index=True)
    """The verification whose code it contains; None for a notice."""
    telephone_number: Mapped[str | None] = mapped_column(String(16))
    """The number that gets a notice; None once it is sent."""
    request_id: Mapped[str | None] = mapped_column(String(64))
    """The request that asked for it, as in the log."""
    traceparent: Mapped[str | None] = mapped_column(String(55))
    """The span of that request (W3C Trace Context §3.2); None where none is recorded."""
    language: Mapped[str | None] = mapped_column(String(8))
    tries: Mapped[int] = mapped_column(SmallInteger, default=0)
    """How often it was handed to the gateways."""
    state: Mapped[str] = mapped_column(String(9), default=MessageState.WAITING)
    gateway: Mapped[str | None] = mapped_column(String(24))
    """The gateway that accepted it: its kind, and its position in the settings."""
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    """When it may be sent, or sent again. While a worker has claimed it, this is the end of the lease."""
    ended_at: Mapped[datetime | None]
    """When it was sent, or given up."""

    __table_args__ = (Index("ix_texts_waiting", "due_at", postgresql_where=_WAITING, sqlite_where=_WAITING),)


class IdempotencyKey(Base):
    """The stored answer to a request, in case the request is repeated (`quotas.idempotency`). Contains no number and no secret."""

    __tablename__ = "idempotency_keys"

    key_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    body_hash: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str] = mapped_column(String(200))
    """Ids from which the answer is computed again, as JSON; empty until the request is done."""
    expires_at: Mapped[datetime] = mapped_column(index=True)


class Tombstone(Base):
    """A number whose user activated an invite code and then left. It prevents a second activation by a new account."""

    __tablename__ = "tombstones"

    number_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class TokenKey(Base):
    """A key that signs access tokens or id tokens. The private key is computed from this id and a secret that is not in the
    database; an RSA key cannot be computed, so it is stored, encrypted with that secret."""

    __tablename__ = "token_keys"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]
    """From this moment on it signs nothing. Tokens that it signed stay valid until they expire."""
    purpose: Mapped[str] = mapped_column(String(6), server_default="access")
    """Which tokens it signs: `access` or `id`."""
    algorithm: Mapped[str] = mapped_column(String(5), server_default=SigningAlgorithm.EDDSA)
    """A `SigningAlgorithm`. Access tokens have EdDSA."""
    encrypted: Mapped[bytes | None]
    """The private key of RS256."""


class Event(Base):
    """An entry of the audit trail, written in the transaction of what it records. Users are named by id only."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(40))
    """An `events.Kind`."""
    user_id: Mapped[str | None] = mapped_column(String(22))
    """The user it is about."""
    actor_id: Mapped[str | None] = mapped_column(String(22))
    """The user who did it, if that is another one; None for the user themselves, for clients and for the command line."""
    client_id: Mapped[str | None] = mapped_column(String(22))
    """The client that called, or through which the session was opened."""
    request_id: Mapped[str | None] = mapped_column(String(64))
    """The id of the request in the log."""

    endpoint_id: Mapped[str | None] = mapped_column(String(22))
    """The webhook endpoint that it is about."""
    referrer_id: Mapped[str | None] = mapped_column(String(22))
    """The user whose invite code was activated. None for other events, and for an activation from before migration 0014."""
    detail: Mapped[str | None] = mapped_column(String(40))
    """What exactly happened, in one word: the slug of a refusal, or how a second factor was proved."""
    reason: Mapped[str | None] = mapped_column(String(200))
    """Why staff did it, in their words."""
    sequence: Mapped[int | None] = mapped_column(BigInteger)
    """Its place in the event feed, from 1. 0 while it waits to be published; None for an event that apps are not told about."""

    __table_args__ = (
        Index("ix_events_user_id_at_id", "user_id", "at", "id"),
        Index("ix_events_actor_id_at_id", "actor_id", "at", "id", postgresql_where=_BY_STAFF, sqlite_where=_BY_STAFF),
        Index("ix_events_staff", "id", postgresql_where=_BY_STAFF, sqlite_where=_BY_STAFF),
        Index("ix_events_unpublished", "id", postgresql_where=_UNPUBLISHED, sqlite_where=_UNPUBLISHED),
        Index("uq_events_sequence", "sequence", unique=True, postgresql_where=_PUBLISHED, sqlite_where=_PUBLISHED),
    )


class Seal(Base):
    """A keyed hash over the events of one range of ids, and over the seal before (`operations.seals`). It outlives its events."""

    __tablename__ = "seals"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """From 1, without gaps. Of two processes that make the same seal, the primary key refuses one."""
    from_id: Mapped[int] = mapped_column(BigInteger)
    to_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    """The range begins where the one before ends. There is no event for some of its ids: their transactions were rolled back."""
    rows: Mapped[int]
    newest_at: Mapped[datetime]
    """When the newest of its events happened."""
    sha256: Mapped[str] = mapped_column(String(64))
    """The hash of the events."""
    previous: Mapped[str] = mapped_column(String(64))
    """`hmac` of the seal before."""
    sealed_at: Mapped[datetime]
    hmac: Mapped[str] = mapped_column(String(64))
    """The keyed hash of the columns above."""
    marks: Mapped[bytes | None]
    """A part of the hash of each event, to find the one that was changed. None when they were pruned."""
    pruned_at: Mapped[datetime | None]

    __table_args__ = (Index("ix_seals_not_pruned", "newest_at", postgresql_where=_NOT_PRUNED, sqlite_where=_NOT_PRUNED),)


class EventCount(Base):
    """How many events of one kind happened in one hour (UTC). An hour is counted once, some minutes after its end."""

    __tablename__ = "event_counts"

    hour: Mapped[datetime] = mapped_column(primary_key=True)
    """When the hour began."""
    kind: Mapped[str] = mapped_column(String(40), primary_key=True)
    """An `events.Kind`, or "" for all kinds together. Every hour that was counted has the row of all kinds."""
    count: Mapped[int]


class Disabled(StrEnum):
    """Why a webhook endpoint is disabled."""

    BY_HAND = "by hand"
    GONE = "gone"
    """It answered with status 410."""
    FAILING = "failing"
    """It accepted nothing for days."""


class WebhookEndpoint(Base):
    """A server of an app that is told what happened (Standard Webhooks). Its secret is computed from this row and a key that is not
    in the database."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[RandomId] = mapped_column(primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    types: Mapped[str] = mapped_column(Text, server_default="")
    """The `events.Type`s that it gets, with spaces between them; empty for all."""
    client_id: Mapped[str | None] = mapped_column(String(22))
    """The client that added it, and sees only its own; None for staff and the command line."""
    generation: Mapped[int] = mapped_column(default=0)
    """How often its secret was changed. The newest secret contains this number."""
    rotated_at: Mapped[datetime | None]
    """When its secret was last changed. The previous one signs too for a time after that."""
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    disabled_for: Mapped[str | None] = mapped_column(String(7))
    """A `Disabled`."""
    failures: Mapped[int] = mapped_column(default=0)
    """Failed posts since the last one that it accepted."""
    failing_since: Mapped[datetime | None]
    """When the first of them failed."""
    slow: Mapped[bool | None]
    """Whether the last post to it took long; None before the first one."""
    claims: Mapped[int] = mapped_column(BigInteger, default=0)
    """How often a worker claimed it, which identifies a claim."""
    next_at: Mapped[datetime]
    """When it may be posted to again. While a worker has claimed it, this is the end of the lease."""


class WebhookDelivery(Base):
    """An event on its way to an endpoint. What is posted is made from the event."""

    __tablename__ = "webhook_deliveries"

    id: Mapped[int] = mapped_column(_BigId, primary_key=True)
    """In the order in which the events were published."""
    endpoint_id: Mapped[RandomId] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    tries: Mapped[int] = mapped_column(SmallInteger, default=0)
    """How often it was posted."""
    delivered: Mapped[bool | None]
    """Whether the endpoint accepted it, once that is known."""
    due_at: Mapped[datetime] = mapped_column(index=True)
    """When it may be posted, or posted again."""
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index("ix_webhook_deliveries_waiting", "endpoint_id", "due_at", "id", postgresql_where=_WAITING, sqlite_where=_WAITING),
    )


class WebhookAttempt(Base):
    """One post to an endpoint, and what became of it."""

    __tablename__ = "webhook_attempts"

    id: Mapped[int] = mapped_column(_BigId, primary_key=True)
    endpoint_id: Mapped[RandomId] = mapped_column(ForeignKey("webhook_endpoints.id", ondelete="CASCADE"))
    event_id: Mapped[int]
    at: Mapped[datetime] = mapped_column(index=True)
    status: Mapped[int | None] = mapped_column(SmallInteger)
    """The status of the answer; None if there was none."""
    fault: Mapped[str | None] = mapped_column(String(7))
    """An `outgoing.post.Fault`, if there was no answer."""
    took_ms: Mapped[int]

    __table_args__ = (Index("ix_webhook_attempts_newest", "endpoint_id", "id"),)
