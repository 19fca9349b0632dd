"""COCO 2017, instances: 123,287 images, 80 classes. The layout is in data/README.md."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.annotations.formats.coco import read_objects
from coatseg.data.annotations.objects.options import ObjectOptions
from coatseg.data.download import Archive
from coatseg.data.readers.object_files import CocoFiles
from coatseg.data.readers.official import OfficialTree, check_split
from coatseg.registry.names import register
from coatseg.system.download import RemoteFile

SPLITS = ("train", "val")

_TREE = OfficialTree(
    "coco",
    "COCO 2017",
    "train2017.zip and val2017.zip from http://images.cocodataset.org/zips/ and "
    "http://images.cocodataset.org/annotations/annotations_trainval2017.zip, and unpack them there.",
)

# Sizes and sha256 of COCO's own archives are stated by tensorflow_datasets, url_checksums/coco.txt.
_TRAIN = Archive(
    RemoteFile(
        "http://images.cocodataset.org/zips/train2017.zip",
        "train2017.zip",
        19336861798,
        "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    brings=("train2017",),
    elsewhere=("images/train2017",),
)
_VAL = Archive(
    RemoteFile(
        "http://images.cocodataset.org/zips/val2017.zip",
        "val2017.zip",
        815585330,
        "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    brings=("val2017",),
    elsewhere=("images/val2017",),
)
IMAGES = (_TRAIN, _VAL)
"""The archives of the images, which the readers of all annotations of COCO share."""

_OBJECTS = RemoteFile(
    "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
    "annotations_trainval2017.zip",
    252907541,
    "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)


@register("dataset", "coco")
class Coco(CocoFiles):
    """Reads COCO's instances 2017, `split` train or val: boxes and masks of 80 classes; images without any are kept.

    `root` holds {split}2017/ (or images/{split}2017/) and annotations/instances_{split}2017.json. With `download`, the
    dataset is fetched to `root` (20 GB) if it is not there. `options` say which classes are taken, and what crowds are.

    Raises:
        ConfigError: there is no such split, or a class is chosen that COCO does not have.
        DatasetNotFoundError: `root` holds no COCO.
        DatasetError: the json is damaged or inconsistent, or an image is missing.
    """

    facts_in_words = ("80", "boxes, instances")
    archives = (
        *IMAGES,
        Archive(
            _OBJECTS,
            brings=("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            into="annotations",
            only="annotations",
        ),
    )

    def __init__(
        self, root: str | Path, split: str, *, download: bool = False, options: ObjectOptions = ObjectOptions()
    ) -> None:
        check_split("coco", split, SPLITS, server=True)
        layouts = [(f"{folder}{split}2017", f"annotations/instances_{split}2017.json") for folder in ("", "images/")]
        images, path = _TREE.find(Path(root), layouts, download)
        super().__init__("coco", images, read_objects(path, options))
