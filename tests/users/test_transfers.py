"""Users of files, at the verbs: what a dry run says is what an import does, and what is in an export."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from time_machine import Traveller

from config import Settings
from hammer import events
from hammer.db.database import db
from hammer.models import Event
from hammer.refusals import InvalidFields, Refusal, TelephoneNumberTaken, UsernameTaken
from hammer.users import accounts, files, people, transfers
from hammer.users.transfers import NewUser
from tests.actions import ANNA, BORIS, CLARA, number, user

pytestmark = pytest.mark.usefixtures("context")


def new(settings: Settings, telephone_number: str, **columns: Any) -> NewUser:
    return transfers.read(settings, {"number": telephone_number, **columns})


def kinds(answers: Sequence[Refusal | None]) -> list[type | None]:
    return [None if answer is None else type(answer) for answer in answers]


def test_a_dry_run_answers_what_an_import_does(settings: Settings) -> None:
    anna = user(settings, ANNA)
    accounts.change(anna.id, {"username": "anna"})
    rows = [
        new(settings, ANNA),
        new(settings, ANNA, username="anna", invite_code=anna.invite_code),
        new(settings, BORIS, username="ANNA"),
        new(settings, BORIS, invite_code=anna.invite_code.lower()),
        new(settings, CLARA, username="clara", invite_code="ABC123"),
    ]
    said = transfers.check(rows)
    assert kinds(said) == [TelephoneNumberTaken, TelephoneNumberTaken, UsernameTaken, InvalidFields, None]
    assert kinds(transfers.add(rows)) == kinds(said)
    assert people.profile(settings, people.find(settings, "clara")).invite_code == "ABC123"
    assert kinds(transfers.add(rows[-1:])) == kinds(transfers.check(rows[-1:])) == [TelephoneNumberTaken]


def test_of_two_users_with_one_invite_code_in_a_batch_the_first_is_added(settings: Settings) -> None:
    rows = [new(settings, number(n), invite_code="ABC123") for n in range(2)]
    assert kinds(transfers.add(rows)) == [None, InvalidFields]
    assert [profile.telephone_number for profile in people.everyone(settings).items] == [number(0)]


def test_an_empty_batch_does_nothing() -> None:
    assert transfers.check([]) == transfers.add([]) == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2024-01-05", datetime(2024, 1, 5, tzinfo=UTC)),
        (" 2024-01-05 10:00:00.123456+00 ", datetime(2024, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2024-01-05T10:00:00Z", datetime(2024, 1, 5, 10, tzinfo=UTC)),
        ("2024-01-05T10:00:00+03:00", datetime(2024, 1, 5, 7, tzinfo=UTC)),
        ("1970-01-01", datetime(1970, 1, 1, tzinfo=UTC)),
        ("", None),
    ],
)
def test_a_moment_is_iso_8601_and_in_utc_without_a_zone(settings: Settings, written: str, read: datetime | None) -> None:
    found = new(settings, ANNA, joined_at=written, blocked_at=written)
    assert (found.date_joined, found.blocked_at) == (read, read)


@pytest.mark.parametrize(
    "written", ["yesterday", "1486324545000", "1969-12-31", "0001-01-01T00:00:00+14:00", "9999-12-31", "٢٠٢٤-01-05"]
)
def test_another_moment_is_refused(settings: Settings, written: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        new(settings, ANNA, joined_at=written)
    assert set(refused.value.errors) == {"joined_at"}


def test_a_moment_that_is_still_to_come_is_refused(settings: Settings, clock: Traveller) -> None:
    now = datetime.now(UTC)
    assert new(settings, ANNA, joined_at=now.isoformat()).date_joined == now
    with pytest.raises(InvalidFields):
        new(settings, ANNA, joined_at=(now + timedelta(minutes=1)).isoformat())


@pytest.mark.parametrize("code", ["abc12", "abc1234", "АВС123", "abc-12", "ａbc123"])
def test_an_invite_code_has_six_latin_letters_or_digits(settings: Settings, code: str) -> None:
    with pytest.raises(InvalidFields) as refused:
        new(settings, ANNA, invite_code=code)
    assert set(refused.value.errors) == {"invite_code"}


@pytest.mark.requirement("LOG-01")
def test_an_export_is_noted_before_its_first_user_and_leaves_out_who_was_deleted(settings: Settings) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    accounts.delete(settings, boris.id)
    rows = transfers.everyone()
    first = next(rows)
    assert db.session.query(Event).filter_by(kind=events.Kind.USERS_EXPORTED).count() == 1
    assert (first["id"], list(rows)) == (anna.id, [])
    assert tuple(first) == files.EXPORTED
