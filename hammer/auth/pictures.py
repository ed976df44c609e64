"""Pictures drawn as SVG inside a page: the QR code of an invite link."""

import segno
from markupsafe import Markup


def qr(text: str) -> Markup:
    """A QR code that cameras read from paper and from screens: dark on white in either scheme, four modules of white around it."""
    drawn = segno.make_qr(text, error="m", boost_error=True)
    svg = drawn.svg_inline(border=4, light="#fff", omitsize=True, svgclass=None, lineclass=None)
    return Markup(svg)  # noqa: S704  # the text is drawn, not written
