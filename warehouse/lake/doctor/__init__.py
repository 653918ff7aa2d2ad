"""The doctor: examines a lake's files, catalogue and surroundings, and repairs what can be repaired safely.

Belongs here: what is wrong with the storage of a lake, and what to do about it. Does not: what is wrong with the data
(warehouse/query/checks), and loading again from the bucket (warehouse/ingest).
"""

from warehouse.lake.doctor.examination import Report, examine
from warehouse.lake.doctor.findings import Finding, Kind
from warehouse.lake.doctor.repair import Repaired, repair

__all__ = ["Finding", "Kind", "Repaired", "Report", "examine", "repair"]
