"""Cityscapes, fine annotations: 3,475 labelled road scenes, 19 classes. The layout is in data/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from coatseg.data.annotations.cityscapes_ids import GROUP_IDS, InstanceIds, check_instance_ids
from coatseg.data.annotations.objects.options import ClassChoice
from coatseg.data.images.reading import read_image, read_label_map
from coatseg.data.readers.mask_files import SemanticFiles, check_mask_size
from coatseg.data.readers.official import NumberedMasks, OfficialTree, check_split
from coatseg.data.readers.panoptic_files import OBJECTS
from coatseg.data.trees.masked_image import MaskedImage
from coatseg.errors import CoatsegError, ConfigError, DatasetError, SplitNotFoundError
from coatseg.registry.names import register
from coatseg.structures import IGNORE_INDEX, DatasetInfo, Pixels, Sample, Size

SPLITS = ("train", "val", "test")

COUNT = 34
# The id of each class among the 34 of the labelIds files; all others are left out.
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# The class numbers are the train ids of cityscapesScripts, helpers/labels.py, which has the colours too.
INFO = DatasetInfo(
    name="cityscapes",
    classes=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    palette=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0),
        (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
    annotates=frozenset({"semantic"}),
    things=tuple(range(11, 19)),
    category_ids=IDS,
)  # fmt: skip

_TREE = OfficialTree(
    "cityscapes",
    "Cityscapes",
    "an account at https://www.cityscapes-dataset.com, download leftImg8bit_trainvaltest.zip and "
    "gtFine_trainvaltest.zip, and unpack both there.",
    account=True,
)

_IMAGE = "_leftImg8bit.png"
# The end of a mask's name, the preferred one first -> its reader.
_READERS = {
    "_gtFine_labelIds.png": NumberedMasks(
        "Cityscapes",
        {**dict.fromkeys((*range(COUNT), 255), IGNORE_INDEX), **{value: label for label, value in enumerate(IDS)}},
        "Masks are the *_gtFine_labelIds.png of gtFine_trainvaltest.zip: grey PNG files of the ids 0 to 33. "
        "*_gtFine_color.png are pictures to look at.",
    ),
    "_gtFine_labelTrainIds.png": NumberedMasks(
        "Cityscapes",
        {IGNORE_INDEX: IGNORE_INDEX, **{label: label for label in range(len(IDS))}},
        "*_gtFine_labelTrainIds.png are grey PNG files of 0 to 18 and 255, as csCreateTrainIdLabelImgs of "
        "cityscapesScripts makes them.",
    ),
}

_INSTANCES = "_gtFine_instanceIds.png"
_THING_IDS = tuple(IDS[label] for label in INFO.things)
CHECKED = 8
"""How many files of instances are looked into for one at least when the dataset is opened."""


@register("dataset", "cityscapes")
class Cityscapes(SemanticFiles):
    """Reads Cityscapes' `split`, train, val or test, from the folder `root` that holds leftImg8bit/ and gtFine/.

    Masks are *_gtFine_labelIds.png, or *_gtFine_labelTrainIds.png if those are missing. The labels of test are not
    public: its masks hold no class, and are refused. Images may lie in the folder of a city or directly in that of the
    split, and masks likewise.

    With `instances`, persons and vehicles are read too, from *_gtFine_instanceIds.png; groups of them that were not
    separated are crowd. If `choice` names some of these classes, the dataset is one of their objects alone, without
    labels of pixels. With `panoptic`, segments are read from the same files, as createPanopticImgs.py of
    cityscapesScripts makes them of these: persons, vehicles, groups of them, and one segment of each class of stuff;
    label maps are then those of the segments.

    Cityscapes cannot be downloaded without an account, so `download` only says where to get it.

    Raises:
        ConfigError: there is no such split, or classes are chosen that are none, or chosen for segments.
        DatasetNotFoundError: `root` holds no Cityscapes.
        DatasetError: there are no images, an image has no mask, or the test split has no labels.
    """

    info = INFO
    account = (
        "Register at https://www.cityscapes-dataset.com, fetch leftImg8bit_trainvaltest.zip and "
        "gtFine_trainvaltest.zip there, and unpack both in {root}, which then holds leftImg8bit/ and gtFine/."
    )

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        instances: bool = False,
        panoptic: bool = False,
        choice: ClassChoice = ClassChoice(),
        download: bool = False,
    ) -> None:
        check_split("cityscapes", split, SPLITS)
        layouts = [(f"{top}leftImg8bit/{split}", f"{top}gtFine/{split}") for top in ("", "cityscapes/")]
        there = [tuple((Path(root) / part).is_dir() for part in layout) for layout in layouts]
        if split == "test" and (True, False) in there and (True, True) not in there:
            raise _without_labels(f"There are no masks of test in {root}")
        images, masks = _TREE.find(Path(root), layouts, download)
        found = (*images.glob(f"[!.]*{_IMAGE}"), *images.glob(f"*/[!.]*{_IMAGE}"))
        if not found:
            raise DatasetError(f"There is no CITY/*{_IMAGE} in {images}.", "Unpack leftImg8bit_trainvaltest.zip again.")
        pairs = [_pair(image, masks / image.parent.relative_to(images)) for image in sorted(found)]
        if split == "test" and (_read_mask(pairs[0].mask) == IGNORE_INDEX).all():
            raise _without_labels(f"The masks in {masks} hold no class")
        info, labels = _facts(instances, panoptic, choice)
        super().__init__(info, pairs, _read_mask)
        self._ids = InstanceIds(labels, info.things, info.ignore_index)
        self.repairs = _without_instances(pairs) if instances or panoptic else ()

    def labels(self, index: int) -> Pixels:
        """Read only the label map (H, W) of a sample; raises what reading all of it would."""
        if "panoptic" not in self.info.annotates:
            return super().labels(index)
        return self._ids.segments(_read_ids(self._pairs[index])).label_map

    def _read(self, pair: MaskedImage) -> Sample:
        annotates = self.info.annotates
        if "semantic" in annotates and "panoptic" not in annotates:
            sample = super()._read(pair)
        else:
            image = read_image(pair.image, self.info.channels)
            sample = Sample(pair.id, image, (image.shape[0], image.shape[1]), file=str(pair.image))
        if annotates == {"semantic"}:
            return sample
        ids = _read_ids(pair, sample.original_size)
        if "panoptic" in annotates:
            read = self._ids.segments(ids)
            sample = replace(sample, label_map=read.label_map, panoptic=read.panoptic)
        return replace(sample, instances=self._ids.objects(ids)) if "instances" in annotates else sample


def _without_labels(what: str) -> SplitNotFoundError:
    return SplitNotFoundError(
        f"{what}: the labels of Cityscapes' test split are not public.",
        "Evaluate on split=val. Test is scored by the server at https://www.cityscapes-dataset.com alone: "
        "coatseg predict ... for=cityscapes writes what it takes.",
    )


def _facts(instances: bool, panoptic: bool, choice: ClassChoice) -> tuple[DatasetInfo, Pixels]:
    """Return what the dataset is of, and the class number (34,) of each id, -1 for those left out."""
    labels = np.full(COUNT, -1)
    if choice == ClassChoice():
        labels[list(IDS)] = range(len(IDS))
        more = {*(OBJECTS if instances else ()), *(("panoptic",) if panoptic else ())}
        return replace(INFO, annotates=INFO.annotates | more), labels
    if not instances or panoptic:
        raise ConfigError(
            "data.classes and data.leave_out choose among the objects of Cityscapes.",
            "Set data.instances=true as well, and leave data.panoptic out.",
        )
    chosen = choice.chosen([INFO.classes[label] for label in INFO.things], "Cityscapes with instances")
    labels[list(_THING_IDS)] = chosen.labels
    numbers = [INFO.things[place] for place in chosen.places.tolist()]
    info = replace(
        INFO,
        classes=chosen.names,
        palette=tuple(INFO.palette[number] for number in numbers),
        annotates=frozenset(OBJECTS),
        things=tuple(range(len(numbers))),
        category_ids=tuple(IDS[number] for number in numbers),
    )
    return info, labels


def _pair(image: Path, folder: Path) -> MaskedImage:
    stem = image.name.removesuffix(_IMAGE)
    mask = next((path for path in (folder / f"{stem}{ending}" for ending in _READERS) if path.exists()), None)
    if mask is None:
        picture = folder / f"{stem}_gtFine_color.png"
        only = f", only {picture.name}, a picture to look at" if picture.exists() else ""
        raise DatasetError(
            f"The image {image} has no mask {folder / stem}_gtFine_labelIds.png{only}.",
            "Unpack gtFine_trainvaltest.zip again, whole; the masks are its *_gtFine_labelIds.png.",
        )
    return MaskedImage(stem, image, mask)


def _read_mask(path: Path) -> Pixels:
    return next(read for ending, read in _READERS.items() if path.name.endswith(ending))(path)


def _instances_of(pair: MaskedImage) -> Path:
    ending = next(ending for ending in _READERS if pair.mask.name.endswith(ending))
    return pair.mask.with_name(pair.mask.name.removesuffix(ending) + _INSTANCES)


def _read_ids(pair: MaskedImage, size: Size | None = None) -> Pixels:
    """Read the instance ids (H, W) of an image, which has to be of this `size` where it is known."""
    path = _instances_of(pair)
    mend = (
        f"Unpack gtFine_trainvaltest.zip again, whole, with its *{_INSTANCES}, or leave data.instances out, and "
        "data.panoptic too."
    )
    if not path.exists():
        raise DatasetError(f"The image {pair.image} has no instances {path}.", mend)
    try:
        ids = read_label_map(path)
    except DatasetError as error:
        raise DatasetError(error.what, mend) from error
    if size is not None:
        check_mask_size(replace(pair, mask=path), ids.shape, size)
    check_instance_ids(path, ids, COUNT, mend)
    return ids


def _without_instances(pairs: Sequence[MaskedImage]) -> tuple[str, ...]:
    """Return a line if the first images show things and none of them is an instance, as some tools write them."""
    things = False
    for pair in pairs[:CHECKED]:
        try:
            ids = read_label_map(_instances_of(pair))
        except CoatsegError:  # which is raised when the sample is read
            return ()
        if ids.max() >= GROUP_IDS:
            return ()
        things = things or bool(np.isin(_THING_IDS, ids).any())
    count = min(CHECKED, len(pairs))
    line = (
        f"no *{_INSTANCES} of the first {count} images holds an instance, 1000 times an id and a number: persons and "
        "vehicles in them are groups, which are neither learnt nor counted"
    )
    return (line,) if things else ()
