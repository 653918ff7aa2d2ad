"""What kind of file it is, by its first bytes and not by its name alone."""

from __future__ import annotations

from pathlib import Path

from warehouse.filesystem import files

#: Kinds whose text is read, by the ending of their name.
TEXTS = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".txt": "text", ".md": "text", ".tex": "text", ".html": "text",
    ".svg": "text", ".sql": "text", ".py": "text", ".yaml": "text", ".yml": "text", ".log": "text",
}  # fmt: skip
#: Kinds that are recognised by their first bytes.
_FIRST = {
    b"\x89PNG\r\n\x1a\n": "image",
    b"\xff\xd8\xff": "image",
    b"GIF8": "image",
    b"%PDF-": "pdf",
    b"PK\x03\x04": "zip",
    b"PAR1": "parquet",
    b"PARE": "encrypted parquet",
    b"\x1f\x8b": "compressed",
    b"BZh": "compressed",
    b"\xfd7zXZ\x00": "compressed",
    b"\x28\xb5\x2f\xfd": "compressed",
    b"7z\xbc\xaf\x27\x1c": "compressed",
    b"\x89HDF\r\n\x1a\n": "arrays",
    b"\x93NUMPY": "arrays",
    b"SQLite format 3\x00": "database",
    b"\x7fELF": "program",
    b"MZ": "program",
}
#: Kinds that can hold rows or weights which nobody can see by looking at them.
OPAQUE = {"compressed", "arrays", "database", "program", "encrypted parquet", "unknown", "zip"}
_HEAD = 4096


def find_kind(path: Path) -> str:
    """The kind of a file: csv, json, text, parquet, xlsx, image, pdf, dicom, … or unknown; OSError if unreadable."""
    with files.open_to_read(path) as file:
        head = file.read(_HEAD)
    if head[128:132] == b"DICM":
        return "dicom"
    for first, kind in _FIRST.items():
        if head.startswith(first):
            return "xlsx" if kind == "zip" and path.suffix.lower() == ".xlsx" else kind
    if b"\0" in head or not _is_text(head):
        return "unknown"
    return TEXTS.get(path.suffix.lower(), "text")


def _is_text(head: bytes) -> bool:
    """Whether the bytes begin a text in UTF-8; its last character may be cut off."""
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) == _HEAD and error.start >= _HEAD - 4
    return True
