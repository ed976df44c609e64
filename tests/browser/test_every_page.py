"""What holds on every page in every state: accessibility, and speed on a slow line."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import vitals
from tests.browser.conftest import coming
from tests.browser.walk import State, walk
from tests.serving import Server

MOST_BYTES = 30_000
ONE_FLIGHT = 14_600
"""Ten segments of 1460 bytes: what a server may send before the first acknowledgement (RFC 6928)."""
MOST_REQUESTS = 6


@pytest.fixture(scope="module")
def states(chromium: Browser, server: Server, numbers: Iterator[str]) -> list[State]:
    heard: list[str] = []
    with coming(chromium, server, heard) as visit:
        seen = list(walk(visit, server, lambda: next(numbers)))
    assert heard == [], "A page complained."
    return seen


def wrong(states: list[State], what: str) -> dict[str, list[str]]:
    return {state.name: list(getattr(state, what)) for state in states if getattr(state, what)}


@pytest.mark.requirement("ACC-02", "ACC-04")
def test_axe_finds_nothing(states: list[State]) -> None:
    assert wrong(states, "axe") == {}


@pytest.mark.requirement("ACC-04")
def test_nothing_scrolls_sideways_at_four_times_the_size(states: list[State]) -> None:
    assert wrong(states, "sideways") == {}


@pytest.mark.requirement("ACC-04")
def test_everything_to_press_is_large_enough(states: list[State]) -> None:
    assert wrong(states, "small_targets") == {}


@pytest.mark.requirement("ACC-04")
def test_the_focus_is_always_seen(states: list[State]) -> None:
    assert wrong(states, "without_focus") == {}


@pytest.mark.requirement("ACC-02")
def test_errors_stand_at_their_fields_and_are_announced(states: list[State]) -> None:
    assert wrong(states, "loose_ends") == {}


@pytest.mark.requirement("ACC-04")
def test_nothing_moves_for_people_who_prefer_reduced_motion(states: list[State]) -> None:
    assert wrong(states, "moving") == {}


@pytest.mark.requirement("ACC-04")
def test_in_forced_colours_fields_and_buttons_keep_their_edges(states: list[State]) -> None:
    assert wrong(states, "without_edge") == {}


def test_pages_have_different_titles(states: list[State]) -> None:
    titles = {state.title for state in states}

    assert all(title.endswith(" — Hammer") for title in titles)
    assert len(titles) >= 10


def test_every_page_is_light_on_the_wire(states: list[State]) -> None:
    weights = {state.name: (sum(state.wire.values()), state.wire) for state in states}

    assert {name: weight for name, weight in weights.items() if not 1_000 < weight[0] < MOST_BYTES} == {}


def test_every_page_takes_few_requests(states: list[State]) -> None:
    assert {state.name: list(state.wire) for state in states if len(state.wire) > MOST_REQUESTS} == {}


def test_nothing_but_the_stylesheet_holds_up_the_first_paint(states: list[State]) -> None:
    assert {state.name: state.blocking for state in states if state.blocking != ["/static/hammer.css"]} == {}


def test_what_the_first_paint_needs_comes_in_one_flight_each(states: list[State]) -> None:
    heavy = {}
    for state in states:
        document = next(iter(state.wire.values()))
        if document > ONE_FLIGHT or state.wire.get("/static/hammer.css", 0) > ONE_FLIGHT:
            heavy[state.name] = state.wire
    assert heavy == {}


def test_nothing_shifts_while_a_page_arrives_on_a_phone_over_a_slow_line(
    chromium: Browser, server: Server, numbers: Iterator[str]
) -> None:
    with coming(chromium, server, []) as visit:
        seen = vitals.everywhere(visit, lambda: next(numbers), times=1)

    assert {name: one.shifted for name, (one,) in seen.items() if one.shifted} == {}
