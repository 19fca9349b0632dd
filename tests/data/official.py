"""Writes tiny fake datasets in the layouts that their owners publish: blocks of the numbers that their masks hold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from coatseg.data.annotations.classes import generated_palette
from tests.data.generate import label_map, painted

COLOURS = generated_palette(256)
SIZE = (36, 48)


def write_pair(image: Path, mask: Path, stored: Sequence[int], seed: int, colours: Sequence = ()) -> None:
    """Write an image and its mask of blocks of `stored`; `colours` makes it a PNG with that palette."""
    numbers = label_map(SIZE, stored, seed)
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(painted(numbers, COLOURS, seed)).save(image)
    picture = Image.fromarray(numbers)
    if colours:
        picture = picture.convert("P")
        picture.putdata(numbers.ravel().tolist())
        picture.putpalette(np.array(colours, np.uint8).ravel().tolist())
    picture.save(mask)


def write_ade20k(root: Path, count: int = 3) -> Path:
    """Write ADE20K SceneParsing as its archive unpacks."""
    top = root / "ADEChallengeData2016"
    for number, (folder, split) in enumerate({"training": "train", "validation": "val"}.items()):
        for index in range(count):
            name = f"ADE_{split}_{index + 1:08d}"
            images, masks = (top / part / folder for part in ("images", "annotations"))
            write_pair(images / f"{name}.jpg", masks / f"{name}.png", (0, 1, 2, 75, 150), 10 * number + index)
    return root


def write_ade20k_instances(root: Path) -> Path:
    """Write ADE20K with annotations_instance as its archive unpacks: red is the class of 100, green the object."""
    top = write_ade20k(root) / "ADEChallengeData2016"
    for number, mask in enumerate(sorted(top.glob("annotations/*/*.png"))):
        places = label_map(SIZE, range(4), number + 50)
        coded = np.array([(0, 0, 0), (4, 1, 0), (4, 2, 0), (100, 3, 0)], np.uint8)[places]
        path = top / "annotations_instance" / mask.relative_to(top / "annotations")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coded).save(path)
    return root


CITIES = {"train": "aachen", "val": "frankfurt", "test": "berlin"}
LABEL_IDS = (0, 1, 4, 7, 8, 11, 14, 23, 26, 29, 33)
TRAIN_IDS = (0, 1, 2, 10, 13, 18, 255)


def write_cityscapes(
    root: Path, count: int = 3, masks: str = "labelIds", stored: Sequence[int] = LABEL_IDS, test: Sequence[int] = (0, 3)
) -> Path:
    """Write Cityscapes; `masks` is what the masks' names end in, `test` what those of test hold."""
    for number, (split, city) in enumerate(CITIES.items()):
        for index in range(count):
            stem = f"{city}_{index:06d}_000019"
            image = root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png"
            mask = root / "gtFine" / split / city / f"{stem}_gtFine_{masks}.png"
            write_pair(image, mask, test if split == "test" else stored, 10 * number + index)
    return root


def write_cityscapes_instances(root: Path, ids: Sequence[int] = (7, 24, 24001, 26000, 26001, 29000)) -> Path:
    """Write Cityscapes with instanceIds: blocks of `ids`, below 1000 for stuff and groups."""
    write_cityscapes(root)
    for number, mask in enumerate(sorted(root.glob("gtFine/*/*/*_labelIds.png"))):
        places = label_map(SIZE, range(len(ids)), number)
        stored = np.array(ids, np.uint16)[places]
        Image.fromarray(stored).save(mask.with_name(mask.name.replace("labelIds", "instanceIds")))
    return root


def write_voc(root: Path, count: int = 3, augmented: int = 0) -> Path:
    """Write VOCdevkit/VOC2012, with `augmented` images of SBD besides, listed as mmseg does."""
    top = root / "VOCdevkit" / "VOC2012"
    lists = top / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    stems = {
        split: [f"{year}_{index:06d}" for index in range(count)] for split, year in (("train", 2007), ("val", 2008))
    }
    for seed, stem in enumerate([*stems["train"], *stems["val"]]):
        mask = top / "SegmentationClass" / f"{stem}.png"
        write_pair(top / "JPEGImages" / f"{stem}.jpg", mask, (0, 1, 15, 20, 255), seed, COLOURS)
    for split, names in {**stems, "trainval": stems["train"] + stems["val"]}.items():
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    more = [f"2010_{index:06d}" for index in range(augmented)]
    for seed, stem in enumerate(more, 50):
        mask = top / "SegmentationClassAug" / f"{stem}.png"
        write_pair(top / "JPEGImages" / f"{stem}.jpg", mask, (0, 3, 7), seed)
    if augmented:
        (lists / "trainaug.txt").write_text("\n".join([*stems["train"], *more]) + "\n")
    return root


def write_coco_stuff(root: Path, count: int = 3, images: str = "", masks: str = "stuffthingmaps") -> Path:
    """Write COCO-Stuff 164k."""
    for number, split in enumerate(("train2017", "val2017")):
        for index in range(count):
            stem = f"{100 * number + index + 1:012d}"
            image, mask = root / images / split / f"{stem}.jpg", root / masks / split / f"{stem}.png"
            write_pair(image, mask, (0, 12, 89, 91, 181, 255), 10 * number + index)
    return root


# As COCO's json states them: no colours, category ids with gaps.
CATEGORIES = (
    {"supercategory": "person", "isthing": 1, "id": 1, "name": "person"},
    {"supercategory": "outdoor", "isthing": 1, "id": 13, "name": "stop sign"},
    {"supercategory": "solid", "isthing": 0, "id": 118, "name": "floor-wood"},
    {"supercategory": "sky", "isthing": 0, "id": 187, "name": "sky-other-merged"},
)
# segment id -> (category id, is it a crowd); 0 is void. The ids need one, two and three bytes.
SEGMENTS = {200: (1, 0), 1000: (1, 1), 70000: (13, 0), 16777215: (118, 0), 65536: (187, 0)}


def write_coco_panoptic(root: Path, count: int = 3) -> Path:
    """Write COCO panoptic."""
    ids = np.array([0, *SEGMENTS])
    for number, split in enumerate(("train2017", "val2017")):
        masks = root / "annotations" / f"panoptic_{split}"
        for folder in (root / split, masks):
            folder.mkdir(parents=True)
        images, annotations = [], []
        for index in range(count):
            key = 100 * number + index + 1
            places = label_map(SIZE, range(len(ids)), key)
            Image.fromarray(painted(places, COLOURS, key)).save(root / split / f"{key:012d}.jpg")
            write_segment_ids(masks / f"{key:012d}.png", ids[places])
            found = [
                {"id": part, "category_id": category, "iscrowd": crowd, "bbox": [0, 0, 1, 1],
                 "area": int((ids[places] == part).sum())}
                for part, (category, crowd) in SEGMENTS.items()
                if part in ids[places]
            ]  # fmt: skip
            images.append({"id": key, "file_name": f"{key:012d}.jpg", "height": SIZE[0], "width": SIZE[1]})
            annotations.append({"image_id": key, "file_name": f"{key:012d}.png", "segments_info": found})
        content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
        (root / "annotations" / f"panoptic_{split}.json").write_text(json.dumps(content))
    return root


def write_panoptic_json(root: Path, count: int = 6) -> Path:
    """Write images/, panoptic/ and panoptic.json of one's own: the train split of COCO panoptic by other names."""
    write_coco_panoptic(root, count)
    (root / "train2017").rename(root / "images")
    (root / "annotations" / "panoptic_train2017").rename(root / "panoptic")
    (root / "annotations" / "panoptic_train2017.json").rename(root / "panoptic.json")
    for left in (root / "val2017", root / "annotations"):
        shutil.rmtree(left)
    return root


def write_segment_ids(path: Path, ids: np.ndarray) -> None:
    """Write segment ids (H, W) in the colours of a PNG."""
    Image.fromarray(np.dstack([ids, ids >> 8, ids >> 16]).astype(np.uint8)).save(path)
