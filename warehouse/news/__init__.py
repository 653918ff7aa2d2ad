"""Is there something new in a bucket? Asked of an event queue, or of the bucket itself by a cheap probe.

Neither lists the bucket whole. What they miss, the next scheduled refresh finds: it alone is complete.
"""

from warehouse.news.notice import News
from warehouse.news.probing import probe
from warehouse.news.queue import events

__all__ = ["News", "events", "probe"]
