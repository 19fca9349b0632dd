"""The dataset `scenes`: streets painted by a seeded generator, so that everything runs without a download."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np

from coatseg.errors import ConfigError, SplitNotFoundError, nearest
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.scenes.render import Scene, render
from coatseg.scenes.world.canvas import CAR, FIRST_THING, PERSON, SIGN
from coatseg.structures import DatasetInfo, Instances, Panoptic, Sample, Segment, Size

LEAST_SIZE = 32
"""The least side of a scene in pixels."""

INFO = DatasetInfo(
    name="scenes",
    classes=("sky", "building", "tree", "road", "pavement", "car", "person", "pole", "sign"),
    palette=(
        (70, 130, 180), (70, 70, 70), (107, 142, 35), (128, 64, 128), (244, 35, 232),
        (0, 0, 142), (220, 20, 60), (153, 153, 153), (220, 220, 0),
    ),
    annotates=frozenset({"semantic", "boxes", "instances", "panoptic"}),
    things=(CAR, PERSON, SIGN),
)  # fmt: skip

SPLITS = ("train", "val", "test")


@register("dataset", "scenes")
class Scenes:
    """Street scenes that are a pure function of (seed, split, index, size).

    Splits never share a scene. Cars, persons and signs have instances; all else is stuff.
    """

    info = INFO

    def __init__(
        self,
        split: str,
        *,
        size: Size = (256, 256),
        train_images: PositiveInt = 2000,
        val_images: PositiveInt = 100,
        test_images: PositiveInt = 100,
        seed: int = 0,
    ) -> None:
        if split not in SPLITS:
            raise SplitNotFoundError(f"scenes has no split {split!r}.", nearest(split, SPLITS))
        if min(size) < LEAST_SIZE:
            raise ConfigError(
                f"data.size={list(size)} is too small to draw a street in.", f"The least is {LEAST_SIZE}."
            )
        self.split = split
        self.image_size = size
        self.seed = seed
        self.length = dict(zip(SPLITS, (train_images, val_images, test_images), strict=True))[split]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"{self.split} has {self.length} scenes, there is no number {index}")
        scene = render(Random(f"{self.seed}/{self.split}/{index}"), self.image_size)
        labels = np.zeros(256, np.uint8)
        labels[: len(scene.labels)] = scene.labels
        seen = np.flatnonzero(cv2.calcHist([scene.ids], [0], None, [256], [0, 256]).ravel())
        segments = tuple(Segment(id=int(number) + 1, label=int(labels[number])) for number in seen)
        return Sample(
            id=f"{self.split}_{index:05d}",
            image=scene.image,
            original_size=self.image_size,
            label_map=cv2.LUT(scene.ids, labels),
            instances=_instances(scene, labels, seen[seen >= FIRST_THING]),
            panoptic=Panoptic(scene.ids.astype(np.int32) + 1, segments),
        )

    def verify(self, index: int) -> None:
        """Do nothing: a generated scene cannot be damaged."""

    def size(self, index: int) -> Size:
        """Return the (height, width) that all scenes have."""
        return self.image_size


def _instances(scene: Scene, labels: np.ndarray, things: np.ndarray) -> Instances:
    """Return the things with these identities (N,) as the instances of a scene."""
    masks = scene.ids[None] == things[:, None, None].astype(np.uint8)
    corners = np.array([cv2.boundingRect(mask.view(np.uint8)) for mask in masks], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return Instances(
        boxes=corners, labels=labels[things].astype(np.int64), masks=masks, crowd=np.zeros(len(things), bool)
    )
