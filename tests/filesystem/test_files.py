"""Writing: whole or not at all, never through a link, readable as CHEST_SHARE allows, and nothing left behind."""

import contextlib
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from warehouse.errors import UsageError
from warehouse.filesystem import files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def write(path: Path, text: str = "new") -> None:
    with files.write_text_atomically(path) as file:
        file.write(text)


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize(
    ("share", "file", "folder"), [("", 0o640, 0o750), ("private", 0o600, 0o700), ("all", 0o644, 0o755)]
)
def test_permissions_are_those_of_the_setting_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: str, file: int, folder: int
) -> None:
    monkeypatch.setenv("CHEST_SHARE", share)
    write(tmp_path / "a")
    files.make_folder(tmp_path / "above" / "below")
    with files.write_folder_atomically(tmp_path / "upper" / "new") as part:
        assert mode(part) == 0o700
        (part / "inner").mkdir()
        (part / "inner" / "b").write_text("b")
        files.write_new(part / "c", b"c")
    files.open_lock(tmp_path / "lock").close()
    files.open_to_append(tmp_path / "log").close()
    files.open_to_resume(tmp_path / "part", anew=False).close()
    assert {mode(tmp_path / name) for name in ("a", "lock", "log", "part", "upper/new/c", "upper/new/inner/b")} == {
        file
    }
    assert {mode(tmp_path / name) for name in ("above", "above/below", "upper", "upper/new", "upper/new/inner")} == {
        folder
    }
    with files.open_temporary_folder() as temporary:
        assert mode(temporary) == 0o700
    assert not temporary.exists()


def test_an_invalid_share_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHEST_SHARE", "everybody")
    with pytest.raises(UsageError, match="CHEST_SHARE='everybody' must be private, group or all"):
        write(tmp_path / "a")
    assert not any(tmp_path.iterdir())


def test_a_link_at_the_place_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    for target, at in (("link", mine), ("dangling", tmp_path / "nowhere")):
        (tmp_path / target).symlink_to(at)
    (tmp_path / "hard").hardlink_to(mine)
    for target in ("link", "dangling", "hard"):
        write(tmp_path / target)
        assert not (tmp_path / target).is_symlink()
        assert (tmp_path / target).read_text() == "new"
    assert mine.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def fail_in(block: AbstractContextManager[Any], what: Callable[[Any], object]) -> None:
    with block as given:
        what(given)
        raise KeyError


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyError):
        fail_in(files.write_atomically(tmp_path / "a"), lambda file: file.write(b"half"))
    with pytest.raises(KeyError):
        fail_in(files.write_folder_atomically(tmp_path / "new"), lambda part: (part / "b").write_text("b"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError), files.write_atomically(tmp_path / "folder"):
        pass
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("a")
    (tmp_path / "link").symlink_to("folder")
    for name in ("full", "link", "full/a"):
        with pytest.raises(UsageError, match="is in the way"), files.write_folder_atomically(tmp_path / name):
            pass
    with files.write_folder_atomically(tmp_path / "folder") as part:
        (part / "b").write_text("b")
    assert (tmp_path / "folder" / "b").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "full", "link"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.write_atomically(tmp_path / "no" / "a"):
        pass
    with pytest.raises(FileNotFoundError), files.make_part_folder(tmp_path / "no"):
        pass
    assert not any(tmp_path.iterdir())


def test_of_two_concurrent_new_folders_the_second_is_refused(tmp_path: Path) -> None:
    with contextlib.ExitStack() as second:
        (second.enter_context(files.write_folder_atomically(tmp_path / "new")) / "two").write_text("2")
        with files.write_folder_atomically(tmp_path / "new") as first:
            (first / "one").write_text("1")
        with pytest.raises(UsageError, match="is in the way"):
            second.close()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["one"]
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("opened", [files.open_lock, files.open_to_append], ids=["lock", "append"])
def test_a_name_that_can_be_guessed_is_opened_only_where_it_is_a_file(
    tmp_path: Path, opened: Callable[[Path], object]
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / "link").symlink_to(mine)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "dangling", "folder", "fifo"):
        with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
            opened(tmp_path / name)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_second_name_of_a_file_is_neither_appended_to_nor_resumed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / "log").hardlink_to(mine)
    with pytest.raises(OSError, match="hard link"):
        files.open_to_append(tmp_path / "log")
    for plant in (lambda path: path.hardlink_to(mine), lambda path: path.symlink_to(mine), os.mkfifo):
        plant(tmp_path / "part")
        with files.open_to_resume(tmp_path / "part", anew=False) as file:
            assert file.read() == b""
            file.write(b"part")
        assert (tmp_path / "part").read_text() == "part"
        (tmp_path / "part").unlink()
    assert mine.read_text() == "mine"


def test_folders_below_a_folder_are_not_made_through_links(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "training").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="data/training is a link or a file"):
        files.make_folder(tmp_path / "data" / "training" / "Covid1", below=tmp_path / "data")
    assert not any((tmp_path / "outside").iterdir())
    (tmp_path / "link").symlink_to("data")  # the user's own, above
    files.make_folder(tmp_path / "link" / "a" / "b", below=tmp_path / "link")
    assert (tmp_path / "data" / "a" / "b").is_dir()


def test_a_folder_that_was_swapped_for_a_link_keeps_the_other_s_permissions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir(0o700)
    make = Path.mkdir

    def swap(path: Path, *how: Any, **more: Any) -> None:
        make(path, *how, **more)
        path.rename(tmp_path / "gone")
        path.symlink_to(tmp_path / "theirs")

    monkeypatch.setattr(Path, "mkdir", swap)
    with pytest.raises(OSError, match="new"):
        files.make_folder(tmp_path / "new")
    assert stat.S_IMODE((tmp_path / "theirs").stat().st_mode) == 0o700


def test_a_pipe_that_the_user_names_takes_the_bytes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()), daemon=True)
    reader.start()
    write(tmp_path / "pipe", "through")
    reader.join(20)
    assert got == ["through"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    write(Path("/dev/null"))
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


HOLD = """
import sys
from pathlib import Path
from warehouse.filesystem import files
folder = Path(sys.argv[1])
with files.write_folder_atomically(folder / "new") as part, files.write_atomically(folder / "a") as file:
    (part / "b").write_text("b")
    print(files.make_temporary_folder(), flush=True)
    input()
"""


def hold(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that is writing a folder and a file; and its temporary folder."""
    (folder / "tmp").mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def parts(folder: Path) -> set[Path]:
    return {path for path in folder.iterdir() if path.name.startswith(".chest-part-")}


@pytest.mark.skipif(os.name == "nt", reason="no groups")
@pytest.mark.parametrize(("mode", "goes"), [(0o2750, True), (0o1777, True), (0o2770, False), (0o777, False)])
def test_where_others_may_rename_nothing_is_taken_for_a_leftover(mode: int, goes: bool, tmp_path: Path) -> None:
    """Another member of the group may give the name of one to my own folder, whose content they could not remove."""
    mine = tmp_path / f".chest-part-{'0' * 32}"
    mine.mkdir()
    (mine / "mine.csv").touch()
    tmp_path.chmod(mode)
    with files.write_atomically(tmp_path / "out.csv") as file:
        file.write(b"1\n")
    assert mine.exists() is not goes


def test_leftovers_of_dead_processes_are_removed_and_files_in_use_stay(tmp_path: Path) -> None:
    dead, theirs = hold(tmp_path)
    dead.kill()
    dead.wait()
    left = parts(tmp_path)
    assert len(left) == 2
    assert theirs.is_dir()
    (tmp_path / "tmp" / "chest-tmp-mine").mkdir()  # somebody's own
    (tmp_path / f".chest-part-{'0' * 32}").symlink_to(tmp_path / "tmp")
    living, used = hold(tmp_path)
    assert not theirs.exists()
    assert not left & parts(tmp_path)
    assert (tmp_path / "tmp" / "chest-tmp-mine").is_dir()
    third, _ = hold(tmp_path)
    assert used.is_dir()
    third.kill()
    third.wait()
    living.communicate("\n")
    assert not used.exists()
    assert (tmp_path / "a").exists()
    assert (tmp_path / "new" / "b").exists()
    (tmp_path / "new").rename(tmp_path / "first")
    fourth, _ = hold(tmp_path)
    fourth.communicate("\n")
    assert [path.is_symlink() for path in parts(tmp_path)] == [True]
