"""Charts of the quality report as small PNG pictures, for places that show pictures and no pages."""

from __future__ import annotations

#: A picture is drawn smaller until it has no more bytes than this.
MOST_BYTES = 60_000
_SCALES = (1.0, 0.75, 0.5, 0.35, 0.25)


def render_png(svg: str) -> bytes:
    """A chart as PNG of at most MOST_BYTES, on white; b"" for no chart, or one that is too large however small."""
    import vl_convert

    if not svg:
        return b""
    on_white = svg.replace(">", '><rect width="100%" height="100%" fill="white"/>', 1)
    for scale in _SCALES:
        drawn: bytes = vl_convert.svg_to_png(on_white, scale=scale)
        if len(drawn) <= MOST_BYTES:
            return drawn
    return b""
