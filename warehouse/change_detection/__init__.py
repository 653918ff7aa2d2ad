"""Detects changes of a bucket from its event queue, which has an event for every object within seconds.

Belongs here: receiving messages and parsing them. The next scheduled refresh finds whatever they miss.
"""

from warehouse.change_detection.result import Changes
from warehouse.change_detection.sqs import receive_events

__all__ = ["Changes", "receive_events"]
