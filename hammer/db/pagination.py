"""A long list, page by page: each begins at a place in the order, not at a number, so that what comes meanwhile shifts nothing."""

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
    """Some items of a list, and where to go on: `after` for the next page, or None at the end."""

    items: list[Item]
    after: str | None


def place(moment: datetime, row_id: str) -> str:
    """A place in a list that is ordered by time and id, to go on from."""
    return f"{clock.microseconds(moment)}.{row_id}"


def read_place(after: str) -> tuple[datetime, str]:
    """The moment and the id that `place` was made of. Refuses with `InvalidFields` what it never made."""
    made = re.fullmatch(r"(\d{1,17})\.([\w-]{22})", after, re.ASCII)
    if made is None:
        raise InvalidFields({"after": [NO_PLACE]})
    return clock.at(int(made[1])), made[2]
