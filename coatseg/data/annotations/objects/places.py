"""Where annotations stand in their files, in words, for errors and for lines on what was mended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Places:
    """The places of A annotations in words, by their number: "annotation ID", or words of their own.

    These are kept as UTF-8 in one array, place a ending at `ends[a]`, so that a million of them are passed to worker
    processes fast.
    """

    ids: npt.NDArray[np.int64]
    texts: npt.NDArray[np.uint8] | None = None
    ends: npt.NDArray[np.int64] | None = None

    @classmethod
    def of(cls, ids: Sequence[int] | npt.NDArray[np.int64], words: Sequence[str] | None = None) -> Self:
        """Store the ids of annotations, and words for each where ids do not name them."""
        stored = np.array(ids, np.int64)
        if words is None:
            return cls(stored)
        texts = [text.encode() for text in words]
        ends = np.cumsum(np.array([len(text) for text in texts], np.int64))
        return cls(stored, np.frombuffer(b"".join(texts), np.uint8), ends)

    def __getitem__(self, number: int) -> str:
        if self.texts is None or self.ends is None:
            return f"annotation {self.ids[number]}"
        begin = self.ends[number - 1] if number else 0
        return self.texts[begin : self.ends[number]].tobytes().decode()
