"""ADE20K SceneParsing (ADEChallengeData2016): 22,210 scenes, 150 classes. The layout is in data/README.md."""

from __future__ import annotations

from pathlib import Path

from coatseg.data.download import Archive
from coatseg.data.readers.mask_files import SemanticFiles
from coatseg.data.readers.official import NumberedMasks, OfficialTree, check_split, official_classes, paired
from coatseg.registry.names import register
from coatseg.structures import IGNORE_INDEX, DatasetInfo
from coatseg.system.download import RemoteFile

# split -> its folder
FOLDERS = {"train": "training", "val": "validation"}

_CLASSES, _PALETTE = official_classes("ade20k")
INFO = DatasetInfo(
    name="ade20k",
    classes=_CLASSES,
    palette=_PALETTE,
    annotates=frozenset({"semantic"}),
    category_ids=tuple(range(1, len(_CLASSES) + 1)),
)

_TREE = OfficialTree(
    "ade20k",
    "ADE20K SceneParsing",
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip and unpack it there.",
)

# 0 is "other objects", which the benchmark leaves out.
_READ_MASK = NumberedMasks(
    "ADE20K SceneParsing",
    {0: IGNORE_INDEX, **{number: label for label, number in enumerate(INFO.category_ids)}},
    "Masks are grey PNG files of 0 to 150, as annotations/ of ADEChallengeData2016.zip has them. The colour pictures "
    "of the full ADE20K are not, nor are masks whose 0 was made 255.",
)

# The address is that of the benchmark's page; the sha1 is stated by gluoncv, scripts/datasets/ade20k.py.
_ADE20K = RemoteFile(
    "http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
    "ADEChallengeData2016.zip",
    checksum="sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
)


@register("dataset", "ade20k")
class ADE20K(SemanticFiles):
    """Reads ADE20K's `split`, train or val, from the folder `root` that is or holds ADEChallengeData2016/.

    With `download`, the dataset is fetched to `root` (1 GB) if it is not there.

    Raises:
        ConfigError: there is no such split.
        DatasetNotFoundError: `root` holds no ADE20K.
        DatasetError: an image has no mask.
    """

    info = INFO
    archives = (Archive(_ADE20K, brings=("ADEChallengeData2016/images", "ADEChallengeData2016/annotations")),)

    def __init__(self, root: str | Path, split: str, *, download: bool = False) -> None:
        check_split("ade20k", split, tuple(FOLDERS), server=True)
        layouts = [
            tuple(f"{top}{part}/{FOLDERS[split]}" for part in ("images", "annotations"))
            for top in ("ADEChallengeData2016/", "")
        ]
        images, masks = _TREE.find(Path(root), layouts, download)
        super().__init__(INFO, paired(images, masks), _READ_MASK)
