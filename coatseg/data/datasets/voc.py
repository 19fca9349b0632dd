"""Pascal VOC 2012 segmentation, 21 classes with background, and its augmented list. The layout is in data/README.md."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.annotations.classes import first_repeated, generated_palette, read_lines
from coatseg.data.download import Archive
from coatseg.data.readers.mask_files import SemanticFiles
from coatseg.data.readers.official import NumberedMasks, OfficialTree, check_split
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import DatasetError, SplitNotFoundError
from coatseg.registry.names import register
from coatseg.structures import IGNORE_INDEX, DatasetInfo
from coatseg.system.download import RemoteFile

SPLITS = ("train", "val", "trainval")
AUGMENTED_LISTS = (
    "ImageSets/Segmentation/trainaug.txt",
    "ImageSets/SegmentationAug/train_aug.txt",
    "ImageSets/Segmentation/train_aug.txt",
    "ImageSets/SegmentationAug/trainaug.txt",
)
"""The places where mmseg, DeepLab and others keep the list of 10,582 images."""
AUGMENTED_MASKS = "SegmentationClassAug"

INFO = DatasetInfo(
    name="voc",
    classes=(
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    ),
    palette=generated_palette(21),
    annotates=frozenset({"semantic"}),
)  # fmt: skip

_TREE = OfficialTree(
    "voc",
    "Pascal VOC 2012",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar and unpack it there.",
)

_READ_MASK = NumberedMasks(
    "Pascal VOC",
    {IGNORE_INDEX: IGNORE_INDEX, **{label: label for label in range(len(INFO.classes))}},
    "Masks are PNG files, most with a palette, whose indices are 0 to 20, and 255 for void. Copy them again from their "
    "archive: opened and saved as RGB they keep nothing but colours.",
)

# The md5 is stated by torchvision, datasets/voc.py.
_VOC = RemoteFile(
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "VOCtrainval_11-May-2012.tar",
    checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
)


@register("dataset", "voc")
class VOC(SemanticFiles):
    """Reads Pascal VOC 2012's `split`: train, val or trainval.

    `root` is VOCdevkit/VOC2012, VOCdevkit, or the folder that holds it. With `augmented`, train is the list of 10,582
    images with the masks of SBD (Hariharan et al., "Semantic contours from inverse detectors", ICCV 2011), trainval is
    that list and val, and val stays the same. A mask is read from SegmentationClass, whose masks have VOC's void
    borders, if it is there, else from SegmentationClassAug. With `download`, VOC is fetched to `root` (2 GB) if it is
    not there; it does not include the augmented masks.

    Raises:
        ConfigError: there is no such split.
        DatasetNotFoundError: `root` holds no VOC.
        DatasetError: a list is missing, empty or malformed.
    """

    info = INFO
    archives = (
        Archive(
            _VOC,
            brings=(
                "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass",
                "VOCdevkit/VOC2012/ImageSets/Segmentation",
            ),
        ),
    )  # fmt: skip

    def __init__(self, root: str | Path, split: str, *, augmented: bool = False, download: bool = False) -> None:
        check_split("voc", split, SPLITS, server=True)
        layouts = [(f"{top}JPEGImages", f"{top}SegmentationClass") for top in ("VOCdevkit/VOC2012/", "VOC2012/", "")]
        images, _ = _TREE.find(Path(root), layouts, download)
        super().__init__(INFO, _pairs(images.parent, split, augmented), _READ_MASK)


def _pairs(top: Path, split: str, augmented: bool) -> list[MaskedImage]:
    if not augmented or split == "val":
        return _listed(top, _official_list(top, split), "SegmentationClass")
    pairs = _listed(top, _augmented_list(top), AUGMENTED_MASKS)
    return pairs if split == "train" else [*pairs, *_pairs(top, "val", augmented)]


def _official_list(top: Path, split: str) -> Path:
    folder = top / "ImageSets" / "Segmentation"
    there = [name for name in SPLITS if (folder / f"{name}.txt").is_file()]
    if split not in there:
        raise SplitNotFoundError(
            f"Pascal VOC in {top} has no list {folder / split}.txt; "
            f"there are the splits: {', '.join(there) or 'none'}.",
            "Unpack VOCtrainval_11-May-2012.tar again, whole, or choose another split.",
        )
    return folder / f"{split}.txt"


def _augmented_list(top: Path) -> Path:
    path = next((top / name for name in AUGMENTED_LISTS if (top / name).is_file()), None)
    if path is None or not (top / AUGMENTED_MASKS).is_dir():
        missing = AUGMENTED_MASKS if path else AUGMENTED_LISTS[0]
        raise DatasetError(
            f"data.augmented=true, but there is no {top / missing}.",
            "The augmented masks and their list are made from SBD; data/README.md says how. "
            "Or set data.augmented=false.",
        )
    return path


def _listed(top: Path, path: Path, masks: str) -> list[MaskedImage]:
    """Return the pairs that a list names; masks that VOC itself does not have are in the folder `masks`."""
    official = {mask.stem for mask in (top / "SegmentationClass").glob("*.png")}
    images = {image.stem for image in (top / "JPEGImages").glob("*.jpg")}
    pairs = []
    for number, words in enumerate(map(str.split, read_lines(path)), 1):
        if len(words) == 1 and words[0] not in images:
            raise DatasetError(
                f"{path}, line {number}: there is no image {words[0]}.jpg in {top / 'JPEGImages'}.",
                "Unpack the archive of the images again, whole, or take the line out.",
            )
        if len(words) == 1:
            folder = "SegmentationClass" if words[0] in official else masks
            pairs.append(
                MaskedImage(words[0], top / "JPEGImages" / f"{words[0]}.jpg", top / folder / f"{words[0]}.png")
            )
        elif len(words) == 2 and all(Path(word).suffix for word in words):  # as in DeepLab's lists, from `top`
            image, mask = (word.lstrip("/") for word in words)
            pairs.append(MaskedImage(Path(image).stem, top / image, top / mask))
        elif words:
            raise DatasetError(
                f"{path}, line {number}: {' '.join(words)!r} names no image.", "Write a stem, such as 2007_000032."
            )
    if not pairs:
        raise DatasetError(f"The list {path} is empty.", "Copy it again from its archive.")
    twice = first_repeated(pair.id for pair in pairs)
    if twice is not None:
        raise DatasetError(f"The list {path} names {twice} twice.", "List each image once.")
    return pairs
