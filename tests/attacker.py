"""Somebody who takes accounts over by guessing: with as many numbers, addresses, texts and threads as they like, and all the time.

They play the real verbs on a real database, on a clock that the test moves. They are never lucky: each guess is wrong on purpose,
so that the figure does not hang on chance. What luck would have brought follows exactly from the comparisons that were made: a code
of D values that stood k guesses would have been hit with k/D, and since a hit gives its guesses back, for each code that stood
there would have been (k/D) / (1 - k/D) = k/(D-k) that fell.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import local

import pytest
from flask import Flask
from time_machine import Traveller

from config import Settings
from hammer import clock, codes
from hammer.db.database import db
from hammer.login import by_code
from hammer.login.by_code import SignedIn
from hammer.login.verifications import Asker
from hammer.models import SessionKind, Verification
from hammer.refusals import NotFound, Refusal, TooManyRequests, Unavailable, WrongCode
from hammer.sessions import devices
from hammer.users import accounts
from tests.actions import right
from tests.serving import at_once

DAY = timedelta(days=1)


@dataclass
class Ledger:
    """Every comparison of a code that was made, and what became of it."""

    verifications: dict[str, Verification] = field(default_factory=dict)
    compared: dict[str, list[datetime]] = field(default_factory=lambda: defaultdict(list))
    proven: set[str] = field(default_factory=set)
    victims: set[str] = field(default_factory=set)
    _at: local = field(default_factory=local)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts where the comparison itself is made, whatever stands before it."""
        same = codes.same

        def seen(one: str, other: str) -> bool:
            verification = getattr(self._at, "verification", None)
            if verification is not None and len(one) == len(other) == verification.code_length:
                self.compared[verification.id].append(clock.now())
            return same(one, other)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(codes, "same", seen)
            yield

    @contextmanager
    def about(self, verification: Verification) -> Iterator[None]:
        self.verifications[verification.id] = verification
        self._at.verification = verification
        try:
            yield
        finally:
            self._at.verification = None

    def never_given_back(self) -> Counter[tuple[int, int]]:
        """(Digits, day) -> comparisons by strangers that no success of the same verification made undone."""
        return Counter(
            (self.verifications[name].code_length, (moment - datetime(1970, 1, 1, tzinfo=UTC)) // DAY)
            for name, moments in self.compared.items()
            if name not in self.proven and self.verifications[name].device_id is None
            for moment in moments
        )

    def at_each_number(self) -> dict[str, Counter[int]]:
        """Number -> digits -> the same comparisons."""
        found: dict[str, Counter[int]] = defaultdict(Counter)
        for name, moments in self.compared.items():
            verification = self.verifications[name]
            if name not in self.proven and verification.device_id is None:
                found[verification.telephone_number][verification.code_length] += len(moments)
        return found

    def takeovers(self) -> float:
        """How many victims' accounts are expected to have fallen."""
        return sum(
            len(moments) / (10.0 ** self.verifications[name].code_length - len(moments))
            for name, moments in self.compared.items()
            if self.verifications[name].telephone_number in self.victims
        )


class Attacker:
    def __init__(self, app: Flask, settings: Settings, time: Traveller) -> None:
        self.app, self.settings, self.time = app, settings, time
        self.ledger = Ledger()
        self.moves: dict[str, SignedIn] = {}
        """Verifications by which an account of one's own would get somebody's number."""
        self._numbers = count()

    def victim(self) -> str:
        """A number that somebody else holds and nobody was attacked at yet."""
        number = f"+7920{next(self._numbers):07d}"
        self.ledger.victims.add(number)
        return number

    def own(self) -> str:
        """A number whose texts the attacker reads."""
        return f"+7931{next(self._numbers):07d}"

    def open(self, number: str, device_token: str | None = None) -> Verification | None:
        """A verification of the number, asked for from a new address; None when it is refused."""
        n = next(self._numbers)
        try:
            asker = Asker(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "en", device_token)
            return by_code.send_code(self.settings, number, asker).verification
        except (TooManyRequests, Unavailable):
            return None

    def hoard(self, most: int, length: int | None = None) -> list[Verification]:
        """Verifications of as many victims, opened before anything is guessed; of this length, if one is named."""
        opened = (self.open(self.victim()) for _ in range(most))
        return [v for v in opened if v is not None and length in (None, v.code_length)]

    def guess(self, verification: Verification) -> bool:
        """A guess at it that was not made before; whether there are more to make."""
        tried = len(self.ledger.compared[verification.id])
        shift = 1 + tried
        code = str((int(right(self.settings, verification)) + shift) % 10**verification.code_length)
        with self.ledger.about(verification):
            try:
                self._show(verification, code.zfill(verification.code_length))
            except WrongCode as no:
                return no.attempts_left > 0
            except Refusal:
                return False
        raise AssertionError("A wrong code signed in.")

    def exhaust(self, opened: Sequence[Verification]) -> None:
        """All guesses at all of them, in turns: the first of each, then the second."""
        living = list(opened)
        while living:
            living = [verification for verification in living if self.guess(verification)]

    def prove(self, verification: Verification) -> SignedIn | None:
        """Signs in with the code that was read on a phone of one's own; None when it is refused."""
        with self.ledger.about(verification):
            try:
                came = self._show(verification, right(self.settings, verification))
            except WrongCode:
                return None
        self.ledger.proven.add(verification.id)
        return came

    def _show(self, verification: Verification, code: str) -> SignedIn:
        """At the door that the verification was asked for at."""
        if mover := self.moves.get(verification.id):
            accounts.change_number(self.settings, mover.user.id, mover.session.id, verification.id, code)
            return mover
        return by_code.confirm_code(
            self.settings, verification.id, code, kind=SessionKind.PROGRAM, device="attacker", address="10.0.0.1"
        )

    def move(self, mover: SignedIn, number: str) -> Verification | None:
        """A verification by which an account of one's own would get this number; None when it is refused."""
        n = next(self._numbers)
        asker = Asker(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", "en", devices.token(self.settings, mover.device))
        try:
            verification = accounts.ask_number(self.settings, mover.user.id, mover.session.id, number, asker).verification
        except (TooManyRequests, Unavailable):
            return None
        self.moves[verification.id] = mover
        return verification

    def join(self) -> SignedIn | None:
        """A new account of one's own; None while no text can be had."""
        verification = self.open(self.own())
        return self.prove(verification) if verification else None

    def device_token(self) -> tuple[str, str]:
        """A number of one's own, and the token of a device that is known for it."""
        came = self.join()
        if not came:
            return self.own(), ""
        return str(came.user.telephone_number), devices.token(self.settings, came.device)

    def resend(self, verification: Verification) -> bool:
        try:
            by_code.resend_code(self.settings, verification.id, Asker("10.0.0.1", "en"))
        except (NotFound, TooManyRequests, Unavailable):
            return False
        return True

    def at_once(self, deeds: Sequence[Callable[[], object]]) -> None:
        """Each in a thread with a connection of its own."""

        def alone(deed: Callable[[], object]) -> Callable[[], object]:
            def run() -> object:
                with self.app.app_context():
                    try:
                        return deed()
                    finally:
                        db.session.remove()

            return run

        at_once([alone(deed) for deed in deeds])

    def wait_until(self, hour: int, minute: int = 0, second: int = 0) -> None:
        """Until the clock next shows this."""
        now = clock.now()
        then = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
        self.time.move_to(then if then > now else then + DAY)
