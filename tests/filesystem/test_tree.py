"""Many small files below one folder: complete, with the right permissions, and never through a link."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from warehouse.filesystem.tree import Tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "parts").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    return tmp_path / "data"


def test_files_get_their_folders_and_permissions(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHEST_SHARE", "private")
    tree = Tree(root, "parts")
    names = [f"{number % 100}/{number}/file" for number in range(300)]  # more folders than are kept open
    for name in names:
        tree.write("part", name, name.encode())
    tree.write("part", names[0], b"again")
    tree.write("part", "above", b"")
    assert [(root / name).read_text() for name in names] == ["again", *names[1:]]
    assert (root / "above").read_bytes() == b""
    assert not any((root / "parts").iterdir())
    for path in root.rglob("*"):
        if path.name != "parts":
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


def test_no_link_below_is_followed(root: Path, tmp_path: Path) -> None:
    tree = Tree(root, "parts")
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "file").touch()
    for name in ("linked/new", "linked/below/new", "file/new"):
        with pytest.raises(NotADirectoryError, match="is a link or a file"):
            tree.write("part", name, b"new")
    tree.write("part", "swapped/one", b"one")
    (root / "swapped").rename(root / "moved")
    (root / "swapped").symlink_to(tmp_path / "outside")
    tree.write("part", "swapped/two", b"two")  # into the folder that was opened
    assert sorted(path.name for path in (root / "moved").iterdir()) == ["one", "two"]
    assert not any((tmp_path / "outside").iterdir())
    (tmp_path / "own").symlink_to(root)  # the user's own, above
    Tree(tmp_path / "own", "parts").write("part", "third/three", b"three")
    assert (root / "third" / "three").read_bytes() == b"three"


def test_what_waits_at_the_names_is_replaced_and_not_written_to(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    tree = Tree(root, "parts")
    plants = (lambda path: path.symlink_to(mine), lambda path: path.hardlink_to(mine), lambda path: path.touch())
    for number, plant in enumerate(plants):
        plant(root / "parts" / "part")
        plant(root / f"target{number}")
        tree.write("part", f"target{number}", b"new")
        assert (root / f"target{number}").read_bytes() == b"new"
        assert not (root / f"target{number}").is_symlink()
    assert mine.read_text() == "mine"
