"""A script in a process of its own: whatever ends it, one line states what it was doing and what to do."""

from pathlib import Path

import pytest

from warehouse.engine.programs import run_apart
from warehouse.errors import LakeError


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("os.kill(os.getpid(), 9)", r"reading X was killed \(SIGKILL\), .* memory runs out\. Run the command again\."),
        ("sys.exit(3)", r"reading X failed: exit code 3\. Run the command again\."),
        ("sys.exit('no luck.')", r"reading X failed: no luck\. Run the command again\."),
        ("open('/nonexistent')", r"reading X failed: FileNotFoundError: .*'/nonexistent'\. Run"),
    ],
)
def test_a_script_that_does_not_answer(tmp_path: Path, ending: str, message: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"import os, sys\n{ending}")
    with pytest.raises(LakeError, match=message) as raised:
        run_apart(str(script), {}, "reading X")
    assert "\n" not in str(raised.value)


def test_its_answer(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import json, sys\njson.dump(json.load(sys.stdin)['asked'], sys.stdout)")
    assert run_apart(str(script), {"asked": [1, None]}, "answering") == [1, None]
