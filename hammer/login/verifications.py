"""Verifications: proofs that a person holds a number, by a one-time code that was sent to it. The steps of logins and of number
changes.

A verification is *live* while its code can be accepted. It is *over* when the code was used or has expired, or when no guesses are
left.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update

from config import CODE_LENGTHS, Settings
from hammer import clock, codes, events, measures
from hammer.clients import registry
from hammer.db.database import Transaction, db, on_commit
from hammer.db.prepared import insert_row, prepared
from hammer.login import test_numbers
from hammer.models import Client, SendAllowance, Verification
from hammer.parsing import phones
from hammer.quotas import guesses, idempotency, texts
from hammer.refusals import N_, REQUIRED, InvalidFields, NotFound, Refusal, WrongCode
from hammer.sessions import devices
from hammer.sms import outbox

GUESSES: Final = measures.counter(
    "guesses",
    "Codes that were entered: right, wrong, not compared because a limit on guesses was spent, or without a live code.",
    "digits",
    "fate",
    known=[(str(digits), fate) for digits in CODE_LENGTHS for fate in ("right", "wrong", "spent", "not-live")],
)
LOGIN: Final = "login"
CHANGE_NUMBER: Final = "change-number"
NOT_DIGITS = N_("Enter the 4 to 8 digits from the text.")
OF_LENGTH: Final = {
    4: N_("The code in the text is 4 digits. Please enter them alone."),
    6: N_("The code in the text is 6 digits. Please enter them alone."),
    8: N_("The code in the text is 8 digits. Please enter them alone."),
}
_DEMO_CANDIDATES: Final = 1000
"""Number of the newest live verifications that `meant_in_demo` compares."""

TAKE_GUESS: Final = prepared(
    update(Verification)
    .where(
        Verification.id == bindparam("verification"),
        Verification.purpose == bindparam("good_for"),
        Verification.user_id.is_not_distinct_from(bindparam("user")),
        Verification.consumed_at.is_(None),
        Verification.expires_at > bindparam("now"),
        Verification.created_at <= bindparam("latest"),
        Verification.guesses < bindparam("most"),
        Verification.code_length == bindparam("length"),
    )
    .values(guesses=Verification.guesses + 1)
    .returning(Verification)
)
CONSUME: Final = prepared(
    update(Verification)
    .where(Verification.id == bindparam("verification"), Verification.consumed_at.is_(None))
    .values(consumed_at=bindparam("now"))
)


@dataclass(frozen=True)
class CodeSent:
    """A verification whose code was sent, and what its caller should know."""

    verification: Verification
    expires_in: int
    """Seconds."""
    resend_in: int
    """Seconds until another message may be asked for."""
    quotas: Sequence[texts.Quota] = ()
    """What is left of the limits on messages, if one was sent by this call."""


@dataclass(frozen=True)
class Asker:
    """Who asks for a code: the address (IPv4, or an IPv6 network of 64 bits), the language, and the token of a known device."""

    address: str
    language: str
    device_token: str | None = None
    client: Client | None = None
    """The client that asks for its user. The address is then the one that it states."""
    device: str | None = None
    """A rough description of the user's device, if the client states it."""


def begin(
    tx: Transaction,
    settings: Settings,
    number: str,
    asker: Asker,
    *,
    purpose: str = LOGIN,
    user_id: str | None = None,
    invite_code: str | None = None,
) -> CodeSent:
    """A new verification of the number (E.164); the message with its code is in the outbox. The answer does not depend on whether
    the number has a user.

    The id is random, not computed from the request: a computed id could come again, and with it a code that was used before. The
    code is longer than usual after many wrong guesses, except for a known device. A test number gets no message.

    Raises `TooManyRequests` and `Unavailable`: the whole request is rolled back.
    """
    now = clock.now()
    fixed = test_numbers.code(tx, settings, number, now) if purpose == LOGIN else None
    device_id = None
    if asker.device_token and fixed is None:  # guesses at a fixed code are always counted for its number
        device_id = devices.known(tx, settings, asker.device_token, number, now)
    length = settings.code_length
    if device_id is None:
        lengths = CODE_LENGTHS if fixed is None else (len(fixed),)
        length = guesses.next_length(tx, settings, settings.number_hashes(number), now, lengths)
    taken = texts.take(tx, settings, number, address=asker.address, client=asker.client, known=device_id is not None, now=now)
    verification = insert_row(
        tx,
        Verification,
        id=codes.marked_id(settings.key("codes")),
        telephone_number=number,
        purpose=purpose,
        code_length=length,
        guesses=0,
        user_id=user_id,
        device_id=device_id,
        client_id=asker.client.id if asker.client else None,
        device=asker.device,
        language=asker.language,
        invite_code=invite_code,
        created_at=now,
        expires_at=now + settings.code_ttl,
    )
    if fixed is None:
        _send(tx, verification)
    texts.take_of_system(tx, settings, known=device_id is not None, now=now)
    return _code_sent(verification, taken.next_send_at, now, taken.quotas)


def ask_once(tx: Transaction, settings: Settings, key: idempotency.Key | None, ask: Callable[[], CodeSent]) -> CodeSent:
    """The result of `ask`. A request that is repeated with its key gets the verification of the first request, with the present
    waits, and sends no message."""
    stored = idempotency.claim(tx, key)
    verification = tx.get(Verification, stored["verification"]) if stored else None
    if verification is not None:
        return _as_it_is_now(tx, settings, verification, clock.now())
    sent = ask()
    idempotency.keep(tx, key, verification=sent.verification.id)
    return sent


def resend(tx: Transaction, settings: Settings, verification_id: str, asker: Asker) -> CodeSent:
    """Sends the same code once more: same expiry, same number of guesses left. A test number gets no message.

    Raises `NotFound` when the verification is over, when codes of its length are void by now, or when the device that asked for it
    is not known any more; and the refusals of `begin`.
    """
    now = clock.now()
    verification = tx.get(Verification, verification_id)
    if verification is None or not is_live(settings, verification, now):
        raise NotFound
    number, known = verification.telephone_number, verification.device_id is not None
    if verification.device_id is not None and not devices.may_guess(tx, verification.device_id):
        raise NotFound
    if not known and guesses.next_length(tx, settings, settings.number_hashes(number), now) > verification.code_length:
        raise NotFound
    taken = texts.take(tx, settings, number, address=asker.address, client=asker.client, known=known, now=now)
    if fixed_code(tx, settings, verification, now) is None:
        _send(tx, verification)
    texts.take_of_system(tx, settings, known=known, now=now)
    return _code_sent(verification, taken.next_send_at, now, taken.quotas)


def find(verification_id: str) -> Verification | None:
    """The verification, which may be over; None for an unknown id, or when the verification was deleted after its end."""
    # PostgreSQL refuses NUL characters in a value, and no id has one.
    return None if "\0" in verification_id else db.session.get(Verification, verification_id)


def pending(settings: Settings, verification_id: str) -> CodeSent | None:
    """The live verification with this id, with the present waits; None when it is over. Changes nothing."""
    now = clock.now()
    verification = find(verification_id)
    if verification is None or not is_live(settings, verification, now):
        return None
    return _as_it_is_now(db.session(), settings, verification, now)


def guess(
    tx: Transaction,
    settings: Settings,
    verification_id: str,
    code: str,
    *,
    purpose: str = LOGIN,
    user_id: str | None = None,
    key: idempotency.Key | None = None,
    now: datetime | None = None,
) -> Verification | Refusal:
    """Takes a guess, compares it with the code, and consumes the code if it is right.

    Returns the verification that was proved, or the refusal. The caller raises the refusal after its transaction: raised inside,
    it would roll the guess back, and a code could be guessed without end. A refusal is stored with the `key`; the key is freed when
    no code was compared.

    `WrongCode` means a code that is wrong, expired, consumed, unknown, void, or meant for another purpose or user. `InvalidFields`
    means input that cannot be the code; no guess is taken for it.
    """
    now, typed = now or clock.now(), codes.read_one_time_code(code)
    guess = _take_guess(tx, settings, verification_id, typed, purpose, user_id, now) if typed else None
    if guess is None or typed is None:
        idempotency.free(tx, key)
        return _why_not_compared(tx, settings, verification_id, typed, now)
    verification, taken = guess
    right = fixed_code(tx, settings, verification, now) or verification.code(*settings.keys("codes"))
    if not codes.same(typed, right):
        refusal = WrongCode(attempts_left=settings.guesses_per_code - verification.guesses)
        idempotency.keep_refusal(tx, key, refusal)
        _count(tx, typed, "wrong")
        return refusal
    _count(tx, typed, "right")
    CONSUME.execute(tx, verification=verification_id, now=now)
    guesses.give_back(tx, verification, taken, now)
    texts.end_wait(tx, settings, verification.telephone_number, known=verification.device_id is not None, now=now)
    return verification


def fixed_code(tx: Transaction, settings: Settings, verification: Verification, now: datetime) -> str | None:
    """The code from the settings that this verification takes instead of its own; None unless it is a login of a test number.

    None also for a verification of a known device: its guesses are not counted for the number.
    """
    if verification.purpose != LOGIN or verification.device_id is not None:
        return None
    return test_numbers.code(tx, settings, verification.telephone_number, now)


def shown_in_demo(settings: Settings, verification: Verification) -> str | None:
    """The code as demo mode shows it; None outside demo mode, and for a test number, whose code is in the settings alone."""
    if not settings.demo or fixed_code(db.session(), settings, verification, clock.now()):
        return None
    return verification.code(*settings.keys("codes"))


def _send(tx: Transaction, verification: Verification) -> None:
    outbox.add_code(tx, verification, events.request_id.get())
    events.note(tx, events.Kind.CODE_SENT, verification.user_id)


def _take_guess(
    tx: Transaction, settings: Settings, verification_id: str, typed: str, purpose: str, user_id: str | None, now: datetime
) -> tuple[Verification, guesses.Taken] | None:
    """The verification, with one more guess taken, and which limits gave it; None when no guess can be taken.

    A guess is also taken from the known device that asked for the code, or else from the limits of the number and of the whole
    system. When one of those is spent, the code is void. What a device gives is not given back, so it is no limit here.
    """
    asked = {"verification": verification_id, "good_for": purpose, "user": user_id, "length": len(typed)}
    most, latest = settings.guesses_per_code, now + clock.APART
    verification = TAKE_GUESS.row(tx, Verification, **asked, most=most, now=now, latest=latest)
    if verification is None:
        _count(tx, typed, "not-live")
        return None
    _is_about(verification)
    if verification.device_id is not None:
        if verification.client_id is not None:  # locked before the device, as by the end of a client; a login asks again
            registry.may_sign_in(tx, verification.client_id)
        taken: guesses.Taken | None = () if devices.take(tx, verification.device_id) else None
    else:
        taken = guesses.take(tx, settings, verification, settings.number_hashes(verification.telephone_number), now)
    if taken is not None:
        return verification, taken
    tx.execute(update(Verification).where(Verification.id == verification_id).values(guesses=most))
    events.note(tx, events.Kind.GUESSES_SPENT)
    _count(tx, typed, "spent")
    return None


def _count(tx: Transaction, typed: str, fate: str) -> None:
    on_commit(tx, GUESSES.labels(str(len(typed)), fate).inc)


def _why_not_compared(tx: Transaction, settings: Settings, verification_id: str, typed: str | None, now: datetime) -> Refusal:
    """The refusal when no guess was taken. For a live code it tells the right length; it never tells why a code is not live."""
    verification = tx.get(Verification, verification_id)
    if verification is not None:
        _is_about(verification)
    if verification is not None and is_live(settings, verification, now) and len(typed or "") != verification.code_length:
        return InvalidFields({"code": [OF_LENGTH[verification.code_length]]})
    return WrongCode(attempts_left=0) if typed else InvalidFields({"code": [NOT_DIGITS]})


def meant_in_demo(settings: Settings, code: str, telephone_number: str | None = None) -> str:
    """The id of the live login with this code, for callers in demo mode that send no `verification_id`. Demo mode shows codes
    anyway.

    With a number, only the logins of that number are searched. If none of them has the code, the newest is returned, so that the
    wrong guess counts. Without a number, the answer is an empty string, which is no id, when no login or several have
    the code.

    Refuses with `InvalidFields` when the input cannot be a code. Also refuses every call outside demo mode: two logins may have the
    same code, and the caller could be signed in as another person.
    """
    if not settings.demo:
        raise InvalidFields({"verification_id": [REQUIRED]})
    typed = codes.read_one_time_code(code)
    if typed is None:
        raise InvalidFields({"code": [NOT_DIGITS]})
    now = clock.now()
    live = select(Verification).where(
        Verification.purpose == LOGIN,
        Verification.consumed_at.is_(None),
        Verification.expires_at > now,
        Verification.created_at <= now + clock.APART,
    )
    if telephone_number is not None:
        number = phones.read(settings, telephone_number)
        live = live.where(Verification.telephone_number == number)
    found = db.session.scalars(live.order_by(Verification.created_at.desc()).limit(_DEMO_CANDIDATES)).all()
    matching = [v for v in found if v.code(*settings.keys("codes")) == typed]
    if telephone_number is not None and found:
        return (matching or found)[0].id
    return matching[0].id if len(matching) == 1 else ""


def is_live(settings: Settings, verification: Verification, now: datetime) -> bool:
    """Whether its code can still be accepted. A verification with a creation time in the future, from a clock that was wrong, is
    not live: its code would be valid for too long."""
    spent = verification.consumed_at is not None or verification.guesses >= settings.guesses_per_code
    return not spent and verification.created_at - clock.APART <= now < verification.expires_at


def _is_about(verification: Verification) -> None:
    """Adds the verification to the log line of the request."""
    events.verification.set(codes.short_id(verification.id))


def _as_it_is_now(tx: Transaction, settings: Settings, verification: Verification, now: datetime) -> CodeSent:
    """A verification of an earlier request, with the present waits."""
    keys = texts.allowance_keys(settings, verification.telephone_number, known=verification.device_id is not None)
    next_send_at = max(texts.next_send_at(tx.get(SendAllowance, key), now) for key in keys)
    return _code_sent(verification, next_send_at, now)


def _code_sent(verification: Verification, next_send_at: datetime, now: datetime, quotas: Sequence[texts.Quota] = ()) -> CodeSent:
    _is_about(verification)
    expires_in, resend_in = clock.seconds_until(verification.expires_at, now), clock.seconds_until(next_send_at, now)
    return CodeSent(verification, expires_in, resend_in, quotas)
