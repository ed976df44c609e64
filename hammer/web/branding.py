"""The operator's name, mark and accent on pages. `init_app` checks the mark and the accent and refuses bad ones.

Styles inside pages are forbidden by our policy, so the accent is a small stylesheet of its own.
"""

import colorsys
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, cast
from xml.parsers import expat  # `fault_of_mark` refuses every DOCTYPE, and so all entities

from flask import Blueprint, Flask, Response, current_app, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext
from markupsafe import escape

import config
from config import Settings
from hammer.refusals import NotFound
from hammer.web.access import public
from hammer.web.settings import settings
from hammer.web.static_files import CACHED

POLICY_OF_MARK: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
"""For people who open the mark itself: what an SVG could run or load is forbidden a second time."""

blueprint = Blueprint("branding", __name__, url_prefix="/branding")


@dataclass(frozen=True)
class Brand:
    """What pages show of the operator."""

    name: str
    own: bool
    """Whether the name or the mark is the operator's. Then no picture shows the mark of Hammer."""
    mark: bytes
    """An SVG; empty where it is `static/mark.svg`."""
    style: bytes
    """A stylesheet with the accent; empty where it is that of `static/hammer.css`."""

    @property
    def mark_url(self) -> str:
        return _address("branding.mark", self.mark)

    @property
    def style_url(self) -> str:
        return _address("branding.style", self.style)


def init_app(app: Flask) -> None:
    """Reads what the operator set. Raises `Misconfigured` with all that is wrong with the mark and the accent."""
    ours = settings(app)
    mark, faults = b"", []
    if ours.mark:
        mark, fault = _read_mark(Path(ours.mark))
        faults += [f"HAMMER_MARK: {fault}"] if fault else []
    if ours.accent and (fault := fault_of_accent(ours.accent)):
        faults.append(f"HAMMER_ACCENT: {fault}")
    if faults:
        raise config.Misconfigured(faults)
    own = bool(mark) or ours.name != config.NAME
    if own and not mark:
        mark = _drawn_mark(ours)
    app.extensions["hammer.web.branding"] = Brand(ours.name, own, mark, _stylesheet(ours.accent) if ours.accent else b"")
    app.register_blueprint(blueprint)


def brand() -> Brand:
    """The brand of this application."""
    return cast(Brand, current_app.extensions["hammer.web.branding"])


def links(language: str) -> list[tuple[str, str]]:
    """The label and the address of each link at the foot of a page, in this language."""
    ours = settings()
    each = ((gettext("Terms"), ours.terms_url), (gettext("Privacy"), ours.privacy_url), (gettext("Help"), ours.help_url))
    return [(label, url.replace("{language}", language)) for label, url in each if url]


@blueprint.get("/mark.svg")
@public
def mark() -> ResponseReturnValue:
    """The mark of the operator, or the first letter of their name. Refuses with `NotFound` where the mark is Hammer's."""
    return mark_file(brand())


def mark_file(shown: Brand) -> Response:
    """The mark as an answer."""
    answer = _file(shown.mark, "image/svg+xml")
    answer.headers["Content-Security-Policy"] = POLICY_OF_MARK
    return answer


@blueprint.get("/style.css")
@public
def style() -> ResponseReturnValue:
    """The stylesheet with the accent of the operator. Refuses with `NotFound` where there is none."""
    return _file(brand().style, "text/css")


def _file(content: bytes, mimetype: str) -> Response:
    if not content:
        raise NotFound
    answer = Response(content, mimetype=mimetype)
    answer.headers["Cache-Control"] = CACHED if request.args.get("v") == _hash(content) else "no-cache"
    answer.add_etag()
    return cast(Response, answer.make_conditional(request))


def _address(endpoint: str, content: bytes) -> str:
    return url_for(endpoint, v=_hash(content)) if content else ""


@lru_cache(maxsize=8)
def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:10]


# The mark


SVG: Final = "http://www.w3.org/2000/svg"
ELEMENTS: Final = frozenset(
    re.findall(
        r"\S+",
        """svg g defs symbol use title desc style path rect circle ellipse line polyline polygon text tspan linearGradient
        radialGradient stop clipPath mask pattern marker filter feBlend feColorMatrix feComposite feFlood feGaussianBlur feMerge
        feMergeNode feOffset""",
    )
)
"""What a mark may be made of: no scripts, no other documents, no links, no animation that could change an address."""


class _Refused(Exception):
    """The sentence says what is wrong with the file."""


def _read_mark(file: Path) -> tuple[bytes, str]:
    """The content of the file, and what is wrong with it; "" if nothing is."""
    try:
        with file.open("rb") as opened:
            content = opened.read(config.MOST_MARK_BYTES + 1)
    except OSError as error:
        return b"", f"{file} cannot be read: {error.strerror}."
    return content, fault_of_mark(content)


def fault_of_mark(svg: bytes) -> str:
    """What is wrong with a file as a mark, with what to change; "" if nothing is."""
    if len(svg) > config.MOST_MARK_BYTES:
        return f"The file is larger than {config.MOST_MARK_BYTES // 1000} kB. Simplify the drawing."
    texts, elements = list[str](), list[dict[str, str]]()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = lambda name, attributes: elements.append(_checked(name, attributes))
    parser.StartDoctypeDeclHandler = _no("a DOCTYPE")  # and so no entities
    parser.ProcessingInstructionHandler = _no("a processing instruction")
    parser.CharacterDataHandler = texts.append
    try:
        parser.Parse(svg.decode(), True)  # in UTF-8, as it is served, whatever the file declares
        _check_loads("".join(texts))
    except _Refused as refused:
        return str(refused)
    except (expat.ExpatError, ValueError, LookupError) as error:
        return f"It is not well-formed XML in UTF-8: {error}."
    return "" if "viewBox" in elements[0] else "Its svg element has no viewBox. Add one, so that it can be scaled."


def _no(what: str) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise _Refused(f"It has {what}. Save it as plain SVG.")

    return refuse


def _checked(name: str, attributes: dict[str, str]) -> dict[str, str]:
    """The attributes of an element. Refuses an element that no mark may have."""
    namespace, _, local = name.rpartition(" ")
    if namespace != SVG or local not in ELEMENTS:
        raise _Refused(f"It has the element {local}, which a mark must not have. Save it as plain SVG, with shapes alone.")
    for full, value in attributes.items():
        _check_attribute(full.rpartition(" ")[2], value)
    return attributes


def _check_attribute(name: str, value: str) -> None:
    if name.lower().startswith("on"):
        raise _Refused(f"It has the event handler {name}. Remove it.")
    if name in ("href", "src", "base") and not re.fullmatch(r"#[\w.-]+", value):
        raise _Refused(f"It refers to another file by {name}. Put everything into the one file.")
    _check_loads(value)


def _check_loads(styles: str) -> None:
    """Refuses styles that load something. A backslash could hide a word from this check."""
    without_own = re.sub(r"url\(\s*(['\"]?)#[\w.-]+\1\s*\)", "", styles)
    if re.search(r"url\(|@import|image\(|image-set\(|src\(|//|javascript:|data:|\\", without_own, re.IGNORECASE):
        raise _Refused("Its styles refer to another file. Put everything into the one file.")


def _drawn_mark(ours: Settings) -> bytes:
    """The first letter of the name on a square in the accent."""
    accents = shades(ours.accent) if ours.accent else HAMMERS
    drawn = (
        f'<svg xmlns="{SVG}" viewBox="0 0 32 32"><style>rect{{fill:{accents.light}}}text{{fill:{LIGHT.on_accent}}}'
        f"@media (prefers-color-scheme:dark){{rect{{fill:{accents.dark}}}text{{fill:{DARK.on_accent}}}}}</style>"
        '<rect width="32" height="32" rx="8"/><text x="16" y="22.5" text-anchor="middle" font-family="system-ui, sans-serif" '
        f'font-size="19" font-weight="700">{escape(ours.name[0].upper())}</text></svg>\n'
    )
    return drawn.encode()


# The accent


@dataclass(frozen=True)
class Scheme:
    """The colours of `static/hammer.css` that an accent meets."""

    paper: str
    surface: str
    on_accent: str


@dataclass(frozen=True)
class Accents:
    """The accent in both schemes, and the shade of a pressed button."""

    light: str
    light_pressed: str
    dark: str
    dark_pressed: str


LIGHT: Final = Scheme("#FBF8F3", "#FFFFFF", "#FFFFFF")
DARK: Final = Scheme("#15120F", "#1F1B17", "#1D1A16")
HAMMERS: Final = Accents("#B93A0A", "#952D06", "#FF9B61", "#FFB78C")
LEAST_CONTRAST: Final = 4.5
"""Of text with its ground (WCAG 2.2, 1.4.3). It includes the 3:1 that borders and focus need (1.4.11)."""
LEAST_IN_DARK: Final = 6.0
"""The shade for the dark scheme has more: at 4.5:1 a saturated colour on black is tiring to read."""


def shades(accent: str) -> Accents:
    """The accent in both schemes.

    In the light one it is as it was given. In the dark one it has the least lightness (HSL) that gives it a contrast of
    `LEAST_IN_DARK`. Pressed buttons are darker in the light scheme, and lighter in the dark one.
    """
    dark = _nearest(accent, 1, lambda colour: _contrast_in(DARK, colour) >= LEAST_IN_DARK)
    return Accents(accent.upper(), _lighter(accent, -7), dark, _lighter(dark, 10))


def fault_of_accent(accent: str) -> str:
    """What is wrong with the colour, with the nearest one that is good; "" if nothing is."""
    contrast = _contrast_in(LIGHT, accent)
    if contrast >= LEAST_CONTRAST:
        return ""
    nearest = _nearest(accent, -1, lambda colour: _contrast_in(LIGHT, colour) >= LEAST_CONTRAST)
    return (
        f"{accent} has a contrast of {contrast:.1f}:1 on the light pages, and links need {LEAST_CONTRAST}:1. Take a darker one, "
        f"like {nearest}."
    )


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (WCAG 2.2): from 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _contrast_in(scheme: Scheme, accent: str) -> float:
    """The least contrast of the accent with what it is written on, and with what is written on it."""
    return min(contrast(accent, other) for other in (scheme.paper, scheme.surface, scheme.on_accent))


def _nearest(colour: str, step: int, good: Callable[[str], bool]) -> str:
    """The first good one of the shades that are lighter by one step after the other. White or black is always good."""
    return next(shade for shade in (_lighter(colour, step * n) for n in range(101)) if good(shade))


def _lighter(colour: str, percent: int) -> str:
    """The colour with more lightness (HSL), or with less."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in _channels(colour)))
    lighter = colorsys.hls_to_rgb(hue, min(max(lightness + percent / 100, 0), 1), saturation)
    return "#" + "".join(f"{round(part * 255):02X}" for part in lighter)


def _channels(colour: str) -> list[int]:
    return [int(colour[place : place + 2], 16) for place in (1, 3, 5)]


def _luminance(colour: str) -> float:
    parts = [part / 255 for part in _channels(colour)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _stylesheet(accent: str) -> bytes:
    """In the layer `tokens` of `hammer.css`, so that its rules for paper and for forced colours still come later."""
    used = shades(accent)
    light, dark = (
        f":root {{ --accent: {usual}; --pressed: {pressed}; }}"
        for usual, pressed in ((used.light, used.light_pressed), (used.dark, used.dark_pressed))
    )
    return f"@layer tokens {{\n  {light}\n  @media (prefers-color-scheme: dark) {{\n    {dark}\n  }}\n}}\n".encode()
