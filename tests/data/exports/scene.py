"""The pictures that every export shows: two objects, two odd ones, none; what they are is written here by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 64)
CLASSES = ("cat", "dog")
COLOURS = {"background": (0, 0, 0), "cat": (250, 50, 83), "dog": (61, 61, 245)}
"""Those that CVAT gives to labels."""
Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Thing:
    """An object: rectangles x1, y1, x2, y2 in edges between pixels, less holes."""

    name: str
    parts: tuple[Corners, ...]
    holes: tuple[Corners, ...] = ()

    @property
    def label(self) -> int:
        return CLASSES.index(self.name)

    @property
    def mask(self) -> np.ndarray:
        """Its pixels: (H, W) bool."""
        mask = np.zeros(SIZE, bool)
        for x1, y1, x2, y2 in self.parts:
            mask[y1:y2, x1:x2] = True
        for x1, y1, x2, y2 in self.holes:
            mask[y1:y2, x1:x2] = False
        return mask

    @property
    def area(self) -> int:
        return int(self.mask.sum())

    @property
    def box(self) -> Corners:
        left, top, right, bottom = zip(*self.parts, strict=True)
        return min(left), min(top), max(right), max(bottom)


SQUARE = Thing("cat", ((10, 10, 30, 30),))
THIN = Thing("dog", ((40, 5, 41, 25),))
TWO_PARTS = Thing("cat", ((4, 4, 14, 14), (4, 30, 18, 44)))
RING = Thing("dog", ((40, 4, 60, 24),), holes=((46, 10, 52, 16),))
PICTURES: dict[str, tuple[Thing, ...]] = {"pair": (SQUARE, THIN), "holes": (TWO_PARTS, RING), "empty": ()}
"""By their stems, of which a hash puts holes into val and the others into train."""
SPLITS = {"train": ("pair", "empty"), "val": ("holes",)}


def write_image(path: Path, name: str) -> Path:
    """Write a picture, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(name)).integers(0, 60, (*SIZE, 3)).astype(np.uint8)
    for number, thing in enumerate(PICTURES[name]):
        pixels[thing.mask, number % 3] += 150
    Image.fromarray(pixels).save(path)
    return path


def write_images(folder: Path, names: Iterable[str] = tuple(PICTURES), ending: str = ".jpg") -> None:
    """Write pictures into a folder."""
    for name in names:
        write_image(folder / f"{name}{ending}", name)


def label_map(name: str, numbers: Sequence[int] = (1, 2)) -> np.ndarray:
    """The numbers of the classes' pixels, 0 elsewhere: (H, W) uint8."""
    labels = np.zeros(SIZE, np.uint8)
    for thing in PICTURES[name]:
        labels[thing.mask] = numbers[thing.label]
    return labels


def painted(name: str) -> np.ndarray:
    """The classes in their colours: (H, W, 3) uint8."""
    return np.array(list(COLOURS.values()), np.uint8)[label_map(name)]


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write an array as a PNG as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


def write_text(path: Path, text: str) -> None:
    """Write a text, and the folder that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def ring_of(corners: Corners) -> list[tuple[int, int]]:
    """The corners of a rectangle, clockwise from the upper left."""
    x1, y1, x2, y2 = corners
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
