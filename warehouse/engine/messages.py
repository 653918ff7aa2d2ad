"""DuckDB's error messages, in the words that a user is shown, with the setting that helps."""

from __future__ import annotations

import re

from warehouse.engine import query_text
from warehouse.masking import mask_secrets

#: How DuckDB, and Arrow through it, report that memory has run out: by its own limit, or by that of the process.
_NO_MEMORY = re.compile(
    r"out of memory|bad[ _]alloc|(?:failed|could not|unable) to (?:re)?allocate|failed to pin block|malloc of size",
    re.IGNORECASE,
)
#: Where what does not fit into memory does not fit onto disk either: by the limit that DuckDB has for it.
_NO_SPILL = re.compile(r"max_temp_directory_size|temp[a-z_]* directory|offload data block", re.IGNORECASE)
_NO_DISK = re.compile(r"no space left on device|disk is full", re.IGNORECASE)
#: Errors about the query or a value in it, not about the machine.
_OF_THE_QUERY = ("ParserException", "BinderException", "CatalogException", "ConversionException", "OutOfRangeException")
#: Characters of an error that are searched for what it is about.
_MOST_SEARCHED = 4_000


def explain_shortage(error: Exception) -> str:
    """What to do when memory or disk ran out, with the settings that help; "" for any other error."""
    # A text of any length may be somebody else's; what DuckDB itself reports is at its start.
    text, kind = str(error)[:_MOST_SEARCHED], type(error).__name__
    if kind in _OF_THE_QUERY:
        return ""
    if _NO_DISK.search(text):
        return "The disk is full. Make room, or name another place for temporary files: TMPDIR."
    if not _NO_MEMORY.search(text) and kind not in ("OutOfMemoryException", "MemoryError"):
        return ""
    if _NO_SPILL.search(text):
        return (
            "It needs more disk than it may have for what does not fit into memory. Ask for less, make room in the "
            "temporary folder (TMPDIR), or allow more: CHEST_MEMORY_LIMIT_MB (of DuckDB, in MB), and "
            "CHEST_SQL_SPILL_MB for untrusted SQL, cohorts and manifests."
        )
    return (
        "It needs more memory than it may have. Ask for less, or allow more: CHEST_MEMORY_LIMIT_MB (of DuckDB, in MB), "
        "and CHEST_SQL_MEMORY_MB (of the process) for untrusted SQL, cohorts and manifests."
    )


def clean_message(error: Exception) -> str:
    """What is wrong, without DuckDB's prefix and stack; with the setting that helps, where one does."""
    if shortage := explain_shortage(error):
        return shortage
    text = str(error).strip()
    if "No snapshot found at version" in text:
        return "The snapshot that was opened is gone: maintenance has removed it since. Open the lake again."
    if "closed pending query result" in text:
        return "Several threads asked one Warehouse at once. Give each thread its own:  wh.cursor()"
    kind, _, rest = text.partition(": ")
    return query_text.shorten((rest if kind.endswith("Error") else text).rstrip())


def first_line(error: Exception) -> str:
    """The first line of an error, without secrets."""
    return mask_secrets(str(error).strip().split("\n")[0])
