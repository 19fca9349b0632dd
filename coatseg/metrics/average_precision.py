"""Average precision and average recall as COCO defines them, computed from its arrays of precision and recall."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coatseg.errors import listed
from coatseg.metrics.means import Values, mean_of_defined, sorted_rows

MAX_DETECTIONS = 100
"""How many detections of a class in one image COCO evaluates."""

AREAS = ("all", "small", "medium", "large")
IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision and recall as COCO accumulates them; NaN for a class without truth (of that area).

    precision (10 IoU thresholds, 101 recalls, K classes, 4 areas) with at most `detections[-1]` detections of a class
    per image; recall (10, K, 4, len(detections)).
    """

    precision: Values
    recall: Values
    detections: tuple[int, ...]

    def curves(self, iou: float | None = None, area: str = "all") -> Values:
        """Return precision over recall of each class, (101, K): at one IoU threshold, or the mean over all."""
        chosen = self.precision[..., AREAS.index(area)]
        curves: Values = chosen.mean(0) if iou is None else chosen[_threshold(iou)]
        return curves

    def class_ap(self, iou: float | None = None, area: str = "all") -> Values:
        """Return the average precision of each class, (K,)."""
        average: Values = self.curves(iou, area).mean(0)
        return average

    def ap(self, iou: float | None = None, area: str = "all") -> float:
        """Return the mean average precision over the classes with truth; NaN if there is none."""
        return mean_of_defined(self.class_ap(iou, area))

    def ar(self, detections: int | None = None, area: str = "all") -> float:
        """Return recall averaged over IoU thresholds and classes, at `detections` per class and image, or the most."""
        number = -1 if detections is None else self.detections.index(detections)
        return mean_of_defined(self.recall[:, :, AREAS.index(area), number])

    def summary(self) -> dict[str, float]:
        """Return COCO's means by their usual names."""
        return {
            "AP": self.ap(),
            "AP50": self.ap(0.5),
            "AP75": self.ap(0.75),
            "APs": self.ap(area="small"),
            "APm": self.ap(area="medium"),
            "APl": self.ap(area="large"),
            "AR": self.ar(),
        }


@dataclass(frozen=True)
class CocoScores:
    """The scores of COCO's evaluation for boxes and, where they were compared, masks; and the number of true objects.

    `of` holds precision and recall under "box" and "mask"; `objects` (K,) does not count crowds.
    """

    classes: tuple[str, ...]
    objects: npt.NDArray[np.int64]
    of: dict[str, PrecisionRecall]

    @property
    def definition(self) -> str:
        """The definition of the means, in words."""
        most = self.of["box"].detections[-1]
        default = "" if most == MAX_DETECTIONS else f" (COCO's own evaluation looks at {MAX_DETECTIONS})"
        return (
            "COCO's definitions, at original sizes. AP: precision at 101 recalls, averaged over IoU thresholds 0.50 to "
            "0.95 in steps of 0.05 and over the classes that have objects; AP50 and AP75: at one threshold; APs, APm, "
            "APl: objects of less than 32², 32² to 96² and more than 96² pixels; AR: the largest recall, averaged as "
            f"AP is. At most {most} detections of a class count in an image{default}; crowds are ignored."
        )

    @property
    def absent(self) -> tuple[str, ...]:
        """The classes without objects, which the means leave out."""
        return tuple(name for name, count in zip(self.classes, self.objects, strict=True) if not count)

    def summary(self) -> dict[str, float]:
        """Return the means by name: box_AP, box_AP50, ..., mask_AP, ..."""
        return {f"{kind}_{name}": value for kind in self.of for name, value in self.of[kind].summary().items()}

    def headline(self) -> str:
        """Return one line with the means and the classes that they leave out."""
        parts = [_headline(kind, means.summary()) for kind, means in self.of.items()]
        absent = [f"without objects and left out: {listed(self.absent)}"] if self.absent else []
        return "; ".join([*parts, *absent])

    def table(self) -> list[tuple[str, ...]]:
        """Return a row of percentages and the number of objects per class, best AP (of masks, if any) first."""
        columns = {
            f"{kind} {name}": self.of[kind].class_ap(iou)
            for kind in reversed(self.of)
            for name, iou in (("AP", None), ("AP50", 0.5), ("AP75", 0.75))
        }
        objects = dict(zip(self.classes, self.objects, strict=True))
        rows = [(*row, str(objects[row[0]])) for row in sorted_rows(self.classes, *columns.values())]
        return [("class", *columns, "objects"), *rows]


def _threshold(iou: float) -> int:
    return int(np.flatnonzero(np.isclose(IOU_THRESHOLDS, iou))[0])


def _headline(kind: str, means: Mapping[str, float]) -> str:
    words = {name: "-" if np.isnan(value) else f"{value:.4f}" for name, value in means.items()}
    shown = ", ".join(f"{name} {words[name]}" for name in ("AP50", "AP75", "APs", "APm", "APl"))
    return f"{kind} AP {words['AP']} ({shown})"
