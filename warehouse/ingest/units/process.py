"""A worker process on this machine: the program that local.py starts, with the descriptor of its connection.

Unlike multiprocessing's, it does not run the script of whoever called for a refresh again, which may have no guard
against that. It ends with its connection, which the driver's end closes.
"""

from __future__ import annotations

import signal
import sys
import traceback
from multiprocessing.connection import Connection

#: The first message of a worker: it has started.
READY = "ready"


def main() -> None:
    """Load the batches that come over the connection, and send back the receipts or the error of each."""
    from warehouse.engine.hidden_pandas import hide_pandas
    from warehouse.engine.parentage import request_death_signal
    from warehouse.filesystem import permissions
    from warehouse.ingest import memory
    from warehouse.ingest.units.working import Worker

    request_death_signal()
    hide_pandas()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's
    memory.bound_memory()
    with Connection(int(sys.argv[1])) as driver, permissions.tighten_umask():
        worker = None
        driver.send(READY)
        while True:
            work, step, units = driver.recv()
            try:
                worker = worker or Worker(work)
                driver.send(list(worker.run_units(step, units)))
            except Exception as error:
                error.add_note(traceback.format_exc())
                driver.send(error)


if __name__ == "__main__":
    try:
        main()
    except (EOFError, ConnectionError):  # the driver has ended, or needs no more
        sys.exit()
