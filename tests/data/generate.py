"""Writes tiny fake datasets in their official layouts: blocks of classes, painted in the colours of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from coatseg.data.datasets.camvid import INFO as CAMVID
from coatseg.structures import Colour

COLOURS: tuple[Colour, ...] = ((0, 0, 0), (220, 30, 40), (30, 200, 60), (40, 60, 230))


def label_map(size: tuple[int, int], labels: Sequence[int], seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw 4 x 4 blocks of `labels`."""
    blocks = np.random.default_rng(seed).choice(np.array(labels, np.uint8), (4, 4))
    return cv2.resize(blocks, size[::-1], interpolation=cv2.INTER_NEAREST)


def painted(labels: np.ndarray, palette: Sequence[Colour], seed: int) -> np.ndarray:
    """Paint labels in their colours, with noise: (H, W, 3) uint8."""
    colours = np.zeros((256, 3), np.int16)
    colours[: len(palette)] = palette
    noise = np.random.default_rng(seed).integers(-20, 21, (*labels.shape, 3))
    return (colours[labels] + noise).clip(0, 255).astype(np.uint8)


def write_camvid(root: Path, *, original: bool = False, count: int = 3, size: tuple[int, int] = (36, 48)) -> Path:
    """Write CamVid; with `original`, PNG images and the author's absolute names in the lists."""
    prefix, suffix = ("/SegNet/CamVid/", "png") if original else ("", "jpg")
    for number, split in enumerate(("train", "val", "test")):
        (root / split).mkdir(parents=True)
        (root / f"{split}annot").mkdir()
        lines = []
        for index in range(count):
            seed = 100 * number + index
            labels = label_map(size, range(12), seed)
            name = f"{seed:04d}TP"
            Image.fromarray(painted(labels, CAMVID.palette, seed)).save(root / split / f"{name}.{suffix}")
            Image.fromarray(labels).save(root / f"{split}annot" / f"{name}.png")
            lines.append(f"{prefix}{split}/{name}.{suffix} {prefix}{split}annot/{name}.png")
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


# layout -> where the image and the mask of (split, stem) go
FOLDER_LAYOUTS = {
    "folders": ("{split}/images/{stem}", "{split}/masks/{stem}"),
    "inner folders": ("images/{split}/{stem}", "masks/{split}/{stem}"),
    "lists": ("images/{stem}", "masks/{stem}"),
    "flat": ("images/{stem}", "masks/{stem}"),
}


def write_folder(
    root: Path,
    *,
    layout: str = "flat",
    count: int = 6,
    size: tuple[int, int] = (32, 40),
    suffix: str = ".png",
    coloured: bool = False,
) -> Path:
    """Write a dataset of one's own: `count` images for each of train and val, classes background, red, green, blue.

    `coloured` paints masks in the classes' colours and writes these in classes.txt.
    """
    image_place, mask_place = FOLDER_LAYOUTS[layout]
    for number, split in enumerate(("train", "val")):
        stems = [f"{split}_{index:02d}" for index in range(count)]
        for index, stem in enumerate(stems):
            seed = 100 * number + index
            labels = label_map(size, (0, 1, 2, 3) if coloured else (0, 1, 2, 3, 255), seed)
            mask = np.array(COLOURS, np.uint8)[labels] if coloured else labels
            places = (place.format(split=split, stem=stem) for place in (image_place, mask_place))
            image_path, mask_path = (root / place for place in places)
            for path in (image_path, mask_path):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(painted(labels, COLOURS, seed)).save(f"{image_path}{suffix}")
            Image.fromarray(mask).save(f"{mask_path}.png")
        if layout == "lists":
            (root / f"{split}.txt").write_text("\n".join(stems) + "\n")
    names = ("background", "red", "green", "blue")
    colours = [" {} {} {}".format(*colour) for colour in COLOURS] if coloured else [""] * 4
    (root / "classes.txt").write_text("".join(f"{name}{colour}\n" for name, colour in zip(names, colours, strict=True)))
    return root


def write_layers(root: Path, classes: Sequence[str], *, count: int = 6, size: tuple[int, int] = (32, 40)) -> Path:
    """Write a folder whose masks are layers of 0 and 255: a rectangle of each class an image, which may overlap.

    Of several classes, the last has no file for the first image. A single class has its masks in masks/ itself.
    """
    random = np.random.default_rng(0)
    height, width = size
    for index in range(count):
        stem = f"{index:02d}"
        image = random.integers(0, 60, (*size, 3)).astype(np.uint8)
        for number, name in enumerate(classes):
            y, x = random.integers(0, height // 2), random.integers(0, width // 2)
            mask = np.zeros(size, np.uint8)
            mask[y : y + height // 2, x : x + width // 2] = 255
            image[..., number % 3] += mask // 2
            path = root / "masks" / (name if len(classes) > 1 else "") / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if not (index == 0 and number == len(classes) - 1 > 0):
                Image.fromarray(mask).save(path)
        (root / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / "images" / f"{stem}.png")
    (root / "classes.txt").write_text("".join(f"{name}\n" for name in classes))
    return root
