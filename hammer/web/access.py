"""For whom each route is: everybody, whoever is signed in, or staff. A route that does not say so keeps the house closed.

The guards themselves say it, so that what is said is what is done; of two guards the stricter counts.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

from flask import Flask

View = TypeVar("View", bound=Callable[..., Any])


class Audience(IntEnum):
    PUBLIC = 0
    USER = 1
    STAFF = 2


class Unmarked(RuntimeError):
    """Some routes do not say for whom they are."""


def guarded(audience: Audience, view: View) -> View:
    """The view, marked as one that lets this audience in and no other. For guards, which see to it."""
    strictest = max(audience, getattr(view, "audience", audience))
    view.audience = strictest  # type: ignore[attr-defined]
    return view


def public(view: View) -> View:
    """Says that a view is for everybody."""
    return guarded(Audience.PUBLIC, view)


def audiences(app: Flask) -> dict[str, Audience]:
    """Endpoint -> for whom it is. Raises `Unmarked` if one does not say."""
    unmarked = sorted(name for name, view in app.view_functions.items() if not hasattr(view, "audience"))
    if unmarked:
        raise Unmarked(f"For whom are these? Guard them, or say `@public`: {', '.join(unmarked)}.")
    return {name: getattr(view, "audience") for name, view in app.view_functions.items()}  # noqa: B009
