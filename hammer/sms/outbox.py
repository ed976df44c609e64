"""The outbox: messages that wait to be sent, and the threads that hand them to a gateway.

A verb adds a message in its own transaction and calls `wake_senders` after the commit, so no request waits for a gateway. A message
may be sent twice, but none is lost: see `hammer.db.queue`. Its text is composed when it is sent, so no code is stored here.
"""

import hmac
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, case, exists, func, literal, select, update

from config import Settings
from hammer import clock, codes, measures
from hammer.db import server_clock
from hammer.db.database import Transaction, db, on_commit, transaction
from hammer.db.pagination import MOST_PER_PAGE, NO_PLACE, Page
from hammer.db.prepared import insert_row
from hammer.db.queue import Policy, Queue, Workers, start_with_server
from hammer.models import CodeState, Message, MessageState, Verification
from hammer.parsing import phones
from hammer.refusals import InvalidFields, NotFound
from hammer.sms import gateways, messages
from hammer.tracing import spans

if TYPE_CHECKING:
    from flask import Flask

POLICY: Final = Policy(
    lease=timedelta(seconds=15),  # longer than all gateways together may take for one message
    waits=tuple(timedelta(seconds=seconds) for seconds in (2, 4, 8, 16, 32, 60, 60)),  # enough for an outage of three minutes
)
QUEUE: Final = Queue(Message, POLICY, id=Message.id, due_at=Message.due_at, tries=Message.tries, waiting=Message.ended_at.is_(None))
COUNTED: Final = 1000
"""How many of the newest messages `status` counts."""
FATES: Final = measures.counter(
    "texts",
    "What became of texts. The gateway is empty where none took the text.",
    "gateway",
    "fate",
    known=(("", MessageState.GIVEN_UP), ("", MessageState.UNNEEDED)),
)
SECONDS: Final = measures.histogram(
    "text_seconds",
    "Seconds from the request for a text until a gateway took it.",
    "gateway",
    limits=(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)

_Content = tuple[str, str, datetime | None]

log = logging.getLogger(__name__)


def init_app(app: "Flask") -> None:
    """Checks the gateways and prepares the sender threads. Raises `Misconfigured` if a gateway cannot be used.

    No threads start with `HAMMER_SMS_THREADS=0`, and none in tests, which call `deliver_next`.
    """
    settings: Settings = app.config["SETTINGS"]
    for language, shortcoming in messages.shortcomings(settings).items():
        if shortcoming.endswith(messages.IN_TWO_PARTS):
            log.warning("HAMMER_PUBLIC_URL or HAMMER_NAME is so long that in %s %s.", language, shortcoming)
    if app.testing or not settings.sms_threads:
        return
    gateways.check(settings)
    start_with_server(app, "hammer.sms.outbox", sender_threads(app, settings.sms_threads))


def sender_threads(app: "Flask", count: int) -> Workers:
    """Threads that send the messages of the outbox, not started yet."""
    settings: Settings = app.config["SETTINGS"]
    return Workers(QUEUE, lambda: deliver_next(settings), name="texts", count=count, context=lambda: server_clock.for_workers(app))


def wake_senders() -> None:
    """Wakes the sender threads of this process. Call it after a message was committed."""
    QUEUE.wake()


def add_code(tx: Transaction, verification: Verification, request_id: str | None) -> None:
    """Adds a message with the code of `verification`, for which this request asked."""
    _add(tx, verification_id=verification.id, request_id=request_id)


def add_notice(tx: Transaction, telephone_number: str, language: str, request_id: str | None = None) -> None:
    """Adds a message which says that this number does not open its account any more."""
    _add(tx, telephone_number=telephone_number, language=language, request_id=request_id)


def _add(tx: Transaction, **about: str | None) -> None:
    about["traceparent"] = spans.headers().get(spans.TRACEPARENT)
    insert_row(tx, Message, **about, created_at=clock.now(), due_at=server_clock.now(), tries=0, state=MessageState.WAITING)


def deliver_next(settings: Settings) -> bool:
    """Tries to send the message that has been due for longest. Returns False when none is due."""
    now = server_clock.now()
    if not QUEUE.any_due(now):
        return False
    with transaction() as tx:
        message = QUEUE.claim(tx, now)
        if message is None:
            return False
        content = _content(tx, settings, message)
    traced = {spans.REQUEST_ID: message.request_id, "hammer.text_id": message.id, "hammer.try": message.tries}
    with spans.span("deliver text", "CONSUMER", traced, {spans.TRACEPARENT: message.traceparent}) as span:
        span.add({"hammer.outcome": _deliver(settings, message, content)})
    return True


def _deliver(settings: Settings, message: Message, content: _Content | None) -> str:
    """Tries to send a claimed message. Returns what became of it, in a word."""
    about = _ids(message)
    gateway = None
    if content:
        number, text, expires_at = content
        gateway = gateways.send(settings, number, text, receipt_url(settings, message), expires_at=expires_at, about=about)
    if gateway is not None:
        message_id = message.id
        QUEUE.record(message, lambda tx: _record_sent(tx, message_id, gateway))
        return "sent"
    with transaction() as tx:
        if content is None:
            _end_unsent(tx, message, about)
            return "unsent"
        if QUEUE.is_last_try(message):
            _give_up(tx, message, about)
            return "given up"
        QUEUE.retry_later(tx, message)
        return "tried later"


def _ids(message: Message) -> dict[str, object]:
    """The ids by which log lines name a message: its own, that of its verification, and that of the request which asked for it."""
    verification = message.verification_id and codes.short_id(message.verification_id)
    return {"request_id": message.request_id, "text_id": message.id, "verification": verification}


def _content(tx: Transaction, settings: Settings, message: Message) -> _Content | None:
    """The number and the text of the message, and when its code expires. None if it must not be sent: its code was used or
    has expired, or it was claimed too often by senders that ended before they could record a result."""
    if message.tries > POLICY.most_tries:
        return None
    if message.verification_id is None:
        return (
            (message.telephone_number, messages.notice(settings, message.language or ""), None)
            if message.telephone_number
            else None
        )
    verification = tx.get_one(Verification, message.verification_id)
    if (
        verification.consumed_at is not None
        or not verification.created_at - clock.APART <= server_clock.now() < verification.expires_at
    ):
        return None
    code = verification.code(*settings.keys("codes"))
    text = messages.of_code(settings, code, verification.language, for_login=verification.user_id is None)
    return verification.telephone_number, text, verification.expires_at


def _record_sent(tx: Transaction, message_id: int, gateway: str) -> None:
    """Records that a gateway took the message, even if another sender has claimed it since. A receipt may have come before."""
    state = case((Message.state == MessageState.DELIVERED, MessageState.DELIVERED), else_=MessageState.SENT)
    sent = {"state": state, "gateway": gateway, "ended_at": clock.now(), "telephone_number": None}
    asked_at = tx.scalar(update(Message).where(Message.id == message_id).values(sent).returning(Message.created_at))
    if asked_at is not None:
        seconds = max((sent["ended_at"] - asked_at).total_seconds(), 0.0)
        on_commit(tx, lambda: SECONDS.labels(gateway).observe(seconds))
    _count(tx, gateway, MessageState.SENT)


def _give_up(tx: Transaction, message: Message, about: dict[str, object]) -> None:
    """Ends a message that no gateway took in any of its tries."""
    ended = {"state": MessageState.GIVEN_UP, "ended_at": clock.now(), "telephone_number": None}
    if tx.scalar(update(Message).where(*QUEUE.held(message)).values(ended).returning(Message.id)) is not None:
        _count(tx, None, MessageState.GIVEN_UP)
    log.error("Text %d was given up after %d tries.", message.id, message.tries, extra={"about": about})


def _end_unsent(tx: Transaction, message: Message, about: dict[str, object]) -> None:
    """Ends a message that must not be sent (see `_content`): as `UNNEEDED` if its code was used, otherwise as `GIVEN_UP`."""
    used = exists().where(Verification.id == message.verification_id, Verification.consumed_at.is_not(None))
    state = case((used, MessageState.UNNEEDED), else_=MessageState.GIVEN_UP)
    ended = {"state": state, "ended_at": clock.now(), "telephone_number": None}
    became = tx.scalar(update(Message).where(*QUEUE.held(message)).values(ended).returning(Message.state))
    if became is not None:
        _count(tx, None, became)
    if became == MessageState.UNNEEDED:
        log.info("Text %d is not needed: its code was entered before.", message.id, extra={"about": about})
    elif became is not None:
        log.error("Text %d was given up: it was not sent in time.", message.id, extra={"about": about})


def _count(tx: Transaction, gateway: str | None, fate: str) -> None:
    on_commit(tx, FATES.labels(gateway or "", fate).inc)


def send_test_message(settings: Settings, telephone_number: str) -> Iterator[gateways.Outcome]:
    """Sends a message that is not in the outbox, by the first gateway that takes it. Yields the outcome at each gateway."""
    unstored = Message(id=0, created_at=clock.now())  # gateways need a whole receipt URL; this one belongs to no message
    yield from gateways.outcomes(settings, telephone_number, messages.test_message(settings), receipt_url(settings, unstored))


def receipt_url(settings: Settings, message: Message) -> str:
    """The URL at which a gateway may report what became of this message. It is signed and contains no number."""
    # With the creation time, since SQLite reuses the ids of deleted rows.
    about = f"{message.id}.{clock.microseconds(message.created_at)}"
    return f"{settings.public_url}/receipts/{about}.{_signature(settings.key('receipts'), about)}/"


def _signature(key: bytes, about: str) -> str:
    return codes.base64url(hmac.digest(key, about.encode(), "sha256"))


_STATES: Final = {
    MessageState.DELIVERED: {"1", "delivered", "delivrd"},
    MessageState.FAILED: {"2", "16", "failed", "undelivered", "undeliv", "undeliverable", "rejected", "rejectd", "expired"},
}
"""The statuses that gateways report: numbers from Kannel (`%d` of its receipts), words from others. All others, like `queued`,
change nothing."""


_RECEIVED: Final = {MessageState.DELIVERED: "was delivered", MessageState.FAILED: "was not delivered"}


def record_receipt(settings: Settings, receipt: str, status: str) -> None:
    """Records the status that a gateway reports for the message of `receipt`. May be called repeatedly.

    Refuses a receipt that we did not sign with `NotFound`, without a query.
    """
    parts = re.fullmatch(r"((\d{1,18})\.(\d{1,17}))\.([\w-]{43})", receipt, re.ASCII)
    if parts is None or not any(codes.same(parts[4], _signature(key, parts[1])) for key in settings.keys("receipts")):
        raise NotFound
    state = next((state for state, statuses in _STATES.items() if status.strip().lower() in statuses), None)
    if state is None:
        return
    this_message = (Message.id == int(parts[2]), Message.created_at == clock.at(int(parts[3])))
    # A delivery is final. It also ends a message that still waits: its sender died before it could record that it was sent.
    # A failure only changes a sent message: one that still waits is tried again.
    changeable = Message.state != MessageState.DELIVERED if state == MessageState.DELIVERED else Message.state == MessageState.SENT
    with transaction() as tx:
        ended = {"state": state, "ended_at": func.coalesce(Message.ended_at, clock.now()), "telephone_number": None}
        changed = tx.scalar(update(Message).where(*this_message, changeable).values(ended).returning(Message))
        if changed is not None:
            _count(tx, changed.gateway, state)
    if changed is not None:
        about = _ids(changed) | {"gateway": changed.gateway}
        log.info("A receipt of gateway %s says that a text %s.", changed.gateway, _RECEIVED[state], extra={"about": about})


@dataclass(frozen=True)
class OutboxStatus:
    """How many messages wait, and what became of the newest."""

    newest: dict[tuple[str, str], int]
    """State and gateway (empty before a gateway took it) -> how many of the newest `COUNTED` messages."""
    waiting: int
    oldest_waiting: timedelta
    """How long the oldest waiting message has waited; zero if none waits."""
    last_ended: datetime | None = field(default=None, compare=False)
    """When the last of the newest was sent or given up."""


def status() -> OutboxStatus:
    """Reads a fixed number of rows and those that wait, however many messages are stored."""
    newest = (
        select(Message.state, func.coalesce(Message.gateway, "").label("gateway"), Message.ended_at)
        .order_by(Message.id.desc())
        .limit(COUNTED)
        .subquery()
    )
    states = select(newest.c.state, newest.c.gateway, func.count(), func.max(newest.c.ended_at))
    counts = db.session.execute(states.group_by(newest.c.state, newest.c.gateway)).all()
    waiting, oldest = db.session.execute(select(func.count(), func.min(Message.created_at)).where(Message.ended_at.is_(None))).one()
    waits = max(clock.now() - oldest, timedelta(0)) if waiting else timedelta(0)
    last = max((ended_at for *_, ended_at in counts if ended_at), default=None)
    return OutboxStatus({(state, gateway): count for state, gateway, count, _ in counts}, waiting, waits, last)


@dataclass(frozen=True)
class MessageStatus:
    """What staff see of a message: not its code, and only a part of its number."""

    id: int
    telephone_number: str | None
    """Masked; None for a notice that was sent."""
    state: str
    gateway: str | None
    tries: int
    asked_at: datetime
    due_at: datetime
    ended_at: datetime | None
    code: CodeState | None
    """What became of the code; None for a notice."""
    verification: str | None
    """The shortened id of the verification whose code it has, as in the log; None for a notice."""
    request_id: str | None
    """The request that asked for it, as in the log; None for one by the command line."""


def newest(
    settings: Settings,
    limit: int = MOST_PER_PAGE,
    *,
    state: str | None = None,
    after: str | None = None,
    numbers: Sequence[str] | None = None,
) -> Page[MessageStatus]:
    """The newest messages, newest first; only those in `state`, and only those with codes for `numbers`, if they are given. Refuses
    a bad `after` with `InvalidFields`."""
    chosen = select(Message, Verification).outerjoin(Verification, Verification.id == Message.verification_id)
    chosen = chosen.order_by(Message.id.desc()).limit(limit + 1)
    if numbers is not None:
        chosen = chosen.where(Verification.telephone_number.in_(numbers))
    if after is not None:
        if not re.fullmatch(r"\d{1,18}", after, re.ASCII):
            raise InvalidFields({"after": [NO_PLACE]})
        chosen = chosen.where(Message.id < literal(int(after), BigInteger))  # may be larger than the type of the column
    if state is not None:
        chosen = chosen.where(Message.state == state)
    found = [status_of(settings, message, verification) for message, verification in db.session.execute(chosen)]
    return Page(found[:limit], str(found[limit - 1].id) if len(found) > limit else None)


def status_of(settings: Settings, message: Message, verification: Verification | None) -> MessageStatus:
    """What staff see of this message with the code of this verification, or of this notice."""
    number = verification.telephone_number if verification else message.telephone_number
    return MessageStatus(
        id=message.id,
        telephone_number=number and phones.masked(number),
        state=message.state,
        gateway=message.gateway,
        tries=message.tries,
        asked_at=message.created_at,
        due_at=message.due_at,
        ended_at=message.ended_at,
        code=verification.state(settings.guesses_per_code, clock.now()) if verification else None,
        verification=codes.short_id(verification.id) if verification else None,
        request_id=message.request_id,
    )
