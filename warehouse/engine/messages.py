"""DuckDB's error messages, in the words that a user is shown."""

from __future__ import annotations

import duckdb

from warehouse import texts
from warehouse.masking import mask_secrets


def clean_message(error: duckdb.Error) -> str:
    """What is wrong, without DuckDB's prefix and stack; with the setting that helps, where one does."""
    text = str(error).strip()
    kind, _, rest = text.partition(": ")
    if isinstance(error, duckdb.OutOfMemoryException):
        if "max_temp_directory_size" in text or ("temp" in text.lower() and "directory" in text.lower()):
            return (
                "It needs more disk than it may have for what does not fit into memory. Ask for less, make room in the "
                "temporary folder (TMPDIR), or allow more: CHEST_SQL_SPILL_MB for foreign SQL."
            )
        return (
            "It needs more memory than it may have. Ask for less, or allow more: CHEST_MEMORY_LIMIT_MB (of DuckDB, in "
            "MB), and CHEST_SQL_MEMORY_MB for foreign SQL."
        )
    if "No space left on device" in text:
        return "The disk is full. Make room, or name another place for temporary files: TMPDIR."
    if "No snapshot found at version" in text:
        return "The snapshot that was opened is gone: upkeep has removed it since. Open the lake again."
    if "closed pending query result" in text:
        return "Several threads asked one Warehouse at once. Give each thread its own:  wh.cursor()"
    return texts.shorten((rest if kind.endswith("Error") else text).rstrip())


def first_line(error: Exception) -> str:
    """The first line of an error, without secrets."""
    return mask_secrets(str(error).strip().split("\n")[0])
