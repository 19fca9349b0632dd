"""The exports of masks, as their tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.data.exports.scene import (
    CLASSES,
    COLOURS,
    PICTURES,
    SIZE,
    SPLITS,
    label_map,
    painted,
    write_image,
    write_images,
    write_mask,
    write_text,
)

SHOWN = tuple(name for name, things in PICTURES.items() if things)
"""The pictures that datumaro writes masks of: none where there is no object."""
NAMES = ("background", *CLASSES)


def write_cvat_masks(root: Path) -> Path:
    """CVAT's "Segmentation mask 1.1": RGB masks of classes and of objects, and the colours in labelmap.txt.

    The list names an image without objects too, which has no mask.
    """
    write_images(root / "JPEGImages")
    for name in SHOWN:
        write_mask(root / f"SegmentationClass/{name}.png", painted(name))
        write_mask(root / f"SegmentationObject/{name}.png", objects_in_colours(name))
    write_text(root / "ImageSets/Segmentation/default.txt", "".join(f"{name}\n" for name in PICTURES))
    write_text(root / "labelmap.txt", labelmap())
    return root


def labelmap() -> str:
    """labelmap.txt as datumaro writes it: name:colour:parts:actions, after a line that says so."""
    lines = [f"{name}:{','.join(map(str, COLOURS[name]))}::" for name in NAMES]
    return "\n".join(["# label:color_rgb:parts:actions", *lines, ""])


def objects_in_colours(name: str) -> np.ndarray:
    """The objects in the first colours of VOC: (H, W, 3) uint8."""
    colours = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
    numbers = np.zeros(SIZE, np.uint8)
    for number, thing in enumerate(PICTURES[name], 1):
        numbers[thing.mask] = number
    return colours[numbers]


def write_datumaro_cityscapes(root: Path) -> Path:
    """datumaro's cityscapes: no folders of cities, label numbers of its own, no mask without an object."""
    for split, names in SPLITS.items():
        for name in names:
            write_image(root / f"leftImg8bit/{split}/{name}_leftImg8bit.png", name)
            if name in SHOWN:
                stem = root / f"gtFine/{split}/{name}_gtFine"
                write_mask(Path(f"{stem}_color.png"), painted(name))
                write_mask(Path(f"{stem}_labelIds.png"), label_map(name))
                write_mask(Path(f"{stem}_instanceIds.png"), label_map(name).astype(np.uint16))
    write_text(root / "label_colors.txt", colours(NAMES))
    return root


def colours(names: tuple[str, ...]) -> str:
    """label_colors.txt as datumaro writes it: r g b name."""
    return "".join(f"{' '.join(map(str, COLOURS[name]))} {name}\n" for name in names)


def write_datumaro_camvid(root: Path) -> Path:
    """datumaro's camvid: lists with a slash in front, RGB masks, colours without a background."""
    for split, names in SPLITS.items():
        write_images(root / split, names)
        lines = []
        for name in names:
            mask = f"{split}annot/{name}.png" if name in SHOWN else ""
            lines.append(f"/{split}/{name}.jpg {mask}\n")
            if mask:
                write_mask(root / mask, painted(name))
        write_text(root / f"{split}.txt", "".join(lines))
    write_text(root / "label_colors.txt", colours(CLASSES))
    return root


def write_datumaro_kitti(root: Path) -> Path:
    """datumaro's kitti: image_2, semantic, semantic_rgb and instance, 256 times the class plus the object's number."""
    for split, names in SPLITS.items():
        for name in names:
            write_image(root / f"{split}/image_2/{name}.png", name)
            if name not in SHOWN:
                continue
            ids = np.zeros(SIZE, np.uint16)
            for number, thing in enumerate(PICTURES[name], 1):
                ids[thing.mask] = 256 * (thing.label + 1) + number
            write_mask(root / f"{split}/semantic/{name}.png", label_map(name))
            write_mask(root / f"{split}/semantic_rgb/{name}.png", painted(name))
            write_mask(root / f"{split}/instance/{name}.png", ids)
    write_text(root / "label_colors.txt", colours(NAMES))
    return root


def write_label_studio_brush(root: Path) -> Path:
    """Label Studio's brush labels as PNG, 0 and 255, a file a task and label; the images by their tasks' numbers."""
    for task, (name, things) in enumerate(PICTURES.items(), 1):
        write_image(root / f"images/task-{task}.jpg", name)
        for label in sorted({thing.name for thing in things}):
            mask = np.any([thing.mask for thing in things if thing.name == label], axis=0)
            file = f"task-{task}-annotation-{task + 6}-by-1-tag-{label}-0.png"
            write_mask(root / "masks" / file, mask.astype(np.uint8) * 255)
    return root


def write_roboflow_masks(root: Path) -> Path:
    """Roboflow's semantic masks: x.jpg and x_mask.png in one folder, and "Pixel Value, Class"."""
    for split, names in SPLITS.items():
        folder = root / {"val": "valid"}.get(split, split)
        for name in names:
            stem = f"{name}_jpg.rf.0123456789abcdef"
            write_image(folder / f"{stem}.jpg", name)
            write_mask(folder / f"{stem}_mask.png", label_map(name))
        lines = ["Pixel Value, Class", *(f"{number}, {name}" for number, name in enumerate(NAMES)), ""]
        write_text(folder / "_classes.csv", "\n".join(lines))
    return root


def write_cellpose(root: Path) -> Path:
    """cellpose's masks beside the images: uint16 numbers of objects, and none where there is no object."""
    for name, things in PICTURES.items():
        write_image(root / f"{name}.png", name)
        ids = np.zeros(SIZE, np.uint16)
        for number, thing in enumerate(things, 1):
            ids[thing.mask] = number
        if things:
            write_mask(root / f"{name}_cp_masks.png", ids)
    return root
