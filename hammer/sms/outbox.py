"""The outbox that texts wait in, and the threads that carry them to a gateway.

A verb queues a text in its own transaction and calls `wake()` after it, so no request waits for a gateway. A text is claimed by
moving its `due_at` ahead: should its carrier die, another takes it up. So a text may leave twice, but none is lost. It is put
together when it leaves: nothing here holds a code.
"""

import atexit
import hmac
import logging
import random
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, case, exists, func, literal, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from config import Settings
from hammer import clock, codes
from hammer.db.database import Transaction, db, transaction
from hammer.db.pagination import MOST_PER_PAGE, NO_PLACE, Page
from hammer.db.prepared import insert_row
from hammer.models import Message, MessageState, Verification
from hammer.parsing import phones
from hammer.refusals import InvalidFields, NotFound, Unavailable
from hammer.sms import gateways, messages

if TYPE_CHECKING:
    from flask import Flask

LEASE: Final = timedelta(seconds=15)
"""How long a claim holds; longer than all gateways of a text may take together."""
MOST_TRIES: Final = 8
LONGEST_WAIT: Final = timedelta(seconds=60)
"""Between two tries; before that it doubles from two seconds on. With all tries a text outlasts an outage of three minutes."""
_GIVE_OR_TAKE: Final = 0.25
COUNTED: Final = 1000
_IDLE_SECONDS: Final = 1.0
"""How often a thread looks when nobody calls: for texts of other processes, and for those whose next try has come."""
_AFTER_FAULT_SECONDS: Final = 5.0
_AWAY_SECONDS: Final = 0.2
"""Between two tries to write down that a text has left."""

log = logging.getLogger(__name__)
_news = threading.Event()


def init_app(app: "Flask") -> None:
    """Starts carriers with the first request, in whichever process serves it, or when its server calls what stands in
    `app.extensions`, and lets them finish when it ends of its own accord. Tests deliver by hand. Raises `Misconfigured` if a
    gateway cannot be used. Warns of a host with which texts cost twice."""
    settings: Settings = app.config["SETTINGS"]
    for language, shortcoming in messages.shortcomings(settings).items():
        if shortcoming == messages.IN_TWO_PARTS:
            log.warning("The host of HAMMER_PUBLIC_URL is so long that in %s %s.", language, shortcoming)
    if app.testing or not settings.sms_threads:
        return
    gateways.check(settings)
    carriers = Carriers(app, settings.sms_threads)
    started = threading.Lock()

    def start() -> None:
        if started.acquire(blocking=False):  # by whoever comes first, and never released
            carriers.start()
            atexit.register(carriers.stop)

    app.before_request(start)
    app.extensions["hammer.sms.outbox"] = start


class Carriers:
    """Threads that carry texts until they are told to stop; each then finishes the one in its hands."""

    def __init__(self, app: "Flask", count: int) -> None:
        self._app = app
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._carry, name=f"texts-{n}", daemon=True) for n in range(count)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when no text is on its way any more, or after the longest that one may be."""
        self._stopping.set()
        _news.set()
        until = time.monotonic() + LEASE.total_seconds()
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def _carry(self) -> None:
        while not self._stopping.is_set():
            pause = _IDLE_SECONDS
            try:
                with self._app.app_context():
                    while not self._stopping.is_set() and deliver_next(self._app.config["SETTINGS"]):
                        pass
            except (Unavailable, SQLAlchemyError) as error:
                log.warning("The outbox waits: %s.", type(error).__name__)
                pause = _AFTER_FAULT_SECONDS
            if not self._stopping.is_set() and _news.wait(pause * random.uniform(0.5, 1)):  # noqa: S311  # to come one by one
                _news.clear()


def queue(tx: Transaction, verification: Verification) -> None:
    """Adds a text about `verification` to the outbox, in the caller's transaction."""
    _add(tx, verification_id=verification.id)


def queue_notice(tx: Transaction, telephone_number: str, language: str) -> None:
    """Adds a text to the outbox that tells a number that it opens its account no more, in the caller's transaction."""
    _add(tx, telephone_number=telephone_number, language=language)


def _add(tx: Transaction, **about: str) -> None:
    now = clock.now()
    insert_row(tx, Message, **about, created_at=now, due_at=now, tries=0, state=MessageState.WAITING)


def wake() -> None:
    """Tells the carriers of this process that something was committed for them."""
    _news.set()


def deliver_next(settings: Settings) -> bool:
    """Tries the text that has waited longest; False when none is due."""
    now = clock.now()
    # Further ahead than any wait are those that a clock put there which was ahead itself.
    due = (
        Message.ended_at.is_(None),
        or_(Message.due_at <= now, Message.due_at > now + LONGEST_WAIT * (1 + _GIVE_OR_TAKE) + clock.APART),
    )
    if not db.session.scalar(select(exists().where(*due))):
        return False
    longest = select(Message.id).where(*due).order_by(Message.due_at).limit(1).with_for_update(skip_locked=True)
    with transaction() as tx:
        claim = update(Message).where(Message.id == longest.scalar_subquery()).returning(Message)
        claimed = tx.scalar(claim.values(due_at=now + LEASE, tries=Message.tries + 1))
        if claimed is None:
            return False
        message = _message(tx, settings, claimed)
    gateway = gateways.send(settings, *message, receipt_url(settings, claimed)) if message else None
    if gateway is not None:
        _took(claimed.id, gateway, until=claimed.due_at)
        return True
    with transaction() as tx:
        if message is None or claimed.tries >= MOST_TRIES:
            _give_up(tx, claimed, whoever_wants_it=message is not None)
        else:
            mine = update(Message).where(Message.id == claimed.id, Message.tries == claimed.tries, Message.ended_at.is_(None))
            tx.execute(mine.values(due_at=clock.now() + _wait(claimed.tries)))
    return True


def _message(tx: Transaction, settings: Settings, text: Message) -> tuple[str, str] | None:
    """Where the text goes, and its words; None when nobody waits for it any more, or its carriers died too often."""
    if text.tries > MOST_TRIES:
        return None
    if text.verification_id is None:
        return (text.telephone_number, messages.notice(text.language or "")) if text.telephone_number else None
    verification = tx.get_one(Verification, text.verification_id)
    if verification.consumed_at is not None or not verification.created_at - clock.APART <= clock.now() < verification.expires_at:
        return None
    code = verification.code(settings.key("codes"))
    said = messages.of_code(settings, code, verification.language, for_login=verification.user_id is None)
    return verification.telephone_number, said


def _took(text_id: int, gateway: str, until: datetime) -> None:
    """Whoever else has claimed the text meanwhile: it has left. Its receipt may have been faster than this.

    While the database is away it is tried again as long as the claim holds: a text of which nobody knows that it left leaves twice.
    """
    state = case((Message.state == MessageState.DELIVERED, MessageState.DELIVERED), else_=MessageState.SENT)
    left = {"state": state, "gateway": gateway, "ended_at": clock.now(), "telephone_number": None}
    for more in reversed(range(int(LEASE.total_seconds() / _AWAY_SECONDS))):
        try:
            with transaction() as tx:
                tx.execute(update(Message).where(Message.id == text_id).values(left))
            return
        except (Unavailable, SQLAlchemyError):
            if not more or clock.now() > until:
                raise
            time.sleep(_AWAY_SECONDS)


def _give_up(tx: Transaction, text: Message, *, whoever_wants_it: bool) -> None:
    mine = update(Message).where(Message.id == text.id, Message.tries == text.tries, Message.ended_at.is_(None))
    used = exists().where(Verification.id == text.verification_id, Verification.consumed_at.is_not(None))
    state = MessageState.GIVEN_UP if whoever_wants_it else case((used, MessageState.UNNEEDED), else_=MessageState.GIVEN_UP)
    tx.execute(mine.values(state=state, ended_at=clock.now(), telephone_number=None))
    if whoever_wants_it:
        log.error("Text %d was given up after %d tries.", text.id, text.tries)


def _wait(tries: int) -> timedelta:
    """After so many tries, give or take a quarter: many texts that failed together do not come again together."""
    return min(timedelta(seconds=2**tries), LONGEST_WAIT) * random.uniform(1 - _GIVE_OR_TAKE, 1 + _GIVE_OR_TAKE)  # noqa: S311


def trial(settings: Settings, telephone_number: str) -> Iterator[gateways.Try]:
    """Sends one real text that stands in no outbox, by the first gateway that takes it, and tells how each did."""
    none = Message(id=0, created_at=clock.now())  # gateways want a whole address; what they say there is of no text
    yield from gateways.tries(settings, telephone_number, messages.TRIAL, receipt_url(settings, none))


def receipt_url(settings: Settings, text: Message) -> str:
    """Where a gateway may tell what became of this text. Names no number, and nobody else can make it."""
    # The moment too, since SQLite gives the ids of deleted rows away again.
    about = f"{text.id}.{clock.microseconds(text.created_at)}"
    return f"{settings.public_url}/receipts/{about}.{_signature(settings, about)}/"


def _signature(settings: Settings, about: str) -> str:
    return codes.base64url(hmac.digest(settings.key("receipts"), about.encode(), "sha256"))


_REPORTS: Final = {
    MessageState.DELIVERED: {"1", "delivered", "delivrd"},
    MessageState.FAILED: {"2", "16", "failed", "undelivered", "undeliv", "undeliverable", "rejected", "rejectd", "expired"},
}
"""What gateways say: Kannel by numbers (`%d` of its receipts), others by words. The rest, like `queued`, changes nothing."""


def report(settings: Settings, receipt: str, said: str) -> None:
    """Takes down what a gateway says of the text that the receipt is about, as often as it says so. Refuses with `NotFound` a
    receipt that we did not make, without asking the database."""
    parts = re.fullmatch(r"((\d{1,18})\.(\d{1,17}))\.([\w-]{43})", receipt, re.ASCII)
    if parts is None or not codes.same(parts[4], _signature(settings, parts[1])):
        raise NotFound
    about = (Message.id == int(parts[2]), Message.created_at == clock.at(int(parts[3])))
    state = next((state for state, sayings in _REPORTS.items() if said.strip().lower() in sayings), None)
    if state is None:
        return
    # What has arrived has arrived, and ends the waiting too: its carrier died before it could say so. That one try failed says
    # nothing of a text that is tried again.
    former = [Message.state != MessageState.DELIVERED] if state == MessageState.DELIVERED else [Message.state == MessageState.SENT]
    with transaction() as tx:
        ended = {"state": state, "ended_at": func.coalesce(Message.ended_at, clock.now()), "telephone_number": None}
        tx.execute(update(Message).where(*about, *former).values(ended))


@dataclass(frozen=True)
class Tally:
    """How the outbox stands."""

    newest: dict[tuple[str, str], int]
    """State and gateway (empty before one took it) -> how many of the newest `COUNTED` texts."""
    waiting: int
    oldest_waiting: timedelta
    """For how long the text that has waited longest does; nought if none waits."""


def tally() -> Tally:
    """Costs the same with ten texts and with ten million."""
    newest = (
        select(Message.state, func.coalesce(Message.gateway, "").label("gateway"))
        .order_by(Message.id.desc())
        .limit(COUNTED)
        .subquery()
    )
    fates = db.session.execute(select(newest, func.count()).group_by(newest.c.state, newest.c.gateway))
    waiting, oldest = db.session.execute(select(func.count(), func.min(Message.created_at)).where(Message.ended_at.is_(None))).one()
    waits = max(clock.now() - oldest, timedelta(0)) if waiting else timedelta(0)
    return Tally({(state, gateway): many for state, gateway, many in fates}, waiting, waits)


@dataclass(frozen=True)
class Standing:
    """What staff see of a text: all but its code, and of the number as much as strangers may see."""

    id: int
    telephone_number: str | None
    """Masked; None for a notice that has left."""
    state: str
    gateway: str | None
    tries: int
    asked_at: datetime
    ended_at: datetime | None


def newest(limit: int = MOST_PER_PAGE, *, state: str | None = None, after: str | None = None) -> Page[Standing]:
    """The texts that were asked for last, newest first; of one state alone if it is named. Refuses a bad `after` with
    `InvalidFields`."""
    chosen = select(Message, Verification.telephone_number).outerjoin(Verification, Verification.id == Message.verification_id)
    chosen = chosen.order_by(Message.id.desc()).limit(limit + 1)
    if after is not None:
        if not re.fullmatch(r"\d{1,18}", after, re.ASCII):
            raise InvalidFields({"after": [NO_PLACE]})
        chosen = chosen.where(Message.id < literal(int(after), BigInteger))  # which may be more than there ever will be
    if state is not None:
        chosen = chosen.where(Message.state == state)
    found = [_standing(text, number or text.telephone_number) for text, number in db.session.execute(chosen)]
    return Page(found[:limit], str(found[limit - 1].id) if len(found) > limit else None)


def _standing(text: Message, number: str | None) -> Standing:
    shown = number and phones.masked(number)
    return Standing(text.id, shown, text.state, text.gateway, text.tries, text.created_at, text.ended_at)
