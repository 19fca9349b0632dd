"""The types that travel between the rooms, each defined once.

file > Sample > transform > Batch > model > outputs > decode > Prediction > metric, picture, file.

Sizes are (height, width) in pixels everywhere. Boxes are (x1, y1, x2, y2) in pixels, x2 and y2 exclusive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Pixels = npt.NDArray[Any]
"""An image (H, W, C), or a map (H, W) of numbers, as a file holds it."""

Size = tuple[int, int]
Colour = tuple[int, int, int]

IGNORE_INDEX = 255
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Level:
    """What a head may know of one feature map: how many pixels a step covers, and how many channels it has."""

    stride: int
    channels: int


class Backbone(Protocol):
    """What every backbone offers to a head: images in, a pyramid of feature maps out."""

    levels: tuple[Level, ...]

    def __call__(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Tensor]:
        """Map (B, C, H, W) images to one (B, level.channels, h, w) map per level, fine to coarse.

        `sizes` are the valid (height, width) of images that are padded at the bottom and right: an image's features are
        then those that it has alone, and zero beyond (height // stride, width // stride).
        """
        ...

    def depths(self) -> dict[str, int]:
        """Map every parameter's name to its depth, 0 nearest to the image."""
        ...


class Head(Protocol):
    """What every dense head offers to the model: a pyramid in, logits out."""

    divisor: int

    def __call__(self, images: Tensor, pyramid: Sequence[Tensor]) -> Tensor:
        """Map the pyramid of (B, C, H, W) images, H and W multiples of `divisor`, to (B, classes, h, w) logits."""
        ...


class Outputs(NamedTuple):
    """What a model gives: float32 logits (B, classes, H, W), and in training those of its auxiliary head, if any."""

    logits: Tensor
    auxiliary: Tensor | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """The facts of a dataset, stated by its reader and nowhere else.

    `mean` and `std` are per channel, in units of the pixel scale: 0 to 1 for uint8 and uint16 images, as read for
    float32. `annotates` holds any of "semantic", "multilabel", "boxes", "instances" (objects with masks, and so with
    boxes too), "panoptic". `things` are the class numbers that have instances. `category_ids` are the numbers that the
    dataset's own files give the classes, for files that go back to its tools; empty where they are the class numbers.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    annotates: frozenset[str]
    ignore_index: int = IGNORE_INDEX
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    things: tuple[int, ...] = ()
    category_ids: tuple[int, ...] = ()

    @property
    def channels(self) -> int:
        """How many channels an image has."""
        return len(self.mean)

    def to_plain(self) -> dict[str, Any]:
        """Return the facts as plain containers, as a checkpoint holds them."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **plain,
            "classes": list(self.classes),
            "palette": [list(colour) for colour in self.palette],
            "annotates": sorted(self.annotates),
            "mean": list(self.mean),
            "std": list(self.std),
            "things": list(self.things),
            "category_ids": list(self.category_ids),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_plain` gave."""
        return cls(
            name=plain["name"],
            classes=tuple(plain["classes"]),
            palette=tuple((int(red), int(green), int(blue)) for red, green, blue in plain["palette"]),
            annotates=frozenset(plain["annotates"]),
            ignore_index=plain["ignore_index"],
            mean=tuple(plain["mean"]),
            std=tuple(plain["std"]),
            things=tuple(plain["things"]),
            category_ids=tuple(plain.get("category_ids", ())),  # older checkpoints have none
        )


@dataclass(frozen=True)
class Instances:
    """The objects of one image, N of them.

    boxes (N, 4) float64, as they are stated; labels (N,) int64 class numbers; masks (N, H, W) bool, or None where only
    boxes are known; crowd (N,) bool marks regions that hold many objects, or objects not to be counted; areas (N,)
    float64 in pixels as the annotations state them, or None where they do not.
    """

    boxes: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_] | None
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Segment:
    """One panoptic segment: its id in the id map, its class number, and whether it is a crowd.

    `area` is its number of pixels as the annotations state it, None where they do not.
    """

    id: int
    label: int
    crowd: bool = False
    area: float | None = None


@dataclass(frozen=True)
class Panoptic:
    """Panoptic truth: an id map (H, W) int32, 0 where nothing is annotated, and its segments."""

    ids: npt.NDArray[np.int32]
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Sample:
    """One example as read from a dataset.

    image (H, W, C) uint8, uint16 or float32; label_map (H, W) of class numbers or the ignore index; layers (H, W, K)
    uint8, for each of K classes 1 where it is, 0 where it is not, the ignore index where that is unknown; `id` names it
    within its split; `original_size` is the size on disk, before any transform; `focus` is a class that a crop has to
    show, if the sample has it; `file` is the path of the image, empty where there is none; `nodata` (H, W) bool is
    where the file holds no data and `image` the mean in its place, None where there is no such pixel.
    """

    id: str
    image: npt.NDArray[Any]
    original_size: Size
    label_map: npt.NDArray[Any] | None = None
    instances: Instances | None = None
    panoptic: Panoptic | None = None
    layers: npt.NDArray[np.uint8] | None = None
    focus: int | None = None
    file: str = ""
    nodata: npt.NDArray[np.bool_] | None = None


class Dataset(Protocol):
    """What every dataset reader offers: its facts and its samples.

    Its class may state what is known before any file is read: `info` where the facts are fixed, else `facts_in_words`,
    classes and annotations; `archives` for `download` (data/download.py), or `account`, how to get one.
    """

    info: DatasetInfo

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def verify(self, index: int) -> Sample | None:
        """Raise what reading sample `index` would raise, without decoding more than that needs.

        Raised too is what makes the sample wrong and is too costly to look at in every reading, such as a mask that
        lies elsewhere than its image. If the sample was read for it, it is returned.
        """
        ...


@runtime_checkable
class RandomDataset(Dataset, Protocol):
    """A dataset with randomness of its own, such as windows of large images; others do not have `drawn`.

    `draws` says whether it makes use of that.
    """

    draws: bool

    def drawn(self, index: int, seed: int) -> Sample:
        """Return a training example of sample `index`, as a function of index and seed."""
        ...


@runtime_checkable
class SizedDataset(Dataset, Protocol):
    """A dataset that knows the sizes of its images without decoding them."""

    def size(self, index: int) -> Size:
        """Return the upright (height, width) of a sample's image."""
        ...


@runtime_checkable
class ObjectDataset(Dataset, Protocol):
    """A dataset that knows which images have objects without decoding them."""

    def has_objects(self, index: int) -> bool | None:
        """Return whether a sample has an object to learn, which no crowd is, or None if that is not known."""
        ...


@dataclass(frozen=True)
class InstanceTarget:
    """The objects of one image as tensors; shapes are those of Instances.

    boxes float64, in which they are scored, labels int64, masks bool or None, crowd bool, areas float64 or None.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor | None
    crowd: Tensor
    areas: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def apply(self, function: Callable[[Tensor], Tensor]) -> InstanceTarget:
        """Apply `function` to every tensor."""
        return _applied(self, function)


@dataclass(frozen=True)
class PanopticTarget:
    """The panoptic truth of one image as tensors.

    `ids` (H, W) int32, 0 where nothing is annotated; of N segments, in the order in which they are listed, `numbers`
    (N,) int32, their ids in that map, `labels` (N,) int64, their class numbers, and `crowd` (N,) bool.
    """

    ids: Tensor
    numbers: Tensor
    labels: Tensor
    crowd: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def apply(self, function: Callable[[Tensor], Tensor]) -> PanopticTarget:
        """Apply `function` to every tensor."""
        return _applied(self, function)


@dataclass(frozen=True)
class Target:
    """The truth of one image, as tensors: label_map (H, W) int64, layers (K, H, W) uint8, instances, panoptic.

    In training it has the geometry of the augmented image, in evaluation that of the original one.
    """

    label_map: Tensor | None = None
    layers: Tensor | None = None
    instances: InstanceTarget | None = None
    panoptic: PanopticTarget | None = None

    def apply(self, function: Callable[[Tensor], Tensor]) -> Target:
        """Apply `function` to every tensor."""
        return _applied(self, function)


TensorsT = TypeVar("TensorsT", InstanceTarget, PanopticTarget, Target)


def _applied(holder: TensorsT, function: Callable[[Tensor], Tensor]) -> TensorsT:
    """Return a copy of a holder of tensors, and of holders of tensors, with `function` applied to each tensor."""
    done: dict[str, Any] = {}
    for field in fields(holder):
        value = getattr(holder, field.name)
        if value is not None:
            done[field.name] = function(value) if isinstance(value, Tensor) else value.apply(function)
    return replace(holder, **done)


@dataclass(frozen=True)
class Batch:
    """B examples ready for a model.

    images (B, C, H, W) normalised float32, padded with zeros at the bottom and right; `sizes`, the valid size of
    each; `targets`, one an image; `ids` and `original_sizes` as in Sample. `repeated` marks examples that only fill
    up a process's share in evaluation and must not be counted. `step_targets` are the targets of all images that this
    process sees in the same optimizer step (accumulation included): what a loss is normalised over.
    """

    images: Tensor
    sizes: tuple[Size, ...]
    targets: tuple[Target, ...]
    ids: tuple[str, ...]
    original_sizes: tuple[Size, ...]
    repeated: tuple[bool, ...]
    step_targets: tuple[Target, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def padded_sizes(self) -> tuple[Size, ...] | None:
        """What a model is told of padding: the sizes, or None where no image has any."""
        full = (self.images.shape[-2], self.images.shape[-1])
        return None if all(size == full for size in self.sizes) else self.sizes

    def apply(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Apply `function` to every tensor; `step_targets` stay where they are."""
        return replace(
            self, images=function(self.images), targets=tuple(target.apply(function) for target in self.targets)
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Move the tensors to a device; Apple's has no doubles, so that those become float32."""
        narrow = torch.device(device).type == "mps"

        def moved(tensor: Tensor) -> Tensor:
            fits = tensor.float() if narrow and tensor.dtype == torch.float64 else tensor
            return fits.to(device, non_blocking=non_blocking)

        return self.apply(moved)

    def pin_memory(self) -> Batch:
        """Move the tensors to page-locked memory."""
        return self.apply(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True)
class SemanticPrediction:
    """One image's semantic segmentation at its original size.

    label_map (H, W) int64; scores (H, W) float32, the probability of the chosen class.
    """

    id: str
    label_map: Tensor
    scores: Tensor


@dataclass(frozen=True)
class MultilabelPrediction:
    """One image's layers at its original size, one a class.

    layers (K, H, W) bool, where each class is; scores (K, H, W) float32, the probability that it is there.
    """

    id: str
    layers: Tensor
    scores: Tensor


@dataclass(frozen=True)
class InstancePrediction:
    """One image's objects at its original size, N of them, the surest first; tensors on the CPU.

    size is the image's (height, width); boxes (N, 4) float32 within it; labels (N,) int64 class numbers of the dataset;
    scores (N,) float32; masks (N, H, W) bool, or None from a model that predicts boxes only.
    """

    id: str
    size: Size
    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PanopticPrediction:
    """One image's panoptic segmentation at its original size: every pixel belongs to one of N segments, or to none.

    ids (H, W) int32, 0 for no segment, else 1 + the segment's place among the N; labels (N,) int64 class numbers of
    the dataset; scores (N,) float32. Every segment has a pixel, and each class of stuff at most one segment.
    """

    id: str
    ids: Tensor
    labels: Tensor
    scores: Tensor

    def __len__(self) -> int:
        return len(self.labels)


LOGITS = "logits"
"""The output of dense heads, a number for each class at every pixel. They train with losses of one's choice, and may
have an auxiliary head and infer by windows and views; heads of other outputs have their own losses and see whole
images."""


@dataclass(frozen=True)
class PredictionKind:
    """One kind of prediction, by the names that it has in the rooms.

    `choice` is its file of conf/task and `task` the registered name in it. `truth` is what a dataset must annotate, one
    of DatasetInfo.annotates, and `output` what a head must give: a task states them as `needs` and `takes`, a detection
    head states its output as `gives`. `prediction` is the type of an image's prediction.
    """

    choice: str
    task: str
    truth: str
    output: str
    prediction: type


PREDICTION_KINDS = (
    PredictionKind("seg", "semantic", truth="semantic", output=LOGITS, prediction=SemanticPrediction),
    PredictionKind("multilabel", "multilabel", truth="multilabel", output=LOGITS, prediction=MultilabelPrediction),
    PredictionKind("det", "detection", truth="boxes", output="boxes", prediction=InstancePrediction),
    PredictionKind("inst", "instance", truth="instances", output="masks", prediction=InstancePrediction),
    PredictionKind("panoptic", "panoptic", truth="panoptic", output="segments", prediction=PanopticPrediction),
)
"""All kinds of predictions. Tables in the rooms are keyed by these columns; tests/contracts/test_kinds.py checks that
none lacks a kind, and lists what a new kind takes."""

TASK_CHOICES: Mapping[str, str] = {kind.output: kind.choice for kind in reversed(PREDICTION_KINDS)}
"""For each output of a head, the file of conf/task whose task takes it; of several, the first in the table above."""


class Scores(Protocol):
    """What every metric offers in the end."""

    @property
    def definition(self) -> str:
        """How the means are defined, in words."""
        ...

    def summary(self) -> dict[str, float]:
        """Return the means by name."""
        ...

    def headline(self) -> str:
        """Return the means in one line."""
        ...

    def table(self) -> list[tuple[str, ...]]:
        """Return one row a class, under a row of column names."""
        ...


def parameter_count(module: nn.Module) -> int:
    """Count the parameters of a module, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
