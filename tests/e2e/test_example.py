"""The example trains a model from a sample bucket, as printed in the documents."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import warehouse

EXAMPLE = Path(warehouse.__file__).parent.parent / "examples/train.py"


@pytest.mark.slow
def test_the_example_trains_a_model_that_has_learnt(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), str(tmp_path)], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["manifest"] == warehouse.manifest(tmp_path / "films").digest
    assert card["metrics"]["test"]["films"] >= 10
    assert card["metrics"]["test"]["auc"] > 0.9
