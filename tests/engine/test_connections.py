"""Connections print nothing of their own: an answer on stdout is only the answer."""

import subprocess
import sys
from pathlib import Path

import pytest

# Without a script DuckDB takes the process for an interactive one, and shows a progress bar after two seconds.
ASK = """
import sys, warehouse
from warehouse.engine import confined
asked = "select current_setting('enable_progress_bar')"
with warehouse.open(sys.argv[1]) as wh:
    for con in (wh.con, wh.as_of("2020-06-01").con, wh.sandboxed().con, wh.cursor().con):
        print(con.execute(asked).fetchone()[0])
    print(confined.connect(wh.settings).execute(asked).fetchone()[0])
"""


@pytest.mark.slow
def test_no_connection_has_a_progress_bar(new_lake: Path) -> None:
    import warehouse

    (new_lake.parent / "bucket").mkdir(exist_ok=True)
    warehouse.refresh(new_lake.parent / "bucket", new_lake)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(new_lake)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False"] * 5
