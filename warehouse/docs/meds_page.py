"""The table of codes in docs/meds.md, from sql/exports/meds_codes.csv. `make docs` writes it."""

from __future__ import annotations

import sys
from pathlib import Path

from warehouse.docs.markdown import format_table
from warehouse.docs.markers import replace_part
from warehouse.exports import meds_codes

_ENDS = {"suffix": "//VALUE", "category": "//LABEL", "boolean": "//YES or //NO", "modality": "//Modality"}
_ENDS["modality and view"] = "//Modality//view"


def fill_page(text: str) -> str:
    """The page with the table of codes as it is now."""
    rows = [
        (
            f"`{code.code}{_ENDS.get(code.value, '')}`",
            f"`{code.view}.{code.field}`",
            code.unit,
            {"static": "no time", "known": "known"}.get(code.day, f"`{code.day}`"),
            code.description,
        )
        for code in meds_codes.list_codes()
    ]
    table = format_table(("code", "from", "unit", "day", "meaning"), rows)
    return replace_part(text, "codes", f"{table}\n")


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(fill_page(page.read_text(encoding="utf-8")), encoding="utf-8")
