"""Takes the page of a quality report apart."""

import re
from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """A page taken apart: its elements with their attributes, its text, the rows of its tables, the texts of charts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.tooltips: list[str] = []
        self.marks: list[str] = []
        self.text = ""
        self._starts: list[int] = []
        self._into: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag == "table":
            self._starts.append(len(self.rows))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th", "title", "text"):
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1].append(" ".join(self._into.pop().split()))
        if tag == "title":
            self.tooltips.append(self._into.pop())
        if tag == "text":
            self.marks.append(self._into.pop())

    def handle_data(self, data: str) -> None:
        self.text += data
        self._into = [text + data for text in self._into]

    def table(self, *heads: str) -> list[list[str]]:
        """The rows of the table whose head begins with these."""
        start = next(place for place in self._starts if tuple(self.rows[place][: len(heads)]) == heads)
        end = next((place for place in self._starts if place > start), len(self.rows))
        return self.rows[start + 1 : end]

    def counts(self) -> dict[str, int]:
        """The counts on top, by name."""
        found = re.findall(r"<dt>([a-z ]+)</dt><dd>([\d,]+)</dd>", self.source)
        return {name: int(number.replace(",", "")) for name, number in found}
