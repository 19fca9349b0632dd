"""What the instance ids of Cityscapes mean: segments of every class, and objects of those that have some.

An id is 1000 times that of a class plus a number, or below 1000 that of a class: a region of stuff, or a group of
things that were not separated. Sources: cityscapesScripts, preparation/json2instanceImg.py and createPanopticImgs.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.id_maps import masks_of, objects_of
from coatseg.data.annotations.segment_maps import SegmentMap
from coatseg.errors import DatasetError
from coatseg.structures import Instances, Panoptic, Pixels, Segment

GROUP_IDS = 1000
"""Lower ids are regions."""


def check_instance_ids(path: Path, ids: Pixels, classes: int, mend: str) -> None:
    """Raise DatasetError if a map (H, W) of the file `path` has an id of none of as many `classes`."""
    wrong = (ids < 0) | (ids >= classes * GROUP_IDS) | ((ids >= classes) & (ids < GROUP_IDS))
    if wrong.any():
        y, x = np.unravel_index(wrong.argmax(), wrong.shape)
        raise DatasetError(
            f"{path} has the instance {ids[y, x]}, near (x={x}, y={y}), which Cityscapes does not have.", mend
        )


@dataclass(frozen=True)
class InstanceIds:
    """Tells segments and objects by their ids: `labels` (K,) are the class numbers of the ids of K classes.

    These are -1 for classes that are left out. `things` are the class numbers that have objects; label maps have
    `ignore_index` where there is no segment.
    """

    labels: npt.NDArray[np.int64]
    things: Sequence[int]
    ignore_index: int

    def objects(self, ids: Pixels) -> Instances:
        """Return the things in a map of ids; groups are crowd."""
        found, boxes = objects_of(ids)
        labels, crowd = self._meant(found)
        kept = np.isin(labels, self.things)
        return Instances(boxes[kept], labels[kept], masks_of(ids, found[kept], boxes[kept]), crowd[kept])

    def segments(self, ids: Pixels) -> SegmentMap:
        """Return the segments of a map of ids, in ascending order of these, and their label map.

        A segment has its id in the file; what is of no class is void. A group of things is a crowd, stuff is none.
        """
        found = np.flatnonzero(np.bincount(ids.ravel()))
        labels, crowd = self._meant(found)
        kept = labels >= 0
        of_id = np.zeros(len(self.labels) * GROUP_IDS, np.int32)
        of_id[found[kept]] = found[kept]
        label_of_id = np.full(len(of_id), self.ignore_index, np.uint8)
        label_of_id[found[kept]] = labels[kept]
        columns = (column[kept].tolist() for column in (found, labels, crowd))
        segments = tuple(Segment(*row) for row in zip(*columns, strict=True))
        return SegmentMap(Panoptic(of_id[ids], segments), label_of_id[ids])

    def _meant(self, found: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return the class numbers of ids (N,), -1 for those left out, and whether they are groups of things."""
        regions = found < GROUP_IDS
        labels = self.labels[np.where(regions, found, found // GROUP_IDS)]
        return labels, regions & np.isin(labels, self.things)
