"""Reads JSON that every parser reads the same way (I-JSON, RFC 7493)."""

import json
from typing import Any


def loads(text: str | bytes) -> Any:
    """The value of a JSON text. Raises `ValueError`, also for what Python's parser accepts: `NaN` and `Infinity`, half a surrogate
    pair, and a name that an object has twice, of which each parser takes another one."""
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_object)
        json.dumps(value, ensure_ascii=False).encode()  # raises ValueError for half a surrogate pair
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name appears twice")
    return found
