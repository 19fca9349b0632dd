"""COCO 2017, instances: 123,287 images, 80 classes. The layout is in data/README.md."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.annotations.coco_objects import read_objects
from coatseg.data.datasets.object_files import CocoFiles
from coatseg.data.datasets.official import Tree, check_split

SPLITS = ("train", "val")

_TREE = Tree(
    "coco",
    "COCO 2017",
    "train2017.zip and val2017.zip from http://images.cocodataset.org/zips/ and "
    "http://images.cocodataset.org/annotations/annotations_trainval2017.zip, and unpack them there.",
)


class Coco(CocoFiles):
    """COCO's instances 2017, the `split` train or val: boxes and masks of 80 classes; images without any are kept.

    `root` holds {split}2017/ (or images/{split}2017/) and annotations/instances_{split}2017.json. `download` fetches it
    to `root` (20 GB) if it is not there.

    Raises:
        ConfigError: no such split.
        DatasetNotFoundError: `root` holds no COCO.
        DatasetError: the json is damaged or does not fit together, or an image is missing.
    """

    def __init__(self, root: str | Path, split: str, *, download: bool = False) -> None:
        check_split("coco", split, SPLITS)
        layouts = [(f"{folder}{split}2017", f"annotations/instances_{split}2017.json") for folder in ("", "images/")]
        images, path = _TREE.find(Path(root), layouts, download)
        super().__init__("coco", images, read_objects(path))
