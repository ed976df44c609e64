"""Reading the metadata of a user: a JSON object that staff and the operator's apps write."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from hammer.refusals import N_, InvalidFields

MOST_BYTES: Final = 4096
"""Size of the object as it is stored: compact JSON in UTF-8."""
DEEPEST: Final = 8
"""How deep objects and arrays may be nested. The object itself is the first level."""
TOO_LARGE = N_("This is larger than 4096 bytes.")
TOO_DEEP = N_("This is nested more than 8 levels deep.")
NOT_JSON = N_("This has a character that is not text, or a number that is not finite.")


def read(given: Mapping[str, Any]) -> str | None:
    """The object as it is stored; None for an empty one. Refuses with `InvalidFields`."""
    for part, level in _parts(given, 1):
        if level > DEEPEST:
            raise _refusal(TOO_DEEP)
        if isinstance(part, str) and "\0" in part:  # PostgreSQL's JSON functions cannot read it
            raise _refusal(NOT_JSON)
    try:
        stored = json.dumps(given, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(stored.encode())
    except ValueError as error:
        raise _refusal(NOT_JSON) from error
    if size > MOST_BYTES:
        raise _refusal(TOO_LARGE)
    return stored if given else None


def _parts(value: Any, level: int) -> Iterator[tuple[Any, int]]:
    """Each object, array, name and other value in `value`, with its level; nothing below the level after `DEEPEST`."""
    yield value, level if isinstance(value, (dict, list)) else 0
    if level <= DEEPEST and isinstance(value, (dict, list)):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        for part in inner:
            yield from _parts(part, level + 1)


def _refusal(sentence: str) -> InvalidFields:
    return InvalidFields({"metadata": [sentence]})
