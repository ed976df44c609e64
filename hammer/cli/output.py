"""How commands print people, times and tables."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from hammer.users import people


def described(user: people.Profile) -> str:
    """The number of a user, with username and name if there are any."""
    also = _printable(" ".join(part for part in (user.username, full_name(user)) if part))
    return user.telephone_number + (f" ({also})" if also else "")


def full_name(user: people.Profile) -> str:
    return f"{user.first_name} {user.last_name}".strip()


def status(user: people.Profile) -> str:
    """`staff`, `blocked`, both, or nothing."""
    return " ".join(word for word, holds in {"staff": user.is_staff, "blocked": user.blocked_at}.items() if holds)


def minute(moment: datetime | None) -> str:
    """A moment to the minute, or a dash."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "–"


def second(moment: datetime | None) -> str:
    """A moment to the second, or a dash."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else "–"


def print_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows in aligned columns."""
    lines = [[_printable(cell) for cell in row] for row in ([heads] if heads else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _printable(text: str) -> str:
    """`text` without control characters, which could change the terminal or the direction of writing."""
    return "".join(c if c.isprintable() else "�" for c in text)
