"""Who can use each route: everyone, users who are signed in, or staff. An unmarked route stops the application from starting.

The guards mark the views that they guard, so that the mark is always true. Of two guards the stricter one counts.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

from flask import Flask

View = TypeVar("View", bound=Callable[..., Any])


class Access(IntEnum):
    """Who can use a route, from the widest to the strictest."""

    PUBLIC = 0
    USER = 1
    STAFF = 2


class Unmarked(RuntimeError):
    """Some routes have no mark."""


def guarded(access: Access, view: View) -> View:
    """The view, marked with the access that its guard allows. Only guards call this: a mark guards nothing by itself."""
    strictest = max(access, getattr(view, "access", access))
    view.access = strictest  # type: ignore[attr-defined]
    return view


def public(view: View) -> View:
    """Marks a view that everyone can use."""
    return guarded(Access.PUBLIC, view)


def by_endpoint(app: Flask) -> dict[str, Access]:
    """Endpoint -> who can use the route. Raises `Unmarked` if a route has no mark."""
    unmarked = sorted(name for name, view in app.view_functions.items() if not hasattr(view, "access"))
    if unmarked:
        raise Unmarked(f"Who can use these routes? Guard them, or mark them with `@public`: {', '.join(unmarked)}.")
    return {name: getattr(view, "access") for name, view in app.view_functions.items()}  # noqa: B009
