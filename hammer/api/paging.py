"""How lists are answered page by page."""

from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue

from hammer.db.pagination import Page


def paged(page: Page[Any], query: dict[str, Any], **path: str) -> ResponseReturnValue:
    """The items of a page, with the address of the next page in the `Link` header (RFC 8288)."""
    if page.after is None:
        return page.items
    following = url_for(request.endpoint or "", **path | query | {"after": page.after})
    return page.items, {"Link": f'<{following}>; rel="next"'}
