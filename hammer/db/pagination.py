"""Keyset pagination: a page begins after a row, not at an offset, so that new rows do not shift it."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar

from hammer import clock
from hammer.refusals import N_, InvalidFields

Item = TypeVar("Item")

MOST_PER_PAGE = 100
NO_PLACE: Final = N_("Unknown page. Use the link from the Link header.")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items of a list. `after` is the start of the next page, or None at the end."""

    items: list[Item]
    after: str | None


def place(moment: datetime, row_id: str) -> str:
    """The `after` for a row in a list that is ordered by time and id."""
    return f"{clock.microseconds(moment)}.{row_id}"


def read_place(after: str) -> tuple[datetime, str]:
    """The inverse of `place`. Refuses with `InvalidFields` what `place` did not make."""
    made = re.fullmatch(r"(\d{1,17})\.([\w-]{22})", after, re.ASCII)
    if made is None:
        raise InvalidFields({"after": [NO_PLACE]})
    return clock.at(int(made[1])), made[2]
