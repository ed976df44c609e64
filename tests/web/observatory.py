"""The score that the published rules of MDN's HTTP Observatory give an answer: 100, less penalties, plus bonuses from 90 on.

Two rules are left out: the redirect from http to https, which the proxy makes, and preloading, which depends on a list in browsers.
"""

from collections.abc import Mapping, Sequence

YEAR_HALF = 15_768_000


def score(headers: Mapping[str, str], cookies: Sequence[str], html: str = "") -> int:
    """Of an answer over https with these headers, `Set-Cookie` lines and body."""
    marks = [
        _policy(headers.get("Content-Security-Policy", "")),
        _cookies(cookies),
        _transport(headers.get("Strict-Transport-Security", "")),
        0 if headers.get("X-Content-Type-Options") == "nosniff" else -5,
        _framing(headers),
        _referrer(headers.get("Referrer-Policy", "")),
        -50 if headers.get("Access-Control-Allow-Origin") == "*" else 0,
        -50 if '<script src="http' in html or "<script src='http" in html else 0,
        10 if headers.get("Cross-Origin-Resource-Policy") in ("same-origin", "same-site") else 0,
        10 if headers.get("Cross-Origin-Opener-Policy") == "same-origin" else 0,
        10 if headers.get("Cross-Origin-Embedder-Policy") == "require-corp" else 0,
    ]
    base = 100 + sum(mark for mark in marks if mark < 0)
    return max(0, base) if base < 90 else base + sum(mark for mark in marks if mark > 0)


def directives(policy: str) -> dict[str, list[str]]:
    """Name -> sources, of a Content-Security-Policy."""
    return {name: sources for name, *sources in (part.split() for part in policy.split(";") if part.strip())}


def _policy(policy: str) -> int:
    if not policy:
        return -25
    told = directives(policy)
    for name in ("script-src", "object-src", "style-src"):
        sources = told.get(name, told.get("default-src", ["*"]))
        anywhere = {"*", "http:", "https:", "data:", "'unsafe-inline'"} & set(sources)
        if anywhere and name != "style-src":
            return -20
        if anywhere or "'unsafe-eval'" in sources:
            return -10
    return 10 if told.get("default-src") == ["'none'"] else 5


def _cookies(cookies: Sequence[str]) -> int:
    for cookie in cookies:
        flags = {part.strip().lower() for part in cookie.split(";")[1:]}
        if "secure" not in flags:
            return -40
        if "httponly" not in flags:
            return -30
        if not {"samesite=lax", "samesite=strict"} & flags:
            return 0
    return 5 if cookies else 0


def _transport(value: str) -> int:
    ages = [part.split("=")[1] for part in value.replace(" ", "").split(";") if part.startswith("max-age=")]
    if not ages:
        return -20
    return 0 if int(ages[0]) >= YEAR_HALF else -10


def _framing(headers: Mapping[str, str]) -> int:
    if "frame-ancestors" in directives(headers.get("Content-Security-Policy", "")):
        return 5
    return 0 if headers.get("X-Frame-Options") in ("DENY", "SAMEORIGIN") else -20


def _referrer(value: str) -> int:
    private = ("no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin")
    return 5 if value in private else -5 if value else 0
