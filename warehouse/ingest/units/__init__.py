"""Units of objects loaded by worker processes: what a worker does with one, and how its result enters the lake.

    unit         what a worker gets, and the receipt that it returns: files, counts and rejects, never rows
    layouts      how the lake stores its tables
    writing      writes the rows of a unit as Parquet files, into the partitions of the lake
    working      a worker: fetches, extracts and writes units
    local        worker processes on this machine
    registering  makes the files of receipts part of the lake, in one transaction
    engines      chooses the workers, and drives them

Belongs here: whatever runs outside the process that holds the lake. Does not: what is done to an object, which is the
same within one process (preparing.py).
"""
