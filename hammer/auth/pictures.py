"""Pictures drawn as SVG inside a page: the QR code of an invite link, and how invitations grew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

import segno
from markupsafe import Markup

from hammer import clock

WEEK = timedelta(weeks=1)
WIDTH, HEIGHT = 600, 100


def qr(text: str) -> Markup:
    """A QR code that cameras read from paper and from screens: dark on white in either scheme, four modules of white around it."""
    # With a boost of its correction a code of the same size survives more dirt.
    drawn = segno.make_qr(text, error="m", boost_error=True)
    return Markup(drawn.svg_inline(border=4, light="#fff", omitsize=True, svgclass=None, lineclass=None))  # noqa: S704  # text is drawn, not written


@dataclass(frozen=True)
class Growth:
    """How many had come by invitation, at the beginning and at the end of each week."""

    outline: str
    """The steps as an SVG path in a field of `WIDTH` by `HEIGHT`, from nought up to the newest count."""
    began: datetime
    weeks: list[tuple[datetime, int]]
    """When each week ended, oldest first, and the count then."""
    width: int = WIDTH
    height: int = HEIGHT


def growth(total: int, by_week: Sequence[int]) -> Growth:
    """Drawn from the count of today and what each of the last weeks added, oldest first."""
    now, before = clock.now(), max(total - sum(by_week), 0)
    counts = list(accumulate(by_week, initial=before))
    top = max(counts[-1], 1)
    steps = [f"H{place * WIDTH / len(counts):.4g}V{_down(count, top)}" for place, count in enumerate(counts[1:], 1)]
    outline = f"M0,{_down(before, top)}{''.join(steps)}H{WIDTH}"
    ends = [now - WEEK * back for back in reversed(range(len(by_week)))]
    return Growth(outline, now - WEEK * len(by_week), list(zip(ends, counts[1:], strict=True)))


def _down(count: int, top: int) -> str:
    return f"{HEIGHT - HEIGHT * count / top:.4g}"
