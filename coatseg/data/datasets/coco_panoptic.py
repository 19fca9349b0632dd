"""COCO panoptic 2017: 123,287 labelled images, 133 classes. The layout is in data/README.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from coatseg.data.annotations.panoptic import EXPORT_AGAIN, read_annotations
from coatseg.data.annotations.segment_maps import WithoutPixels
from coatseg.data.datasets.coco import IMAGES
from coatseg.data.datasets.coco_stuff import CATEGORIES
from coatseg.data.download import Archive
from coatseg.data.readers.official import OfficialTree, check_split, official_classes
from coatseg.data.readers.panoptic_files import JsonSegments
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.data.trees.split_paths import SplitPaths, path_of_split
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.registry.names import register
from coatseg.system.download import RemoteFile

SPLITS = ("train", "val")

_TREE = OfficialTree(
    "coco_panoptic",
    "COCO panoptic",
    "train2017.zip and val2017.zip from http://images.cocodataset.org/zips/ and unpack them there, and "
    "http://images.cocodataset.org/annotations/panoptic_annotations_trainval2017.zip, with the two archives in its "
    "folder annotations.",
)

# The category ids of COCO's own json, in its order: those of things, then those of stuff.
_IDS = (
    *CATEGORIES[:80],
    92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148, 149, 151, 154, 155,
    156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181, *range(184, 201),
)  # fmt: skip

_UNPACK_AGAIN = (
    "Take both from one release: unpack panoptic_annotations_trainval2017.zip, and the two archives in it, again."
)

_ANNOTATIONS = RemoteFile(
    "http://images.cocodataset.org/annotations/panoptic_annotations_trainval2017.zip",
    "panoptic_annotations_trainval2017.zip",
    860725834,
    "sha256:c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
)


@register("dataset", "coco_panoptic")
class CocoPanoptic(JsonSegments):
    """Reads COCO panoptic's `split`, train or val: segments, and label maps in which each, crowd or not, has its class.

    Void is ignored. `root` holds {split}2017/ (or images/{split}2017/) and annotations/ with panoptic_{split}2017.json
    and the folder of PNG files of that name. Classes are the json's categories, numbered from 0 in its order. With
    `download`, the dataset is fetched to `root` (20 GB) if it is not there.

    Where other names are stated, in `images`, `annotations` (the json) and `masks` (the PNG files), a split may be any
    that they name; in each the word SPLIT stands for the name of the split. Paths are relative to `root`.

    With `instances` things are objects with masks too. A segment of the json that no pixel has stops the run, is left
    out, or is kept and counted as missed, by `without_pixels`.

    Raises:
        ConfigError: there is no such split, or only some names are stated.
        DatasetNotFoundError: `root` holds no COCO panoptic.
        DatasetError: the json is damaged, or annotates nothing.
    """

    facts_in_words = ("133", "semantic, panoptic, instances on request")
    published: ClassVar = dict(zip(official_classes("coco_panoptic")[0], _IDS, strict=True))
    """The category ids of COCO's own json by name, for checkpoints that do not state theirs."""
    archives = (
        *IMAGES,
        Archive(
            _ANNOTATIONS,
            brings=(
                "annotations/panoptic_train2017", "annotations/panoptic_train2017.json",
                "annotations/panoptic_val2017", "annotations/panoptic_val2017.json",
            ),
            into="annotations",
            only="annotations",
            nested=("panoptic_train2017.zip", "panoptic_val2017.zip"),
        ),
    )  # fmt: skip

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        images: SplitPaths | None = None,
        annotations: SplitPaths | None = None,
        masks: SplitPaths | None = None,
        instances: bool = False,
        without_pixels: WithoutPixels = "stop",
        download: bool = False,
    ) -> None:
        named = {"images": images, "annotations": annotations, "masks": masks}
        folder, path, pngs = (
            _named(Path(root), split, named) if any(named.values()) else _official(root, split, download)
        )
        read = read_annotations(path, EXPORT_AGAIN if any(named.values()) else _UNPACK_AGAIN)
        if not read.files:
            raise DatasetError(f"{path} annotates no image.", read.mend)
        pairs = [MaskedImage(Path(image).stem, folder / image, pngs / png) for image, png in read.files]
        super().__init__("coco_panoptic", read, pairs, pngs, instances=instances, without_pixels=without_pixels)


def _official(root: str | Path, split: str, download: bool) -> tuple[Path, ...]:
    check_split("coco_panoptic", split, SPLITS)
    stem = f"annotations/panoptic_{split}2017"
    layouts = [(f"{folder}{split}2017", f"{stem}.json", stem) for folder in ("", "images/")]
    return _TREE.find(Path(root), layouts, download)


def _named(root: Path, split: str, named: Mapping[str, SplitPaths | None]) -> tuple[Path, ...]:
    bare = [option for option, stated in named.items() if not stated]
    if bare:
        raise ConfigError(
            f"data.{' and data.'.join(bare)} {'is' if len(bare) == 1 else 'are'} not named, though other paths are.",
            "Name all three: data.images=images/SPLIT data.annotations=annotations/panoptic_SPLIT.json "
            "data.masks=annotations/panoptic_SPLIT",
        )
    paths = tuple(path_of_split(root, option, stated, split) for option, stated in named.items() if stated)
    for path in paths:
        if not path.exists():
            raise DatasetNotFoundError(f"There is no {path}.", "Correct data.images, data.annotations or data.masks.")
    return paths
