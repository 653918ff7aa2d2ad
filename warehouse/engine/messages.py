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
#: How DuckDB reports that a Parquet file of the lake is missing or damaged: by its name, or without any.
_DAMAGE = re.compile(
    r"ducklake-[0-9a-f]{8}-[0-9a-f-]{27}\S*\.parquet|TProtocolException|don't know what type|invalid TType|"
    r"Out of buffer|Computed AES tag|in Parquet file|in value construction|converted type|too small to be a Parquet"
)
#: The advice about such a file.
EXAMINE = "If a file of the lake is missing or damaged, this finds it and states what to do:  chest doctor"
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


def explain_damage(error: Exception) -> str:
    """A missing or damaged file of the lake in one line, which quotes nothing of it; "" for any other error."""
    text, kind = str(error)[:_MOST_SEARCHED], type(error).__name__
    if kind in _OF_THE_QUERY or "Permission denied" in text or not (found := _DAMAGE.search(text)):
        return ""
    name = f" ({found[0]})" if found[0].startswith("ducklake-") else ""
    return f"A file of the lake{name} is missing, or is not what was written. Examine the lake:  chest doctor"


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
