"""Which annotations in COCO's form are objects to keep, and what has to be said of them and of the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.objects.columns import Entries, Place, stated_boxes, stated_crowds
from coatseg.data.annotations.objects.mended_boxes import BOXES, mend_boxes
from coatseg.data.annotations.objects.options import ObjectOptions
from coatseg.data.annotations.objects.segmentations import Segmentations
from coatseg.data.annotations.objects.stated_boxes import OBJECTS, Finding, boxes_of_entries
from coatseg.data.annotations.objects.stated_masks import (
    EntryMasks,
    Flags,
    Numbers,
    has_segmentation,
    masks_of_entries,
    misplaced,
)

POLYGONS = ("polygon", "polygons")
CROWDS = ("crowd", "crowds")
CROWD_SHARE, MANY_CROWDS = 0.05, 10
"""Above these, share and number of crowds, they may be objects in fact: of COCO's own 0.012 are crowd, and of a few
images of it more by chance."""

WITHOUT_MASK = "without a mask, so that the masks of the others are not used: see data.without_mask"
NOT_CHOSEN = "of classes that are not chosen left out"
OF_ALL = (WITHOUT_MASK,)
"""What concerns all images, also those that have no such object."""


@dataclass(frozen=True)
class KeptObjects:
    """The `numbers` of the annotations that are kept; of all, `boxes` (A, 4) and `crowd` (A,); and what was found.

    `segmentations` is None if a kept one has no mask.
    """

    numbers: Numbers
    boxes: npt.NDArray[np.float64]
    crowd: Flags
    segmentations: Segmentations | None
    findings: tuple[Finding, ...]


def kept_objects(
    path: Path, annotations: Entries, sizes: Numbers, labels: Numbers, options: ObjectOptions, place: Place
) -> KeptObjects:
    """Choose and mend the objects among annotations, given the `sizes` (A, 2) of their images and their `labels` (A,).

    Those of label -1 are of no chosen class.

    Raises:
        DatasetError: a box, mask or crowd flag makes no sense.
    """
    stated = stated_boxes(path, annotations, has_segmentation(annotations), place)
    masks = masks_of_entries(path, annotations, sizes, place, stated if options.without_mask == "box" else None)
    stated_crowd = stated_crowds(path, annotations, place)
    crowd = stated_crowd & (options.crowd != "objects")
    found = boxes_of_entries(path, stated, masks, crowd, sizes, place)
    mended = mend_boxes(found.boxes, sizes)
    of_class = labels >= 0
    kept = of_class & mended.kept & ~masks.lost & np.isfinite(found.boxes).all(1)
    bare = _without_mask(annotations, kept, masks, options)
    if options.without_mask == "leave_out":
        kept[bare[1]] = False
    apart = misplaced(masks, found.boxes)
    findings: list[Finding] = [
        *found.findings,
        *((BOXES, done, boxes) for done, boxes in mended.findings.items()),
        (POLYGONS, "of fewer than three points left out", masks.short),
        (OBJECTS, "whose polygons are not where their box is", apart[kept[apart]]),
        (OBJECTS, *bare),
        crowd_finding(stated_crowd, kept, options),
    ]
    own = [(kind, done, which[of_class[which]]) for kind, done, which in findings]
    return KeptObjects(
        np.flatnonzero(kept),
        mended.boxes,
        crowd,
        masks.segmentations if masks.there[kept].all() else None,
        (*own, (OBJECTS, NOT_CHOSEN, np.flatnonzero(~of_class))),
    )


def _without_mask(annotations: Entries, kept: Flags, masks: EntryMasks, options: ObjectOptions) -> tuple[str, Numbers]:
    """Return what is done to objects without a mask, where others have one, and which they are."""
    if options.without_mask == "box":
        return "without a mask given their box as mask", np.flatnonzero(kept & ~has_segmentation(annotations))
    bare = kept & ~masks.there
    some = bare.any() and (kept & masks.there).any()
    done = WITHOUT_MASK if options.without_mask == "stop" else "without a mask left out"
    return done, np.flatnonzero(bare & some)


def crowd_finding(crowd: Flags, kept: Flags, options: ObjectOptions) -> Finding:
    """Return what is done with those that are marked as `crowd` (A,) among the annotations `kept` (A,)."""
    crowds = np.flatnonzero(crowd & kept)
    if options.crowd == "objects":
        return CROWDS, "(iscrowd 1) taken as objects", crowds
    share = len(crowds) / max(1, int(kept.sum()))
    suspicious = share == 1 or (share > CROWD_SHARE and len(crowds) > MANY_CROWDS)
    done = "(iscrowd 1) neither learnt nor counted; if they are objects, set data.crowd=objects"
    return CROWDS, done, crowds if suspicious else crowds[:0]
