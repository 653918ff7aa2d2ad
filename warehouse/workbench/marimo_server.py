"""Starts marimo for `chest workbench`, without the terminal that marimo would open in the browser.

The notebooks do not need one. marimo has no setting for it, but offers none where Python has no module `pty`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.modules["pty"] = None  # type: ignore[assignment]  # as Python says that a module cannot be imported
    from marimo._cli.cli import main

    main(prog_name="marimo")
