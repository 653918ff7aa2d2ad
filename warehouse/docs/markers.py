"""Generated parts of a page: the text between two markers is regenerated, the rest is written by people."""

from __future__ import annotations

_BEGIN = "<!-- {}: made by `make docs`, do not edit -->\n"
_END = "<!-- end of {} -->\n"


def replace_part(text: str, name: str, part: str) -> str:
    """Replace the named part of a page; ValueError if the page lacks a marker."""
    opening, closing = _BEGIN.format(name), _END.format(name)
    before, begin, rest = text.partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise ValueError(f"The page has no place for {name}: write the lines {opening.strip()} and {closing.strip()}.")
    return f"{before}{begin}{part}{end}{after}"
