"""ADE20K SceneParsing (ADEChallengeData2016): 22,210 scenes, 150 classes. The layout is in data/README.md."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from coatseg.data.annotations.ade20k_instances import MEND, THINGS, segments_of
from coatseg.data.annotations.segment_maps import read_segment_ids
from coatseg.data.download import Archive
from coatseg.data.readers.mask_files import SemanticFiles, check_mask_size
from coatseg.data.readers.official import NumberedMasks, OfficialTree, check_split, official_classes, paired
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import DatasetError, DatasetNotFoundError
from coatseg.registry.names import register
from coatseg.structures import IGNORE_INDEX, DatasetInfo, Sample
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
_PANOPTIC = replace(INFO, annotates=INFO.annotates | {"panoptic"}, things=THINGS)

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

    With `panoptic`, segments are read too: objects of 100 classes from annotations_instance/ of the dataset's challenge
    of 2017, which lies beside annotations/, over the stuff of the masks. Objects of a mask without a number are void.
    With `download`, the dataset is fetched to `root` (1 GB) if it is not there, but not these instances.

    Raises:
        ConfigError: there is no such split.
        DatasetNotFoundError: `root` holds no ADE20K, or no instances of it.
        DatasetError: an image has no mask.
    """

    info = INFO
    archives = (Archive(_ADE20K, brings=("ADEChallengeData2016/images", "ADEChallengeData2016/annotations")),)

    def __init__(self, root: str | Path, split: str, *, panoptic: bool = False, download: bool = False) -> None:
        check_split("ade20k", split, tuple(FOLDERS), server=True)
        layouts = [
            tuple(f"{top}{part}/{FOLDERS[split]}" for part in ("images", "annotations"))
            for top in ("ADEChallengeData2016/", "")
        ]
        images, masks = _TREE.find(Path(root), layouts, download)
        self._instances = masks.parent.with_name(f"{masks.parent.name}_instance") / masks.name if panoptic else None
        if self._instances is not None and not self._instances.is_dir():
            raise DatasetNotFoundError(
                f"There is no folder {self._instances}, which holds the objects of ADE20K.",
                "Get http://sceneparsing.csail.mit.edu/data/ChallengeData2017/annotations_instance.tar and unpack it "
                f"in {masks.parents[1]}, or leave data.panoptic out.",
            )
        super().__init__(_PANOPTIC if panoptic else INFO, paired(images, masks), _READ_MASK)

    def _read(self, pair: MaskedImage) -> Sample:
        sample = super()._read(pair)
        if self._instances is None or sample.label_map is None:
            return sample
        path = self._instances / pair.mask.name
        if not path.exists():
            raise DatasetError(f"The image {pair.image} has no instances {path}.", MEND)
        coded = read_segment_ids(path, MEND)
        check_mask_size(replace(pair, mask=path), coded.shape, sample.original_size)
        return replace(sample, panoptic=segments_of(sample.label_map, coded, path))
