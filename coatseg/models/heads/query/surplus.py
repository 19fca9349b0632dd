"""What is said where an image has more objects than there are queries to learn them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

FEWER_TOKENS = "Images of so few pixels have no more: train on larger ones, or set head.finest lower."


class Surplus:
    """Says once that objects are left out.

    `wanted` are the queries that the options ask for. Small images may have fewer, where each starts at a token of its
    own: `mend_of_few` is what helps then.
    """

    def __init__(self, wanted: int, mend_of_few: str = "") -> None:
        self.wanted = wanted
        self.mend_of_few = mend_of_few
        self.said = False

    def say(self, objects: Iterable[int], queries: int) -> None:
        """Warn if one of these counts of objects exceeds the queries."""
        most = max(objects, default=0)
        if most <= queries or self.said:
            return
        self.said = True
        mend = "Set head.queries higher." if queries >= self.wanted else self.mend_of_few
        warnings.warn(
            f"An image has {most} objects or segments for {queries} queries: each learns one, the rest is left out. "
            f"{mend}",
            stacklevel=2,
        )
