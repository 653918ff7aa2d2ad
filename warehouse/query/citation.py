"""How to cite an answer: the data, the snapshot that gave it, and the tool; as text, BibTeX or fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from warehouse.version import __version__

if TYPE_CHECKING:
    from warehouse.query.session import Session

TOOL = "Chest Data Warehouse"
#: What TeX reads as a command, and how it is written. BibTeX counts braces even after a backslash.
_TEX = {sign: f"\\{sign}" for sign in "&%$#_"} | {
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@dataclass(frozen=True, slots=True)
class Citation:
    """What a citation names. `data` is how the owner of the data asks to be cited (CHEST_CITATION), "" if not set;
    `cohort` and `digest` are those of a manifest, else ""."""

    data: str
    snapshot: int
    published: date
    group: str
    as_of: str
    cohort: str = ""
    digest: str = ""
    tool: str = f"{TOOL} {__version__}"

    @property
    def detail(self) -> str:
        """Which part of the data, and how it was obtained."""
        parts = [
            f"snapshot {self.snapshot} of {self.published}",
            f"group {self.group}",
            self.as_of and f"as of {self.as_of}",
            self.cohort and f"cohort {self.cohort}",
            self.digest,
            f"obtained with {self.tool}",
        ]
        return "; ".join(filter(None, parts))

    @property
    def text(self) -> str:
        """One sentence for the section on data of a paper."""
        sentence = f"{self.detail[0].upper()}{self.detail[1:]}."
        return f"{self.data.rstrip('. ')}. {sentence}" if self.data else sentence

    @property
    def bibtex(self) -> str:
        """An entry of BibTeX, of the type for which every style has a form."""
        return "\n".join(
            (
                f"@misc{{chest-snapshot-{self.snapshot},",
                f"  title = {{{{{escape_tex(self.data.rstrip('. ') or 'Chest imaging data')}}}}},",
                f"  year = {{{self.published.year}}},",
                f"  note = {{{escape_tex(self.detail)}}}",
                "}",
            )
        )

    @property
    def fields(self) -> dict[str, object]:
        """The fields by name, with the sentence."""
        return {
            "data": self.data or None,
            "snapshot": self.snapshot,
            "published": self.published.isoformat(),
            "group": self.group,
            "as_of": self.as_of or None,
            "cohort": self.cohort or None,
            "digest": self.digest or None,
            "tool": self.tool,
            "text": self.text,
        }


def cite_session(session: Session) -> Citation:
    """Cite what a session shows."""
    return Citation(
        data=" ".join(session.settings.citation.split()),
        snapshot=session.snapshot.number,
        published=session.snapshot.time.date(),
        group=session.group_name,
        as_of=str(session.day or ""),
    )


def cite_manifest(about: Mapping[str, Any]) -> Citation:
    """Cite a manifest, from the content of its manifest.json, whose texts become one line."""
    return Citation(
        data=" ".join(about.get("citation", "").split()),
        snapshot=about["snapshot"],
        published=datetime.fromisoformat(about["snapshot_time"]).date(),
        group=" ".join(about["group"].split()),
        as_of=about["as_of"] or "",
        cohort=" ".join(about["cohort"]["name"].split()),
        digest=about["digest"],
        tool=f"{TOOL} {' '.join(about['tool']['version'].split())}",
    )


def escape_tex(text: str) -> str:
    """Escape a text for TeX."""
    return re.sub(r"[&%$#_{}\\~^]", lambda sign: _TEX[sign[0]], text)
