"""SVG pictures inside a page: the QR code of an invite link, the growth of the number of invitees, and a bar for each day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

import segno
from markupsafe import Markup

from hammer import clock

WEEK = timedelta(weeks=1)
_MASK = 3
WIDTH, HEIGHT = 600, 100


def qr(text: str) -> Markup:
    """A QR code for cameras, on paper and screens: dark on white in both colour schemes, with a quiet zone of four modules."""
    # The boost raises the error correction as far as the size of the code allows. The mask is given, since to try all eight of them
    # takes a third of the time of a profile page. A camera reads the mask from the code.
    drawn = segno.make_qr(text, error="m", boost_error=True, mask=_MASK)
    return Markup(drawn.svg_inline(border=4, light="#fff", omitsize=True, svgclass=None, lineclass=None))  # noqa: S704  # the text is encoded, not inserted


@dataclass(frozen=True)
class Growth:
    """The number of invitees, at the beginning and at the end of each week."""

    outline: str
    """The steps as an SVG path in a field of `WIDTH` by `HEIGHT`, which is as high as the newest count."""
    began: datetime
    weeks: list[tuple[datetime, int]]
    """The end of each week, oldest first, and the count at that moment."""
    width: int = WIDTH
    height: int = HEIGHT


def growth(total: int, by_week: Sequence[int]) -> Growth:
    """The picture for a `total` of now, of which `by_week` joined in each of the last weeks, oldest first."""
    now, before = clock.now(), max(total - sum(by_week), 0)
    counts = list(accumulate(by_week, initial=before))
    top = max(counts[-1], 1)
    steps = [f"H{place * WIDTH / len(counts):.4g}V{_down(count, top)}" for place, count in enumerate(counts[1:], 1)]
    outline = f"M0,{_down(before, top)}{''.join(steps)}H{WIDTH}"
    ends = [now - WEEK * back for back in reversed(range(len(by_week)))]
    return Growth(outline, now - WEEK * len(by_week), list(zip(ends, counts[1:], strict=True)))


@dataclass(frozen=True)
class Bars:
    """A bar for each day, as SVG paths in a field of `WIDTH` by `HEIGHT`. The highest one is as high as the field."""

    past: str
    present: str
    """The bar of the last day, which is not over."""
    width: int = WIDTH
    height: int = HEIGHT


def bars(counts: Sequence[int | None]) -> Bars:
    """The picture of these counts, the oldest first. A count of None is not known and has no bar."""
    top = max((count for count in counts if count), default=1)
    slot = WIDTH / len(counts)
    drawn = [
        f"M{place * slot + slot / 8:.4g},{HEIGHT}V{_down(count, top)}h{slot * 3 / 4:.4g}V{HEIGHT}Z" if count else ""
        for place, count in enumerate(counts)
    ]
    return Bars("".join(drawn[:-1]), drawn[-1])


def _down(count: int, top: int) -> str:
    return f"{HEIGHT - HEIGHT * count / top:.4g}"
