"""Metadata of users: what is accepted, how it is stored, and that it goes with its user."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import Settings
from hammer import events
from hammer.db.database import db
from hammer.models import User
from hammer.refusals import InvalidFields, NotFound, UsernameTaken
from hammer.users import accounts, exports, metadata, people
from tests.actions import ANNA, BORIS, STRANGER_ID, everything_stored, staff_member, user
from tests.test_events import Noted, Trail, trail

__all__ = ["trail"]

in_context = pytest.mark.usefixtures("context")
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


def nested(levels: int, innermost: Callable[[], object] = dict) -> Any:
    """Objects in objects, `levels` deep."""
    value: Any = innermost()
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def said(given: Any) -> list[str]:
    """The sentences of the refusal; empty if it is accepted."""
    try:
        metadata.read(given)
    except InvalidFields as no:
        return list(no.errors["metadata"])
    return []


def test_it_is_stored_as_compact_json_and_an_empty_object_as_nothing() -> None:
    assert metadata.read({"plan": "про", "seats": [1, 2.5, None, True]}) == '{"plan":"про","seats":[1,2.5,null,true]}'
    assert metadata.read({}) is None


@pytest.mark.parametrize("letter", ["a", "я", "🔨"])
def test_4096_bytes_are_accepted_and_one_more_is_refused(letter: str) -> None:
    around, size = len('{"a":""}'), len(letter.encode())
    letters, rest = divmod(metadata.MOST_BYTES - around, size)
    largest = {"a": letter * letters + "x" * rest}
    assert len((metadata.read(largest) or "").encode()) == 4096
    assert said({"a": largest["a"] + "x"}) == [metadata.TOO_LARGE]


@pytest.mark.parametrize("innermost", [dict, list])
def test_eight_levels_are_accepted_and_nine_refused(innermost: Callable[[], object]) -> None:
    assert said(nested(8, innermost)) == []
    assert said(nested(9, innermost)) == [metadata.TOO_DEEP]
    assert said(nested(50_000, innermost)) == [metadata.TOO_DEEP]


@pytest.mark.parametrize("bad", ["a\0b", "\ud800", float("nan"), float("inf"), float("-inf")], ids=ascii)
def test_what_no_json_text_holds_is_refused_wherever_it_is(bad: Any) -> None:
    for given_ in ({"a": bad}, {"a": [bad]}, {"a": {"b": [1, bad]}}, {bad: 1} if isinstance(bad, str) else {"a": bad}):
        assert said(given_) == [metadata.NOT_JSON]


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), json_values, max_size=4))
def test_what_is_accepted_is_read_as_it_was_given(value: dict[str, Any]) -> None:
    if said(value) == []:
        assert json.loads(metadata.read(value) or "{}") == value


# At the verbs


@in_context
def test_metadata_given_replaces_the_whole_object_and_metadata_not_given_stays(settings: Settings) -> None:
    anna = user(settings)
    assert people.profile(settings, anna.id).metadata == {}
    accounts.change(anna.id, {}, {"plan": "pro", "seats": 3})
    accounts.change(anna.id, {"first_name": "Анна"})
    assert people.profile(settings, anna.id).metadata == {"plan": "pro", "seats": 3}
    accounts.change(anna.id, {"last_name": "К"}, {"plan": "free"})
    profile = people.profile(settings, anna.id)
    assert (profile.metadata, profile.first_name, profile.last_name) == ({"plan": "free"}, "Анна", "К")
    accounts.change(anna.id, {}, {})
    assert people.profile(settings, anna.id).metadata == {}


@in_context
def test_names_and_metadata_change_together_or_not_at_all(settings: Settings, trail: Trail) -> None:
    anna, boris = user(settings, ANNA), user(settings, BORIS)
    accounts.change(boris.id, {"username": "boris"})
    trail.new()
    for names, given_ in (
        ({"username": "boris"}, {"plan": "pro"}),
        ({"first_name": "A"}, nested(9)),
        ({"username": "1"}, {"a": 1}),
    ):
        with pytest.raises((UsernameTaken, InvalidFields)):
            accounts.change(anna.id, names, given_)
    profile = people.profile(settings, anna.id)
    assert (profile.metadata, profile.first_name, profile.username) == ({}, "", "")
    assert trail.new() == []


@in_context
@pytest.mark.requirement("LOG-01")
def test_the_trail_says_that_metadata_were_changed_and_not_what_they_are(settings: Settings, trail: Trail) -> None:
    anna, boris = user(settings, ANNA), staff_member(settings, BORIS)
    trail.new()
    accounts.change(anna.id, {}, {"secret": "sesame"}, actor_id=boris.id)
    assert trail.new() == [Noted(events.Kind.USER_METADATA_CHANGED, anna.id, boris.id)]
    accounts.change(anna.id, {"first_name": "A"}, {"secret": "sesame"})
    assert trail.new() == [Noted(events.Kind.USER_RENAMED, anna.id), Noted(events.Kind.USER_METADATA_CHANGED, anna.id)]
    assert sum("sesame" in value for value in everything_stored()) == 1


@in_context
def test_a_new_user_may_have_metadata(settings: Settings) -> None:
    made = accounts.create(settings, ANNA, {}, {"plan": "pro"})
    assert people.profile(settings, made).metadata == {"plan": "pro"}


@in_context
@pytest.mark.requirement("PRV-02")
def test_the_export_contains_the_metadata(settings: Settings) -> None:
    anna = user(settings)
    accounts.change(anna.id, {}, {"plan": "pro"})
    assert exports.export(settings, anna.id)["profile"]["metadata"] == {"plan": "pro"}


@in_context
@pytest.mark.requirement("PRV-03")
def test_a_deletion_takes_the_metadata_along(settings: Settings) -> None:
    anna = user(settings)
    accounts.change(anna.id, {}, {"plan": "sesame"})
    accounts.delete(settings, anna.id)
    assert db.session.get_one(User, anna.id, populate_existing=True).app_metadata is None
    assert not any("sesame" in value for value in everything_stored())
    with pytest.raises(NotFound):
        accounts.change(anna.id, {}, {"plan": "pro"})


@in_context
def test_nobody_unknown_has_metadata(settings: Settings) -> None:
    with pytest.raises(NotFound):
        accounts.change(STRANGER_ID, {}, {})
