"""COCO-Stuff 164k: 123,287 labelled images, 171 classes. The layout is in data/README.md."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.datasets.coco import IMAGES
from coatseg.data.download import Archive
from coatseg.data.readers.mask_files import SemanticFiles
from coatseg.data.readers.official import NumberedMasks, OfficialTree, check_split, official_classes, paired
from coatseg.registry.names import register
from coatseg.structures import IGNORE_INDEX, DatasetInfo
from coatseg.system.download import RemoteFile

SPLITS = ("train", "val")

# Of the category ids 1 to 182 these name things that COCO never annotated (README of github.com/nightrome/cocostuff).
REMOVED = frozenset({12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91})
CATEGORIES = tuple(category for category in range(1, 183) if category not in REMOVED)
"""The category id of each class, as mmseg's coco_stuff164k numbers the classes."""

_CLASSES, _PALETTE = official_classes("coco_stuff")
INFO = DatasetInfo(
    name="coco_stuff",
    classes=_CLASSES,
    palette=_PALETTE,
    annotates=frozenset({"semantic"}),
    things=tuple(range(80)),
    category_ids=tuple(category - 1 for category in CATEGORIES),  # as the masks have them
)

_TREE = OfficialTree(
    "coco_stuff",
    "COCO-Stuff 164k",
    "train2017.zip and val2017.zip from http://images.cocodataset.org/zips/ and unpack them there, and "
    "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip "
    "into a folder stuffthingmaps there.",
)

_READ_MASK = NumberedMasks(
    "COCO-Stuff",
    {IGNORE_INDEX: IGNORE_INDEX, **{number: label for label, number in enumerate(INFO.category_ids)}},
    "Masks are the grey PNG files of stuffthingmaps_trainval2017.zip: COCO category ids less one, 0 to 181 without the "
    "11 that COCO never annotated, and 255. Masks converted to train ids, 0 to 170, are not.",
)

# The address is stated by the authors, github.com/nightrome/cocostuff; nobody states a checksum.
_MASKS = RemoteFile(
    "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
    "stuffthingmaps_trainval2017.zip",
)


@register("dataset", "coco_stuff")
class CocoStuff(SemanticFiles):
    """Reads COCO-Stuff's `split`, train or val, from the folder `root` that holds {split}2017/ and stuffthingmaps/.

    images/{split}2017 and annotations/{split}2017, the folders of its authors' instructions, are read as well. With
    `download`, the dataset is fetched to `root` (20 GB) if it is not there.

    Raises:
        ConfigError: there is no such split.
        DatasetNotFoundError: `root` holds no COCO-Stuff.
        DatasetError: an image has no mask.
    """

    info = INFO
    archives = (
        *IMAGES,
        Archive(
            _MASKS,
            brings=("stuffthingmaps/train2017", "stuffthingmaps/val2017"),
            elsewhere=("annotations/train2017",),
            into="stuffthingmaps",
        ),
    )

    def __init__(self, root: str | Path, split: str, *, download: bool = False) -> None:
        check_split("coco_stuff", split, SPLITS)
        layouts = [
            (f"{images}{split}2017", f"{masks}/{split}2017")
            for images in ("", "images/")
            for masks in ("stuffthingmaps", "annotations")
        ]
        images, masks = _TREE.find(Path(root), layouts, download)
        super().__init__(INFO, paired(images, masks), _READ_MASK)
