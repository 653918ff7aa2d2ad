"""What does not fit into memory: every connection spills to a folder of its own."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from warehouse import settings
from warehouse.lake import connection, location

# A table larger than the memory that is given, sorted and taken together.
SPILLING = """
create temp table texts as select md5(($seed + i)::varchar) || repeat(md5(i::varchar), 8) as text
from range(250_000) as numbers(i);
create temp table sorted as from texts order by text;
"""


def digest(path: Path, seed: int, memory_mb: int) -> str:
    con = connection.connect(settings.Settings(memory_limit_mb=memory_mb, threads=1), location.parse_address(str(path)))
    with con:
        con.execute(SPILLING.replace("$seed", str(seed)))
        row = con.execute(
            "select md5_number(string_agg(left(text, 40), ',' order by rowid))::varchar from sorted"
        ).fetchone()
        spilt = con.execute("select count(*), sum(size) from duckdb_temporary_files()").fetchone()
    assert row is not None
    assert spilt is not None
    assert (spilt[0] > 0) == (memory_mb < 100)
    return str(row[0])


@pytest.mark.slow
def test_connections_that_spill_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    wanted = [digest(tmp_path / "lake", seed, 1000) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: digest(tmp_path / "lake", seed, 64), range(4)))
    assert found == wanted


def test_a_spill_folder_is_private_and_removed_with_the_process() -> None:
    code = "from warehouse.engine import spill; print(spill.find_spill_folder(), flush=True); input()"
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = []
    for process in processes:
        assert process.stdout is not None
        folders.append(Path(process.stdout.readline().strip()))
    assert folders[0] != folders[1]
    assert all(stat.S_IMODE(folder.parent.stat().st_mode) == 0o700 for folder in folders)
    for process in processes:
        process.communicate("\n")
    assert not any(folder.parent.exists() for folder in folders)
