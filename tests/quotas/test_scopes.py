"""The names under which limits are counted. Versions of the program that run at the same time share the counts."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from sqlalchemy import select

from config import Settings
from hammer import clock as time_of_day
from hammer.db.database import db, transaction
from hammer.db.prepared import insert_row
from hammer.login.verifications import Asker
from hammer.models import Counter, SendAllowance
from hammer.quotas import counters
from hammer.quotas.counters import DAY, HOUR, Limit
from hammer.refusals import UnknownInvite, WrongCode
from hammer.sessions import devices
from tests.actions import ANNA, activate, ask, confirm, sign_in, user, wrong

pytestmark = pytest.mark.usefixtures("context")

IPV6 = "2001:db8:1:2::/64"
AROUND = (IPV6, "2001:db8:1::/56", "2001:db8:1::/48")


def scopes() -> set[str]:
    return set(db.session.scalars(select(Counter.scope)))


def test_texts_are_counted_by_system_prefix_and_address(settings: Settings) -> None:
    ask(settings, ANNA, asker=Asker(IPV6, "en"))
    assert scopes() == {
        "texts/hour",
        "texts/day",
        f"texts/prefix/{settings.keyed_hash('prefixes', ANNA[:-4])}",
        *(f"texts/address/{span}/{settings.keyed_hash('addresses', place)}" for span in "hd" for place in AROUND),
    }
    assert db.session.scalars(select(SendAllowance.number_hash)).all() == [settings.number_hash(ANNA)]


def test_texts_of_known_devices_are_counted_separately(settings: Settings) -> None:
    patient = replace(settings, resend_wait=timedelta(0))
    token = devices.token(patient, sign_in(patient, ANNA).device)
    before = scopes()
    ask(patient, ANNA, asker=Asker(IPV6, "en", token))
    assert scopes() - before == {f"texts/known/{settings.keyed_hash('addresses', place)}" for place in AROUND}
    keys = set(db.session.scalars(select(SendAllowance.number_hash)))
    assert keys == {settings.number_hash(ANNA), settings.keyed_hash("numbers of known devices", ANNA)}


def test_guesses_are_counted_by_length_and_number(settings: Settings) -> None:
    asked = ask(settings, ANNA)
    before = scopes()
    with pytest.raises(WrongCode):
        confirm(settings, asked, wrong(settings, asked))
    assert scopes() - before == {"guesses/4", f"guesses/{settings.number_hash(ANNA)}"}


def test_attempts_at_invite_codes_are_counted_by_account_number_and_address(settings: Settings) -> None:
    anna = user(settings, ANNA)
    before = scopes()
    with pytest.raises(UnknownInvite):
        activate(settings, anna.id, "ZZZZZZ", address=IPV6)
    assert scopes() - before == {
        "invites/day",
        f"invites/life/{anna.id}",
        f"invites/number/{settings.number_hash(ANNA)}",
        *(f"invites/address/{settings.keyed_hash('addresses', place)}" for place in AROUND),
    }


@pytest.mark.parametrize(
    ("ahead", "eases_in"),
    [(0, 2), (1, 3), (2, 0), (3, 0), (-1, 1), (-2, 0)],
)
def test_a_limit_eases_when_what_counts_has_expired(ahead: int, eases_in: int) -> None:
    """What was counted `ahead` spans in the future counts if one limit covers both spans."""
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False):
        now, limit = time_of_day.now(), Limit("scope", 3, HOUR, windows=2)
        ends_at = now + HOUR * (ahead + 2)
        with transaction() as tx:
            insert_row(tx, Counter, scope="scope", period=counters.period(HOUR, now) + ahead, taken=3, ends_at=ends_at)
            insert_row(tx, Counter, scope="other", period=counters.period(HOUR, now), taken=3, ends_at=now + DAY)
        assert counters.eases_at(db.session(), limit, now) == now + HOUR * eases_in
        assert counters.used(db.session(), [limit], now) == ({"scope": 3} if eases_in else {})


def test_a_limit_eases_when_enough_of_it_has_expired() -> None:
    with time_machine.travel(datetime(2026, 11, 23, 12, tzinfo=UTC), tick=False):
        now, limit = time_of_day.now(), Limit("scope", 3, HOUR, windows=3)
        with transaction() as tx:
            for back, taken in ((0, 1), (1, 2), (2, 5)):
                period, ends_at = counters.period(HOUR, now) - back, now + HOUR * (3 - back)
                insert_row(tx, Counter, scope="scope", period=period, taken=taken, ends_at=ends_at)
        assert counters.eases_at(db.session(), limit, now) == now + HOUR * 2
        assert counters.eases_at(db.session(), replace(limit, most=9), now) == now
