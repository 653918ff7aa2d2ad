"""Charts of the quality report as small PNG images, where an HTML page cannot be shown."""

from __future__ import annotations

#: An image is scaled down until it has at most this many bytes.
MOST_BYTES = 60_000
_SCALES = (1.0, 0.75, 0.5, 0.35, 0.25)


def render_png(svg: str) -> bytes:
    """Render a chart as PNG of at most MOST_BYTES, on white; b"" without a chart or if it is always too large."""
    import vl_convert

    if not svg:
        return b""
    on_white = svg.replace(">", '><rect width="100%" height="100%" fill="white"/>', 1)
    for scale in _SCALES:
        drawn: bytes = vl_convert.svg_to_png(on_white, scale=scale)
        if len(drawn) <= MOST_BYTES:
            return drawn
    return b""
