"""Parts of a page that are made: what stands between two markers is written anew, the rest by people."""

from __future__ import annotations

_BEGIN = "<!-- {}: made by `make docs`, do not edit -->\n"
_END = "<!-- end of {} -->\n"


def replace_part(text: str, name: str, part: str) -> str:
    """A page with the part of that name written anew; ValueError where the page lacks a marker."""
    opening, closing = _BEGIN.format(name), _END.format(name)
    before, begin, rest = text.partition(opening)
    _, end, after = rest.partition(closing)
    if not (begin and end):
        raise ValueError(f"The page has no place for {name}: write the lines {opening.strip()} and {closing.strip()}.")
    return f"{before}{begin}{part}{end}{after}"
