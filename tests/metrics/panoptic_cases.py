"""Cases of panoptic quality, computed by hand; panopticapi's evaluation gives these numbers too (tests/tools)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from coatseg.structures import PanopticPrediction, PanopticTarget

CLASSES, THINGS = ("person", "car", "road", "sky"), (0, 1)
SIZE = (20, 20)
UNLISTED = 999
NUMBERS = (70_000, 256, 16_777_215, 3, 65_536, 1, 513)
"""Ids that the true segments of an image have, in the order in which they are listed."""

Run = tuple[int, str, str]
"""How many pixels belong to which true segment, and to which predicted one. A segment is named by its class and, after
a dash, by what tells it from others, or "crowd"; without a name it is void."""

ROAD: Run = (100, "road", "road")


@dataclass(frozen=True)
class Case:
    """An image by its runs, beside a road that is matched; of classes TP, FP, FN and the sum of IoU; mean PQ, SQ, RQ.

    `more` are further images.
    """

    says: str
    runs: Sequence[Run]
    counts: Mapping[str, tuple[int, int, int]]
    means: tuple[float, float, float]
    iou: float = 0.0
    more: Sequence[Sequence[Run]] = field(default=())

    def __str__(self) -> str:
        return self.says

    @property
    def examples(self) -> list[tuple[PanopticPrediction, PanopticTarget]]:
        """The prediction and the truth of each image."""
        return [example(str(number), runs) for number, runs in enumerate((self.runs, *self.more))]


def example(name: str, runs: Sequence[Run]) -> tuple[PanopticPrediction, PanopticTarget]:
    """Return an image that is filled by a road, then by runs; what is left is void."""
    runs = (ROAD, *runs)
    true, found = (list(dict.fromkeys(run[side] for run in runs if run[side])) for side in (1, 2))
    listed = [name for name in true if name != "unlisted"]
    ids = {"": 0, "unlisted": UNLISTED, **dict(zip(listed, NUMBERS, strict=False))}
    places = {"": 0, **{segment: place for place, segment in enumerate(found, 1)}}
    truth = PanopticTarget(
        id_map([(pixels, ids[segment]) for pixels, segment, _ in runs]),
        torch.tensor([ids[segment] for segment in listed], dtype=torch.int32),
        torch.tensor([class_of(segment) for segment in listed]),
        torch.tensor(["crowd" in segment for segment in listed]),
    )
    labels = torch.tensor([class_of(segment) for segment in found])
    predicted = id_map([(pixels, places[segment]) for pixels, _, segment in runs])
    return PanopticPrediction(name, predicted, labels, torch.ones(len(found))), truth


def id_map(runs: Sequence[tuple[int, int]]) -> torch.Tensor:
    flat = np.zeros(SIZE[0] * SIZE[1], np.int32)
    filled = np.repeat([number for _, number in runs], [pixels for pixels, _ in runs])
    flat[: len(filled)] = filled
    return torch.from_numpy(flat.reshape(SIZE))


def class_of(segment: str) -> int:
    return CLASSES.index(segment.partition("-")[0])


def alike(value: float) -> tuple[float, float, float]:
    return value, value, value


ONE, HALF, THIRD = alike(1.0), alike(0.5), alike(1 / 3)
HIT, FALSE, MISS, NONE = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)

CASES = (
    Case("equal", [(50, "person", "person")], {"person": HIT, "car": NONE, "sky": NONE}, ONE, 1.0),
    # Void.
    Case("void of the truth leaves the union", [(40, "person", "person"), (60, "", "person")], {"person": HIT}, ONE, 1),
    Case(
        "void of the truth leaves the union of a segment that is not all found",
        [(45, "person", "person"), (5, "person", ""), (50, "", "person")],
        {"person": HIT},
        (0.95, 0.95, 1.0),
        0.9,
    ),
    Case(
        "void of the prediction stays in the union",
        [(60, "person", "person"), (40, "person", "")],
        {"person": HIT},
        (0.8, 0.8, 1.0),
        0.6,
    ),
    Case("void of the prediction is a miss", [(100, "person", "")], {"person": MISS}, HALF),
    # Predicted segments without a partner, partly on void.
    Case("less than half on void", [(49, "", "person"), (51, "car", "person")], {"person": FALSE, "car": MISS}, THIRD),
    Case("exactly half on void", [(50, "", "person"), (50, "car", "person")], {"person": FALSE, "car": MISS}, THIRD),
    Case("more than half on void", [(51, "", "person"), (49, "car", "person")], {"person": NONE, "car": MISS}, HALF),
    Case(
        "missed, and forgiven on void",
        [(10, "person", "person"), (30, "person", ""), (50, "", "person")],
        {"person": MISS},
        HALF,
    ),
    Case("wholly on void", [(60, "", "person")], {"person": NONE}, ONE),
    # Crowds.
    Case("on a crowd of its class", [(100, "person-crowd", "person")], {"person": NONE}, ONE),
    Case("on a crowd of another class", [(100, "car-crowd", "person")], {"person": FALSE, "car": NONE}, HALF),
    Case(
        "a crowd stays in the union, and half on it is not more than half",
        [(50, "person", "person"), (50, "person-crowd", "person")],
        {"person": (0, 1, 1)},
        HALF,
    ),
    Case(
        "void and crowd are added",
        [(30, "car", "person"), (30, "person-crowd", "person"), (40, "", "person")],
        {"person": NONE, "car": MISS},
        HALF,
    ),
    Case(
        "of two crowds of a class the last one counts, the small one",
        [(60, "person-crowd a", "person"), (20, "person-crowd b", "person"), (20, "car", "person")],
        {"person": FALSE, "car": MISS},
        THIRD,
    ),
    Case(
        "of two crowds of a class the last one counts, the large one",
        [(20, "person-crowd b", "person"), (60, "person-crowd a", "person"), (20, "car", "person")],
        {"person": NONE, "car": MISS},
        HALF,
    ),
    Case("a crowd need not be found", [(100, "person-crowd", "")], {"person": NONE}, ONE),
    # Several segments for one.
    Case("halves are no match", [(50, "person", "person-1"), (50, "person", "person-2")], {"person": (0, 2, 1)}, HALF),
    Case(
        "the larger part is a match",
        [(60, "person", "person-1"), (40, "person", "person-2")],
        {"person": (1, 1, 0)},
        (0.7, 0.8, 2.5 / 3),
        0.6,
    ),
    Case(
        "two under one",
        [(30, "person-1", "person"), (20, "person-2", "person")],
        {"person": (1, 0, 1)},
        (0.7, 0.8, 2.5 / 3),
        0.6,
    ),
    Case(
        "stuff is not merged in the prediction",
        [(60, "sky", "sky-1"), (40, "sky", "sky-2")],
        {"sky": (1, 1, 0)},
        (0.7, 0.8, 2.5 / 3),
        0.6,
    ),
    Case(
        "stuff is not merged in the truth",
        [(60, "sky-1", "sky"), (40, "sky-2", "sky")],
        {"sky": (1, 0, 1)},
        (0.7, 0.8, 2.5 / 3),
        0.6,
    ),
    # The threshold.
    Case("IoU 0.5", [(50, "person", "person"), (50, "person", "")], {"person": (0, 1, 1)}, HALF),
    Case("IoU 0.51", [(51, "person", "person"), (49, "person", "")], {"person": HIT}, (0.755, 0.755, 1.0), 0.51),
    # Classes, and images.
    Case("another class", [(100, "person", "car")], {"person": MISS, "car": FALSE}, THIRD),
    Case("a class that the truth lacks", [(100, "person", "sky")], {"person": MISS, "sky": FALSE}, THIRD),
    Case(
        "counts are over all images",
        [(100, "person", "person")],
        {"person": (1, 0, 1), "road": (2, 0, 0)},
        (2.5 / 3, 1.0, 2.5 / 3),
        1.0,
        more=[[(100, "person", "")]],
    ),
    # What files may state.
    Case(
        "a true segment without a pixel is missed",
        [(50, "person", "person"), (0, "person-2", "")],
        {"person": (1, 0, 1)},
        (2.5 / 3, 1.0, 2.5 / 3),
        1.0,
    ),
    Case("pixels of no listed segment are no void", [(50, "unlisted", "person")], {"person": FALSE}, HALF),
)
"""`iou` is the sum over the classes of `counts`, the road's left out."""
