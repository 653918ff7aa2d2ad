"""What DuckDB's errors mean to a person: what is wrong in one line, and the setting that helps."""

import re

#: How DuckDB, and Arrow through it, say that memory has run out: by its own limit, or by that of the process.
_NO_MEMORY = re.compile(
    r"out of memory|bad[ _]alloc|(?:failed|could not|unable) to (?:re)?allocate|failed to pin block|malloc of size",
    re.IGNORECASE,
)
#: Where what does not fit into memory does not fit onto disk either: by the limit that DuckDB has for it.
_NO_SPILL = re.compile(r"max_temp_directory_size|temp[a-z_]* directory|offload data block", re.IGNORECASE)
_NO_DISK = re.compile(r"no space left on device|disk is full", re.IGNORECASE)
#: Errors whose words are of the query or of a value in it, and say nothing of the machine.
_OF_THE_QUERY = ("ParserException", "BinderException", "CatalogException", "ConversionException", "OutOfRangeException")


def explain_shortage(error: Exception) -> str:
    """What to do when memory or disk ran out, with the settings that help; "" for any other error."""
    text, kind = str(error), type(error).__name__
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
            "CHEST_SQL_SPILL_MB for foreign SQL, cohorts and manifests."
        )
    return (
        "It needs more memory than it may have. Ask for less, or allow more: CHEST_MEMORY_LIMIT_MB (of DuckDB, in MB), "
        "and CHEST_SQL_MEMORY_MB (of the process) for foreign SQL, cohorts and manifests."
    )


def explain(error: Exception) -> str:
    """DuckDB's words for what is wrong, without its prefix and its stack."""
    if shortage := explain_shortage(error):
        return shortage
    text = str(error).strip()
    if "No snapshot found at version" in text:
        return "The snapshot that was opened is gone: upkeep has removed it since. Open the lake again."
    prefix, _, rest = text.partition(": ")
    return (rest if prefix.endswith("Error") else text).rstrip()
