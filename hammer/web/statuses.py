"""The HTTP status of each refusal, the same for pages and the API."""

from collections.abc import Mapping
from typing import Final

from hammer.refusals import (
    Conflict,
    Invalid,
    InvalidRequest,
    NotAllowed,
    NotFound,
    Refusal,
    TooManyRequests,
    Unauthenticated,
    Unavailable,
)

_STATUSES: Final[Mapping[type[Refusal], int]] = {
    InvalidRequest: 400,
    Invalid: 422,
    Unauthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    TooManyRequests: 429,
    Unavailable: 503,
}
"""A refusal has the status of its nearest ancestor in this table."""


def status_of(refusal: type[Refusal]) -> int:
    """The status of this kind of refusal."""
    return next(_STATUSES[ancestor] for ancestor in refusal.__mro__ if ancestor in _STATUSES)
