"""Our own styles, scripts and pictures: each address carries a mark of what is in the file, so that browsers ask for it once.

Those that are words travel squeezed. Pages do not: what somebody typed and a form's token, squeezed together, tell of each other by
their length.
"""

import gzip
import hashlib
import mimetypes
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, current_app, request
from werkzeug.security import safe_join

KEPT: Final = "public, max-age=31536000, immutable"
WORDS: Final = (".css", ".js", ".svg")


def init_app(app: Flask) -> None:
    """`url_for("static", …)` writes the mark; what is asked for by the right one may be kept for a year."""
    app.url_defaults(_mark)
    app.before_request(_squeezed)
    app.after_request(_keep)


def _mark(endpoint: str, values: dict[str, Any]) -> None:
    if endpoint == "static":
        values.setdefault("v", _mark_of(_path(values["filename"])))


def _squeezed() -> Response | None:
    path = _asked()
    if path is None or path.suffix not in WORDS or request.method != "GET" or request.accept_encodings["gzip"] == 0:
        return None
    kind = mimetypes.guess_type(path.name)[0]
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return Response(_read(path, path.stat().st_mtime_ns)[1], mimetype=kind, headers=headers)


def _keep(response: Response) -> Response:
    if response.status_code in (200, 304) and _asked():
        response.headers["Cache-Control"] = KEPT
    return response


def _asked() -> Path | None:
    """The file that this request asks for by its right mark."""
    if request.endpoint != "static":
        return None
    path = _path((request.view_args or {})["filename"])
    return path if path and request.args.get("v") == _mark_of(path) else None


def _path(filename: str) -> Path | None:
    path = safe_join(current_app.static_folder or "", filename)
    try:
        return Path(path) if path and Path(path).is_file() else None
    except (OSError, ValueError):  # too long, or with a NUL in it
        return None


def _mark_of(path: Path | None) -> str | None:
    return _read(path, path.stat().st_mtime_ns)[0] if path else None


@lru_cache(maxsize=256)
def _read(path: Path, _changed_at: int) -> tuple[str, bytes]:
    """The mark of a file, and what is in it, squeezed."""
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest()[:10], gzip.compress(content, mtime=0)
