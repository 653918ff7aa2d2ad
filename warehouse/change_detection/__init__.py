"""Is there something new in a bucket? Asked of its event queue, which hears of every object within seconds.

Belongs here: taking messages and reading them. What they miss, the next scheduled refresh finds: it alone is complete.
"""

from warehouse.change_detection.result import Changes
from warehouse.change_detection.sqs import receive_events

__all__ = ["Changes", "receive_events"]
