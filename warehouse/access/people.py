"""Names of people as they were typed: which of them are one person's."""

from __future__ import annotations

import re


def is_same_person(one: str, other: str) -> bool:
    """Whether two names are the same but for case, order and signs, as `Ada Young` and `Young, Ada`."""
    words = [sorted(re.findall(r"\w+", name.casefold())) for name in (one, other)]
    return words[0] == words[1]
