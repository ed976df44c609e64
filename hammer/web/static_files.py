"""Our own styles, scripts and images. Each address holds a hash of the file's content, so browsers can cache it for a year.

Text files are compressed. Pages are not: what a person typed, compressed together with a form's token, would reveal the token by
the length of the answer (BREACH).
"""

import gzip
import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, current_app, request
from werkzeug.security import safe_join

CACHED: Final = "public, max-age=31536000, immutable"
COMPRESSED: Final = (".css", ".js", ".svg")


def init_app(app: Flask) -> None:
    """Adds the hash to the addresses that `url_for("static", …)` makes. Files with the right hash in their address are cached."""
    app.url_defaults(_add_hash)
    app.before_request(_serve_compressed)
    app.after_request(_allow_caching)


def _add_hash(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static":
        values.setdefault("v", _hash(_path(values["filename"])))


def _serve_compressed() -> Response | None:
    """The requested file, compressed by gzip. None if Flask is to serve it as it is, and for requests of other things."""
    path = _requested()
    if path is None or path.suffix not in COMPRESSED or request.method != "GET" or request.accept_encodings["gzip"] == 0:
        return None
    content_type = mimetypes.guess_type(path.name)[0]
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(_read(path, path.stat().st_mtime_ns)[1], mimetype=content_type, headers=headers)


def _allow_caching(response: Response) -> Response:
    if response.status_code in (200, 304) and _requested():
        response.headers["Cache-Control"] = CACHED
    return response


def _requested() -> Path | None:
    """The file that this request asks for, if the hash in the address is right."""
    if request.endpoint != "static":
        return None
    path = _path((request.view_args or {})["filename"])
    return path if path and request.args.get("v") == _hash(path) else None


def _path(filename: str) -> Path | None:
    path = safe_join(current_app.static_folder or "", filename)
    try:
        return Path(path) if path and Path(path).is_file() else None
    except (OSError, ValueError):  # the name is too long, or holds a NUL character
        return None


def _hash(path: Path | None) -> str | None:
    return _read(path, path.stat().st_mtime_ns)[0] if path else None


@lru_cache(maxsize=256)
def _read(path: Path, _changed_at: int) -> tuple[str, bytes]:
    """The hash of a file, and its compressed content."""
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:10], gzip.compress(content, mtime=0)
