"""Torture: commands are killed, the bucket lies, the disk fills, files rot; the lake ends equal to a calm one.

`python -m tests.torture --help`; what is promised is in docs/reliability.md. `starter.py` runs commands, `moments.py`
chooses when to strike, `lakes.py` makes calm lakes and compares with them, `verdicts.py` counts. The other modules are
the scenarios: `kills.py`, `network.py`, `disks.py`, `sharing.py`, `growth.py`, `damage.py`.
"""

import sys
from pathlib import Path

#: What the tests share (faulty.py, servers.py); pytest adds it by itself.
sys.path.append(str(Path(__file__).parents[1] / "support"))
