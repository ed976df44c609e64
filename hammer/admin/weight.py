"""Pages stay small, however long the values on them are: a page has fewer entries where they are long."""

from collections.abc import Callable
from typing import Final

MOST_BYTES: Final = 30_000


def fitting(draw: Callable[[int], str], most: int) -> str:
    """The page that `draw` makes of up to `most` entries; of half as many, and so on, while it is larger than `MOST_BYTES`."""
    while len((page := draw(most)).encode()) > MOST_BYTES and most > 1:
        most //= 2
    return page
